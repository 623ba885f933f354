"""Weight sharing: each kernel's weights take few values, found by k-means, which then learn.

Sources: Han, Mao & Dally 2016, Deep compression, arXiv:1510.00149, section 3; Gong et al. 2014,
arXiv:1412.6115. A weight is stored as the number of its value, `bits` wide, and the values as a
code book. In memory and in a `.keras` file the weights stay float32: sharing shrinks a file once it
is gzipped, or written by `huffman`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from compress.base import Context, Ladder, Note, Pass, Rewrite, by_layer

if TYPE_CHECKING:
    import keras
    import numpy as np

    from compress.passes.recovery.problem import Problem


class ShareWeights(Pass):
    """Gives the weights of each kernel at most `2**bits` values; zeros stay zeros, beside them.

    In fine-tuning the values learn by the sum of the gradients of the weights that share them;
    which weight has which value stays. A kernel that has as few values already is left alone.

    Attributes:
        bits: Bits of a weight's number, 1 to 8.
        start: Where k-means starts: `linear`, which keeps the rare large weights (the paper's
            best), `density`, `random` or `kmeans++`.
        per_channel: Whether each output channel has values of its own, not each kernel.
        seed: Seed of a random start.
    """

    moves_statistics: ClassVar[bool] = True

    kind: Literal["share_weights"] = "share_weights"
    bits: int = Field(default=5, ge=1, le=8)
    start: Literal["linear", "density", "random", "kmeans++"] = "linear"
    per_channel: bool = False
    seed: int = Field(default=0, ge=0, lt=2**31)

    def ladder(self) -> Ladder:
        """See `Pass.ladder`."""
        return Ladder("bits", (8, 7, 6, 5, 4, 3, 2, 1))

    def rewrite(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> Rewrite:
        """Shares the weights of a copy of `model`; see `Pass.rewrite`."""
        from keras.ops import convert_to_numpy

        shared, kernels, errors, reasons = self._shared(model, chosen)
        notes = {path: Note(False, reason) for path, reason in reasons.items()}
        text = context.fine_tune(shared, epochs=self.epochs)
        for path, kernel in kernels.items():
            largest, changed = errors[path]
            notes[path] = Note(bool(changed), _told(convert_to_numpy(kernel.variable), largest))
        return Rewrite(shared, by_layer(notes, chosen), text)

    def settle(
        self, path: str, layer: Any, kernel: np.ndarray, problem: Problem
    ) -> np.ndarray | None:
        """Gives each weight its value anew, then the values; see `Pass.settle`."""
        from compress.passes.recovery.values import refitted

        if not (kernel != problem.before).any():
            return None
        return refitted(problem, kernel, per_channel=self.per_channel)

    def prepare(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> keras.Model:
        """Returns the model with values that are shared and learn; see `Pass.prepare`."""
        from compress.graph.holding import hold

        return hold(self._shared(model, chosen)[0])

    def _shared(self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer]) -> Any:
        """A copy with shared weights, its kernels, how they moved, and why others did not."""
        from keras.ops import convert_to_numpy

        from compress.graph import copy_model, leaf_layers
        from compress.graph.kernels import find_kernels

        shared = copy_model(model)
        kernels, reasons = find_kernels(dict(leaf_layers(shared)), chosen, depthwise=True)
        errors = {}
        for path, kernel in kernels.items():
            old = convert_to_numpy(kernel.variable)
            new = self._share(old)
            errors[path] = float(abs(new - old).max()), (new != old).any()
            kernel.variable.assign(new)
        return shared, kernels, errors, reasons

    def _share(self, kernel: np.ndarray) -> np.ndarray:
        """The kernel with each weight at its value; per channel, the last axis counts."""
        import numpy as np

        groups = np.moveaxis(kernel, -1, 0) if self.per_channel else kernel[None]
        shared = np.stack([self._share_group(group) for group in groups])
        return np.moveaxis(shared, 0, -1) if self.per_channel else shared[0]

    def _share_group(self, weights: np.ndarray) -> np.ndarray:
        from compress.passes.share_weights.clustering import cluster, nearest_of

        kept = weights != 0
        if not kept.any():
            return weights
        values = cluster(weights[kept], 2**self.bits, start=self.start, seed=self.seed)
        shared = weights.copy()
        shared[kept] = nearest_of(weights[kept], values)
        return shared


def _told(kernel: np.ndarray, largest: float) -> str:
    import numpy as np

    kept = kernel[kernel != 0]
    zeros = f" beside {kernel.size - kept.size:,} zeros" if kept.size < kernel.size else ""
    return (
        f"{np.unique(kept).size:,} values for {kept.size:,} weights{zeros}, "
        f"moved by at most {largest:.2g}"
    )
