"""Forecasting: the next values of a signal, from a window of those before.

Measured in the signal's own unit, beside what needs no network: the last value, the value a period
before, and the linear prediction of least squares, which is solved on the training windows. The
report also says how far the forecast gets on its own: from the first window of a split on it reads
what it said itself, to the end of the split.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from zoo.tasks.supervised import Supervised
from zoo.tasks.task import Evaluation, Mean, Metric

if TYPE_CHECKING:
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.tasks.task import Batch, Networks

LAST, PERIOD, LINEAR = "last value", "a period before", "linear prediction"
RIDGE = 1e-8  # of the linear prediction's squares: windows of a sine are of rank 2


class Forecast(Supervised):
    """The task of a model that says how a signal goes on.

    Attributes:
        period: Places after which the signal repeats itself, for the baseline that says so; at most
            those of a window.
    """

    headline: ClassVar[Metric] = Metric("mae", higher=False)
    targets: ClassVar[Mapping[str, str]] = {"ahead": "series"}
    measured_by: ClassVar[tuple[str, ...]] = ("period",)

    kind: Literal["forecast"] = "forecast"
    period: Annotated[int, Field(ge=1)] = 40

    def check(self, data: DataSet) -> None:
        """See `Task.check`: windows of one signal, no shorter than a period."""
        super().check(data)
        shape = data.columns[data.input].shape
        if len(shape) != 2 or (shape[0] or 0) < self.period:
            raise ValueError(
                f"task.period: got {self.period} for {data.name}, whose windows are {shape}; "
                "expected at most their length. Write task.period, or a larger data.size."
            )

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`: an output for each value ahead."""
        return super().sizes(data) | {"num_classes": data.columns["ahead"].shape[0]}

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`."""
        return {"ahead": data.columns["ahead"]}

    def loss_of(self, batch: Batch, outputs: Any) -> Mean:
        """See `Supervised.loss_of`: the squared error of each value, (b, ahead, 1)."""
        from keras import ops

        return Mean(ops.square(batch["ahead"] - ops.cast(outputs, "float32")))

    def measures(self, batch: Batch, outputs: Any) -> dict[str, Mean]:
        """Returns the magnitude of the error of each value."""
        from keras import ops

        return {"mae": Mean(ops.abs(batch["ahead"] - ops.cast(outputs, "float32")))}

    def meter_with(self, data: DataSet, networks: Networks) -> Forecasts:
        """See `Task.meter_with`: baselines read the training split, the network goes on alone."""
        return Forecasts(data, networks.get("net"), self.period)

    def meter(self, columns: Mapping[str, Column]) -> Any:
        """See `Task.meter`."""
        return Forecasts(None, None, self.period)


class Forecasts:
    """A meter that compares with baselines.

    Args:
        data: Its training split is what the linear prediction is solved on; `None` for none.
        net: Goes on alone; `None` for none.
        period: See `Forecast`.
    """

    def __init__(self, data: DataSet | None, net: Any, period: int):
        self._data, self._net, self._period = data, net, period
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`."""
        self._parts.append((batch["series"], batch["ahead"], outputs))

    def result(self) -> Evaluation:
        """Returns `loss`, `mae`, `rmse`, and `alone` and `alone_mae`, the errors of going on alone.

        `alone` is the largest, of all signals; the picture shows the first. The table `forecasts`
        has each baseline.
        """
        import numpy as np

        series, ahead, found = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        series, ahead, found = (x[..., 0].astype("float64") for x in (series, ahead, found))
        steps = ahead.shape[1]
        beside = guesses(series, steps, period=self._period, data=self._data)
        rows = [
            {"forecast": name, **errors(ahead, one)}
            for name, one in {"network": found, **beside}.items()
        ]
        metrics = {"loss": float(np.mean((ahead - found) ** 2)), **errors(ahead, found)}
        pictures = {}
        # Windows that follow one another: what comes behind them is a signal itself.
        shared = min(steps, series.shape[1])
        follows = (series[1:, -shared:] == ahead[:-1, -shared:]).all(axis=1)
        begins = np.flatnonzero(~np.concatenate([[False], follows]))
        parts = [part for part in np.split(np.arange(len(series)), begins[1:]) if len(part) > 1]
        if self._net is not None and parts:
            truths = [ahead[part].reshape(-1) for part in parts]
            alone = [
                goes_on(self._net, series[part[0]], len(truth))
                for part, truth in zip(parts, truths, strict=True)
            ]
            error = np.abs(np.concatenate(alone) - np.concatenate(truths))
            metrics["alone"], metrics["alone_mae"] = float(error.max()), float(error.mean())
            pictures["forecast"] = partial(_draw, truths[0], alone[0])
        return Evaluation(metrics, {"forecasts": rows}, pictures)


def goes_on(net: Any, window: np.ndarray, count: int) -> np.ndarray:
    """Returns what a network says comes behind a window, reading what it said itself.

    Args:
        net: `series` (1, time, 1) to (1, ahead, 1).
        window: (time,).
        count: Values to say.

    Returns:
        (count,).
    """
    import numpy as np

    known, size = window.astype("float32"), len(window)
    while len(known) < size + count:
        found = net(known[None, -size:, None], training=False)
        known = np.concatenate([known, np.asarray(found)[0, :, 0].astype("float32")])
    return known[size : size + count].astype("float64")


def guesses(
    series: np.ndarray, steps: int, *, period: int, data: DataSet | None
) -> dict[str, np.ndarray]:
    """Returns what needs no network, by name, each (n, steps).

    Args:
        series: Windows (n, time), float64.
        steps: Values to say.
        period: See `Forecast`.
        data: Its training split is what the linear prediction is solved on; `None` leaves it out.
    """
    import numpy as np

    found = {
        LAST: np.repeat(series[:, -1:], steps, axis=1),
        PERIOD: series[:, -period + np.arange(steps) % period],
    }
    return found | ({} if data is None else {LINEAR: _linear(data, series)})


def errors(truth: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """Returns `mae` and `rmse`, in the unit of the signal."""
    import numpy as np

    error = truth - found
    return {"mae": float(np.abs(error).mean()), "rmse": float(np.sqrt((error**2).mean()))}


def _linear(data: DataSet, series: np.ndarray) -> np.ndarray:
    """The linear prediction (n, ahead) of windows (n, time), by least squares on training windows.

    Of windows without their last value, which is added again, as the network sees them.
    """
    import numpy as np

    x = data.train["series"][..., 0].astype("float64")
    y = data.train["ahead"][..., 0] - x[:, -1:]
    x = x - x[:, -1:]
    squares = x.T @ x
    squares += RIDGE * np.trace(squares) * np.eye(len(squares))
    weights = np.linalg.lstsq(squares, x.T @ y, rcond=None)[0]  # zeros of signals that stand still
    return np.asarray((series - series[:, -1:]) @ weights + series[:, -1:])


def _draw(truth: np.ndarray, alone: np.ndarray, path: Any) -> None:
    """Draws a signal and what was said of it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot(truth, label="signal", linewidth=1)
    axes.plot(alone, label="forecast, alone", linewidth=1)
    axes.set_xlabel("places ahead")
    axes.legend(loc="upper right")
    figure.savefig(path, dpi=100)
