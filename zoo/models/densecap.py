"""DenseCap: a picture to boxes, each with a phrase.

Source: Johnson, Karpathy & Fei-Fei 2016, DenseCap: fully convolutional localization networks for
dense captioning, arXiv:1511.07571, section 3, on VGG-16: a Faster R-CNN with one class, whose
hidden layers also give the first word that an LSTM reads, as in Show and Tell. One graph, the
likeliest words of the boxes that are left included. Differs: regions are aligned (He et al. 2017)
where the paper samples one point for a bin; no gradient flows through their places; the
vocabulary has the three marks of `zoo.common.sentences` beside the paper's 10,497 words.
150,435,717 parameters: VGG-16's convolutions 14,714,688; proposals 512 * 256 * 9 + 256 and, of 12
anchors, 256 * 60 + 60 (the authors' program has two scores for each, 256 * 12 + 12 more); hidden
layers 25,088 * 4,096 + 4,096 and 4,096 * 4,096 + 4,096; objectness 4,096 + 1; box 4,096 * 4 + 4;
picture 4,096 * 512 + 512; words 10,500 * 512; LSTM 4 * 512 * (512 + 512 + 1); scores of the words
512 * 10,500 + 10,500.

The small one's 553,996 at 64x64 with 24 words: trunk 139,744 and proposals 37,903, both those of
`faster_rcnn_small`; hidden layers 1,600 * 128 + 128 and 128 * 128 + 128; objectness 128 + 1; box
128 * 4 + 4; picture 128 * 128 + 128; words 24 * 128; LSTM 4 * 128 * (128 + 128 + 1); scores
128 * 24 + 24.
"""

from __future__ import annotations

from typing import Literal

import keras
from keras import KerasTensor, layers, ops

from zoo.common.sentences import END, PADDING, START
from zoo.common.tensors import LOGITS, NEXT, PICTURE
from zoo.layers.proposals import Detections, Grid
from zoo.layers.roi import ROIAlign
from zoo.models import pyramid
from zoo.models.fast_rcnn import region_codes
from zoo.models.faster_rcnn import propose, scenes
from zoo.models.show_and_tell import word_step

OVERLAP = 0.3  # intersection over union above which the weaker box goes, in the end


def densecap(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    trunk: Literal["scenes", "vgg16"] = "scenes",
    width: int = 64,
    units: int = 128,
    language: int = 128,
    regions: int = 32,
    detections: int = 10,
    bins: int = 5,
    length: int = 4,
) -> keras.Model:
    """Returns a dense captioner: (batch, height, width, channels) to boxes and phrases.

    The nested model `decoder` is a step of the phrases, see `zoo.models.show_and_tell`.

    Args:
        name: Name of the model.
        input_shape: (height, width, channels); sides of at least 32, or 64 on VGG-16.
        num_classes: Words of the vocabulary, with the marks of `zoo.common.sentences`.
        trunk: What the maps are made of: `scenes` or `vgg16`.
        width: Maps of the trunk `scenes`.
        units: Units of the two hidden layers that read a region.
        language: Units of the LSTM and of a word.
        regions: Number of proposals.
        detections: Number of boxes in the answer.
        bins: Height and width of what a region reads.
        length: Tokens of a phrase, its end among them, at most.

    Returns:
        A model whose outputs are a mapping: `boxes` (batch, detections, 4), y1 x1 y2 x2 in pixels;
        `scores` (batch, detections), by falling score; `phrases` (batch, detections, length),
        int32, padding behind an end and where there is no box.

    Raises:
        ValueError: A setting is out of range.
    """
    if min(width, units, language, regions, detections, bins, length) < 1:
        raise ValueError(
            f"densecap: got width {width}, units {units}, language {language}, regions {regions}, "
            f"detections {detections}, bins {bins} and length {length}; expected 1 or more each."
        )
    side = input_shape[0], input_shape[1]
    large = trunk == "vgg16"
    if large:
        image, maps = pyramid.vgg16_maps(input_shape)
        grid = Grid(maps.shape[1], maps.shape[2], 16, (64.0, 128.0, 256.0, 512.0), pyramid.RATIOS)
    else:
        image, (maps,), (grid,) = scenes(input_shape, width)
    channels = 256 if large else None
    proposals = propose([maps], [grid], side, regions, two_way=False, channels=channels)
    x = ROIAlign(bins, strides=[grid.stride], name="roi")([maps, proposals])
    x = region_codes(x, proposals, units=units, dropout=0.5 if large else 0.0)
    small, smaller = (keras.initializers.RandomNormal(stddev=size) for size in (0.01, 0.001))
    thing = layers.Dense(1, kernel_initializer=small, name="objectness")(x)
    # A sigmoid is the softmax beside a background of 0.
    logits = ops.concatenate([ops.zeros_like(thing), thing], axis=-1)
    offsets = layers.Dense(4, kernel_initializer=smaller, name="box_offsets")(x)
    pictures = layers.Dense(language, kernel_initializer="he_normal", name=PICTURE)(x)
    pictures = layers.ReLU(name=f"{PICTURE}_relu")(pictures)  # (batch, regions, language)
    boxes, scores, _, own = Detections(
        side=side, num=detections, iou_threshold=OVERLAP, name="detections"
    )([logits, offsets, proposals, pictures])
    said = likeliest(word_step(num_classes, language), ops.reshape(own, (-1, language)), length)
    there = ops.cast(ops.greater(scores, 0.0), "int32")
    phrases = ops.reshape(said, (-1, detections, length)) * ops.expand_dims(there, -1)
    return keras.Model(image, {"boxes": boxes, "scores": scores, "phrases": phrases}, name=name)


def likeliest(decoder: keras.Model, pictures: KerasTensor, length: int) -> KerasTensor:
    """Returns the phrases of which each token is the likeliest, unrolled into the graph.

    Args:
        decoder: See `zoo.models.show_and_tell.word_step`.
        pictures: What it reads first, (rows, units).
        length: Number of tokens.

    Returns:
        Tokens (rows, length), int32, padding behind an end.
    """
    zeros = ops.zeros_like(pictures)
    tokens = ops.cast(zeros[:, :1], "int32") + PADDING  # (rows, 1): it reads the picture
    found = decoder([tokens, pictures, zeros, zeros])
    tokens, said = tokens - PADDING + START, []
    for _ in range(length):
        states = [found[f"{NEXT}{state}"] for state in ("lstm_h", "lstm_c")]
        found = decoder([tokens, pictures, *states])
        best = ops.cast(ops.argmax(found[LOGITS], axis=-1, keepdims=True), "int32")
        over = ops.logical_or(ops.equal(tokens, END), ops.equal(tokens, PADDING))
        tokens = ops.where(over, PADDING, best)
        said.append(tokens)
    return ops.concatenate(said, axis=1)
