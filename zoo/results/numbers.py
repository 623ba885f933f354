"""The long tables of docs/numbers.md: a caption and a table for each stage."""

from __future__ import annotations

import json
from collections.abc import Callable
from statistics import median
from typing import Any

Row = dict[str, Any]
Read = Callable[[str], list[Row]]  # the rows of a stage

SHOWN_TOO = ("mask_map",)  # beside the figure that a row is judged by

# Rows of networks that were not trained: a table of their own.
KERAS, OURS = "keras.applications.", "zoo.models."


def percent(text: str) -> str:
    """Returns a fraction in hundredths."""
    return f"{100 * float(text):.2f} %" if text else "-"


def score(row: Row) -> str:
    """Returns the figure of a training: top-1, R², or what its task is judged by."""
    if row["top1"]:
        return percent(row["top1"])
    if row["r2"]:
        return f"R² {float(row['r2']):.3f}"
    if not row.get("value"):
        return ""
    shown = {row["metric"]: row["value"]}
    also = json.loads(row.get("also") or "{}")
    shown |= {name: also[name] for name in SHOWN_TOO if name in also}
    return ", ".join(f"{name} {float(value):.4g}" for name, value in shown.items())


def _count(text: str) -> str:
    return f"{int(text):,}" if text else "-"


def _megabytes(text: str) -> str:
    return f"{int(text) / 1e6:.2f} MB"


def size(text: str) -> str:
    """Returns bytes in the unit that suits them; 1 MB is 10**6 bytes."""
    return _megabytes(text) if int(text) >= 1_000_000 else f"{int(text) / 1e3:.1f} kB"


def times(text: str) -> str:
    """Returns a ratio."""
    return f"{float(text):g} x" if text else "-"


def _twice(text: str) -> str:
    """A ratio with two digits behind the point."""
    return f"{float(text):.2f} x"


def _code(text: str) -> str:
    return f"`{text}`"


def _plain(text: str) -> str:
    return text or "-"


