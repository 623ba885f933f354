"""What lies in a pack: a data set as shards of TFRecords, with a manifest beside them.

    records.json                    what an example is, the splits, the shards and their digests
    index.npz                       how long each record is; columns that are small
    train-00000-of-00064.tfrecord   `tf.train.Example` of one `bytes` feature for each column
    validation-..., test-...

A feature holds the numbers of an array in the order of its axes, little-endian; or, of a column
that is `encoded`, a picture file as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, field_validator

from zoo.common import reading
from zoo.common.columns import KINDS, Column
from zoo.common.settings import Settings, nearest, shown

MANIFEST, INDEX = "records.json", "index.npz"
AGAIN = "pack it again"
EXPECTED = "a pack that `zoo data pack` wrote"
SPLITS = ("train", "validation", "test")
FRAME = 16  # bytes of a record besides its own: its length in 8, and two checksums
Count = Annotated[int, Field(ge=1)]
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Shard(Settings):
    """A file of records.

    Attributes:
        file: Its name.
        examples: Number of records.
        size_bytes: Its size.
        sha256: Of its bytes.
    """

    file: Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
    examples: Count
    size_bytes: Count
    sha256: Digest


class Part(Settings):
    """A split.

    Attributes:
        shapes: Shape of one example of each column, by name.
        encoded: Columns whose examples are picture files.
        shards: Its files, in the order of its examples.
    """

    shapes: dict[str, tuple[Annotated[int, Field(ge=0)], ...]]
    encoded: tuple[str, ...] = ()
    shards: Annotated[tuple[Shard, ...], Field(min_length=1)]

    @property
    def examples(self) -> int:
        """Number of examples."""
        return sum(shard.examples for shard in self.shards)


class Pack(Settings):
    """What `records.json` says.

    Attributes:
        name: Name of the data set that was packed.
        source: Where that was read from, one sentence.
        size: What was asked for as `data.size`.
        text: What was asked for as `data.text`.
        columns: See `zoo.data.DataSet`, and so `mirror`, `motions`, `problems`.
        preprocessing: How an example becomes an input, as measured on the training split; empty
            where it is one already.
        splits: By name.
        index_sha256: Of `index.npz`.
    """

    schema_version: Literal[1] = 1
    name: str
    source: str
    size: int | None = None
    text: dict[str, Any] = Field(default_factory=dict)
    columns: Annotated[
        Mapping[str, Annotated[Column, PlainSerializer(Column.plain)]], Field(min_length=1)
    ]
    mirror: bool = False
    motions: dict[str, dict[str, float]] = Field(default_factory=dict)
    problems: tuple[str, ...] = ()
    preprocessing: dict[str, Any] = Field(default_factory=dict)
    splits: dict[str, Part]
    index_sha256: Digest

    @field_validator("columns")
    @classmethod
    def _of_known_kinds(cls, columns: Mapping[str, Column]) -> Mapping[str, Column]:
        for name, column in columns.items():
            if column.kind not in KINDS:
                hint = nearest(column.kind, KINDS)
                raise ValueError(f"columns of known kinds; {name} is {shown(column.kind)}. {hint}")
        return columns

    @field_validator("splits")
    @classmethod
    def _all_three(cls, splits: dict[str, Part]) -> dict[str, Part]:
        if set(splits) != set(SPLITS):
            raise ValueError(f"the splits {', '.join(SPLITS)}")
        return splits


def read(root: Path) -> Pack:
    """Reads the manifest of a pack.

    Args:
        root: Directory of the pack.

    Raises:
        FileNotFoundError: It is not there; a pack that was interrupted has none.
        ValueError: It is damaged.
    """
    path = root / MANIFEST
    return Pack.parse(reading.json_object(path, EXPECTED), where=str(path))
