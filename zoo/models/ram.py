"""The recurrent attention model: a network that looks at a picture glimpse by glimpse.

Source: Mnih, Heess, Graves & Kavukcuoglu 2014, arXiv:1406.6247, section 3 and 4.1: a glimpse is
patches of the same number of pixels around one place, each twice as wide as the one before; what is
seen and where it is are joined by g = relu(l(h_g) + l(h_l)) with 128 units each and 256 behind
them; the core is h = relu(l(h) + l(g)), 256 units; the next place is a Gaussian around what the
core says, and the class is read from the last state.
Differs: the first glimpse is in the middle when it is deployed, drawn in training; a patch is made
by two matrices of a triangle's weights, which every file format has, and a wide one is so smoothed.

With s patches of p x p pixels and c classes there are 128 (s p p + 1) + 128 * 3 + 2 * 256 * 129 +
256 * 257 * 2 weights and 2 * 257 + 257 + 257 c.

Six glimpses of 8 x 8 in 28 x 28 pixels are 1,218,304 products: for each what is seen 64 * 128,
where 2 * 128, both joined 2 * 128 * 256, the core 256 * 256 and, but for the first, 256 * 256, the
next place 512, the patch 8 * 28 * (28 + 8); and the classes 2,560. Beside it stands the paper's
convolutional network, 10 x 10 kernels and 256 units, with a stride of 1 for 5 and 9 kernels for 8:
19 * 19 * 9 * (100 + 256) + 2,560 = 1,159,204.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import keras
import numpy as np
from keras import layers, ops

UNITS, JOINED = 128, 256  # of what and where alone, and of both


def ram(
    *,
    name: str,
    input_shape: tuple[int, int, int],
    num_classes: int,
    glimpses: int = 6,
    side: int = 8,
    scales: int = 1,
    spread: float = 0.15,
    places: Literal["learnt", "random"] = "learnt",
) -> keras.Model:
    """Returns the model: `image` (batch, height, width, 1) to a mapping.

    `logits` (batch, num_classes); and, for training alone, `auxiliary_places` (batch, glimpses - 1,
    2), where it looks, y and x from -1 to 1, `auxiliary_likelihood` (batch, glimpses - 1), the
    logarithm of the density of what was drawn around where it meant to look, before it was cut off
    to -1 to 1, but for a constant, and
    `auxiliary_expected` (batch, glimpses - 1), the probability with which it expects to be right.

    Args:
        name: Name of the model.
        input_shape: (height, width, 1).
        num_classes: Length of the output.
        glimpses: Number of glimpses.
        side: Pixels of a side of a patch.
        scales: Patches of a glimpse.
        spread: Deviation of a place from its mean in training.
        places: `random` looks anywhere, also when it is deployed: what learning is compared with.

    Raises:
        ValueError: Pictures have several channels.
    """
    if input_shape[-1] != 1:
        raise ValueError(f"{name}: got {input_shape[-1]} channels; expected 1.")
    image = keras.Input(input_shape, name="image")
    pixels = layers.Reshape(input_shape[:2], name="pixels")(image)
    what = [layers.Dense(UNITS, "relu", name="what"), layers.Dense(JOINED, name="what_joined")]
    where = [layers.Dense(UNITS, "relu", name="where"), layers.Dense(JOINED, name="where_joined")]
    own, fresh = layers.Dense(JOINED, name="own"), layers.Dense(JOINED, name="fresh")
    move, expect = layers.Dense(2, "tanh", name="move"), layers.Dense(1, name="expect")
    state: Any = None
    place = anywhere(pixels, 1, learnt=places == "learnt")
    likelihood, looked, expected = [], [], []
    for number in range(1, glimpses + 1):
        seen = glimpse(pixels, place, side=side, scales=scales)
        joined = ops.relu(what[1](what[0](seen)) + where[1](where[0](place)))
        told = fresh(joined) if state is None else fresh(joined) + own(state)
        state = ops.relu(told)
        if number == glimpses:
            break
        # Neither the next place nor what is expected changes what the core makes of a glimpse.
        mean = move(ops.stop_gradient(state))
        if places == "learnt":
            noise = layers.GaussianNoise(spread, name=f"place{number + 1}")
            drawn = ops.stop_gradient(noise(mean))
        else:
            drawn = anywhere(pixels, number + 1, learnt=False)
        place = ops.clip(drawn, -1.0, 1.0)
        # Of what was drawn, not of where that was cut off to, whose density is another one.
        away = ops.sum((drawn - mean) ** 2, axis=1)  # (batch,)
        likelihood.append(away / (-2 * spread**2))
        looked.append(place)
        expected.append(expect(ops.stop_gradient(state)))
    outputs = {"logits": layers.Dense(num_classes, name="logits", dtype="float32")(state)}
    for key, parts in (("likelihood", likelihood), ("places", looked)):
        outputs[f"auxiliary_{key}"] = ops.stack(parts, axis=1)
    outputs["auxiliary_expected"] = ops.concatenate(expected, axis=1)
    return keras.Model(image, outputs, name=name)


def cnn(
    *, name: str, input_shape: tuple[int, int, int], num_classes: int, kernels: int = 9
) -> keras.Model:
    """Returns a convolutional network of about as many products: `image` to `logits`.

    Args:
        name: Name of the model.
        input_shape: (height, width, channels).
        num_classes: Length of the output.
        kernels: Number of the kernels.
    """
    image = keras.Input(input_shape, name="image")
    x = layers.Conv2D(kernels, 10, activation="relu", name="conv")(image)
    x = layers.Dense(JOINED, "relu", name="hidden")(layers.Flatten(name="flatten")(x))
    logits = layers.Dense(num_classes, name="logits", dtype="float32")(x)
    return keras.Model(image, logits, name=name)


def looks(model: keras.Model) -> Callable[[Any], np.ndarray] | None:
    """Returns what tells where a model looks: pictures (n, ...) to (n, glimpses, 2), from -1 to 1.

    Args:
        model: As it learns, or as it is deployed.

    Returns:
        `None` of a model that looks anywhere.
    """
    names = {layer.name: layer for layer in model.layers}
    if "move" not in names or "anywhere2" in names:
        return None
    means = [node.outputs[0] for node in names["move"]._inbound_nodes]
    told = keras.Model(model.input, [mean for mean in means if _within(mean, model)])

    def places(images: Any) -> np.ndarray:
        found = [np.asarray(one) for one in keras.tree.flatten(told(images))]
        return np.stack([np.zeros_like(found[0]), *found], axis=1).clip(-1.0, 1.0)

    return places


def _within(tensor: Any, model: keras.Model) -> bool:
    """Whether a tensor is one of a model's own; layers know those of other models too."""
    nodes = [node for layer in model._nodes_by_depth.values() for node in layer]
    return any(tensor is one for node in nodes for one in node.outputs)


