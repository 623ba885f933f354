"""Rate-distortion: kernels learn which integers they are to be, when each bit of them costs.

Source: Oktay, Balle, Singh & Shrivastava 2020, arXiv:1906.06624, eq. 1: the loss, plus a multiplier
times the bits of the integers that the kernels are decoded from. `compress.layers.latent` has the
bits, and says where it differs; `compress.measure.coder` codes them. In memory, and in a `.keras`
file, the weights stay float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from compress.base import Context, Ladder, Note, Pass, Rewrite, by_layer
from zoo.common.settings import FractionBelowOne

if TYPE_CHECKING:
    import keras


class Entropy(Pass):
    """Trains the kernels to be few, small integers, each times a step that learns, by their bits.

    What is not worth its bits becomes 0; zeros that are there stay. Of a budget with `max_bytes`,
    and a pipeline with `huffman`, the cost of a bit is found in the training. Without fine-tuning
    the kernels are rounded as they are.

    Attributes:
        rate: Loss that a bit costs, in the unit of the loss, e.g. nats; with a `max_bytes` to be
            met, what it costs at first.
        first_step: First step, in root mean squares of a kernel. Without fine-tuning take 0.1.
        ramp: Fraction of the training in which the cost of a bit grows from 0.
        vector_bits: Width of the biases and of the vectors of normalisations, which are rounded at
            the end; `None` leaves them as they are.
    """

    kind: Literal["entropy"] = "entropy"
    rate: float = Field(default=5e-6, ge=0)
    first_step: float = Field(default=1.0, gt=0)
    ramp: FractionBelowOne = 0.3
    vector_bits: int | None = Field(default=8, ge=2, le=16)

    def ladder(self) -> Ladder:
        """See `Pass.ladder`."""
        return Ladder("rate", (1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4))

    def rewrite(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> Rewrite:
        """Trains a copy of `model`, and rounds its kernels; see `Pass.rewrite`."""
        from compress.passes.entropy import training
        from compress.passes.entropy.multiplier import Multiplier

        learning, reasons = self._learning(model, chosen)
        notes = {path: Note(False, reason) for path, reason in reasons.items()}
        limits = self.vector_bits, context.max_bytes
        target = training.target(learning, chosen, *limits)
        multiplier = Multiplier(self.rate, self.ramp, target)
        text, rate = training.train(learning, multiplier, context, epochs=self.epochs)
        small, told = training.settled(learning, model, chosen, *limits, target)
        notes |= {path: Note(True, line) for path, line in told.items()}
        notes = by_layer(notes, chosen)
        return Rewrite(small, notes, f"{text}, a bit at {rate:.3g}" if rate else text)

    def prepare(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> keras.Model:
        """Returns the model with rounded kernels, whose bits cost from the first step on.

        See `Pass.prepare`.
        """
        learning = self._learning(model, chosen)[0]
        from compress.passes.entropy.multiplier import coded

        for one in coded(learning).values():
            one.latent.rate.assign(self.rate)
        return learning

    def _learning(self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer]) -> Any:
        """A model of kernels that are rounded, and why others are not."""
        from compress.passes.entropy.training import learning

        return learning(model, chosen, self.first_step)
