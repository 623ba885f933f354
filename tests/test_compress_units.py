"""Units of recurrent layers and heads of attention go as a whole, and what is wide in between."""

import keras
import numpy as np
import pytest
from keras import layers

import compress
from compress.graph import leaf_layers
from compress.graph.channels import Channels, shrink
from compress.graph.ties import tied_paths
from compress.graph.units import by_unit
from tests.test_compress_kinds import STEPS, WIDTH, X, fit

UNITS = 6
RECURRENT = {
    "rnn": lambda **more: layers.SimpleRNN(UNITS, name="layer", **more),
    "lstm": lambda **more: layers.LSTM(UNITS, name="layer", **more),
    "gru": lambda **more: layers.GRU(UNITS, name="layer", **more),
    "before": lambda **more: layers.GRU(UNITS, reset_after=False, name="layer", **more),
    "both": lambda **more: layers.Bidirectional(layers.LSTM(UNITS, **more), name="layer"),
    "summed": lambda **more: layers.Bidirectional(
        layers.GRU(UNITS, **more), merge_mode="sum", name="layer"
    ),
}


def signal():
    keras.utils.set_random_seed(1)
    return keras.Input((STEPS, WIDTH))


def randomised(model):
    random = np.random.RandomState(2)
    for weight in model.weights:
        weight.assign(weight + random.normal(size=weight.shape, scale=0.3))
    return model


def without(model, path, gone, silence):
    """The model without some channels of a layer, whose outgoing weights are set to zero before."""
    silence(model.get_layer(path))
    channels = Channels(model)
    drop = {channels.find(channels.ends[path][1][place]) for place in gone}
    assert drop <= set(channels.members)
    return shrink(model, channels, drop)


@pytest.mark.parametrize(
    ("kind", "after"),
    [
        *((kind, "dense") for kind in RECURRENT),
        *((kind, after) for kind in ("lstm", "both") for after in ("each", "recurrent")),
    ],
)
def test_units_that_nothing_reads_go_and_the_answers_stay(kind, after):
    x = signal()
    y = layers.Dropout(0.1)(RECURRENT[kind](return_sequences=True)(x))
    y = {
        "dense": lambda: layers.Dense(3, name="reader"),
        "each": lambda: layers.TimeDistributed(layers.Dense(3), name="reader"),
        "recurrent": lambda: layers.LSTM(3, return_sequences=True, name="reader"),
    }[after]()(y)
    model = randomised(keras.Model(x, y))
    gone = [1, 4] if kind != "both" else [1, 4, UNITS + 1, UNITS + 4]

    def silence(layer):
        halves = [layer]
        if isinstance(layer, layers.Bidirectional):
            halves = [layer.forward_layer, layer.backward_layer]
        for place, half in enumerate(halves):
            start = place * UNITS if kind == "both" else 0
            own = [unit - start for unit in gone if start <= unit < start + UNITS]
            zero_rows(half.cell.recurrent_kernel, own)
        reader = model.get_layer("reader")
        zero_rows(getattr(reader, "cell", getattr(reader, "layer", reader)).kernel, gone)

    small = without(model, "layer", gone, silence)
    assert small.count_params() < model.count_params()
    np.testing.assert_allclose(small(X), model(X), atol=1e-5)


def zero_rows(kernel, rows):
    array = np.array(kernel)
    array[rows] = 0
    kernel.assign(array)


@pytest.mark.parametrize("grouped", [False, True])
def test_heads_that_nothing_reads_go_and_the_answers_stay(grouped):
    x = signal()
    if grouped:
        attention = layers.GroupQueryAttention(4, 6, 3, name="attention")
    else:
        attention = layers.MultiHeadAttention(3, 4, value_dim=5, name="attention")
    y = layers.LayerNormalization()(layers.Add()([x, attention(x, x)]))
    model = randomised(keras.Model(x, layers.Dense(3)(y)))

    def silence(layer):
        zero_rows(layer._output_dense.kernel, [2, 3] if grouped else [1])

    small = without(model, "attention", [1], silence)
    new = small.get_layer("attention")
    assert (
        (new.num_query_heads, new.num_key_value_heads) == (4, 2) if grouped else new.num_heads == 2
    )
    np.testing.assert_allclose(small(X), model(X), atol=1e-5)


