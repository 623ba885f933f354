"""What is done for a changed network that nobody trains: examples without labels are enough."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

import keras
import numpy as np

from compress.graph.graph import leaf_layers
from compress.measure.samples import answers, check_samples
from compress.passes.recovery.layerwise import Done, fit_layers
from compress.passes.recovery.problem import Problem
from compress.passes.recovery.teaching import teach

LEAST = 8  # examples
PART = 4  # one of so many judges, where that leaves enough


class Step(Protocol):
    """What is asked of a pass; see `compress.base.Pass`."""

    @property
    def kind(self) -> str:
        """Its name."""

    @property
    def recover(self) -> str:
        """How much is done."""

    def settle(
        self, path: str, layer: Any, kernel: np.ndarray, problem: Problem
    ) -> np.ndarray | None:
        """Returns what a kernel is to be."""


def recover(
    step: Step, model: keras.Model, before: keras.Model, samples: Any, chosen: Iterable[str]
) -> str:
    """Brings a changed network nearer to the one before, in place.

    As `Pass.recover` says, the statistics of its batch normalisations are measured again, its
    kernels fitted, and all of it taught. Of each what brings the answers nearer stays, on samples
    that nothing was fitted to where there are enough.

    Args:
        step: The pass that has changed it.
        model: A network whose kernels have changed.
        before: What it was made of.
        samples: See `compress.Context`.
        chosen: Paths of the layers that the pass may change.

    Returns:
        A line that says what was done; empty where there is nothing to do.

    Raises:
        ValueError: The samples do not fit.
    """
    arrays = check_samples(samples, before, who=step.kind)
    return bring_nearer(step, model, before, arrays, set(chosen))


def bring_nearer(
    step: Step,
    model: keras.Model,
    before: keras.Model,
    samples: Sequence[np.ndarray],
    own: Collection[str],
    *,
    origin: Mapping[str, str] | None = None,
) -> str:
    """As `recover`, of samples that have been looked at.

    Args:
        step: The pass that has changed it.
        model: A network whose kernels have changed.
        before: What it was made of.
        samples: (n, ...) for each input.
        own: Paths of the layers of `model` that the pass may change.
        origin: The path in `before` of what has another one there.

    Raises:
        ValueError: There are too few samples to teach with.
    """
    if (count := len(samples[0])) < LEAST:
        if step.recover == "network":
            raise ValueError(
                f"{step.kind}: samples: got {count}; expected {LEAST} or more to learn from, as "
                "`recover: network` does."
            )
        return f"statistics and kernels stay: {count} samples are fewer than {LEAST}"
    apart = count // PART if count >= PART * LEAST else 0
    fitted = [array[: count - apart] for array in samples]
    judged = [array[count - apart :] if apart else array for array in samples]
    want = answers(before, judged)
    best = old = distance(want, answers(model, judged))
    if not old:
        return ""

    def settle(path: str, *args: Any) -> np.ndarray | None:
        return step.settle(path, *args) if path in own else None

    start = kept = model.get_weights()
    told = "statistics and kernels stay: nothing brings the answers nearer"
    fits = step.recover != "statistics"
    for some in (settle, None) if fits else (None,):
        model.set_weights(start)
        done = fit_layers(model, before, fitted, settle=some, origin=origin or {})
        if not (done.norms or done.kernels):
            continue
        new = distance(want, answers(model, judged))
        if new < best:
            best, kept = new, model.get_weights()
            told = (
                f"{_told(done)} on {len(fitted[0])} samples: squared error of the answers "
                f"{old:.3g} before, {new:.3g} after, as a share of theirs"
                f"{_scarce(done, len(fitted[0]))}"
            )
            break
    model.set_weights(kept)
    if step.recover == "network":
        still = {path for path, _ in leaf_layers(model)} - set(own)
        teach(model, before, fitted, still=still)
        new = distance(want, answers(model, judged))
        if new < best:
            return f"{told}; taught by the network before, {new:.3g}"
        model.set_weights(kept)
    return told


def _told(done: Done) -> str:
    parts = [f"{done.kernels} kernels fitted"] * bool(done.kernels)
    parts += [f"statistics of {done.norms} normalisations measured again"] * bool(done.norms)
    return " and ".join(parts)


def _scarce(done: Done, count: int) -> str:
    """Tells which kernels had too few examples for their width, and how many there should be."""
    if not done.scarce:
        return ""
    path = max(done.scarce, key=lambda path: done.scarce[path][1] / done.scarce[path][0])
    rows, inputs = done.scarce[path]
    others = f" (and {len(done.scarce) - 1} others)" if len(done.scarce) > 1 else ""
    return (
        f"; {path}{others}: {rows:,} rows of samples for {inputs:,} inputs, so it stays near to "
        f"what it was; {math.ceil(inputs / rows * count):,} samples would settle it"
    )


def distance(want: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> float:
    """Returns the squared error as a share of the squares about their mean."""
    error = sum(float(np.sum((a - b) ** 2)) for a, b in zip(want, got, strict=True))
    size = sum(float(np.sum((a - a.mean(0)) ** 2)) for a in want)
    return error / max(size, 1e-30)
