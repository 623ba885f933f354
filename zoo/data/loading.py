"""Loads a data set by name, in the size that a recipe asks for."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from zoo.common.columns import keeps_size
from zoo.common.images import fit, recolour
from zoo.data.dataset import DataSet, Split
from zoo.data.feeds.on_disk import OnDisk
from zoo.data.own import folder, tfds, ts_files
from zoo.data.records import reading as records
from zoo.data.sets import entailment, forecasts, names
from zoo.data.texts import pairs, trees
from zoo.data.texts import text as text_windows
from zoo.datasets import (
    DATASETS,
    FILES,
    FOLDER,
    NAMED,
    NLI,
    PAIRS,
    RECORDS,
    SIGNALS,
    TEXT,
    TFDS,
    TREES,
    TS,
    check_name,
    file_path,
)
from zoo.recipe import Text


def load(
    name: str,
    *,
    size: int | None = None,
    channels: int | None = None,
    limit: int | None = None,
    stream: bool | Literal["auto"] = "auto",
    text: Text | None = None,
) -> DataSet:
    """Loads a data set. The same name gives the same split on every machine.

    Args:
        name: A name of `zoo.data.DATASETS`, `folder:PATH`, or another that `check_name` knows.
        size: Side of the square images in pixels, see `zoo.common.images.fit`; `None` keeps the
            stored size, and makes the images of a folder 64. A set that is made takes it as the
            side that it makes, a text as the predictions in a window, a signal as its places, pairs
            as the tokens of a text, at most.
        channels: 1 for grey, 3 for colour, see `zoo.common.images.recolour`; `None` keeps what is
            stored.
        limit: Number of training examples to keep, in the classes' proportions; `None`, or more
            than there are, keeps all.
        stream: Whether the pictures of a folder stay on the disk, see `zoo.data.own.folder.load`,
            the examples of a pack, see `zoo.data.records.reading.load`, or the tokens of a text,
            see `zoo.data.texts.text.load`.
        text: What a token of a text is; `None`: a character.

    Raises:
        ValueError: The name is unknown, `size` or `limit` is too small, `channels` is neither 1 nor
            3, the size or the channels of what is no picture are asked for, or a folder holds too
            few images.
        FileNotFoundError: A file or folder is not there.
        ModuleNotFoundError: The package that carries the images is not installed.
        ConnectionError: A download failed.
    """
    check_name(name)
    if size is not None and size < 1:
        raise ValueError(f"size: got {size}; expected a side of at least 1 pixel.")
    if channels not in (None, 1, 3):
        raise ValueError(f"channels: got {channels}; expected 1 for grey or 3 for colour.")
    if limit is not None and limit < 1:
        raise ValueError(f"limit: got {limit} training examples; expected at least 1.")
    if stream is True and not name.startswith((FOLDER, TEXT, RECORDS, TFDS)):
        raise ValueError(
            f"stream: got true for {name}, which is held in memory; expected auto, folder:PATH, "
            "records:PATH, text:PATH or tfds:NAME."
        )
    if text is not None and text != Text() and not (_is_text(name) or name.startswith(RECORDS)):
        raise ValueError(
            f"data.text: got {text.unit} for {name}, which is no text; expected a text, e.g. "
            "pydoc_topics or text:PATH."
        )
    data = _read(name, size, channels, stream, text)
    if name.startswith(FILES) and not data.digest:
        data = replace(data, digest=_digest(file_path(name)))
    if limit is not None:
        classes = next((c.names for c in data.columns.values() if c.kind == "class"), ())
        if limit < len(classes):
            raise ValueError(
                f"limit: got {limit} training images; expected at least {len(classes)}, "
                f"one for each class of {name}."
            )
        if limit < len(data.train):
            data = replace(data, train=data.train[:limit])
    if size is None and channels is None:
        return data
    column = data.columns[data.input]
    if column.kind in ("tokens", "series") and _sized(name) and channels is None:
        return data  # it was made in that size
    if column.kind != "image":
        raise ValueError(
            f"data: got size {size} and channels {channels} for {name}, whose examples are "
            f"{_PLURAL.get(column.kind, column.kind)}; expected null for both."
        )
    if size is not None and column.shape[:2] != (size, size) and keeps_size(data.columns):
        raise ValueError(f"size: got {size}; {name} has images of {column.shape[:2]} pixels only.")
    if name.startswith((RECORDS, TFDS)):
        return data  # it was made in that shape
    train, validation, test = (
        _shaped(split, data.input, size, channels)
        for split in (data.train, data.validation, data.test)
    )
    columns = {**data.columns, data.input: column._replace(shape=train[data.input].shape[1:])}
    return replace(data, columns=columns, train=train, validation=validation, test=test)


_PLURAL = {"features": "rows of a table", "tokens": "texts", "series": "signals"}


def _sized(name: str) -> bool:
    """Whether a set is made in the size that is asked for."""
    return name.startswith((TEXT, PAIRS, SIGNALS, RECORDS)) or (
        name in DATASETS and DATASETS[name].sized
    )


def _is_text(name: str) -> bool:
    """Whether a set is a text, cut into windows of tokens."""
    return name.startswith(TEXT) or (
        name in DATASETS and DATASETS[name].kinds[:2] == ("tokens", "count")
    )


def _read(
    name: str,
    size: int | None,
    channels: int | None,
    stream: bool | Literal["auto"],
    tokens: Text | None,
) -> DataSet:
    """Reads or makes the whole set."""
    if name.startswith(FOLDER):
        return folder.load(name, size=size, stream=stream)
    if name.startswith(RECORDS):
        return records.load(name, size=size, channels=channels, stream=stream, text=tokens)
    if name.startswith(TFDS):
        return tfds.load(name, size=size, channels=channels, stream=stream)
    if name.startswith(TEXT):
        return text_windows.load(name, size=size, text=tokens, stream=stream)
    if name.startswith(TREES):
        return trees.load(name)
    if name.startswith(NLI):
        return entailment.load(name)
    if name.startswith(PAIRS):
        return pairs.load(name, size=size)
    if name.startswith(NAMED):
        return names.load_file(name)
    if name.startswith(TS):
        return ts_files.load(name)
    if name.startswith(SIGNALS):
        return forecasts.load(name, size=size)
    row = DATASETS[name]
    module, function = row.loader.split(":")
    load_rows = getattr(import_module(module), function)
    settings: dict[str, Any] = {"size": size} if row.sized else {}
    if _is_text(name):
        settings["text"] = tokens
    made: DataSet = load_rows(**settings)
    return made


def _digest(path: Path) -> str:
    """A digest of a file, or of the names and sizes of those in a folder."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = sorted(one for one in path.rglob("*") if one.is_file())
    lines = [f"{one.relative_to(path)}\t{one.stat().st_size}\n" for one in files]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _shaped(split: Split, image: str, size: int | None, channels: int | None) -> Split:
    pixels = split[image]
    if isinstance(pixels, OnDisk):
        return split.replace(**{image: pixels.shaped(size=size, channels=channels)})
    if channels is not None:
        pixels = recolour(pixels, channels)
    return split.replace(**{image: pixels if size is None else fit(pixels, size)})
