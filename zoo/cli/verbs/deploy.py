"""Write what an engine of a fleet reads: TF Serving, Triton, KServe, Kubernetes.

The folder holds the model file, the engine's configuration, and an image where one is needed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from zoo.cli import text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo deploy`."""
    from serving.fleet import WRITERS

    parser.add_argument("engine", metavar="engine", help=", ".join(WRITERS))
    parser.add_argument("directory", type=Path, help="what `zoo export` wrote")
    parser.add_argument("--out", type=Path, default=Path("deploy"), metavar="DIR",
                        help="the folder to write (default: deploy)")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace what is at --out")


def run(arguments: argparse.Namespace) -> None:
    """Writes the folder, and prints how to start the engine."""
    import serving

    start = serving.deploy(
        arguments.engine, arguments.directory, out=arguments.out, force=arguments.force
    )
    if arguments.json:
        print(text.document({"path": str(arguments.out), "start": start}))
        return
    print(f"{arguments.out}: for {arguments.engine}")
    print(f"cd {arguments.out} && {start}")
