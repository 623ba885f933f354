"""3x3 convolutions by Winograd's minimal filtering, and pruning in its domain.

Sources: Lavin & Gray 2016, arXiv:1509.09308, see `compress.layers.winograd`; Liu, Pool, Han & Dally
2018, Efficient sparse-Winograd convolutional neural networks, arXiv:1802.06367: the kernel is
pruned after its transform, and trained there. Differs: their ReLU in the transformed domain, for
sparse activations, is left out.

Fewer products, and yet slower: the transforms move more bytes than they save, and libraries have
such forms of their own. Ten convolutions like VGG's, up to 512 maps, at 32x32, one example and one
thread of a busy Xeon with AVX-512, the best of 200 runs in ms (LiteRT 2.3 / ONNX Runtime 1.31):

    direct         8.3 /  5.9    file 30.6 MB
    F(2x2, 3x3)    9.2 / 16.1         55.4 MB    pruned to 80 % zeros 10.3 / 14.7: none is skipped
    F(4x4, 3x3)   19.5 / 17.5        127.3 MB

The report tells the milliseconds before and after, where a runtime is measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from compress.base import Context, Note, Pass, Rewrite
from zoo.common.settings import FractionBelowOne

if TYPE_CHECKING:
    import keras


class Winograd(Pass):
    """Replaces plain 3x3 convolutions at stride 1 by `compress.layers.WinogradConv2D`.

    Without pruning the answers stay, up to rounding. The kernels grow, 16/9 or 4 times.
    A penalty on a kernel is one on the transformed kernel then, which is what is trained.

    Attributes:
        tile: 2 for F(2x2, 3x3), 2.25 times fewer products, or 4 for F(4x4, 3x3), 4 times.
        sparsity: Fraction of the transformed weights of each kernel that become zero, in [0, 1).
            Give `epochs` with it: they are trained as they are stored, and the zeros stay.
    """

    kind: Literal["winograd"] = "winograd"
    tile: Literal[2, 4] = 2
    sparsity: FractionBelowOne = 0.0
    epochs: int = Field(default=0, ge=0)

    def rewrite(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> Rewrite:
        """Replaces convolutions in a copy of `model`; see `Pass.rewrite`."""
        from compress import graph

        shapes: dict[str, list[tuple[int | None, ...]]] = {}
        for call in graph.trace(model).calls:
            shapes.setdefault(call.path, []).extend(x.shape for x in call.inputs)
        notes, replacements = {}, {}
        for path, layer in chosen.items():
            if reason := _why_not(layer, shapes[path]):
                notes[path] = Note(False, reason)
            else:
                replacements[path], text = self._transform(layer, shapes[path][0])
                notes[path] = Note(True, f"F({self.tile}x{self.tile}, 3x3){text}")
        new = graph.replace_layers(model, replacements)
        return Rewrite(new, notes, context.fine_tune(new, epochs=self.epochs))

    def _transform(
        self, layer: keras.layers.Conv2D, shape: tuple[int | None, ...]
    ) -> tuple[keras.layers.Layer, str]:
        """The layer that takes the place of a convolution, and what was pruned."""
        from keras import ops

        from compress.layers.winograd import WinogradConv2D, transformed
        from compress.passes.prune.masks import magnitude_masks

        new = WinogradConv2D(
            layer.filters,
            tile=self.tile,
            padding=layer.padding,
            use_bias=layer.use_bias,
            activation=layer.activation,
            kernel_regularizer=layer.kernel_regularizer,
            bias_regularizer=layer.bias_regularizer,
            activity_regularizer=layer.activity_regularizer,
            name=layer.name,
            dtype=layer.dtype_policy,
            trainable=layer.trainable,
        )
        new.build(shape)
        kernel = transformed(ops.convert_to_numpy(layer.kernel), self.tile).astype("float32")
        (kept,) = magnitude_masks([kernel], self.sparsity)
        new.kernel.assign(kernel * kept)
        new.kernel.trainable = layer.kernel.trainable
        if layer.use_bias:
            new.bias.assign(layer.bias)
            new.bias.trainable = layer.bias.trainable
        zeros = kernel.size - kept.sum()
        return new, f", {zeros:,} of {kernel.size:,} weights are zero" if self.sparsity else ""


def _why_not(layer: keras.layers.Layer, shapes: list[tuple[int | None, ...]]) -> str:
    """Why a layer stays; empty where it need not."""
    from keras import layers

    from compress.graph.kernels import find_kernels

    if type(layer) is not layers.Conv2D:
        return f"{type(layer).__name__} is not a plain convolution"
    if unfit := find_kernels({"": layer})[1]:
        return unfit[""]
    facts = {
        "its kernel is not 3x3": tuple(layer.kernel_size) != (3, 3),
        "its stride is above 1": max(layer.strides) > 1,
        "it is dilated": max(layer.dilation_rate) > 1,
        "its channels are in groups": layer.groups > 1,
        "its channels come first": layer.data_format == "channels_first",
        "its input has no fixed size": any(None in shape[1:] for shape in shapes),
    }
    return next((reason for reason, holds in facts.items() if holds), "")
