"""Networks that place points, and an ellipse.

Sources: Toshev & Szegedy 2014, DeepPose, arXiv:1312.4659, section 3: an AlexNet regresses all
points at once, and each later stage looks again, closely, at what the stage before it found;
Tompson et al. 2014, arXiv:1406.2984, and Sun et al. 2018, arXiv:1711.08229, equation 2: a heat map
for each point, and the mean place under it. Differs: the small variants have trunks for 64 pixels;
a stage looks at a window of fixed size, cut bilinearly, with one network for all points; all stages
learn at once, and no gradient flows into where a window lies.
58,396,060 parameters for DeepPose's first stage of 14 points (the paper says about 40 million).
"""

from __future__ import annotations

import keras
from keras import KerasTensor, layers, ops

from zoo.layers.lrn import LocalResponseNormalization
from zoo.layers.roi import ROIAlign
from zoo.layers.soft_argmax import SoftArgmax, Windows
from zoo.models.parts import norm
from zoo.models.pyramid import scene_maps

LOOK = 16  # places of a window along each side


def deeppose(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    stages: int = 1,
    small: bool = False,
    width: int = 64,
    units: int = 4096,
    window: float = 0.3,
    dropout: float = 0.6,
) -> keras.Model:
    """Returns a DeepPose: (batch, height, width, channels) to points (batch, points, 2).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels).
        num_classes: Number of points.
        stages: Number of stages.
        small: Whether the trunk is that for scenes of 64 pixels, not AlexNet's.
        width: Maps of the small trunk.
        units: Units of the two hidden layers.
        window: Height and width of a later stage's window, as a share of the picture's.
        dropout: Rate behind the hidden layers of the first stage.

    Returns:
        A model whose output is `points` in fractions of the sides; with several stages a mapping
        in which `auxiliary_stage1` ... are the earlier ones'.
    """
    if stages < 1 or not 0 < window <= 1:
        raise ValueError(
            f"deeppose: got {stages} stages and window {window}; expected 1 or more, and a share."
        )
    if small:
        image, maps = scene_maps(input_shape, width)
        x = _squeezed(maps, width)
    else:
        image, x = _alexnet(input_shape)
    x = layers.Flatten(name="flatten")(x)
    for index in (1, 2):
        x = layers.Dense(units, "relu", kernel_initializer="he_normal", name=f"fc{index}")(x)
        x = layers.Dropout(dropout, name=f"fc{index}_drop")(x)
    # At first all points are in the middle.
    middle = keras.initializers.Constant(0.5)
    small_start = keras.initializers.RandomNormal(stddev=0.001)
    x = layers.Dense(
        2 * num_classes,
        kernel_initializer=small_start,
        bias_initializer=middle,
        name="stage1",
    )(x)
    found = [layers.Reshape((num_classes, 2), dtype="float32", name="stage1_points")(x)]
    for stage in range(2, stages + 1):
        found.append(_look_again(image, found[-1], stage, num_classes, window))
    heads = [*(f"auxiliary_stage{stage}" for stage in range(1, stages)), "points"]
    named = {
        head: layers.Activation("linear", dtype="float32", name=head)(points)
        for head, points in zip(heads, found, strict=True)
    }
    return keras.Model(image, named if stages > 1 else named["points"], name=name)


def heat_maps(
    *, name: str, input_shape: tuple[int, ...], num_classes: int, width: int = 64
) -> keras.Model:
    """Returns a network of heat maps: (batch, height, width, channels) to (batch, points, 2).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels).
        num_classes: Number of points.
        width: Maps of the trunk.
    """
    image, x = scene_maps(input_shape, width)  # (batch, 16, 16, width)
    points = SoftArgmax(name="points")(_heat(x, num_classes))
    return keras.Model(image, points, name=name)


