"""The forty networks of `keras.applications` to the targets: which files pass, how close they are.

    python -m tests.exports                      all of them: rows of `zoo/results/export.csv`
    python -m tests.exports ResNet50 --rows FILE some; FILE keeps rows between runs
    python -m tests.exports --targets onnx       to some targets

Weights are random and inputs the smallest that a network allows, as in `tests.applications`.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import export
from tests.applications import NETWORKS, images, network

TARGETS = ("saved_model", "tflite", "onnx", "tflite-int8")
COUNT = 64  # pictures; an integer file is calibrated on one half


def rows(name: str, targets: tuple[str, ...] = TARGETS) -> list[dict]:
    """Exports a network, and returns a row for each target: what was measured, or the error."""
    model = network(name)
    inputs = images(model, COUNT)
    found = []
    for target in targets:
        start = time.perf_counter()
        row = {"name": name, "target": target}
        with tempfile.TemporaryDirectory() as folder:
            try:
                done = export.export(model, target, Path(folder, "out"), samples=inputs)
                row |= told(done.manifest)
            except Exception as error:  # the table tells it
                row["error"] = " ".join(str(error).split())
                kept = Path(folder, "out.rejected")
                if kept.exists():
                    row |= told(export.Manifest.read(kept))
        row["seconds"] = round(time.perf_counter() - start, 1)
        found.append(row)
    return found


def told(manifest: export.Manifest) -> dict:
    """What a row has of a manifest."""
    parity = manifest.parity
    return {
        "size_bytes": manifest.size_bytes,
        "gzip_bytes": manifest.gzip_bytes,
        "relative": parity and parity.relative,
        "cosine": parity and parity.cosine,
        "top1_agreement": parity and parity.top1_agreement,
        "samples": parity and parity.samples,
        "runtime": parity and parity.runtime,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--targets", nargs="+", default=TARGETS)
    parser.add_argument("--rows", type=Path, help="keeps rows, one a line; they are not done again")
    options = parser.parse_args()
    kept = options.rows.read_text().splitlines() if options.rows and options.rows.exists() else []
    done = {(row["name"], row["target"]) for row in map(json.loads, kept)}
    for name in options.networks:
        wanted = tuple(target for target in options.targets if (name, target) not in done)
        for row in rows(name, wanted) if wanted else ():
            line = json.dumps(row)
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
            if options.rows:
                with options.rows.open("a") as file:
                    file.write(line + "\n")


if __name__ == "__main__":
    main()
