"""Inputs whose columns differ in size: where Quantize and export put the first ranges."""

import logging

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers, ops

import compress
import export
from compress.graph import leaf_layers
from compress.layers import Range
from compress.measure.agreement import agreements
from compress.passes.quantize import entries
from export.formats.saved_model.signatures import save
from export.formats.tflite.child import convert
from export.parity import ParityError, measure
from export.source import prepare
from export.target import About, Source
from export.targets import find_target
from export.targets.tflite import TFLiteInt8

RANDOM = np.random.RandomState(0)
TABLE = (RANDOM.rand(400, 4) * [1, 100, 1e4, 1e-3] + [0, 1900, 0, 0]).astype("float32")
MAPS = np.stack([TABLE[:49].reshape(7, 7, 4), TABLE[49:98].reshape(7, 7, 4)] * 20)


def norm(columns=slice(None), name="norm"):
    layer = layers.Normalization(name=name)
    layer.adapt(TABLE[:, columns])
    return layer


def batch_norm(shape=(None, 4)):
    layer = layers.BatchNormalization(epsilon=1e-12, name="norm")
    layer.build(shape)
    layer.moving_mean.assign(TABLE.mean(0))
    layer.moving_variance.assign(TABLE.var(0))
    return layer


def rest(x):
    x = layers.Dense(16, activation="relu", name="fc")(x)
    return layers.Dense(2, name="out")(x)


def sequential(*chain):
    x = keras.Input((4,), name="x")
    y = x
    for layer in chain:
        y = layer(y)
    return keras.Model(x, rest(y))


def in_a_row():
    chain = (layers.Reshape((2, 2)), layers.Flatten(), layers.Dropout(0.1), norm())
    return sequential(*chain, layers.BatchNormalization(), layers.Rescaling(0.5, offset=0.1))


def nested():
    inside = keras.Input((4,))
    before = keras.Model(inside, norm()(inside), name="before")
    return sequential(layers.Dropout(0.1), before)


def by_operations():
    x = keras.Input((4,), name="x")
    return keras.Model(x, rest((x - TABLE.mean(0)) / TABLE.std(0)))


def parts():
    x = keras.Input((4,), name="x")
    halves = [norm(slice(0, 2), "left")(x[:, :2]), norm(slice(2, 4), "right")(x[:, 2:])]
    return keras.Model(x, rest(layers.Concatenate()(halves)))


def several():
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    return keras.Model([a, b], rest(norm()(layers.Concatenate()([a, b]))))


def beside_a_kernel():
    """The raw columns go into a kernel too, which then computes in floats."""
    x = keras.Input((4,), name="x")
    wide = layers.Dense(2, name="wide")
    y = layers.Add(name="sum")([rest(norm()(x)), wide(x)])
    wide.kernel.assign(wide.kernel * 0.3 / TABLE.std(0)[:, None])
    return keras.Model(x, y)


def maps():
    """Of a convolution with zeros around: a mean cannot go into its bias."""
    x = keras.Input((7, 7, 4), name="x")
    y = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv")
    y = y(batch_norm((None, 7, 7, 4))(x))
    return keras.Model(x, rest(layers.Flatten()(y)))


@keras.saving.register_keras_serializable("entries")
class Standard(layers.Layer):
    def call(self, inputs):
        return (inputs - ops.convert_to_tensor(TABLE.mean(0))) / ops.convert_to_tensor(TABLE.std(0))


def unnamed():
    """An input that has another name in each copy."""
    return keras.Sequential([keras.Input((4,)), norm(), layers.Dense(2, name="out")])


MODELS = {
    "norm": lambda: sequential(norm()),
    "batch_norm": lambda: sequential(batch_norm()),
    "own": lambda: sequential(Standard(name="own")),
    **{
        build.__name__: build
        for build in (
            unnamed,
            in_a_row,
            nested,
            by_operations,
            parts,
            several,
            beside_a_kernel,
            maps,
        )
    },
}


def samples(model):
    if model.input_shape == (None, 7, 7, 4):
        return {"x": MAPS.astype("float32")}
    if len(model.inputs) > 1:
        return {"a": TABLE[:, :2], "b": TABLE[:, 2:]}
    return {model.inputs[0].name: TABLE}


def answers(model, inputs):
    values = list(inputs.values())
    return np.asarray(model(values if len(values) > 1 else values[0], training=False))


def r2(expected, got):
    error = np.square(expected - got).sum()
    return 1 - error / np.square(expected - expected.mean(0)).sum()


