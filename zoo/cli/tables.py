"""The tables that close a compression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from compress.measure import table
from zoo.bundle import Bundle
from zoo.cli import text

CLASSES = 5  # rows of classes


def paid(facts: Mapping[str, Any], names: Sequence[str]) -> str:
    """Returns which classes paid for what sets the second of two nets apart.

    Args:
        facts: `hurt`, `mended` and `classes`, as `zoo.stages.understand.compare` tells them.
        names: Of both.
    """
    told = f"hurt {facts['hurt']}, which the first alone names right; mended {facts['mended']}"
    changed = [row for row in facts["classes"] if row["hurt"] or row["mended"]]
    if not changed:
        return f"{told}\n\nno class changed"
    rows = [
        (row["class"], row["pictures"], f"{row['first']:.1%}", f"{row['second']:.1%}",
         row["hurt"], row["mended"])
        for row in changed[:CLASSES]
    ]  # fmt: skip
    told += f"\n\n{text.table(('class', 'pictures', *names, 'hurt', 'mended'), rows)}"
    more = len(changed) - CLASSES
    return f"{told}\nand {more} more classes" if more > 0 else told


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
        from zoo.stages.understand.compare import told

        tables.append(f"beside {part.parent_name}: {told(part.compared)}")
        if "classes" in part.compared:
            tables.append(paid(part.compared, ("before", "after")))
    return "\n\n".join([*tables, *(["\n".join(report["idle"])] if report["idle"] else [])])
