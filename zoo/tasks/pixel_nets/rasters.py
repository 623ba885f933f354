"""A net of pixels is asked for one pixel after another, and computes nothing twice.

A plain loop runs the whole net for each pixel, and throws all of it away but one place. Here every
step of the graph keeps what it has computed, place by place, and is asked only for what the next
pixel needs: a picture costs one pass of the net in all. What it computes is what the net computes,
up to the order of sums. That no pixel behind the next is looked at is checked on the way.

The steps are those of `zoo.models.raster`, `pixel_cnn` and `pixel_rnn`. A net with others, e.g. of
a compressed model, is run whole for each pixel.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import keras

LOG = logging.getLogger("zoo")


class Answers(Protocol):
    """Pictures that grow pixel by pixel, and what a net makes of them."""

    def logits(self, row: int, column: int) -> np.ndarray:
        """Returns the logits (n, outputs) of a pixel; all before it are put."""

    def put(self, row: int, column: int, values: np.ndarray) -> None:
        """Takes a pixel's values (n,), as the net reads them."""


def answers(network: keras.Model, given: Mapping[str, np.ndarray]) -> Answers:
    """Returns what answers for a net, the faster way where that is known.

    Args:
        network: Reads `image` (n, h, w, 1) and gives logits (n, h, w, outputs).
        given: What it reads: `image`, whose pixels are put later, and what else there is.
    """
    try:
        return Kept(network, given)
    except NotImplementedError as error:
        LOG.info("%s: %s; the whole net is run for each pixel", network.name, error)
        return Whole(network, given)


class Whole:
    """Runs the whole net for each pixel; see `answers`."""

    def __init__(self, network: keras.Model, given: Mapping[str, np.ndarray]):
        import tensorflow as tf

        self._given = {name: np.array(values, "float32") for name, values in given.items()}
        self._run = tf.function(lambda columns: network(columns, training=False), autograph=False)

    def logits(self, row: int, column: int) -> np.ndarray:
        """See `Answers.logits`."""
        columns = self._given if len(self._given) > 1 else self._given["image"]
        return np.asarray(self._run(columns))[:, row, column]

    def put(self, row: int, column: int, values: np.ndarray) -> None:
        """See `Answers.put`."""
        self._given["image"][:, row, column, 0] = values


class Kept:
    """Keeps what each step has computed; see `answers`.

    Raises:
        NotImplementedError: The net has a step that is not known.
    """

    def __init__(self, network: keras.Model, given: Mapping[str, np.ndarray]):
        from compress.graph import trace

        graph = trace(network)
        count = len(given["image"])
        steps: dict[int, Step] = {}
        for tensor in graph.inputs:
            if tensor.name == "image":
                self._picture = Picture(tensor.shape[1:], count)
                steps[id(tensor)] = self._picture
        known = _constants(graph, given)
        for call in graph.calls:
            if not call.outputs:  # a nested net, whose own steps follow
                continue
            made = call.outputs[0]
            if id(made) in known:
                steps[id(made)] = Constant(known[id(made)], count)
                continue
            sources = [steps[id(tensor)] for tensor in call.inputs]
            steps[id(made)] = _step(call.operation, sources, made.shape[1:], count)
        self._last = steps[id(graph.outputs[0])]

    def logits(self, row: int, column: int) -> np.ndarray:
        """See `Answers.logits`."""
        return self._last.at(row, column)

    def put(self, row: int, column: int, values: np.ndarray) -> None:
        """See `Answers.put`."""
        self._picture.values[row, column] = values[:, None]
        self._picture.done[row][column] = True


