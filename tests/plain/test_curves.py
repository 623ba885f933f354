"""Learning curves over seeds: the interquartile mean and its band are scipy's, runs are grouped."""

import shutil

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from zoo.results import curves


@pytest.mark.parametrize("count", [1, 3, 4, 5, 10, 17])
def test_the_interquartile_mean_is_scipys_trimmed_mean(count):
    scores = np.random.RandomState(count).normal(size=(count, 7))
    found = curves.interquartile_mean(scores)
    np.testing.assert_allclose(found, stats.trim_mean(scores, 0.25, axis=0))


def test_the_band_is_scipys_bootstrap():
    """By other random numbers, so that the ends differ by what those are worth."""
    scores = np.random.RandomState(0).gamma(3.0, size=(20, 2))
    low, high = curves.band([scores])
    wanted = stats.bootstrap(
        (scores,), lambda one, axis: stats.trim_mean(one, 0.25, axis=axis), axis=0,
        n_resamples=4000, method="percentile", rng=1,
    ).confidence_interval  # fmt: skip
    width = wanted.high - wanted.low
    np.testing.assert_allclose(low, wanted.low, atol=0.08 * width.max())
    np.testing.assert_allclose(high, wanted.high, atol=0.08 * width.max())


def test_each_environment_draws_from_its_own_runs():
    """Stratified: with equal runs within each, nothing is left to chance."""
    low, high = curves.band([np.zeros((3, 1)), np.ones((3, 1))])
    assert low == high == 0.5


def test_runs_are_grouped_by_name_and_drawn(tmp_path, monkeypatch):
    class Kept:
        def __init__(self, path):
            self.path = path
            self.recipe = type("R", (), {"environment": type("E", (), {"frames": 100})})

    monkeypatch.setattr(curves, "Bundle", Kept)
    for name, top in (("ppo-s0", 10), ("ppo-s12", 30), ("a2c", 5)):
        (tmp_path / name).mkdir()
        rows = [f"{epoch},{top * epoch}" for epoch in (1, 2, 3)]
        (tmp_path / name / "history.csv").write_text("\n".join(["epoch,val_return", *rows]))
    lines = curves.read(sorted(path for path in tmp_path.iterdir()))
    assert set(lines) == {"ppo", "a2c"}
    np.testing.assert_array_equal(lines["ppo"].returns, [[10, 20, 30], [30, 60, 90]])
    np.testing.assert_array_equal(lines["ppo"].frames, [100, 200, 300])
    curves.draw(lines, tmp_path / "curves.png", spread={"all": 1.0, "less": 0.1})
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (810, 306)
    shutil.rmtree(tmp_path / "a2c")
