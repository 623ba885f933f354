"""A compression that was stopped, or killed, goes on to what it would have come to."""

import os
import signal

import keras
import numpy as np
import pytest

import compress as passes
from compress.measure.account import layer_table
from compress.pipeline.stages import Stage
from tests import programs
from zoo.bundle import Bundle
from zoo.models.saved import load_model
from zoo.stages import compress as stage
from zoo.stages.compress import compress
from zoo.stages.kept import Kept
from zoo.training import loop

CHANGES = ["data.limit=256", "train.batch_size=32"]
RECIPE = """
passes:
  - {kind: prune, sparsity: 0.8, schedule: {every: 3}, epochs: 2}
  - {kind: share_weights, bits: 4, epochs: 1}
  - {kind: quantize, epochs: 2}
"""
STEPS = 8 * 5  # of the three trainings, 8 an epoch


class Stop(keras.callbacks.Callback):
    """Sends a signal to its own process after so many steps."""

    def __init__(self, kind, step):
        super().__init__()
        self.kind, self.left = kind, step

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.kind)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """A snapshot after every step, not every minute."""
    untimed(monkeypatch)
    monkeypatch.setattr(loop, "SNAPSHOT_SECONDS", 0.0)


def untimed(patch):
    """Converts nothing: each conversion is a process of its own, and takes seconds."""

    def measure(*models, **_):
        return [{"none": passes.Runtime(1, 1, 1e-9)} for _ in models]

    patch.setattr(stage, "time_models", measure)
    patch.setattr(passes, "has_ranges", lambda _: False)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipes") / "three.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """A small net with dropout, whose random states a resumed run must find again."""
    from zoo.training.fitting import fit

    out = tmp_path_factory.mktemp("runs") / "mlp"
    changes = ["train.epochs=2", "settings.units=[32]", "data.limit=640"]
    bundle = fit("mlp", data="digits", out=out, changes=changes)
    model = load_model(out)
    x = model.get_layer("hidden1_relu").output
    x = keras.layers.Dropout(0.2, name="drop")(x)
    logits = model.get_layer("logits")(x)
    keras.Model(model.input, logits, name=model.name).save(bundle.model_file)
    return Bundle(out)


@pytest.fixture(scope="module")
def whole(parent, recipe, tmp_path_factory):
    """The compression that nobody stopped."""
    with pytest.MonkeyPatch.context() as patch:
        untimed(patch)
        out = tmp_path_factory.mktemp("whole") / "small"
        made = compress(parent, recipe, out=out, changes=CHANGES)
    assert not (out / "model.tflite").exists() and "share_weights" in str(made.card.passes)
    return made


def same(one: Bundle, other: Bundle):
    """Whether two bundles hold the same model, and tell the same of it, but for times."""
    pairs = zip(load_model(one.path).weights, load_model(other.path).weights, strict=True)
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in pairs)
    assert one.report.metrics == other.report.metrics
    assert one.report.validation == other.report.validation
    for a, b in zip(
        one.report.compress.passes["passes"], other.report.compress.passes["passes"], strict=True
    ):
        assert a | {"seconds": 0} == b | {"seconds": 0}
    rows = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in read(bundle)]
        for bundle in (one, other)
    ]
    assert rows[0] == rows[1]


