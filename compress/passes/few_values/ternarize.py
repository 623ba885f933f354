"""Ternary weights: two bits where there were thirty-two, and most of them zeros.

Sources, formulas and differences: `compress.layers.ternary`. A `.keras` file holds the three values
as float32: what is saved shows once it is gzipped, or in a packed file (`huffman`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from compress.base import Context, Pass, Rewrite

if TYPE_CHECKING:
    import keras

    from compress.layers.parametrized import Parametrization


class Ternarize(Pass):
    """Trains kernels of three values; the first and the last layer with a kernel are spared.

    Attributes:
        method: `twn` (one scale, computed) or `ttq` (two scales, learnt).
        threshold: Factor of the mean magnitude (`twn`, 0.7) or of the largest (`ttq`, 0.05), below
            which a weight is 0; `None` is the paper's.
        ends: Whether to work on the first and the last layer too.
    """

    moves_statistics: ClassVar[bool] = True

    kind: Literal["ternarize"] = "ternarize"
    method: Literal["twn", "ttq"] = "ttq"
    threshold: float | None = Field(default=None, gt=0)
    ends: bool = False
    epochs: int = Field(default=10, ge=0)

    def rewrite(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> Rewrite:
        """Ternarizes a copy of `model`; see `Pass.rewrite`."""
        from compress.passes.few_values import training

        return training.rewrite(
            model, chosen, context, self._values, ends=self.ends, epochs=self.epochs
        )

    def prepare(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> keras.Model:
        """Returns the model with kernels of three values that learn; see `Pass.prepare`."""
        from compress.passes.few_values import training

        return training.with_few_values(model, chosen, self._values, ends=self.ends)[0]

    def _values(self, layer: keras.layers.Layer) -> Parametrization:
        from compress.layers.ternary import Ternary

        return Ternary(self.method, threshold=self.threshold)
