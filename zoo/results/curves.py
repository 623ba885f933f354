"""Learning curves of agents over seeds, with bands, and the variance that a baseline takes away.

    for s in 0 1 2 3 4; do zoo train ppo --set seed=$s --out runs/ppo-s$s; done
    python -m zoo.results.curves runs/ppo-s* runs/a2c-s* --out docs/play-curves.png

Runs whose folders differ by `-sNUMBER` alone are seeds of one line: the interquartile mean of the
validation's returns, with a band of its 95 % by bootstrap over the runs. `--variance RUN` adds how
much the gradients of REINFORCE vary between batches of a policy's episodes, by the baseline.

Source: Agarwal et al. 2021, arXiv:2108.13264, sections 4.1 and 4.3 (their program: rliable).
"""

from __future__ import annotations

import argparse
import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from zoo.bundle import Bundle

SHARE, REPEATS = 0.95, 2000
COLOURS = ("#3b6fb6", "#c9503f", "#2f9e77", "#8a63b8", "#b8860b", "#22303c")
# Of REINFORCE: what counts for an action, and what is subtracted.
KINDS: Mapping[str, Mapping[str, Any]] = {
    "all rewards": {"to_go": False, "baseline": "none"},
    "rewards to go": {"baseline": "none"},
    "- mean of others": {"baseline": "mean"},
    "- critic": {"baseline": "value"},
}
BATCHES, EPISODES = 24, 8  # of which the variance is measured


class Line(NamedTuple):
    """The runs of one line.

    Attributes:
        frames: Acted until each measurement, the mean over the runs, (times,).
        returns: (runs, times).
    """

    frames: np.ndarray
    returns: np.ndarray


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """Returns the mean of the middle half: (n, ...) to (...); of n a quarter is cut at each end.

    Args:
        scores: Runs first; of several environments all runs of all of them.
    """
    cut = len(scores) // 4
    return np.sort(scores, axis=0)[cut : len(scores) - cut].mean(axis=0)


