"""What the layers of a trained network make of a picture of any size, from its intensities on.

Any Functional or Sequential network of pictures, up to the layers that are asked for: what lies
behind them, e.g. a classifier's head, which would fix the size, is not run. VGG-16's usual layers
are those of Gatys et al. 2016 (CVPR, section 2.2 and figure 1); of another network they are, for
each size of its maps, the last one that is no pooling.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import keras
from keras import layers

from compress.graph.graph import infer, inputs_of, is_graph, leaf_layers, replay
from compress.graph.plain import functional
from zoo import weights
from zoo.bundle import find_bundle
from zoo.data.preprocessing import Preprocessing
from zoo.models.build import create
from zoo.models.paths import Shape, find_path, refuse_channels_first
from zoo.models.saved import load_model
from zoo.weights.convolutions import load_convolutions

Pooling = Literal["max", "average"]
NOMINAL = 224  # side that the usual layers are told apart at, where a network has none
STYLE, CONTENT = tuple(f"stage{stage}_conv1_relu" for stage in range(1, 6)), "stage4_conv2_relu"
BYTES = 4  # of a value
POOLS = (layers.MaxPooling2D, layers.AveragePooling2D)


class Perception:
    """A trained network that looks at pictures of any size. It shares its weights with the model.

    Args:
        name: What it is called.
        model: Reads pictures (batch, height, width, channels), and nothing else.
        known: How pixels become what it reads.

    Attributes:
        name: What it is called.
        channels: 1 of a network that sees grey pictures, else 3.

    Raises:
        TypeError: The model has no graph.
        ValueError: It reads something else, or computes with channels first.
    """

    def __init__(self, name: str, model: keras.Model, known: Preprocessing):
        self.name, self._model = name, functional(model)
        read = [tuple(x.shape) for x in self._model.inputs]
        if len(read) != 1 or len(read[0]) != 4 or read[0][-1] not in (1, 3):
            raise ValueError(
                f"{name}: reads {', '.join(map(str, read))}; expected a network of pictures "
                "(batch, height, width, 1 or 3) alone."
            )
        refuse_channels_first(self._model)
        self.channels: int = read[0][-1]
        self._affine = known.affine
        found = list(leaf_layers(self._model))
        self._paths = {id(layer): path for path, layer in found}
        self._pools = {path for path, layer in found if isinstance(layer, POOLS)}
        sides = tuple(side or NOMINAL for side in read[0][1:3])
        self._shapes = self._made(sides, pooling="max").shapes

    @property
    def layers(self) -> list[str]:
        """Paths of the layers that give maps, in the order of the graph."""
        return [path for path, shape in self._shapes.items() if len(shape) == 4]

    def find_layer(self, name: str) -> str:
        """Returns the path of a layer that gives maps; raises like `find_path`."""
        return find_path(self._shapes, name, of=self.name, maps=True)

    def usual(self) -> tuple[tuple[str, ...], str]:
        """Returns the layers whose Gram matrices are a style, and the one that is content."""
        if {*STYLE, CONTENT} <= self._shapes.keys():
            return STYLE, CONTENT
        last = {
            shape[1:3]: path
            for path, shape in self._shapes.items()
            if len(shape) == 4 and 1 not in shape[1:3] and path not in self._pools
        }
        if not last:
            raise ValueError(f"{self.name}: has no layer that gives maps; expected convolutions.")
        style = tuple(last.values())[:5]
        return style, style[max(min(len(style) - 2, 3), 0)]

    def at(
        self, paths: Sequence[str], size: tuple[int, int], *, pooling: Pooling = "max"
    ) -> keras.Model:
        """Returns a model from intensities [0, 1], (batch, height, width, channels), to maps.

        Args:
            paths: Layers, see `layers`.
            size: Height and width of the pictures.
            pooling: `average` takes means where the network takes maxima.

        Returns:
            A model whose output is a mapping from `paths` to their maps, float32.

        Raises:
            ValueError: A layer cannot be had at this size, or there is no such layer.
        """
        made = self._made(size, pooling=pooling, wanted=[self.find_layer(one) for one in paths])
        outputs = {path: made.tensors[path] for path in paths}
        return keras.Model(made.image, outputs, name="perception")

    def needed_bytes(self, paths: Sequence[str], size: tuple[int, int]) -> int:
        """Returns about how much memory a gradient of a picture of that size takes."""
        made = self._made(size, pooling="max", wanted=paths)
        values = sum(math.prod(side or 1 for side in shape) for shape in made.shapes.values())
        return 3 * BYTES * values  # the maps, their gradients, and copies for a convolution

    def _made(
        self, size: tuple[int | None, ...], *, pooling: Pooling, wanted: Sequence[str] | None = None
    ) -> _Made:
        """Runs the graph on a symbolic picture up to the layers that are wanted."""
        image = keras.Input((*size, self.channels), name="image")
        factor, offset = self._affine
        made = _Made(image, {}, {})
        missing = set(wanted or ())

        def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
            if is_graph(operation):
                return replay(operation, args[0], call)
            if pooling == "average":
                operation = _averaged(operation)
            try:
                outputs = infer(operation, *args, **kwargs)
            except ValueError as error:
                if wanted is None:
                    raise
                raise ValueError(
                    f"layer {sorted(missing)[0]!r}: cannot be had of {size[0]} x {size[1]} pixels: "
                    f"{self.name} takes one size at {operation.name!r}, or larger pictures; "
                    "expected a layer before it."
                ) from error
            path = self._paths.get(id(operation), "")
            flat = keras.tree.flatten(outputs)
            if path and path not in made.shapes:
                made.shapes[path], made.tensors[path] = tuple(flat[0].shape), flat[0]
                missing.discard(path)
            if wanted is not None and not missing:
                raise _Enough
            return outputs

        x = image * (255 * factor) + offset
        with contextlib.suppress(_Enough):
            replay(self._model, keras.tree.pack_sequence_as(inputs_of(self._model), [x]), call)
        return made


class _Made(NamedTuple):
    """A symbolic run: the picture, and what each layer gives, by its path."""

    image: Any
    shapes: dict[str, Shape]
    tensors: dict[str, Any]


class _Enough(Exception):  # noqa: N818
    """All that was wanted is there."""


def _averaged(operation: Any) -> Any:
    """A layer that takes maxima, taking means."""
    if not isinstance(operation, layers.MaxPooling2D):
        return operation
    return layers.AveragePooling2D(
        operation.pool_size, operation.strides, operation.padding, name=operation.name
    )


def open_perception(name: str | Path) -> Perception:
    """Opens a trained network to look at pictures with.

    Args:
        name: Weights that were fetched, `vgg16-edges` or e.g. `mobilenet_v2-imagenet`; or a bundle,
            its directory or the name of one that comes with the zoo.

    Raises:
        FileNotFoundError: There is none, or the weights have not been fetched.
        TypeError: It has no graph.
        ValueError: It does not read pictures alone.
    """
    row = weights.find_named(str(name), headless=True)
    if row is not None and not Path(str(name)).exists():
        whole = bool(row.num_classes)
        model: Any = create(row.model, weights=row.name) if whole else load_convolutions(row)
        return Perception(str(name), model, Preprocessing(**row.preprocessing(NOMINAL)))
    bundle = find_bundle(name)
    card = bundle.card
    if len(card.inputs) != 1 or len(card.input_shape) != 3:
        read = ", ".join(card.inputs)
        raise ValueError(f"{bundle.path}: reads {read}; expected a network of pictures alone.")
    known = Preprocessing.parse(card.preprocessing, where=f"{bundle.path}/card.json")
    return Perception(bundle.path.name, load_model(bundle.path), known)