@pytest.mark.parametrize("name", MODELS)
def test_ranges_stand_behind_what_makes_columns_alike(name, tmp_path):
    keras.utils.set_random_seed(1)
    model = MODELS[name]()
    inputs = samples(model)
    new, report = compress.Quantize().apply(model, compress.Context(samples=inputs))
    expected = answers(model, inputs)
    assert r2(expected, answers(new, inputs)) >= 0.99
    assert report.agreement[0].sqnr_db > 20
    ranges = [layer for _, layer in leaf_layers(new) if isinstance(layer, Range)]
    ends = [float(layer.hi.numpy()) for layer in ranges]
    assert max(ends) < 50, ends  # nowhere a raw column
    notes = {row.path: row.note for row in report.layers}
    assert "folded" not in "".join(notes.values())
    for path in {"norm", "before/norm", "left", "own", "wide"} & notes.keys():
        assert notes[path].startswith("stays in floats")
    net, signature = prepare(new)
    source = Source(net=net, signature=signature, about=About(), calibration={})
    save(source, tmp_path / "saved_model", batch=1)
    path = tmp_path / "model.tflite"
    path.write_bytes(convert(tmp_path, precision="int8"))
    given = dict(zip([spec.name for spec in signature.inputs], inputs.values(), strict=True))
    (found,) = TFLiteInt8().open(path).run(given).values()
    step = ranges[-1].step()
    assert np.abs(found - answers(new, inputs)).max() <= 1.001 * step
    given = dict(zip([tensor.name for tensor in new.inputs], inputs.values(), strict=True))
    again = compress.Quantize().apply(new, compress.Context(samples=given)).model
    assert [type(x) for _, x in leaf_layers(again)] == [type(x) for _, x in leaf_layers(new)]


def learnt_raw():
    """No layer makes the columns alike: the first kernel and its bias do."""
    x = keras.Input((4,), name="x")
    model = keras.Model(x, rest(x))
    fc = model.get_layer("fc")
    fc.kernel.assign(fc.kernel / TABLE.std(0)[:, None])
    fc.bias.assign(-(TABLE.mean(0) / 2 @ np.asarray(fc.kernel)))
    return model


FIRST = {
    "dense": lambda: layers.Dense(6, name="first"),
    "dense of rows": lambda: layers.Dense(6, name="first"),
    "causal": lambda: layers.Conv1D(6, 3, padding="causal", name="first"),
    "grouped": lambda: layers.Conv2D(8, 3, groups=2, name="first"),
    "depthwise": lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, name="first"),
    "transposed": lambda: layers.Conv2DTranspose(6, 3, name="first"),
    "separable": lambda: layers.SeparableConv1D(6, 3, name="first"),
    "recurrent": lambda: layers.GRU(6, unroll=True, name="first"),
}


