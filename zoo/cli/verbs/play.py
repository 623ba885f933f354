"""Let a trained agent act in its environment: the return of each episode, and a film of the first.

The agent takes its best action in each step. The film is a GIF; CartPole, MountainCar, Acrobot and
Pendulum are drawn without further packages.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from zoo.cli import numbers, text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo play`."""
    parser.add_argument("bundle", type=Path, help="a directory that `zoo train` wrote of an agent")
    parser.add_argument(
        "--episodes", type=numbers.integer, default=10, metavar="N", help="default: 10"
    )
    parser.add_argument("--seed", type=numbers.integer, default=0, metavar="S", help="default: 0")
    parser.add_argument(
        "--out", "--gif", type=Path, metavar="FILE.gif", help="a film of the first episode"
    )
    parser.add_argument("--force", action="store_true", help="replace the file at --out")


def run(arguments: argparse.Namespace) -> None:
    """Plays, and prints the returns."""
    from dataclasses import asdict
    from statistics import fmean

    from zoo.stages.play import play

    found = play(
        arguments.bundle,
        episodes=arguments.episodes,
        seed=arguments.seed,
        film=arguments.out,
        force=arguments.force,
    )
    if arguments.json:
        film = str(arguments.out) if arguments.out else None
        print(text.document({**asdict(found), "mean": fmean(found.returns), "film": film}))
        return
    rows = enumerate(zip(found.returns, found.lengths, strict=True))
    print(text.table(("episode", "return", "steps"), [(number, *row) for number, row in rows]))
    facts = {"environment": found.environment, "mean return": fmean(found.returns)}
    if found.threshold is not None:
        facts["solved at"] = found.threshold
    if arguments.out:
        facts["film"] = arguments.out
    print("\n" + text.facts(facts))
