"""A folder of the user's own pictures: one sub-folder for each class, named after it.

A folder with boxes, outlines or masks (`zoo.common.layouts`) is read by `zoo.data.annotated`; what
follows is of class folders.

Every file is either read or named in `DataSet.problems` with the reason. The split is fixed by the
sorted paths of the readable pictures: of each class, a tenth goes to validation and a tenth to
test, at least one each. The images are grey when all pictures are.
Many pictures stay on the disk and are read again for every batch, to the same pixels; loading them
still looks at each file once, so that a broken one is named before a training begins.
A picture that stands in two splits is told of (`zoo.data.twins`), and kept.
Limits: sub-folders of a class are not entered; a mirrored image is not assumed to keep its class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from zoo.common.columns import Column
from zoo.common.images import pixels
from zoo.common.layouts import annotated, is_picture
from zoo.common.picture_files import SUFFIXES, read_image
from zoo.data.annotated import load as load_annotated
from zoo.data.dataset import DataSet, stratify
from zoo.data.feeds.pictures import Pictures, each
from zoo.data.twins import fingerprint, marked, taken
from zoo.datasets import FOLDER, class_folders, folder_path

SIZE = 64
"""Side of the images in pixels when none is asked for."""
IN_MEMORY = 2**30  # bytes of pixels up to which `auto` holds a folder in memory


class _Seen(NamedTuple):
    """What was found in a file: its pixels in colour, where they are kept, or what is wrong."""

    path: Path
    label: int
    image: np.ndarray | None = None
    twin: bytes = b""
    grey: bool = True
    problem: str = ""


def load(name: str, *, size: int | None = None, stream: bool | Literal["auto"] = "auto") -> DataSet:
    """Reads a folder of pictures.

    Args:
        name: `folder:PATH`.
        size: Side of the square images in pixels; `None` is `SIZE`.
        stream: Whether the pictures stay on the disk; `auto` does so from `IN_MEMORY` bytes of
            pixels on.

    Returns:
        Images (size, size, 1 or 3) with their class; or see `zoo.data.annotated.load`.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: There are fewer than two classes, or a class with fewer than three readable
            pictures; or see `zoo.data.annotated.load`.
    """
    root = folder_path(name)
    side = size or SIZE
    told = f"{side}x{side} pixels" + ("" if size else " (the default)")
    if layout := annotated(root):
        num = sum(map(is_picture, root.rglob("*"))) if stream == "auto" else 0
        streams = 3 * side**2 * num > IN_MEMORY if stream == "auto" else bool(stream)
        told += ", read from the disk" if streams else ""
        return load_annotated(name, root, layout, size=side, told=told, keep=not streams)
    folders = class_folders(root)
    problems = [f"{path}: not in a class folder." for path in _outside(root, folders)]
    files = [(path, label) for label, f in enumerate(folders) for path in sorted(f.iterdir())]
    streams = 3 * side**2 * len(files) > IN_MEMORY if stream == "auto" else stream
    found = []
    for seen in each(files, lambda file: _look(file[0], file[1], side, keep=not streams)):
        if seen.problem:
            problems.append(seen.problem)
        else:
            found.append(seen)
    labels = np.asarray([seen.label for seen in found], np.int32)
    _check_counts(root, folders, labels, problems)
    channels = 1 if all(seen.grey for seen in found) else 3
    images: np.ndarray | Pictures
    paths = [seen.path for seen in found]
    if streams:
        images = Pictures(paths, size=side, channels=channels)
    else:
        images = np.stack([np.asarray(seen.image) for seen in found])[..., :channels]
    everything = marked({"image": images, "label": labels}, paths, [seen.twin for seen in found])
    told += ", read from the disk" if streams else ""
    (train, validation, test), twins = taken(stratify(everything, _counts, by="label"))
    columns = {
        "image": Column("image", images.shape[1:]),
        "label": Column("class", (), tuple(folder.name for folder in folders)),
    }
    return DataSet(
        name,
        f"{root}: {len(labels)} pictures, {len(problems)} files left out, {told}",
        columns,
        train,
        validation,
        test,
        mirror=False,
        problems=(*problems, *twins),
        digest=_digest(root, paths),
    )


def _digest(root: Path, files: Sequence[Path]) -> str:
    """Of the names and sizes of the pictures, which say how they are split."""
    lines = [f"{path.relative_to(root)} {path.stat().st_size}\n" for path in files]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _outside(root: Path, folders: list[Path]) -> list[Path]:
    return sorted(set(root.iterdir()) - set(folders))


def _look(path: Path, label: int, size: int, *, keep: bool) -> _Seen:
    """Reads a file once."""
    try:
        image = _read(path, size)
    except (ValueError, FileNotFoundError) as error:
        return _Seen(path, label, problem=str(error))
    grey = bool((image == image[..., :1]).all())
    return _Seen(path, label, image if keep else None, fingerprint(image), grey)


def _read(path: Path, size: int) -> np.ndarray:
    if path.is_dir():
        raise ValueError(f"{path}: a folder inside a class folder.")
    if path.name.startswith("."):
        raise ValueError(f"{path}: a hidden file.")
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: not a picture by its name; expected {', '.join(SUFFIXES)}.")
    return pixels(read_image(path), size=size, channels=3)


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
