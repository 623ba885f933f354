"""FCN, SegNet and DeconvNet through the engine: resumed, on two devices; files.

U-Net's own are in `test_segment.py`; what the networks compute, in `test_dense_nets.py`.
"""

import csv

import numpy as np
import pytest

import export
from export.formats.tflite.flatbuffer import parse, schema
from tests import programs, toy
from tests import scenes as kit
from tests.golden.vector import fill
from zoo.bundle import Bundle
from zoo.models.build import create
from zoo.models.saved import load_model
from zoo.training.fitting import fit
from zoo.training.run import Run

NARROW = {
    "fcn8s_small": ["settings.filters=[4, 6, 8, 8, 8]", "settings.units=16", "settings.dropout=0"],
    "segnet_small": ["settings.filters=[4, 6, 8]"],
    "deconvnet_small": ["settings.filters=[4, 6, 8, 8]", "settings.units=16"],
    "fcn_resnet20": ["settings.units=16", "settings.dropout=0"],
}
TWICE = ["settings.dropout=0.3", "settings.filters=[8, 16, 32, 32, 32]"]
TWICE += ["train.epochs=2", "train.batch_size=16", "hardware.precision=float32"]


@pytest.fixture(scope="module", autouse=True)
def _few(tmp_path_factory):
    yield from kit.few(tmp_path_factory)


@pytest.fixture(scope="module")
def trained(_few, tmp_path_factory):
    """An FCN-8s, whose data moves and whose units drop."""
    return fit("fcn8s_small", out=tmp_path_factory.mktemp("runs") / "fcn8s", changes=TWICE)


def test_eleven_classes_are_judged_by_mean_iou(trained):
    metrics = trained.report.metrics
    assert trained.recipe.task.headline.name == "mean_iou" and 0 < metrics["mean_iou"] < 1
    assert trained.card.outputs["logits"].names == ("background", *"0123456789")


def test_a_deconvolution_network_learns_through_its_vector(tmp_path):
    """Its maps shrink to one place, and grow from there by transposed convolutions."""
    changes = [*NARROW["deconvnet_small"], "data.limit=32", "train.epochs=2", "train.batch_size=16"]
    bundle = fit("deconvnet_small", out=tmp_path / "run", changes=changes)
    rows = list(csv.DictReader((bundle.path / "history.csv").read_text().splitlines()))
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    net = load_model(bundle.path)
    assert net.get_layer("fc7_relu").output.shape == (None, 1, 1, 16)
    assert net.output_shape == (None, 64, 64, 11) and 0 < bundle.report.metrics["mean_iou"] < 1


@pytest.mark.slow
def test_a_resumed_fcn_equals_a_whole_one(trained, tmp_path):
    toy.check_resumed(trained, tmp_path / "part", changes=TWICE, stop_at=8)


@pytest.mark.slow  # tests/test_detect_learning.py has two devices too
@pytest.mark.dist
@pytest.mark.parametrize("name", NARROW)
def test_two_devices_take_the_steps_of_one(name, tmp_path):
    """Without a normalisation, whose statistics are those of a replica, or a frozen one."""
    found = kit.two_devices(
        name, [*NARROW[name], "settings.batch_norm=false"], tmp_path, frozen="BatchNormalization"
    )
    assert found["replicas"] == [2, 1] and found["moved"] == 2
    assert found["weights"] < 1e-5
    assert found["history"] < 1e-4


def test_a_process_that_has_built_nothing_opens_an_fcn(trained):
    """Its file names the interpolation that its upsampling begins as."""
    code = (
        "import sys; from zoo.models.saved import load_model; print(load_model(sys.argv[1]).name)"
    )
    done = programs.run(code, trained.path)
    assert done.stdout.strip() == "fcn8s_small"


@pytest.mark.parametrize("target", ["tflite", "onnx"])
@pytest.mark.parametrize("name", NARROW)
def test_it_is_exported(name, target, tmp_path):
    """The numeric gate raises where the file does not answer as the model does."""
    net = create(name)
    fill(net)
    # Of seed 6, in DeconvNet, two values of one window tie but for the file's rounding.
    images = np.random.RandomState(7).uniform(-1, 1, (32, 64, 64, 3)).astype("float32")
    done = export.export(net, target, tmp_path / target, samples=images)
    parity = done.manifest.parity
    assert parity.passed and parity.samples == 32
    if target == "tflite":
        found = operators(tmp_path / target)
        assert found and schema.BuiltinOperator.CUSTOM not in found


def operators(path):
    """Numbers of the operators of a TFLite file; those that are no built-in are `CUSTOM`."""
    (file,) = path.glob("*.tflite")
    codes = parse(file.read_bytes()).operatorCodes
    return {max(code.builtinCode, code.deprecatedBuiltinCode) for code in codes}


@pytest.mark.slow  # tests/test_shipped.py has a U-Net in integers
@pytest.mark.parametrize("recipe", ["prune50", "int8"])
def test_it_is_compressed_from_the_command_line(recipe, trained, tmp_path, zoo):
    out = tmp_path / recipe
    changes = ["--set", "data.limit=32"]
    zoo("compress", trained.path, recipe, *(changes if recipe == "prune50" else []), "--out", out)
    small = Bundle(out)
    part, before = small.report.compress, trained.report.metrics["mean_iou"]
    assert part.parent_metrics["mean_iou"] == pytest.approx(before)
    metrics = part.file["metrics"] if part.file else small.report.metrics
    assert metrics["mean_iou"] > before - 0.05
    model = load_model(small.path)
    assert model.output_shape == (None, 64, 64, 11)
    if recipe == "prune50":
        kernels = {w.path: w.numpy() for w in model.weights if w.path.endswith("/kernel")}
        zeros = sum(int((kernel == 0).sum()) for kernel in kernels.values())
        assert zeros / sum(k.size for k in kernels.values()) == pytest.approx(0.5, abs=0.03)
    assert Run(small.recipe).evaluate(model, "test").metrics["mean_iou"] > before - 0.05
