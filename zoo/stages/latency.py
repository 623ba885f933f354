"""What a model's file takes where it will run: LiteRT on this machine, one example, one thread."""

from __future__ import annotations

import logging
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from compress import Runtime, has_ranges
from export.target import About, Labelled
from zoo.common.reading import one_line

RUNTIME = "tflite"
ROUNDS, RUNS = 8, 5
LOG = logging.getLogger("zoo")


def time_models(
    *models: Any,
    samples: Any = None,
    labelled: Labelled | None = None,
    about: About | None = None,
) -> list[dict[str, Runtime]]:
    """Returns for each model its file's bytes and the median time of one example.

    The models take turns of a few runs, so that a busy machine is the same for all; the first run
    of a turn, which finds the cache full of another model, does not count.

    Args:
        *models: Functional or Sequential; each is converted to a TFLite file. A model that cannot
            be converted gets nothing, and a line is logged.
        samples: Examples that the files are checked with; `None` draws some.
        labelled: What files are judged by besides.
        about: What is known of the models.
    """
    from ai_edge_litert.interpreter import Interpreter

    import export

    files, runners = {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        for index, model in enumerate(models):
            try:
                target = f"{RUNTIME}-int8" if has_ranges(model) else RUNTIME
                place = Path(scratch, str(index))
                made = export.export(
                    model, target, place, samples=samples, labelled=labelled, about=about
                )
            except RuntimeError as error:
                gone = f" File kept in {place}.rejected."  # with the scratch
                LOG.warning("%s: not measured: %s", RUNTIME, one_line(error).replace(gone, ""))
                continue
            files[index] = made.manifest
            runners[index] = Interpreter(str(made.path / made.manifest.file), num_threads=1)
            _feed(runners[index])
        times: dict[int, list[float]] = {index: [] for index in runners}
        for _ in range(ROUNDS):
            for index, runner in runners.items():
                runner.invoke()
                for _ in range(RUNS):
                    start = time.perf_counter()
                    runner.invoke()
                    times[index].append(time.perf_counter() - start)
    found: list[dict[str, Runtime]] = [{} for _ in models]
    for index, manifest in files.items():
        seconds = statistics.median(times[index])
        found[index] = {RUNTIME: Runtime(manifest.size_bytes, manifest.gzip_bytes, seconds)}
    return found


def _feed(runner: Any) -> None:
    """Gives the inputs zeros."""
    import numpy as np

    runner.allocate_tensors()
    for detail in runner.get_input_details():
        runner.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
