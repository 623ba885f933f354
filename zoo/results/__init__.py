"""Measured numbers, one CSV file for each stage, and the pages that are made from them.

    python -m zoo.results runs/vgg16 runs/vgg16-prune90 exported/vgg16-onnx

copies the numbers of bundles, baselines and deployables, of evaluations that measured a bundle
otherwise, and of what `zoo bench --json` printed into a file, into the CSV files and writes README
and docs/numbers.md anew. A row is found by its
name, that of a compression by its command, so a second run of the same thing replaces its numbers.
Weak rows stay. `papers.csv` holds what the papers report, written by hand; a row of a training
finds it by its own name, its model's, or its model's without `_small`. Maintainers use this; it is
not in the wheel.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from zoo.baselines import BASELINES
from zoo.bundle import RECIPE, Bundle, Record
from zoo.catalog import TASKS
from zoo.results import numbers
from zoo.results.numbers import KERAS, OURS, Row
from zoo.training.provenance import CHANGED

__all__ = ["HERE", "KERAS", "OURS", "deployed", "merge", "read", "record", "tables"]

HERE = Path(__file__).parent
KEYS = {  # what tells rows apart
    "train": ("name",),
    "compress": ("command",),
    "export": ("name",),
    "bench": ("name", "threads"),
    "generations": ("name",),
    "serve": ("name", "server", "api", "clients"),
    "train_speed": ("name", "processor"),
}


def read_rows(stage: str) -> list[Row]:
    """Returns the rows of a stage, as text; none when nothing was recorded."""
    path = HERE / f"{stage}.csv"
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def record(path: Path) -> str:
    """Copies the numbers of a bundle, baseline, evaluation, deployable or benchmark into a file.

    Returns:
        The stage.

    Raises:
        FileNotFoundError: `path` is none of them.
    """
    if path.suffix == ".json":
        document = json.loads(path.read_text())
        trained = "trained" in document
        stage = "train_speed" if trained else "bench"
        rows = (_trained if trained else _timed)(document)
    elif (path / "evaluation.json").is_file():
        stage, rows = "train", [_evaluation(path)]
    elif (path / "manifest.json").is_file():
        stage, rows = "export", [_deployable(path)]
    else:
        stage, row = _record(Record(path))
        rows = [row]
    merge(stage, rows)
    return stage


def merge(stage: str, new: Sequence[Row]) -> None:
    """Puts rows into a stage's file, in place of those with the same key."""

    def key(row: Row) -> tuple[str, ...]:  # as it is read again
        return tuple(str(row[name]) for name in KEYS[stage])

    names = set(map(key, new))
    rows = [old for old in read_rows(stage) if key(old) not in names]
    with (HERE / f"{stage}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(new[0]), lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows([*rows, *new])


def deployed(name: str, manifest: Mapping[str, Any]) -> Row:
    """Returns the row of a deployable.

    Args:
        name: What tells it apart.
        manifest: Manifest that `export` wrote, as in `manifest.json`.
    """
    parity, score = manifest["parity"] or {}, manifest["score"] or {}
    return {
        "name": name,
        "target": manifest["target"],
        "proof": manifest["proof"],
        "size_bytes": manifest["size_bytes"],
        "gzip_bytes": manifest["gzip_bytes"],
        "relative": f"{parity['relative']:.3g}" if parity else "",
        "cosine": f"{parity['cosine']:.7g}" if parity else "",
        "top1_agreement": _fraction(parity.get("top1_agreement")),
        "samples": parity.get("samples", ""),
        "top1_model": _fraction(score.get("model", {}).get("top1")),
        "top1_file": _fraction(score.get("file", {}).get("top1")),
        "labelled": score.get("examples", ""),
        "facts": json.dumps(manifest["facts"]) if manifest["facts"] else "",
        "runtime": parity.get("runtime", ""),
        "rejected": manifest["rejected"],
    }


def tables() -> str:
    """Returns the tables of docs/numbers.md."""
    return numbers.tables(read_rows)


def _figure(bundle: Record, metrics: Mapping[str, float]) -> str:
    """The headline of a bundle's task, in words."""
    found = _headline(bundle, metrics)
    return f"{found['metric']} {found['value']}"


ACCURACY = ("top1", "top5")


def _headline(bundle: Record, metrics: Mapping[str, float]) -> Row:
    """What a bundle is judged by, as its recipe says, and its value; a baseline has no recipe."""
    metric, _ = _judged(bundle, metrics)
    return {"metric": metric, "value": _fraction(metrics.get(metric))}


def _also(metrics: Mapping[str, float], headline: str) -> dict[str, float]:
    """What else was measured, e.g. the masks of a network that is judged by its boxes."""
    own = {headline, "loss", "r2", *ACCURACY}
    return {name: round(value, 4) for name, value in metrics.items() if name not in own}


def _judged(bundle: Record, metrics: Mapping[str, float]) -> tuple[str, int | None]:
    """The name of what a bundle is judged by, and of how many test examples it is."""
    if (bundle.path / RECIPE).is_file():
        task: Any = Bundle(bundle.path).recipe.task
    else:
        module, name = TASKS[bundle.card.task].split(":")
        task = getattr(import_module(module), name)()
    name, count = task.figure(metrics, bundle.report.tables)
    return name, count


def _record(bundle: Record) -> tuple[str, Row]:
    report, name = bundle.report, bundle.path.resolve().name
    if report.commit.endswith(CHANGED):
        raise ValueError(
            f"{bundle.path}: was made by a source tree with changes, which no commit can make "
            "again; commit them, and make it anew."
        )
    if part := report.compress:
        before, after = part.passes["before"], part.passes["after"]
        metrics = (part.file or {}).get("metrics", report.metrics)
        return "compress", {
            "model": bundle.card.architecture,
            "data": bundle.card.data,
            "pipeline": part.recipe,
            "seed": report.seed,
            **_lost(part.parent_metrics.get("top1"), metrics.get("top1")),
            "figure_before": _figure(bundle, part.parent_metrics),
            "figure_after": _figure(bundle, metrics),
            **_smaller(4 * before["counts"]["parameters"], after, part.file),
            **_faster(before, after, quantised=bool(part.file)),
            "seconds": round(report.seconds["total"]),
            "hardware": f"{report.hardware['processor']}, {report.hardware['cores']} cores",
            "command": " --set ".join(
                [f"zoo compress runs/{part.parent_name} {part.recipe}", *part.changes]
            ),
            "commit": report.commit,
        }
    headline = _headline(bundle, report.metrics)
    # Of another kind of learning, top-1 is not what it is judged by.
    shown = ACCURACY if headline["metric"] == "top1" else ()
    return "train", {
        "name": name,
        "model": bundle.card.architecture,
        "data": bundle.card.data,
        "train_images": report.examples["train"],
        "test_images": _judged(bundle, report.metrics)[1] or report.examples["test"],
        **{key: _fraction(report.metrics.get(key)) if key in shown else "" for key in ACCURACY},
        **{key: _fraction(report.metrics.get(key)) for key in ("loss", "r2")},
        "epochs": report.epochs or "",
        "epoch_seconds": round(report.seconds["epoch"], 1) if report.epochs else "",
        "seconds": round(report.seconds["total"]),
        "images_per_second": round(report.examples_per_second),
        "parameters": bundle.card.parameters,
        "precision": report.hardware.get("precision", ""),
        "processor": report.hardware["processor"],
        "cores": report.hardware["cores"],
        "seed": report.seed,
        "tensorflow": report.versions.get("tensorflow", ""),
        "keras": report.versions.get("keras", ""),
        "commit": report.commit,
        "task": _learnt_by(bundle),
        **headline,
        "also": json.dumps(_also(report.metrics, headline["metric"])),
    }


def _learnt_by(bundle: Record) -> str:
    """The kind of learning; a table of an agent is none of the networks' kinds."""
    row = BASELINES.get(bundle.card.architecture)
    tabular = getattr(row, "method", "").startswith("zoo.baselines.tabular:")
    return "tabular" if tabular else bundle.card.task


def _evaluation(path: Path) -> Row:
    """The row of the bundle that was measured, with what its report lacks as the figure."""
    found = json.loads((path / "evaluation.json").read_text())
    bundle = Record(Path(found["bundle"]))
    _, row = _record(bundle)
    new = [name for name in found["metrics"] if name not in bundle.report.metrics]
    if not new:
        raise ValueError(f"{path}: got no measure that {bundle.path} lacks; expected one.")
    value = _fraction(found["metrics"][new[0]])
    return {**row, "name": path.resolve().name, "metric": new[0], "value": value}


def _deployable(path: Path) -> Row:
    manifest = json.loads((path / "manifest.json").read_text())
    return deployed(path.resolve().name, manifest)


def _timed(document: Mapping[str, Any]) -> list[Row]:
    """The rows of what `zoo bench --json` prints, by the names of file and folder."""
    times = ("p50", "p95", "least")
    return [
        {
            "name": "/".join(Path(row["path"]).parts[-2:]),
            "target": row["target"],
            "threads": str(row["threads"]),
            **{f"{time}_ms": f"{1e3 * row[f'{time}_seconds']:.3g}" for time in times},
            "calls": row["calls"],
            "size_bytes": row["size_bytes"],
            "peak_bytes": row["peak_bytes"],
            "arithmetic": row["arithmetic"],
            **document["machine"],
        }
        for row in document["files"]
        if row["calls"]
    ]


def _trained(document: Mapping[str, Any]) -> list[Row]:
    """The rows of what `zoo bench train --json` prints."""
    if document["commit"].endswith(CHANGED):
        raise ValueError(f"commit: got {document['commit']}; commit the changes, measure anew.")
    return [
        {
            **{k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in row.items()},
            **document["machine"],
            **{name: document["versions"][name] for name in ("tensorflow", "keras")},
            "commit": document["commit"],
        }
        for row in document["trained"]
    ]


def _lost(before: float | None, after: float | None) -> Row:
    """Top-1 before and after, and the percentage points between them."""
    drop = "" if before is None or after is None else round(100 * (before - after), 2)
    return {"top1_before": _fraction(before), "top1_after": _fraction(after), "drop": drop}


def _smaller(before: int, after: Row, file: Mapping[str, Any]) -> Row:
    """The integer file, or the smallest of those that were weighed, and how it compares."""
    size = after["size"]
    names = {"raw_bytes": "keras", "gzip_bytes": "gzip", "packed_bytes": "packed"}
    weighed = {names[key]: size[key] for key in names if size[key] is not None}
    weighed |= {name: one["size_bytes"] for name, one in after["runtimes"].items()}
    weighed = {"tflite": file["bytes"]} if file else weighed
    container = min(weighed, key=lambda name: weighed[name])
    return {
        "bytes_before": before,
        "bytes_after": weighed[container],
        "ratio": round(before / weighed[container], 1),
        "container": container,
    }


def _faster(before: Row, after: Row, *, quantised: bool) -> Row:
    """Fewer or smaller products, and what that is worth; without, times differ by chance."""
    macs = before["counts"]["macs"] / after["counts"]["macs"]
    times = [row["latency_seconds"] for row in (before, after)]
    measured = (macs > 1 or quantised) and None not in times
    told = ["" if time is None else f"{1e3 * time:.3g}" for time in times]
    return {
        "macs_ratio": round(macs, 2),
        "speedup": round(times[0] / times[1], 2) if measured else "",
        "ms_before": told[0],
        "ms_after": told[1],
    }


def _fraction(value: float | None) -> float | str:
    return "" if value is None else round(value, 4)
