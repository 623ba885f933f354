"""Every kind of layer with kernels: recurrent, attention, wrappers, layers of one's own."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import compress
from compress.graph import leaf_layers
from compress.graph.holding import bake, hold
from compress.graph.kernels import find_kernels, register_kernels
from compress.layers.low_rank import terms
from compress.measure.account import layer_table

STEPS, WIDTH = 5, 8


@keras.saving.register_keras_serializable(package="test")
class Block(layers.Layer):
    """Attention and two dense layers, as users write it."""

    def __init__(self, heads=2, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads
        self.attention = layers.MultiHeadAttention(heads, 4, dropout=0.1)
        self.ahead = [layers.Dense(16, activation="relu"), layers.Dense(WIDTH)]

    def build(self, shape):
        self.attention.build(shape, shape)
        self.ahead[0].build(shape)
        self.ahead[1].build((*shape[:-1], 16))

    def call(self, x, training=None):
        x = x + self.attention(x, x, training=training)
        return x + self.ahead[1](self.ahead[0](x))

    def get_config(self):
        return {**super().get_config(), "heads": self.heads}


@keras.saving.register_keras_serializable(package="test")
class Gated(layers.Layer):
    """A product with a weight of its own name."""

    kernel_names = ("gate",)

    def build(self, shape):
        self.gate = self.add_weight(shape=(shape[-1], 6), name="gate")

    def call(self, x):
        return ops.sigmoid(ops.matmul(x, self.gate))


@keras.saving.register_keras_serializable(package="test")
class Plain(Gated):
    """The same, registered instead."""

    kernel_names = ()


register_kernels(Plain, "gate")

KINDS = {
    "rnn": lambda: layers.SimpleRNN(6),
    "lstm": lambda: layers.LSTM(6, dropout=0.1, return_sequences=True),
    "gru": lambda: layers.GRU(6, recurrent_dropout=0.1),
    "bidirectional": lambda: layers.Bidirectional(layers.LSTM(6, return_sequences=True)),
    "stacked": lambda: layers.RNN(layers.StackedRNNCells([layers.GRUCell(6), layers.LSTMCell(6)])),
    "each": lambda: layers.TimeDistributed(layers.Dense(6)),
    "einsum": lambda: layers.EinsumDense("abc,cde->abde", output_shape=(STEPS, 2, 6)),
    "block": Block,
    "gated": Gated,
    "registered": Plain,
}
COUNTS = {"bidirectional": 4, "stacked": 4, "block": 6, "rnn": 2, "lstm": 2, "gru": 2}
X = np.random.RandomState(0).normal(size=(32, STEPS, WIDTH)).astype("float32")
Y = np.random.RandomState(1).randint(0, 3, 32)


def net(kind):
    keras.utils.set_random_seed(0)
    signal = keras.Input((STEPS, WIDTH))
    x = layers.Flatten()(KINDS[kind]()(signal))
    return keras.Model(signal, layers.Dense(3, name="logits")(x))


def attending():
    keras.utils.set_random_seed(0)
    one, two = keras.Input((STEPS, WIDTH)), keras.Input((STEPS, WIDTH))
    x = layers.MultiHeadAttention(2, 4, name="attention")(one, value=two)
    x = layers.GroupQueryAttention(4, 4, 2, name="grouped")(x, two)
    return keras.Model([one, two], layers.Dense(3, name="logits")(layers.Flatten()(x)))


def fit(model, *, epochs, callbacks):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    model.fit(X, Y, epochs=epochs, callbacks=callbacks, verbose=0)


def kernels(model):
    found, _ = find_kernels(dict(leaf_layers(model)))
    return {path: np.array(one.variable.value) for path, one in found.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_are_pruned_shared_and_held_while_they_learn(kind, tmp_path):
    model = net(kind)
    assert len(kernels(model)) == COUNTS.get(kind, 1) + 1
    context = compress.Context(fit=fit)
    pruned, report = compress.Prune(sparsity=0.75, epochs=2).apply(model, context)
    small = compress.ShareWeights(bits=2, epochs=2).apply(pruned, context).model
    before = kernels(model)
    for path, kernel in kernels(small).items():
        assert np.mean(kernel == 0) == pytest.approx(0.75, abs=0.03), path
        assert np.unique(kernel[kernel != 0]).size <= 4, path
        assert not np.isin(kernel[kernel != 0], before[path]).any(), path  # they have learnt
    for row in report.layers:
        assert row.changed == bool(row.before.parameters), row
    small.save(tmp_path / "model.keras")
    packed = compress.pack(small, tmp_path / "model.packed")
    assert packed == (tmp_path / "model.packed").stat().st_size
    for again in (
        keras.saving.load_model(tmp_path / "model.keras"),
        compress.unpack(tmp_path / "model.packed"),
    ):
        np.testing.assert_array_equal(again(X), small(X))


@pytest.mark.parametrize("kind", ["lstm", "bidirectional", "block"])
def test_a_held_model_is_the_model_and_can_be_saved(kind, tmp_path):
    small = compress.Prune(sparsity=0.5).apply(net(kind)).model
    held = hold(small)
    np.testing.assert_allclose(held(X), small(X), atol=1e-6)
    held.save(tmp_path / "held.keras")
    again = keras.saving.load_model(tmp_path / "held.keras")
    np.testing.assert_array_equal(again(X), held(X))
    fit(again, epochs=1, callbacks=[])
    for path, kernel in kernels(bake(again)).items():
        np.testing.assert_array_equal(kernel == 0, kernels(small)[path] == 0)


def test_a_held_layer_draws_new_dropout_in_each_call():
    """What a layer changes of its own state while its kernels are computed is kept."""
    held = hold(compress.Prune(sparsity=0.5).apply(net("lstm")).model)
    assert not np.allclose(held(X, training=True), held(X, training=True))
    np.testing.assert_array_equal(held(X), held(X))


def test_attention_is_called_as_it_was(tmp_path):
    model = attending()
    small = compress.Prune(sparsity=0.5).apply(model).model
    held = hold(small)
    np.testing.assert_allclose(held([X, X[::-1]]), small([X, X[::-1]]), atol=1e-6)
    held.save(tmp_path / "held.keras")
    again = keras.saving.load_model(tmp_path / "held.keras")
    np.testing.assert_array_equal(again([X, X[::-1]]), held([X, X[::-1]]))
    assert sum(path.startswith("grouped/") for path in kernels(small)) == 4


def test_n_of_m_lies_along_what_a_product_sums_over():
    keras.utils.set_random_seed(0)
    x = keras.Input((STEPS, WIDTH))
    y = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    small = compress.Prune(n_of_m=(2, 4)).apply(keras.Model(x, y)).model
    attention = small.get_layer("attention")
    query = np.array(attention.query_dense.kernel)  # (8, 2, 4): sums over the first
    assert ((query.reshape(2, 4, 8) != 0).sum(1) == 2).all()
    output = np.array(attention.output_dense.kernel)  # (2, 4, 8): over heads and their width
    assert ((output.reshape(2, 4, 8) != 0).sum(1) == 2).all()


def of_rank(model, rank):
    """Sets every kernel to a matrix of that rank; returns the model."""
    found, _ = find_kernels(dict(leaf_layers(model)))
    random = np.random.RandomState(3)
    for kernel in found.values():
        n, m = kernel.sides
        matrix = random.normal(size=(n, rank)) @ random.normal(size=(rank, m)) / np.sqrt(n * rank)
        kernel.variable.assign(kernel.from_matrix(matrix))
    return model


FACTORS = [kind for kind in KINDS if kind not in ("gated", "registered")]


@pytest.mark.parametrize("kind", [*FACTORS, "attending", "before"])
def test_kernels_of_low_rank_become_factors_and_the_answers_stay(kind, tmp_path):
    if kind == "before":  # the gate is multiplied before the recurrent kernel
        signal = keras.Input((STEPS, WIDTH))
        model = keras.Model(signal, layers.GRU(6, reset_after=False, name="gru")(signal))
    else:
        model = attending() if kind == "attending" else net(kind)
    x = [X, X[::-1]] if kind == "attending" else X
    model = of_rank(model, 2)
    step = compress.LowRank(rank=2, skip=("logits",) if kind != "before" else ())
    small, report = step.apply(model)
    np.testing.assert_allclose(small(x), model(x), atol=2e-5)
    for row in report.layers:
        expected = bool(row.before.parameters) and row.path != "logits"
        assert row.changed == expected, row
        if expected:
            assert row.after.parameters < row.before.parameters
            assert 0 < row.after.macs < row.before.macs
    assert not any(row.changed for row in step.apply(small).report.layers)
    small.save(tmp_path / "model.keras")
    packed = compress.pack(small, tmp_path / "model.packed")
    assert packed < compress.pack(model, tmp_path / "whole.packed")
    for again in (
        keras.saving.load_model(tmp_path / "model.keras"),
        compress.unpack(tmp_path / "model.packed"),
    ):
        np.testing.assert_array_equal(again(x), small(x))
    if kind == "lstm":  # factors are kernels: pruned, held, trained
        pruned = compress.Prune(sparsity=0.5, epochs=1).apply(small, compress.Context(fit=fit))
        shares = [np.mean(kernel == 0) for kernel in kernels(pruned.model).values()]
        np.testing.assert_allclose(shares, 0.5, atol=0.1)


def test_products_of_parts_are_counted_for_each_place():
    (both,) = (row for row in layer_table(net("bidirectional")) if row.kind == "Bidirectional")
    assert both.macs == 2 * STEPS * (WIDTH + 6) * 4 * 6
    rows = {row.path: row.macs for row in layer_table(attending())}
    assert rows["attention"] == 4 * STEPS * WIDTH * 8
    (block,) = (row for row in layer_table(net("block")) if row.kind == "Block")
    assert block.macs == STEPS * (4 * WIDTH * 8 + 2 * WIDTH * 16)
    (each,) = (row for row in layer_table(net("each")) if row.kind == "TimeDistributed")
    assert each.macs == STEPS * WIDTH * 6


@pytest.mark.parametrize(
    ("equation", "two"),
    [
        ("abc,cde->abde", ("abc,cz->abz", "abz,zde->abde")),
        ("abcd,cde->abe", ("abcd,cdz->abz", "abz,ze->abe")),
        ("...x,xy->...y", ("...x,xz->...z", "...z,zy->...y")),
        ("abc,abd->acd", None),
    ],
)
def test_an_equation_becomes_two(equation, two):
    assert terms(equation) == two


def test_reasons_name_what_a_layer_of_ones_own_is_to_say():
    class Silent(layers.Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1], 3))

        def call(self, x):
            return ops.matmul(x, self.w)

    model = keras.Sequential([keras.Input((4,)), Silent(name="silent"), layers.Dense(2)])
    _, reasons = find_kernels(dict(leaf_layers(model)))
    assert "compress.register_kernels" in reasons["silent"]
    with pytest.raises(TypeError, match="register_kernels: got 'Dense'"):
        register_kernels("Dense", "kernel")
    with pytest.raises(ValueError, match="got no names"):
        register_kernels(Silent)


@keras.saving.register_keras_serializable(package="test")
class Tied(layers.Layer):
    """A product with another layer's table."""

    def __init__(self, other, **kwargs):
        super().__init__(**kwargs)
        self.other = other

    def call(self, x):
        return ops.matmul(x, ops.transpose(self.other.embeddings))

    def get_config(self):
        other = keras.saving.serialize_keras_object(self.other)
        return {**super().get_config(), "other": other}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config.pop("other")), **config)