def ellipse_net(
    *,
    name: str,
    input_shape: tuple[int, ...],
    width: int = 64,
    units: int = 128,
    dropout: float = 0.1,
) -> keras.Model:
    """Returns a network that places an ellipse: (batch, height, width, channels) to (batch, 6).

    Args:
        name: Name of the model.
        input_shape: (height, width, channels).
        width: Maps of the trunk.
        units: Units of the hidden layer.
        dropout: Rate behind it.
    """
    image, maps = scene_maps(input_shape, width)
    found = [layers.Flatten(name="centre")(SoftArgmax(name="centre_place")(_heat(maps, 1)))]
    x = layers.Flatten(name="flatten")(_squeezed(maps, width))
    x = layers.Dense(units, "relu", kernel_initializer="he_normal", name="fc")(x)
    x = layers.Dropout(dropout, name="fc_drop")(x)
    start = keras.initializers.RandomNormal(stddev=0.001)
    # At first a circle of an eighth of the picture in radius.
    for place, bias in (("axes", -2.1), ("turn", 0.0)):
        found.append(
            layers.Dense(
                2,
                kernel_initializer=start,
                bias_initializer=keras.initializers.Constant(bias),
                dtype="float32",
                name=place,
            )(x)
        )
    x = layers.Concatenate(dtype="float32", name="ellipse")(found)
    return keras.Model(image, x, name=name)


def _heat(x: KerasTensor, num: int) -> KerasTensor:
    """Maps of so many points, (batch, height, width, num)."""
    width = x.shape[-1]
    for index, rate in ((1, 2), (2, 4)):
        x = layers.Conv2D(
            width,
            3,
            dilation_rate=rate,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"head_conv{index}",
        )(x)
        x = norm(x, name=f"head_conv{index}_bn", relu=f"head_conv{index}_relu")
    return layers.Conv2D(num, 1, dtype="float32", name="heat")(x)


def _squeezed(x: KerasTensor, width: int) -> KerasTensor:
    """Half the maps of half the sides, (batch, 8, 8, width / 2) of a picture of 64 pixels."""
    x = layers.Conv2D(
        width,
        3,
        strides=2,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name="down_conv",
    )(x)
    x = norm(x, name="down_conv_bn", relu="down_conv_relu")
    x = layers.Conv2D(
        width // 2, 1, use_bias=False, kernel_initializer="he_normal", name="squeeze_conv"
    )(x)
    return norm(x, name="squeeze_conv_bn", relu="squeeze_conv_relu")


def _alexnet(input_shape: tuple[int, ...]) -> tuple[KerasTensor, KerasTensor]:
    """DeepPose's trunk: C55x96, LRN, P, C27x256, LRN, P, C13x384 twice, C13x256, P."""
    x = image = keras.Input(input_shape, name="image")  # shapes below: at 220x220x3
    plan = ((96, 11, 4, True), (256, 5, 1, True), (384, 3, 1, False), (384, 3, 1, False))
    for index, (filters, size, strides, pooled) in enumerate((*plan, (256, 3, 1, False)), start=1):
        x = layers.Conv2D(
            filters,
            size,
            strides=strides,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"conv{index}",
        )(x)  # (batch, 55, 55, 96) ...
        if pooled:
            x = LocalResponseNormalization(name=f"conv{index}_norm")(x)
        if pooled or index == 5:
            x = layers.MaxPooling2D(3, strides=2, name=f"conv{index}_pool")(x)
    return image, x  # (batch, 6, 6, 256)


def _look_again(
    image: KerasTensor, points: KerasTensor, stage: int, num: int, window: float
) -> KerasTensor:
    """Points moved by what a window around each of them shows, (batch, points, 2)."""
    height, width = image.shape[1:3]
    place = f"stage{stage}"
    boxes = Windows((height, width), share=window, name=f"{place}_windows")(points)
    x = ROIAlign(LOOK, strides=[1], merged=True, name=f"{place}_look")([image, boxes])
    for index, filters in enumerate((16, 32, 32), start=1):
        x = layers.Conv2D(
            filters,
            3,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"{place}_conv{index}",
        )(x)
        x = norm(x, name=f"{place}_conv{index}_bn", relu=f"{place}_conv{index}_relu")
        if index < 3:
            x = layers.MaxPooling2D(2, name=f"{place}_pool{index}")(x)
    x = layers.Flatten(name=f"{place}_flatten")(x)
    x = layers.Dense(64, "relu", kernel_initializer="he_normal", name=f"{place}_fc")(x)
    start = keras.initializers.RandomNormal(stddev=0.001)
    # Of all points' movements each takes its own: one network for all.
    moves = layers.Dense(2 * num, kernel_initializer=start, name=f"{place}_moves")(x)
    moves = ops.reshape(moves, (-1, num, num, 2))  # window, point
    own = ops.einsum("bwpc,wp->bwc", moves, ops.eye(num))
    moved = layers.Rescaling(window, dtype="float32", name=f"{place}_scale")(own)
    return layers.Add(dtype="float32", name=f"{place}_points")([ops.stop_gradient(points), moved])
