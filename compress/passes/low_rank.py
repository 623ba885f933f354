"""Low-rank factorisation of dense layers by a truncated singular value decomposition.

Sources: Sainath et al. 2013, ICASSP, "Low-rank matrix factorization for deep neural network
training"; Denton et al. 2014, arXiv:1404.0736, section 3. W (n, m) becomes U_r S_r V_r^T, which
holds r (n + m) weights; no matrix of rank r is closer to W (Eckart & Young 1936).
Differs: both factors get the square root of S_r, so that fine-tuning moves them at the same pace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from compress.base import Context, Note, Pass, Rewrite
from compress.settings import FractionAboveZero

if TYPE_CHECKING:
    import keras

    from compress.factors import Svd


class LowRank(Pass):
    """Replaces a dense layer by two: `NAME_u` without bias and activation, then `NAME`.

    Exactly one of `energy`, `rank` and `ratio` is given. A layer stays where its factors would hold
    no fewer weights, and where it is a factor already, so a second application changes nothing.

    Attributes:
        energy: Fraction of the squared singular values that the rank keeps at least, in (0, 1].
        rank: Number of singular values to keep in each layer.
        ratio: Fraction of a kernel's weights that its factors may hold, in (0, 1].
    """

    kind: Literal["low_rank"] = "low_rank"
    energy: FractionAboveZero | None = None
    rank: int | None = Field(default=None, ge=1)
    ratio: FractionAboveZero | None = None

    @model_validator(mode="after")
    def _has_one_criterion(self) -> Self:
        if [self.energy, self.rank, self.ratio].count(None) != 2:
            raise ValueError("exactly one of energy, rank, ratio")
        return self

    def rewrite(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> Rewrite:
        """Factorises dense layers of a copy of `model`; see `Pass.rewrite`."""
        from compress import factors, graph

        paths = {path for path, _ in graph.leaf_layers(model)}
        notes, replacements = {}, {}
        for path, layer in chosen.items():
            if reason := factors.why_not(path, layer, paths):
                notes[path] = Note(False, reason)
                continue
            svd = factors.decompose(layer)
            rank = self._rank(svd)
            size, old_size = svd.num_factor_weights(rank), svd.num_weights
            if size >= old_size:
                text = (
                    f"its factors of rank {rank} would hold {size:,} weights, it holds {old_size:,}"
                )
                notes[path] = Note(False, text)
                continue
            error = svd.relative_error(rank)
            text = f"rank {rank}: {size:,} weights for {old_size:,}, relative error {error:.3f}"
            notes[path] = Note(True, text, into=(path + factors.SUFFIX, path))
            replacements[path] = factors.split(layer, svd, rank)
        new_model = graph.replace_layers(model, replacements)
        return Rewrite(new_model, notes, context.fine_tune(new_model, epochs=self.epochs))

    def _rank(self, svd: Svd) -> int:
        if self.energy is not None:
            return svd.rank_of_energy(self.energy)
        if self.ratio is not None:
            return svd.rank_of_ratio(self.ratio)
        return min(self.rank or 1, svd.s.size)