def test_a_kernel_that_two_layers_read_is_the_one_s_that_has_it():
    words = keras.Input((STEPS,), dtype="int32")
    table = layers.Embedding(20, 8, name="table")
    x = layers.LSTM(8, return_sequences=True, name="lstm")(table(words))
    model = keras.Model(words, Tied(table, name="tied")(x))
    found, reasons = find_kernels(dict(leaf_layers(model)))
    assert "table" in found and not any(path.startswith("tied") for path in found)
    assert "tied" in reasons
    # What is left out is not reached through the layer that reads it.
    context = compress.Context()
    for step in (
        compress.Prune(sparsity=0.5, skip=("table",)),
        compress.ShareWeights(bits=2, skip=("table",)),
    ):
        rows = {row.path: row for row in step.apply(model, context).report.layers}
        assert rows["lstm"].changed and not rows["table"].changed and not rows["tied"].changed
    # Factors would part what both read.
    with pytest.raises(ValueError, match="'table' and 'tied' share weights"):
        compress.LowRank(rank=2).apply(model)
    small, report = compress.LowRank(rank=2, skip=("table",)).apply(model)
    assert {row.path: row for row in report.layers}["lstm"].changed
    assert small.get_layer("tied").other is small.get_layer("table")


def test_a_layer_that_is_called_twice_has_its_factors_once():
    signal = keras.Input((STEPS, WIDTH))
    block = Block(name="block")
    model = of_rank(keras.Model(signal, block(block(signal))), 2)
    small, report = compress.LowRank(rank=2).apply(model)
    np.testing.assert_allclose(small(X), model(X), atol=2e-5)
    assert report.before.macs == 2 * STEPS * (4 * WIDTH * 8 + 2 * WIDTH * 16)
    assert len(list(leaf_layers(small))) == 1


