"""The architectures by name, as users of other model libraries expect to ask for them."""

from __future__ import annotations

from typing import Any

from zoo.catalog import ROWS, TASKS, find_architecture
from zoo.common.home import shipped
from zoo.common.settings import nearest
from zoo.weights import TABLE


def list_models(task: str | None = None, *, pretrained: bool = False) -> list[str]:
    """Returns the names of the architectures, in the order of the catalogue.

    Args:
        task: Kind of learning, a key of `zoo.catalog.TASKS`; `None` for all.
        pretrained: Whether to name only those with trained weights, see `zoo weights list`.

    Raises:
        ValueError: The task is unknown.
    """
    if task is not None and task not in TASKS:
        raise ValueError(f"list_models: got task {task!r}; expected a task. {nearest(task, TASKS)}")
    trained = {row.model for row in TABLE} | {path.name.partition("-")[0] for path in shipped()}
    names = [row.name for row in ROWS if task in (None, row.task)]
    return [name for name in names if name in trained or not pretrained]


def show(name: str) -> dict[str, Any]:
    """Returns the facts of an architecture by name: its row of the catalogue.

    Raises:
        ValueError: There is no such row; the line suggests one.
    """
    return find_architecture(name)._asdict()