def raw_into(kind):
    """A first layer that has learnt from raw columns, and examples for it."""
    shape = {"dense": (4,), "grouped": (7, 7, 4), "depthwise": (7, 7, 4), "transposed": (7, 7, 4)}
    examples = TABLE[: 400 // 49 * 49].reshape(-1, 49, 4)
    examples = np.concatenate([examples[:, shift : shift + 42] for shift in range(7)])
    examples = {1: TABLE, 2: examples[:, :7], 3: np.resize(MAPS, (40, 7, 7, 4))}[
        len(shape.get(kind, (7, 4)))
    ].astype("float32")
    layer = FIRST[kind]()
    y = layer(x := keras.Input(examples.shape[1:], name="x"))
    learnt, size = layer.weights[0], TABLE.std(0)
    value = np.asarray(learnt)
    if kind == "grouped":  # (3, 3, columns / groups, filters)
        learnt.assign(value / np.repeat(size.reshape(2, 2), 4, axis=0).T)
    elif kind == "transposed":  # (3, 3, filters, columns)
        learnt.assign(value / size)
    else:  # (..., columns, filters)
        learnt.assign(value / size[:, None])
    return keras.Model(x, layers.Dense(2, name="out")(layers.Flatten()(y))), examples


@pytest.mark.parametrize("kind", FIRST)
def test_a_first_layer_may_have_learnt_from_raw_columns(kind, tmp_path):
    keras.utils.set_random_seed(1)
    model, examples = raw_into(kind)
    expected = np.asarray(model(examples))

    def far(got):
        return np.abs(got - expected).max() / np.abs(expected).max()

    new, report = compress.Quantize().apply(model, compress.Context(samples=examples))
    assert far(np.asarray(new(examples))) < 0.05
    assert "no range at x" in report.note
    if kind == "transposed":  # the converter rounds its kernel, whatever reads it
        with pytest.raises(ParityError, match="The difference grows most at first"):
            export.export(new, "tflite-int8", tmp_path / "small", samples=examples)
    else:
        done = export.export(new, "tflite-int8", tmp_path / "small", samples=examples)
        (found,) = TFLiteInt8().open(done.path / "model.tflite").run({"x": examples}).values()
        assert far(found) < 0.05
    if kind != "recurrent":  # the converter makes integers of all of it
        done = export.export(model, "tflite-int8", tmp_path / "plain", samples=examples)
        (found,) = TFLiteInt8().open(done.path / "model.tflite").run({"x": examples}).values()
        assert far(found) < 0.05


def test_where_ranges_stand_is_measured_in_batches(monkeypatch):
    """Memory does not grow with the examples, and the answer is that of all at once."""
    model = several()
    values = [TABLE[:, :2], TABLE[:, 2:]]
    sizes = []
    plain = entries.run_steps

    def seen(model, arrays, wanted):
        sizes.append(len(arrays[0]))
        return plain(model, arrays, wanted)

    monkeypatch.setattr(entries, "run_steps", seen)
    assert entries.bare(model, values, bits=8) == [0, 1]
    assert max(sizes) == entries.BATCH and sum(sizes) == 2 * len(TABLE)


PLAIN = ["norm", "in_a_row", "by_operations", "parts", "several"]


@pytest.mark.parametrize("name", [*PLAIN, "learnt_raw"])
def test_a_plain_export_leaves_them_in_floats_too(name, tmp_path):
    keras.utils.set_random_seed(1)
    model = {**MODELS, "learnt_raw": learnt_raw}[name]()
    inputs = samples(model)
    made = export.export(model, "tflite-int8", tmp_path / "int8", samples=inputs)
    (found,) = TFLiteInt8().open(made.path / "model.tflite").run(inputs).values()
    assert r2(answers(model, inputs), found) >= 0.99


@pytest.mark.parametrize("target", ["tflite-int16x8", "tflm"])
def test_files_of_integers_throughout_name_the_way_out(target, tmp_path):
    keras.utils.set_random_seed(1)
    model = sequential(norm())
    with pytest.raises(ParityError, match=r"To do: .*`zoo compress MODEL int8`") as caught:
        export.export(model, target, tmp_path / "out", samples=TABLE)
    assert ("export in 16x8" in str(caught.value)) == (target == "tflm")
    small = compress.Quantize().apply(model, compress.Context(samples=TABLE)).model
    other = "tflm" if target == "tflm" else "tflite-int8"
    assert export.export(small, other, tmp_path / "small", samples=TABLE)


@pytest.mark.parametrize("kind", ["tflite-int8", "tflm", "ethos-u"])
def test_a_manifest_tells_the_types_that_the_ends_of_a_file_have(kind, tmp_path, caplog):
    keras.utils.set_random_seed(1)
    small = compress.Quantize().apply(sequential(norm()), compress.Context(samples=TABLE)).model
    target = find_target(kind, {"io": "int8"} if kind == "tflite-int8" else {})
    with caplog.at_level(logging.WARNING, logger="export"):
        done = export.export(small, target, tmp_path / "out", samples=TABLE)
    signature = done.manifest.signature
    assert [one.dtype for one in (*signature.inputs, *signature.outputs)] == ["float32", "int8"]
    assert "'x' is float32 in the file, not int8" in caplog.text
    if kind == "tflite-int8":
        interpreter = Interpreter(str(done.path / "model.tflite"))
        ends = interpreter.get_input_details() + interpreter.get_output_details()
        assert [one["dtype"] for one in ends] == [np.float32, np.int8]
    if kind == "tflm":
        assert "// input(0): x, shape (1, 4), float" in (done.path / "model.h").read_text()


def test_columns_beside_what_is_made_of_them(tmp_path):
    keras.utils.set_random_seed(1)
    x = keras.Input((4,), name="x")
    model = keras.Model(x, rest(layers.Concatenate()([norm()(x), x])))
    kernel = model.get_layer("fc").kernel
    kernel.assign(kernel / np.concatenate([np.ones(4), TABLE.std(0)])[:, None])
    new, report = compress.Quantize().apply(model, compress.Context(samples=TABLE))
    expected = np.asarray(model(TABLE))
    assert np.abs(np.asarray(new(TABLE)) - expected).max() < 0.05 * np.abs(expected).max()
    assert {row.path: row.note for row in report.layers}["fc"].startswith("stays in floats")
    done = export.export(new, "tflite-int8", tmp_path / "out", samples=TABLE)
    (found,) = TFLiteInt8().open(done.path / "model.tflite").run({"x": TABLE}).values()
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


def test_pictures_come_in_as_integers():
    x = keras.Input((6, 6, 3), name="x")
    y = layers.Rescaling(1 / 127.5, offset=-1, name="scale")(x)
    y = layers.Flatten()(layers.Conv2D(4, 3, name="conv")(y))
    model = keras.Model(x, rest(y))
    pictures = RANDOM.randint(0, 256, (20, 6, 6, 3)).astype("float32")
    new, report = compress.Quantize().apply(model, compress.Context(samples=pictures))
    assert float(new.get_layer("x_range").hi.numpy()) == 255
    assert "no range" not in report.note
    assert entries.bare(model, [pictures], bits=8) == []


def test_skip_names_inputs():
    x = keras.Input((4,), name="table")
    model = keras.Model(x, rest(x))
    step = compress.Quantize(skip=("table",))
    new, report = step.apply(model, compress.Context(samples=TABLE))
    assert "no range at table" in report.note
    assert {row.path: row.note for row in report.layers}["fc"].startswith("stays in floats")
    assert not any(layer.name == "table_range" for layer in new.layers)
    assert report.agreement[0].sqnr_db > 25
    with pytest.raises(ValueError, match=r"Quantize.skip: 'tabel' matches no layer.*table"):
        compress.Quantize(skip=("tabel",)).apply(model, compress.Context(samples=TABLE))


def test_a_folded_normalisation_is_told_with_its_layer():
    x = keras.Input((6, 6, 3), name="x")
    y = layers.BatchNormalization(name="norm")(layers.Conv2D(4, 3, name="conv")(x))
    model = keras.Model(x, rest(layers.Flatten()(layers.ReLU(name="relu")(y))))
    _, report = compress.Quantize().apply(
        model, compress.Context(samples=RANDOM.rand(8, 6, 6, 3).astype("float32"))
    )
    notes = {row.path: row.note for row in report.layers}
    assert notes["norm"].startswith("folded into conv")


# --- agreement ---


def test_agreement_is_the_ratio_of_signal_and_error():
    want = RANDOM.randn(500, 3) + 7
    got = want + 0.1 * RANDOM.randn(500, 3)
    (found,) = agreements(["y"], [want], [got])
    assert abs(found.sqnr_db - 10 * np.log10(50 / 0.01)) < 0.5  # the mean of squares is 1 + 7^2
    assert abs(found.r2 - r2(want, got)) < 1e-9 and abs(found.r2 - 0.99) < 0.002
    assert measure({"y": want}, {"y": got}, of="", tie=0).sqnr_db == found.sqnr_db
    assert found.same_top1 == np.mean(want.argmax(1) == got.argmax(1))
    (same,) = agreements(["y"], [want], [want])
    assert (same.sqnr_db, same.r2, same.same_top1) == (200, 1, 1)
    (lost,) = agreements(["y"], [want], [want * np.nan])
    assert (lost.sqnr_db, lost.r2) == (-200, -1e20)


def unlike_inside():
    """One unit a thousand times the others, which the next kernel makes up for."""
    x = keras.Input((4,), name="x")
    model = keras.Model(x, rest(x))
    fc, out = model.get_layer("fc"), model.get_layer("out")
    size = np.where(np.arange(16) == 0, 1e4, 1)
    fc.kernel.assign(np.abs(fc.kernel) * size)
    out.kernel.assign(out.kernel / size[:, None])
    return model


def test_poor_agreement_is_said_loudly(caplog):
    keras.utils.set_random_seed(1)
    model, rows = unlike_inside(), RANDOM.rand(200, 4).astype("float32")
    with caplog.at_level(logging.WARNING, logger="compress"):
        _, report = compress.Quantize().apply(model, compress.Context(samples=rows))
    assert report.agreement[0].r2 < 0.97
    (record,) = caplog.records
    assert "'out'" in record.getMessage() and "skip" in record.getMessage()
    assert f"'out' {report.agreement[0].sqnr_db:.1f} dB" in report.note
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="compress"):
        step = compress.Quantize(skip=("fc", "out"))
        _, report = step.apply(model, compress.Context(samples=rows))
    assert report.agreement[0].sqnr_db > 20 and not caplog.records
