"""Fast R-CNN: a picture and regions of it to boxes.

Source: Girshick 2015, Fast R-CNN, arXiv:1504.08083, section 2, on VGG-16: the maps of the whole
picture are computed once, each region pools its own, and two layers of the head say what it is and
where its box is. The regions come from outside, e.g. `zoo.data.sets.regions`. Differs: pictures
have one size and a fixed number of regions; the dense layers are not factorised; the small variant,
for scenes of 64 pixels, aligns its regions and has two hidden layers of 128 units and one box for
all classes. 134,690,729 parameters on VGG-16 with 20 classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import keras
from keras import KerasTensor, layers

from zoo.layers.proposals import Detections
from zoo.layers.roi import ROIAlign, ROIPooling
from zoo.models import pyramid

READERS = {"align": ROIAlign, "pool": ROIPooling}


def fast_rcnn(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    trunk: Literal["scenes", "vgg16"] = "scenes",
    width: int = 64,
    units: int = 128,
    regions: int = 64,
    detections: int = 10,
    reader: Literal["align", "pool"] = "align",
    bins: int = 5,
) -> keras.Model:
    """Returns a Fast R-CNN: (batch, height, width, channels) and regions to boxes.

    Args:
        name: Name of the model.
        input_shape: (height, width, channels); sides of at least 32, or 64 on VGG-16.
        num_classes: Number of classes, without the background.
        trunk: What the maps are made of: `scenes` or `vgg16`.
        width: Maps of the trunk `scenes`.
        units: Units of the two hidden layers that read a region.
        regions: Number of regions of a picture, as the column `regions` of the data has it.
        detections: Number of boxes in the answer.
        reader: How a region reads the maps: aligned, or with rounded bins as in the paper, which
            takes several times the memory to train.
        bins: Height and width of what it reads.

    Returns:
        A model of the inputs `image` and `regions` (batch, regions, 4), y1 x1 y2 x2 in pixels,
        zeros where there are fewer. Its outputs are a mapping: `boxes` (batch, detections, 4) in
        pixels; `scores` (batch, detections), by falling score; `classes` (batch, detections),
        int32, -1 where there is no box.

    Raises:
        ValueError: A setting is out of range.
    """
    if min(width, units, regions, detections, bins) < 1:
        raise ValueError(
            f"fast_rcnn: got width {width}, units {units}, regions {regions}, detections "
            f"{detections} and bins {bins}; expected 1 or more each."
        )
    if trunk == "vgg16":
        image, maps = pyramid.vgg16_maps(input_shape)
    else:
        image, maps = pyramid.scene_maps(input_shape, width)
    stride = 16 if trunk == "vgg16" else 4
    given = keras.Input((regions, 4), dtype="float32", name="regions")
    x = READERS[reader](bins, strides=[stride], name="roi")([maps, given])
    x = region_codes(x, given, units=units, dropout=0.5 if trunk == "vgg16" else 0.0)
    outputs = found_boxes(
        x,
        given,
        num_classes=num_classes,
        own_boxes=trunk == "vgg16",
        side=input_shape,
        detections=detections,
    )
    return keras.Model([image, given], outputs, name=name)


def found_boxes(
    x: KerasTensor,
    regions: KerasTensor,
    *,
    num_classes: int,
    own_boxes: bool,
    side: Sequence[int],
    detections: int,
) -> dict[str, KerasTensor]:
    """Returns what the two heads find in regions, see `fast_rcnn`.

    Args:
        x: What is known of each region, (batch, regions, units).
        regions: (batch, regions, 4) in pixels.
        num_classes: Number of classes, without the background.
        own_boxes: Whether each class has offsets of its own, as in the paper.
        side: Height and width of the picture, first.
        detections: Number of boxes in the answer.
    """
    own = num_classes + 1 if own_boxes else 1
    small, smaller = (keras.initializers.RandomNormal(stddev=size) for size in (0.01, 0.001))
    logits = layers.Dense(1 + num_classes, kernel_initializer=small, name="class_logits")(x)
    offsets = layers.Dense(4 * own, kernel_initializer=smaller, name="box_offsets")(x)
    boxes, scores, classes = Detections(side=side[:2], num=detections, name="detections")(
        [logits, offsets, regions]
    )
    return {"boxes": boxes, "scores": scores, "classes": classes}


def region_codes(
    x: KerasTensor, regions: KerasTensor, *, units: int, dropout: float
) -> KerasTensor:
    """Returns what two hidden layers make of regions, (batch, regions, units).

    Args:
        x: What each region reads, (batch, regions, bins, bins, channels).
        regions: (batch, regions, 4) in pixels.
        units: Units of each hidden layer.
        dropout: Rate behind each hidden layer.
    """
    x = layers.Reshape((regions.shape[1], -1), name="roi_flatten")(x)
    for index in (1, 2):
        x = layers.Dense(units, kernel_initializer="he_normal", name=f"box_fc{index}")(x)
        x = layers.ReLU(name=f"box_fc{index}_relu")(x)
        if dropout:
            x = layers.Dropout(dropout, name=f"box_fc{index}_drop")(x)
    return x
