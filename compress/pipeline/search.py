"""The search for a budget: the strongest settings of the passes that keep the metric.

One pass after the other, its strength (`Pass.ladder`) is bisected while the others stay at the best
that is known: up where the metric holds, down where it falls too far. From the rung that
falls too far it goes on with the layers spared that are most sensitive to it: those of which one
alone, compressed without fine-tuning, makes the metric fall by more than the budget allows; at most
half of them. Rounds over the passes go on until nothing new is to be tried, or the trials are used
up. The best result of all, by `Budget.excess`, is kept, within the budget or not.

Source: the sensitivity of single layers is Han et al. 2015, arXiv:1506.02626, section 3.4 and
figure 6. Bisection takes the metric to fall as the strength grows, which noise breaks at times; a
result is judged by its own measurement alone.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import NamedTuple

import keras

from compress.base import Context, Pass
from compress.graph import leaf_layers
from compress.graph.kernels import find_kernels
from compress.measure.account import LayerRow, NotFiniteError
from compress.measure.report import Fall, Search, Snapshot, Trial
from compress.pipeline.budget import Budget
from compress.pipeline.stages import Stage, run, snapshot

Plan = tuple[Pass, ...]


class Result(NamedTuple):
    """What a plan of passes came to; `number` is the index of its trial."""

    plan: Plan
    stages: list[Stage]
    after: Snapshot
    number: int
    excess: tuple[float, float, int]


def search(
    plan: Sequence[Pass],
    budget: Budget,
    model: keras.Model,
    before: Snapshot,
    context: Context,
    *,
    rows: Sequence[LayerRow] = (),
) -> tuple[Result, Search]:
    """Runs the passes with several settings.

    Args:
        plan: The passes, with the settings to begin with.
        budget: With a number of trials.
        model: Stays as it is.
        before: The model, measured.
        context: What the passes may use; has an `evaluate`.
        rows: Table of the model, where it is counted already.

    Returns:
        The best result, and what was tried.

    Raises:
        TypeError, ValueError, RuntimeError: The plan cannot be run with the settings it has.
    """
    return _Search(tuple(plan), budget, model, before, context, rows).found()


class _Search:
    """A search under way, its first trial done."""

    def __init__(
        self,
        plan: Plan,
        budget: Budget,
        model: keras.Model,
        before: Snapshot,
        context: Context,
        rows: Sequence[LayerRow],
    ) -> None:
        self.budget, self.model, self.before, self.context = budget, model, before, context
        self.rows = rows
        self.trials: list[Trial] = []
        self.falls: list[Fall] = []
        self.held: dict[str, bool] = {}  # whether the metric did, by plan
        start = time.perf_counter()
        self.best = self._result(plan, [])
        self._note(plan, self.best, time.perf_counter() - start)

    def found(self) -> tuple[Result, Search]:
        count = 0
        while count < len(self.trials) and not self._spent():
            count = len(self.trials)
            for number in range(len(self.best.plan)):
                self._climb(number)
        return self.best, Search(tuple(self.trials), self.best.number, tuple(self.falls))

    def _climb(self, number: int) -> None:
        """Bisects the strength of one pass; the others stay as they are in the best plan."""
        base = self.best.plan
        ladder = base[number].ladder()
        if ladder is None:
            return
        now = getattr(base[number], ladder.field)
        rising = ladder.rungs[0] < ladder.rungs[-1]
        rungs = sorted({*ladder.rungs, now}, reverse=not rising)
        plans = [_with(base, number, **{ladder.field: rung}) for rung in rungs]
        here = rungs.index(now)
        held = self.held[_key(base)]
        high = self._bisect(plans, here if held else -1, len(rungs) if held else here)
        if high is None or high == len(rungs) or self._spent():
            return
        if spared := self._sensitive(plans[high], number):
            skip = (*base[number].skip, *spared)
            plans = [_with(plan, number, skip=skip) for plan in plans]
            if self._try(plans[high]):
                self._bisect(plans, high, len(rungs))

    def _bisect(self, plans: Sequence[Plan], low: int, high: int) -> int | None:
        """Returns the first plan of which the metric does not hold; None without a trial left.

        Args:
            plans: From weak to strong.
            low: Largest index known to hold; -1 where none is known.
            high: Smallest index known not to; their number where none is known.
        """
        while high - low > 1:
            middle = (low + high) // 2
            held = self._try(plans[middle])
            if held is None:
                return None
            low, high = (middle, high) if held else (low, middle)
        return high

    def _spent(self) -> bool:
        return len(self.trials) >= self.budget.search

    def _try(self, plan: Plan) -> bool | None:
        """Whether the metric holds; None once the trials are used up."""
        key = _key(plan)
        if key in self.held:
            return self.held[key]
        if self._spent():
            return None
        start = time.perf_counter()
        try:
            result = self._result(plan, self.best.stages)
        except (NotFiniteError, RuntimeError) as error:  # the training diverged
            self.held[key] = False
            seconds = time.perf_counter() - start
            self.trials.append(Trial(_strengths(plan), error=str(error), seconds=seconds))
            return False
        self._note(plan, result, time.perf_counter() - start)
        if result.excess < self.best.excess:
            self.best = result
        return self.held[key]

    def _result(self, plan: Plan, done: Sequence[Stage]) -> Result:
        """Runs a plan and measures what comes out."""
        stages = run(plan, self.model, self.context, done, rows=self.rows)
        packed = any(step.kind == "huffman" for step in plan)
        after = snapshot(stages[-1].model, stages[-1].rows, self.context, packed=packed)
        latency = self.context.seconds(stages[-1].model)
        after = dataclasses.replace(after, latency_seconds=latency)
        excess = self.budget.excess(self.before, after)
        return Result(plan, stages, after, len(self.trials), excess)

    def _note(self, plan: Plan, result: Result, seconds: float) -> None:
        after = result.after
        self.held[_key(plan)] = self.budget.holds_drop(self.before, after)
        self.trials.append(
            Trial(
                strengths=_strengths(plan),
                spared=tuple(sorted({path for step in plan for path in step.skip})),
                kept=self.budget.check(self.before, after).kept,
                least_bytes=after.size.least_bytes,
                macs=after.counts.macs,
                metric=after.metrics[self.budget.headline.name],
                latency_seconds=after.latency_seconds,
                seconds=seconds,
            )
        )

    def _sensitive(self, plan: Plan, number: int) -> tuple[str, ...]:
        """The layers to spare; measured on what the passes before have made."""
        step, headline = plan[number], self.budget.headline
        done = run(plan[:number], self.model, self.context, self.best.stages, rows=self.rows)
        model = done[-1].model if done else self.model
        layers = dict(leaf_layers(model))
        reasons = step.left_out(layers)
        kernels, _ = find_kernels(layers, [path for path in layers if path not in reasons])
        whole = self.context.metrics(model)[headline.name]
        falls = []
        for path in dict.fromkeys(kernel.path for kernel in kernels.values()):
            alone = step.on_layer(path).apply(model, self.context).model
            fall = headline.fall(whole, self.context.metrics(alone)[headline.name])
            falls.append(Fall(step.kind, path, fall))
        falls.sort(key=lambda one: -one.fall)
        self.falls += falls
        most = self.budget.max_drop or 0.0
        return tuple(one.path for one in falls[: len(falls) // 2] if one.fall > most)


def _with(plan: Plan, number: int, **settings: object) -> Plan:
    """The plan with other settings of one pass."""
    return (*plan[:number], plan[number].changed(**settings), *plan[number + 1 :])


def _key(plan: Plan) -> str:
    return "\n".join(step.model_dump_json() for step in plan)


def _strengths(plan: Plan) -> dict[str, float]:
    ladders = [(number, step, step.ladder()) for number, step in enumerate(plan)]
    return {
        f"{number}.{step.kind}.{ladder.field}": getattr(step, ladder.field)
        for number, step, ladder in ladders
        if ladder
    }
