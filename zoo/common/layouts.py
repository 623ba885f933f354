"""Tells by its files how a folder of pictures is annotated. Nothing here imports NumPy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

LAYOUTS = {
    "coco": "COCO JSON",
    "voc": "Pascal VOC XML",
    "yolo": "YOLO text",
    "labelme": "Labelme JSON",
    "masks": "PNG masks",
}
"""How a folder may be annotated, and what that is called."""
PICTURES = ("", "images", "JPEGImages")
"""Sub-folders that may hold the pictures; the first is the folder itself."""
NAMES = ("classes.txt", "data.yaml", "labels/classes.txt")
"""Files that may name the classes."""
SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
_COCO = re.compile(r'"(images|annotations|categories)"\s*:')
_LABELME = re.compile(r'"(shapes|imagePath|imageData)"\s*:')
_INSTANCES = "instances_"  # the documents that count where COCO's captions, keypoints ... are too
_PART = "_annotations.coco.json"  # in the folder of each part, as Roboflow writes it
_LOOKED_AT = 2**13  # bytes at each end of a file
_LOOKED = 1000  # files of a folder that are looked at
_KEYS = {"labelme": _LABELME, "coco": _COCO}


def annotated(root: Path) -> str | None:
    """Returns how a folder is annotated, a key of `LAYOUTS`; `None` where nothing shows it.

    Files in `annotations`, `Annotations`, `labels` or `masks` show it by their place; files beside
    the pictures by their keys, of which one is enough, or two where the folder has class folders.

    Args:
        root: The folder.

    Raises:
        ValueError: It is annotated in several ways.
    """
    if not root.is_dir():
        return None
    found = [name for name, shows in _SHOWS.items() if shows(root)]
    if len(found) > 1:
        told = " and ".join(LAYOUTS[name] for name in found)
        raise ValueError(
            f"folder:{root}: got {told}; expected annotations of one kind. Move the others away."
        )
    return found[0] if found else None


def documents(root: Path) -> list[Path]:
    """Returns the COCO documents of a folder, sorted.

    They stand beside the pictures, in `annotations`, or in the folders of the parts. Where some are
    called `instances_PART`, as COCO's are, the others in their folder are none: captions, keypoints
    and panoptic segments tell of the same pictures, and `image_info` of those without annotations.
    """
    found = [*_jsons(root, "", "coco"), *_jsons(root, "annotations", "coco")]
    own = {path.parent for path in found if path.name.startswith(_INSTANCES)}
    found = [path for path in found if path.parent not in own or path.name.startswith(_INSTANCES)]
    return [*found, *sorted(root.glob(f"*/{_PART}"))]


def labelme_files(root: Path) -> list[Path]:
    """Returns the Labelme files of a folder, sorted."""
    return sorted(
        path
        for folder in (*PICTURES, "annotations", "labels")
        for path in _jsons(root, folder, "labelme")
    )


def voc_files(root: Path) -> list[Path]:
    """Returns the VOC files of a folder, sorted."""
    own = [name for name in ("Annotations", "annotations") if (root / name).is_dir()]
    return sorted(
        path for folder in (*own[:1], *PICTURES) for path in _files(root / folder, ".xml")
    )


def yolo_parts(root: Path) -> list[Path]:
    """Returns those of the folder and its sub-folders that have `images` and `labels` each."""
    both = ("images", "labels")
    return [
        path
        for path in (root, *sorted(root.iterdir()))
        if all((path / name).is_dir() for name in both)
    ]


def is_picture(path: Path) -> bool:
    """Returns whether a file is a picture by its name."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _files(folder: Path, suffix: str) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() == suffix and not path.name.startswith(".")
        )


def _jsons(root: Path, folder: str, kind: str) -> Iterator[Path]:
    """The JSON files of a kind in a sub-folder; one that tells nothing is what its place says."""
    classes = not folder and _has_class_folders(root)
    for path in _files(root / folder, ".json"):
        ends = _ends(path)
        keys = {name: len(set(form.findall(ends))) for name, form in _KEYS.items()}
        told = next((name for name, count in keys.items() if count > classes), "")
        if not told:
            if classes:
                continue  # any file of the user's
            beside = (root / place / path.stem for place in PICTURES)
            pictured = any(
                Path(f"{stem}{suffix}").is_file() for stem in beside for suffix in SUFFIXES
            )
            told = "labelme" if pictured else "coco"
        if told == kind:
            yield path


def _ends(path: Path) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(_LOOKED_AT)
            if len(start) == _LOOKED_AT:
                file.seek(max(path.stat().st_size - _LOOKED_AT, _LOOKED_AT))
            return (start + file.read()).decode("utf-8", "replace")
    except OSError:
        return ""


def _has_class_folders(root: Path) -> bool:
    own = {*PICTURES, "annotations", "Annotations", "labels", "masks"}
    return any(
        path.is_dir() and path.name not in own and not path.name.startswith(".")
        for path in root.iterdir()
    )


def _shows_voc(root: Path) -> bool:
    return any(
        path.parent.name in ("Annotations", "annotations") or "<annotation" in _ends(path)
        for path in islice(voc_files(root), _LOOKED)
    )


def _shows_yolo(root: Path) -> bool:
    apart = [part / "labels" for part in yolo_parts(root) or [root]]
    if any(texts.is_dir() for texts in apart):
        return any(path.suffix == ".txt" for texts in apart for path in texts.rglob("*"))
    named = any((root / name).is_file() for name in NAMES)
    return named and any(
        path.with_suffix(suffix).is_file()
        for path in islice(_files(root, ".txt"), _LOOKED)
        for suffix in SUFFIXES
    )


def _shows_masks(root: Path) -> bool:
    return (root / "images").is_dir() and (root / "masks").is_dir()


_SHOWS = {
    "coco": lambda root: bool(documents(root)),
    "voc": _shows_voc,
    "yolo": _shows_yolo,
    "labelme": lambda root: bool(labelme_files(root)),
    "masks": _shows_masks,
}
