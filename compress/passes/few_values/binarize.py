"""Binary weights, and binary activations: one bit where there were thirty-two.

Sources, formulas and differences: `compress.layers.binary`. A `.keras` file holds the signs as
float32, and no stock runtime multiplies by bits: what is saved shows in a packed file (`huffman`),
one bit a weight.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from compress.base import Context, Pass, Rewrite

if TYPE_CHECKING:
    import keras

    from compress.layers.parametrized import Parametrization


class Binarize(Pass):
    """Trains kernels of signs; the first and the last layer with a kernel are spared.

    Without fine-tuning the accuracy is lost. In `bnn` and `xnor` a ReLU that only binary layers
    read, perhaps through pooling, flattening or dropout, becomes the sign.

    Attributes:
        method: `binary_connect` (weights), `bnn` (weights and activations) or `xnor` (likewise,
            with a scale for each filter).
        ends: Whether to work on the first and the last layer too.
    """

    moves_statistics: ClassVar[bool] = True

    kind: Literal["binarize"] = "binarize"
    method: Literal["binary_connect", "bnn", "xnor"] = "xnor"
    ends: bool = False
    epochs: int = Field(default=10, ge=0)

    def rewrite(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> Rewrite:
        """Binarizes a copy of `model`; see `Pass.rewrite`."""
        from compress.passes.few_values import training

        return training.rewrite(
            model, chosen, context, self._values, epochs=self.epochs, **self._reach
        )

    def prepare(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> keras.Model:
        """Returns the model with kernels of signs that learn; see `Pass.prepare`."""
        from compress.passes.few_values import training

        return training.with_few_values(model, chosen, self._values, **self._reach)[0]

    @property
    def _reach(self) -> dict[str, bool]:
        return {"ends": self.ends, "activations": self.method != "binary_connect"}

    def _values(self, layer: keras.layers.Layer) -> Parametrization:
        from compress.graph.channels import output_axis
        from compress.layers.binary import Binary

        return Binary(self.method, axis=output_axis(layer))
