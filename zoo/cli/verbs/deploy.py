"""Write what an engine of a fleet reads: TF Serving, Triton, KServe, Kubernetes.

The folder holds the model file, the engine's configuration, and an image where one is needed.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from zoo.cli import text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo deploy`."""
    from serving.fleet import WRITERS

    parser.add_argument("engine", metavar="engine", help=", ".join(WRITERS))
    parser.add_argument("directory", type=Path, help="what `zoo export` wrote")
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="the folder to write (default: deploy/ENGINE)")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace what is at --out")


def run(arguments: argparse.Namespace) -> None:
    """Writes the folder, and prints how to start the engine."""
    import serving

    out = arguments.out or Path("deploy", arguments.engine)
    start = serving.deploy(arguments.engine, arguments.directory, out=out, force=arguments.force)
    if arguments.json:
        print(text.document({"path": str(out), "start": start}))
        return
    print(f"{out}: for {arguments.engine}")
    print(f"cd {shlex.quote(str(out))} && {start}")
