"""Data sets by name, in the size, the colours and the number that are asked for."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

from zoo.data import DATASETS, FOLDER, check_name
from zoo.data.dataset import DataSet, Split
from zoo.data.images import fit, recolour


def load(
    name: str,
    *,
    size: int | None = None,
    channels: int | None = None,
    limit: int | None = None,
) -> DataSet:
    """Loads a data set. The same name gives the same split on every machine.

    Args:
        name: A name of `zoo.data.DATASETS`, or `folder:PATH`.
        size: Side of the square images in pixels, see `zoo.data.images.fit`; `None` keeps the
            stored size, and makes the images of a folder 64.
        channels: 1 for grey, 3 for colour, see `zoo.data.images.recolour`; `None` keeps what is
            stored.
        limit: Number of training examples to keep, in the classes' proportions; `None`, or more
            than there are, keeps all.

    Raises:
        ValueError: The name is unknown, `size` or `limit` is too small, `channels` is neither 1 nor
            3, the size or the channels of a table are asked for, or a folder holds too few images.
        FileNotFoundError: A file or folder is not there.
        ModuleNotFoundError: The package that carries the images is not installed.
        ConnectionError: A download failed.
    """
    check_name(name)
    if size is not None and size < 1:
        raise ValueError(f"size: got {size}; expected a side of at least 1 pixel.")
    if channels not in (None, 1, 3):
        raise ValueError(f"channels: got {channels}; expected 1 for grey or 3 for colour.")
    if name.startswith(FOLDER):
        data: DataSet = import_module("zoo.data.folder").load(name, size=size)
    else:
        module, function = DATASETS[name].loader.split(":")
        data = getattr(import_module(module), function)()
    if limit is not None:
        if limit < len(data.labels):
            raise ValueError(
                f"limit: got {limit} training images; expected at least {len(data.labels)}, "
                f"one for each class of {name}."
            )
        if limit < 1:
            raise ValueError(f"limit: got {limit} training examples; expected at least 1.")
        data = replace(data, train=data.train[:limit])
    if size is None and channels is None:
        return data
    if data.train.is_table:
        raise ValueError(
            f"data: got size {size} and channels {channels} for {name}, whose examples are rows of "
            "a table; expected null for both."
        )
    return replace(
        data,
        train=_shaped(data.train, size, channels),
        validation=_shaped(data.validation, size, channels),
        test=_shaped(data.test, size, channels),
    )


def _shaped(split: Split, size: int | None, channels: int | None) -> Split:
    images = split.images if channels is None else recolour(split.images, channels)
    return Split(images if size is None else fit(images, size), split.labels)
