"""Pack a data set into shards of TFRecords, which `--data records:DIR` reads; or check a pack.

Pictures of a folder are kept as the files that they are. A pack is there when all of it is written,
or not at all. `zoo data check` reads every byte of one and compares it with its checksums.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.cli import numbers, text

if TYPE_CHECKING:
    from zoo.common.packs import Pack


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo data`."""
    parser.add_argument("action", choices=("pack", "check"), help="what to do")
    parser.add_argument(
        "source", metavar="NAME", help="a data set, folder:PATH, ...; for check: the pack"
    )
    parser.add_argument("out", nargs="?", type=Path, metavar="DIR", help="for pack: the pack")
    parser.add_argument(
        "--shards", metavar="N", type=numbers.integer,
        help="files of the training split (default: one for each 128 MiB)",
    )  # fmt: skip
    parser.add_argument(
        "--set", metavar="KEY=VALUE", action="append", default=[], dest="changes",
        help="a setting of the block data of a recipe, e.g. data.size=64; may be repeated",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace the pack at DIR")


def run(arguments: argparse.Namespace) -> None:
    """Packs or checks."""
    if arguments.action == "check":
        if arguments.out or arguments.shards or arguments.changes or arguments.force:
            raise ValueError("check: expected the directory of a pack and nothing else.")
        from zoo.datasets import RECORDS, file_path

        root = file_path(RECORDS + arguments.source.removeprefix(RECORDS))
        from zoo.data.records.writing import check

        _tell(root, check(root), arguments)
        return
    if arguments.out is None:
        raise ValueError(
            "pack: expected a directory to be, e.g. `zoo data pack folder:pets packed`."
        )
    from zoo.common import packs, staging
    from zoo.datasets import check_name
    from zoo.recipe import resolve_data

    given = resolve_data(arguments.source, arguments.changes)
    check_name(given.name)
    staging.check_free(arguments.out, force=arguments.force, mark=packs.MANIFEST)
    from zoo.data.records.writing import pack

    made = pack(given, arguments.out, shards=arguments.shards, force=arguments.force)
    _tell(arguments.out, made, arguments)


def _tell(root: Path, pack: Pack, arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(text.document({"pack": str(root), **pack.model_dump(mode="json")}))
        return
    shards = [shard for part in pack.splits.values() for shard in part.shards]
    facts: dict[str, object] = {
        "pack": root,
        "data": f"{pack.name}: {pack.source}",
        "columns": ", ".join(f"{name} ({one.kind})" for name, one in pack.columns.items()),
        **{split: f"{part.examples:,} examples" for split, part in pack.splits.items()},
        "shards": len(shards),
        "size": text.size(sum(shard.size_bytes for shard in shards)),
        "to read it": f"--data records:{root}",
    }
    print(text.facts(facts))