class Step:
    """A step of the graph, whose answer is computed place by place, when it is asked for.

    Args:
        shape: (height, width, channels) of the answer.
        count: Number of pictures.

    Attributes:
        values: (height, width, count, channels).
        done: Whether a place is computed, rows of a list.
    """

    def __init__(self, shape: Sequence[int], count: int):
        height, width, channels = shape
        self.values = np.zeros((height, width, count, channels), "float32")
        self.done = [[False] * width for _ in range(height)]

    def at(self, row: int, column: int) -> np.ndarray:
        """Returns a place, (count, channels)."""
        if not self.done[row][column]:
            self.values[row, column] = self.compute(row, column)
            self.done[row][column] = True
        return self.values[row, column]

    def window(self, row: int, column: int, rows: int, columns: int) -> np.ndarray:
        """Returns the places from one on, (rows, columns, count, channels)."""
        for line in range(row, row + rows):
            done = self.done[line]
            for place in range(column, column + columns):
                if not done[place]:
                    self.at(line, place)
        return self.values[row : row + rows, column : column + columns]

    def compute(self, row: int, column: int) -> np.ndarray:
        """Returns a place, (count, channels)."""
        raise NotImplementedError


class Picture(Step):
    """The pictures, as far as they are known."""

    def compute(self, row: int, column: int) -> np.ndarray:
        """Refuses."""
        raise ValueError(
            f"image: the net looks at pixel ({row}, {column}), which is not drawn yet; expected a "
            "net that sees only what comes before a pixel."
        )


class Constant(Step):
    """What is known before the first pixel: the same at every place, as of a class, or a map."""

    def __init__(self, values: np.ndarray, count: int):
        maps = values.reshape(count, *values.shape[1:-1] or (1, 1), values.shape[-1])
        super().__init__(maps.shape[1:], count)
        self.values[:] = maps.transpose(1, 2, 0, 3)
        self.done = [[True] * maps.shape[2] for _ in range(maps.shape[1])]

    def at(self, row: int, column: int) -> np.ndarray:
        """See `Step.at`."""
        height, width = self.values.shape[:2]
        return self.values[row if height > 1 else 0, column if width > 1 else 0]


class Moved(Step):
    """Zero padding, and cropping: what is at a place comes from another."""

    def __init__(self, source: Step, shape: Sequence[int], count: int, shift: tuple[int, int]):
        super().__init__(shape, count)
        self._source, self._shift = source, shift
        height, width = len(source.done), len(source.done[0])
        for row, line in enumerate(self.done):
            for column in range(len(line)):
                inside = 0 <= row - shift[0] < height and 0 <= column - shift[1] < width
                line[column] = not inside  # padding is zero

    def compute(self, row: int, column: int) -> np.ndarray:
        """See `Step.compute`."""
        return self._source.at(row - self._shift[0], column - self._shift[1])


class Convolved(Step):
    """A convolution without padding, at a stride of 1."""

    def __init__(self, source: Step, shape: Sequence[int], count: int, layer: Any):
        super().__init__(shape, count)
        self._source, self._size = source, layer.kernel_size
        self._kernel = np.asarray(layer.kernel)  # (rows, columns, channels, filters)
        self._bias = np.asarray(layer.bias) if layer.use_bias else np.float32(0)
        self._activation = _function(layer.activation)

    def compute(self, row: int, column: int) -> np.ndarray:
        """See `Step.compute`."""
        if self._size == (1, 1):
            found = self._source.at(row, column) @ self._kernel[0, 0] + self._bias
        else:
            seen = self._source.window(row, column, *self._size)
            found = np.matmul(seen, self._kernel).sum(axis=(0, 1)) + self._bias
        return self._activation(found) if self._activation else found


class Pointwise(Step):
    """A function of the same place of each source."""

    def __init__(
        self,
        sources: Sequence[Step],
        shape: Sequence[int],
        count: int,
        function: Callable[..., Any],
    ):
        super().__init__(shape, count)
        self._sources, self._function = sources, function

    def compute(self, row: int, column: int) -> np.ndarray:
        """See `Step.compute`."""
        found: np.ndarray = self._function(*[source.at(row, column) for source in self._sources])
        return found


