"""The tables that close a compression."""

from __future__ import annotations

from compress.measure import table
from zoo.bundle import Bundle
from zoo.cli import text


def summary(bundle: Bundle) -> str:
    """Returns the tables that close a compression: each pass, each layer, before and after."""
    part = bundle.report.compress
    if part is None:
        raise ValueError(f"{bundle.path}: was not compressed.")
    report, metrics = part.passes, bundle.report.metrics
    shown = [table.of_pass(one) for one in report["passes"]]
    shown.append(table.costs(report))
    if report["search"]:
        shown.append(table.trials(report["search"]))
    tests = [(f"test {name}", value, metrics[name]) for name, value in part.parent_metrics.items()]
    shown.append(table.whole(report, title=str(bundle.path), more=tests))
    tables = [text.table(*one) for one in shown]
    if part.compared:
        from zoo.stages.compare import told

        tables.append(f"beside {part.parent_name}: {told(part.compared)}")
    return "\n\n".join([*tables, *(["\n".join(report["idle"])] if report["idle"] else [])])