def read(bundle):
    import csv

    with (bundle.path / "history.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        (18, signal.SIGTERM),
        pytest.param(5, signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(31, signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_stopped_in_a_fine_tuning(parent, recipe, whole, tmp_path, caplog, step, kind):
    out = tmp_path / "small"
    with pytest.raises(KeyboardInterrupt):
        compress(parent, recipe, out=out, changes=CHANGES, callbacks=[Stop(kind, step)])
    assert not out.exists() and "--resume goes on from it" in caplog.text
    with pytest.raises(FileExistsError, match="--resume continues it, --force drops it"):
        compress(parent, recipe, out=out, changes=CHANGES)
    with pytest.raises(ValueError, match="Repeat its arguments"):
        compress(parent, recipe, out=out, changes=["seed=5"], resume=True)
    counted = Stop(signal.SIGKILL, 10**6)
    again = compress(parent, recipe, out=out, changes=CHANGES, callbacks=[counted], resume=True)
    assert 10**6 - counted.left == STEPS - step  # not one step twice
    same(again, whole)
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


KILLED = """
import os, signal, sys
sys.path.insert(0, "tests")
from test_compress_resume import CHANGES, Stop
from zoo.stages.compress import compress
from zoo.stages.kept import Kept
from zoo.training import loop
loop.SNAPSHOT_SECONDS = 0.0
parent, recipe, out, step = sys.argv[1:]
compress(parent, recipe, out=out, changes=CHANGES, callbacks=[Stop(signal.SIGKILL, int(step))])
"""


def test_killed_in_another_process(parent, recipe, whole, tmp_path):
    out = tmp_path / "small"
    done = programs.run(KILLED, parent.path, recipe, out, 29)
    assert done.returncode == -signal.SIGKILL, done.stderr
    same(compress(parent, recipe, out=out, changes=CHANGES, resume=True), whole)
    assert [path.name for path in tmp_path.iterdir()] == ["small"]


def test_an_error_while_the_bundle_is_written_loses_nothing(
    parent, recipe, whole, tmp_path, monkeypatch
):
    out = tmp_path / "small"

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(stage, "write_bundle", full)
        with pytest.raises(OSError, match="No space left"):
            compress(parent, recipe, out=out, changes=CHANGES)
    counted = Stop(signal.SIGKILL, 1)  # one step would be too many
    same(
        compress(parent, recipe, out=out, changes=CHANGES, callbacks=[counted], resume=True), whole
    )


def test_a_search_is_resumed(parent, tmp_path):
    recipe = tmp_path / "searched.yaml"
    recipe.write_text(
        "passes: [{kind: prune, sparsity: 0.5, epochs: 1}]\nbudget: {max_drop: 0.05, search: 3}"
    )
    first = compress(parent, recipe, out=tmp_path / "first", changes=CHANGES)
    stop = Stop(signal.SIGINT, 13)  # in the second trial
    with pytest.raises(KeyboardInterrupt):
        compress(parent, recipe, out=tmp_path / "again", changes=CHANGES, callbacks=[stop])
    counted = Stop(signal.SIGKILL, 10**6)
    again = compress(
        parent, recipe, out=tmp_path / "again", changes=CHANGES, callbacks=[counted], resume=True
    )
    assert 10**6 - counted.left == 8 * 3 - 13
    same(again, first)


def test_nothing_to_resume_and_nothing_left_of_a_refusal(parent, recipe, tmp_path):
    with pytest.raises(FileNotFoundError, match="no unfinished run to resume"):
        compress(parent, recipe, out=tmp_path / "x", changes=CHANGES, resume=True)
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("passes: [{kind: prune, sparsity: 0.5, layers: [nope]}]")
    with pytest.raises(ValueError, match="matches no layer"):
        compress(parent, wrong, out=tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.yaml"]


def test_what_a_finished_pass_reports_is_read_as_it_was_written(tmp_path):
    """All of it, also what few passes have."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="dense")])
    samples = np.random.RandomState(0).randn(64, 4).astype("float32")
    small = passes.apply(passes.Quantize(), model, samples=samples)
    (report,) = small.report.passes
    assert report.agreement[0].sqnr_db > 20
    keeper = Kept(tmp_path / "small.partial", {"parent": "p"}, 0)
    step, rows = passes.Quantize(), layer_table(small.model)
    plan = [step]
    keeper.begin(plan)
    keeper.keep(plan, Stage(step, small.model, report, rows))
    found = Kept(tmp_path / "small.partial", {"parent": "p"}, 0).find(plan)
    assert found.report == report and found.rows == rows
    for one, other in zip(found.model.variables, small.model.variables, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_model_of_ones_own_is_resumed(parent, recipe, tmp_path):
    model, given = load_model(parent.path), {"data": "digits", "values": "0..1"}
    changes = ["seed=3", "data.limit=640"]
    expected = compress(model, recipe, out=tmp_path / "whole", changes=changes, **given)
    file, out = tmp_path / "mine.h5", tmp_path / "small"  # an .h5 file has no digest of its own
    model.save(file)
    stop = Stop(signal.SIGTERM, 5)
    with pytest.raises(KeyboardInterrupt):
        compress(model, recipe, out=out, changes=changes, callbacks=[stop], **given)
    other = given | {"values": "0..255"}
    with pytest.raises(ValueError, match=r"got values '0\.\.255'; expected"):
        compress(model, recipe, out=out, changes=changes, resume=True, **other)
    same(compress(file, recipe, out=out, changes=changes, resume=True, **given), expected)
    with pytest.raises(ValueError, match="got resume without data"):
        compress(file, "int8", resume=True, samples=np.zeros((4, 8, 8, 1)))
