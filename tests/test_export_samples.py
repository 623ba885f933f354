"""What users give as examples, what Keras has no answer to, and texts with their tables."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from PIL import Image

import export
from export.answers import Examples, answered
from export.given import as_inputs, halves
from export.manifest import TensorSpec
from export.source import prepare
from export.targets import find_target
from tests.beside import IDS, RANDOM, ROWS, x
from zoo.common.examples import gather
from zoo.common.images import fit
from zoo.common.preprocessing import Preprocessing

# Examples that Keras has no answer to.


def pooled():
    ids = keras.Input((12,), dtype="int32", name="ids")
    words = layers.Embedding(100, 16, mask_zero=True)(ids)
    return keras.Model(ids, layers.Dense(4)(layers.GlobalAveragePooling1D()(words)))


def test_invented_inputs_that_keras_has_no_answer_to_are_left_out(tmp_path):
    ids = np.maximum(IDS, 1)
    done = export.export(pooled(), "onnx", tmp_path / "out", samples=ids)
    edges = done.manifest.edges
    assert done.manifest.parity.left_out == {} and edges.passed and edges.samples == 7
    assert list(edges.left_out) == ["zeros"]
    assert "itself has NaN or infinite values" in edges.left_out["zeros"]
    assert "Left out of the edges inputs: zeros" in (done.path / "MODEL_CARD.md").read_text()
    drawn = export.export(pooled(), "onnx", tmp_path / "drawn").manifest
    assert drawn.parity.passed and drawn.parity.inputs == "random"


def test_samples_that_keras_has_no_answer_to_are_an_error(tmp_path):
    ids = np.maximum(IDS, 1)
    ids[5] = 0
    with pytest.raises(ValueError, match=r"samples: output .* on 1 of 64 examples, the first at 5"):
        export.export(pooled(), "onnx", tmp_path / "out", samples=ids)
    ids[5] = 100  # beyond the table
    with pytest.raises(
        ValueError, match=r"Keras itself fails .* on 1 of 64 examples, the first at"
    ):
        export.export(pooled(), "onnx", tmp_path / "out", samples=ids)
    assert not list(tmp_path.iterdir())


def test_when_every_edge_is_left_out_the_samples_are_the_proof(tmp_path):
    model = keras.Model(a := x(), ops.log(ops.min(a, axis=1, keepdims=True) - 0.5))
    net, signature = prepare(model)
    with pytest.raises(ValueError, match="on all 32 examples drawn at random"):
        export.export(model, "onnx", tmp_path / "out")
    edges = answered(net, signature, {"x": np.zeros((8, 10), "float32")}, origin="edges")
    assert len(edges) == 0 and len(edges.left_out) == 8
    samples = np.full((4, 10), 2.0)
    samples[:, 0] = 0.75, 1, 1.5, 2
    done = export.export(model, "onnx", tmp_path / "out", samples=samples)
    assert done.manifest.parity.samples == 4
    assert "zeros" in done.manifest.edges.left_out


def test_samples_that_would_change_are_refused(tmp_path):
    pixels = keras.Input((4, 4, 3), dtype="uint8", name="pixels")
    model = keras.Model(
        pixels, layers.Dense(2)(layers.Flatten()(layers.Rescaling(1 / 255)(pixels)))
    )
    for samples in (RANDOM.rand(8, 4, 4, 3), np.full((8, 4, 4, 3), -1)):
        with pytest.raises(ValueError, match=r"'pixels': got .*; expected uint8, whole numbers"):
            export.export(model, "onnx", tmp_path / "out", samples=samples)
    with pytest.raises(ValueError, match=r"'ids': got .*; expected int32"):
        export.export(pooled(), "onnx", tmp_path / "out", samples=IDS + 0.5)


def test_samples_of_a_data_set(tmp_path):
    data = tf.data.Dataset.from_tensor_slices((ROWS, np.zeros(64))).batch(10).repeat()
    model = keras.Model(a := x(), layers.Dense(3)(a))
    done = export.export(model, "onnx", tmp_path / "out", samples=data)
    assert done.manifest.parity.samples == 512


# Their order.


def by_size(rows):
    return rows[np.argsort(np.abs(rows).max(axis=1))]


def in_turn(rows):
    small, large = np.split(by_size(rows), 2)
    return np.stack([small, large], axis=1).reshape(rows.shape)


@pytest.mark.parametrize("arranged", [by_size, in_turn])
@pytest.mark.parametrize("target", ["tflite-int8", "onnx-int8"])
def test_samples_may_come_in_any_order(target, arranged, tmp_path):
    random = np.random.RandomState(3)  # in any order, 20 to 37 dB of others
    keras.utils.set_random_seed(3)
    rows = random.randn(300, 10) * random.uniform(0.1, 3, (300, 1))
    model = keras.Model(a := x(), layers.Dense(5)(layers.Dense(16, activation="relu")(a)))
    done = export.export(model, target, tmp_path / "out", samples=arranged(rows.astype("float32")))
    assert done.manifest.distance.sqnr_db > 25
    assert done.manifest.parity.samples == 150


def of_a_sequence():
    kinds = keras.Input((6,), dtype="int32", name="kinds")
    return keras.Model(kinds, layers.Dense(4)(layers.GRU(8, unroll=True)(ops.one_hot(kinds, 10))))


def of_a_category():
    """The layer makes floats of its integers, and integers of the floats."""
    kinds = keras.Input((1,), dtype="int32", name="kinds")
    hot = layers.CategoryEncoding(10, output_mode="one_hot")(kinds)
    return keras.Model(kinds, layers.Dense(4)(layers.Dense(16, activation="relu")(hot)))


@pytest.mark.parametrize("net", [of_a_sequence, of_a_category])
@pytest.mark.parametrize("target", ["tflite-int8", "onnx-int8"])
def test_a_one_hot_in_integers_is_one(target, net, tmp_path):
    """The converter's zero stands for a half, and its indices may lose one."""
    keras.utils.set_random_seed(0)
    model = net()
    shape = (64, *model.input_shape[1:])
    samples = np.random.RandomState(0).randint(0, 10, shape).astype("int32")
    done = export.export(model, target, tmp_path / "out", samples=samples)
    assert done.manifest.distance.sqnr_db > 20


