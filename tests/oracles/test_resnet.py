"""The residual nets beside torchvision, timm, keras.applications and the paper's tables."""

import keras
import pytest

from tests.golden import vector
from tests.oracles import torch_side
from tests.oracles.compare import close, renamed
from zoo.catalog import CATALOG
from zoo.models import create
from zoo.weights.transplant import from_torch

pytestmark = pytest.mark.oracle

ODD = (61, 72, 3)  # shows on which side a stride pads
KERAS_FORM = {"conv_bias": True, "epsilon": 1.001e-5}
SLIM = {"slim": True, "epsilon": 1.001e-5}


TORCHVISION = [
    (r"^stem_conv_bn$", "bn1"),
    (r"^stem_conv$", "conv1"),
    (r"^stage(\d)_block(\d+)_", lambda m: f"layer{m[1]}.{int(m[2]) - 1}."),
    (r"shortcut_bn$", "downsample.1"),
    (r"shortcut$", "downsample.0"),
    (r"conv(\d)_bn$", r"bn\1"),
    (r"^logits$", "fc"),
]
KERAS = [
    (r"^stem_conv", "conv1_conv"),
    (r"^stage(\d)_block(\d+)_", lambda m: f"conv{int(m[1]) + 1}_block{m[2]}_"),
    (r"_shortcut", "_0_conv"),
    (r"_conv(\d)", r"_\1_conv"),
    (r"_conv_bn$", "_bn"),
    (r"^logits$", "predictions"),
]
KERAS_V2 = [
    *KERAS,
    (r"_bn1$", "_preact_bn"),
    (r"_bn(\d)$", lambda m: f"_{int(m[1]) - 1}_bn"),
    (r"^final_bn$", "post_bn"),
]
TIMM_V2 = [
    (r"^stem_conv$", "stem.conv"),
    (r"^stem_bn$", "stem.norm"),
    (r"^stage(\d)_block(\d+)_", lambda m: f"stages.{int(m[1]) - 1}.blocks.{int(m[2]) - 1}."),
    (r"shortcut$", "downsample.conv"),
    (r"\.bn(\d)$", r".norm\1"),
    (r"^final_bn$", "norm"),
    (r"^logits$", "head.fc"),
]


@pytest.mark.parametrize(
    ("name", "oracle"),
    [
        ("resnet18", "resnet18"),
        ("resnet34", "resnet34"),
        ("resnet50_v1_5", "resnet50"),
        ("wrn50_2", "wide_resnet50_2"),
    ],
)
def test_equals_torchvision(name, oracle):
    models = torch_side.module("torchvision").models
    theirs = torch_side.randomise(getattr(models, oracle)(weights=None, num_classes=10))
    ours = create(name, input_shape=ODD, num_classes=10)
    from_torch(ours, torch_side.tensors(theirs), renamed(ours, TORCHVISION))
    images = vector.sample(ours)
    close(ours(images, training=False), torch_side.run(theirs, images))


def test_one_that_dilates_scores_pixels_as_torchvisions_fcn():
    models = torch_side.module("torchvision").models.segmentation
    theirs = models.fcn_resnet50(weights=None, weights_backbone=None, num_classes=21)
    assert CATALOG["fcn_resnet50"].parameters == sum(x.numel() for x in theirs.parameters())
    torch_side.randomise(theirs)
    ours = create("fcn_resnet50", input_shape=(64, 72, 3))
    names = {key: f"backbone.{name}" for key, name in renamed(ours, TORCHVISION).items()}
    names |= {f"head_conv{end}": f"classifier.{n}" for end, n in (("", 0), ("_bn", 1))}
    from_torch(ours, torch_side.tensors(theirs), names | {"score": "classifier.4"})
    images = vector.sample(ours)
    found = torch_side.run(theirs, images)["out"].numpy()  # (batch, classes, height, width)
    close(ours(images, training=False), found.transpose(0, 2, 3, 1))


@pytest.mark.parametrize("name", ["resnet101_v1_5", "resnet152_v1_5"])
def test_deep_ones_have_torchvisions_tensors(name):
    models = torch_side.module("torchvision").models
    import torch

    with torch.device("meta"):
        theirs = getattr(models, name.removesuffix("_v1_5"))(weights=None)
    with keras.StatelessScope(initialize_variables=False):
        ours = create(name)
    names = renamed(ours, TORCHVISION)
    shapes = {
        f"{names[layer.name]}.weight": sorted(layer.weights[0].shape)
        for layer in ours.layers
        if layer.weights
    }
    expected = theirs.state_dict()
    assert shapes == {
        key: sorted(value.shape) for key, value in expected.items() if key.endswith("weight")
    }


