"""A 3x3 convolution with fewer multiplications.

Source: Lavin & Gray 2016, Fast algorithms for convolutional neural networks, CVPR,
arXiv:1509.09308, eqs. 8 to 11 and 17 to 23. A tile of m x m outputs takes t x t products for each
pair of channels, t = m + 2, where the direct form takes 9 m^2:

    Y = A^T [ (G g G^T) * (B^T d B) ] A         F(2x2, 3x3): 16 for 36, 2.25 times fewer
                                                F(4x4, 3x3): 36 for 144, 4 times fewer

The kernel is stored as G g G^T. Rounding grows with the tile: see the paper's table 6.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import activations, layers, ops, regularizers

# Eqs. 10 and 11, and 22: B^T, G, A^T for each tile.
TRANSFORMS: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {
    2: (
        np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], float),
        np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], float),
        np.array([[1, 1, 1, 0], [0, 1, -1, -1]], float),
    ),
    4: (
        np.array(
            [
                [4, 0, -5, 0, 1, 0],
                [0, -4, -4, 1, 1, 0],
                [0, 4, -4, -1, 1, 0],
                [0, -2, -1, 2, 1, 0],
                [0, 2, -1, -2, 1, 0],
                [0, 4, 0, -5, 0, 1],
            ],
            float,
        ),
        np.array(
            [
                [1 / 4, 0, 0],
                [-1 / 6, -1 / 6, -1 / 6],
                [-1 / 6, 1 / 6, -1 / 6],
                [1 / 24, 1 / 12, 1 / 6],
                [1 / 24, -1 / 12, 1 / 6],
                [0, 0, 1],
            ],
            float,
        ),
        np.array(
            [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
            float,
        ),
    ),
}


@keras.saving.register_keras_serializable(package="compress")
class WinogradConv2D(layers.Layer):
    """`Conv2D` with a 3x3 kernel at stride 1, by Winograd's minimal filtering.

    Shapes: (batch, height, width, channels), height and width known, to (batch, height, width,
    filters), or 2 less along both with `valid` padding.

    Args:
        filters: Channels of the output.
        tile: 2 or 4, side of a tile of outputs.
        padding: `same` or `valid`.
        use_bias: Whether to add a bias.
        activation: As in `Conv2D`.
        kernel_regularizer: Penalty on the transformed kernel.
        bias_regularizer: As in `Conv2D`.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Attributes:
        kernel: (t, t, channels, filters), transformed.

    Raises:
        ValueError: `tile` or `padding` is unknown.
    """

    kernel_names = ("kernel",)  # what compression works on

    def __init__(
        self,
        filters: int,
        *,
        tile: int = 2,
        padding: str = "same",
        use_bias: bool = True,
        activation: Any = None,
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if tile not in TRANSFORMS or padding not in ("same", "valid"):
            raise ValueError(
                f"WinogradConv2D: got tile {tile!r} and padding {padding!r}; expected 2 or 4, and "
                "'same' or 'valid'."
            )
        self.filters = filters
        self.tile = tile
        self.padding = padding
        self.use_bias = use_bias
        self.activation = activations.get(activation)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the transformed kernel and the bias."""
        size = self.tile + 2
        shape = (size, size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(
            shape=shape,
            name="kernel",
            initializer="zeros",
            regularizer=self.kernel_regularizer,
        )
        self.bias: Any = None
        if self.use_bias:
            self.bias = self.add_weight(
                shape=(self.filters,),
                name="bias",
                initializer="zeros",
                regularizer=self.bias_regularizer,
            )

    def call(self, inputs: Any) -> Any:
        """Convolves (batch, height, width, channels)."""
        _, height, width, channels = self._known(inputs.shape)
        m, t = self.tile, self.tile + 2
        edge = 1 if self.padding == "same" else 0
        out = [size + 2 * edge - 2 for size in (height, width)]
        rows, columns = (-(-size // m) for size in out)
        ends = [
            (edge, count * m + 2 - size - edge)
            for count, size in ((rows, height), (columns, width))
        ]
        x = ops.pad(inputs, [(0, 0), *ends, (0, 0)])
        back, _, forth = TRANSFORMS[m]
        # Converters want the batch first, at most four axes, and few steps: B^T d B is a depthwise
        # convolution whose stride is the tile.
        taps = np.einsum("ui,vj->ijuv", back, back).reshape(t, t, 1, t * t)
        taps = ops.convert_to_tensor(taps.repeat(channels, axis=2), dtype=x.dtype)
        d = ops.depthwise_conv(x, taps, strides=m, padding="valid", data_format="channels_last")
        d = ops.reshape(d, (-1, rows * columns, channels, t * t))
        d = ops.transpose(d, (0, 3, 1, 2))  # (batch, t * t, rows * columns, channels)
        kernel = ops.reshape(ops.cast(self.kernel, x.dtype), (t * t, channels, self.filters))
        y = ops.reshape(ops.matmul(d, kernel), (-1, t * t, rows * columns * self.filters))
        y = ops.matmul(ops.convert_to_tensor(np.kron(forth, forth), dtype=x.dtype), y)
        y = ops.reshape(y, (-1, m * m, rows * columns, self.filters))
        y = ops.transpose(y, (0, 2, 1, 3))  # (batch, rows * columns, m * m, filters)
        y = ops.reshape(y, (-1, columns, m, m * self.filters))
        y = ops.transpose(y, (0, 2, 1, 3))  # (batch * rows, m, columns, m * filters)
        y = ops.reshape(y, (-1, rows * m, columns * m, self.filters))[:, : out[0], : out[1]]
        if self.bias is not None:
            y = y + self.bias
        return self.activation(y)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """(batch, height, width, filters)."""
        batch, height, width, _ = self._known(input_shape)
        less = 0 if self.padding == "same" else 2
        return (batch, height - less, width - less, self.filters)

    def count_macs(self, output_shape: tuple[Any, ...]) -> int:
        """Returns the products between tiles and kernel for one example."""
        _, height, width, _ = output_shape
        tiles = -(-height // self.tile) * -(-width // self.tile)
        return int(tiles * np.prod(self.kernel.shape))

    def _known(self, shape: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(shape) != 4 or None in shape[1:]:
            raise ValueError(
                f"WinogradConv2D: got the shape {tuple(shape)}; expected (batch, height, width, "
                "channels), height and width known."
            )
        return tuple(shape)

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "tile": self.tile,
            "padding": self.padding,
            "use_bias": self.use_bias,
            "activation": activations.serialize(self.activation),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
        }


def transformed(kernel: np.ndarray, tile: int) -> np.ndarray:
    """Returns G g G^T for each pair of channels: (3, 3, n, m) to (t, t, n, m), float64."""
    g = TRANSFORMS[tile][1]
    return np.einsum("ta,abnm,ub->tunm", g, kernel.astype(np.float64), g)
