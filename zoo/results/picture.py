"""The picture of README: size against accuracy against time, rays for each model.

    python -m zoo.results --picture

Rays go from the float32 weights to what compression made of them; where several seeds were
measured, a point is their mean. All figures are those of the CSV files.
"""

from __future__ import annotations

import io
from itertools import groupby
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from PIL import Image

from zoo.results.numbers import Read, Row, shown

PANELS = {"mnist5k": "5,000 digits of MNIST", "fashion_mnist": "Fashion-MNIST"}
SKIPPED = ("deep-compression-short",)  # where the longer recipe was measured too
INK, PALE, GRID = "#22303c", "#9aa5b1", "#e6e9ed"
MODELS = {  # a colour for each line, and its name
    "vgg16": ("#3b6fb6", "VGG-16"),
    "caffe_lenet": ("#2f9e77", "LeNet"),
    "lenet300": ("#8a63b8", "LeNet-300-100"),
    "resnet20": ("#c9503f", "ResNet-20"),
    "mobilenet_v2": ("#b8860b", "MobileNetV2"),
}
SPEED = LinearSegmentedColormap.from_list("speed", ["#ffffff", "#ffd27f", "#f07d1a", "#a11414"])
FASTEST = 10.0  # end of the scale
COLOURS = 256  # of the file
SIDES = {  # of a point, where its label stands; south is usual
    ("vgg16", "low-rank-vgg"): "n",
    ("vgg16", "int8"): "s",
    ("vgg16", "prune90"): "n",
    ("vgg16", "deep-compression-short"): "s",
    ("vgg16", ""): "e",
    ("caffe_lenet", "deep-compression"): "n",
    ("caffe_lenet", "entropy"): "s",
    ("caffe_lenet", "ternary"): "e",
    ("caffe_lenet", "binary"): "w",
    ("lenet300", "deep-compression"): "n",
    ("lenet300", "entropy"): "s",
    ("resnet20", "slim"): "n",
    ("resnet20", "qat-int8"): "s",
    ("resnet20", ""): "e",
    ("mobilenet_v2", "qat-int8"): "n",
    ("mobilenet_v2", ""): "e",
    ("caffe_lenet", ""): "e",
    ("lenet300", ""): "s",
}


class Point(NamedTuple):
    """A form of a model.

    Attributes:
        form: What made it; empty for the float32 weights.
        size_bytes: Size of the file.
        top1: On the test split, a fraction.
        faster: How many times as fast as in float32, one example on one thread of LiteRT.
    """

    form: str
    size_bytes: float
    top1: float
    faster: float


def lines(read: Read) -> dict[tuple[str, str], list[Point]]:
    """Returns the points of each data set and model, the largest file first.

    Args:
        read: Returns the rows of a stage.
    """
    rows = sorted(shown(read, "compress"), key=lambda row: (row["data"], row["model"]))
    found = {}
    for (data, model), group in groupby(rows, key=lambda row: (row["data"], row["model"])):
        mine = [row for row in group if row["top1_after"]]
        if data not in PANELS or model not in MODELS:
            continue
        forms: dict[str, list[Row]] = {}
        for row in mine:
            forms.setdefault(row["pipeline"], []).append(row)
        if "deep-compression" in forms:
            forms = {name: rows for name, rows in forms.items() if name not in SKIPPED}
        points = [_point(name, rows) for name, rows in forms.items()]
        points += [point for row in mine if (point := _integers(row, read))]
        start = Point("", _mean(mine, "bytes_before"), _mean(mine, "top1_before"), 1.0)
        found[data, model] = [start, *sorted(points, key=lambda point: -point.size_bytes)]
    return found


