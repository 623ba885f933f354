"""When the zeros come: the sparsity as a function of the step.

Source: Zhu & Gupta 2017, arXiv:1710.01878, eq. 1.
"""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from zoo.common.settings import FractionAboveZero, FractionBelowOne, Settings

_UNUSED = {
    "polynomial": (),
    "constant": ("initial", "power"),
    "one_shot": ("end", "initial", "power", "every"),
}


class Schedule(Settings):
    """How the sparsity grows during training.

    Attributes:
        shape: `polynomial` grows from `initial` to the target between `begin` and `end`, and
            renews the masks on the way: cubic unless `power` says otherwise. `constant` has the
            target from `begin` on, and renews the masks until `end`: a weight that grows again may
            take another's place. `one_shot` masks once, at `begin`.
        begin: Fraction of the training steps before the first weights are masked.
        end: Fraction of the training steps after which the masks are final.
        initial: Sparsity at the beginning, as a fraction.
        power: Exponent of the polynomial.
        every: Steps between two renewals of the masks.
    """

    shape: Literal["polynomial", "constant", "one_shot"] = "polynomial"
    begin: FractionBelowOne = 0.0
    end: FractionAboveZero = 0.75
    initial: FractionBelowOne = 0.0
    power: float = Field(default=3.0, gt=0)
    every: int = Field(default=10, ge=1)

    @model_validator(mode="after")
    def _begins_before_its_end(self) -> Self:
        for name in _UNUSED[self.shape]:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"no {name}, which shape {self.shape!r} does not use")
        if self.shape != "one_shot" and self.begin >= self.end:
            raise ValueError("begin < end")
        return self

    def turn(self, step: int, num_steps: int) -> int | None:
        """Returns the latest step, up to `step`, that renews the masks; None before `begin`.

        Args:
            step: Number of steps done.
            num_steps: Number of steps of the whole training.
        """
        begin, end = self._range(num_steps)
        if step < begin:
            return None
        if self.shape == "one_shot":
            return begin
        return end if step >= end else begin + (step - begin) // self.every * self.every

    def last_turn(self, num_steps: int) -> int:
        """Returns the step at which the masks are final."""
        return self._range(num_steps)[self.shape != "one_shot"]

    def sparsity(self, step: int, num_steps: int, *, final: float) -> float:
        """Returns the sparsity after `step` steps, between `initial` and `final`."""
        if self.shape != "polynomial":
            return final
        begin, end = self._range(num_steps)
        left = 1.0 - min(max((step - begin) / (end - begin), 0.0), 1.0)
        # Eq. 1: s_t = s_f + (s_i - s_f) (1 - (t - t_0) / (n Δt))^3
        return final + (self.initial - final) * math.pow(left, self.power)

    def _range(self, num_steps: int) -> tuple[int, int]:
        begin = min(round(self.begin * num_steps), num_steps - 1)
        return begin, max(round(self.end * num_steps), begin + 1)
