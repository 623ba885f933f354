"""Dynamic evaluation: a model that goes on learning from the text that it is measured on.

Sources: Mikolov et al. 2010, Recurrent neural network based language model, Interspeech, section
2.2; Krause et al. 2018, Dynamic evaluation of neural sequence models, arXiv:1709.07432. Each part
of the text is predicted first, and only then learnt from, one step of gradient descent whose
gradient has a norm of `MOST` at most. It is what a compressor does, which learns from all that it
has read. The networks that are measured stay as they are.
Differs: no pull back to the weights before; the rate is the same for all weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo.common.tensors import COUNTED, TOKENS
from zoo.tasks.task import Evaluation
from zoo.tasks.words.predicting import Counted, predictions

if TYPE_CHECKING:
    import keras
    import numpy as np

MOST = 1.0


class Dynamic(Counted):
    """A meter that measures a copy of a network that learns too.

    Args:
        net: See `zoo.tasks.words.language.Language`; its windows come in the order of the text.
        rate: Of gradient descent, of the mean over the predictions of a window.
        unknown: See `Counted`.
    """

    def __init__(self, net: keras.Model, rate: float, *, unknown: int | None = None):
        super().__init__(unknown)
        from compress.graph import copy_model

        self._net, self._rate = copy_model(net), rate
        self._dynamic, self._step = 0.0, self._compiled()

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`."""
        import tensorflow as tf

        super().add(batch, outputs)
        size = batch[TOKENS].shape[1] - 1
        for row, tokens in enumerate(batch[TOKENS]):
            counted = batch[COUNTED][row] if COUNTED in batch else size
            self._dynamic += float(self._step(tf.constant(tokens[None]), tf.constant(int(counted))))

    def result(self) -> Evaluation:
        """Returns the metrics of the network as it is, and `dynamic_bits_per_character`."""
        found = super().result()
        bits = self._dynamic / math.log(2) / self._characters
        return Evaluation({**found.metrics, "dynamic_bits_per_character": bits}, found.tables)

    def _compiled(self) -> Any:
        import tensorflow as tf
        from keras import ops

        net, rate = self._net, self._rate

        @tf.function(autograph=False, reduce_retracing=True)
        def step(tokens: Any, counted: Any) -> Any:
            with tf.GradientTape() as tape:
                logits = predictions(net, tokens[:, :-1], training=False)
                targets = tokens[:, 1:]
                nats = ops.sparse_categorical_crossentropy(targets, logits, from_logits=True)
                left = tf.range(tf.shape(targets)[1])[::-1]
                own = tf.reduce_sum(nats * tf.cast(left[None] < counted, nats.dtype))
                loss = own / tf.cast(tf.maximum(counted, 1), nats.dtype)
            weights = [v.value for v in net.trainable_variables]
            slopes = tape.gradient(loss, weights, unconnected_gradients="zero")
            slopes, _ = tf.clip_by_global_norm([tf.convert_to_tensor(s) for s in slopes], MOST)
            for variable, slope in zip(net.trainable_variables, slopes, strict=True):
                variable.assign(variable - rate * slope)
            return own

        return step
