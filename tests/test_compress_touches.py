"""Which layers each pass works on: the table of docs/compress-your-model.md is what passes do."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import compress
from compress.base import Context

PAGE = Path(__file__).parents[1] / "docs" / "compress-your-model.md"
PASSES = {
    "prune": compress.Prune(sparsity=0.5, epochs=0),
    "prune_channels": compress.PruneChannels(ratio=0.5, epochs=0),
    "low_rank": compress.LowRank(rank=1, convolutions="tucker", epochs=0),
    "share_weights": compress.ShareWeights(bits=2, epochs=0),
    "entropy": compress.Entropy(epochs=0),
    "quantize": compress.Quantize(epochs=0),
    "binarize": compress.Binarize(ends=True, epochs=0),
    "ternarize": compress.Ternarize(ends=True, epochs=0),
    "winograd": compress.Winograd(),
}
KINDS = {
    "Dense": ((6,), lambda name: layers.Dense(8, name=name)),
    "Conv1D": ((9, 4), lambda name: layers.Conv1D(8, 3, name=name)),
    "Conv2D": ((8, 8, 4), lambda name: layers.Conv2D(8, 3, name=name)),
    "Conv3D": ((5, 5, 5, 4), lambda name: layers.Conv3D(8, 3, name=name)),
    "Conv2DTranspose": ((6, 6, 4), lambda name: layers.Conv2DTranspose(8, 3, name=name)),
    "DepthwiseConv2D": ((8, 8, 4), lambda name: layers.DepthwiseConv2D(3, name=name)),
    "SeparableConv2D": ((8, 8, 4), lambda name: layers.SeparableConv2D(8, 3, name=name)),
    "EinsumDense": ((5, 6), lambda name: layers.EinsumDense("abc,cd->abd", (5, 8), name=name)),
    "Embedding": ((5,), lambda name: layers.Embedding(12, 8, name=name)),
    "LSTM, GRU, SimpleRNN": ((5, 6), lambda name: layers.LSTM(8, name=name)),
    "Bidirectional": ((5, 6), lambda name: layers.Bidirectional(layers.GRU(8), name=name)),
    "TimeDistributed": ((5, 6), lambda name: layers.TimeDistributed(layers.Dense(8), name=name)),
    "MultiHeadAttention": ((5, 8), lambda name: layers.MultiHeadAttention(2, 4, name=name)),
    "LayerNormalization": ((5, 8), lambda name: layers.LayerNormalization(name=name)),
    "PReLU": ((6,), lambda name: layers.PReLU(name=name)),
}


@pytest.fixture(scope="module")
def everything():
    """One net of a branch for each kind: the layer, then a head of its own."""
    keras.utils.set_random_seed(0)
    inputs, outputs, samples = {}, {}, {}
    random = np.random.RandomState(0)
    for number, (kind, (shape, make)) in enumerate(KINDS.items()):
        tokens, name = kind == "Embedding", f"kind{number}"
        x = keras.Input(shape, dtype="int32" if tokens else "float32", name=f"in{number}")
        inputs[x.name] = x
        values = random.randint(0, 12, (8, *shape)) if tokens else random.randn(8, *shape)
        samples[x.name] = values.astype(x.dtype)
        layer = make(name)
        y = layer(x, x) if kind == "MultiHeadAttention" else layer(x)
        y = layers.ReLU(name=f"relu{number}")(y)
        if len(y.shape) > 2:
            pool = getattr(layers, f"GlobalAveragePooling{len(y.shape) - 2}D")
            y = pool(name=f"pool{number}")(y)
        outputs[f"out{number}"] = layers.Dense(4, name=f"out{number}")(y)
    return keras.Model(inputs, outputs), samples


def touched(step, model, samples):
    """Whether the pass works on the kernel of each kind's layer, by kind."""
    found = step.apply(model, Context(samples=samples)).report
    rows = {row.path: row for row in found.layers}
    for kind, path in zip(KINDS, (f"kind{number}" for number in range(len(KINDS))), strict=True):
        row = rows[path]
        rounded = "kernel of" in row.note  # a range behind a layer leaves its kernel as it is
        yield kind, rounded if step.kind == "quantize" else row.changed


def test_the_table_of_the_docs_is_what_the_passes_do(everything):
    found = {name: dict(touched(step, *everything)) for name, step in PASSES.items()}
    lines = [
        "| layer | " + " | ".join(f"`{name}`" for name in PASSES) + " |",
        "| --- |" + " --- |" * len(PASSES),
    ]
    for kind in KINDS:
        named = ", ".join(f"`{part}`" for part in kind.split(", "))
        marks = ("yes" if found[name][kind] else "" for name in PASSES)
        lines.append(f"| {named} | {' | '.join(marks)} |".replace("  ", " "))
    table = "\n".join(lines)
    assert table in PAGE.read_text(), f"{PAGE}: write\n\n{table}\n"
