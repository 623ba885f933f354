"""Magnitude pruning, at once or step by step during fine-tuning.

Zeros shrink a file only once it is gzipped, and make neither TensorFlow nor LiteRT faster.

Sources: Han et al. 2015, arXiv:1506.02626: weights of small magnitude become zero, the others are
retrained. Zhu & Gupta 2017, arXiv:1710.01878, eq. 1: the sparsity grows by a polynomial.
Differs: Han et al. set a threshold for each layer from the standard deviation of its weights; here
the number of zeros is exact, for each layer or, with `scope="model"`, for all kernels together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from compress.base import Context, Ladder, Note, Pass, Rewrite
from compress.settings import FractionAboveZero, FractionBelowOne, Settings

if TYPE_CHECKING:
    import keras


class Schedule(Settings):
    """How the sparsity grows during training.

    Attributes:
        begin: Fraction of the training steps before the first weights are masked.
        end: Fraction of the training steps after which the masks are final.
        initial: Sparsity at the beginning, as a fraction.
        power: Exponent of the polynomial.
        every: Steps between two renewals of the masks.
    """

    begin: FractionBelowOne = 0.0
    end: FractionAboveZero = 0.75
    initial: FractionBelowOne = 0.0
    power: float = Field(default=3.0, gt=0)
    every: int = Field(default=10, ge=1)

    @model_validator(mode="after")
    def _begins_before_its_end(self) -> Self:
        if self.begin >= self.end:
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
        return end if step >= end else begin + (step - begin) // self.every * self.every

    def sparsity(self, step: int, num_steps: int, *, final: float) -> float:
        """Returns the sparsity after `step` steps, between `initial` and `final`."""
        begin, end = self._range(num_steps)
        left = 1.0 - min(max((step - begin) / (end - begin), 0.0), 1.0)
        # Eq. 1: s_t = s_f + (s_i - s_f) (1 - (t - t_0) / (n Δt))^3
        return final + (self.initial - final) * math.pow(left, self.power)

    def _range(self, num_steps: int) -> tuple[int, int]:
        begin = min(round(self.begin * num_steps), num_steps - 1)
        return begin, max(round(self.end * num_steps), begin + 1)


class Prune(Pass):
    """Sets the kernel weights of smallest magnitude to zero.

    Works on the kernels of dense layers and convolutions, and on the pointwise kernels of separable
    ones; biases and normalisation stay. Without fine-tuning, a second application changes nothing.

    Attributes:
        sparsity: Fraction of the weights that become zero, in [0, 1); exact to one weight.
        scope: `layer` prunes each kernel to `sparsity`; `model` all kernels together.
        schedule: How the sparsity grows during fine-tuning.
    """

    kind: Literal["prune"] = "prune"
    sparsity: FractionBelowOne
    scope: Literal["layer", "model"] = "layer"
    schedule: Schedule = Schedule()

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.schedule.initial > self.sparsity:
            raise ValueError("schedule.initial <= sparsity")
        return self

    def ladder(self) -> Ladder:
        """See `Pass.ladder`."""
        rungs = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99)
        return Ladder("sparsity", tuple(x for x in rungs if x >= self.schedule.initial))

    def callback(self) -> keras.callbacks.Callback:
        """Returns a callback that prunes the model in any `fit`, in place."""
        from compress.masking import MaskCallback

        return MaskCallback(self)

    def rewrite(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> Rewrite:
        """Prunes a copy of `model`; see `Pass.rewrite`."""
        from compress.graph import copy_model, leaf_layers
        from compress.kernels import find_kernels
        from compress.masking import MaskCallback, prune_kernels

        pruned = copy_model(model)
        callback = MaskCallback(self)
        text = context.fine_tune(pruned, epochs=self.epochs, callbacks=[callback])
        if callback.sparsity < self.sparsity:
            text += f"; from sparsity {callback.sparsity:g} to {self.sparsity:g} in one shot"
        found = dict(leaf_layers(pruned))
        kernels, reasons = find_kernels({path: found[path] for path in chosen})
        notes = {path: Note(False, reason) for path, reason in reasons.items()}
        # After a complete schedule this changes nothing: the zeros are there already.
        zeros = prune_kernels(kernels, self.sparsity, scope=self.scope)
        for path, (num_zeros, size) in zeros.items():
            notes[path] = Note(num_zeros > 0, f"{num_zeros:,} of {size:,} kernel weights are zero")
        return Rewrite(pruned, notes, text)