@pytest.mark.parametrize(
    ("name", "oracle", "settings", "rules"),
    [
        ("resnet50", "ResNet50", KERAS_FORM, KERAS),
        ("resnet101", "ResNet101", KERAS_FORM, KERAS),
        ("resnet50_v2", "ResNet50V2", SLIM, KERAS_V2),
    ],
)
def test_equals_keras_applications(name, oracle, settings, rules):
    theirs = getattr(keras.applications, oracle)(
        weights=None, input_shape=ODD, classes=10, classifier_activation=None
    )
    vector.fill(theirs)
    ours = create(name, input_shape=ODD, num_classes=10, **settings)
    names = renamed(ours, rules)
    assert set(names.values()) == {layer.name for layer in theirs.layers if layer.weights}
    for old, new in names.items():
        ours.get_layer(old).set_weights(theirs.get_layer(new).get_weights())
    images = vector.sample(ours)
    close(ours(images, training=False), theirs(images, training=False))


def test_v2_equals_timm():
    """timm activates the first block behind the pooling; the paper activates the stem's output."""
    timm = torch_side.module("timm")
    import torch

    theirs = timm.create_model("resnetv2_50", num_classes=10)
    first = theirs.stages[0].blocks[0]
    stem = {"conv": theirs.stem.conv, "norm": first.norm1, "pool": theirs.stem.pool}
    theirs.stem, first.norm1 = torch.nn.Sequential(), torch.nn.Identity()
    for key, part in stem.items():
        theirs.stem.add_module(key, part)
    torch_side.randomise(theirs)
    ours = create("resnet50_v2", input_shape=ODD, num_classes=10)
    tensors = torch_side.tensors(theirs)
    tensors["head.fc.weight"] = tensors["head.fc.weight"].reshape(10, -1)  # timm's is 1x1
    from_torch(ours, tensors, renamed(ours, TIMM_V2))
    images = vector.sample(ours)
    close(ours(images, training=False), torch_side.run(theirs, images))


# Counted by hand; a normalisation has two numbers for each channel


def imagenet(blocks, *, deep, width=1):
    total, channels = 7 * 7 * 3 * 64 + 2 * 64, 64
    for depth, maps in zip(blocks, (64, 128, 256, 512), strict=True):
        out, inner = (4 * maps, width * maps) if deep else (maps, maps)
        if channels != out:
            total += channels * out + 2 * out
        for _ in range(depth):
            if deep:
                total += channels * inner + 9 * inner**2 + inner * out + 2 * (2 * inner + out)
            else:
                total += 9 * (channels + out) * out + 4 * out
            channels = out
    return total + channels * 1000 + 1000


def imagenet_v2(blocks):
    """A bottleneck normalises its input, and nothing behind it."""
    total, channels = 7 * 7 * 3 * 64, 64
    for depth, maps in zip(blocks, (64, 128, 256, 512), strict=True):
        total += channels * 4 * maps
        for _ in range(depth):
            total += 2 * channels + channels * maps + 9 * maps**2 + 4 * maps**2 + 4 * maps
            channels = 4 * maps
    return total + 2 * channels + channels * 1000 + 1000


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("resnet18", imagenet((2, 2, 2, 2), deep=False)),
        ("resnet34", imagenet((3, 4, 6, 3), deep=False)),
        ("resnet50", imagenet((3, 4, 6, 3), deep=True)),
        ("resnet101", imagenet((3, 4, 23, 3), deep=True)),
        ("resnet152", imagenet((3, 8, 36, 3), deep=True)),
        ("wrn50_2", imagenet((3, 4, 6, 3), deep=True, width=2)),
        ("resnet50_v2", imagenet_v2((3, 4, 6, 3))),
        ("resnet101_v2", imagenet_v2((3, 4, 23, 3))),
        ("resnet152_v2", imagenet_v2((3, 8, 36, 3))),
    ],
)
def test_counted_by_hand(name, count):
    assert CATALOG[name].parameters == count


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("resnet18", {"width": 2}, "width got 2; expected 1"),
        ("resnet18", {"blocks": (2, 2)}, r"blocks got \(2, 2\); expected 4 numbers"),
        ("resnet50", {"stride_in": "5x5"}, "stride_in got '5x5'"),
        ("resnet50_v2", {"blocks": (2,)}, r"blocks got \(2,\)"),
        ("resnet20", {"depth": 21}, "depth got 21; expected 6n"),
        ("resnet20", {"depth": 2}, "depth got 2; expected 6n"),
        ("resnet20", {"survival": 0.0}, r"survival got 0.0; expected a number in \(0, 1\]"),
        ("wrn16_4", {"depth": 20}, "depth got 20; expected 6n"),
        ("wrn16_4", {"width": 0}, "width got 0"),
    ],
)
def test_refuses(name, settings, message):
    with pytest.raises(ValueError, match=message):
        create(name, **settings)
