"""Magnitude pruning: at once, step by step during fine-tuning, or in rounds.

Zeros shrink a file only once it is gzipped, and make neither TensorFlow nor LiteRT faster. N:M
zeros are what sparse tensor cores take.

Sources: Han et al. 2015, arXiv:1506.02626: weights of small magnitude become zero, the others are
retrained. Zhu & Gupta 2017, arXiv:1710.01878, eq. 1: the sparsity grows by a polynomial, see
`schedule.py`. Structures: `masks.py`. Rounds and rewinding, the lottery ticket: `rounds.py`.
Differs: Han et al. set a threshold for each layer from the standard deviation of its weights; here
the number of zeros is exact, for each layer or, with `scope="model"`, for all kernels together.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from compress.base import Context, Ladder, Note, Pass, Rewrite, by_layer
from compress.passes.prune.schedule import Schedule
from zoo.common.settings import FractionBelowOne

if TYPE_CHECKING:
    import keras
    import numpy as np

    from compress.passes.prune.callback import MaskCallback
    from compress.passes.prune.masks import Kernels, Structure
    from compress.passes.recovery.problem import Problem

MOST_STEPS = 4  # of pruning between trainings
_LOG = logging.getLogger("compress")
_Size = Annotated[int, Field(ge=1)]


class Prune(Pass):
    """Sets the kernel weights of smallest magnitude to zero.

    Works on every kernel, see `compress.graph.kernels`: of dense layers, convolutions, recurrent
    cells, attention, embeddings, and layers made of these; of separable convolutions on the
    pointwise ones. Biases and normalisation stay. Without fine-tuning, a second application changes
    nothing.

    Attributes:
        sparsity: Fraction of the weights that become zero, in [0, 1); exact to one weight, or one
            block. `n_of_m` settles it.
        scope: `layer` prunes each kernel to `sparsity`; `model` all kernels together, by magnitude;
            `lamp` likewise, by magnitude relative to the kernel (Lee et al. 2021): use it where the
            layers differ in width.
        schedule: How the sparsity grows during fine-tuning, by a callback. A `fit` that does not
            call it, or that brings earlier weights back, is called again after pruning, in a few
            steps; a warning says so.
        block: (inputs, outputs) of the kernel's matrix that become zero together, by their mean
            magnitude.
        n_of_m: (N, M): of every M consecutive inputs of an output, N are kept, M - N become zero.
            (2, 4) is what sparse tensor cores take. `sparsity` is then 1 - N / M.
        rounds: Times to prune, at once, and to fine-tune for `epochs`. Each keeps the same share of
            what is left.
        rewind: Whether each round sets the weights that are left back before it trains them: True
            to those of the input, which is then trained before the first round too, or to those of
            a `.keras` file. For a lottery ticket these are the initial weights, or an early
            epoch's.
    """

    moves_statistics: ClassVar[bool] = True

    kind: Literal["prune"] = "prune"
    sparsity: FractionBelowOne
    scope: Literal["layer", "model", "lamp"] = "layer"
    schedule: Schedule = Schedule()
    block: tuple[_Size, _Size] = (1, 1)
    n_of_m: tuple[_Size, _Size] | None = None
    rounds: int = Field(default=1, ge=1)
    rewind: bool | str = False

    @model_validator(mode="before")
    @classmethod
    def _fill_sparsity(cls, values: Any) -> Any:
        """N of M says the sparsity; what is wrong with N and M is said by the checks below."""
        match values:
            case {"sparsity": _}:
                return values
            case {"n_of_m": [int(kept), int(size)]}:
                return {**values, "sparsity": 1 - kept / size if 0 < kept < size else 0.0}
        return values

    @field_validator("n_of_m")
    @classmethod
    def _keeps_some(cls, pair: tuple[int, int] | None) -> tuple[int, int] | None:
        if pair is not None and pair[0] >= pair[1]:
            raise ValueError("(N, M), with N < M: N are kept of every M")
        return pair

    @field_validator("rewind")
    @classmethod
    def _names_a_file(cls, value: bool | str) -> bool | str:
        if isinstance(value, str) and not value.endswith(".keras"):
            raise ValueError("True, False or a path that ends in .keras")
        return value

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.schedule.initial > self.sparsity:
            raise ValueError("schedule.initial <= sparsity")
        if self.n_of_m is not None:
            kept, size = self.n_of_m
            if not math.isclose(self.sparsity, 1 - kept / size, abs_tol=1e-6):
                raise ValueError(f"no sparsity, or {1 - kept / size:g}, which n_of_m settles")
            if self.block != (1, 1):
                raise ValueError("block or n_of_m, not both")
            if self.scope != "layer":
                raise ValueError("scope 'layer', because n_of_m is the same in every kernel")
        if (self.rounds > 1 or self.rewind) and self.schedule != Schedule():
            raise ValueError("no schedule, because rounds, or a rewind, prune at once")
        return self

    def sparsities(self) -> list[float]:
        """Returns the sparsity after each round."""
        kept = 1 - self.sparsity
        return [1 - kept ** (turn / self.rounds) for turn in range(1, self.rounds)] + [
            self.sparsity
        ]

    def ladder(self) -> Ladder | None:
        """See `Pass.ladder`."""
        if self.n_of_m is not None:
            return None
        rungs = (0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99)
        return Ladder("sparsity", tuple(x for x in rungs if x >= self.schedule.initial))

    def check(self, model: keras.Model, context: Context) -> None:
        """Asks for the file to go back to; see `Pass.check`."""
        if isinstance(self.rewind, str) and not Path(self.rewind).is_file():
            raise FileNotFoundError(
                f"Prune.rewind: {self.rewind}: not found; expected a .keras file."
            )

    def callback(self) -> keras.callbacks.Callback:
        """Returns a callback that prunes the model in any `fit`, in place.

        Raises:
            ValueError: There are `rounds` or a `rewind`, which take several trainings.
        """
        if self.rounds > 1 or self.rewind:
            raise ValueError("Prune.callback: rounds and rewind take several trainings; use apply.")
        return self._callback()

    def prepare(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> keras.Model:
        """Returns the model pruned at once, with masks that keep the zeros; see `Pass.prepare`.

        Raises:
            ValueError: There are `rounds` or a `rewind`, which take several trainings.
        """
        from compress.graph import copy_model
        from compress.graph.holding import hold
        from compress.passes.prune.masks import find_prunable, prune_kernels

        if self.rounds > 1 or self.rewind:
            raise ValueError(
                "prepare: rounds and rewind of Prune take several trainings; use apply."
            )
        pruned, structure = copy_model(model), self._structure()
        kernels, _ = find_prunable(pruned, chosen, structure)
        prune_kernels(kernels, structure, self.sparsity)
        return hold(pruned)

    def rewrite(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> Rewrite:
        """Prunes a copy of `model`; see `Pass.rewrite`."""
        from compress.graph import copy_model
        from compress.graph.holding import shares
        from compress.passes.prune.masks import find_prunable, prune_kernels
        from compress.passes.prune.rounds import prune_in_rounds

        pruned, structure = copy_model(model), self._structure()
        kernels, _ = find_prunable(pruned, chosen, structure)
        if self.rounds > 1 or self.rewind:
            text = prune_in_rounds(
                pruned,
                kernels,
                context,
                structure=structure,
                sparsities=self.sparsities(),
                rewind=self.rewind,
                epochs=self.epochs,
            )
        elif any(shares(kernel.variable) for kernel in kernels.values()):
            # While values are shared, the weights that a schedule would rank do not move.
            prune_kernels(kernels, structure, self.sparsity)
            text = context.fine_tune(pruned, epochs=self.epochs)
            text += "; pruned in one shot before, because weights share values"
        else:
            text = self._scheduled(pruned, kernels, context)
        kernels, reasons = find_prunable(pruned, chosen, structure)
        notes = {path: Note(False, reason) for path, reason in reasons.items()}
        # After a complete schedule this changes nothing: the zeros are there already.
        for path, (num_zeros, size) in prune_kernels(kernels, structure, self.sparsity).items():
            notes[path] = Note(num_zeros > 0, f"{num_zeros:,} of {size:,} kernel weights are zero")
        return Rewrite(pruned, by_layer(notes, chosen), text)

    def settle(
        self, path: str, layer: Any, kernel: np.ndarray, problem: Problem
    ) -> np.ndarray | None:
        """Chooses as many zeros anew, and fits what is left; see `Pass.settle`."""
        import numpy as np

        from compress.graph.holding import structure
        from compress.layers.shared import Shared
        from compress.passes.recovery.feedback import BLOCK, Zeros, sweep
        from compress.passes.recovery.problem import masked_fit
        from compress.passes.recovery.values import refitted

        kept, there = kernel != 0, problem.before == 0
        if kept.all() or not (kept < ~there).any():
            return None
        if self.block == (1, 1):
            size = self.n_of_m[1] if self.n_of_m else 1
            rule = Zeros(1 - kept.mean(), there, self.n_of_m)
            swept = sweep(problem.aim, problem.squares, rule, block=size * max(1, BLOCK // size))
            kept = swept != 0
        if any(isinstance(part, Shared) for part in structure(kernel)):
            return refitted(problem, np.where(kept, problem.before, 0), per_channel=False)
        return masked_fit(problem, kept)

    def _scheduled(self, pruned: keras.Model, kernels: Kernels, context: Context) -> str:
        """Prunes while `fit` trains; where the callback could not see to that, in between."""
        from compress.passes.prune.rounds import prune_in_steps

        callback = self._callback(strict=False)
        text = context.fine_tune(pruned, epochs=self.epochs, callbacks=[callback])
        reached = callback.sparsity
        if context.fit is None or self.epochs == 0:
            if reached < self.sparsity:
                text += f"; from sparsity {reached:g} to {self.sparsity:g} in one shot"
            return text
        if reached >= self.sparsity and not callback.brought_back and self._is_pruned(kernels):
            return text
        turns = 1 if self.schedule.shape == "one_shot" else min(self.epochs, MOST_STEPS)
        told = prune_in_steps(
            pruned,
            kernels,
            context,
            structure=self._structure(),
            sparsities=self._steps(0.0 if reached >= self.sparsity else reached, turns),
            epochs=self.epochs,
        )
        why = "its zeros were undone, by weights of an earlier step as it seems"
        if reached < self.sparsity:
            why = f"its callback was driven to sparsity {reached:g} of {self.sparsity:g}"
        _LOG.warning(
            "prune: `fit` trained for %d epochs, but %s; pruned between %d further calls of `fit` "
            "instead, held by the layers. To prune within one training, call the callbacks that "
            "`fit` is given: keras.callbacks.CallbackList(callbacks, model=model, epochs=epochs, "
            "steps=steps), and bring back no weights of before `Prune.schedule.end`.",
            self.epochs,
            why,
            turns,
        )
        return f"{text}, but {why}; {told}"

    def _is_pruned(self, kernels: Kernels) -> bool:
        """Whether the zeros are there already."""
        from compress.passes.prune.masks import kernel_masks

        masks = kernel_masks(kernels, self._structure(), self.sparsity)
        return not any((kernels[p].variable.numpy() * ~mask).any() for p, mask in masks.items())

    def _steps(self, start: float, count: int) -> list[float]:
        """Sparsities from one to the last, by the law of the schedule."""
        power = self.schedule.power
        left = [(1 - turn / count) ** power for turn in range(1, count + 1)]
        return [self.sparsity + (start - self.sparsity) * share for share in left]

    def _structure(self) -> Structure:
        from compress.passes.prune.masks import Structure

        return Structure(self.scope, self.block, self.n_of_m)

    def _callback(self, *, strict: bool = True) -> MaskCallback:
        from compress.passes.prune.callback import MaskCallback

        return MaskCallback(
            self.schedule,
            self._structure(),
            sparsity=self.sparsity,
            left_out=self.left_out,
            strict=strict,
        )
