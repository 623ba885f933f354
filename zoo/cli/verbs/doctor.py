"""What is here, what is wrong with it, and how to mend it: devices, packages, memory, start-up.

One line for each thing. Exits with 1 where something that every command needs is broken; what is
slow or merely not installed is told.
"""

from __future__ import annotations

import argparse

from zoo.cli import text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo doctor`."""
    parser.add_argument("--quick", action="store_true", help="do not start TensorFlow")


def run(arguments: argparse.Namespace) -> int:
    """Looks, and prints each finding as it comes."""
    from zoo.stages.doctor import look

    found = []
    for finding in look(quick=arguments.quick):
        found.append(finding)
        if not arguments.json:
            print(finding.line(), flush=True)
    if arguments.json:
        print(text.document({"findings": [vars(finding) for finding in found]}))
    return int(any(finding.verdict == "FAIL" for finding in found))
