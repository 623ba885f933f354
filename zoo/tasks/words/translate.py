"""Translation: a text for a text, one token after another, and what was looked at for each.

Sources: Sutskever, Vinyals & Le 2014, arXiv:1409.3215; Bahdanau, Cho & Bengio 2015,
arXiv:1409.0473; Luong, Pham & Manning 2015, arXiv:1508.04025. Letters to phones with the same nets:
Yao & Zweig 2015, arXiv:1506.00196; Toshniwal & Livescu 2016, arXiv:1610.06540.

It is captioning (`zoo.tasks.words.caption`) of a text in the place of a picture: networks, steps,
beam and what is deployed are its own. What counts is the label error rate of `zoo.metrics.edits`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from zoo.common.columns import Column
from zoo.common.sentences import MARKS
from zoo.common.tensors import SOURCE, TOKENS
from zoo.tasks.task import Metric
from zoo.tasks.words import telling
from zoo.tasks.words.caption import Caption

if TYPE_CHECKING:
    from zoo.data.dataset import DataSet
    from zoo.tasks.words.translations import Translations


class Translate(Caption):
    """The task of a translator, of any texts."""

    headline: ClassVar[Metric] = Metric("label_error", higher=False, fraction=True)
    read: ClassVar[str] = SOURCE
    cuts: ClassVar[tuple[str, ...]] = (SOURCE, TOKENS)

    kind: Literal["translate"] = "translate"  # type: ignore[assignment]

    def check(self, data: DataSet) -> None:
        """See `Task.check`."""
        source, tokens = data.columns.get(SOURCE), data.columns.get(TOKENS)
        kinds = [column.kind if column else "" for column in (source, tokens)]
        if kinds != ["tokens"] * 2 or tokens is None or tokens.names[: len(MARKS)] != MARKS:
            has = ", ".join(f"{key} ({column.kind})" for key, column in data.columns.items())
            raise ValueError(
                f"task.kind: got translate, which learns pairs of texts, `source` and `tokens`; "
                f"{data.name} has {has}. Take another data set, e.g. dates or pairs:PATH."
            )
        telling.check_length(data, SOURCE, TOKENS)

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`: the longest text, and both vocabularies."""
        found = super().sizes(data)
        return {**found, "source_tokens": len(data.columns[SOURCE].names)}

    def meter(self, columns: Mapping[str, Column]) -> Translations:  # type: ignore[override]
        """See `Task.meter`."""
        from zoo.tasks.words.translations import Translations

        return Translations(columns)
