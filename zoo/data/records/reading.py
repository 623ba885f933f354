"""Reads a pack.

What a worker needs of a step it reads by itself, so that no two read the same; the order of an
epoch is `zoo.data.feeds.feed.Feed`'s, as of examples in memory, and a resumed run goes to its place
at once. A pack of up to `IN_MEMORY` bytes is held in memory; of a larger one only what its index
has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from zoo.common import digests, packs, reading
from zoo.common.columns import keeps_size
from zoo.common.packs import AGAIN, EXPECTED, INDEX, MANIFEST, SPLITS, Pack
from zoo.data.dataset import DataSet, Split
from zoo.data.preprocessing import Preprocessing
from zoo.data.records.columns import Packed, Records, held
from zoo.datasets import file_path
from zoo.recipe import Text

IN_MEMORY = 2**30  # bytes of its columns up to which `auto` holds a pack in memory
LENGTHS, COLUMN = "lengths", "column/"  # in the index, behind the name of a split


def load(
    name: str,
    *,
    size: int | None = None,
    channels: int | None = None,
    stream: bool | Literal["auto"] = "auto",
    text: Text | None = None,
) -> DataSet:
    """Reads a pack.

    Args:
        name: `records:PATH`.
        size: Side of the square images in pixels, `None` for that of the pack; of texts and signals
            the size that they were packed in.
        channels: 1 for grey, 3 for colour; `None` for those of the pack.
        stream: Whether it stays on the disk; `auto` does so from `IN_MEMORY` bytes on.
        text: What the tokens of a text were when it was packed; `None` asks for nothing.

    Raises:
        FileNotFoundError: It is not there, or not whole.
        ValueError: It is damaged, or was packed in another size or for other tokens.
    """
    root = file_path(name)
    pack = packs.read(root)
    _check_asked(name, pack, size, text)
    first = next(iter(pack.columns))
    picture = pack.columns[first].kind == "image"
    if keeps_size(pack.columns):
        size = None
    splits: dict[str, dict[str, Packed]] = {}
    indexed: dict[str, Mapping[str, np.ndarray]] = {}
    for split, splits[split], indexed[split] in opened(root, pack):
        if picture:
            shaped = splits[split][first].shaped(size=size, channels=channels)
            splits[split][first] = shaped
    num_bytes = sum(one.nbytes for own in splits.values() for one in own.values())
    streams = num_bytes > IN_MEMORY if stream == "auto" else stream
    made = {
        split: Split({**own, **indexed[split]} if streams else held(own))
        for split, own in splits.items()
    }
    if pack.preprocessing:
        made["train"].preprocessing = Preprocessing(**pack.preprocessing)
    columns = dict(pack.columns)
    if picture:
        shape = splits["train"][first].shape[1:]
        columns[first] = columns[first]._replace(shape=shape)
    shards, num = (
        sum(count(part) for part in pack.splits.values())
        for count in (lambda part: len(part.shards), lambda part: part.examples)
    )
    told = ", read from the disk" if streams else ""
    return DataSet(
        name,
        f"{root}: {num:,} examples of {pack.name} in {shards} shards{told}",
        columns,
        made["train"],
        made["validation"],
        made["test"],
        mirror=pack.mirror,
        motions=pack.motions,
        problems=pack.problems,
        digest=digests.sha256(root / MANIFEST),
    )


def opened(
    root: Path, pack: Pack
) -> Iterator[tuple[str, dict[str, Packed], dict[str, np.ndarray]]]:
    """Gives the name of each split, its columns, and those of them that the index has.

    Args:
        root: Directory of the pack.
        pack: Its manifest.

    Raises:
        FileNotFoundError: A file is not there.
        ValueError: A file is none of this pack.
    """
    path = root / INDEX
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected the index of a pack; {AGAIN}.")
    if digests.sha256(path) != pack.index_sha256:
        raise ValueError(f"{path}: got bytes of another sha256 than {MANIFEST} has; {AGAIN}.")
    index = reading.arrays(path, EXPECTED)
    for split in SPLITS:
        part = pack.splits[split]
        lengths = index.get(f"{split}/{LENGTHS}", np.zeros(0, np.int64))
        if len(lengths) != part.examples or set(part.shapes) != set(pack.columns):
            raise ValueError(f"{root / MANIFEST}: does not fit {INDEX}; {AGAIN}.")
        keys = {name: f"{split}/{COLUMN}{name}" for name in pack.columns}
        narrow = {name: index[key] for name, key in keys.items() if key in index}
        records, rows = Records(root, part, lengths, narrow), np.arange(part.examples)
        own = {
            name: Packed(
                records,
                name,
                rows,
                kind=column.kind,
                shape=part.shapes[name],
                stored=part.shapes[name],
                encoded=name in part.encoded,
            )
            for name, column in pack.columns.items()
        }
        yield split, own, narrow


def _check_asked(name: str, pack: Pack, size: int | None, text: Text | None) -> None:
    """Refuses what can be chosen no more once texts and signals are packed."""
    column = next(iter(pack.columns.values()))
    packed = Text(**pack.text)
    if text is not None and text != packed and (pack.text or text != Text()):
        raise ValueError(
            f"data.text: got {text.model_dump()} for {name}, which was packed with "
            f"{packed.model_dump()}; expected the same, or pack it again."
        )
    if size is None or column.kind == "image" or size == pack.size:
        return
    long = column.shape[0] if column.shape else None
    if pack.size is None and long is not None and size in (long, long - 1):
        return  # the usual size of such a set, e.g. the predictions of a window
    raise ValueError(
        f"data.size: got {size} for {name}, which was packed with {pack.size}; expected the same, "
        "or null, or pack it again."
    )
