"""What a compression did, in numbers measured on the models: plain data, ready for JSON."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any


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
        raw_bytes: Of the `.keras` file.
        gzip_bytes: Of the same after gzip.
        packed_bytes: Of the packed file; None where the pipeline has no `huffman`.
    """

    raw_bytes: int
    gzip_bytes: int
    packed_bytes: int | None = None


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
    """

    settings: dict[str, Any]
    note: str
    layers: tuple[LayerReport, ...]
    before: Counts
    after: Counts
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class BudgetReport:
    """Whether the budget was kept, with one line for each limit."""

    kept: bool
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Snapshot:
    """A model as it was measured: counts, size of its file, metrics (empty without `evaluate`)."""

    counts: Counts
    size: FileSize
    metrics: dict[str, float]


@dataclass(frozen=True)
class Report:
    """What a pipeline did.

    Attributes:
        before: The input model.
        after: The result.
        passes: The passes in their order.
        budget: Whether the budget was kept; None where none was set.
    """

    before: Snapshot
    after: Snapshot
    passes: tuple[PassReport, ...]
    budget: BudgetReport | None

    @property
    def passed(self) -> bool:
        """True unless a budget was exceeded."""
        return self.budget is None or self.budget.kept

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as plain data that `json.dumps` accepts."""
        return {**dataclasses.asdict(self), "passed": self.passed}
