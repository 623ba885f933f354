"""The proof: the file is run, and its answers are compared with those of Keras."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from export.answers import Examples, answered
from export.examples import Arrays, edge_inputs
from export.failures import cause, told_as
from export.manifest import Distance, Parity, Score
from export.parity import compare, measure
from export.ranges import ranges_of
from export.sameness import as_shares
from export.source import run_keras
from export.target import Labelled, Source, Target, Tolerance

LEAST = 5.0  # how many times what a file may lose a metric must be, to judge the file by it
# Of a detector's float file: the share of examples in which two candidates of all but equal score
# may change places, which moves the rows behind them, and what the metric may then lose.
SWAPPED, SWAPPED_DROP = 0.05, 0.002
ANYHOW = {"max_relative": None, "min_cosine": -1.0, "min_top1_agreement": 0.0, "edges": None}


@dataclass(frozen=True)
class Proof:
    """What running a file has shown; all `None` for a file that nothing here can run.

    Attributes:
        ranges: See `Manifest.ranges`.
    """

    parity: Parity | None = None
    edges: Parity | None = None
    score: Score | None = None
    distance: Distance | None = None
    reason: str = ""
    ranges: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def differs(self) -> bool:
        """Whether the file runs, and its numbers are wrong."""
        return any(one and not one.passed and one.relative for one in (self.parity, self.edges))


@dataclass(frozen=True)
class Reference:
    """The float model that a quantised one stands for.

    Attributes:
        name: What it is called.
        expected: Its answers (n, ...) by output name, to the examples that the file is run on.
        shares: Names of the outputs that are shares here and logits in the file.
    """

    name: str
    expected: Arrays
    shares: Sequence[str] = ()


def prove(
    target: Target,
    path: Path,
    source: Source,
    probes: Examples,
    *,
    reference: Reference | None = None,
    labelled: Labelled | None = None,
    scores: Collection[str] | None = None,
) -> Proof:
    """Runs the file and the Keras model on the same inputs, and compares.

    Args:
        target: Wrote the file.
        path: Path of the file.
        source: What it was written from.
        probes: Examples that the file is run on.
        reference: What the file is compared with besides.
        labelled: Labelled examples, inputs as arrays by name.
        scores: Names of the outputs that are scores of classes, see `parity.compare`.
    """
    with told_as(target.kind, f"{target.runtime} cannot read what was written"):
        fault = target.fault(path)
    if target.proof != "numeric":
        return Proof(reason=fault)
    runtime = f"{target.runtime} {target.versions()[target.runtime]}"
    limits = target.tolerance
    ranked = bool(labelled and labelled.ranked and labelled.headline and limits.max_drop)
    if ranked:
        limits = limits.model_copy(update=ANYHOW)
    at_edges = limits.model_copy(
        update={"max_relative": limits.edges, "min_cosine": -1.0, "min_top1_agreement": 0.0}
    )
    edges = answered(source.net, source.signature, edge_inputs(probes.inputs), origin="edges")
    try:
        session = target.open(path)
        got = [session.run(case.inputs) if len(case) else {} for case in (probes, edges)]
    except Exception as error:  # each runtime has its own classes for a file that it cannot run
        return Proof(reason=f"{target.runtime} cannot run the file: {cause(error)}")
    if session.precision:
        runtime += f", {session.precision}"

    def of(case: Examples, answers: Arrays, limit: Tolerance) -> Parity:
        facts: dict[str, Any] = {"runtime": runtime, "inputs": case.origin}
        facts["left_out"] = dict(case.left_out)
        return compare(case.expected, answers, limit, scores=scores, **facts)

    parity, at_the_edges = of(probes, got[0], limits), of(edges, got[1], at_edges)
    most = limits.max_drop
    if parity.relative and parity.reason and labelled and labelled.ranked and not ranked:
        kept = [place for place in range(len(probes)) if _agrees(probes, got[0], place, limits)]
        if len(probes) - len(kept) <= max(1, SWAPPED * len(probes)):
            rest = _without_others(probes, kept)
            parity = of(rest, {name: array[kept] for name, array in got[0].items()}, limits)
            most = max(most, SWAPPED_DROP)
    distance = None
    if reference and not parity.reason:
        alike = as_shares(got[0], reference.shares)
        own = reference.name
        distance = measure(reference.expected, alike, of=own, tie=limits.tie, scores=scores)
    score = _scored(session.run, source, labelled) if labelled and parity.passed else None
    reason = fault or parity.reason
    reason = reason or (
        at_the_edges.reason and f"on zeros, extremes and noise, {at_the_edges.reason}"
    )
    if score and labelled and not reason:
        name = labelled.headline
        mine = score.model.get(name, 0.0)
        lost = mine - score.file.get(name, 0.0)
        if ranked and mine < LEAST * limits.max_drop:  # a file that finds nothing would pass
            rows = of(probes, got[0], target.tolerance)
            if rows.reason:
                reason = f"the model's own {name} of {mine:.4f} on {score.examples} examples is too"
                reason += f" little to judge a file by, and row by row {rows.reason}"
        elif lost > max(most, 1 / score.examples):  # one may tie, and a pixel is far less
            reason = f"{name} falls by {lost:.4f} on {score.examples} examples, limit {most:g}"
    ranges = {}
    if not reason:
        ranges = ranges_of(source.net, source.signature, session.run, probes.inputs, at_edges)
    return Proof(parity, at_the_edges, score, distance, reason, ranges)


def _agrees(case: Examples, answers: Arrays, place: int, limits: Tolerance) -> bool:
    """Whether a file's answer to one example is Keras'."""
    mine = {name: array[place : place + 1] for name, array in answers.items()}
    want = case.at([place]).expected
    return compare(want, mine, limits, runtime="", inputs=case.origin, left_out={}).passed


def _without_others(case: Examples, kept: Sequence[int]) -> Examples:
    """Some of the examples; why the others are left out is said."""
    why = "candidates of all but equal score change places; the metric judges"
    others = {str(place): why for place in sorted({*range(len(case))} - {*kept})}
    return replace(case.at(kept), left_out={**case.left_out, **others})


def _scored(run: Callable[[Arrays], Arrays], source: Source, labelled: Labelled) -> Score:
    inputs = labelled.inputs
    answers = run_keras(source.net, source.signature, inputs), run(inputs)
    # A measure may be no number, e.g. of a class that no example has; JSON has none for that.
    model, file = (
        {name: value for name, value in labelled.measure(one).items() if math.isfinite(value)}
        for one in answers
    )
    return Score(examples=len(next(iter(inputs.values()))), model=model, file=file)
