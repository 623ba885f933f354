"""Several steps in one call are those of single calls, to the last bit."""

import itertools
import os
import signal

import keras
import numpy as np
import pytest

from tests.toy import difference, feed, settings, small, train, validation
from zoo.data.feeds.source import Draw
from zoo.recipe import Augment, Hardware
from zoo.training import strategy, strides
from zoo.training.callbacks.progress import ProgressBar
from zoo.training.strides import Strides

AUGMENT = Augment(shift=1, mirror=False)


def hardware(steps_per_call):
    return Hardware(precision="float32", strategy="one", steps_per_call=steps_per_call)


class Places(keras.callbacks.Callback):
    """Notes the steps that it is called after; makes do with the last of a call."""

    lazy = True

    def __init__(self, interrupt_at=None):
        super().__init__()
        self.seen, self.at = [], interrupt_at

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(batch)
        if len(self.seen) == self.at:
            os.kill(os.getpid(), signal.SIGINT)


def taken(steps_per_call, *, seed=0, callbacks=(), **options):
    net = small(dropout=0.5, batch_norm=True, seed=seed)
    chosen = settings(kind="adamw", learning_rate=0.01, schedule="cosine", warmup=0.2)
    history = train(
        net, chosen, hardware=hardware(steps_per_call), validation=validation(),
        batches=feed(seed=3, augment=AUGMENT), callbacks=callbacks, **options,
    )  # fmt: skip
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in history.rows]
    return net, rows, history


def test_several_steps_in_a_call_change_no_bit(tmp_path):
    one, rows, history = taken(1)
    with pytest.MonkeyPatch.context() as patch:  # an epoch's pipeline at a time
        patch.setattr(Strides, "flows", False)
        plain, others, _ = taken(1)
    assert difference(one, plain) == 0.0 and rows == others
    places = Places()
    many, others, longer = taken(4, callbacks=[places, ProgressBar()])
    assert difference(one, many) == 0.0 and rows == others
    assert history.images == longer.images == 2 * 10 * 64
    # The first step tells what is measured; 10 steps of an epoch are 4, 4 and the rest.
    assert places.seen == [0, 4, 8, 9, 3, 7, 9]
    # Stopped within the second epoch, and resumed with another number of steps in a call.
    snapshot, stop = tmp_path / "snapshot.npz", Places(interrupt_at=6)
    assert taken(4, callbacks=[stop], snapshot=snapshot)[2].interrupted
    assert stop.seen[-1] == 7
    again, rest, _ = taken(3, seed=7, snapshot=snapshot, resume=True)
    assert difference(one, again) == 0.0 and rest == rows


def test_a_callback_of_steps_sees_each():
    seen = []
    spy = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))
    taken(4, callbacks=[spy])
    assert seen == 2 * list(range(10))


def chosen(first, seconds, together, *, epochs=5, total=100_000):
    """What is chosen for an epoch after another, where steps take so long."""
    source, found = feed(), []
    machine = strategy.choose_machine(hardware("auto"))
    way = Strides(machine, source, total=total)
    for epoch in range(epochs):
        several = way.begin(10 * epoch)
        if epoch == 0 or (several > 1 and found[-1] == 1):
            way.made(first)
        if way.measuring:
            way.note(20 * (seconds if several == 1 else together), 20)
        found.append(several)
    return found


def test_the_choice_follows_what_is_measured(caplog):
    caplog.set_level("INFO", "zoo")
    # An epoch has 10 steps; two of 20 steps each are looked at.
    assert chosen(0.5, 0.002, 0.001) == [1, 1, 10, 10, 10]
    assert "a step takes 2.00 ms alone, 1.00 ms in calls of 10" in caplog.text
    assert chosen(0.5, 0.02, 0.01) == [1, 1, 5, 5, 5]  # a call takes a tenth of a second
    assert chosen(0.5, 0.002, 0.003, epochs=6) == [1, 1, 10, 10, 1, 1]  # it is no faster
    assert chosen(0.5, 0.04, 0.01) == [1] * 5  # long steps
    assert chosen(0.5, 0.002, 0.001, total=900) == [1] * 5  # no more than the graph costs


@pytest.mark.parametrize("asked", [1, 4, "auto"])
def test_what_the_user_says_counts(asked, monkeypatch):
    monkeypatch.setattr(strides, "LOOKED", 10**9)
    machine = strategy.choose_machine(hardware(asked))
    way = Strides(machine, feed(), total=10**6)
    assert [way.begin(0), way.begin(10)] == ([4, 4] if asked == 4 else [1, 1])
    assert way.measuring == (asked == "auto")
    group = next(iter(way.batches(0, start=3)))
    alone = list(feed().dataset(0, start=3).take(way.now))
    for name, column in group.items():
        expected = [one[name] for one in alone]
        np.testing.assert_array_equal(column, np.stack(expected) if way.now > 1 else expected[0])


@pytest.mark.parametrize("kind", ["normal", "uniform", "place"])
def test_batches_with_noise_share_a_call_too(kind):
    """Of codes and of words that are drawn; on one device or two, all are as long as a batch."""
    source = feed(draws={"noise": Draw(kind, (70,))})
    several = Strides(strategy.choose_machine(hardware(4)), source, total=100)
    assert several.begin(0) == 4
    (shape,) = {one["noise"].shape for one in itertools.islice(several.batches(0, start=0), 2)}
    assert shape == (4, 64, 70)
    for replicas in (1, 2):
        spec = source.dataset(replicas=replicas).element_spec["noise"]
        assert spec.shape == (64 // replicas, 70)
