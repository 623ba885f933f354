"""What a compression did, in numbers measured on the models: plain data, ready for JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from compress.measure import table


@dataclass(frozen=True)
class Counts:
    """What one layer or a whole model holds and does.

    Attributes:
        parameters: Number of weights, the non-trainable ones included.
        nonzero: Number of weights that are not zero.
        macs: Multiply-accumulates for one example, of the layers for which they are known.
        num_uncounted: Number of layers for which they are not.
        activation_bytes: Bytes of all layer outputs for one example.
    """

    parameters: int
    nonzero: int
    macs: int
    num_uncounted: int
    activation_bytes: int


@dataclass(frozen=True)
class FileSize:
    """Bytes of the saved model.

    Attributes:
        raw_bytes: Size of the `.keras` file.
        gzip_bytes: Its size after gzip.
        packed_bytes: Size of the packed file; None where the pipeline has no `huffman`.
    """

    raw_bytes: int
    gzip_bytes: int
    packed_bytes: int | None = None

    @property
    def least_bytes(self) -> int:
        """What a budget counts: the packed file where there is one, else the gzipped `.keras`."""
        return self.gzip_bytes if self.packed_bytes is None else self.packed_bytes


@dataclass(frozen=True)
class Runtime:
    """A model's file for a runtime, as the caller's `measure` made and timed it.

    Attributes:
        size_bytes: Size of the file.
        gzip_bytes: Its size after gzip.
        seconds: For one example.
    """

    size_bytes: int
    gzip_bytes: int
    seconds: float


@dataclass(frozen=True)
class Cost:
    """What a layer, or a whole model, takes to store and to run.

    Attributes:
        path: Where the layer stands; empty for the whole model.
        kind: Name of its class.
        parameters: Number of weights, the non-trainable ones included.
        sparsity: Fraction of them that is zero.
        distinct: Distinct values, zero among them, of the largest weight, the kernel; of a model
            the sum over its layers.
        book_bits: Bits for each parameter where a weight is stored as the numbers of its values,
            of equal length, and the values as a code book; or as it is, where that is shorter.
        packed_bytes: Size of the layer's streams in the packed file; None without `huffman`.
        packed_bits: The same in bits for each parameter: entropy-coded.
        macs: Multiply-accumulates for one example; None where they are not known.
        joules: Estimate for one example, every product done and every weight read as it is stored;
            see `compress.measure.costs`.
        sparse_joules: The same on hardware that skips zero weights and reads packed ones.
    """

    path: str
    kind: str
    parameters: int
    sparsity: float
    distinct: int
    book_bits: float
    packed_bytes: int | None
    packed_bits: float | None
    macs: int | None
    joules: float
    sparse_joules: float


@dataclass(frozen=True)
class LayerReport:
    """What a pass did to one leaf layer of its input.

    Attributes:
        path: Where the layer stands, e.g. `encoder/conv1`.
        kind: Name of its class.
        changed: Whether the pass rewrote it. Fine-tuning alone does not count.
        note: What was done, or why nothing was.
        before: The layer's counts.
        after: The counts of the layer, or of the layers that replace it.
    """

    path: str
    kind: str
    changed: bool
    note: str
    before: Counts
    after: Counts


@dataclass(frozen=True)
class Agreement:
    """How near an output is to that of the model before; see `compress.measure.agreement`.

    Attributes:
        output: Name of the output.
        sqnr_db: Signal to quantisation noise in decibels, 10 log10(sum of squares of the outputs /
            that of the differences); 200 where there is no difference.
        r2: Share of what varies over the examples that is kept, 1 at most.
        same_top1: Fraction of the examples whose largest number is at the same place; None where
            the output is not (batch, classes).
    """

    output: str
    sqnr_db: float
    r2: float
    same_top1: float | None = None


@dataclass(frozen=True)
class PassReport:
    """What one pass did.

    Attributes:
        settings: The pass, as in a recipe.
        note: How the pass went, e.g. for how many epochs it was fine-tuned.
        layers: Each leaf layer of the pass's input, once.
        before: Counts of the whole model before the pass.
        after: Counts of the whole model after it.
        metrics: What `evaluate` returns after the pass; empty without it.
        seconds: Duration of the pass, fine-tuning included.
        runtimes: What `measure` finds after the pass, by runtime; empty without it.
        agreement: How near the outputs are to those before the pass, where it calibrates.
    """

    settings: dict[str, Any]
    note: str
    layers: tuple[LayerReport, ...]
    before: Counts
    after: Counts
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    runtimes: dict[str, Runtime] = field(default_factory=dict)
    agreement: tuple[Agreement, ...] = ()


@dataclass(frozen=True)
class BudgetReport:
    """Whether the budget was kept.

    Attributes:
        kept: Whether every limit was.
        lines: One for each limit.
        over: One for each limit that was not kept: by how far.
    """

    kept: bool
    lines: tuple[str, ...]
    over: tuple[str, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """A model as it was measured, saved and loaded again.

    Attributes:
        counts: Counts of the whole model.
        size: Sizes of its files.
        metrics: What `evaluate` returns of the model from the file; empty without it.
        latency_seconds: Time for one example in the main runtime; None without `measure`.
        total: What the whole model takes; None of a trial.
        layers: What each leaf layer takes; empty of a trial.
        runtimes: What `measure` finds, by runtime; empty without it.
    """

    counts: Counts
    size: FileSize
    metrics: dict[str, float]
    latency_seconds: float | None = None
    total: Cost | None = None
    layers: tuple[Cost, ...] = ()
    runtimes: dict[str, Runtime] = field(default_factory=dict)


@dataclass(frozen=True)
class Fall:
    """How much the metric falls when a pass compresses one layer alone, without fine-tuning."""

    step: str
    path: str
    fall: float


@dataclass(frozen=True)
class Trial:
    """One run of the passes in the search for a budget.

    Attributes:
        strengths: The settings that the search varies, e.g. `{"0.prune.sparsity": 0.9}`.
        spared: The layers that a pass left out for their sensitivity.
        kept: Whether the budget was kept.
        least_bytes: Size of the file that the budget counts.
        macs: Multiply-accumulates for one example.
        metric: The budget's metric.
        latency_seconds: For one example; None without `measure`.
        seconds: Duration of the trial.
        error: Why there is no result; the numbers are None then.
    """

    strengths: dict[str, Any]
    spared: tuple[str, ...] = ()
    kept: bool = False
    least_bytes: int | None = None
    macs: int | None = None
    metric: float | None = None
    latency_seconds: float | None = None
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Search:
    """What was tried to meet a budget.

    Attributes:
        trials: In their order.
        best: Index of the one that was kept.
        sensitivity: The layers of each pass that was varied, the most sensitive first.
    """

    trials: tuple[Trial, ...]
    best: int
    sensitivity: tuple[Fall, ...]


@dataclass(frozen=True)
class Report:
    """What a pipeline did.

    Attributes:
        before: The input model.
        after: The result.
        passes: The passes in their order.
        budget: Whether the budget was kept; None where none was set.
        search: What was tried; None where the budget asks for no search.
        idle: One line for each pass and runtime where the file or the time stays as it was.
        notes: What else is to be known of the figures.
    """

    before: Snapshot
    after: Snapshot
    passes: tuple[PassReport, ...]
    budget: BudgetReport | None
    search: Search | None = None
    idle: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """True unless a budget was exceeded."""
        return self.budget is None or self.budget.kept

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as plain data that `json.dumps` accepts."""
        return {**dataclasses.asdict(self), "passed": self.passed}

    def to_json(self, *, indent: int | None = 2) -> str:
        """Returns the report as a JSON document.

            Path("report.json").write_text(small.report.to_json())

        Args:
            indent: Blanks of a step; `None` for one line.
        """
        return json.dumps(self.to_dict(), indent=indent)

    def to_markdown(self) -> str:
        """Returns the report as tables of Markdown: the whole, the passes, and every layer.

        Path("REPORT.md").write_text(small.report.to_markdown())
        """
        return table.markdown(self.to_dict())

    def __str__(self) -> str:
        """The whole, and the passes, as tables of text."""
        return table.plain(self.to_dict())

    def _repr_html_(self) -> str:
        """What a notebook shows: tables, the layers folded away."""
        return table.html(self.to_dict())
