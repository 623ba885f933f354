"""Makes new examples with a bundle: pictures as a grid in a PNG file, or text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from zoo.bundle import Bundle, find_bundle
from zoo.common import staging
from zoo.tasks.task import Task

if TYPE_CHECKING:
    import numpy as np

    from zoo.tasks.task import Task

COUNT = 64


def generate(
    bundle: Bundle | str | Path,
    *,
    count: int = COUNT,
    seed: int = 0,
    out: str | Path | None = None,
    force: bool = False,
    **options: Any,
) -> np.ndarray | list[str]:
    """Makes new examples; on one machine, the same seed makes the same ones.

    Args:
        bundle: Bundle of a task that makes something, or its directory.
        count: Number of examples, 1 or more.
        seed: Seed of the noise, in [0, 2**31).
        out: File to write: a PNG of a grid of pictures, or a text file with a line for each text;
            `None` writes nothing.
        force: Whether `out` may replace a file.
        **options: Options of the task.

    Returns:
        Pixels (count, height, width, channels), uint8; or `count` texts.

    Raises:
        FileExistsError: `out` exists.
        FileNotFoundError: There is no such bundle.
        ValueError: The task makes nothing, or an argument is wrong.
    """
    bundle = find_bundle(bundle)
    if count < 1 or not 0 <= seed < 2**31:
        raise ValueError(
            f"generate: got count {count} and seed {seed}; expected a count of 1 or more and a seed"
            " in [0, 2**31)."
        )
    path = None if out is None else Path(out)
    if path is not None:
        staging.check_file(path, force=force)
    from zoo.models.saved import load_networks

    made: np.ndarray | list[str] = cast("Task", bundle.recipe.task).generate(
        load_networks(bundle.path),
        columns={**bundle.card.inputs, **bundle.card.outputs},
        count=count,
        seed=seed,
        **options,
    )
    if path is not None:
        if not isinstance(made, list) and path.suffix.lower() != ".png":
            raise ValueError(f"--out: got {path}; expected a file that ends in .png, of pictures.")
        with staging.staged_file(path) as partial:
            _write(made, partial)
    return made


def _write(made: np.ndarray | list[str], path: Path) -> None:
    if isinstance(made, list):
        path.write_text("".join(f"{text}\n" for text in made), encoding="utf-8")
        return
    from zoo.tasks.made import save

    save(made, path)
