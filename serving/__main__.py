"""`python -m serving DIRECTORY`: serves one exported directory until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse

from serving.server import serve
from serving.settings import parse
from zoo.common.leaving import leave


def main() -> None:
    """Parses the command line and serves; a user's mistake exits with 2 and one line."""
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    parser.add_argument("directories", nargs="+", help="what `zoo export` wrote")
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8501, help="0 takes a free one; default: 8501")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="changes",
        help="a setting of `serving.settings.Serving`, e.g. num_workers=2",
    )  # fmt: skip
    arguments = parser.parse_args()
    try:
        given = {"host": arguments.host, "port": arguments.port}
        serve(*arguments.directories, **given | parse(arguments.changes))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    leave(0)


if __name__ == "__main__":
    main()
