"""Structured pruning: whole channels go, and the model is really smaller and faster.

Sources: Li et al. 2017, arXiv:1608.08710 (l1); Liu et al. 2017, Network slimming, arXiv:1708.06519
(bn); Molchanov et al. 2019, arXiv:1906.10771, eq. 8 (taylor); Fang et al. 2023, DepGraph,
arXiv:2301.12900 (channels that hang together, see `compress.graph.channels`). The result has the
layers of the input, with fewer filters; it needs no runtime that knows of pruning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from compress.base import Context, Ladder, Note, Pass, Rewrite
from zoo.common.settings import FractionAboveZero, FractionBelowOne

if TYPE_CHECKING:
    import keras
    import numpy as np

    from compress.graph.channels import Channels
    from compress.passes.prune_channels.ranking import Ranking

TRIES = 12  # halvings of the interval in which the ratio for a target lies


class PruneChannels(Pass):
    """Removes channels, in all the layers that they pass through.

    Channels are filters, units of recurrent layers, and heads of attention, which nothing outside
    sees; an attention and a normalisation of each example keep the width that they read.

    Exactly one of `ratio`, `macs` and `seconds` is given. The score of a class of channels is the
    mean over the filters that make it, each divided by the mean of its layer.

    Attributes:
        ratio: Fraction of the channels to remove, in [0, 1).
        macs: Fraction of the multiply-accumulates that may stay, in (0, 1].
        seconds: Fraction of the latency that may stay, in (0, 1]; the context measures it.
        criterion: `l1` or `l2` norm of a filter; `bn`, the scale of the normalisation that follows;
            `taylor`, the square of gradient times weight, where the context has gradients; or
            `random`.
        scope: `layer` removes the same share of every group of layers that hang together; `model`
            ranks all channels.
        tied: Whether channels that several layers make, as residual sums do, may go; without them
            each block keeps its width and becomes narrow within (Li et al. 2017, section 3.3).
        least: Channels that a group keeps at least; of the heads of an attention one stays.
        multiple: What stays of a group is a multiple of this, or all of it: runtimes work on
            channels by 8 or 16, and 9 take as long as 16.
        steps: Number of rounds, each with `epochs` of fine-tuning.
        seed: Seed of `random`.
    """

    moves_statistics: ClassVar[bool] = True

    kind: Literal["prune_channels"] = "prune_channels"
    ratio: FractionBelowOne | None = None
    macs: FractionAboveZero | None = None
    seconds: FractionAboveZero | None = None
    criterion: Literal["l1", "l2", "bn", "taylor", "random"] = "l2"
    scope: Literal["layer", "model"] = "layer"
    tied: bool = True
    least: int = Field(default=4, ge=1)
    multiple: int = Field(default=1, ge=1)
    steps: int = Field(default=1, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**31)

    @model_validator(mode="after")
    def _has_one_aim(self) -> Self:
        if [self.ratio, self.macs, self.seconds].count(None) != 2:
            raise ValueError("exactly one of ratio, macs, seconds")
        return self

    def ladder(self) -> Ladder:
        """See `Pass.ladder`."""
        rungs = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
        if self.ratio is not None:
            return Ladder("ratio", rungs)
        return Ladder("seconds" if self.macs is None else "macs", rungs[::-1])

    def on_layer(self, path: str) -> Self:
        """See `Pass.alone`; one layer cannot save for a whole model, so it gives its share."""
        share = self.macs or self.seconds
        ratio = self.ratio if share is None else 1 - math.sqrt(share)  # in and out: macs ~ square
        changes = {"ratio": ratio, "macs": None, "seconds": None, "steps": 1}
        return self.changed(layers=(path,), skip=(), epochs=0, **changes)

    def check(self, model: keras.Model, context: Context) -> None:
        """Asks for what the aim and the criterion measure; see `Pass.check`."""
        if self.seconds is not None and context.measure is None:
            raise ValueError("PruneChannels.seconds: got a context that does not measure latency.")
        if self.criterion == "taylor" and context.gradients is None:
            raise ValueError("PruneChannels.criterion: taylor needs a context with gradients.")

    def rewrite(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> Rewrite:
        """Removes channels from a copy of `model`; see `Pass.rewrite`.

        Raises:
            ValueError: The context has not what the aim or the criterion needs.
        """
        from compress.graph import copy_model, leaf_layers
        from compress.graph.channels import Channels, shrink
        from compress.passes.prune_channels.ranking import Ranking

        measure = self._measure(context)
        slim, text, whole = copy_model(model), "", measure(model)
        for step in range(1, self.steps + 1):
            channels = Channels(slim)
            scores = self._scores(slim, channels, context)
            ranking = Ranking(channels, scores, set(chosen), tied=self.tied)
            ratio = self._ratio(slim, channels, ranking, measure, whole, step)
            drop = self._least(ranking, ratio)
            slim = shrink(slim, channels, drop)
            text = context.fine_tune(slim, epochs=self.epochs)
        if self.steps > 1:
            text += f", {self.steps} times"
        new, notes = dict(leaf_layers(slim)), {}
        for path, old in chosen.items():
            notes[path] = _note(old, new[path])
        return Rewrite(slim, notes, text)

    def _measure(self, context: Context) -> Callable[[keras.Model], float]:
        """What the aim is a share of; nothing for a ratio."""
        from compress.measure.account import layer_table, total

        if self.macs is not None:
            return lambda model: total(layer_table(model)).macs
        if self.seconds is None:
            return lambda model: 1.0

        def seconds(model: keras.Model) -> float:
            found = context.seconds(model)
            if found is None:
                raise ValueError("PruneChannels.seconds: no runtime can run the model.")
            return found

        return seconds

    def _least(self, ranking: Ranking, ratio: float) -> set[int]:
        return ranking.least(ratio, scope=self.scope, keep=self.least, multiple=self.multiple)

    def _scores(
        self, model: keras.Model, channels: Channels, context: Context
    ) -> dict[str, np.ndarray]:
        import numpy as np

        from compress.passes.prune_channels import ranking

        if self.criterion == "bn":
            return ranking.scales(model, channels)
        if self.criterion == "taylor":
            gradients = context.gradients(model) if context.gradients else ()
            return ranking.taylor(model, channels.makers, gradients)
        if self.criterion == "random":
            random = np.random.RandomState(self.seed)
            return {p: random.uniform(size=len(channels.ends[p][1])) for p in channels.makers}
        return ranking.norms(model, channels.makers, order=int(self.criterion[1]))

    def _ratio(
        self,
        model: keras.Model,
        channels: Channels,
        ranking: Ranking,
        measure: Callable[[keras.Model], float],
        whole: float,
        step: int,
    ) -> float:
        """The share of the channels of `model` to remove in a step.

        For an aim, the smallest one that reaches it, by halving; the largest where none does.
        """
        from compress.graph.channels import shrink

        now, before = step / self.steps, (step - 1) / self.steps
        if self.ratio is not None:
            return 1 - (1 - now * self.ratio) / (1 - before * self.ratio)
        share = self.macs if self.macs is not None else self.seconds
        aim = whole * (1 - now * (1 - (share or 1.0)))
        low, high = 0.0, 1.0
        for _ in range(TRIES):
            middle = (low + high) / 2
            drop = self._least(ranking, middle)
            reached = measure(shrink(model, channels, drop)) <= aim
            low, high = (low, middle) if reached else (middle, high)
        return high


def _note(old: keras.layers.Layer, new: keras.layers.Layer) -> Note:
    from compress.graph.units import is_attention, is_recurrent, num_units

    if not old.weights:
        return Note(False, "has no weights")
    if old.count_params() == new.count_params():
        return Note(False, "its channels stay: an output, a rule that is missing, or too few")
    if is_attention(old):
        return Note(True, f"{num_units(new)} heads of {num_units(old)}")
    if is_recurrent(old):
        wide, narrow = num_units(old), num_units(new)
        more = "" if narrow < wide else ", and fewer channels into it"
        return Note(True, f"{narrow} units{f' of {wide}' if narrow < wide else ''}{more}")
    wide, narrow = old.weights[-1].shape[-1], new.weights[-1].shape[-1]
    if narrow < wide:
        return Note(True, f"{narrow} channels of {wide}")
    return Note(True, f"{wide} channels, and fewer into it")
