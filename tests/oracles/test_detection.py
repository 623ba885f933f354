"""Detection beside torchvision, piece by piece; whole networks by the sizes of their tensors."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import zoo
from tests.oracles import torch_side
from zoo.layers.proposals import (
    BOX_VARIANCE,
    REGION_VARIANCE,
    Detections,
    Grid,
    Proposals,
    decode,
    encode,
)
from zoo.layers.roi import ROIAlign, levels
from zoo.tasks.places import detection_loss

pytestmark = pytest.mark.oracle
SIDE = (96, 128)


@functools.cache
def parts():
    """torchvision.models.detection, with suppression as a greedy loop.

    Its own is compiled for CUDA. Regions are read by its form in Python, which it has for devices
    without a kernel.
    """
    vision = torch_side.module("torchvision")
    import torch
    import torchvision.ops.boxes

    def suppress(boxes, scores, threshold):
        order, kept = scores.argsort(descending=True, stable=True), []
        overlap = torchvision.ops.box_iou(boxes, boxes)
        for index in order.tolist():
            if all(overlap[index, other] <= threshold for other in kept):
                kept.append(index)
        return torch.tensor(kept, dtype=torch.long)

    parts.library = torch.library.Library("torchvision", "IMPL")  # it must stay alive
    parts.library.impl("nms", suppress, "CPU")
    torchvision.ops.boxes._assert_has_ops = lambda: None
    return vision.models.detection


@pytest.fixture
def torch():
    parts()
    return torch_side.module("torch")


def turned(boxes):
    """y1 x1 y2 x2 as x1 y1 x2 y2, and back; likewise offsets."""
    return np.ascontiguousarray(np.asarray(boxes)[..., [1, 0, 3, 2]])


def some_boxes(random, *shape, least=2.0):
    """Boxes within a picture, with sides of at least some pixels."""
    ends = np.sort(random.uniform(0, 1, (*shape, 2, 2)), axis=-2) * (np.array(SIDE) - least)
    ends[..., 1, :] += least
    return ends.reshape(*shape, 4).astype(np.float32)


@pytest.mark.parametrize("variance", [BOX_VARIANCE, REGION_VARIANCE])
def test_offsets(torch, variance):
    from torchvision.models.detection._utils import BoxCoder

    random = np.random.RandomState(0)
    boxes, anchors = some_boxes(random, 1, 50), some_boxes(random, 1, 50)
    coder = BoxCoder(tuple(1 / v for v in variance))
    theirs = coder.encode_single(*(torch.from_numpy(turned(x[0])) for x in (boxes, anchors)))
    np.testing.assert_allclose(
        encode(boxes, anchors, variance)[0], turned(theirs), rtol=1e-4, atol=1e-5
    )
    # Some are larger than a box may grow.
    offsets = (random.normal(size=(1, 50, 4)) * 3 / np.array(variance)).astype(np.float32)
    theirs = coder.decode_single(
        torch.from_numpy(turned(offsets[0])), torch.from_numpy(turned(anchors[0]))
    )
    # Theirs are clipped to the picture behind the coder.
    theirs = turned(theirs).clip(0, [*SIDE, *SIDE])
    np.testing.assert_allclose(decode(offsets, anchors, variance, SIDE)[0], theirs, atol=1e-3)


@pytest.mark.parametrize("rescue", [False, True])
def test_matches(torch, rescue):
    from torchvision.models.detection._utils import Matcher
    from torchvision.ops import box_iou

    random = np.random.RandomState(1)
    boxes, things = some_boxes(random, 400), some_boxes(random, 5)
    truth = detection_loss.Truth(
        np.concatenate([things, np.zeros((2, 4), np.float32)])[None],
        np.array([[0, 1, 2, 3, 4, -1, -1]], np.int32),
    )
    found = detection_loss.match(boxes, truth, high=0.7, low=0.3, rescue=rescue)
    overlap = box_iou(*(torch.from_numpy(turned(x)) for x in (things, boxes)))
    theirs = Matcher(0.7, 0.3, allow_low_quality_matches=rescue)(overlap).numpy()
    positive, negative = (ops.convert_to_numpy(x)[0] > 0 for x in (found.positive, found.negative))
    np.testing.assert_array_equal(positive, theirs >= 0)
    np.testing.assert_array_equal(negative, theirs == Matcher.BELOW_LOW_THRESHOLD)
    which = ops.convert_to_numpy(found.which)[0]
    np.testing.assert_array_equal(which[positive], theirs[theirs >= 0])
    assert 0 < positive.sum() < negative.sum() and (theirs == Matcher.BETWEEN_THRESHOLDS).any()


def some_grids():
    return [
        Grid(12, 16, 8, (24.0, 40.0), (0.5, 1.0, 2.0), centred=False),
        Grid(6, 8, 16, (64.0, 90.0), (0.5, 1.0, 2.0), centred=False),
    ]


def test_anchors(torch):
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.image_list import ImageList

    grids = some_grids()
    generator = AnchorGenerator(
        tuple(grid.sizes for grid in grids), tuple(grid.ratios for grid in grids)
    )
    images = ImageList(torch.zeros(1, 3, *SIDE), [SIDE])
    maps = [torch.zeros(1, 1, grid.rows, grid.columns) for grid in grids]
    (theirs,) = generator(images, maps)
    ours = np.concatenate([grid.anchors() for grid in grids])
    np.testing.assert_array_equal(ours, turned(theirs))


def test_proposals(torch):
    from torchvision.models.detection.rpn import RegionProposalNetwork

    random, grids = np.random.RandomState(2), some_grids()
    counts = [len(grid.anchors()) for grid in grids]
    logits = random.normal(size=(2, sum(counts))).astype(np.float32) * 3
    offsets = random.normal(size=(2, sum(counts), 4)).astype(np.float32) * 0.4
    ours = Proposals(grids, side=SIDE, num=40, candidates=100, iou_threshold=0.6)([logits, offsets])
    amount = {"training": 100, "testing": 100}, {"training": 40, "testing": 40}
    network = RegionProposalNetwork(None, None, 0.7, 0.3, 256, 0.5, *amount, 0.6)
    anchors = np.concatenate([grid.anchors() for grid in grids])
    # `filter_proposals` clips to the picture.
    moved = network.box_coder.decode(
        torch.from_numpy(turned(offsets).reshape(-1, 4)),
        [torch.from_numpy(turned(anchors))] * 2,
    ).reshape(2, -1, 4)
    theirs, _ = network.filter_proposals(
        moved, torch.from_numpy(logits).reshape(-1, 1), [SIDE] * 2, counts
    )
    for mine, other in zip(ops.convert_to_numpy(ours), theirs, strict=True):
        assert len(other) > 20
        np.testing.assert_allclose(mine[: len(other)], turned(other), atol=1e-3)
        assert not mine[len(other) :].any()


def test_detections(torch):
    from torchvision.models.detection.roi_heads import RoIHeads

    random, num, classes = np.random.RandomState(3), 30, 6
    logits = random.normal(size=(2, num, classes)).astype(np.float32) * 2
    offsets = random.normal(size=(2, num, 4 * classes)).astype(np.float32)
    regions = some_boxes(random, 2, num, least=8)
    layer = Detections(side=SIDE, num=25, candidates=num * classes)
    boxes, scores, kinds = map(ops.convert_to_numpy, layer([logits, offsets, regions]))
    heads = RoIHeads(None, None, None, 0.5, 0.5, 512, 0.25, None, 0.05, 0.5, 25)
    moves = turned(offsets.reshape(2 * num, classes, 4)).reshape(2 * num, -1)
    theirs = heads.postprocess_detections(
        torch.from_numpy(logits.reshape(2 * num, -1)),
        torch.from_numpy(moves),
        [torch.from_numpy(turned(one)) for one in regions],
        [SIDE] * 2,
    )
    for picture, (their_boxes, their_scores, their_kinds) in enumerate(zip(*theirs, strict=True)):
        count = len(their_scores)
        assert count > 10 and (scores[picture] > 0).sum() == count
        np.testing.assert_allclose(scores[picture, :count], their_scores, rtol=1e-5)
        np.testing.assert_array_equal(kinds[picture, :count], their_kinds.numpy() - 1)
        np.testing.assert_allclose(boxes[picture, :count], turned(their_boxes), atol=1e-3)


@pytest.mark.parametrize("aligned", [True, False])
def test_aligned_regions_and_their_gradients(torch, aligned):
    from torchvision.ops import roi_align

    random = np.random.RandomState(4)
    maps = random.normal(size=(2, 12, 16, 5)).astype(np.float32)
    # Inside the map: their form in Python does not drop samples that are far outside.
    regions = some_boxes(random, 2, 7, least=10) * 0.9 + 4
    weights = random.normal(size=(2, 7, 4, 4, 5)).astype(np.float32)
    layer, given = ROIAlign(4, strides=[8], samples=2, aligned=aligned), tf.constant(maps)
    with tf.GradientTape() as tape:
        tape.watch(given)
        ours = layer([given, regions])
        total = tf.reduce_sum(ours * weights)
    slopes = tape.gradient(total, given)
    theirs = torch.from_numpy(maps.transpose(0, 3, 1, 2).copy()).requires_grad_()
    found = roi_align(
        theirs,
        [torch.from_numpy(turned(one)) for one in regions],
        output_size=4,
        spatial_scale=1 / 8,
        sampling_ratio=2,
        aligned=aligned,
    )  # (2 * 7, 5, 4, 4)
    (
        found * torch.from_numpy(weights.reshape(14, 4, 4, 5).transpose(0, 3, 1, 2).copy())
    ).sum().backward()
    expected = found.detach().numpy().transpose(0, 2, 3, 1).reshape(weights.shape)
    np.testing.assert_allclose(ours, expected, atol=2e-5)
    np.testing.assert_allclose(slopes, theirs.grad.numpy().transpose(0, 2, 3, 1), atol=1e-4)


def test_levels_of_a_pyramid(torch):
    from torchvision.ops.poolers import LevelMapper

    random = np.random.RandomState(5)
    sides = random.uniform(4, 900, (300, 2)).astype(np.float32)
    boxes = np.concatenate([np.zeros_like(sides), sides], axis=1)
    theirs = LevelMapper(2, 5)([torch.from_numpy(turned(boxes))]).numpy()
    np.testing.assert_array_equal(levels(boxes[None], [4, 8, 16, 32])[0], theirs)


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("faster_rcnn_fpn", "fasterrcnn_resnet50_fpn"),
        ("mask_rcnn_fpn", "maskrcnn_resnet50_fpn"),
    ],
)
def test_tensors_are_as_large_as_torchvisions(torch, name, oracle):
    with torch.device("meta"):
        build = getattr(parts(), oracle)
        theirs = build(weights=None, weights_backbone=None, num_classes=91)
    # Their normalisations are frozen: scale and shift are no parameters, but they are there.
    moving = ("running_mean", "running_var", "num_batches_tracked")
    expected = sorted(
        value.numel() for key, value in theirs.state_dict().items() if not key.endswith(moving)
    )
    ours = zoo.create(name, input_shape=(128, 128, 3))
    assert sorted(int(np.prod(w.shape)) for w in ours.trainable_variables) == expected
    keras.backend.clear_session()
