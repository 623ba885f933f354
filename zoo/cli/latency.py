"""How long a model takes where it will run: LiteRT on this machine, one example, one thread."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RUNS, WARM = 100, 5


def seconds(model: Any) -> float:
    """Returns the median time of one example.

    Args:
        model: Functional or Sequential; is converted to a TFLite file.
    """
    return _medians([model])[0]


def compare(before: Any, after: Any) -> dict[str, float]:
    """Returns the median times of two models, run in turn: what slows one down slows both.

    Args:
        before: As in `seconds`.
        after: As in `seconds`.

    Returns:
        `before` and `after`, in seconds.
    """
    return dict(zip(("before", "after"), _medians([before, after]), strict=True))


def _medians(models: Sequence[Any]) -> list[float]:
    with tempfile.TemporaryDirectory() as scratch:
        runners = [_runner(model, Path(scratch, str(i))) for i, model in enumerate(models)]
        times: list[list[float]] = [[] for _ in runners]
        for _ in range(WARM + RUNS):
            for runner, taken in zip(runners, times, strict=True):
                start = time.perf_counter()
                runner.invoke()
                taken.append(time.perf_counter() - start)
        return [statistics.median(taken[WARM:]) for taken in times]


def _runner(model: Any, path: Path) -> Any:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    import export

    made = export.export(model, "tflite", path)
    runner = Interpreter(str(made.path / "model.tflite"), num_threads=1)
    runner.allocate_tensors()
    for detail in runner.get_input_details():
        runner.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
    return runner
