"""Two pieces that the residual and the dense nets share."""

from __future__ import annotations

from keras import KerasTensor, layers


def conv(
    x: KerasTensor,
    filters: int,
    size: int,
    *,
    name: str,
    strides: int = 1,
    dilation: int = 1,
    use_bias: bool = False,
) -> KerasTensor:
    """A square convolution of an odd size, padded by `size // 2` on every side, as in the papers.

    (batch, height, width, channels) to (batch, ceil(height / strides), ceil(width / strides),
    filters). Keras' `same` pads more at the end than at the beginning where it strides.
    """
    if strides > 1 and size > 1:
        x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
    return layers.Conv2D(
        filters,
        size,
        strides=strides,
        dilation_rate=dilation,
        padding="same" if strides == 1 else "valid",
        use_bias=use_bias,
        kernel_initializer="he_normal",
        name=name,
    )(x)


def norm(x: KerasTensor, *, name: str, relu: str = "", epsilon: float = 1e-5) -> KerasTensor:
    """A batch normalisation called `name`, and a ReLU where one is named."""
    x = layers.BatchNormalization(momentum=0.9, epsilon=epsilon, name=name)(x)
    return layers.ReLU(name=relu)(x) if relu else x
