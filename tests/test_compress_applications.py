"""Every network of `keras.applications` through every pass: each works, or says what it left."""

import sys

import pytest

from tests.applications import NETWORKS, PASSES, cells, check

# Of different structure, with a few passes each, together all: seconds. The whole is slow.
QUICK = {
    "MobileNet": ("prune", "low_rank", "ternarize", "distill"),
    "MobileNetV3Small": (
        *("prune_channels", "quantize", "fold_batch_norm"),
        *("tucker", "cp", "spatial"),
    ),
    "ConvNeXtTiny": ("share_weights", "entropy"),
    "DenseNet121": ("winograd", "huffman"),
}
DEEP = {"MobileNetV3Small", "ConvNeXtTiny"}  # most of the seconds of the four
# One of each family: what comes out of each pass is saved and loaded too.
SAVED = {
    *("VGG16", "ResNet50", "ResNet50V2", "DenseNet121", "InceptionV3", "InceptionResNetV2"),
    *("Xception", "MobileNet", "MobileNetV2", "MobileNetV3Small", "EfficientNetB0"),
    *("EfficientNetV2B0", "NASNetMobile", "ConvNeXtTiny"),
}


def test_there_are_forty():
    assert len(NETWORKS) == 40


def test_quick_ones_go_through_every_pass():
    assert sorted(sum(QUICK.values(), ())) == sorted(PASSES)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in DEEP else n for n in QUICK]
)
def test_passes_work_or_say_what_they_left(name):
    assert not errors(check(name, only=QUICK[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_pass_works_or_says_what_it_left(name):
    row = check(name, saved=name in SAVED)
    sys.stdout.write(" | ".join(cells(row)) + "\n")  # shown by -rP
    assert list(row["passes"]) == list(PASSES)
    assert not errors(row)


def errors(row):
    return {key: done["error"] for key, done in row["passes"].items() if "error" in done}
