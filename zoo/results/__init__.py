"""Measured numbers, one CSV file for each stage, and the README's tables made from them.

    python -m zoo.results runs/vgg16 runs/vgg16-prune90 exported/vgg16-onnx

copies the numbers of bundles, baselines and deployables, and of what `zoo bench --json` printed
into a file, into the CSV files and writes the tables anew. A row is found by its name, that of a
compression by its command, so a second run of the same thing replaces its numbers. Weak rows stay.
`papers.csv` holds what the papers report, written by hand.
"""

from __future__ import annotations

import csv
import json
import operator
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from zoo.bundle import Record

HERE = Path(__file__).parent
README = HERE.parents[1] / "README.md"
BEGIN, END = (
    "<!-- tables: written by `python -m zoo.results`; do not edit -->",
    "<!-- end of tables -->",
)

Row = dict[str, Any]


def _percent(text: str) -> str:
    return f"{100 * float(text):.2f} %" if text else "-"


def _r2(text: str) -> str:
    return f"R² {float(text):.3f}" if text else ""


def _count(text: str) -> str:
    return f"{int(text):,}" if text else "-"


def _megabytes(text: str) -> str:
    return f"{int(text) / 1e6:.2f} MB"


def _bytes(text: str) -> str:
    return _megabytes(text) if int(text) >= 1_000_000 else f"{int(text) / 1e3:.1f} kB"


def _times(text: str) -> str:
    return f"{float(text):g} x" if text else "-"


def _code(text: str) -> str:
    return f"`{text}`"


def _plain(text: str) -> str:
    return text or "-"


# Rows of networks that were not trained: a table of their own.
KERAS, OURS = "keras.applications.", "zoo.models."
KEYS = {  # what tells rows apart
    "train": ("name",),
    "compress": ("command",),
    "export": ("name",),
    "bench": ("name", "threads"),
}

# The README's columns: heading, column of the CSV file, and how a cell is shown.
COLUMNS: dict[str, dict[str, tuple[str, Callable[[str], str]]]] = {
    "train": {
        "`zoo train`": ("name", _code),
        "data": ("data", str),
        "trained on": ("train_images", _count),
        "test images": ("test_images", _count),
        "top-1": ("score", _plain),
        "the paper's": ("paper", _plain),
        "top-5": ("top5", _percent),
        "parameters": ("parameters", _count),
        "epochs": ("epochs", _plain),
        "s per epoch": ("epoch_seconds", _plain),
        "s in all": ("seconds", str),
        "images/s": ("images_per_second", str),
        "precision": ("precision", _plain),
    },
    "compress": {
        "`zoo compress`": ("work", _code),
        "data": ("data", str),
        "seed": ("seed", str),
        "top-1": ("top1_before", _percent),
        "top-1 after": ("top1_after", _percent),
        "points lost": ("drop", str),
        "float32 weights": ("bytes_before", _bytes),
        "file after": ("bytes_after", _bytes),
        "smaller": ("ratio", _times),
        "container": ("container", str),
        "fewer products": ("macs_ratio", _times),
        "faster": ("speedup", _times),
        "s": ("seconds", str),
    },
    "export": {
        "`zoo export`": ("name", _code),
        "target": ("target", str),
        "size": ("size_bytes", _bytes),
        "gzipped": ("gzip_bytes", _bytes),
        "proof": ("proof", _plain),
        "largest difference": ("relative", _plain),
        "same top-1": ("top1_agreement", _percent),
        "examples": ("samples", _plain),
        "top-1": ("top1_model", _percent),
        "the file's": ("top1_file", _percent),
        "runtime": ("runtime", _plain),
    },
    "bench": {
        "`zoo bench`": ("name", _code),
        "size": ("size_bytes", _bytes),
        "ms, 1 thread": ("one", _plain),
        "ms, 2 threads": ("two", _plain),
        "memory": ("peak_bytes", _bytes),
        "arithmetic": ("arithmetic", _plain),
    },
}
CAPTIONS = {
    "train": "Trained on {processor}, {cores} cores, no GPU. Top-1 and top-5 are measured on the "
    "test split, by a fresh load of the saved model; where labels are numbers, R² is. The paper's "
    "top-1 is on its own data. Rows without epochs are baselines and ensembles. The machine was "
    "not always idle: seconds are upper bounds.",
    "compress": "Compressed and fine-tuned on the same machine, with recipes chosen on the "
    "validation split. The file is the smallest that loads again: `model.keras`, the same gzipped, "
    "`model.packed` or TFLite's, of a quantised model TFLite's, with its own top-1; it is compared "
    "with the weights as float32. A row starts from the network as it trained at the row's commit, "
    "which `zoo/results/compress.csv` tells. Faster is LiteRT's median time of one example on one "
    "thread, both files run in turn. `-DATA` in a name is `--data DATA`, `-seedN` is "
    "`--set seed=N`, and `28` is `--set data.size=28`, of `zoo train`.",
    "export": "Each file was run in its own runtime. The largest difference is that of any output "
    "to Keras', as a share of the largest output. Top-1 is on the first 1,000 test images.",
    "bench": "One example at a time, on {processor}, {cores} cores: the median in milliseconds, in "
    "turn with the other files of the same model; memory is the whole process. ResNet50 and "
    "MobileNetV2 are those of `keras.applications` at 224 x 224, with random weights, which take "
    "the same time: `python -m tests.exports ResNet50 --side 224 --keep DIR --targets tflite ...`, "
    "then `zoo bench DIR/ResNet50`.",
}


