"""Trees: the class of a text whose parts are known, from the words up.

Sources: Socher et al. 2011, ICML 28; Tai, Socher & Manning 2015, arXiv:1503.00075. The class is
that of the whole tree; a bag of its words is measured beside it (`zoo.tasks.sequences.worded`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from zoo.common.tensors import TOKENS
from zoo.tasks.sequences.worded import Worded

if TYPE_CHECKING:
    from zoo.data.dataset import DataSet


class Tree(Worded):
    """The task of a network of trees (`zoo.models.tree`)."""

    reads: ClassVar[Mapping[str, str]] = {TOKENS: "tokens", "joins": "heights"}

    kind: Literal["tree"] = "tree"  # type: ignore[assignment]

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`: as many levels as the highest tree has."""
        splits = (data.train, data.validation, data.test)
        return super().sizes(data) | {"levels": max(int(one["joins"].max()) for one in splits)}
