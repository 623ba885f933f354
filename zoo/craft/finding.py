"""What a check comes to: a line for people, and its numbers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Verdict = Literal["ok", "warn", "FAIL"]


@dataclass(frozen=True)
class Finding:
    """What one check came to.

    Attributes:
        name: What was checked.
        measured: What was found, in words and numbers.
        verdict: `ok`, `warn`, or `FAIL`.
        remedy: What to do; empty when nothing is wrong.
        values: The numbers, as plain JSON.
    """

    name: str
    measured: str
    verdict: Verdict = "ok"
    remedy: str = ""
    values: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """Returns what a user reads."""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.verdict:<4}  {self.name:<10}  {self.measured}{remedy}"
