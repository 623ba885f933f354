"""Poses, ellipses and the nets of masks and regions without a file of their own, the whole way.

Each is trained, resumed, trained on two devices, drawn, made small and exported.
"""

import numpy as np
import pytest
from PIL import Image

from tests import scenes as kit
from tests import toy
from zoo.bundle import Bundle
from zoo.models.saved import load_model
from zoo.recipe import resolve
from zoo.training.fitting import fit
from zoo.training.run import Run

TINY = {
    "deeppose_small3": ["settings.width=8", "settings.units=16"],
    "ellipse_net": ["settings.width=8", "settings.units=16"],
    "heat_maps": ["settings.width=8"],
    "fast_rcnn_small": ["settings.width=8", "settings.units=16"],
    "recurrent_cnn3": ["settings.filters=[4, 6, 6]"],
    "segnet_small": ["settings.filters=[4, 6, 8]"],
}
FIRST = pytest.param("heat_maps")
REST = [pytest.param(name, marks=pytest.mark.slow) for name in TINY if name != "heat_maps"]
NAMES = [FIRST, *REST]


def changes(name):
    """Four steps an epoch, two epochs."""
    return [*TINY[name], "data.limit=32", "train.epochs=2", "train.batch_size=8",
            "hardware.precision=float32"]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _few(tmp_path_factory):
    yield from kit.few(tmp_path_factory)


@pytest.fixture(scope="module")
def trained(_few, tmp_path_factory):
    """Runs that nothing stopped, each made when it is first asked for."""
    made = {}

    def of(name):
        if name not in made:
            out = tmp_path_factory.mktemp("runs") / name
            made[name] = fit(name, out=out, changes=changes(name))
        return made[name]

    return of


@pytest.mark.parametrize("name", NAMES)
def test_its_report_is_measured_again_and_drawn(name, trained):
    bundle = trained(name)
    found = Run(bundle.recipe).evaluate(load_model(bundle.path), "test").metrics
    assert found == pytest.approx(bundle.report.metrics, rel=1e-4, abs=1e-5)
    assert bundle.recipe.task.headline.name in found
    pictures = [path for path in bundle.path.glob("*.png") if path.name != "curves.png"]
    assert pictures and all(np.ptp(np.asarray(Image.open(path))) > 50 for path in pictures)


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_run_equals_a_whole_one(name, trained, tmp_path):
    toy.check_resumed(trained(name), tmp_path / "part", changes=changes(name), stop_at=6)


@pytest.mark.slow
@pytest.mark.dist
@pytest.mark.parametrize("name", TINY)
def test_two_devices_take_the_steps_of_one(name, tmp_path):
    """But for normalisations, each of which sees the examples of its own device."""
    plain = [
        *TINY[name],
        *(["settings.dropout=0"] if name in ("deeppose_small3", "ellipse_net") else []),
    ]
    found = kit.two_devices(name, plain, tmp_path, frozen="BatchNormalization")
    assert found["replicas"] == [2, 1] and found["moved"] == 2
    assert found["weights"] < 1e-4 and found["history"] < 1e-4


@pytest.mark.parametrize("name", NAMES)
def test_made_small_and_exported_from_the_command_line(name, trained, tmp_path, zoo):
    bundle, small = trained(name), tmp_path / "small"
    zoo("compress", bundle.path, "prune50", "--out", small)
    model = load_model(Bundle(small).path)
    kernels = [w.numpy() for w in model.trainable_weights if w.path.endswith("/kernel")]
    zeros = sum(int((kernel == 0).sum()) for kernel in kernels)
    assert zeros / sum(kernel.size for kernel in kernels) == pytest.approx(0.5, abs=0.05)
    assert Bundle(small).report.metrics.keys() >= {bundle.recipe.task.headline.name}
    done = zoo("export", small, "tflite", "onnx", "--out", tmp_path / "files", "--json")
    assert [one["parity"]["passed"] for one in done] == [True, True]
    assert {one["parity"]["top1_agreement"] for one in done} == {None}  # no row is a class's scores


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in TINY if name != "fast_rcnn_small"])
def test_integers_of_it_are_measured(name, trained, tmp_path, zoo):
    """A Fast R-CNN of four steps has nothing to lose, which is refused; a trained one has a row."""
    bundle, small = trained(name), tmp_path / "int8"
    zoo("compress", bundle.path, "int8", "--out", small)
    told = Bundle(small).report
    headline = bundle.recipe.task.headline.name
    assert np.isfinite(told.metrics[headline]) and told.compress.file["metrics"]
    (done,) = zoo("export", small, "tflite-int8", "--out", tmp_path / "files", "--json")
    assert done["parity"]["passed"]
    assert done["parity"]["top1_agreement"] is None  # no output has a class for each number


@pytest.mark.parametrize("name", ["heat_maps", pytest.param("ellipse_net", marks=pytest.mark.slow)])
def test_predict_says_and_draws_where(name, trained, tmp_path, zoo):
    bundle = trained(name)
    raw = Run(resolve(name, changes=changes(name))).raw("test", 1)["image"][0]
    Image.fromarray(raw[..., 0]).resize((128, 96)).save(tmp_path / "eye.png")
    rows = zoo("predict", bundle.path, tmp_path / "eye.png", "--out", tmp_path / "drawn", "--json")
    assert all(np.isfinite([row["x"], row["y"]]).all() for row in rows)
    with Image.open(tmp_path / "drawn" / "eye.png") as drawn:
        assert len(set(map(tuple, np.asarray(drawn.convert("RGB")).reshape(-1, 3)))) > 2
