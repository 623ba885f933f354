"""`python -m serving DIRECTORY`: serves one exported directory until Ctrl-C or SIGTERM."""

from __future__ import annotations

import argparse

from serving.server import serve


def main() -> None:
    """Parses the command line and serves; a user's mistake exits with 2 and one line."""
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    parser.add_argument("directories", nargs="+", help="what `zoo export` wrote for TFLite or ONNX")
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8501, help="0 takes a free one; default: 8501")
    arguments = parser.parse_args()
    try:
        serve(*arguments.directories, host=arguments.host, port=arguments.port)
    except (OSError, ValueError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