# Columns of the tables: heading, column of the CSV file, and how a cell is shown.
COLUMNS: dict[str, dict[str, tuple[str, Callable[[str], str]]]] = {
    "train": {
        "`zoo train`": ("name", _code),
        "data": ("data", str),
        "trained on": ("train_images", _count),
        "test images": ("test_images", _count),
        "top-1": ("score", _plain),
        "the paper's": ("paper", _plain),
        "top-5": ("top5", percent),
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
        "top-1": ("before", _plain),
        "top-1 after": ("after", _plain),
        "points lost": ("drop", str),
        "float32 weights": ("bytes_before", size),
        "file after": ("bytes_after", size),
        "smaller": ("ratio", times),
        "container": ("container", str),
        "fewer products": ("macs_ratio", times),
        "faster": ("speedup", times),
        "s": ("seconds", str),
    },
    "export": {
        "`zoo export`": ("name", _code),
        "target": ("target", str),
        "size": ("size_bytes", size),
        "gzipped": ("gzip_bytes", size),
        "proof": ("proof", _plain),
        "largest difference": ("relative", _plain),
        "same top-1": ("top1_agreement", percent),
        "examples": ("samples", _plain),
        "top-1": ("top1_model", percent),
        "the file's": ("top1_file", percent),
        "runtime": ("runtime", _plain),
    },
    "bench": {
        "`zoo bench`": ("name", _code),
        "size": ("size_bytes", size),
        "ms, 1 thread": ("one", _plain),
        "ms, 2 threads": ("two", _plain),
        "memory": ("peak_bytes", size),
        "arithmetic": ("arithmetic", _plain),
    },
    "generations": {
        "detector": ("name", _code),
        "mAP": ("map", _plain),
        "AP50": ("ap50", _plain),
        "AP75": ("ap75", _plain),
        "s per picture": ("seconds", _plain),
        "of it regions": ("regions_seconds", _plain),
        "the paper's mAP": ("paper_map", _plain),
        "the paper's s": ("paper_seconds", _plain),
    },
    "serve": {
        "file": ("name", _code),
        "server": ("server", _plain),
        "interface": ("api", _plain),
        "clients": ("clients", _plain),
        "requests/s": ("per_second", _plain),
        "p50 ms": ("p50_ms", _plain),
        "p99 ms": ("p99_ms", _plain),
        "the file alone, ms": ("file_ms", _plain),
        "refused": ("refused", _plain),
        "wrong": ("wrong", _plain),
    },
    "train_speed": {
        "`zoo train`": ("name", _code),
        "batch": ("batch_size", str),
        "precision": ("precision", str),
        "ms a step": ("ms", str),
        "Keras, ms": ("keras_ms", str),
        "faster": ("faster", _twice),
        "by cores": ("cpu_faster", _twice),
        "Keras in float32, ms": ("float32_ms", str),
        "faster than that": ("float32_faster", _twice),
        "examples/s": ("per_second", str),
        "memory": ("memory_bytes", size),
        "of Keras'": ("memory_ratio", _twice),
        "of a product's rate": ("utilisation", percent),
        "waiting": ("waiting", percent),
        "steps a call": ("steps_per_call", str),
    },
}
CAPTIONS = {
    "train": "Trained on {processor}, {cores} cores, no GPU. Top-1 and top-5 are measured on the "
    "test split, by a fresh load of the saved model; where labels are numbers, R² is, and of other "
    "kinds of learning what their task is judged by. What the paper reports is on its own data, "
    "and top-1 unless it says otherwise. Rows without epochs are baselines and ensembles. A name "
    "ends in what was changed: `-DATA` is `--data DATA`, `-float32` is "
    "`--set hardware.precision=float32`, `-pool` is `--set settings.reader=pool`, `-blur` is "
    "`--set task.degradation=blur`; what else was changed of `unet_small` is in "
    "`zoo/recipes/unet.yaml`. `xz`, `bz2`, `zlib` and `ppmd` learn from the test text while they "
    "read it, and so does a row that ends in `-dynamic`, `zoo evaluate NAME --set "
    "task.dynamic=0.2`; networks and `ngram` do not. The machine was not always idle: seconds are "
    "upper bounds.",
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
    "generations": "Four generations of detectors on {pictures} scenes of 64 x 64 pixels that no "
    "training has seen, `python -m zoo.results.generations`, on {processor}, {cores} cores: each "
    "picture goes to all four in turn, from pixels to boxes, and the median counts. COCO's mAP is "
    "the mean over overlaps of .50 to .95; the papers' is at .50, on their own data and GPU. The "
    "networks of the last two are as small as the scenes, and learn for 60 epochs, the first two's "
    "classifiers of crops for 4. The machine was not idle: seconds compare rows, they are no speed "
    "to expect.",
    "serve": "The same TFLite file behind four servers, on {processor}, {cores} cores that the "
    "clients share: `python tests/oracles/serve_time.py NAME --record`, the median of {rounds} "
    "rounds in turn. `rest` and `grpc` are TensorFlow Serving's, `open` is Open Inference's REST. "
    "Clients ask again when they are answered, and compare each answer with the file's.",
    "train_speed": "Training beside plain Keras, `zoo bench train`, on {processor}, {cores} "
    "cores: the zoo's loop and `keras.Model.fit`, or a `train_step` by hand where `compile` has no "
    "word for what is learnt (the agent: a loop by hand), of the same layers, examples, "
    "batches, optimizer and precision, without augmentation, each in a process of its "
    "own, in turns. Ratios are medians over {turns} pairs of turns, by the wall and by "
    "the time of all cores. Keras computes in float32 where it is not told otherwise: "
    "hence the second ratio. The operations of a model are a share of what a product of "
    "large matrices reaches here in the same precision; waiting is the share of the time "
    "in which a step waits for its batch. The machine was not idle.",
}


def tables(read: Read) -> str:
    """Returns the tables.

    Args:
        read: Returns the rows of a stage.
    """
    parts = []
    for stage, columns in COLUMNS.items():
        if rows := shown(read, stage):
            lines = [
                tuple(columns),
                ("---",) * len(columns),
                *([show(row.get(key) or "") for key, show in columns.values()] for row in rows),
            ]
            table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
            parts.append(f"{CAPTIONS[stage].format(**rows[0])}\n\n{table}")
    return "\n\n".join([*parts, *_networks(read)])


def _networks(read: Read) -> list[str]:
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


def shown(read: Read, stage: str) -> list[Row]:
    """Returns the rows of a stage with what the tables add to them."""
    rows = [row for row in read(stage) if not row.get("name", "").startswith((KERAS, OURS))]
    for row in rows if stage == "compress" else ():
        row["work"] = row["command"].removeprefix("zoo compress runs/")
        for side in ("before", "after"):
            top1 = row[f"top1_{side}"]
            row[side] = percent(top1) if top1 else row.get(f"figure_{side}", "")
    if stage == "bench":
        found = {(row["name"], row["threads"]): row["p50_ms"] for row in rows}
        rows = list({row["name"]: row for row in rows}.values())
        for row in rows:
            row |= {"one": found.get((row["name"], "1")), "two": found.get((row["name"], "2"))}
    if stage == "train":
        papers = {row["name"]: row["published"] for row in read("papers")}
        for row in rows:
            row["score"] = score(row)
            names = row["name"], row["model"], row["model"].removesuffix("_small")
            row["paper"] = next((papers[name] for name in names if name in papers), "")
    return rows
