"""The neural Turing machine: a controller with a memory that it reads and writes by attention.

Source: Graves, Wayne & Danihelka 2014, Neural Turing Machines, arXiv:1410.5401: heads of section 3
(content, gate, shift by up to one place, sharpening), sizes of section 4.6, 128 places of 20
numbers and a controller of 100 units; an LSTM, or one layer without a memory of its own.
Differs: memory, controller and what was read begin with zeros, where the paper learns them; the
first place has all attention at the start; the heads see the controller's output of the same step;
two more inputs are flags. The keys pass a tanh.
Of an LSTM with `inputs` and `bits` numbers, M numbers a place, H heads of each kind and 100 units:
4 * 100 (inputs + H M + 101), heads 101 H ((M + 6) + (3 M + 6)), answer (100 + H M + 1) bits. With
10 inputs, 8 bits and one head 52,400 + 9,292 + 968 = 62,660; the paper counts 67,561. Without the
LSTM 3,100 + 9,292 + 968 = 13,360; the paper counts 17,162.

`lstm_memory` is its baseline, three layers of 256 units (section 4): 4 * 256 (10 + 257) +
2 * 4 * 256 * 513 + 257 * 8 = 1,326,088 with 10 inputs and 8 bits. The paper counts 1,352,969.

Limit: activations of 8 bits (`int8` of `compress`) make lengths of zero, by which it divides; an
integer TFLite file keeps powers and quotients in floats, and passes its gate.

Each is one step (`zoo.models.step`), run along a sequence to learn. All states begin with zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Literal

import keras
from keras import layers, ops

from zoo.common.tensors import LOGITS, NEXT, SERIES

TAKES_SERIES = True
SMALL = 1e-6  # a square of a length, and a share of attention, that is as good as none


def ntm(
    *,
    name: str,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    controller: Literal["lstm", "feedforward"] = "lstm",
    units: int = 100,
    places: int = 128,
    width: int = 20,
    heads: int = 1,
) -> keras.Model:
    """Returns one step: `series` (batch, 1, features) and the states to `logits` and new states.

    The states are `memory` (batch, places * width); of each head from 1 on `read1` (batch, width),
    and the attention over the places `read1_weights` and `write1_weights` (batch, places), which is
    zeros at the start and sums to 1 from then on; of an LSTM `controller_h` and `controller_c`.
    The new ones are called `next_memory` and so on; `logits` are (batch, num_classes).

    Args:
        name: Name of the model.
        input_shape: (time, features); the time does not matter.
        num_classes: Numbers of an answer, bits.
        controller: What sees the inputs and moves the heads.
        units: Of the controller.
        places: Of the memory.
        width: Numbers of a place.
        heads: Heads that read, and as many that write.
    """
    series = keras.Input((1, input_shape[-1]), name=SERIES)
    sizes = {"memory": places * width}
    for head in range(1, heads + 1):
        sizes |= {f"read{head}": width, f"read{head}_weights": places}
        sizes |= {f"write{head}_weights": places}
    if controller == "lstm":
        sizes |= {"controller_h": units, "controller_c": units}
    states = {state: keras.Input((size,), name=state) for state, size in sizes.items()}
    new: dict[str, Any] = {}

    now = layers.Reshape((input_shape[-1],), name="series_one")(series)
    reads = [states[f"read{head}"] for head in range(1, heads + 1)]
    x = layers.Concatenate(name="controller_input")([now, *reads])
    if controller == "lstm":
        cell = layers.LSTMCell(units, name="controller")
        x, (h, c) = cell(x, [states["controller_h"], states["controller_c"]])
        new |= {"controller_h": h, "controller_c": c}
    else:
        x = layers.Dense(units, "tanh", name="controller")(x)

    memory = layers.Reshape((places, width), name="memory_places")(states["memory"])
    written = memory  # all heads see the memory before the step
    added: list[keras.KerasTensor] = []
    for head in range(1, heads + 1):
        place = f"write{head}"
        weights, (erase, add) = _head(x, states[f"{place}_weights"], memory, place, extra=2)
        new[f"{place}_weights"] = weights
        weights = layers.Reshape((places, 1), name=f"{place}_places")(weights)
        erase = layers.Reshape((1, width), name=f"{place}_erase")(ops.sigmoid(erase))
        add = layers.Reshape((1, width), name=f"{place}_add")(ops.tanh(add))
        # Equations 3 and 4: what all heads erase, then what they add, so in any order.
        written = written - written * ops.matmul(weights, erase)
        added.append(ops.matmul(weights, add))
    for more in added:
        written = written + more
    reads = []
    for head in range(1, heads + 1):
        place = f"read{head}"
        weights, _ = _head(x, states[f"{place}_weights"], written, place)
        new[f"{place}_weights"] = weights
        row = layers.Reshape((1, places), name=f"{place}_row")(weights)
        read = ops.matmul(row, written)  # equation 2, (batch, 1, width)
        new[place] = layers.Reshape((width,), name=f"{place}_one")(read)
        reads.append(new[place])
    new["memory"] = layers.Reshape((places * width,), name="memory_flat")(written)
    x = layers.Concatenate(name="logits_input")([x, *reads])
    logits = layers.Dense(num_classes, dtype="float32", name=LOGITS)(x)
    outputs = {LOGITS: logits, **{NEXT + state: new[state] for state in sizes}}
    return keras.Model([series, *states.values()], outputs, name=name)


def _head(
    x: Any, before: Any, memory: Any, name: str, *, extra: int = 0
) -> tuple[Any, tuple[Any, ...]]:
    """Where a head looks, (batch, places), and `extra` vectors as wide as a place.

    Args:
        x: The controller's output.
        before: Where it looked in the step before, (batch, places); zeros at the start.
        memory: (batch, places, width).
        name: What the head is called.
        extra: Number of further vectors that the controller gives.
    """
    places, width = memory.shape[1:]
    sizes = [width, 1, 1, 3, 1, *[width] * extra]
    given = layers.Dense(sum(sizes), name=f"{name}_head")(x)
    parts = ops.split(given, list(accumulate(sizes))[:-1], axis=-1)
    key, strength, gate, shift, sharpness = parts[:5]
    # Equations 5 and 6: the softmax of cosines. A place of zeros has a cosine of 0.
    key = layers.Reshape((width, 1), name=f"{name}_key")(ops.tanh(key))
    product = layers.Reshape((places,), name=f"{name}_product")(ops.matmul(memory, key))
    lengths = ops.sum(ops.square(memory), axis=-1) * ops.sum(ops.square(key), axis=1)
    cosines = product / ops.sqrt(lengths + SMALL)
    found = ops.softmax(ops.softplus(strength) * cosines, axis=-1)
    # At the start the sum is 0, and the first place has it all; from then on it is 1.
    first, others = ops.split(before, [1], axis=-1)
    missing = ops.sum(before, axis=-1, keepdims=True)
    before = ops.concatenate([first + 1.0 - missing, others], axis=-1)
    gate = ops.sigmoid(gate)
    mixed = before + gate * (found - before)  # equation 7
    back, stay, on = ops.split(ops.softmax(shift, axis=-1), 3, axis=-1)
    mixed = back * ops.roll(mixed, -1, axis=1) + stay * mixed + on * ops.roll(mixed, 1, axis=1)
    mixed = ops.relu(mixed) + SMALL
    # Equation 9, of shares of the largest: small ones to a high power would all be 0.
    mixed = mixed / ops.max(mixed, axis=-1, keepdims=True)
    sharp = ops.power(mixed, ops.softplus(sharpness) + 1.0)
    weights = sharp / ops.sum(sharp, axis=-1, keepdims=True)
    return weights, tuple(parts[5:])


def lstm_memory(
    *,
    name: str,
    input_shape: tuple[int | None, ...],
    num_classes: int,
    units: Sequence[int] = (256, 256, 256),
) -> keras.Model:
    """Returns one step of a chain of LSTM layers, as `ntm` does; the states are `lstm1_h`, ...

    Args:
        name: Name of the model.
        input_shape: (time, features); the time does not matter.
        num_classes: Numbers of an answer, bits.
        units: Of each layer, from the input on.
    """
    series = keras.Input((1, input_shape[-1]), name=SERIES)
    x = layers.Reshape((input_shape[-1],), name="series_one")(series)
    inputs = [series]
    outputs: dict[str, Any] = {}
    for number, width in enumerate(units, start=1):
        place = f"lstm{number}"
        states = [keras.Input((width,), name=f"{place}_{state}") for state in ("h", "c")]
        x, (h, c) = layers.LSTMCell(width, name=place)(x, states)
        inputs += states
        outputs |= {f"{NEXT}{place}_h": h, f"{NEXT}{place}_c": c}
    logits = layers.Dense(num_classes, dtype="float32", name=LOGITS)(x)
    return keras.Model(inputs, {LOGITS: logits, **outputs}, name=name)
