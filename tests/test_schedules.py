"""The learning rate: closed forms, and what the run itself decides."""

import math

import keras
import numpy as np
import pytest

from tests.toy import difference, interrupt, settings, small, train, validation
from zoo.recipe import Optimizer
from zoo.training import optimizer as optimizers
from zoo.training.history import DivergedError

KERAS = keras.optimizers


def rates(steps=100, **values):
    schedule = optimizers.build(Optimizer(learning_rate=0.4, **values), steps=steps)._learning_rate
    return lambda *at: [float(schedule(step)) for step in at]


def test_cosine_warms_up_and_falls_to_zero():
    at = rates(warmup=0.1)
    np.testing.assert_allclose(at(0, 5, 10, 55, 100), [0, 0.2, 0.4, 0.2, 0], atol=1e-6)
    oracle = KERAS.schedules.CosineDecay(0.0, 90, warmup_target=0.4, warmup_steps=10)
    every = range(0, 101, 7)
    np.testing.assert_allclose(at(*every), [float(oracle(step)) for step in every], atol=1e-6)


@pytest.mark.parametrize("schedule", ["constant", "plateau", "divide"])
def test_rate_stays_where_the_run_decides(schedule):
    at = rates(warmup=0.1, schedule=schedule)
    np.testing.assert_allclose(at(0, 5, 10, 100), [0, 0.2, 0.4, 0.4], rtol=1e-6)


def test_step_schedule():
    at = rates(schedule="step", milestones=(0.5, 0.75), factor=0.2)
    np.testing.assert_allclose(at(0, 49), 0.4, rtol=1e-6)
    np.testing.assert_allclose(at(50, 74), 0.08, rtol=1e-6)
    np.testing.assert_allclose(at(75, 99), 0.016, rtol=1e-6)
    assert rates(schedule="step", warmup=0.1)(5)[0] == pytest.approx(0.2)


def test_cyclic_schedule():
    """Huang et al., equation 2, whose steps count from 1."""

    def paper(step, total=100, cycles=4):
        length = math.ceil(total / cycles)
        return 0.4 / 2 * (math.cos(math.pi * ((step - 1) % length) / length) + 1)

    every = range(100)
    expected = [paper(step + 1) for step in every]
    np.testing.assert_allclose(rates(schedule="cyclic", cycles=4)(*every), expected, atol=1e-6)
    warm = rates(schedule="cyclic", cycles=4, warmup=0.1)
    np.testing.assert_allclose(warm(0, 5, 10, 17.5, 25), [0, 0.2, 0.4, 0.2, 0.4], atol=1e-6)
    np.testing.assert_allclose(warm(*every[25:]), expected[25:], atol=1e-6)


def test_history_tells_the_rate_of_the_last_step():
    history = train(small(), settings(epochs=4, schedule="cyclic", cycles=2, learning_rate=0.1))
    expected = [0.05 * (math.cos(math.pi * step / 20) + 1) for step in (9, 19, 9, 19)]
    found = [row["learning_rate"] for row in history.rows]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_checkpoint_of_the_twin_keeps_the_schedule(tmp_path):
    path = tmp_path / "twin.keras"
    given = [keras.callbacks.ModelCheckpoint(path)]
    train(small(), settings(schedule="step", warmup=0.1, learning_rate=0.4), callbacks=given)
    schedule = keras.saving.load_model(path).optimizer._learning_rate
    values = [float(schedule(step)) for step in (1, 5, 12, 17)]
    np.testing.assert_allclose(values, [0.2, 0.4, 0.04, 0.004], rtol=1e-5)


PLATEAU = {"schedule": "plateau", "patience": 1, "factor": 0.5, "learning_rate": 0.9}


def test_plateau_lowers_the_rate_when_the_validation_stalls():
    history = train(small(), settings(epochs=8, **PLATEAU), validation=validation())
    best, waited, rate = math.inf, 0, 0.9
    for row in history.rows:  # with patience 1, every epoch that is not the best halves the rate
        assert row["learning_rate"] == pytest.approx(rate)
        best, lower = min(best, row["val_loss"]), row["val_loss"] < best
        rate, waited = (rate, waited) if lower else (rate / 2, waited + 1)
    assert 0 < waited < 7
    with pytest.raises(ValueError, match="validation"):
        train(small(), settings(**PLATEAU))


@pytest.mark.parametrize("stop_at", [35, 40])
def test_plateau_resumes_exactly(tmp_path, stop_at):
    whole, resumed, snapshot = small(), small(seed=3), tmp_path / "snapshot.npz"
    chosen = settings(epochs=8, **PLATEAU | {"patience": 2})
    reference = train(whole, chosen, validation=validation())
    assert reference.rows[-1]["learning_rate"] < 0.9
    first = train(
        small(), chosen, validation=validation(), callbacks=[interrupt(stop_at)], snapshot=snapshot
    )
    assert first.interrupted
    second = train(resumed, chosen, validation=validation(), snapshot=snapshot, resume=True)
    assert difference(whole, resumed) == 0.0
    for key in ("learning_rate", "loss", "val_loss"):
        assert [row[key] for row in second.rows] == [row[key] for row in reference.rows]


# Divide until it stops diverging

DIVIDE = {"schedule": "divide", "learning_rate": 1e3, "factor": 0.1}


def test_divide_recovers_from_a_rate_that_is_far_too_large(caplog):
    model = small(batch_norm=True, dropout=0.3)
    with caplog.at_level("INFO", logger="zoo"):
        history = train(model, settings(epochs=3, **DIVIDE), validation=validation())
    told = [record.message for record in caplog.records if "diverged" in record.message]
    assert 2 <= len(told) <= 8 and "at the rate 100" in told[0]
    rate = 1e3 * 0.1 ** len(told)
    assert [row["learning_rate"] for row in history.rows] == pytest.approx([rate] * 3)
    assert history.epochs == 3 and history.rows[-1]["val_top1"] > 0.6
    # It is the run that starts with that rate.
    plain = small(batch_norm=True, dropout=0.3)
    reference = train(plain, settings(epochs=3, **DIVIDE | {"learning_rate": rate}))
    assert [row["loss"] for row in history.rows] == pytest.approx(
        [row["loss"] for row in reference.rows], rel=1e-4
    )


def test_divide_gives_up():
    with pytest.raises(DivergedError, match="every rate from 1e\\+30 down to 1e\\+22"):
        train(small(), settings(**DIVIDE | {"learning_rate": 1e30}))


def test_divide_resumes_exactly_within_its_search(tmp_path):
    whole, resumed, snapshot = small(), small(seed=3), tmp_path / "snapshot.npz"
    chosen = settings(epochs=2, **DIVIDE)
    reference = train(whole, chosen)
    first = train(small(), chosen, callbacks=[interrupt(10)], snapshot=snapshot)
    assert first.interrupted and not first.rows
    second = train(resumed, chosen, snapshot=snapshot, resume=True)
    assert difference(whole, resumed) == 0.0
    assert [row["loss"] for row in second.rows] == [row["loss"] for row in reference.rows]
