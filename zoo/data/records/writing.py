"""Writes a data set as a pack (`zoo.common.packs`), and looks at all of one."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from zoo.common import digests, packs, staging
from zoo.common.packs import AGAIN, INDEX, MANIFEST, SPLITS, Pack, Part, Shard
from zoo.data.dataset import DataSet, Split
from zoo.data.feeds.on_disk import OnDisk
from zoo.data.feeds.source import told
from zoo.data.feeds.stream import Stream
from zoo.data.loading import load
from zoo.data.preprocessing import Preprocessing
from zoo.data.records.columns import BLOCK, plain
from zoo.data.records.crc32c import masked
from zoo.data.records.reading import COLUMN, LENGTHS, opened
from zoo.datasets import FOLDER, RECORDS, check_name
from zoo.recipe import Data

SHARD_BYTES = 2**27  # of a shard, about, where their number is not said
NARROW_BYTES = 2**26  # of a column of a split that the index has too
LOOKED = 64  # examples whose size stands for that of all


def pack(
    data: DataSet | Data | str,
    out: str | Path,
    *,
    shards: int | None = None,
    force: bool = False,
) -> Pack:
    """Writes a data set as shards of TFRecords; `records:OUT` reads them.

    Args:
        data: A data set, its name, or the block `data` of a recipe. Of a folder of pictures the
            files are kept as they are.
        out: Directory to be. It is there when all of it is written, or not at all.
        shards: Files of the training split; the other splits have as many for as many examples.
            `None`: one for each 128 MiB.
        force: Whether to replace a pack that is there.

    Returns:
        What its manifest says.

    Raises:
        FileExistsError: There is something at `out`.
        FileNotFoundError: The data set is not there.
        OSError: It cannot be written.
        ValueError: The data set cannot be read, or has fewer examples than there are to be shards.
    """
    if shards is not None and shards < 1:
        raise ValueError(f"shards: got {shards}; expected 1 or more.")
    staging.check_free(out, force=force, mark=MANIFEST)
    asked: dict[str, Any] = {}
    if not isinstance(data, DataSet):
        given = Data(name=data) if isinstance(data, str) else data
        data = _loaded(given)
        tokens = data.columns[data.input].kind == "tokens"
        asked = {"size": given.size, "text": given.text.model_dump() if tokens else {}}
    num_bytes = {split: _num_bytes(getattr(data, split)) for split in SPLITS}
    staging.check_room(out, sum(num_bytes.values()))
    shards = shards or -(-num_bytes["train"] // SHARD_BYTES)
    if shards > len(data.train):
        raise ValueError(
            f"shards: got {shards} for {len(data.train)} training examples; expected at most as "
            "many."
        )
    with staging.staged(out, force=force, mark=MANIFEST) as stage:
        parts: dict[str, Part] = {}
        index: dict[str, Any] = {}
        for split in SPLITS:
            examples = getattr(data, split)
            share = round(shards * len(examples) / len(data.train))
            number = min(max(share, 1), len(examples))
            parts[split], own = _written(stage, split, examples, number)
            index |= {f"{split}/{name}": values for name, values in own.items()}
        np.savez(stage / INDEX, allow_pickle=False, **index)
        made = Pack(
            name=data.name,
            source=data.source,
            columns=data.columns,
            mirror=data.mirror,
            motions={name: dict(most) for name, most in data.motions.items()},
            problems=data.problems,
            splits=parts,
            index_sha256=digests.sha256(stage / INDEX),
            **asked,
        )
        made = made.model_copy(update={"preprocessing": _measured(data, stage, made)})
        document = json.dumps(made.model_dump(mode="json"), indent=1)
        (stage / MANIFEST).write_text(document + "\n", encoding="utf-8")
    return made


def check(root: Path) -> Pack:
    """Reads all of a pack.

    Args:
        root: Its directory.

    Returns:
        What its manifest says.

    Raises:
        FileNotFoundError: A file is not there.
        ValueError: A file differs from what was written.
    """
    known = packs.read(root)
    for split, own, _ in opened(root, known):
        records = next(iter(own.values())).records
        for start in range(0, len(records), BLOCK):
            records.values(np.arange(start, min(start + BLOCK, len(records))), [])
        for shard in known.splits[split].shards:
            if digests.sha256(root / shard.file) != shard.sha256:
                raise ValueError(
                    f"{root / shard.file}: got another sha256 than {MANIFEST} has; {AGAIN}."
                )
    return known


def _loaded(given: Data) -> DataSet:
    """The data set, pictures as files."""
    check_name(given.name)
    as_files = given.name.startswith((FOLDER, RECORDS))
    return load(
        given.name,
        size=given.size,
        channels=given.channels,
        limit=given.limit,
        stream=True if as_files else given.stream,
        text=given.text,
    )


def _written(
    stage: Path, split: str, examples: Split | Stream, number: int
) -> tuple[Part, dict[str, np.ndarray]]:
    """Writes the shards of a split; what the index has of it.

    A shard has examples that follow one another, as many as the others have, or one more or less.
    """
    head = examples[:1]
    shapes = {name: tuple(head[name].shape[1:]) for name in examples}
    first = next(iter(shapes))
    narrow: dict[str, list[bytes]] = {
        name: []
        for name in shapes
        if name != first
        and not _is_encoded(examples, name)
        and head[name].nbytes * len(examples) <= NARROW_BYTES
    }
    rows, shards = _rows(examples), []
    lengths: list[int] = []
    bounds = [len(examples) * k // number for k in range(number + 1)]
    for place, count in enumerate(np.diff(bounds).tolist()):
        path = stage / f"{split}-{place:05}-of-{number:05}.tfrecord"
        with path.open("wb") as file:
            own = islice(rows, count)
            while some := list(islice(own, BLOCK)):
                messages = [_example(row) for row in some]
                lengths += map(len, messages)
                file.write(_framed(messages))
                for name, values in narrow.items():
                    values += (row[name] for row in some)
        size, digest = path.stat().st_size, digests.sha256(path)
        shards.append(Shard(file=path.name, examples=count, size_bytes=size, sha256=digest))
    index = {LENGTHS: np.array(lengths, np.int64)}
    for name, values in narrow.items():
        flat = np.frombuffer(b"".join(values), plain(head[name]).dtype)
        index[COLUMN + name] = flat.reshape(len(examples), *shapes[name])
    encoded = tuple(name for name in shapes if _is_encoded(examples, name))
    return Part(shapes=shapes, encoded=encoded, shards=tuple(shards)), index


def _rows(examples: Split | Stream) -> Iterator[dict[str, bytes]]:
    """The examples one after another, as a record has them."""
    if isinstance(examples, Stream):
        for row in told(examples.dataset().take(len(examples)).as_numpy_iterator()):
            yield {name: plain(row[name]).tobytes() for name in examples}
        return
    for start in range(0, len(examples), BLOCK):
        columns = examples[start : start + BLOCK].columns
        values = {
            name: column.files(np.arange(len(column)))
            if _is_encoded(examples, name)
            else [one.tobytes() for one in plain(column)]
            for name, column in columns.items()
        }
        for row in zip(*values.values(), strict=True):
            yield dict(zip(values, row, strict=True))


def _example(row: Mapping[str, bytes]) -> bytes:
    """A record without its frame; the same bytes for the same example."""
    features = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for name, value in row.items()
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return bytes(example.SerializeToString(deterministic=True))


def _framed(messages: Sequence[bytes]) -> bytes:
    """Records as a file has them: length, its checksum, the record, its checksum."""
    heads = [struct.pack("<Q", len(message)) for message in messages]
    parts = zip(heads, masked(heads), messages, masked(messages), strict=True)
    return b"".join(
        head + struct.pack("<I", first) + message + struct.pack("<I", last)
        for head, first, message, last in parts
    )


def _is_encoded(examples: Split | Stream, name: str) -> bool:
    if isinstance(examples, Stream):
        return False
    column = examples[name]
    return isinstance(column, OnDisk) and column.encoded


def _num_bytes(examples: Split | Stream) -> int:
    """About how many bytes a split takes, by its first examples."""
    some = list(islice(_rows(examples[:LOOKED]), LOOKED))
    return sum(len(value) for row in some for value in row.values()) * len(examples) // len(some)


def _measured(data: DataSet, stage: Path, made: Pack) -> dict[str, Any]:
    """The preprocessing that a training would measure; of a stream, on what was written of it."""
    kind = data.columns[data.input].kind
    if kind not in ("image", "features"):
        return {}
    if isinstance(data.train, Stream):
        _, own, _ = next(opened(stage, made))
        column: np.ndarray | OnDisk = own[data.input]
    else:
        column = data.train[data.input]
    if kind == "image" and column.shape[1] != column.shape[2]:
        return {}  # a task that takes such pictures has its own
    return Preprocessing.measure(column).model_dump(mode="json")
