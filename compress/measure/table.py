"""A compression's report as tables: for a terminal, a page of Markdown, and a notebook.

They are made of the report as plain data (`Report.to_dict`), so that one which was read from a file
is shown alike.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zoo.common import tables
from zoo.common.tables import Table, size

Values = Mapping[str, Any]


def plain(report: Values) -> str:
    """Returns the whole, the passes and the trials as aligned text, and what else is told."""
    shown = [tables.aligned(*table) for table in _first(report)]
    return "\n\n".join([*shown, *(["\n".join(lines)] if (lines := told(report)) else [])])


def markdown(report: Values) -> str:
    """Returns everything as Markdown, what each pass did to each layer at the end."""
    lines = "\n".join(f"- {line}" for line in told(report))
    first = [tables.markdown(*table) for table in _first(report)]
    parts = [*first, *([lines] if lines else [])]
    for title, table in _layers(report):
        parts += [f"## {title}", tables.markdown(*table)]
    return "\n\n".join(parts) + "\n"


def html(report: Values) -> str:
    """Returns everything as HTML; what each pass did to each layer is folded."""
    first = "".join(tables.html(*table) for table in _first(report))
    lines = "".join(f"<p>{tables.escape(line)}</p>" for line in told(report))
    folded = "".join(
        f"<details><summary>{tables.escape(title)}</summary>{tables.html(*table)}</details>"
        for title, table in _layers(report)
    )
    return f"<div>{first}{lines}{folded}</div>"


def told(report: Values) -> list[str]:
    """Returns the lines that stand below the tables."""
    budget = report["budget"]
    lines = []
    if budget:
        kept = "kept" if budget["kept"] else "not kept"
        lines = [f"budget {kept}: {'; '.join((*budget['lines'], *budget['over']))}"]
    return [*lines, *report["idle"], *report.get("notes", ())]


def whole(report: Values, *, title: str = "", more: Sequence[Sequence[Any]] = ()) -> Table:
    """Returns the table of the model before and after.

    Args:
        report: The report.
        title: What stands above the names of the rows.
        more: Rows of the caller's, at the end.
    """
    before, after = report["before"], report["after"]
    both = before["total"], after["total"]
    rows: list[tuple[Any, ...]] = [
        (name, *(side["counts"][key] for side in (before, after)))
        for name, key in (
            ("parameters", "parameters"),
            ("non-zero", "nonzero"),
            ("multiply-accumulates", "macs"),
        )
    ]
    rows.append(("distinct values of kernels", *(cost["distinct"] for cost in both)))
    rows.append(("bits each, with a code book", *(f"{cost['book_bits']:.2f}" for cost in both)))
    if after["total"]["packed_bits"] is not None:
        rows.append(("bits each, coded", "-", f"{after['total']['packed_bits']:.2f}"))
    for name, key in (("model.keras", "raw_bytes"), ("gzipped", "gzip_bytes")):
        rows.append((name, *(size(side["size"][key]) for side in (before, after))))
    if packed := after["size"]["packed_bytes"]:
        rows.append(("model.packed", "-", size(packed)))
    for name in before["runtimes"]:
        files = [side["runtimes"].get(name) for side in (before, after)]
        for label, key in ((name, "size_bytes"), (f"{name}, gzipped", "gzip_bytes")):
            rows.append((label, *(file and size(file[key]) for file in files)))
        rows.append((f"{name}, time", *(file and _milliseconds(file["seconds"]) for file in files)))
    rows.append(("energy, estimated", *(_energy(cost["joules"]) for cost in both)))
    rows.append(("  if zeros are skipped", *(_energy(cost["sparse_joules"]) for cost in both)))
    return Table((title, "before", "after"), [*rows, *more])


def passes(report: Values) -> Table:
    """Returns the table of the passes: a row for each."""
    names = list(report["passes"][0]["metrics"])
    rows = [
        (
            one["settings"]["kind"],
            sum(row["changed"] for row in one["layers"]),
            len(one["layers"]),
            one["after"]["nonzero"],
            *(one["metrics"].get(name) for name in names),
            f"{one['seconds']:.1f}",
            one["note"],
        )
        for one in report["passes"]
    ]
    header = ("pass", "changed", "of layers", "non-zero after", *names, "seconds", "what it did")
    return Table(header, rows)


def of_pass(one: Values) -> Table:
    """Returns what a pass did to each layer with weights, or why nothing."""
    rows = [
        (
            row["path"],
            row["kind"],
            row["before"]["parameters"],
            row["after"]["nonzero"],
            row["note"],
        )
        for row in one["layers"]
        if row["before"]["parameters"]
    ]
    return Table(("layer", "kind", "parameters", "non-zero after", one["settings"]["kind"]), rows)


def costs(report: Values) -> Table:
    """Returns what the layers of the result take."""
    header = ("layer", "zeros", "values", "bits", "coded bits", "packed bytes", "MACs", "energy")
    rows = [
        (
            row["path"],
            f"{row['sparsity']:.1%}",
            row["distinct"],
            f"{row['book_bits']:.2f}",
            None if row["packed_bits"] is None else f"{row['packed_bits']:.2f}",
            row["packed_bytes"],
            row["macs"],
            _energy(row["joules"]),
        )
        for row in report["after"]["layers"]
        if row["parameters"]
    ]
    return Table(header, rows)


def trials(search: Values) -> Table:
    """Returns the trials of a search; a star at the one that was kept."""
    found = search["trials"]
    names = list(found[0]["strengths"])
    rows = [
        (
            f"{number}{'*' if number - 1 == search['best'] else ''}",
            *(f"{trial['strengths'][name]:g}" for name in names),
            " ".join(trial["spared"]) or None,
            trial["least_bytes"],
            trial["metric"],
            _milliseconds(trial["latency_seconds"]),
            trial["error"] or trial["kept"],
        )
        for number, trial in enumerate(found, start=1)
    ]
    settings = [name.partition(".")[2] for name in names]
    return Table(("trial", *settings, "spared", "bytes", "metric", "time", "kept"), rows)


def line(one: Values) -> str:
    """Returns what a pass came to, in a line."""
    metrics = "".join(f", {name} {value:.4f}" for name, value in one["metrics"].items())
    before, after = one["before"]["nonzero"], one["after"]["nonzero"]
    counts = f"{before:,} -> {after:,} non-zero weights"
    return f"{one['settings']['kind']}: {counts}{metrics}, {one['seconds']:.1f} s; {one['note']}"


def in_notebook() -> Callable[[str], None] | None:
    """Returns `print` where a notebook runs the code, which shows what is printed; else None."""
    shell = getattr(builtins, "get_ipython", None)  # IPython puts it there
    return print if shell and type(shell()).__name__ == "ZMQInteractiveShell" else None


def _first(report: Values) -> list[Table]:
    metrics = report["before"]["metrics"].items()
    after = report["after"]["metrics"]
    found = [whole(report, more=[(name, value, after.get(name)) for name, value in metrics])]
    found.append(passes(report))
    return [*found, *([trials(report["search"])] if report["search"] else [])]


def _layers(report: Values) -> list[tuple[str, Table]]:
    each = [(f"{one['settings']['kind']}: each layer", of_pass(one)) for one in report["passes"]]
    return [*each, ("what the layers take now", costs(report))]


def _milliseconds(seconds: float | None) -> str | None:
    return None if seconds is None else f"{1000 * seconds:.3g} ms"


def _energy(joules: float) -> str:
    return f"{1e6 * joules:.3g} uJ"
