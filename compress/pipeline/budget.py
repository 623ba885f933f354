"""Budgets: what a compression may cost at most, checked on the result, and searched for.

See `compress.pipeline.search` for the search.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import Field, model_validator

from compress.base import Context, Headline
from compress.measure.report import BudgetReport, Snapshot
from zoo.common.settings import Settings

ROUNDING = 1e-9  # 0.98 - 0.975 is a little more than 0.005


class Budget(Settings):
    """What a compression may cost at most; None: any.

    Attributes:
        max_drop: Largest allowed fall of the metric, e.g. 0.005 for half a point; of a metric that
            is better when lower, its largest allowed rise.
        metric: Name of a metric that `evaluate` returns; None: the context's headline.
        higher: Whether more of the metric is better; None: as far as the context knows it, else it
            is, but for a loss.
        max_bytes: Largest allowed file: the packed one of a pipeline with `huffman`, else the
            gzipped `.keras`.
        max_macs: Most multiply-accumulates for one example, of the layers where they are known.
        max_latency_seconds: Longest time of one example in the context's main runtime.
        search: Most runs of the passes, the recipe's own settings first, with which stronger and
            weaker settings are tried; needs `max_drop`. 0: the recipe is run as it is.
    """

    max_drop: float | None = Field(default=0.005, ge=0)
    metric: str | None = None
    higher: bool | None = None
    max_bytes: int | None = Field(default=None, gt=0)
    max_macs: int | None = Field(default=None, gt=0)
    max_latency_seconds: float | None = Field(default=None, gt=0)
    search: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        limits = [self.max_drop, self.max_bytes, self.max_macs, self.max_latency_seconds]
        if limits.count(None) == len(limits):
            raise ValueError("max_drop, max_bytes, max_macs, max_latency_seconds or several")
        if self.search and self.max_drop is None:
            raise ValueError("max_drop, which a search goes up to")
        return self

    def on(self, context: Context) -> Budget:
        """Returns the budget with the metric of a context, and its better end, if it has none."""
        name, higher = context.headline_of(self.metric, self.higher)
        return self.model_copy(update={"metric": name, "higher": higher})

    @property
    def headline(self) -> Headline:
        """The metric; the default one where it is None."""
        return Context().headline_of(self.metric, self.higher)

    def require(self, metrics: Mapping[str, float], *, timed: bool = True) -> None:
        """Refuses a budget whose limits are on what is not measured.

        Args:
            metrics: Metrics of the input.
            timed: Whether latency is measured.

        Raises:
            ValueError: The metric, or the latency, is not there.
        """
        if self.max_drop is not None and self.headline.name not in metrics:
            got = f"`evaluate` returns {sorted(metrics)}" if metrics else "there is no `evaluate`"
            raise ValueError(f"Budget.metric: got {self.headline.name!r}, but {got}.")
        if self.max_latency_seconds is not None and not timed:
            raise ValueError(
                f"Budget.max_latency_seconds: got {self.max_latency_seconds:g}, but nothing "
                "measures latency; pass `measure`."
            )

    def check(self, before: Snapshot, after: Snapshot) -> BudgetReport:
        """Compares the result with the limits."""
        lines, over = [], []
        if self.max_drop is not None:
            name, higher = self.headline
            old, new = before.metrics[name], after.metrics[name]
            may, did = ("fall", "fell") if higher else ("rise", "rose")
            lines.append(f"{name} {old:.4f} -> {new:.4f}, may {may} by {self.max_drop:g}")
            if not self.holds_drop(before, after):
                fall = self.headline.fall(old, new)
                over.append(f"{name} {did} by {fall:.4f}, {fall - self.max_drop:.4f} too much")
        for name, unit, got, most in self._limits(after):
            lines.append(f"{name} {got:{unit}}, may be {most:{unit}}")
            if not got <= most:
                over.append(f"{name} {got:{unit}}, {got - most:{unit}} too many")
        return BudgetReport(not over, tuple(lines), tuple(over))

    def holds_drop(self, before: Snapshot, after: Snapshot) -> bool:
        """Whether the metric fell by no more than it may; never where it is no number."""
        if self.max_drop is None:
            return True
        return self._fall(before, after) <= self.max_drop + ROUNDING

    def excess(self, before: Snapshot, after: Snapshot) -> tuple[float, float, int]:
        """Returns what orders results, the best first.

        The metric's fall beyond `max_drop`; then the sum of the other limits' excesses, each as a
        share of its limit; then the bytes of the file. Of a result within its limits the first two
        are 0.
        """
        fall = 0.0
        if self.max_drop is not None and not self.holds_drop(before, after):
            fall = self._fall(before, after) - self.max_drop
            fall = fall if fall == fall else float("inf")  # a metric that is no number is last
        shares = [got / most - 1 for _, _, got, most in self._limits(after)]
        return fall, sum(max(0.0, share) for share in shares), after.size.least_bytes

    def _fall(self, before: Snapshot, after: Snapshot) -> float:
        name = self.headline.name
        return self.headline.fall(before.metrics[name], after.metrics[name])

    def _limits(self, after: Snapshot) -> list[tuple[str, str, float, float]]:
        """Name, format, value and limit of what may not be too much."""
        # A runtime that could not run the result has no time that would be short enough.
        seconds = float("inf") if after.latency_seconds is None else after.latency_seconds
        size = "gzipped file" if after.size.packed_bytes is None else "packed file"
        all_limits = (
            (f"bytes of the {size}", ",d", after.size.least_bytes, self.max_bytes),
            ("multiply-accumulates", ",d", after.counts.macs, self.max_macs),
            ("seconds for one example", ".3g", seconds, self.max_latency_seconds),
        )
        return [(name, unit, got, most) for name, unit, got, most in all_limits if most is not None]