def test_both_halves_have_examples_of_each_kind():
    rows = RANDOM.randn(401, 3).astype("float32")
    kinds = np.arange(401) // 41
    examples = Examples("given", {"x": rows, "kind": kinds}, {"y": rows[:, :1]})
    seen, unseen = (half.inputs for half in halves(examples))
    assert (len(seen["kind"]), len(unseen["kind"])) == (200, 201)
    assert sorted([*seen["x"][:, 0], *unseen["x"][:, 0]]) == sorted(rows[:, 0])
    for half in (seen, unseen):
        assert np.bincount(half["kind"]).min() > 10
        assert len(set(half["kind"][:64])) > 5  # those that a consumer looks at
    assert (seen["x"].min(), seen["x"].max()) == (rows.min(), rows.max())


def test_pictures_of_a_folder_get_the_frame_of_the_preprocessing(tmp_path):
    grey = RANDOM.randint(1, 256, (28, 27), np.uint8)
    Image.fromarray(grey).save(tmp_path / "digit.png")
    model = keras.Model(image := keras.Input((32, 32, 1)), layers.Flatten()(image))
    known = Preprocessing(size=32, channels=1, scale=1 / 255, mean=(0.1,), std=(0.5,), pad=8)
    (got,) = as_inputs(model, tmp_path, known)
    expected = fit(grey[None, :, :, None], 32)[0]
    np.testing.assert_allclose(got * 0.5 + 0.1, expected / 255, atol=1e-6)
    np.testing.assert_array_equal(expected[2:30, 2:29, 0], grey)
    (resized,) = as_inputs(model, tmp_path, known.model_copy(update={"pad": 0}))
    assert np.abs(resized - got).max() > 0.1


