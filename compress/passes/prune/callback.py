"""Pruning while a model is trained: masks grow by the schedule, and what they mask stays zero.

A mask is kept by a constraint on the kernel: Keras optimizers apply it after each update, within
the compiled step. Where that does not happen, because the step was compiled before or the weights
are not moved by a Keras optimizer, the callback sets the zeros itself after each batch.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras

from compress.graph import leaf_layers
from compress.graph.kernels import Kernel
from compress.layers.masked import UNDONE, MaskConstraint, outside
from compress.passes.prune.masks import Structure, find_prunable, kernel_masks, set_zeros
from compress.passes.prune.schedule import Schedule

LOG = logging.getLogger("compress")
_SHORT = 0.01  # of the sparsity that was asked for


class MaskCallback(keras.callbacks.Callback):
    """Prunes the model that it sees while that model is trained.

    The layers are found by path when training begins, so the model may be a copy of the one to
    prune, on one device or under a `tf.distribute` strategy. A renewal ranks a masked weight by its
    last update. With `steps_per_execution` above 1, masks are renewed between executions only, and
    a masked weight seldom has such an update.

    Training that ends before the schedule does ends at a lower sparsity, and weights of an earlier
    step, as `EarlyStopping` and `ModelCheckpoint` bring them back, are as sparse as that step was.
    A warning says either when training ends; of what a callback behind this one brings back it can
    say only that it may, so this one is to be the last. Of an interrupted training the kernels have
    their own constraints back when this callback is dropped, or begins anew.

    Args:
        schedule: Says when the masks are renewed, and how sparse they are then.
        structure: Structure of the zeros.
        sparsity: Fraction of the weights that are zero in the end, in [0, 1).
        left_out: Returns the paths, of those it is given, that are not to be pruned, with reasons.
        strict: Whether a training of unknown length is an error; else it is let be.

    Attributes:
        sparsity: Sparsity of the masks so far.
        brought_back: Whether something brought weights back where a mask was, found when training
            ends: weights of an earlier step, as a rule.
    """

    def __init__(
        self,
        schedule: Schedule,
        structure: Structure,
        *,
        sparsity: float,
        left_out: Callable[[Iterable[str]], Mapping[str, str]],
        strict: bool = True,
    ) -> None:
        super().__init__()
        self.sparsity, self.brought_back = 0.0, False
        self._strict = strict
        self._schedule, self._structure, self._final = schedule, structure, sparsity
        self._left_out = left_out
        self._kernels: dict[str, Kernel] = {}
        self._constraints: dict[str, MaskConstraint] = {}
        # Keras calls nothing when a training is interrupted.
        weakref.finalize(self, _restore, self._constraints).atexit = False
        self._steps, self._epoch = 0, 0
        self._turn: int | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the kernels and starts the schedule."""
        params = self.params or {}
        if not (params.get("steps") and params.get("epochs")):
            if not self._strict:
                return
            raise ValueError(
                f"Prune.callback: got params {params}; expected numbers of epochs and of steps. "
                "Give `fit` data of known length."
            )
        self._steps, self._epoch, self._turn = params["steps"], 0, None
        _restore(self._constraints)
        paths = [path for path, _ in leaf_layers(self.model)]
        left_out = self._left_out(paths)
        chosen = [path for path in paths if path not in left_out]
        self._kernels, _ = find_prunable(self.model, chosen, self._structure)
        for path, kernel in self._kernels.items():
            held = MaskConstraint(kernel.variable)
            self._constraints[path] = kernel.variable.constraint = held
        self._advance(0)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Notes the epoch, to count steps from it."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Renews the masks when the schedule says so, and sees to it that they hold."""
        self._advance(self._epoch * self._steps + batch + 1)

    def on_train_end(self, logs: Any = None) -> None:
        """Gives the kernels back their own constraints, and lets go of the model's variables."""
        for path, held in self._constraints.items():
            kernel = self._kernels[path].variable
            self.brought_back |= outside(kernel, held.mask) > UNDONE
            # Again, for averages that an optimizer has put in, and for 0.0 in place of -0.0.
            set_zeros(kernel, held.mask)
            held.restore()
        if self._constraints and self._strict:  # else who gave the callback looks for itself
            self._warn_if_short()
        self._kernels = {}
        self._constraints.clear()

    def saved_state(self) -> dict[str, Any]:
        """Returns what a training that is resumed must know."""
        masks = {f"mask/{path}": held.mask.numpy() for path, held in self._constraints.items()}
        turn = -1 if self._turn is None else self._turn
        return {"turn": turn, "epoch": self._epoch, "sparsity": self.sparsity, **masks}

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `saved_state`, after `on_train_begin`."""
        self._turn = None if state["turn"] < 0 else int(state["turn"])
        self._epoch, self.sparsity = int(state["epoch"]), float(state["sparsity"])
        for path, held in self._constraints.items():
            held.mask.assign(state[f"mask/{path}"])

    def _warn_if_short(self) -> None:
        """Logs what training ended with, where that is not what was asked, or may not last."""
        epochs = self.params["epochs"]
        if self.sparsity < self._final - _SHORT:
            what = f"training ended at sparsity {self.sparsity:.3g} of {self._final:g}"
        elif self.brought_back:
            what = "weights of an earlier step were brought back, and their zeros were set again"
        elif self._epoch + 1 < epochs:
            what = "training ended early; a callback behind this one may bring older weights back"
        else:
            return
        whole = -(-self._schedule.last_turn(self._steps * epochs) // self._steps)
        LOG.warning(
            "prune: %s. The zeros are whole after %d of %d epochs: give EarlyStopping "
            "`start_from_epoch=%d`, take back no weights of before, and put this callback last; or "
            "set `schedule.end` lower, or prune by compress.apply.",
            what,
            whole,
            epochs,
            whole,
        )

    def _advance(self, step: int) -> None:
        if not self._steps:  # of unknown length, or begun without a word
            return
        schedule, num_steps = self._schedule, self._steps * self.params["epochs"]
        turn = schedule.turn(step, num_steps)
        if turn is None:
            return
        renewed = turn != self._turn
        if renewed:
            self._turn = turn
            self.sparsity = schedule.sparsity(turn, num_steps, final=self._final)
            masks = kernel_masks(self._kernels, self._structure, self.sparsity)
            for path, mask in masks.items():
                self._constraints[path].mask.assign(mask)
        for path, held in self._constraints.items():
            if renewed or not held.applied:
                set_zeros(self._kernels[path].variable, held.mask)
            if schedule.turn(step + 1, num_steps) != turn:
                # What the next update makes of a masked weight is ranked with the others.
                held.release()


def _restore(constraints: dict[str, MaskConstraint]) -> None:
    for held in constraints.values():
        held.restore()
    constraints.clear()
