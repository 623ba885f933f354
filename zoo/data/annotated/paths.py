"""Finds the pictures that an annotation names, within the folder and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from zoo.common.layouts import PICTURES, SUFFIXES, is_picture
from zoo.common.settings import shown
from zoo.data.annotated.things import AnnotationError


def find_picture(
    root: Path, name: Any, near: Path, *, stem: str = "", parts: Sequence[Path] = ()
) -> Path:
    """Returns the picture that an annotation names.

    It is looked for beside the annotation, in the folder, and in `images` and `JPEGImages`; then
    there by the last part of its name; then there as a picture that is called as the annotation is.

    Args:
        root: The folder.
        name: What the annotation calls it; `None` for nothing.
        near: Folder of the annotation.
        stem: Name of the annotation without its ending.
        parts: More folders to look in.

    Raises:
        AnnotationError: It is not there, or not within the folder.
    """
    places = dict.fromkeys([near, *(root / place for place in PICTURES), *parts])
    paths = []
    if name is not None:
        if not isinstance(name, str) or not name or "\0" in name:
            raise AnnotationError(f"got {shown(name)} for a picture; expected the name of a file")
        pure = Path(name.replace("\\", "/"))
        if not any(_within(root, place / pure) for place in places):
            raise AnnotationError(f"the picture {shown(name)} is outside the folder {root}")
        paths = [place / part for part in (pure, Path(pure.name)) for place in places]
    if stem:
        paths += [place / f"{stem}{suffix}" for place in places for suffix in SUFFIXES]
    for path in paths:
        if _within(root, path) and _is_file(path):
            return checked(root, Path(os.path.normpath(path)))
    raise AnnotationError(f"the picture {shown(name or stem)} is not there")


def checked(root: Path, path: Path) -> Path:
    """Returns a path that stays in the folder.

    Raises:
        AnnotationError: It is a link to a place outside.
    """
    if not _stays(root, path):
        raise AnnotationError(f"{path}: is a link to a place outside the folder")
    return path


def pictures(folder: Path, problems: list[str], root: Path) -> Iterator[Path]:
    """Gives the pictures of a folder and its sub-folders, sorted; links outside are problems."""
    for path in sorted(folder.rglob("*")):
        if is_picture(path) and not path.is_dir():
            try:
                yield checked(root, path)
            except AnnotationError as wrong:
                problems.append(f"{wrong}.")


def without_annotation(root: Path, seen: Iterable[Path]) -> list[str]:
    """Returns a line for each picture beside the known ones that no annotation names."""
    files = list(seen)
    folders = dict.fromkeys([*(root / part for part in PICTURES), *(file.parent for file in files)])
    known = {file.resolve() for file in files}
    return [
        f"{path}: no annotation names this picture."
        for folder in folders
        for path in sorted(folder.iterdir() if folder.is_dir() else ())
        if is_picture(path) and path.resolve() not in known and _stays(root, path)
    ]


def _stays(root: Path, path: Path) -> bool:
    """Whether a path stays in the folder, links followed."""
    return path.resolve().is_relative_to(root.resolve())


def _within(root: Path, path: Path) -> bool:
    """Whether a path stays in the folder by its words, links not followed."""
    inner, outer = (Path(os.path.abspath(one)) for one in (path, root))  # noqa: PTH100
    return inner.is_relative_to(outer)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or no text
        return False
