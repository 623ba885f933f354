"""The forty networks of `keras.applications` to the targets: which files pass, how close they are.

    python -m tests.exports --record             all of them, into `zoo/results/export.csv`
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
        row = {"network": name, "target": target, "manifest": None, "error": ""}
        with tempfile.TemporaryDirectory() as folder:
            try:
                done = export.export(model, target, Path(folder, "out"), samples=inputs)
                row["manifest"] = done.manifest.model_dump(mode="json")
            except Exception as error:  # the table tells it
                row["error"] = " ".join(str(error).split())
                kept = Path(folder, "out.rejected")
                if kept.exists():
                    row["manifest"] = export.Manifest.read(kept).model_dump(mode="json")
        row["seconds"] = round(time.perf_counter() - start, 1)
        found.append(row)
    return found


def recorded(row: dict) -> dict:
    """A row of `zoo/results/export.csv`."""
    from zoo.results import NETWORKS as PREFIX
    from zoo.results import deployed

    nothing = {"parity": None, "score": None, "facts": {}, "size_bytes": "", "gzip_bytes": ""}
    manifest = row["manifest"] or {**nothing, "target": row["target"], "proof": ""}
    manifest = {**manifest, "rejected": row["error"].split(" File kept in ")[0]}
    return deployed(f"{PREFIX}{row['network']}-{row['target']}", manifest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--targets", nargs="+", default=TARGETS)
    parser.add_argument("--rows", type=Path, help="keeps rows, one a line; they are not done again")
    parser.add_argument("--record", action="store_true", help="write zoo/results/export.csv")
    options = parser.parse_args()
    kept = options.rows.read_text().splitlines() if options.rows and options.rows.exists() else []
    found = [json.loads(line) for line in kept]
    done = {(row["network"], row["target"]) for row in found}
    for name in options.networks:
        wanted = tuple(target for target in options.targets if (name, target) not in done)
        for row in rows(name, wanted) if wanted else ():
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
        from zoo import results

        results.merge("export", [recorded(row) for row in found])
        results.README.write_text(results.render(results.README.read_text()))


if __name__ == "__main__":
    main()
