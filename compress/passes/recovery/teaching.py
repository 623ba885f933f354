"""A changed network taught by the one before: everything learns at once, on examples alone.

The loss is the mean, over what is compared, of the squared error as a share of what varies: the
answers, and where branches join on the way. Normalisations keep their statistics, dropout rests,
zeros stay and shared values stay shared; rounded kernels learn straight through.

Sources: Hinton, Vinyals & Dean 2015, arXiv:1503.02531 (answers instead of labels); Romero et al.
2015, FitNets, arXiv:1412.6550 (what is on the way); Li et al. 2021, BRECQ, arXiv:2102.05426 (the
ends of blocks say more than those of layers). Differs: all blocks learn together, and read
what the changed ones before them give. The optimizer is LAMB (You et al. 2020, arXiv:1904.00962),
whose steps are shares of each weight's norm: folded kernels differ in size by thousands.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from compress.graph.graph import inputs_of, leaf_layers
from compress.graph.holding import bake, hold
from compress.layers.quantized import kernel_bits
from compress.measure.samples import answers

RATE = 3e-3  # of a weight's norm, for a step
BATCH = 16
STEPS = 300
MOST_BYTES = 2**29  # of what is compared
_JOINS = (keras.layers.Add, keras.layers.Concatenate, keras.layers.Multiply)


def teach(
    model: keras.Model,
    before: keras.Model,
    samples: Sequence[np.ndarray],
    *,
    still: Collection[str] = (),
) -> None:
    """Trains a changed network, in place, on what the one before gives.

    Args:
        model: The changed network.
        before: What it was made of.
        samples: As both take them, (n, ...) for each input.
        still: Paths of layers whose weights stay.
    """
    held = hold(model, computed=not any(map(kernel_bits, model.layers)))
    before, student = _watched(before, held, len(samples[0]))
    wanted = answers(before, list(samples))
    scales = [max(float(np.mean(np.square(x - x.mean(0)))), 1e-12) for x in wanted]
    fixed = [layer for path, layer in leaf_layers(held) if path in still]
    frozen = [v for layer in fixed for v in layer.trainable_variables]
    for variable in frozen:
        variable.trainable = False
    learner = _Learner(student)
    count = len(samples[0])
    epochs = max(1, round(STEPS * BATCH / count))
    steps = epochs * -(-count // BATCH)
    learner.compile(
        keras.optimizers.Lamb(keras.optimizers.schedules.CosineDecay(RATE, steps)),
        loss=[_share(scale, len(scales)) for scale in scales],
        jit_compile=False,
    )
    given = list(samples) if len(samples) > 1 else samples[0]
    learner.fit(given, wanted, batch_size=min(BATCH, count), epochs=epochs, verbose=0)
    for variable in frozen:
        variable.trainable = True
    if held is not model:
        for weight, value in zip(model.variables, bake(held, like=model).variables, strict=True):
            weight.assign(value)


class _Learner(keras.Model):
    """A network as it is at inference, whose weights learn."""

    def __init__(self, inner: keras.Model) -> None:
        super().__init__(name="learner")
        self.inner = inner

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Gives what is compared."""
        packed = keras.tree.pack_sequence_as(inputs_of(self.inner), keras.tree.flatten(inputs))
        return list(keras.tree.flatten(self.inner(packed, training=False)))


def _share(scale: float, count: int) -> Any:
    def loss(wanted: Any, got: Any) -> Any:
        error = ops.square(ops.cast(got, "float32") - ops.cast(wanted, "float32"))
        return ops.mean(ops.reshape(error, (ops.shape(error)[0], -1)), axis=-1) / (scale * count)

    return loss


def _watched(
    before: keras.Model, after: keras.Model, count: int
) -> tuple[keras.Model, keras.Model]:
    """Both networks, which also give what is compared on the way."""
    pairs = []
    for layer in before.layers:
        try:
            pair = layer.output, after.get_layer(layer.name).output
        except (ValueError, AttributeError):  # it has gone, or is called more than once
            continue
        if isinstance(layer, _JOINS) and tuple(pair[0].shape) == tuple(pair[1].shape):
            pairs.append(pair)

    def size(pair: Any) -> int:
        return 4 * count * int(np.prod([side or 1 for side in pair[0].shape[1:]]))

    for pair in sorted(pairs, key=size, reverse=True):
        if sum(map(size, pairs)) > MOST_BYTES:
            pairs.remove(pair)
    first, second = (
        keras.Model(inputs_of(one), [*one.outputs, *(pair[place] for pair in pairs)])
        for place, one in enumerate((before, after))
    )
    return first, second
