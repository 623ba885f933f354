"""What integers cost a model of words, and how fast its files go on: figures, not tests.

    python tests/oracles/integers_of_words.py runs/char_lstm --speed
    python tests/oracles/integers_of_words.py runs/rnnsearch_small --examples 500

The bundle is of a language model, or of a translator, e.g. from letters to phones. Its step is
exported to each target of `--targets`, and by `--recipe`, as `zoo compress` does; each file is run
along the test split, one token at a time, and what the task is judged by is printed beside that of
the floats. `--speed` prints the tokens a second that a file of floats draws, and those of a loop of
Keras' `predict`, on one thread.
"""

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

import compress
import serving
import zoo
from zoo.bundle import find_bundle
from zoo.stages.files import evaluate_file, integers
from zoo.stages.opening import reopen

SHOWN = ("bits_per_character", "label_error", "exact_match")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("--targets", nargs="+", default=["tflite-int8", "tflite-dynamic"])
    parser.add_argument("--recipe", default="int8", help="of `zoo compress`; none to leave it out")
    parser.add_argument("--examples", type=int, help="of the test split; all without it")
    parser.add_argument("--speed", action="store_true", help="of a language model")
    chosen = parser.parse_args()
    opened = reopen(find_bundle(chosen.bundle))
    data = dataclasses.replace(opened.run.data, test=opened.run.data.test[: chosen.examples])
    opened = opened._replace(run=opened.run.on(data))
    floats = opened.run.evaluate(opened.model, "test").metrics
    said(f"{len(data.test)} examples, float32", floats)
    with tempfile.TemporaryDirectory() as folder:
        for target in chosen.targets:
            try:
                (made,) = zoo.export(chosen.bundle, target, out=Path(folder) / target)
            except RuntimeError as error:
                sys.stdout.write(f"{target}: {error}\n")
                continue
            found, _ = evaluate_file(made.path, opened, "test")
            said(f"{target}, {made.manifest.size_bytes:,} bytes", found.metrics, floats)
        if chosen.recipe != "none":
            samples = opened.run.samples(512)
            small = compress.apply(chosen.recipe, opened.model, samples=samples).model
            facts = integers(opened, small, Path(folder) / "compressed")
            said(f"{chosen.recipe}, {facts['bytes']:,} bytes", facts["metrics"], floats)
        if chosen.speed:
            (made,) = zoo.export(chosen.bundle, "tflite", out=Path(folder) / "tflite")
            file, keras = _by_file(made.path), _by_predict(opened.model)
            told = f"tokens a second: {file:,.0f} by the file, {keras:,.0f} by Keras' predict"
            sys.stdout.write(f"{told}, {file / keras:.0f} times as many\n")


def said(what: str, metrics: dict[str, float], floats: dict[str, float] | None = None) -> None:
    """Prints what a model, or a file, is judged by."""
    parts = [
        f"{name} {metrics[name]:.4f}"
        + (f" ({metrics[name] - floats[name]:+.4f})" if floats is not None else "")
        for name in SHOWN
        if name in metrics
    ]
    sys.stdout.write(f"{what}: {', '.join(parts)}\n")
    sys.stdout.flush()


def _by_file(path: Path, count: int = 2000) -> float:
    serving.write(path, tokens=10)
    began = time.perf_counter()
    serving.write(path, tokens=count)
    return count / (time.perf_counter() - began)


def _by_predict(step, count: int = 50) -> float:
    given = {t.name: np.zeros((1, *t.shape[1:]), t.dtype) for t in step.inputs}
    step.predict(given, verbose=0)  # the graph is traced
    began = time.perf_counter()
    for _ in range(count):
        found = step.predict(given, verbose=0)
        given |= {name: found[f"next_{name}"] for name in given if name != "tokens"}
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