def read(stage: str) -> list[Row]:
    """Returns the rows of a stage, as text; none when nothing was recorded."""
    path = HERE / f"{stage}.csv"
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def record(path: Path) -> str:
    """Copies the numbers of a bundle, baseline, deployable or benchmark into its stage's file.

    Returns:
        The stage.

    Raises:
        FileNotFoundError: `path` is none of them.
    """
    if path.suffix == ".json":
        stage, rows = "bench", _timed(json.loads(path.read_text()))
    elif (path / "manifest.json").is_file():
        stage, rows = "export", [_deployable(path)]
    else:
        stage, row = _record(Record(path))
        rows = [row]
    merge(stage, rows)
    return stage


def merge(stage: str, new: Sequence[Row]) -> None:
    """Puts rows into a stage's file, in place of those with the same key."""
    key = operator.itemgetter(*KEYS[stage])
    names = {key(row) for row in new}
    rows = [old for old in read(stage) if key(old) not in names]
    with (HERE / f"{stage}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(new[0]), lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows([*rows, *new])


def deployed(name: str, manifest: Mapping[str, Any]) -> Row:
    """Returns the row of a deployable.

    Args:
        name: What tells it apart.
        manifest: Of `export`, as in `manifest.json`.
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
    """Returns the README's tables."""
    parts = []
    for stage, columns in COLUMNS.items():
        if rows := _shown(stage):
            lines = [
                tuple(columns),
                ("---",) * len(columns),
                *([show(row.get(key) or "") for key, show in columns.values()] for row in rows),
            ]
            table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
            parts.append(f"{CAPTIONS[stage].format(**rows[0])}\n\n{table}")
    return "\n\n".join([*parts, *_networks()])


def _networks() -> list[str]:
    """What became of the networks with random weights: a caption and a table, or nothing."""
    lines = []
    for prefix in (KERAS, OURS):
        rows = [row for row in read("export") if row["name"].startswith(prefix)]
        for target in dict.fromkeys(row["target"] for row in rows):
            mine = [row for row in rows if row["target"] == target]
            passed = [row for row in mine if not row["rejected"]]
            written = [row for row in mine if row["size_bytes"]]
            worst = max((float(row["relative"]) for row in passed if row["relative"]), default=0.0)
            same = [float(row["top1_agreement"]) for row in mine if row["top1_agreement"]]
            cells = (
                f"`{prefix[:-1]}`",
                f"`{target}`",
                str(len(mine)),
                str(len(written)),
                str(len(passed)),
                f"{worst:.1e}",
                f"{min(same):.0%}, {median(same):.0%}" if same else "-",
            )
            lines.append(f"| {' | '.join(cells)} |")
    if not lines:
        return []
    caption = (
        "Networks with random weights, exported by `python -m tests.exports`; those that fail, and"
        " why, are in `zoo/results/export.csv`."
    )
    head = (
        "| networks | target | number | written | pass | largest difference of those |"
        " same top-1: least, median |"
    )
    return [caption, "\n".join([head, f"|{' --- |' * 7}", *lines])]


def render(text: str) -> str:
    """Returns the README's text with its tables written anew."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{tables()}\n\n{END}{tail}"


def _shown(stage: str) -> list[Row]:
    """Returns the rows of a stage; those of a training with what the README adds."""
    rows = [row for row in read(stage) if not row.get("name", "").startswith((KERAS, OURS))]
    for row in rows if stage == "compress" else ():
        row["work"] = row["command"].removeprefix("zoo compress runs/")
    if stage == "bench":
        times = {(row["name"], row["threads"]): row["p50_ms"] for row in rows}
        rows = list({row["name"]: row for row in rows}.values())
        for row in rows:
            row |= {"one": times.get((row["name"], "1")), "two": times.get((row["name"], "2"))}
    if stage == "train":
        papers = {row["name"]: row["published"] for row in read("papers")}
        for row in rows:
            row["score"] = _percent(row["top1"]) if row["top1"] else _r2(row["r2"])
            row["paper"] = papers.get(row["model"], "")
    return rows


def _record(bundle: Record) -> tuple[str, Row]:
    report, name = bundle.report, bundle.path.resolve().name
    if report.compression:
        before, after = report.compression["before"], report.compression["after"]
        metrics = report.file["metrics"] if report.file else report.metrics
        return "compress", {
            "model": bundle.card.architecture,
            "data": bundle.card.data,
            "pipeline": report.pipeline,
            "seed": report.seed,
            **_lost(report.parent_metrics.get("top1"), metrics.get("top1")),
            **_smaller(4 * before["counts"]["parameters"], after, report.file),
            **_faster(before, after, quantised=bool(report.file)),
            "seconds": round(report.seconds["total"]),
            "hardware": f"{report.hardware['processor']}, {report.hardware['cores']} cores",
            "command": " --set ".join(
                [f"zoo compress runs/{report.parent_name} {report.pipeline}", *report.changes]
            ),
            "commit": report.commit,
        }
    return "train", {
        "name": name,
        "model": bundle.card.architecture,
        "data": bundle.card.data,
        "train_images": report.examples["train"],
        "test_images": report.examples["test"],
        **{key: _fraction(report.metrics.get(key)) for key in ("top1", "top5", "loss", "r2")},
        "epochs": report.epochs or "",
        "epoch_seconds": round(report.seconds["epoch"], 1) if report.epochs else "",
        "seconds": round(report.seconds["total"]),
        "images_per_second": round(report.images_per_second),
        "parameters": bundle.card.parameters,
        "precision": report.hardware.get("precision", ""),
        "processor": report.hardware["processor"],
        "cores": report.hardware["cores"],
        "seed": report.seed,
        "tensorflow": report.versions.get("tensorflow", ""),
        "keras": report.versions.get("keras", ""),
        "commit": report.commit,
    }


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
    return {
        "macs_ratio": round(macs, 2),
        "speedup": round(times[0] / times[1], 2) if measured else "",
    }


def _fraction(value: float | None) -> float | str:
    return "" if value is None else round(value, 4)
