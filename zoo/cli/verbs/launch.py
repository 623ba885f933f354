"""Train in several processes of this host, as several hosts would, and outlive the death of one.

What stands behind `--` is run once for each worker: `zoo launch --workers 2 -- zoo train lenet5`.
"""

from __future__ import annotations

import argparse
import shutil


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo launch`."""
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument(
        "--restarts", type=int, default=0, metavar="N",
        help="start all again when one dies, at most N times (default: 0)",
    )  # fmt: skip
    parser.add_argument(
        "--grace", type=float, default=20.0, metavar="SECONDS",
        help="from SIGTERM to SIGKILL of a worker that does not end (default: 20)",
    )  # fmt: skip
    parser.add_argument("command", nargs="+", help="-- and the command, e.g. zoo train lenet5")


def run(arguments: argparse.Namespace) -> int:
    """Starts the workers, and waits for them."""
    from zoo.training.supervisor import launch

    for name, least in (("workers", 1), ("restarts", 0), ("grace", 0)):
        if (value := getattr(arguments, name)) < least:
            raise ValueError(f"--{name}: got {value}; expected {least} or more.")
    program, *rest = arguments.command
    found = shutil.which(program)
    if found is None:
        raise FileNotFoundError(f"{program}: not found; expected a program, e.g. zoo.")
    return launch(
        [found, *rest],
        num_workers=arguments.workers,
        restarts=arguments.restarts,
        grace=arguments.grace,
    )
