"""Kernels of integers with floats between them, in every kind of layer."""

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import compress
import export
from compress.graph import leaf_layers
from compress.graph.kernels import find_kernels
from compress.passes.quantize.weights import per
from export.formats.tflite.flatbuffer import parse, schema
from tests.test_compress_kinds import STEPS, WIDTH, Tied, X, attending, fit, net

STEP = compress.Quantize(activation_bits=None, epochs=0)
_AXES = {"tensor": 0, "filter": 1, "depthwise": 2}


def off_grid(model, bits=8):
    """The largest distance of a weight to its grid, in steps of it, by kernel."""
    found, _ = find_kernels(dict(leaf_layers(model)), depthwise=True)
    for path, kernel in found.items():
        array = np.array(kernel.variable.value)
        axes = _AXES[per(kernel)]
        flat = array.reshape(-1, int(np.prod(array.shape[array.ndim - axes :])))
        steps = abs(flat).max(0) / (2 ** (bits - 1) - 1)
        yield path, float(abs(flat / steps - np.round(flat / steps)).max())


@pytest.mark.parametrize("kind", ["bidirectional", "stacked", "each", "block", "attending"])
def test_every_kernel_lies_on_its_grid_and_the_packed_file_shrinks(kind, tmp_path):
    model = attending() if kind == "attending" else net(kind)
    x = [X, X[::-1]] if kind == "attending" else X
    small, report = STEP.apply(model, compress.Context(samples=x))
    before, after = (np.array(one(x)) for one in (model, small))
    assert 0 < np.abs(before - after).max() < 0.05 * np.abs(before).max()
    for path, distance in off_grid(small):
        assert distance < 1e-4, path
    for row in report.layers:
        assert row.changed == bool(row.before.parameters), row
    assert [type(layer) for layer in small.layers] == [type(layer) for layer in model.layers]
    again, _ = STEP.apply(small)
    np.testing.assert_allclose(again(x), after, atol=1e-6)
    whole, packed = (compress.pack(one, tmp_path / "m.packed") for one in (model, small))
    assert packed < whole
    np.testing.assert_array_equal(compress.unpack(tmp_path / "m.packed")(x), after)


def test_a_layer_that_stays_in_floats_says_why():
    class Silent(layers.Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1], 3), name="w")

        def call(self, x):
            return x @ self.w

    model = keras.Sequential(
        [keras.Input((4,)), Silent(name="silent"), layers.PReLU(name="prelu"), layers.Dense(2)]
    )
    with pytest.raises(ValueError, match="equalize wants ranges"):
        compress.Quantize(activation_bits=None, equalize=True)
    rows = {row.path: row for row in STEP.apply(model).report.layers}
    assert "compress.register_kernels" in rows["silent"].note
    assert rows["prelu"].note.startswith("stays in floats: PReLU")
    assert sum(row.changed for row in rows.values()) == 1
    separable = keras.Sequential([keras.Input((9, 4)), layers.SeparableConv1D(8, 3)])
    (row,) = STEP.apply(separable).report.layers
    assert row.note == "kernel of 8 bits, depthwise_kernel in floats"


def test_tied_and_shared_kernels_are_rounded_once():
    words = keras.Input((STEPS,), dtype="int32")
    table, twice = layers.Embedding(20, 8, name="table"), layers.Dense(8, name="twice")
    x = twice(twice(table(words)))
    model = keras.Model(words, Tied(table, name="tied")(x))
    small, report = STEP.apply(model)
    rows = {row.path: row for row in report.layers}
    assert rows["table"].changed and rows["twice"].changed and not rows["tied"].changed
    assert small.get_layer("tied").other is small.get_layer("table")
    assert max(distance for _, distance in off_grid(small)) < 1e-4
    tokens = np.arange(STEPS)[None] % 20
    np.testing.assert_allclose(small(tokens), model(tokens), atol=0.02)


def test_zeros_stay_while_rounded_kernels_learn():
    pruned = compress.Prune(sparsity=0.5).apply(net("lstm")).model
    step = compress.Quantize(activation_bits=None, epochs=1, rate=1.0)
    small, report = step.apply(pruned, compress.Context(fit=fit))
    assert "fine-tuned for 1 epochs" in report.note
    old, new = (dict(_arrays(one)) for one in (pruned, small))
    for path, kernel in new.items():
        assert (kernel[old[path] == 0] == 0).all(), path
        assert not np.array_equal(kernel, old[path])
    assert max(distance for _, distance in off_grid(small)) < 1e-4


def test_four_bits_cut_what_is_beyond():
    small = compress.Quantize(bits=4, activation_bits=None, epochs=0).apply(net("block")).model
    for path, kernel in _arrays(small):
        assert np.unique(kernel.reshape(-1, kernel.shape[-1])[:, 0]).size <= 15, path


def test_a_file_of_floats_between_integers_has_no_large_float_kernel(tmp_path):
    keras.utils.set_random_seed(0)
    words = keras.Input((12,), dtype="int32")
    x = layers.Embedding(100, 32, name="table")(words)
    x = layers.MultiHeadAttention(2, 32, name="attention")(x, x)
    x = layers.LSTM(32, return_sequences=True, name="lstm")(x)
    x = layers.EinsumDense("abc,cde->abde", (12, 2, 32), name="einsum")(x)
    model = keras.Model(words, layers.Dense(4, name="logits")(layers.Flatten()(x)))
    tokens = np.random.RandomState(0).randint(0, 100, (16, 12)).astype("int32")
    small = STEP.apply(model).model
    made = export.export(small, "tflite-dynamic", tmp_path / "small", samples=tokens)
    file = parse(next(Path(made.path).glob("*.tflite")).read_bytes())
    for tensor in file.subgraphs[0].tensors:
        data = file.buffers[tensor.buffer].data
        if data is not None and len(data) >= 1024:
            assert tensor.type == schema.TensorType.INT8, tensor.name
    assert WIDTH < 32  # of `net`: below 1,024 weights the converter leaves floats


def _arrays(model):
    found, _ = find_kernels(dict(leaf_layers(model)))
    return [(path, np.array(one.variable.value)) for path, one in found.items()]