def band(scores: Sequence[np.ndarray], *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns the ends of the band of an interquartile mean, by stratified bootstrap, each (...).

    Args:
        scores: For each environment the runs' (runs, ...); each draws from its own runs, with
            replacement.
        seed: Seed of what is drawn.
    """
    random, found = np.random.default_rng(seed), []
    for _ in range(REPEATS):
        drawn = [one[random.integers(len(one), size=len(one))] for one in scores]
        found.append(interquartile_mean(np.concatenate(drawn)))
    low, high = np.quantile(found, ((1 - SHARE) / 2, (1 + SHARE) / 2), axis=0)
    return low, high


def read(paths: Sequence[Path]) -> dict[str, Line]:
    """Returns the lines of some runs, by the names of their folders without the seed.

    Args:
        paths: Bundles of agents; those of a line have equally many epochs.

    Raises:
        ValueError: A bundle is of no agent.
    """
    groups: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for path in paths:
        name = re.sub(r"-s\d+$", "", path.resolve().name)
        groups.setdefault(name, []).append(_curve(Bundle(path)))
    return {
        name: Line(*(np.stack(parts) for parts in zip(*runs, strict=True)))._replace(
            frames=np.mean([frames for frames, _ in runs], axis=0)
        )
        for name, runs in groups.items()
    }


def _curve(bundle: Bundle) -> tuple[np.ndarray, np.ndarray]:
    """The frames acted until each epoch's end, and the returns measured there."""
    recipe = bundle.recipe
    if recipe.environment is None:
        raise ValueError(
            f"{bundle.path}: is of no agent; expected what e.g. `zoo train ppo` wrote."
        )
    with (bundle.path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    returns = np.array([float(row["val_return"]) for row in rows])
    lengths = [row.get("policy_length") or row.get("length") for row in rows]
    each = np.full(len(rows), float(recipe.environment.frames))
    if all(lengths):  # of whole episodes: as many as fit if none ends before its limit
        from zoo.environments.world import World

        each *= np.array(lengths, float) / World(recipe.environment).limit
    return np.cumsum(each), returns


def variances(bundle: Bundle) -> dict[str, float]:
    """Returns how much a policy's gradients vary between batches, for each of `KINDS`.

    Args:
        bundle: Of REINFORCE, with a critic.

    Returns:
        The variance of the gradient, summed over the weights, the first of `KINDS` being 1.
    """
    import tensorflow as tf

    from zoo.environments.whole import Whole
    from zoo.environments.world import World
    from zoo.models.saved import load_networks
    from zoo.tasks.agents.reinforce import Reinforce
    from zoo.training.steps import gradient

    networks, settings = load_networks(bundle.path), bundle.recipe.environment
    if settings is None or set(networks) != {"policy", "value"}:
        raise ValueError(
            f"{bundle.path}: has no critic; expected what `zoo train reinforce` wrote."
        )
    discount = getattr(bundle.recipe.task, "discount", 1.0)
    world = World(settings)
    sources = {
        critic: Whole(world, batch_size=EPISODES, seed=1, discount=discount, critic=critic)
        for critic in (False, True)
    }
    weights = networks["policy"].trainable_variables
    slopes: dict[str, list[np.ndarray]] = {name: [] for name in KINDS}
    for number in range(BATCHES):
        batches = {
            critic: {k: tf.constant(v) for k, v in source.collect(networks, number).items()}
            for critic, source in sources.items()
        }
        for name, options in KINDS.items():
            batch = batches[options["baseline"] == "value"]
            task = Reinforce(discount=discount, **options)
            objective = task.objectives()[0]
            _, found, _ = gradient(task, objective, networks, batch, variables=weights)
            slopes[name].append(np.concatenate([np.ravel(one) for one in found]))
    spread = {name: float(np.var(rows, axis=0).sum()) for name, rows in slopes.items()}
    whole = next(iter(spread.values()))
    return {name: value / whole for name, value in spread.items()}


def draw(lines: Mapping[str, Line], path: Path, *, spread: Mapping[str, float]) -> None:
    """Draws the curves, and bars of the variances where there are some.

    Args:
        lines: See `read`.
        path: The PNG to write.
        spread: See `variances`; empty draws none.
    """
    figure = Figure(figsize=(9 if spread else 6, 3.4), layout="constrained")
    parts = figure.subplots(
        1, 2 if spread else 1, squeeze=False, width_ratios=[2, 1][: 1 + bool(spread)]
    )
    axes: Any = parts[0][0]
    for colour, (name, line) in zip(COLOURS * len(lines), lines.items(), strict=False):
        label = f"{name}, {len(line.returns)} seeds"
        axes.plot(line.frames, interquartile_mean(line.returns), color=colour, label=label)
        axes.fill_between(line.frames, *band([line.returns]), color=colour, alpha=0.2, linewidth=0)
    axes.set(xscale="log", xlabel="frames acted", ylabel="return, interquartile mean")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)
    if spread:
        bars: Any = parts[0][1]
        bars.barh(list(spread), list(spread.values()), color=COLOURS[0])
        bars.invert_yaxis()
        bars.set(xlabel="variance of the gradient", xscale="log")
        bars.grid(alpha=0.3, axis="x")
    with io.BytesIO() as raw:
        figure.savefig(raw, dpi=90)
        image = Image.open(raw).convert("RGB")
        image.quantize(255, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    """Draws the picture, and prints where the lines end."""
    parser = argparse.ArgumentParser(prog="python -m zoo.results.curves", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="bundles of agents, NAME-sSEED")
    parser.add_argument("--out", type=Path, required=True, help="the PNG to write")
    parser.add_argument("--variance", type=Path, help="a run of reinforce, with its critic")
    arguments = parser.parse_args()
    lines = read(arguments.runs)
    spread = variances(Bundle(arguments.variance)) if arguments.variance else {}
    draw(lines, arguments.out, spread=spread)
    for name, line in lines.items():
        low, high = (end[-1] for end in band([line.returns]))
        told = f"{interquartile_mean(line.returns)[-1]:.1f} [{low:.1f}, {high:.1f}]"
        best = ", ".join(f"{one:.0f}" for one in line.returns.max(axis=1))
        print(f"{name}: {told} at {line.frames[-1]:,.0f} frames; best {best}")  # noqa: T201
    for name, value in spread.items():
        print(f"variance, {name}: {value:.3g}")  # noqa: T201


if __name__ == "__main__":
    main()
