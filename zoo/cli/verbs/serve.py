"""Answer requests with an exported directory: REST in TensorFlow Serving's form, on loopback.

TFLite and ONNX directories are served without importing TensorFlow.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from zoo.cli import numbers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo serve`."""
    parser.add_argument("directory", type=Path, help="a directory that `zoo export` wrote")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1")
    parser.add_argument(
        "--port",
        type=numbers.whole(0, 65535),
        default=8501,
        help="default: 8501; 0 takes a free one",
    )


def run(arguments: argparse.Namespace) -> None:
    """Serves until Ctrl-C or SIGTERM."""
    import serving

    if not arguments.host.strip():  # to the system, all interfaces
        raise ValueError("--host: got nothing; expected an address, e.g. 127.0.0.1.")
    serving.serve(arguments.directory, host=arguments.host, port=arguments.port)
