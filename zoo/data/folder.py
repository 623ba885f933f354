"""A folder of the user's own pictures: one sub-folder for each class, named after it.

Every file is either read or named in `DataSet.problems` with the reason. The split is fixed by the
sorted paths of the readable pictures: of each class, a tenth goes to validation and a tenth to
test, at least one each. The images are grey when all pictures are.
Limits: all images are held in memory; duplicates are not looked for; sub-folders of a class are not
entered; a mirrored image is not assumed to keep its class.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zoo.data import FOLDER, class_folders, folder_path
from zoo.data.dataset import DataSet, Split, stratify
from zoo.data.images import SUFFIXES, pixels, read

SIZE = 64
"""Side of the images in pixels when none is asked for."""


def load(name: str, *, size: int | None = None) -> DataSet:
    """Reads a folder of pictures.

    Args:
        name: `folder:PATH`.
        size: Side of the square images in pixels; `None` is `SIZE`.

    Returns:
        Images (size, size, 1 or 3).

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: There are fewer than two classes, or a class with fewer than three readable
            pictures.
    """
    root = folder_path(name)
    folders = class_folders(root)
    images: list[np.ndarray] = []
    labels: list[int] = []
    problems = [f"{path}: not in a class folder." for path in _outside(root, folders)]
    for label, folder in enumerate(folders):
        for path in sorted(folder.iterdir()):
            try:
                images.append(_read(path, size or SIZE))
            except (ValueError, FileNotFoundError) as error:
                problems.append(str(error))
            else:
                labels.append(label)
    everything = Split(_stack(images), np.asarray(labels, np.int32))
    _check_counts(root, folders, everything.labels, problems)

    side = f"{size or SIZE}x{size or SIZE} pixels" + ("" if size else " (the default)")
    train, validation, test = stratify(everything, _counts)
    return DataSet(
        name,
        f"{root}: {len(labels)} pictures, {len(problems)} files left out, {side}",
        tuple(folder.name for folder in folders),
        train,
        validation,
        test,
        mirror=False,
        problems=tuple(problems),
    )


def _outside(root: Path, folders: list[Path]) -> list[Path]:
    return sorted(set(root.iterdir()) - set(folders))


def _read(path: Path, size: int) -> np.ndarray:
    if path.is_dir():
        raise ValueError(f"{path}: a folder inside a class folder.")
    if path.name.startswith("."):
        raise ValueError(f"{path}: a hidden file.")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: not a picture by its name; expected {', '.join(SUFFIXES)}.")
    return pixels(read(path), size=size, channels=3)


def _stack(images: list[np.ndarray]) -> np.ndarray:
    if not images:
        return np.empty((0, 1, 1, 1), np.uint8)
    colour = np.stack(images)  # (n, size, size, 3)
    grey = colour[..., :1]
    return grey if (colour == grey).all() else colour


def _check_counts(root: Path, folders: list[Path], labels: np.ndarray, problems: list[str]) -> None:
    counts = np.bincount(labels, minlength=len(folders))
    short = [f"{f.name} ({n})" for f, n in zip(folders, counts, strict=True) if n < 3]
    if short:
        left_out = f" Left out: {len(problems)} files, first {problems[0]}" if problems else ""
        raise ValueError(
            f"{FOLDER}{root}: too few readable pictures in {', '.join(short)}; "
            f"expected at least 3 in each class.{left_out}"
        )


def _counts(num: int) -> tuple[int, int, int]:
    held = max(1, round(num / 10))
    return num - 2 * held, held, held
