"""The networks of `keras.applications` and ours to the targets: which pass, how close they are.

    python -m tests.exports --record             all of them, into `zoo/results/export.csv`
    python -m tests.exports ResNet50 --rows FILE some; FILE keeps rows between runs
    python -m tests.exports --targets onnx       to some targets
    python -m tests.exports ResNet50 --side 224 --keep DIR
                                                 files for `zoo bench DIR/ResNet50`

Weights are random and inputs the smallest that a network allows, as in `tests.applications`; ours
see 32 x 32 pixels, or as many as they need.
"""

import argparse
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

import export
from export.target import INT8, Tolerance
from export.targets import find_target
from tests.applications import NETWORKS, fill, images, network
from tests.golden.vector import CLASSIFIERS, small
from zoo import results
from zoo.catalog import CATALOG
from zoo.models import create
from zoo.results import KERAS, OURS, deployed, pages

TARGETS = ("saved_model", "tflite", "onnx", "tflite-int8")
ANY = Tolerance(max_relative=None, min_top1_agreement=0, tie=INT8.tie)
COUNT = 64  # pictures; an integer file is calibrated on one half


def rows(
    name: str,
    targets: tuple[str, ...] = TARGETS,
    *,
    side: int | None = None,
    keep: Path | None = None,
) -> list[dict]:
    """Exports a network, and returns a row for each target: what was measured, or the error.

    Args:
        name: One of `NETWORKS`, or a row of our catalogue.
        targets: Names of targets.
        side: Of the pictures, in pixels; the smallest that the network allows if `None`.
        keep: Where the files stay, to be timed; those of integers whatever their answers, for the
            limits are not for random weights.
    """
    model = ours(name, side) if name in CATALOG else network(name, side)
    if len(model.input_shape) == 4:
        inputs = images(model, COUNT)
    else:
        inputs = np.random.default_rng(1).uniform(0, 1, (COUNT, *model.input_shape[1:]))
    found = []
    for target in targets:
        start = time.perf_counter()
        row = {"network": name, "target": target, "manifest": None, "error": ""}
        with contextlib.ExitStack() as stack:
            folder = keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            out, order = folder / name / target, find_target(target)
            if keep and order.tolerance == INT8:
                order = order.model_copy(update={"tolerance": ANY})
            try:
                done = export.export(model, order, out, samples=inputs, force=True)
                row["manifest"] = done.manifest.model_dump(mode="json")
            except Exception as error:  # the table tells it
                row["error"] = " ".join(str(error).split())
                kept = out.with_name(f"{target}.rejected")
                if kept.exists():
                    row["manifest"] = export.Manifest.read(kept).model_dump(mode="json")
        row["seconds"] = round(time.perf_counter() - start, 1)
        found.append(row)
    return found


def ours(name: str, side: int | None = None) -> keras.Model:
    """Returns a network of our catalogue with random weights."""
    shape = small(CATALOG[name])
    if side and len(shape) == 3:
        shape = (side, side, shape[2])
    keras.utils.set_random_seed(0)
    model = create(name, input_shape=shape)
    fill(model)
    return model


def recorded(row: dict) -> dict:
    """A row of `zoo/results/export.csv`."""
    prefix = OURS if row["network"] in CATALOG else KERAS
    nothing = {"parity": None, "score": None, "facts": {}, "size_bytes": "", "gzip_bytes": ""}
    manifest = row["manifest"] or {**nothing, "target": row["target"], "proof": ""}
    manifest = {**manifest, "rejected": row["error"].split(" File kept in ")[0]}
    return deployed(f"{prefix}{row['network']}-{row['target']}", manifest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=[*NETWORKS, *CLASSIFIERS], metavar="NETWORK")
    parser.add_argument("--targets", nargs="+", default=TARGETS)
    parser.add_argument("--rows", type=Path, help="keeps rows, one a line; they are not done again")
    parser.add_argument("--side", type=int, help="of the pictures, in pixels")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keeps the files")
    parser.add_argument("--record", action="store_true", help="write zoo/results/export.csv")
    options = parser.parse_args()
    kept = options.rows.read_text().splitlines() if options.rows and options.rows.exists() else []
    found = [json.loads(line) for line in kept]
    done = {(row["network"], row["target"]) for row in found}
    for name in options.networks:
        wanted = tuple(target for target in options.targets if (name, target) not in done)
        if not wanted:
            continue
        for row in rows(name, wanted, side=options.side, keep=options.keep):
            found.append(row)
            line = json.dumps(row)
            parity = (row["manifest"] or {}).get("parity") or {}
            closeness = parity.get("relative"), parity.get("top1_agreement")
            told = (name, row["target"], *closeness, row["seconds"], row["error"])
            sys.stdout.write(" ".join(map(str, told)) + "\n")
            sys.stdout.flush()
            if options.rows:
                with options.rows.open("a") as file:
                    file.write(line + "\n")
    if options.record:
        results.merge("export", [recorded(row) for row in found])
        pages.write_pages()


if __name__ == "__main__":
    main()
