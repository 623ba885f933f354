"""A training loop of the caller's own between the two halves of a pass: `prepare`, and `finish`.

For what no function can be given for: a loop of `tf.GradientTape`, a training that is spread over
days, another library's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from compress.base import Context, Pass
from compress.graph import leaf_layers
from compress.graph.holding import bake
from compress.layers.masked import TiedZeros
from compress.layers.parametrized import Parametrized
from compress.layers.quantized import Range
from compress.passes.quantize.integers import has_ranges, settle
from compress.pipeline.compiled import Training
from compress.pipeline.pipeline import Pipeline, as_pipeline


def prepare(
    plan: Pipeline | Pass | str | Path, model: keras.Model, *, samples: Any = None
) -> keras.Model:
    """Returns a model as a pass trains it: a plain Keras model, not compiled, to be trained.

        model = compress.prepare("qat-int8", model, samples=x[:200])
        model.compile("adam", "mse")
        model.fit(x, y, epochs=2)
        model = compress.finish(model)

    Its kernels are computed from stored ones in each call: rounded, masked, shared, or made of
    signs; whatever moves the stored ones trains them. All zeros of a pruned model are there at
    once; `compress.Prune(...).callback()` lets them grow in `fit`, without `prepare`. A quantised
    model learns at a hundredth of the learning rate that it was trained with, see `Quantize`.

    Args:
        plan: A pass, or the name or path of a recipe. Of a pipeline the last pass is prepared, on
            what the ones before it make without training; a `huffman` behind it is left to
            `compress.pack`.
        model: A built Functional or Sequential model; it stays as it is.
        samples: Examples to calibrate on, where a pass does (see `Context`).

    Raises:
        TypeError: The model is subclassed.
        ValueError: The pass has no form of its own to be trained in, or the plan has a budget,
            which nothing measures.
    """
    pipeline = as_pipeline(plan)
    if pipeline.budget is not None:
        raise ValueError(
            "prepare: got a plan with a budget, which is checked by what `apply` measures; expected"
            " the passes alone, or apply(...)."
        )
    context = Context(samples=samples)
    *first, last = pipeline.passes
    while first and last.kind == "huffman":  # which changes the file alone
        *first, last = first
    if type(last).prepare is Pass.prepare:  # refused before the others are applied
        return last.prepare(model, {}, context)
    for step in first:
        model = step.changed(epochs=0).apply(model, context).model
    return last.prepare(model, last.chosen(model)[0], context)


def finish(model: keras.Model) -> keras.Model:
    """Returns a prepared model with what its kernels compute stored, as `apply` gives it.

    It is compiled alike where the prepared one is, with a fresh optimizer.

        small = compress.finish(prepared)
        small.save("small.keras")

    Args:
        model: From `prepare`, trained; it stays as it is.

    Raises:
        TypeError: The model is subclassed.
        ValueError: No layer of the model has a form to be trained in.
    """
    if not any(
        isinstance(layer, (Parametrized, Range, TiedZeros)) for _, layer in leaf_layers(model)
    ):
        raise ValueError(
            f"finish: {model.name!r} has no layer in a form to be trained in; expected a model "
            "that `prepare` made."
        )
    finished = settle(model) if has_ranges(model) else bake(model)
    if model.compiled:
        Training(model).compile(finished)
    return finished