def test_what_stands_between_the_dense_layers_of_a_block_goes():
    x = signal()
    y = layers.LayerNormalization()(layers.Add()([x, layers.MultiHeadAttention(2, 4)(x, x)]))
    wide = layers.Dropout(0.1)(layers.Dense(16, activation="gelu", name="layer")(y))
    y = layers.Add()([y, layers.Dense(WIDTH, name="back")(wide)])
    model = randomised(keras.Model(x, layers.Dense(3)(layers.LayerNormalization()(y))))
    gone = [0, 5, 15]
    small = without(model, "layer", gone, lambda _: zero_rows(model.get_layer("back").kernel, gone))
    assert small.get_layer("layer").units == 13
    np.testing.assert_allclose(small(X), model(X), atol=1e-5)


def encoder():
    x = signal()
    y = layers.Add()([x, layers.MultiHeadAttention(4, 4, name="attention")(x, x)])
    y = layers.LayerNormalization(name="norm")(y)
    y = layers.Bidirectional(layers.LSTM(8), name="both")(y)
    return keras.Model(x, layers.Dense(3, name="logits")(y))


@pytest.mark.parametrize("criterion", ["l1", "l2", "random"])
def test_the_pass_takes_heads_and_units(criterion, tmp_path):
    model = encoder()
    step = compress.PruneChannels(ratio=0.5, criterion=criterion, least=2, epochs=1)
    small, report = step.apply(model, compress.Context(fit=fit))
    rows = {row.path: row for row in report.layers}
    assert rows["attention"].note == "2 heads of 4"
    assert rows["both"].note == "8 units of 16"
    assert not rows["norm"].changed and rows["logits"].changed
    assert report.after.macs < report.before.macs
    small.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(X), small(X))


def test_the_norm_of_a_unit_is_that_of_all_that_makes_it():
    layer = layers.LSTM(UNITS)
    layer.build((None, STEPS, WIDTH))
    found = sum((laid(np.array(kernel)) ** 2).sum(0) for kernel, laid in by_unit(layer))
    kernel, recurrent = np.array(layer.cell.kernel), np.array(layer.cell.recurrent_kernel)
    own = [gate * UNITS + 2 for gate in range(4)]
    wanted = (kernel[:, own] ** 2).sum() + (recurrent[:, own] ** 2).sum()
    assert found[2] == pytest.approx(wanted, rel=1e-6)


def test_a_layer_that_is_called_twice_loses_its_units_once_and_a_tied_one_none():
    x = signal()
    shared = layers.LSTM(WIDTH, return_sequences=True, name="shared")
    model = keras.Model(x, layers.Dense(3)(layers.Flatten()(shared(shared(x)))))
    small = compress.PruneChannels(ratio=0.5, least=1, epochs=0).apply(model).model
    assert small.get_layer("shared").units == WIDTH  # it reads what the model is given
    twice = layers.LSTM(UNITS, return_sequences=True, name="twice")
    one, two = layers.Dense(WIDTH)(x), layers.Dense(WIDTH)(x)
    y = layers.Concatenate()([twice(one), twice(two)])
    model = keras.Model(x, layers.Dense(3)(y))
    small = compress.PruneChannels(ratio=0.5, least=1, epochs=0).apply(model).model
    assert small.get_layer("twice").units == UNITS // 2
    assert len(list(leaf_layers(small))) == len(list(leaf_layers(model)))
    assert np.isfinite(small(X)).all() and not tied_paths(dict(leaf_layers(small)))
