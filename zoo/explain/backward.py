"""Other ways back through the rectifiers of a network: guided backpropagation and the deconvnet.

Sources: Zeiler & Fergus 2014, arXiv:1311.2901, section 2.1; Springenberg et al. 2015,
arXiv:1412.6806, section 3.4. Both know the ReLU y = max(x, 0) alone. With g what comes back to y,

    the gradient        gives x   g where x > 0
    the deconvnet       gives x   g where g > 0
    guided              gives x   g where x > 0 and g > 0

The rule here for its kin (ReLU6, leaky and parametric ReLU, ELU, SELU, GELU, swish, mish and
others, see `RECTIFIERS`): the deconvnet gives max(g, 0), guided backpropagation max(g, 0) times the
function's own slope at x. For the ReLU these are the papers' rules; ReLU6 passes nothing at 6 and
above when guided. Functions that saturate at both ends (sigmoid, tanh, softmax) keep their own
gradient, and so does whatever no paper speaks of: pooling, normalisation, addition.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Literal

import keras
import tensorflow as tf

from compress.graph.graph import is_graph

Rule = Literal["gradient", "guided", "deconvnet"]
RECTIFIERS = {
    *("relu", "relu6", "leakyrelu", "prelu", "elu", "selu", "celu", "gelu", "silu", "swish"),
    *("rangedsilu", "mish", "softplus", "hardsilu", "hardswish"),
}


def is_rectifier(function: Any) -> bool:
    """Returns whether a function, a layer or an operation is a ReLU or one of its kin."""
    name = getattr(function, "__name__", type(function).__name__)
    return str(name).replace("_", "").lower() in RECTIFIERS


def ruled(function: Callable[..., Any], rule: Rule) -> Callable[..., Any]:
    """Returns a rectifier that is gone back through by another rule.

    Args:
        function: Of one tensor.
        rule: Which.
    """

    def call(x: Any) -> Any:
        @tf.custom_gradient
        def passed(x: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = function(x)

            def back(upstream: Any, variables: Any = None) -> Any:
                positive = tf.nn.relu(upstream)
                down = positive
                if rule == "guided":
                    down = tape.gradient(y, x, output_gradients=positive)
                return (down, [None] * len(variables)) if variables else down

            return tf.identity(y), back

        return passed(x)

    return call


@contextlib.contextmanager
def within(layer: Any, rule: Rule) -> Iterator[None]:
    """The activations of a layer, and of the layers in it, go back by a rule in this block.

    They are put back at its end: graphs that are traced within keep the rule, the model does not.
    """
    found = []
    if rule != "gradient" and isinstance(layer, keras.layers.Layer) and not is_graph(layer):
        for one in layer._flatten_layers():
            own = getattr(one, "activation", None)
            if own is not None and is_rectifier(own):
                found.append((one, own))
    try:
        for one, own in found:
            one.activation = ruled(own, rule)
        yield
    finally:
        for one, own in found:
            one.activation = own
