"""What a training has come to is not lost, whatever happens while its bundle is written."""

import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import keras
import numpy as np
import pytest

from zoo.models.saved import load_model
from zoo.training import signals, writing
from zoo.training.fitting import fit

ROOT = Path(__file__).parents[1]
CHANGES = ["settings.units=[16]", "train.epochs=3", "data.limit=256"]
LINEAR = ["train.optimizer.kind=lbfgs", "train.epochs=6", "data.limit=256"]


class Counted(keras.callbacks.Callback):
    """Counts steps."""

    steps = 0

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1


class NoRoom(keras.callbacks.Callback):
    """From the end of the training on, no file may grow: the system's own error."""

    def on_train_end(self, logs=None):
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))


@pytest.fixture
def room():
    """Gives the room back."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def again():
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    yield again
    again()
    signal.signal(signal.SIGXFSZ, before)


def same(one, other):
    pairs = zip(load_model(one.path).weights, load_model(other.path).weights, strict=True)
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in pairs)
    assert one.report.metrics == other.report.metrics
    assert one.report.epochs == other.report.epochs


@pytest.mark.parametrize(("model", "changes"), [("mlp", CHANGES), ("linear", LINEAR)])
def test_a_full_disk_while_the_bundle_is_written(tmp_path, room, caplog, model, changes):
    whole = fit(model, data="digits", out=tmp_path / "whole", changes=changes)
    out = tmp_path / "out"
    with pytest.raises(OSError, match="File too large") as caught:
        fit(model, data="digits", out=out, changes=changes, callbacks=[NoRoom()])
    room()
    assert str(out) in str(caught.value) and "\n" not in str(caught.value)
    assert not out.exists() and "--resume goes on from it" in caplog.text
    counted = Counted()
    same(fit(model, out=out, resume=True, callbacks=[counted]), whole)
    assert counted.steps == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "whole"]


class Enough(keras.callbacks.Callback):
    """Stops after an epoch."""

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = True


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_bundle_is_written(tmp_path, monkeypatch, caplog, kind):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(writing.plots, "curves", lambda *_: os.kill(os.getpid(), kind))
        with pytest.raises(KeyboardInterrupt):
            fit("mlp", data="digits", out=out, changes=CHANGES, callbacks=[Enough()])
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial"]
    assert "--resume goes on from it" in caplog.text
    counted = Counted()
    bundle = fit("mlp", out=out, resume=True, callbacks=[counted])
    # A callback had ended it after one of three epochs; there is nothing to go on with.
    assert counted.steps == 0 and bundle.report.epochs == 1
    assert bundle.report.status == "complete"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_snapshot_that_cannot_be_written_stops_nothing(tmp_path, room, caplog, monkeypatch):
    from zoo.training import loop

    monkeypatch.setattr(loop, "SNAPSHOT_SECONDS", 0.0)

    class Full(Counted):
        def on_train_batch_begin(self, batch, logs=None):
            NoRoom().on_train_end() if self.steps == 1 else None

        def on_train_end(self, logs=None):
            room()

    bundle = fit("mlp", data="digits", out=tmp_path / "out", changes=CHANGES, callbacks=[Full()])
    assert bundle.report.status == "complete"
    assert "not written (File too large); the run goes on" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("place", ["plain/x", "loop", "loop/x", ".", "/", "/proc/x"])
def test_a_place_that_cannot_be_written_is_told_before_any_work(tmp_path, monkeypatch, zoo, place):
    monkeypatch.chdir(tmp_path)
    Path("plain").write_text("")
    Path("loop").symlink_to("loop")
    Path("p.yaml").write_text("passes: [{kind: prune, sparsity: 0.5}]")
    from zoo.training import run

    def worked(*_, **__):
        raise AssertionError("there was work")

    monkeypatch.setattr(run.Run, "__init__", worked)
    bundle = zoo_shipped()
    for arguments in (
        ["train", "mlp", "--data", "digits"],
        ["compress", bundle, "p.yaml"],
        ["ensemble", place, bundle, bundle],
        ["baseline", "knn", "--data", "digits"],
        ["find-lr", "mlp", "--data", "digits"],
        ["tune", "mlp", "--data", "digits"],
        ["export", bundle, "onnx", "--force"],
        ["predict", zoo_shipped("unet"), ROOT / "docs" / "size-accuracy-time.png"],
    ):
        if arguments[0] in ("export", "predict") and place in (".", "/"):
            continue  # they write into a folder
        out = [] if arguments[0] == "ensemble" else ["--out", place]
        line = zoo(*arguments, *out, expect=2)
        assert "Traceback" not in line and len(line.strip().splitlines()) == 1, line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["loop", "p.yaml", "plain"]


def zoo_shipped(start=""):
    from zoo.common.home import shipped

    return next(path for path in shipped() if path.name.startswith(start))


def test_two_trainings_of_one_place(tmp_path):
    """The second is refused by the name of the first, which goes on."""
    out, told = tmp_path / "out", []

    class Second(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 0:
                run = [
                    sys.executable, "-c", "import sys; from zoo.cli import main; sys.exit(main())",
                    "train", "mlp", "--data", "digits", "--force", "--out", str(out),
                ]  # fmt: skip
                done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=100)
                told.append((done.returncode, done.stderr))

    bundle = fit("mlp", data="digits", out=out, changes=CHANGES, callbacks=[Second()])
    ((code, line),) = told
    assert code == 2 and f"process {os.getpid()} (" in line and "wait for it" in line
    assert bundle.report.status == "complete"


def test_sigterm_is_left_to_whoever_asked_for_it():
    with signals.orderly():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        with signals.orderly(), pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append(1))
    try:
        with signals.orderly():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [1]
    thread = threading.Thread(target=lambda: signals.orderly().__enter__())
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