def anywhere(pixels: Any, number: int, *, learnt: bool) -> Any:
    """A place (batch, 2) drawn all over the picture in training, and the middle otherwise.

    Without `learnt` it is drawn always. Two normal numbers become nearly even ones between -1 and 1
    by their distribution function, as tanh has it.
    """
    middle = ops.zeros_like(pixels[:, 0, :2])
    noise = layers.GaussianNoise(1.0, name=f"anywhere{number}")
    drawn = noise(middle) if learnt else noise(middle, training=True)
    return ops.tanh(0.7978845608 * (drawn + 0.044715 * drawn**3))


def glimpse(pixels: Any, place: Any, *, side: int, scales: int) -> Any:
    """Returns patches around a place, flat, (batch, scales * side * side); 0 outside the picture.

    Args:
        pixels: (batch, height, width).
        place: Its middle, (batch, 2), y and x from -1, the first pixel, to 1, the last one.
        side: Pixels of a patch.
        scales: How many; each reaches twice as far.
    """
    patches = []
    for scale in range(scales):
        step = 2.0**scale
        offsets = ((np.arange(side) + 0.5) - side / 2) * step
        rows, columns = (
            _reads(place[:, axis], offsets, pixels.shape[1 + axis], step) for axis in (0, 1)
        )
        patch = ops.matmul(ops.matmul(rows, pixels), ops.transpose(columns, (0, 2, 1)))
        patches.append(ops.reshape(patch, (-1, side * side)))
    return patches[0] if scales == 1 else ops.concatenate(patches, axis=1)


def _reads(place: Any, offsets: np.ndarray, size: int, step: float) -> Any:
    """How much of each pixel along an axis each pixel of a patch is, (batch, side, size)."""
    middle = (place[:, None] + 1.0) * ((size - 1) / 2)  # (batch, 1)
    at = middle + offsets[None].astype("float32")  # (batch, side)
    away = ops.abs(at[:, :, None] - np.arange(size, dtype="float32")[None, None])
    return ops.relu(1.0 - away / step) / step
