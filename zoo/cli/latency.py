"""How long a model takes where it will run: LiteRT on this machine, one example, one thread."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

RUNS, WARM = 30, 5


def seconds(model: Any) -> float:
    """Returns the median time of one example.

    Args:
        model: Functional or Sequential; is converted to a TFLite file.
    """
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    import export

    with tempfile.TemporaryDirectory() as scratch:
        made = export.export(model, "tflite", Path(scratch, "model"))
        runner = Interpreter(str(made.path / "model.tflite"), num_threads=1)
        runner.allocate_tensors()
        for detail in runner.get_input_details():
            runner.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
        times = []
        for _ in range(WARM + RUNS):
            start = time.perf_counter()
            runner.invoke()
            times.append(time.perf_counter() - start)
        return statistics.median(times[WARM:])
