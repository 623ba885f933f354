"""Callbacks of a training: called as Keras calls them, the user's own, TensorBoard's files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.toy import difference, feed, settings, small, train, validation
from zoo.cli import own_callbacks
from zoo.models.saved import load_model
from zoo.training.callbacks import calls, tensorboard
from zoo.training.callbacks.progress import ProgressBar
from zoo.training.fitting import fit

CHANGES = ["settings.units=[16]", "train.epochs=4", "data.limit=256"]
SET = [word for change in CHANGES for word in ("--set", change)]


class Spy(keras.callbacks.Callback):
    """Notes each hook with its number and its measures."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def set_params(self, params):
        self.seen.append(("params", params["epochs"], params["steps"]))

    def set_model(self, model):
        super().set_model(model)
        self.seen.append(("model", isinstance(model, keras.Model)))

    def on_train_begin(self, logs=None):
        self.seen.append(("train begin", logs))

    def on_train_end(self, logs=None):
        self.seen.append(("train end", sorted({"loss", "val_loss"} & set(logs))))

    def on_epoch_begin(self, epoch, logs=None):
        self.seen.append(("epoch begin", epoch, logs))

    def on_epoch_end(self, epoch, logs=None):
        assert type(logs) is dict and all(type(value) is float for value in logs.values())
        self.seen.append(("epoch end", epoch, sorted({"loss", "val_loss"} & set(logs))))

    def on_train_batch_begin(self, batch, logs=None):
        self.seen.append(("begin", batch, logs))

    def on_train_batch_end(self, batch, logs=None):
        assert type(logs) is dict and type(logs["loss"]) is float
        self.seen.append(("end", batch))


@pytest.mark.oracle
def test_hooks_are_called_as_keras_calls_them():
    ours, theirs, net = Spy(), Spy(), small()
    train(small(), settings(), validation=validation(), callbacks=[ours])
    net.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    batches = [source.dataset() for source in (feed(), validation())]
    data, held = (d.map(lambda batch: (batch["image"], batch["label"])) for d in batches)
    net.fit(data, validation_data=held, epochs=2, verbose=0, callbacks=[theirs])
    assert len(ours.seen) == 2 + 2 + 2 * (2 + 2 * feed().steps)
    # Which of the two setters comes first is said nowhere.
    assert sorted(ours.seen[:2], key=str) == sorted(theirs.seen[:2], key=str)
    assert ours.seen[2:] == theirs.seen[2:]


def test_who_sees_each_step():
    quiet, every = keras.callbacks.EarlyStopping(), keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: None
    )  # fmt: skip
    lazy = [ProgressBar(), tensorboard.TensorBoard("nowhere")]
    assert not calls.Calls([quiet, *lazy], small(), epochs=1, steps=1).every_step
    assert calls.Calls([quiet, every], small(), epochs=1, steps=1).every_step


def points(directory, part):
    """All points of a directory, as the format has them: tag to (step, value)."""
    found = {}
    for path in tensorboard.events(directory):
        if path.parent.name == part:
            for record in tf.data.TFRecordDataset(str(path)):
                event = tf.compat.v1.Event.FromString(record.numpy())
                for one in event.summary.value:
                    found.setdefault(one.tag, []).append((event.step, one.simple_value))
    return found


def test_curves_for_tensorboard(zoo, tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard, "SECONDS", 0.0)
    out = tmp_path / "runs" / "mlp"
    run = ["train", "mlp", "--data", "digits", *SET, "--out", out, "--tensorboard"]
    zoo(*run)
    place = out.parent / "tensorboard" / "mlp"
    rows = np.genfromtxt(out / "history.csv", delimiter=",", names=True)
    found = points(place, "train")
    assert [step for step, _ in found["epoch_loss"]] == [0, 1, 2, 3]
    for tag, row in (("epoch_loss", "loss"), ("epoch_learning_rate", "learning_rate")):
        np.testing.assert_allclose([v for _, v in found[tag]], rows[row], rtol=1e-4)
    held = points(place, "validation")["epoch_top1"]
    np.testing.assert_allclose([value for _, value in held], rows["val_top1"], rtol=1e-4)
    steps = [step for step, _ in found["batch_loss"]]
    assert steps == list(range(1, len(steps) + 1)) and len(steps) % 4 == 0
    assert "--force replaces them" in zoo(*run[:-1], "--out", out.with_name("two"),
                                          "--tensorboard", place, expect=2)  # fmt: skip
    before = tensorboard.events(place)
    zoo(*run, "--force")
    after = tensorboard.events(place)
    assert len(after) == len(before) == 2 and not set(after) & set(before)


