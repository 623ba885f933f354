"""A classifier that slides: its dense layers become convolutions, and it takes larger images.

Source: Sermanet et al. 2013, OverFeat, arXiv:1312.6229, section 3.5; Long, Shelhamer & Darrell
2014, arXiv:1411.4038, section 3.1. LeNet-5's paper calls its first dense layer a convolution.
Differs: the positions are those of the net's own stride; nothing is resampled.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
from keras import KerasTensor, layers

from zoo.models import sliding

# What does the same for a vector at every place of a map.
ON_VECTORS = sliding.POINTWISE - {
    "GetItem",
    "LocalResponseNormalization",
    "Normalization",
    "PReLU",
    "SpatialDropout2D",
    "Split",
}
OVER_UNITS = (keras.activations.softmax, keras.activations.log_softmax)
POOLS = {
    layers.GlobalAveragePooling2D: layers.AveragePooling2D,
    layers.GlobalMaxPooling2D: layers.MaxPooling2D,
}

Sides = tuple[int, int]


def convolutionalize(model: keras.Model, *, size: Sides | None = None) -> keras.Model:
    """Turns a classifier into a fully convolutional net, with copies of its weights.

    A dense layer after a flattened (h, w, c) map becomes an h x w convolution, later ones become
    1x1; global pooling becomes pooling over the classifier's own map with a stride of 1.

    At the classifier's own size the answers are the same, in a map of 1x1. On a larger image
    `logits[:, i, j]` answers for the window of that size whose upper left corner is at
    `(i, j) * stride`, see `zoo.models.sliding.stride`. It equals the classifier run on that window
    when no layer looks beyond it. Zero padding does: where the window alone had zeros, the sliding
    net sees the neighbours, and no convolution can do both. `zoo.models.sliding.inexact` names
    those layers: LeNet-5 has none; VGG and ResNet have, and agree at the classifier's own size.
    Where strides leave out a classifier's last pixels, the last windows may stick out by them.

    Args:
        model: Functional or built Sequential, one input (height, width, channels), channels last.
        size: Height and width of the images, e.g. to export it; `None` leaves them free. Take the
            classifier's plus a multiple of the stride: at others, branches may not fit together.

    Returns:
        A Functional model: (batch, height, width, channels) to (batch, rows, columns, classes).

    Raises:
        ValueError: The input is not an image of a fixed size, `size` is smaller, or a layer cannot
            slide.
    """
    inputs: Sequence[KerasTensor] = getattr(model, "inputs", None) or ()
    shapes = [tuple(tensor.shape[1:]) for tensor in inputs]
    if len(shapes) != 1 or len(shapes[0]) != 3 or None in shapes[0]:
        raise ValueError(
            f"convolutionalize: {model.name!r} takes {shapes or 'no known input'}; expected one "
            "image (height, width, channels) of a fixed size."
        )
    image, (height, width, channels) = inputs[0], inputs[0].shape[1:]
    if size is not None and (size[0] < height or size[1] < width):
        raise ValueError(
            f"convolutionalize: size got {size}; expected at least {(height, width)}, which "
            f"{model.name!r} was built for."
        )
    wide = keras.Input((*(size or (None, None)), channels), dtype=image.dtype, name=image.name)
    walk = _Sliding(wide, image)
    net = keras.Model(wide, sliding.replay(model, wide, walk.call), name=model.name)
    for old, new in walk.twins.values():
        for source, target in zip(old.weights, new.weights, strict=True):
            target.assign(keras.ops.reshape(source, target.shape))  # (h * w * c, n): (h, w, c, n)
    return net


class _Place(NamedTuple):
    """What a tensor of the sliding net stands for.

    Attributes:
        tensor: The sliding net's; kept, so that its id stays its own.
        spec: The classifier's, for one window.
        sides: Height and width of the map that a vector was made from; `None` for a map.
    """

    tensor: KerasTensor
    spec: KerasTensor
    sides: Sides | None


class _Sliding:
    """Calls each layer of a classifier on wider maps.

    Attributes:
        twins: Each layer with the one that took its place.
    """

    def __init__(self, wide: KerasTensor, image: KerasTensor) -> None:
        self.twins: dict[int, tuple[keras.layers.Layer, keras.layers.Layer]] = {}
        self._places = {id(wide): _Place(wide, image, None)}

    def call(self, prefix: str, operation: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns the wider outputs of one call."""
        places = [self._places[id(x)] for x in sliding.tensors(args, kwargs)]
        narrow = keras.tree.map_structure(self._spec, (args, kwargs))
        specs = keras.tree.flatten(operation.compute_output_spec(*narrow[0], **narrow[1]))
        name = prefix + operation.name
        try:
            if getattr(operation, "data_format", None) == "channels_first":
                raise ValueError("puts the channels first; expected them last.")
            if len({len(place.spec.shape) for place in places}) > 1:
                raise ValueError("mixes maps and vectors; what sums up the whole map cannot slide.")
            convert = self._on_maps if places[0].sides is None else self._on_vectors
            outputs, sides = convert(name, operation, places, specs, args, kwargs)
        except (TypeError, ValueError) as error:
            # Keras wraps what a layer says, in bold.
            said = re.search(r"\x1b\[1m(.*?)\x1b\[0m", str(error), re.DOTALL)
            line = " ".join((said[1] if said else str(error)).split())
            raise ValueError(
                f"convolutionalize: {name!r} ({type(operation).__name__}) {line}"
            ) from None
        for new, old in zip(keras.tree.flatten(outputs), specs, strict=True):
            self._places[id(new)] = _Place(new, old, sides)
        return outputs

    def _spec(self, x: Any) -> Any:
        return self._places[id(x)].spec if isinstance(x, KerasTensor) else x

    def _on_maps(
        self,
        name: str,
        operation: Any,
        places: Sequence[_Place],
        specs: Sequence[KerasTensor],
        args: Any,
        kwargs: Any,
    ) -> tuple[Any, Sides | None]:
        """Returns the outputs, and the sides of the map where they become vectors."""
        x, rank = places[0].tensor, len(specs[0].shape)
        height, width = places[0].spec.shape[1:3]
        if any(place.spec.shape[1:3] != (height, width) for place in places):
            raise ValueError(
                "mixes maps of several sizes; what sums up the whole map cannot slide."
            )
        if pool := POOLS.get(type(operation)):
            pool = pool((height, width), strides=1, dtype=operation.dtype_policy, name=name)
            return pool(x), None if operation.keepdims else (1, 1)
        if isinstance(operation, (layers.Flatten, layers.Reshape)) and rank == 2:
            return layers.Identity(name=name)(x), (height, width)
        if rank != 4:
            raise ValueError("gives no map; expected Flatten or global pooling before the head.")
        return self._twin(name, operation, args, kwargs), None

    def _on_vectors(
        self,
        name: str,
        operation: Any,
        places: Sequence[_Place],
        specs: Sequence[KerasTensor],
        args: Any,
        kwargs: Any,
    ) -> tuple[Any, Sides | None]:
        x, sides = places[0].tensor, places[0].sides
        if type(operation) is layers.Flatten:
            return layers.Identity(name=name)(x), sides
        if type(operation) is layers.Dense:
            return self._convolution(name, operation, sides)(x), (1, 1)
        if type(operation).__name__ not in ON_VECTORS or len(specs[0].shape) != 2:
            raise ValueError("is not known to do the same at every place of a map.")
        over_units = getattr(operation, "activation", None) in OVER_UNITS
        grouped = specs[0].shape[-1] != places[0].spec.shape[-1]  # maxout, for one
        whole = over_units or grouped or hasattr(operation, "axis")
        if any(place.sides != sides for place in places) or (whole and sides != (1, 1)):
            raise ValueError("works on a flattened map; expected a dense layer before it.")
        return self._twin(name, operation, args, kwargs, axis=-1), sides

    def _convolution(self, name: str, dense: layers.Dense, sides: Sides | None) -> Any:
        """Returns the convolution that a dense layer is."""
        starts = ("use_bias", "activation", "kernel", "bias")
        kept = {k: value for k, value in dense.get_config().items() if k.startswith(starts)}
        conv = layers.Conv2D(dense.units, sides, dtype=dense.dtype_policy, name=name, **kept)
        return self.twins.setdefault(id(dense), (dense, conv))[1]

    def _twin(self, name: str, operation: Any, args: Any, kwargs: Any, **changes: Any) -> Any:
        """Calls a copy of a layer, or of an operation of `keras.ops`, which has no name to keep."""
        config = operation.get_config()
        if not isinstance(operation, keras.layers.Layer):
            return type(operation).from_config(config)(*args, **kwargs)
        if id(operation) not in self.twins:
            config |= {"name": name} | {key: changes[key] for key in changes if key in config}
            self.twins[id(operation)] = operation, type(operation).from_config(config)
        twin = self.twins[id(operation)][1]
        outputs = twin(*args, **kwargs)
        if [weight.shape for weight in twin.weights] != [w.shape for w in operation.weights]:
            raise ValueError("has weights of its own for each place of the map.")
        return outputs