def draw(read: Read, path: Path) -> None:
    """Draws the picture.

    Args:
        read: Returns the rows of a stage.
        path: The PNG to write.
    """
    everything = lines(read)
    figure = Figure(figsize=(11, 4.8), layout="constrained", facecolor="white")
    parts = figure.subplots(1, len(PANELS), sharex=True)
    scale = LogNorm(1, FASTEST)
    for axes, (data, title) in zip(parts, PANELS.items(), strict=True):
        _frame(axes, title)
        for (where, model), points in everything.items():
            if where == data:
                _rays(axes, model, points, scale)
        low, high = axes.get_ylim()
        axes.set_ylim(low - 0.12 * (high - low), high + 0.1 * (high - low))
    parts[0].set_ylabel("top-1 on the test split, %", color=INK)
    colours = figure.colorbar(
        ScalarMappable(scale, SPEED), ax=list(parts), aspect=32, pad=0.012, ticks=[1, 2, 3, 5, 10]
    )
    colours.ax.set_yticklabels(["1 x", "2 x", "3 x", "5 x", "10 x"], color=INK)
    colours.ax.minorticks_off()
    colours.ax.tick_params(length=0)
    colours.outline.set_edgecolor(PALE)
    colours.set_label("speed, float32 = 1", color=INK)
    with io.BytesIO() as raw:
        figure.savefig(raw, dpi=130)
        image = Image.open(raw).convert("RGB")
        image.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def _frame(axes: Any, title: str) -> None:
    axes.set_title(title, loc="left", color=INK, fontsize=12, fontweight="bold")
    axes.set_xscale("log")
    axes.set_xlim(2e3, 1.5e9)
    axes.set_xticks([1e4, 1e5, 1e6, 1e7, 1e8], ["10 kB", "100 kB", "1 MB", "10 MB", "100 MB"])
    axes.minorticks_off()
    axes.tick_params(length=0, colors=INK)
    axes.grid(color=GRID)
    axes.set_axisbelow(True)
    axes.set_xlabel("size of the file", color=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _rays(axes: Any, model: str, points: list[Point], scale: LogNorm) -> None:
    """Draws a model: a ray from its float32 weights to each form."""
    colour, title = MODELS[model]
    places = [(point.size_bytes, 100 * point.top1) for point in points]
    start = places[0]
    for end in places[1:]:
        axes.plot(*zip(start, end, strict=True), color=colour, linewidth=1.4, alpha=0.45, zorder=2)
    fill = [SPEED(scale(max(1.0, min(point.faster, FASTEST)))) for point in points]
    axes.scatter(*zip(*places, strict=True), s=80, c=fill, edgecolors=colour, linewidths=1.7,
                 zorder=3)  # fmt: skip
    _label(axes, start, title, SIDES.get((model, ""), "n"), color=colour, big=True)
    for point, place in zip(points[1:], places[1:], strict=True):
        told = f"{point.form}\n{start[0] / point.size_bytes:.2g} x smaller"
        told += f", {point.faster:.2g} x faster" if point.faster > 1 else ""
        _label(axes, place, told, SIDES.get((model, point.form), "s"))


def _label(
    axes: Any,
    place: tuple[float, float],
    told: str,
    side: str,
    *,
    color: str = INK,
    big: bool = False,
) -> None:
    right, up, across, along = _SIDES[side]
    axes.annotate(
        told, place, (9 * right, 9 * up), textcoords="offset points", ha=across, va=along,
        color=color, fontsize=10 if big else 7.5, fontweight="bold" if big else "normal",
        linespacing=1.2, zorder=4, path_effects=[withStroke(linewidth=2.5, foreground="white")],
    )  # fmt: skip


_SIDES = {
    "n": (0, 1, "center", "bottom"),
    "s": (0, -1, "center", "top"),
    "e": (1, 0, "left", "center"),
    "w": (-1, 0, "right", "center"),
}


def _point(form: str, rows: list[Row]) -> Point:
    """The mean of a form over its seeds; without a measured speed-up the products are the same."""
    faster = [float(row["speedup"] or 1) for row in rows]
    return Point(form, _mean(rows, "bytes_after"), _mean(rows, "top1_after"), mean(faster))


def _integers(row: Row, read: Read) -> Point | None:
    """The integer TFLite file that was exported of a compressed bundle; `None` without one."""
    name = f"{row['model']}-{row['pipeline']}"
    files = {one["name"]: one for one in shown(read, "export")}
    times = {one["name"]: one["one"] for one in shown(read, "bench")}
    own, plain = f"{name}-tflite-int8", f"{name}-tflite"
    if own not in files or not {f"exported/{own}", f"exported/{plain}"} <= set(times):
        return None
    faster = float(times[f"exported/{plain}"]) / float(times[f"exported/{own}"])
    file = files[own]
    return Point("int8", float(file["size_bytes"]), float(file["top1_file"]), faster)


def _mean(rows: list[Row], key: str) -> float:
    return mean(float(row[key]) for row in rows)