@pytest.mark.oracle
def test_tensorboard_reads_the_curves(tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = tensorboard.TensorBoard(tmp_path)
    history = train(small(), settings(), validation=validation(), callbacks=[board])
    read = {}
    for part in ("train", "validation"):
        read[part] = reader.EventAccumulator(str(tmp_path / part)).Reload()
        assert "epoch_loss" in read[part].Tags()["scalars"]
    for part, tag, name in (
        ("train", "epoch_loss", "loss"),
        ("train", "epoch_learning_rate", "learning_rate"),
        ("validation", "epoch_loss", "val_loss"),
    ):
        found = [one.value for one in read[part].Scalars(tag)]
        np.testing.assert_allclose(found, [row[name] for row in history.rows], rtol=1e-6)


OWN = """
import keras

class Stop(keras.callbacks.Callback):
    def __init__(self, after):
        super().__init__()
        self.after = after
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = epoch + 1 == self.after

class Fails(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations == 5:
            raise LookupError("the service\\nis away")

def wrong():
    return 3
"""


def test_callbacks_of_ones_own(zoo, tmp_path):
    own = tmp_path / "own.py"
    own.write_text(OWN)
    run = ["train", "mlp", "--data", "digits", *SET]
    out = tmp_path / "stopped"
    found = zoo(*run, "--out", out, "--callback", f"{own}:Stop(after=2)", "--json")
    assert found["epochs"] == 2 and found["status"] == "complete"
    # One that fails is one line, and what was trained is kept.
    out = tmp_path / "out"
    told = zoo(*run, "--out", out, "--callback", f"{own}:Fails", expect=1)
    line = told.strip().splitlines()[-1]
    assert f"{own}:Fails: on_train_batch_end: LookupError: the service is away ({own}:14)" in line
    assert "--resume goes on from it" in told and "Traceback" not in told
    assert not out.exists()
    zoo(*run, "--out", out, "--resume")
    whole = fit("mlp", data="digits", out=tmp_path / "whole", changes=CHANGES)
    assert difference(load_model(out), load_model(whole.path)) == 0.0
    rows = [np.genfromtxt(p / "history.csv", delimiter=",") for p in (out, whole.path)]
    np.testing.assert_array_equal(*(r[1:, [0, 2, 3]] for r in rows))
    for wrong, hint in (
        (f"{own}:wrong", "got a int; expected a keras.callbacks.Callback"),
        (f"{own}:Stops", "Did you mean 'Stop'?"),
        (f"{tmp_path / 'none.py'}:Stop", "no such file"),
        ("no_such_module:Stop", "No module named 'no_such_module'"),
    ):
        assert hint in zoo(*run, "--out", tmp_path / "x", "--callback", wrong, expect=2)
    told = zoo(*run, "--out", tmp_path / "x", "--callback", f"{own}:Stop", expect=1)
    assert "TypeError" in told and "after" in told


def test_an_error_of_a_callback_reaches_python_as_it_is(tmp_path):
    def fail(epoch, logs):
        raise LookupError("away")

    failing = keras.callbacks.LambdaCallback(on_epoch_end=fail)
    snapshot, model = tmp_path / "snapshot.npz", small()
    with pytest.raises(LookupError, match="away"):
        train(model, settings(), callbacks=[failing], snapshot=snapshot)
    history = train(again := small(seed=7), settings(), snapshot=snapshot, resume=True)
    assert [row["epoch"] for row in history.rows] == [1, 2]
    whole = small()
    train(whole, settings())
    assert difference(again, whole) == 0.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("keras.callbacks:CSVLogger", ("keras.callbacks", "CSVLogger", {})),
        ("a/b.py:Log(every=10, of='x:(y)')", ("a/b.py", "Log", {"every": 10, "of": "x:(y)"})),
        ("C:/a.py:Log()", ("C:/a.py", "Log", {})),
    ],
)
def test_spellings_of_a_callback(text, expected):
    assert own_callbacks.parsed(text) == expected


@pytest.mark.parametrize(
    "text", ["Log", "a:", "a:Log(3)", "a:Log(x=y)", "a:Log(**z)", "a:Log(", ":Log"]
)
def test_misspelt_callbacks(text):
    with pytest.raises(ValueError, match=r"expected module:NAME or module:NAME\(key=value\)"):
        own_callbacks.parsed(text)
