"""What README and docs/tasks.md show of the catalogues: counts, kinds of learning, a digest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from importlib import import_module

from compress import pass_names, recipe_names
from export import target_names
from zoo.catalog import CATALOG, TASKS
from zoo.common.home import shipped
from zoo.datasets import DATASETS
from zoo.layers import __all__ as layers
from zoo.losses import LOSSES
from zoo.recipe import RECIPES
from zoo.results.numbers import Read, Row, score, shown, size, times

FLOAT32 = 4  # bytes of a number

# The rows of the digest: a stage, and the key of a row in its CSV file.
CHOSEN = (
    ("train", "lenet5"),
    ("train", "vgg16"),
    ("train", "resnet20"),
    ("train", "mobilenet_v2"),
    ("compress", "zoo compress runs/lenet300-mnist5k-seed1 deep-compression"),
    ("compress", "zoo compress runs/vgg16 deep-compression-short"),
    ("compress", "zoo compress runs/vgg16 prune90"),
    ("export", "vgg16-prune90-tflite-int8"),
    ("compress", "zoo compress runs/vgg16 low-rank-vgg"),
    ("compress", "zoo compress runs/resnet20 slim"),
    ("compress", "zoo compress runs/resnet20 qat-int8"),
    ("compress", "zoo compress runs/mobilenet_v2 qat-int8"),
)


def counts(read: Read) -> str:
    """Returns a sentence: how many there are of everything that has a catalogue."""
    found = [
        (len(CATALOG), "architectures"),
        (len(TASKS), "kinds of learning"),
        (len(DATASETS), "data sets"),
        (len(LOSSES), "losses"),
        (len(layers) - 1, "layers that Keras lacks"),  # one name registers them
        (len(pass_names()), "compression passes"),
        (len(recipe_names()), "compression recipes"),
        (len(target_names()), "export targets"),
        (len(shipped()), "trained models in the package"),
    ]
    parts = [f"{count} {what}" for count, what in found if count]
    return f"It is young: {', '.join(parts[:-1])} and {parts[-1]}."


def kinds(read: Read) -> str:
    """Returns a table of the kinds of learning, each with the best that was measured here.

    Compared are those on one data set, that of most rows of the kind.
    """
    lines = ["| `task.kind` | what is learnt | architectures | the best here | figure |"]
    lines.append("| --- | --- | --- | --- | --- |")
    trained = {row["name"]: row for row in shown(read, "train")}
    for kind, place in TASKS.items():
        module = import_module(place.partition(":")[0])
        told = (module.__doc__ or "").strip().partition("\n")[0].rstrip(".")
        names = [row.name for row in CATALOG.values() if row.task == kind]
        rows = [trained[name] for name in names if name in trained]
        usual, _ = Counter(row["data"] for row in rows).most_common(1)[0] if rows else ("", 0)
        rows = [row for row in rows if row["data"] == usual]
        best = max(rows, key=_goodness(place), default=None)
        cells = [f"`{_command(names[0])}`", "-"] if names else ["-", "-"]
        if best:
            figure = f"{score(best)} top-1" if best["top1"] else score(best)
            cells = [f"`zoo train {best['name']}` on {best['data']}", figure]
        lines.append(f"| `{kind}` | {told} | {len(names)} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def datasets(read: Read) -> str:
    """Returns a table of the data sets that have a name."""
    lines = ["| `--data` | an example | classes | source |", "| --- | --- | --- | --- |"]
    for row in DATASETS.values():
        shape = " x ".join(map(str, row.shape))
        classes = str(row.num_classes) if "class" in row.kinds else "-"
        columns = ", ".join([f"{row.kinds[0]} {shape}", *row.kinds[1:]])
        lines.append(f"| `{row.name}` | {columns} | {classes} | {row.source} |")
    return "\n".join(lines)


def digest(read: Read) -> str:
    """Returns the table of a dozen rows that a newcomer wants.

    Raises:
        KeyError: A row is no longer in its CSV file.
    """
    head = ("command", "data", "top-1", "points lost", "file", "smaller", "faster", "seconds")
    keys = {"train": "name", "compress": "command", "export": "name"}
    rows = {(stage, row[key]): row for stage, key in keys.items() for row in shown(read, stage)}
    tell = {
        "train": _trained,
        "compress": _compressed,
        "export": lambda row: _exported(row, read),
    }
    cells = [tell[stage](rows[stage, key]) for stage, key in CHOSEN]
    lines = [head, ("---",) * len(head), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _goodness(place: str) -> Callable[[Row], float]:
    """Returns what gives the headline of a row as a number of which more is better."""
    module, name = place.split(":")
    metric = getattr(import_module(module), name)().headline

    def goodness(row: Row) -> float:
        if row["top1"] or row["r2"]:
            return float(row["top1"] or row["r2"])
        return (1 if metric.higher else -1) * float(row["value"] or 0)

    return goodness


def _command(name: str) -> str:
    """The command that the header of an architecture's recipe gives."""
    recipe = RECIPES / f"{CATALOG[name].recipe}.yaml"
    lines = [line.partition(": ") for line in recipe.read_text().splitlines()]
    return next(rest for key, _, rest in lines if key == "# Command")


def _trained(row: Row) -> tuple[str, ...]:
    weights = size(str(FLOAT32 * int(row["parameters"])))
    command = f"`zoo train {row['name']}`"
    return command, row["data"], score(row), "", weights, "", "", row["seconds"]


def _compressed(row: Row) -> tuple[str, ...]:
    file = f"{size(row['bytes_after'])}, {row['container']}"
    faster = times(row["speedup"]) if row["speedup"] else ""
    lost = f"{float(row['drop']):.2f}" if row["drop"] else ""
    command, gains = f"`{row['command']}`", (times(row["ratio"]), faster)
    return command, row["data"], row["after"], lost, file, *gains, row["seconds"]


def _exported(row: Row, read: Read) -> tuple[str, ...]:
    """An exported file beside the one in float32 of the same model."""
    name = row["name"].removesuffix(f"-{row['target']}")
    files = {one["name"]: one for one in shown(read, "export")}
    timed = {one["name"]: one["one"] for one in shown(read, "bench")}
    plain, own = f"{name}-tflite", row["name"]
    before, after = (float(timed[f"exported/{one}"]) for one in (plain, own))
    smaller = int(files[plain]["size_bytes"]) / int(row["size_bytes"])
    lost = 100 * (float(row["top1_model"]) - float(row["top1_file"]))
    return (
        f"`zoo export runs/{name} {row['target']}`",
        next(one["data"] for one in read("compress") if _makes(one, name)),
        f"{100 * float(row['top1_file']):.2f} %",
        f"{lost:.2f}",
        size(row["size_bytes"]),
        f"{smaller:.1f} x",
        f"{before / after:.1f} x: {before:g} to {after:g} ms",
        "",
    )


def _makes(row: Row, name: str) -> bool:
    """Whether a compression writes the bundle of that name."""
    _, _, parent, recipe = row["command"].split()[:4]
    return f"{parent.removeprefix('runs/')}-{recipe}" == name
