"""Detectors that learn: on two devices as on one, resumed, made small, exported."""

import json

import numpy as np
import pytest

import export
import zoo
from compress.graph import leaf_layers
from export.manifest import Manifest
from tests import scenes as kit
from tests import toy
from zoo.cli import main
from zoo.training.fitting import fit

NAMES = ("faster_rcnn_small", "mask_rcnn_small")
TINY = ["settings.width=8", "settings.units=16", "settings.regions=8"]
TWICE = [*TINY, "data.limit=32", "train.epochs=2", "train.batch_size=8"]


@pytest.fixture(scope="module", autouse=True)
def _few(tmp_path_factory):
    yield from kit.few(tmp_path_factory)


@pytest.fixture(scope="module")
def parent(_few, tmp_path_factory):
    """A run that nothing stopped."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    return fit("mask_rcnn_small", out=out, changes=TWICE)


def test_a_resumed_run_equals_a_whole_one(parent, tmp_path):
    """Four steps make an epoch: stopped within the second."""
    assert set(parent.card.outputs) == {"boxes", "scores", "classes", "masks"}
    toy.check_resumed(parent, tmp_path / "part", changes=TWICE, stop_at=6)


C4 = {
    "trunk": "resnet18_c4",
    "trunk_settings": {"blocks": [1, 1, 1, 1]},
    "regions": 8,
    "detections": 4,
    "bins": 3,
    "masks": 3,
}


@pytest.mark.slow
def test_a_stage_that_reads_regions_learns_for_boxes_and_masks(tmp_path):
    """The form C4, of the smallest ResNet: both branches share the layers of stage 4."""
    before = zoo.create("mask_rcnn_c4", input_shape=(64, 64, 3), num_classes=10, **C4)
    changes = [f"settings.{key}={json.dumps(value)}" for key, value in C4.items()]
    changes += ["data.limit=8", "train.epochs=1", "train.batch_size=4", "seed=0"]
    bundle = fit("mask_rcnn_c4", out=tmp_path / "run", changes=changes)
    net = zoo.load(bundle.path)
    stages = [layer for layer in net.layers if layer.name == "stage4"]
    assert len(stages) == 1 and net.output["masks"].shape == (None, 4, 6, 6)
    names = {layer.name for _, layer in leaf_layers(before) if layer.weights}
    assert names == {layer.name for _, layer in leaf_layers(net) if layer.weights}
    assert set(bundle.card.outputs) == {"boxes", "scores", "classes", "masks"}
    images = np.random.RandomState(7).uniform(-1, 1, (4, 64, 64, 3)).astype("float32")
    for target in ("tflite", "onnx"):
        out = tmp_path / target
        assert export.export(net, target, out, samples=images).manifest.parity.passed


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_two_devices_take_the_steps_of_one(name, tmp_path):
    """But for normalisations, each of which sees the examples of its own device."""
    found = kit.two_devices(
        name, [*TINY, "data.augment.rotate=10"], tmp_path, frozen="BatchNormalization"
    )
    assert found["replicas"] == [2, 1] and found["moved"] == 2
    assert found["weights"] < 1e-4 and found["history"] < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["prune50", "slim"])
def test_made_small_and_exported_from_the_command_line(parent, recipe, tmp_path):
    small = tmp_path / recipe
    assert not main(["compress", str(parent.path), recipe, "--out", str(small)])
    assert not main(["export", str(small), "tflite", "onnx", "--out", str(tmp_path / "files")])
    for target in ("tflite", "onnx"):
        folder = tmp_path / "files" / f"{recipe}-{target}"
        manifest = Manifest.read(folder)
        assert manifest.parity.passed
        assert set(manifest.meanings) == {one.name for one in manifest.signature.outputs}
        assert "y1, x1, y2, x2 in pixels" in (folder / "MODEL_CARD.md").read_text()
    assert "map" in zoo.Bundle(small).report.metrics
