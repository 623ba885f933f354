"""Faster R-CNN, and Mask R-CNN, which adds a mask to each box.

Sources: Ren, He, Girshick & Sun 2015, arXiv:1506.01497, section 3, on VGG-16; with a feature
pyramid Lin et al. 2017, arXiv:1612.03144, and He, Gkioxari, Dollar & Girshick 2017,
arXiv:1703.06870, figure 4, in the form of torchvision; its other form, C4: proposals and regions of
the fourth group of layers, which are read by the fifth. One graph, picture to boxes: what is learnt
is read where `Proposals` and `Detections` read it (`zoo.tasks.places.detect`). Differs: pictures
have one size; regions are aligned, not pooled, unless asked for, and places of a map lie in the
middle of their pixels, where torchvision's detectors are half a pixel off (`aligned=False`); where
the papers look at the best 6,000 boxes before suppression, here it is twice as many as are
proposed, or 1,000 of each level; the small variants are for scenes of 64 pixels, with two hidden
layers of 128 units. 137,078,239 parameters on VGG-16 with 20 classes; 41,808,406 on ResNet-50 with
a pyramid and 90 classes, 44,454,513 with masks: torchvision's, whose normalisations are frozen,
says 53,120 less; in the form C4, with 80 classes, 33,852,960 and 35,970,928.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import keras
from keras import KerasTensor, layers, ops

from zoo.layers.masks import MaskOfClass
from zoo.layers.proposals import Grid, Proposals
from zoo.models import pyramid
from zoo.models.fast_rcnn import READERS, found_boxes, region_codes
from zoo.models.trunk import is_vgg


def faster_rcnn(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    trunk: str = "scenes",
    trunk_settings: Mapping[str, Any] | None = None,
    stride: int = 16,
    anchor_scale: float = 8.0,
    width: int = 64,
    units: int = 128,
    regions: int = 32,
    detections: int = 10,
    reader: Literal["align", "pool"] = "align",
    bins: int = 5,
    masks: int = 0,
) -> keras.Model:
    """Returns a Faster R-CNN: (batch, height, width, channels) to boxes.

    Args:
        name: Name of the model.
        input_shape: (height, width, channels); sides of at least 32, or 64 with the large trunks.
        num_classes: Number of classes, without the background.
        trunk: What the maps are made of: `scenes`; a row of the catalogue, e.g. `vgg16`, of which
            one map is read; one with a pyramid, e.g. `mobilenet_v2_fpn`; a ResNet in the form C4,
            e.g. `resnet50_c4`, whose last stage reads the regions.
        trunk_settings: Settings of the trunk's builder.
        stride: Pixels between two places of the map of a row without a pyramid or C4.
        anchor_scale: Side of the anchors of a row's map, in its places; without a pyramid there are
            some of two and of four times that too.
        width: Maps of the trunk `scenes`, and of a pyramid.
        units: Units of the two hidden layers that read a region; C4 has none.
        regions: Number of proposals.
        detections: Number of boxes in the answer.
        reader: How a region reads the maps: aligned, or with rounded bins.
        bins: Height and width of what it reads.
        masks: Height and width of what is read for the mask of each box, which is twice as high and
            wide (Mask R-CNN), in C4 as many as `bins`; 0 for no masks.

    Returns:
        A model whose outputs are a mapping: `boxes` (batch, detections, 4), y1 x1 y2 x2 in pixels;
        `scores` (batch, detections), by falling score; `classes` (batch, detections), int32, -1
        where there is no box; with masks `masks` (batch, detections, h, w), the probability of
        each point of the box, from its upper left to its lower right.

    Raises:
        ValueError: A setting is unknown or out of range.
    """
    if reader not in READERS or min(width, units, regions, detections, stride, anchor_scale) <= 0:
        raise ValueError(
            f"faster_rcnn: got reader {reader!r}, width {width}, units {units}, regions {regions}, "
            f"detections {detections}, stride {stride} and anchor_scale {anchor_scale}; expected a "
            f"reader of {', '.join(READERS)}, and more than 0 each."
        )
    side = input_shape[0], input_shape[1]
    stage = None
    if trunk == "scenes":
        image, maps, grids = scenes(input_shape, width)
    elif trunk.endswith("_fpn"):
        image, maps, grids = pyramid.row_pyramid(
            trunk, input_shape, trunk_settings, anchor_scale, width
        )
    else:
        if c4 := trunk.endswith("_c4"):
            stride = 16
            stage = pyramid.last_stage(trunk.removesuffix("_c4"), bins, masks, trunk_settings)
        image, maps, grids = pyramid.row_maps(
            trunk.removesuffix("_c4"), input_shape, trunk_settings, anchor_scale, stride, c4=c4
        )
    plain = trunk == "scenes"
    vgg = not plain and len(maps) == 1 and stage is None and is_vgg(trunk)
    proposals = propose(maps, grids, side, regions, two_way=vgg)
    # The coarsest map of a pyramid is for proposals alone.
    read = maps[:-1] if len(maps) > 1 else maps
    strides = [grid.stride for grid in grids[: len(read)]]
    roi = READERS[reader](bins, strides=strides, merged=stage is not None, name="roi")
    x = roi([*read, proposals])  # (batch, regions, bins, bins, width), or (batch * regions, ...)
    if stage is None:
        x = region_codes(x, proposals, units=units, dropout=0.5 if vgg else 0.0)
    else:
        x = layers.GlobalAveragePooling2D(name="roi_mean")(stage(x))
        x = ops.reshape(x, (-1, regions, x.shape[-1]))
    outputs = found_boxes(
        x,
        proposals,
        num_classes=num_classes,
        own_boxes=not plain,
        side=side,
        detections=detections,
    )
    if masks:
        if plain:  # strokes are thinner than a place of the map
            read, strides = [_finer(image, read[0])], [2]
        masks_roi = READERS[reader](masks, strides=strides, merged=True, name="mask_roi")
        found = masks_roi([*read, outputs["boxes"]])
        if stage is not None:
            found = stage(found)
        outputs["masks"] = _masks(
            found,
            outputs["classes"],
            num_classes,
            convs=0 if stage is not None else 2 if plain else 4,
            channels=256 if stage is not None else found.shape[-1],
            # torchvision's background has a mask that nobody reads
            background=not plain and stage is None,
        )
    return keras.Model(image, outputs, name=name)


def scenes(
    input_shape: tuple[int, ...], width: int
) -> tuple[KerasTensor, list[KerasTensor], list[Grid]]:
    """Returns a picture of digits, the map that is made of it and its anchors.

    Args:
        input_shape: See `faster_rcnn`, likewise `width`.
        width: Maps of the trunk.
    """
    image, maps = pyramid.scene_maps(input_shape, width)
    rows, columns = maps.shape[1:3]
    # Digits are a half higher than wide, and 12 to 40 pixels high.
    return image, [maps], [Grid(rows, columns, 4, (12.0, 20.0, 30.0), (1.5,))]


def propose(
    maps: Sequence[KerasTensor],
    grids: Sequence[Grid],
    side: tuple[int, int],
    regions: int,
    *,
    two_way: bool,
    channels: int | None = None,
) -> KerasTensor:
    """Returns what a region proposal network finds, boxes (batch, regions, 4).

    Args:
        maps: Maps of one width, finest first; the network is the same for all.
        grids: Anchors of each map.
        side: Height and width of the picture.
        regions: Number of boxes.
        two_way: Whether an anchor has a score for each of yes and no.
        channels: Maps of the hidden convolution; `None` for as many as it reads.
    """
    each, channels = grids[0].each, channels or maps[0].shape[-1]
    hidden = layers.Conv2D(
        channels, 3, padding="same", kernel_initializer=_small(0.01), name="rpn_conv"
    )
    relu = layers.ReLU(name="rpn_relu")
    # Few anchors hold anything: their scores begin low, or all that is learnt first is that.
    low = keras.initializers.Constant(0.0 if two_way else -2.0)
    scores = layers.Conv2D(
        (2 if two_way else 1) * each,
        1,
        kernel_initializer=_small(0.01),
        bias_initializer=low,
        name="rpn_scores",
    )
    moves = layers.Conv2D(4 * each, 1, kernel_initializer=_small(0.01), name="rpn_offsets")
    logits, offsets = [], []
    for level, x in enumerate(maps):
        place = f"{level}" if len(maps) > 1 else ""
        x = relu(hidden(x))
        found = scores(x)
        if two_way:  # a softmax of two is a sigmoid of their difference
            found = layers.Reshape((-1, each, 2), name=f"rpn_pairs{place}")(found)
            found = layers.Reshape((-1,), name=f"rpn_flat{place}")(found[..., 1] - found[..., 0])
        else:
            found = layers.Reshape((-1,), name=f"rpn_flat{place}")(found)
        logits.append(found)
        offsets.append(layers.Reshape((-1, 4), name=f"rpn_rows{place}")(moves(x)))
    if len(maps) > 1:
        logits = [layers.Concatenate(axis=1, name="rpn_all_scores")(logits)]
        offsets = [layers.Concatenate(axis=1, name="rpn_all_offsets")(offsets)]
    candidates = 1000 if len(maps) > 1 else max(100, 2 * regions)
    proposals = Proposals(grids, side=side, num=regions, candidates=candidates, name="proposals")
    return proposals([logits[0], offsets[0]])


def _finer(image: KerasTensor, maps: KerasTensor) -> KerasTensor:
    """The maps of stride 4 beside those of stride 2."""
    early = keras.Model(image, maps).get_layer("conv2_relu").output  # (batch, 32, 32, 32)
    x = pyramid.doubled(maps, early, "mask_maps")
    x = layers.Concatenate(name="mask_maps")([early, x])
    return layers.Conv2D(
        maps.shape[-1] // 2,
        3,
        padding="same",
        activation="relu",
        kernel_initializer="he_normal",
        name="mask_merge",
    )(x)


def _masks(
    x: KerasTensor,
    classes: KerasTensor,
    num_classes: int,
    *,
    convs: int,
    channels: int,
    background: bool,
) -> KerasTensor:
    """The mask of each box's class: (batch * boxes, h, w, maps) to (batch, boxes, 2h, 2w)."""
    for index in range(1, convs + 1):
        x = layers.Conv2D(
            channels, 3, padding="same", kernel_initializer="he_normal", name=f"mask_conv{index}"
        )(x)
        x = layers.ReLU(name=f"mask_conv{index}_relu")(x)
    x = layers.Conv2DTranspose(
        channels, 2, strides=2, kernel_initializer="he_normal", name="mask_up"
    )(x)
    x = layers.ReLU(name="mask_up_relu")(x)
    own = num_classes + background
    x = layers.Conv2D(own, 1, kernel_initializer=_small(0.01), name="mask_logits")(x)
    return MaskOfClass(background=background, name="masks")([x, classes])


def _small(stddev: float) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=stddev)
