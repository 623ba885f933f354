"""Low-rank factorisation of dense layers and convolutions.

Sources: Sainath et al. 2013, ICASSP, "Low-rank matrix factorization for deep neural network
training"; Denton et al. 2014, arXiv:1404.0736, section 3. W (n, m) becomes U_r S_r V_r^T, which
holds r (n + m) weights; no matrix of rank r is closer to W (Eckart & Young 1936). For convolutions
see `convolutions.py`, for ranks by VBMF `vbmf.py` (Kim et al. 2016, arXiv:1511.06530).
Differs: both factors get the square root of S_r, so that fine-tuning moves them at the same pace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from compress.base import Context, Ladder, Note, Pass, Rewrite, by_layer
from zoo.common.settings import FractionAboveZero

if TYPE_CHECKING:
    import keras
    import numpy as np


class LowRank(Pass):
    """Replaces a layer by smaller ones; a dense one by `NAME_u`, then `NAME`, which keeps the bias.

    Kernels within a layer, of recurrent cells, attention, what a wrapper wraps, stay in it as two
    factors each, see `parts.py`.

    Exactly one of `energy`, `rank`, `ratio` and `vbmf` is given. A layer stays where its factors
    would hold no fewer weights, and where it is a factor already, so a second application changes
    nothing.

    Attributes:
        energy: Fraction of the squared singular values that the rank keeps at least, in (0, 1].
        rank: Number of singular values to keep in each layer.
        ratio: Fraction of a kernel's weights that its factors may hold, in (0, 1].
        vbmf: Whether the rank is what variational Bayesian matrix factorisation tells from noise.
        convolutions: What becomes of convolutions: `keep`, or a form of `convolutions.py`,
            `tucker`, `cp` or `spatial`.
    """

    moves_statistics: ClassVar[bool] = True

    kind: Literal["low_rank"] = "low_rank"
    energy: FractionAboveZero | None = None
    rank: int | None = Field(default=None, ge=1)
    ratio: FractionAboveZero | None = None
    vbmf: bool = False
    convolutions: Literal["keep", "tucker", "cp", "spatial"] = "keep"

    @model_validator(mode="after")
    def _has_one_criterion(self) -> Self:
        if [self.energy, self.rank, self.ratio, self.vbmf or None].count(None) != 3:
            raise ValueError("exactly one of energy, rank, ratio, vbmf")
        return self

    def ladder(self) -> Ladder | None:
        """See `Pass.ladder`; a rank is no strength, as layers differ in size."""
        if self.energy is not None:
            return Ladder("energy", (0.99, 0.97, 0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4))
        if self.ratio is not None:
            return Ladder("ratio", (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1))
        return None

    def rewrite(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> Rewrite:
        """Factorises layers of a copy of `model`; see `Pass.rewrite`."""
        from compress import graph
        from compress.graph.kernels import find_kernels
        from compress.passes.low_rank import factors, parts

        layers = dict(graph.leaf_layers(model))
        kernels, reasons = find_kernels(layers, chosen)
        told = {path: Note(False, text) for path, text in reasons.items()}
        replacements = {}
        for path, layer in chosen.items():
            own = {key: kernel for key, kernel in kernels.items() if kernel.path == path}
            if not own:
                continue
            notes, found = factors.factorise(
                path, layer, own, layers, self.convolutions, self._rank
            )
            told |= notes
            if found is not None:
                replacements[path] = found
        new_model = graph.replace_layers(model, replacements)
        text = context.fine_tune(new_model, epochs=self.epochs)
        if any(parts.is_recurrent(found) for found in replacements.values()):
            text += f"; {parts.IN_FILES}"
        return Rewrite(new_model, by_layer(told, chosen), text)

    def _rank(
        self, matrix: np.ndarray, singular: np.ndarray, of_ratio: Callable[[float], int]
    ) -> int:
        """The rank of a matrix; see `factors.ToRank`."""
        import numpy as np

        from compress.passes.low_rank import vbmf

        if self.vbmf:
            return vbmf.rank(matrix)
        if self.energy is not None:
            kept = np.cumsum(np.square(singular, dtype=np.float64))
            return min(int(np.searchsorted(kept, self.energy * kept[-1])) + 1, singular.size)
        if self.ratio is not None:
            return max(of_ratio(self.ratio), 1)
        return min(self.rank or 1, singular.size)
