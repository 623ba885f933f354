"""Entropy coding: the last stage of deep compression, which changes the file and no weight.

Source: Han, Mao & Dally 2016, Deep compression, arXiv:1510.00149, section 4;
`compress.measure.packed` is the file, and says where it differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from compress.base import Context, Note, Pass, Rewrite

if TYPE_CHECKING:
    import keras


class Huffman(Pass):
    """Stores the result as one packed file: sparse, shared, entropy-coded. `layers` do not matter.

    The model stays as it is. The report counts the packed file, after it was read back and found
    equal bit for bit; `zoo compress` writes it beside `model.keras`.
    """

    kind: Literal["huffman"] = "huffman"

    def check(self, model: keras.Model, context: Context) -> None:
        """Asks for the coder, and whether the graph can be read back; see `Pass.check`."""
        import constriction  # noqa: F401

        from compress.measure.reading import graph_config

        graph_config(model)

    def rewrite(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> Rewrite:
        """Notes what each layer takes in the file; see `Pass.rewrite`."""
        from compress.graph import copy_model
        from compress.measure.packed import weight_bytes

        notes = {}
        for path, layer in chosen.items():
            size = sum(weight.value.shape.num_elements() * 4 for weight in layer.weights)
            packed = sum(weight_bytes(weight) for weight in layer.weights)
            text = f"{packed:,} bytes for {size:,}" if size else "has no weights"
            notes[path] = Note(bool(size), text)
        return Rewrite(copy_model(model), notes, "not fine-tuned: no weight changes")