def test_of_a_large_folder_all_classes_are_taken(tmp_path):
    for number in range(12):
        folder = tmp_path / f"class{number // 4}"
        folder.mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(folder / f"{number:02}.png")
    spec = TensorSpec(name="x", shape=(None, 4, 4, 1), dtype="uint8")
    found = gather(tmp_path, [spec], most=3)["x"]
    assert found[:, 0, 0, 0].tolist() == [0, 4, 8]


# Strings and tables.


def of_text():
    words = layers.TextVectorization(max_tokens=50, output_sequence_length=6, name="words")
    words.adapt(np.array(["hello there world", "some random words"]))
    text = keras.Input((1,), dtype="string", name="text")
    mean = layers.GlobalAveragePooling1D()(layers.Embedding(50, 4)(words(text)))
    return keras.Model(text, layers.Dense(2, name="scores")(mean))


def of(dtype, *chain):
    value = keras.Input((1,), dtype=dtype, name="value")
    y = value
    for layer in chain:
        y = layer(y)
    return keras.Model(value, layers.Dense(2)(ops.cast(y, "float32")))


TEXTS = np.array([["hello world"], ["some"], ["words unknown"], ["Hello, THERE"]])
TABLES = {
    "TextVectorization": (of_text, TEXTS),
    "StringLookup": (
        lambda: of("string", layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")),
        np.array([["a"], ["b"], ["c"]]),
    ),
    "StringLookup without unknowns": (
        lambda: of("string", layers.StringLookup(vocabulary=["a", "b"], num_oov_indices=0)),
        np.array(["a", "b", "a"]),
    ),
    "IntegerLookup": (
        lambda: of("int64", layers.IntegerLookup(vocabulary=[10, 20], output_mode="multi_hot")),
        np.array([[10], [20], [99]]),
    ),
    "Hashing": (lambda: of("string", layers.Hashing(7)), np.array([["a"], ["b"], ["c"]])),
    "CategoryEncoding": (
        lambda: of("int32", layers.CategoryEncoding(4, output_mode="one_hot")),
        np.array([[0], [3], [2]]),
    ),
    "Discretization": (
        lambda: of("float32", layers.Discretization([0.0, 1.0], output_mode="one_hot")),
        np.array([[-1.0], [0.5], [7.0]]),
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_go_into_a_saved_model(name, tmp_path):
    build, samples = TABLES[name]
    model = build()
    done = export.export(model, "saved_model", tmp_path / "out", samples=samples)
    loaded = tf.saved_model.load(str(done.path / done.manifest.file))
    (entry,) = done.manifest.signature.inputs
    given = tf.constant(samples.reshape(-1, 1), entry.dtype)
    (got,) = loaded.signatures["serving_default"](**{entry.name: given}).values()
    np.testing.assert_allclose(got, model(given), atol=1e-6)
    assert done.manifest.parity.samples == len(samples)


def test_texts_are_drawn_of_the_words_that_a_table_knows(tmp_path):
    done = export.export(of_text(), "saved_model", tmp_path / "out")
    assert done.manifest.parity.inputs == "random" and done.manifest.parity.passed
    alone = of("string", layers.StringLookup(vocabulary=["a", "b"], num_oov_indices=0))
    parity = export.export(alone, "saved_model", tmp_path / "alone").manifest.parity
    assert 0 < parity.samples < 32 and "Keras itself fails" in " ".join(parity.left_out.values())


@pytest.mark.parametrize(
    "target", [name for name in export.target_names() if name != "saved_model"]
)
@pytest.mark.parametrize("name", ["TextVectorization", "IntegerLookup", "Hashing"])
def test_other_formats_refuse_tables_in_one_line(target, name):
    net, _ = prepare(TABLES[name][0]())
    with pytest.raises(RuntimeError, match=f"export to {target}: layer .* Export to saved_model"):
        find_target(target).check_model(net)
