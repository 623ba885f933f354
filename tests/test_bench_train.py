"""The two sides of `zoo bench train`, and what is made of their turns."""

import math

import keras
import numpy as np
import pytest

from compress.graph import leaf_layers
from zoo.results import _trained, numbers
from zoo.stages import bench_train, turns
from zoo.stages.turns import KERAS, OURS, Side, Turn
from zoo.training.twin import FusedBatchNormalization

SMALL = ["settings.units=[16]", "hardware.precision=float32"]


@pytest.mark.parametrize("who", [OURS, KERAS])
def test_a_side_learns_what_it_is_asked_to(who):
    """Digits, of which 4 batches are learnt."""
    side = Side(who, "mlp", "digits", SMALL, 4)
    assert side.source.steps == 4 and side.run.recipe.data.augment.mirror is False
    assert side.warm_up() > 0
    turn = side.turn(20)
    assert turn.steps == 80 and turn.seconds > 0 and turn.cpu_seconds > 0
    net = side._loop.twin if who == OURS else next(iter(side._plain._twins.values()))
    batch = next(iter(side.source.batches(side.run.machine.strategy)))
    answers = np.argmax(net(batch["image"]), axis=-1)
    assert np.mean(answers == batch["label"].numpy()) > 0.6  # by chance, 0.1
    facts = side.facts()
    assert facts["memory_bytes"] > 1e8 and facts["data"] == "digits"
    assert math.isnan(turn.waited) == (who == KERAS)
    if who == OURS:
        assert facts["macs"] == 64 * 16 + 16 * 10 and facts["peak_flops"] > 1e8


def test_a_step_by_hand_learns_too():
    """What `compile` has no word for: noise, a loss of two outputs, Keras' own normalisation."""
    side = Side(KERAS, "vae", "digits", ["hardware.precision=float32"], 2)
    side.turn(2)
    before = side._plain._model._loss.result().numpy()
    side.turn(5)
    assert side._plain._model._loss.result().numpy() < before
    nets = Side(KERAS, "vgg16_bn", "digits", ["data.size=32", "train.batch_size=2"], 1)._plain
    layers = [layer for net in nets._twins.values() for _, layer in leaf_layers(net)]
    assert any(type(layer) is keras.layers.BatchNormalization for layer in layers)
    assert not any(isinstance(layer, FusedBatchNormalization) for layer in layers)


def test_a_row_tells_medians_of_pairs():
    def some(*milliseconds, waited=0.0):
        return [Turn(1e-2 * ms, 2e-2 * ms, 10, 1e-2 * ms * waited) for ms in milliseconds]

    # The machine is busy in the second pair of turns; the last is an outlier.
    taken = {OURS: some(1, 5, 9, waited=0.25), KERAS: some(2, 10, 9), "float32": some(4, 15, 9)}
    mine = {"batch_size": 50, "precision": "mixed_bfloat16", "data": "digits", "device_bytes": None,
            "memory_bytes": 300, "macs": 10**6, "peak_flops": 6e11, "steps_per_call": 8,
            "jit": False}  # fmt: skip
    row = bench_train._row("mlp", taken, {OURS: mine, KERAS: {**mine, "memory_bytes": 200}})
    assert row.faster == pytest.approx(2) and row.float32_faster == pytest.approx(3)
    assert row.ms == pytest.approx(5) and row.cpu_ms == pytest.approx(10)
    assert row.per_second == pytest.approx(10_000) and row.utilisation == pytest.approx(0.1)
    assert row.memory_ratio == 1.5 and row.waiting == pytest.approx(0.25) and row.turns == 3
    document = {
        "machine": {"processor": "P", "cores": 2},
        "versions": {"tensorflow": "1", "keras": "2"},
        "commit": "abc",
        "trained": [row._asdict()],
    }
    read = [{key: str(value) for key, value in one.items()} for one in _trained(document)]
    page = numbers.tables(lambda stage: read if stage == "train_speed" else [])
    assert (
        "| `mlp` | 50 | mixed_bfloat16 | 5.0 | 9.0 | 2.00 x |" in page and "on P, 2 cores" in page
    )
    with pytest.raises(ValueError, match="commit the changes"):
        _trained({**document, "commit": "abc+changed"})


@pytest.mark.slow
def test_the_command(zoo):
    found = zoo("bench", "train", "mlp", "--rounds", 2, "--seconds", 0.2, "--json",
                "--set", "train.batch_size=32")  # fmt: skip
    (row,) = found["trained"]
    assert row["name"] == "mlp" and row["turns"] == 2 and row["faster"] > 0.3
    assert "Did you mean 'lenet5'?" in zoo("bench", "train", "lenet", expect=2)
    told = zoo("bench", "train", "mlp", "--set", "data.name=nothing", expect=2)
    assert "nothing" in told


def test_peak_of_this_device(monkeypatch):
    monkeypatch.setattr(turns, "PEAK_SECONDS", 0.05)
    assert 1e8 < turns.peak_flops("float32") < 1e15