@keras.saving.register_keras_serializable(package="test")
class Telling(layers.Dense):
    """Its settings tell more than it takes, as some of KerasHub's do."""

    def get_config(self):
        return {**super().get_config(), "num_weights": 7}


def test_settings_that_a_layer_does_not_take_back_are_left_out(tmp_path):
    model = keras.Sequential([keras.Input((WIDTH,)), Telling(4, name="telling")])
    small = compress.Prune(sparsity=0.5).apply(model).model
    small.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(X[:, 0]), small(X[:, 0]))


def test_the_two_tables_of_an_embedding_are_its_kernels():
    words = keras.Input((STEPS,), dtype="int32")
    table = layers.ReversibleEmbedding(20, 8, tie_weights=False, name="table")
    model = keras.Model(words, table(layers.Dense(8, name="fc")(table(words)), reverse=True))
    small, report = compress.Prune(sparsity=0.5).apply(model)
    shares = {path: np.mean(kernel == 0) for path, kernel in kernels(small).items()}
    assert set(shares) == {"table/embeddings", "table/reverse_embeddings", "fc"}
    assert all(share == 0.5 for share in shares.values())
    macs = {row.path: row.before.macs for row in report.layers}
    assert macs == {"table": STEPS * 8 * 20, "fc": STEPS * 8 * 8}
