"""Answer requests with exported directories: the API of TensorFlow Serving, on loopback.

Only a SavedModel directory imports TensorFlow. A directory is what
`zoo export` wrote, or holds versions of it, NAME/1, NAME/2: a new one is picked up.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from zoo.cli import numbers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo serve`."""
    parser.add_argument("directories", nargs="+", type=Path, metavar="directory",
                        help="what `zoo export` wrote, or a directory of its versions")  # fmt: skip
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    parser.add_argument(
        "--port",
        type=numbers.whole(0, 65535),
        default=8501,
        help="default: 8501; 0 takes a free one",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="changes",
        help="a setting of `serving.settings.Serving`, e.g. num_workers=2, labels={stable: 1}",
    )


def run(arguments: argparse.Namespace) -> None:
    """Serves until Ctrl-C or SIGTERM."""
    import serving
    from serving.settings import parse

    if not arguments.host.strip():  # to the system, all interfaces
        raise ValueError("--host: got nothing; expected an address, e.g. 127.0.0.1.")
    given = {"host": arguments.host, "port": arguments.port}
    serving.serve(*arguments.directories, **given | parse(arguments.changes))