class Lines(Step):
    """An LSTM over lines, `zoo.layers.LineLSTM`."""

    def __init__(self, source: Step, shape: Sequence[int], count: int, layer: Any):
        super().__init__(shape, count)
        self._source, self._cells = source, np.zeros_like(self.values)
        self._kernel = np.asarray(layer.kernel)  # (taps, features, 4 features)
        self._features = layer.features
        # The place whose cells are carried on, and all whose states are seen: down, right.
        self._own = (-1, 0)
        self._near: tuple[tuple[int, int], ...] = ((-1, -1), (-1, 0), (-1, 1))
        if layer.along == "diagonal":
            self._own = (0, 1) if layer.reverse else (0, -1)
            self._near = ((-1, 0), self._own)

    def compute(self, row: int, column: int) -> np.ndarray:
        """See `Step.compute`."""
        height, width = len(self.done), len(self.done[0])
        gates = self._source.at(row, column).copy()
        for (down, right), kernel in zip(self._near, self._kernel, strict=True):
            if 0 <= row + down < height and 0 <= column + right < width:
                gates += self.at(row + down, column + right) @ kernel
        size = self._features
        opened = _sigmoid(gates[:, : 3 * size])
        cells = opened[:, :size] * np.tanh(gates[:, 3 * size :])
        beside, aside = row + self._own[0], column + self._own[1]
        if 0 <= beside < height and 0 <= aside < width:
            cells += opened[:, size : 2 * size] * self._cells[beside, aside]
        self._cells[row, column] = cells
        found: np.ndarray = opened[:, 2 * size :] * np.tanh(cells)
        return found


def _constants(graph: Any, given: Mapping[str, np.ndarray]) -> dict[int, np.ndarray]:
    """What does not depend on the picture, by the id of its tensor, computed by Keras."""
    import keras

    inputs = [tensor for tensor in graph.inputs if tensor.name != "image"]
    known = {id(tensor): keras.ops.convert_to_tensor(given[tensor.name]) for tensor in inputs}
    for call in graph.calls:
        if call.outputs and call.inputs and all(id(tensor) in known for tensor in call.inputs):
            values = keras.tree.map_structure(
                lambda x: known[id(x)] if isinstance(x, keras.KerasTensor) else x, call.args
            )
            known[id(call.outputs[0])] = call.operation(*values)
    return {key: np.asarray(values) for key, values in known.items()}


def _step(operation: Any, sources: Sequence[Step], shape: Sequence[int], count: int) -> Step:
    """The step of an operation.

    Raises:
        NotImplementedError: It is not known.
    """
    from keras import layers

    from zoo.layers import GatedActivation, LineLSTM

    kind = type(operation)
    if kind is layers.ZeroPadding2D:
        (top, _), (before, _) = operation.padding
        return Moved(sources[0], shape, count, (top, before))
    if kind is layers.Cropping2D:
        (top, _), (before, _) = operation.cropping
        return Moved(sources[0], shape, count, (-top, -before))
    if kind is layers.Conv2D and _plain(operation):
        return Convolved(sources[0], shape, count, operation)
    if kind is LineLSTM:
        return Lines(sources[0], shape, count, operation)
    if kind is layers.Add:
        return Pointwise(sources, shape, count, _sum)
    if kind is GatedActivation:
        return Pointwise(sources, shape, count, _gate)
    if kind is layers.ReLU and (operation.max_value, operation.negative_slope) == (None, 0):
        return Pointwise(sources, shape, count, _relu)
    raise NotImplementedError(f"{operation.name} is a step that is not known place by place")


def _plain(layer: Any) -> bool:
    """Whether a convolution is one at every place, of all channels."""
    alone = layer.strides == layer.dilation_rate == (1, 1) and layer.groups == 1
    size = layer.padding == "valid" or layer.kernel_size == (1, 1)
    return alone and size and layer.data_format == "channels_last"


def _function(activation: Any) -> Callable[[Any], Any] | None:
    name = getattr(activation, "__name__", "")
    known = {"linear": None, "relu": _relu, "tanh": np.tanh, "sigmoid": _sigmoid}
    if name not in known:
        raise NotImplementedError(f"the activation {name} is not known place by place")
    return known[name]


def _relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    found: np.ndarray = 0.5 * (1 + np.tanh(0.5 * x))
    return found


def _gate(x: np.ndarray) -> np.ndarray:
    half = x.shape[1] // 2
    found: np.ndarray = np.tanh(x[:, :half]) * _sigmoid(x[:, half:])
    return found


def _sum(*values: np.ndarray) -> np.ndarray:
    total = values[0] + values[1]
    for value in values[2:]:
        total = total + value
    return total
