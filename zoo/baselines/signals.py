"""What a forecaster has to beat: what needs no learning, a linear prediction, and statsmodels.

`last_value`, `period_before` and `linear_prediction` are those that stand in the report of a
forecaster too (`zoo.tasks.sequences.forecast`). `autoregression` and `exponential_smoothing` are
statsmodels', fitted to each window alone: Yule 1927, Phil. Trans. R. Soc. A 226, by least squares,
whose number of terms is chosen on the validation part; Holt 1957, Int. J. Forecasting 20(1) (2004),
a level and a trend that is damped. A fit that fails says the last value.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from zoo.baselines.texts import Predicted
from zoo.data.dataset import DataSet, Split
from zoo.tasks.sequences import forecast

TERMS = (1, 2, 4, 8, 12, 16, 20, 25)


def plain(data: DataSet, *, guess: str) -> Predicted:
    """Measures one of the forecasts of `zoo.tasks.sequences.forecast.guesses`.

    Args:
        data: Windows of a signal.
        guess: Its name there; the period is the best on the validation part.
    """

    def measured(split: Split, period: int) -> dict[str, float]:
        series, ahead = (split[name][..., 0].astype("float64") for name in ("series", "ahead"))
        known = data if guess == forecast.LINEAR else None
        found = forecast.guesses(series, ahead.shape[1], period=period, data=known)
        return forecast.errors(ahead, found[guess])

    time, steps = data.columns["series"].shape[0] or 1, data.columns["ahead"].shape[0] or 1
    periods = range(1, time + 1) if guess == forecast.PERIOD else (1,)
    tried = [{"period": period, **measured(data.validation, period)} for period in periods]
    best = min(tried, key=lambda one: one["mae"])
    period, best = int(best["period"]), {name: best[name] for name in ("mae", "rmse")}
    settings = {"period": period} if guess == forecast.PERIOD else {}
    num = time * steps if guess == forecast.LINEAR else 0
    return Predicted(
        measured(data.test, period), best, settings, tuple(tried) if settings else (), num
    )


def autoregression(data: DataSet) -> Predicted:
    """Fits each window alone, see above.

    Raises:
        ModuleNotFoundError: statsmodels is not installed.
    """
    library = _library("statsmodels.tsa.ar_model")
    steps, most = data.columns["ahead"].shape[0], data.train["series"].shape[1]

    def of(terms: int) -> Callable[[np.ndarray], np.ndarray]:
        return lambda window: library.AutoReg(window, terms).fit().forecast(steps)

    # As many places again have to be left to fit the terms and the mean to.
    tried = [
        {"terms": terms, **_measured(data.validation, of(terms))}
        for terms in TERMS
        if 2 * terms + 2 <= most
    ]
    best = min(tried, key=lambda one: one["mae"])
    terms = int(best["terms"])
    known = {name: best[name] for name in ("mae", "rmse")}
    return Predicted(
        _measured(data.test, of(terms)), known, {"terms": terms}, tuple(tried), terms + 1
    )


def exponential_smoothing(data: DataSet) -> Predicted:
    """Fits each window alone, see above.

    Raises:
        ModuleNotFoundError: statsmodels is not installed.
    """
    library = _library("statsmodels.tsa.holtwinters")
    steps = data.columns["ahead"].shape[0]

    def fitted(window: np.ndarray) -> np.ndarray:
        model = library.ExponentialSmoothing(window, trend="add", damped_trend=True)
        found: np.ndarray = model.fit().forecast(steps)
        return found

    test, validation = (_measured(split, fitted) for split in (data.test, data.validation))
    return Predicted(test, validation, {"trend": "damped"}, (), 5)


def _measured(split: Split, fit: Callable[[np.ndarray], np.ndarray]) -> dict[str, float]:
    series, ahead = (split[name][..., 0].astype("float64") for name in ("series", "ahead"))
    found = np.repeat(series[:, -1:], ahead.shape[1], axis=1)
    for row, window in enumerate(series):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a fit that has not converged
            try:
                values = fit(window)
            except (ValueError, np.linalg.LinAlgError):
                continue
        if np.isfinite(values).all():
            found[row] = values
    return forecast.errors(ahead, found)


def _library(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "baseline: statsmodels fits it; run: pip install statsmodels"
        ) from None
