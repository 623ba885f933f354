"""The tables that close a compression."""

from __future__ import annotations

from typing import Any

from zoo.bundle import PACKED, Bundle, Compression
from zoo.cli import text


def summary(bundle: Bundle) -> str:
    """Returns the tables that close a compression: each pass, each layer, before and after."""
    report = _part(bundle).passes
    tables = [_pass(one) for one in report["passes"]]
    tables.append(_layers(report["after"]["layers"]))
    if report["search"]:
        tables.append(_trials(report["search"]))
    tables.append(_total(bundle))
    if report["idle"]:
        tables.append("\n".join(report["idle"]))
    return "\n\n".join(tables)


def _part(bundle: Bundle) -> Compression:
    """What the report says of the compression."""
    part = bundle.report.compress
    if part is None:
        raise ValueError(f"{bundle.path}: was not compressed.")
    return part


def _pass(one: dict[str, Any]) -> str:
    """What a pass did to each layer, or why nothing."""
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
    header = ("layer", "kind", "parameters", "non-zero after", one["settings"]["kind"])
    return text.table(header, rows)


def _layers(costs: list[dict[str, Any]]) -> str:
    """What the layers of the result take."""
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
        for row in costs
        if row["parameters"]
    ]
    return text.table(header, rows)


def _trials(search: dict[str, Any]) -> str:
    """The trials of a search; a star at the one that was kept."""
    trials = search["trials"]
    names = list(trials[0]["strengths"])
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
        for number, trial in enumerate(trials, start=1)
    ]
    settings = [name.partition(".")[2] for name in names]
    return text.table(("trial", *settings, "spared", "bytes", "metric", "time", "kept"), rows)


def _total(bundle: Bundle) -> str:
    """The whole model before and after."""
    report = _part(bundle).passes
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
        rows.append((name, *(text.size(side["size"][key]) for side in (before, after))))
    if packed := after["size"]["packed_bytes"]:
        rows.append((PACKED, "-", text.size(packed)))
    for name in before["runtimes"]:
        files = [side["runtimes"].get(name) for side in (before, after)]
        for label, key in ((name, "size_bytes"), (f"{name}, gzipped", "gzip_bytes")):
            rows.append((label, *(file and text.size(file[key]) for file in files)))
        rows.append((f"{name}, time", *(file and _milliseconds(file["seconds"]) for file in files)))
    rows.append(("energy, estimated", *(_energy(cost["joules"]) for cost in both)))
    rows.append(("  if zeros are skipped", *(_energy(cost["sparse_joules"]) for cost in both)))
    rows += [
        (f"test {name}", value, bundle.report.metrics[name])
        for name, value in _part(bundle).parent_metrics.items()
    ]
    return text.table((str(bundle.path), "before", "after"), rows)


def _milliseconds(seconds: float | None) -> str | None:
    return None if seconds is None else f"{1000 * seconds:.3g} ms"


def _energy(joules: float) -> str:
    return f"{1e6 * joules:.3g} uJ"
