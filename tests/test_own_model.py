"""Verbs on a model that the zoo has not made: a `.keras` or `.h5` file, or a Keras model."""

import importlib
import json
import logging
import random
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import compress
import zoo as house
from zoo.bundle import find_bundle
from zoo.cli import imports, quiet
from zoo.common import claims, renames
from zoo.common.columns import Column
from zoo.data.dataset import DataSet, Split
from zoo.data.loading import load
from zoo.models.saved import load_model
from zoo.stages import alone, asking, own
from zoo.stages.export import PartlyExportedError
from zoo.stages.ranges import taken

DIGITS = load("digits")


def net(*, end="softmax", scaled=False, classes=10):
    """What somebody else has trained, on pixels of 0 to 1 or, with `scaled`, of 0 to 255."""
    keras.utils.set_random_seed(4)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1), name="picture"),
            *([layers.Rescaling(1 / 255, name="rescale")] if scaled else []),
            layers.Conv2D(12, 3, activation="relu", name="conv"),
            layers.Flatten(name="flat"),
            layers.Dense(48, activation="relu", name="hidden"),
            layers.Dense(classes, activation=end, name="answer"),
        ],
        name="mine",
    )


def trained(model, *, divisor):
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=model.layers[-1].activation.__name__ == "linear"
    )
    model.compile(keras.optimizers.Adam(5e-3), loss, metrics=["accuracy"])
    x, y = DIGITS.train["image"] / divisor, DIGITS.train["label"]
    model.fit(x, y, epochs=6, batch_size=64, verbose=0)
    return model


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two models of one's own, a folder of digits, and a picture."""
    place = tmp_path_factory.mktemp("own")
    trained(net(), divisor=255.0).save(place / "own.keras")
    trained(net(end=None, scaled=True), divisor=1.0).save(place / "logits.keras")
    for number in range(250):
        folder = place / "pics" / str(DIGITS.train["label"][number])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(DIGITS.train["image"][number, ..., 0]).save(folder / f"{number}.png")
    np.save(place / "x.npy", (DIGITS.train["image"][:150] / 255).astype("float32"))
    return place


@pytest.fixture(autouse=True)
def here(place, monkeypatch):
    monkeypatch.chdir(place)


def test_show(zoo):
    facts = zoo("show", "own.keras", "--layers", "--json")
    assert facts["inputs"] == {"picture": [8, 8, 1, "float32"]}
    assert facts["outputs"] == {"answer": [10, "float32"]}
    assert facts["parameters"] == facts["trainable"] == load_model("own.keras").count_params()
    assert (facts["ends_in"], facts["quantised"], facts["custom_layers"]) == ("softmax", False, [])
    assert [row["path"] for row in facts["layers"]] == ["conv", "flat", "hidden", "answer"]
    assert "picture (8 x 8 x 1, float32)" in zoo("show", "own.keras")
    assert "own.kers" in zoo("show", "own.kers", expect=2)
    assert "no such file; expected a .keras" in zoo("show", "nowhere.keras", expect=2)


@pytest.mark.parametrize("name", ["own.keras", "logits.keras"])
def test_evaluate_finds_out_what_the_pixels_are(zoo, name):
    """A softmax and logits, pixels of 0 to 1 and of 0 to 255: each is measured as Keras does."""
    found = zoo("evaluate", name, "--data", "folder:pics", "--json")
    model, divisor = load_model(name), 255.0 if name == "own.keras" else 1.0
    x, y = DIGITS.train["image"][:250] / divisor, DIGITS.train["label"][:250]
    answers = model.predict(x, verbose=0)
    assert found["split"] == "all"
    assert found["metrics"]["top1"] == pytest.approx(np.mean(answers.argmax(-1) == y))
    logits = name != "own.keras"
    loss = keras.losses.sparse_categorical_crossentropy(y, answers, from_logits=logits)
    assert found["metrics"]["loss"] == pytest.approx(float(np.mean(loss)), rel=1e-4)
    text = zoo("evaluate", name, "--data", "folder:pics", "--split", "test")
    assert "rows are true classes" in text


def test_what_was_chosen_is_said_and_can_be_chosen(caplog):
    caplog.set_level(logging.WARNING, "zoo")
    model = load_model("own.keras")
    house.evaluate(model, data=DIGITS, split="test")
    assert "takes its pixels as 0..1, with which its loss is smallest" in caplog.text
    said = house.evaluate(model, data=DIGITS, split="test", values="0..255").evaluation.metrics
    best = house.evaluate(model, data=DIGITS, split="test", values="0..1").evaluation.metrics
    assert best["loss"] < said["loss"]


def conv_end(ends, *, softmax="softmax"):
    """Softmax, then layers that keep shares."""
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1), name="picture"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(16, 3, strides=2, activation="relu"),
            layers.Conv2D(10, 3, activation=softmax),
            *ends,
        ],
        name="conv_end",
    )


@pytest.mark.parametrize("form", ["keras", "h5", "model"])
def test_a_softmax_behind_which_others_stand_is_measured_as_keras_does(form, tmp_path, caplog):
    """Flatten, Dropout and the like behind a softmax leave shares, whose loss is of shares."""
    model = conv_end([layers.Flatten(), layers.Dropout(0.3), layers.Activation("linear")])
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    x, y = DIGITS.train["image"].astype("float32"), DIGITS.train["label"]
    model.fit(x, y, epochs=3, verbose=0)
    if form != "model":
        model.save(tmp_path / f"conv_end.{form}")
    given = model if form == "model" else tmp_path / f"conv_end.{form}"
    want = model.evaluate(x, y, verbose=0, batch_size=2000)
    found = house.evaluate(given, "train", data=DIGITS, values="0..255").evaluation.metrics
    assert found["loss"] == pytest.approx(want, rel=1e-3)
    assert "read as" not in caplog.text
    if form != "keras":
        return  # the rest trains
    small = house.compress(
        given, "prune50", data=DIGITS, values="0..255", changes=["train.epochs=1"],
        out=tmp_path / "small",
    )  # fmt: skip
    assert small.recipe.task.probabilities and small.report.compress.parent_metrics["loss"] < 2


def test_the_compiled_loss_decides_and_answers_can_refute_it(caplog, tmp_path):
    caplog.set_level(logging.WARNING, "zoo")
    loss = keras.losses.SparseCategoricalCrossentropy

    def asked(model, changes=()):
        caplog.clear()
        run = asking.run_of(
            model, DIGITS, values="0..255", loss=getattr(model, "loss", None), changes=changes
        )
        return run.task.probabilities

    model = conv_end([layers.Flatten()], softmax=None)
    model.compile("adam", "sparse_categorical_crossentropy")  # a mistake: it has no softmax
    assert not asked(model)
    assert "its outputs are read as logits: they go from" in caplog.text
    assert "though its compiled loss takes shares; --set task.probabilities=" in caplog.text
    model = conv_end([layers.Flatten()])
    model.compile("adam", loss(from_logits=True))
    assert not asked(model)
    assert "read as logits: its compiled loss takes logits, though they look" in caplog.text
    assert asked(model, ["task.probabilities=true"]) and not caplog.text
    # A function of one's own: the answers tell.
    x = keras.Input((8, 8, 1), name="picture")
    h = layers.Dense(10, activation="softplus")(layers.Flatten()(x))
    own_softmax = keras.Model(x, h / keras.ops.sum(h, axis=-1, keepdims=True))
    assert asked(own_softmax)
    assert "read as shares: they lie within 0..1 and sum to 1" in caplog.text
    assert not asked(own_softmax, ["task.probabilities=false"])
    model = conv_end([layers.Flatten()], softmax="sigmoid")
    assert asked(model)
    assert "read as shares, of their sum, which is not 1" in caplog.text


def test_predict(zoo):
    picture = next(iter(sorted((own.Path("pics") / "3").iterdir())))
    pixels = np.asarray(Image.open(picture))[None, ..., None]
    want = load_model("own.keras").predict(pixels / 255.0, verbose=0)[0]
    rows = zoo("predict", "own.keras", picture, "--values", "0..1", "--top", "2", "--json")
    assert [row["label"] for row in rows] == [str(n) for n in want.argsort()[::-1][:2]]
    assert [row["probability"] for row in rows] == pytest.approx(sorted(want)[::-1][:2], abs=1e-5)
    names = ",".join("abcdefghij")
    named = zoo("predict", "own.keras", picture, "--values", "0..1", "--labels", names, "--json")
    assert named[0]["label"] == "abcdefghij"[int(want.argmax())]
    assert "got 2 names; expected 10" in zoo(
        "predict", "own.keras", picture, "--labels", "a,b", expect=2
    )
    assert "'0..2'" in zoo("predict", "own.keras", picture, "--values", "0..2", expect=2)


def test_compress_with_samples_writes_a_file(zoo):
    told = zoo("compress", "own.keras", "int8", "--samples", "x.npy")
    assert "quantize" in told
    small, model = load_model("own-int8.keras"), load_model("own.keras")
    assert compress.has_ranges(small)
    x = np.load("x.npy")
    agree = small.predict(x, verbose=0).argmax(-1) == model.predict(x, verbose=0).argmax(-1)
    assert agree.mean() > 0.97
    report = json.loads(own.Path("own-int8.json").read_text())
    assert report["passes"][0]["settings"]["kind"] == "quantize"
    again = zoo("compress", "own.keras", "int8", "--samples", "x.npy", expect=2)
    assert "own-int8.keras: exists; choose another name, or --force" in again
    np.savez("x.npz", picture=x)
    zoo("compress", "own.keras", "int8", "--samples", "x.npz", "--out", "two.keras")
    for one, other in zip(small.weights, load_model("two.keras").weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    # A folder of pictures, of 0 to 255, for the model that takes these; and in Python.
    zoo("compress", "logits.keras", "int8", "--samples", "pics")
    made = house.compress(load_model("logits.keras"), "int8", samples="pics")
    for one, other in zip(made.model.weights, load_model("logits-int8.keras").weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compress", "own.keras", "prune90"], "trains, and no data was given; expected --data"),
        (
            ["compress", "own.keras", "int8", "--out", "no.keras"],
            "samples: got none; expected examples",
        ),
        (["compress", "own.keras", "int8", "--samples", "no.npy"], "no.npy: no such file"),
        (["compress", "nowhere.keras", "int8"], "nowhere.keras: no such file; expected a .keras"),
        (["compress", "own.keras", "prune90", "--data", "folder:no"], "no"),
        (["evaluate", "own.keras"], "expected the data to measure it on, --data folder:PATH"),
        (["evaluate", "own.keras", "--data", "breast_cancer"], "breast_cancer"),
        (["predict", "own.keras", "x.npy"], "x.npy"),
        (["generate", "own.keras"], "own.keras"),
    ],
)
def test_what_is_missing_is_said_in_a_line(zoo, arguments, words):
    told = zoo(*arguments, expect=2)
    assert words in told and len(told.strip().splitlines()) <= 2
    assert "Traceback" not in told


def test_compress_with_data_trains_and_writes_a_bundle(zoo):
    """A model that ends in a softmax is trained by its loss, and comes back with its softmax."""
    made = zoo(
        "compress", "own.keras", "prune90", "--data", "folder:pics", "--json",
        "--set", "train.optimizer.learning_rate=2e-3", "--set", "train.batch_size=32",
    )  # fmt: skip
    assert made["bundle"] == "own-prune90"
    bundle = house.Bundle("own-prune90")
    small = load_model(bundle.path)
    np.testing.assert_allclose(small.predict(np.load("x.npy"), verbose=0).sum(-1), 1, atol=1e-5)
    kernels = [w.numpy() for w in small.weights if w.name == "kernel"]
    assert np.mean(np.concatenate([k.ravel() for k in kernels]) == 0) == pytest.approx(
        0.9, abs=0.01
    )
    part = bundle.report.compress
    assert "fine-tuned" in part.passes["passes"][0]["note"]
    assert part.parent_name == "own"
    assert bundle.card.architecture == "own" and bundle.card.labels == tuple("0123456789")
    assert bundle.card.parent == house.Bundle.sha256.func.__globals__["digests"].sha256("own.keras")
    assert made["metrics"]["top1"] > 0.5
    # From here on it is a bundle as any other.
    assert zoo("evaluate", "own-prune90", "--json")["metrics"] == pytest.approx(made["metrics"])
    picture = next(iter(sorted((own.Path("pics") / "3").iterdir())))
    pixels = np.asarray(Image.open(picture))[None, ..., None] / 255.0
    want = small.predict(pixels, verbose=0)[0]
    rows = zoo("predict", "own-prune90", picture, "--json")
    assert rows[0]["probability"] == pytest.approx(want.max(), abs=1e-5)


CODE = """
import keras

class Scale(keras.layers.Layer):
    def build(self, shape):
        self.factor = self.add_weight(shape=(shape[-1],), initializer="ones", name="factor")
    def call(self, x):
        return x * self.factor
"""


@pytest.fixture
def custom(place):
    """A file with a layer that only its author knows, and is not registered."""
    (place / "my_layers.py").write_text(CODE)
    names = {}
    exec(CODE, names)
    model = keras.Sequential(
        [keras.Input((4,), name="row"), names["Scale"](name="scale"), layers.Dense(3, name="fc")]
    )
    model.save(place / "custom.keras")
    yield model
    keras.saving.get_custom_objects().pop("Scale", None)


def test_import_brings_layers_when_asked(zoo, custom):
    told = zoo("show", "custom.keras", expect=2)
    assert "'Scale'" in told and "Traceback" not in told
    facts = zoo("show", "custom.keras", "--import", "my_layers.py", "--json")
    assert facts["custom_layers"] == ["Scale"]
    np.save("rows.npy", np.random.RandomState(0).randn(64, 4).astype("float32"))
    zoo("compress", "custom.keras", "int8", "--samples", "rows.npy", "--import", "my_layers.py")
    assert "no such file" in zoo("show", "custom.keras", "--import", "no.py", expect=2)
    assert "ModuleNotFoundError" in zoo("show", "custom.keras", "--import", "no_module", expect=2)
    (own.Path("broken.py")).write_text("1 / 0")
    assert "ZeroDivisionError" in zoo("show", "custom.keras", "--import", "broken.py", expect=2)


def test_import_never_stands_in_for_another_module(tmp_path):
    (tmp_path / "random.py").write_text("import random\nclass Mine: value = random.randint(3, 3)\n")
    (tmp_path / "colorsys.py").write_text("class Colour: pass\n")
    (tmp_path / "some_layers.py").write_text("class Some: pass\n")
    (tmp_path / "some_broken.py").write_text("1 / 0\n")
    names = ["random.py", "colorsys.py", "some_layers.py"]
    try:
        imports.bring_in([str(tmp_path / name) for name in names])
        known = keras.saving.get_custom_objects()
        assert known["Mine"].value == 3
        assert sys.modules["random"] is random and not hasattr(random, "Mine")
        assert hasattr(importlib.import_module("colorsys"), "rgb_to_hsv")
        assert known["Some"].__module__ == "some_layers"  # which a saved model names
        with pytest.raises(ValueError, match="ZeroDivisionError"):
            imports.bring_in([str(tmp_path / "some_broken.py")])
        assert "some_broken" not in sys.modules
    finally:
        for name in ("Mine", "Colour", "Some"):
            keras.saving.get_custom_objects().pop(name, None)


def test_import_of_one_name_of_a_module(zoo, custom, monkeypatch):
    monkeypatch.syspath_prepend(".")
    facts = zoo("show", "custom.keras", "--import", "my_layers:Scale", "--json")
    assert facts["custom_layers"] == ["Scale"]
    told = zoo("show", "custom.keras", "--import", "my_layers:Scales", expect=2)
    assert "my_layers has no 'Scales'" in told


def keras_2():
    import tf_keras

    return tf_keras


def old_models(old):
    make = old.layers
    rows = [make.InputLayer(input_shape=(6, 4))]
    pictures = [make.InputLayer(input_shape=(8, 8, 3))]
    x = make.Input((8, 8, 3))
    h = make.Conv2D(4, 3, padding="same")(x)
    h = make.Add()([h, make.DepthwiseConv2D(3, padding="same")(h)])
    yield old.Model(x, make.Dense(2)(make.GlobalAveragePooling2D()(h)), name="residual")
    yield old.Sequential([*rows, make.Bidirectional(make.GRU(4)), make.Dense(1)], name="gru")
    yield old.Sequential([*rows, make.LSTM(4), make.Dense(3, activation="softmax")], name="lstm")
    yield old.Sequential(
        [*pictures, make.SeparableConv2D(4, 3), make.BatchNormalization(), make.Flatten(),
         make.Dropout(0.2), make.Dense(2)],
        name="separable",
    )  # fmt: skip


def test_h5_files_of_keras_2_load(tmp_path):
    for model in old_models(keras_2()):
        path = tmp_path / f"{model.name}.h5"
        model.save(path)
        x = np.random.RandomState(0).rand(3, *model.input_shape[1:]).astype("float32")
        loaded = load_model(path)
        want, got = model.predict(x, verbose=0), loaded.predict(x, verbose=0)
        np.testing.assert_allclose(got, want, atol=1e-6, err_msg=model.name)


def test_what_keras_3_cannot_read_is_said_in_a_line(tmp_path, zoo):
    old = keras_2()
    x = old.layers.Input((4,))
    cases = {
        "operation.h5": (old.Model(x, old.layers.Dense(2)(x) * 2.0), "multiply of TensorFlow"),
        "lambda.h5": (
            old.Sequential([old.layers.InputLayer((4,)), old.layers.Lambda(lambda x: 2 * x)]),
            "has a Lambda layer, code of its own",
        ),
        "two.keras": (
            old.Sequential([old.layers.InputLayer((4,)), old.layers.Dense(1)]),
            r"was written by Keras 2",
        ),
    }
    for name, (model, words) in cases.items():
        model.save(tmp_path / name)
        told = zoo("show", tmp_path / name, expect=2)
        assert words in told and len(told.strip().splitlines()) == 1, name
    net().save_weights(tmp_path / "only.weights.h5")
    assert "holds weights alone" in zoo("show", tmp_path / "only.weights.h5", expect=2)
    (tmp_path / "text.h5").write_text("no model")
    torn = bytearray((tmp_path / "only.weights.h5").read_bytes())
    torn[100:2000:7] = b"x" * len(torn[100:2000:7])
    (tmp_path / "torn.h5").write_bytes(torn)
    for name in ("text.h5", "torn.h5"):
        told = zoo("show", tmp_path / name, expect=2)
        assert told.count("not a") == 1 and ".keras" not in told, "said twice, or of another kind"
        assert f"{name}: not a whole .h5 file (" in told
    good = tmp_path / "linked.h5"
    net().save(good)
    with h5py.File(good, "r+") as file:
        del file["model_weights"]["hidden"]
        file["model_weights"]["hidden"] = h5py.ExternalLink("/etc/other.h5", "hidden")
    assert "'hidden' lies in another file" in zoo("show", good, expect=2)


def test_h5_of_keras_3_is_as_a_keras_file(zoo):
    load_model("own.keras").save("mine.h5")
    found = zoo("evaluate", "mine.h5", "--data", "folder:pics", "--values", "0..1", "--json")
    want = zoo("evaluate", "own.keras", "--data", "folder:pics", "--values", "0..1", "--json")
    assert found["metrics"] == pytest.approx(want["metrics"])
    zoo("export", "mine.h5", "tflite", "--samples", "x.npy", "--out", "files")
    assert (own.Path("files") / "mine-tflite" / "manifest.json").is_file()


def test_two_at_a_time_do_not_write_one_file(place, tmp_path):
    out = tmp_path / "race.keras"
    with ThreadPoolExecutor() as pool, claims.claim(out):
        other = pool.submit(
            alone.compress_alone, place / "own.keras", "int8", out=out, samples=place / "x.npy"
        )
        with pytest.raises(BlockingIOError, match="writes there"):
            other.result()


@pytest.mark.parametrize("end", [".json", ".packed", ".keras"])
def test_a_file_that_only_has_the_name_of_ours_is_kept(place, tmp_path, end):
    mine = (tmp_path / "small").with_suffix(end)
    mine.write_text('{"of": "another program"}')
    recipe = tmp_path / "few.yaml"
    recipe.write_text("passes: [{kind: prune, sparsity: 0.5, epochs: 0}]")
    with pytest.raises(FileExistsError, match="exists and is not a"):
        alone.compress_alone(place / "own.keras", recipe, out=tmp_path / "small.keras", force=True)
    assert mine.read_text() == '{"of": "another program"}'
    assert {path.name for path in tmp_path.iterdir()} == {mine.name, "few.yaml"}


def test_three_files_that_are_replaced_are_of_one_compression_at_every_instant(
    place, tmp_path, monkeypatch
):
    out, recipe = tmp_path / "small.keras", tmp_path / "few.yaml"

    def make(sparsity):
        passes = f"[{{kind: prune, sparsity: {sparsity}, epochs: 0}}, {{kind: huffman}}]"
        recipe.write_text(f"passes: {passes}")
        alone.compress_alone(place / "own.keras", recipe, out=out, force=True)

    def cut(call, last):
        """Stops behind the last of so many calls that change what stands beside `out`."""

        def calling(path, *arguments, **options):
            call(path, *arguments, **options)
            changed = Path(arguments[0] if arguments else path)
            if changed.parent == out.parent and not changed.name.startswith("."):
                done.append(changed.suffix)
                if len(done) == last:
                    raise KeyboardInterrupt

        return calling

    states = []
    for last in range(1, 6):
        make(0.5)
        done = []
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", cut(Path.unlink, last))
            patch.setattr(renames, "put", cut(renames.put, last))
            with pytest.raises(KeyboardInterrupt):
                make(0.9)
        zeros = {_zeros(load_model(out))}
        if (packed := out.with_suffix(".packed")).exists():
            zeros.add(_zeros(compress.unpack(packed)))
        if (report := out.with_suffix(".json")).exists():
            zeros.add(json.loads(report.read_text())["passes"][0]["settings"]["sparsity"])
            assert packed.exists()  # it is finished
        assert len(zeros) == 1
        states.append((*zeros, packed.exists(), report.exists()))
    assert states == [
        (0.5, True, False), (0.5, False, False),
        (0.9, False, False), (0.9, True, False), (0.9, True, True),
    ]  # fmt: skip


def _zeros(model):
    kernels = [v.numpy() for v in model.weights if v.name == "kernel"]
    return round(sum((k == 0).sum() for k in kernels) / sum(k.size for k in kernels), 1)


def test_a_bundle_may_be_called_as_a_file_is(zoo, tmp_path):
    out = tmp_path / "lenet.keras"
    shutil.copytree(find_bundle("lenet5").path, out)
    assert "0.98" in zoo("evaluate", out)


def test_what_is_read_is_never_replaced(place, tmp_path):
    file, bundle = tmp_path / "own.keras", tmp_path / "lenet5"
    shutil.copy(place / "own.keras", file)
    shutil.copytree(find_bundle("lenet5").path, bundle)
    inside = bundle / "model.keras"
    shutil.copy(file, inside)
    for given, out, brought in (
        (file, file, {}),
        (bundle, bundle, {}),
        (bundle, tmp_path, {}),
        (inside, bundle, {"data": "digits"}),
    ):
        with pytest.raises(ValueError, match=r"is what is read, .*; expected another --out"):
            house.compress(given, "int8", out=out, force=True, **brought)


def test_changes_of_a_model_of_ones_own_may_be_of_its_task(place, tmp_path):
    bundle = house.compress(
        place / "own.keras",
        "int8",
        data="digits",
        values="0..1",
        changes=["task.label_smoothing=0.1"],
        out=tmp_path / "small",
    )
    assert bundle.recipe.task.label_smoothing == 0.1


def test_a_file_of_logits_is_scored_as_the_shares_of_its_model(place, tmp_path):
    bundle = own.bring(own.opened(place / "own.keras"), "digits", tmp_path / "own", values="0..1")
    (made,) = house.export(bundle, "tflite-int8", out=tmp_path)
    score, told = made.manifest.score, bundle.report.metrics
    assert made.manifest.facts["logits"] and told["top1"] > 0.9
    measured = house.evaluate(bundle, file=made.path).evaluation.metrics
    for metrics in (score.model, score.file, measured):
        assert metrics["top1"] == pytest.approx(told["top1"], abs=0.02)
        assert metrics["loss"] == pytest.approx(told["loss"], rel=0.1)


def data_of(columns, **more):
    """A data set of the user's own, the same examples in each split."""
    kinds = {name: column for name, (column, _) in columns.items()}
    part = Split({name: values for name, (_, values) in columns.items()})
    return DataSet("mine", "here", kinds, part, part, part, **more)


def test_shares_of_each_pixel_are_measured_as_keras_does():
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (12, 8, 8, 3)).astype("uint8")
    masks = (images[..., 0] > 100).astype("uint8") + (images[..., 1] > 200).astype("uint8")
    data = data_of(
        {
            "image": (Column("image", (8, 8, 3)), images),
            "mask": (Column("mask", (8, 8), ("back", "one", "two")), masks),
        }
    )
    x = keras.Input((8, 8, 3), name="image")
    model = keras.Model(x, layers.Conv2D(3, 1, activation="softmax")(layers.Rescaling(1 / 255)(x)))
    found = house.evaluate(model, "test", data=data, values="0..255").evaluation.metrics
    answers = model.predict(images, verbose=0)
    want = keras.losses.sparse_categorical_crossentropy(masks, answers)
    assert found["loss"] == pytest.approx(float(np.mean(want)), rel=1e-5)
    one = keras.Model(x, layers.Conv2D(1, 1, activation="sigmoid")(x), name="unet")
    with pytest.raises(ValueError, match=r"unet: has 1 outputs; mine has 3 classes, back, one, tw"):
        house.evaluate(one, data=data)


def test_shares_beside_a_box_are_measured_as_shares():
    random = np.random.RandomState(0)
    images = random.randint(0, 256, (12, 8, 8, 1)).astype("uint8")
    labels = random.randint(0, 3, 12).astype("int32")
    data = data_of(
        {
            "image": (Column("image", (8, 8, 1)), images),
            "label": (Column("class", (), ("a", "b", "c")), labels),
            "box": (Column("box", (4,)), np.tile(np.float32([1, 1, 5, 6]), (12, 1))),
        }
    )
    x = keras.Input((8, 8, 1), name="image")
    h = layers.Flatten()(layers.Rescaling(1 / 255)(x))
    logits, box = layers.Dense(3)(h), layers.Dense(4)(h)
    losses = [
        house.evaluate(keras.Model(x, heads), data=data, values="0..255").evaluation.metrics["loss"]
        for heads in (
            {"logits": logits, "box": box},
            {"logits": layers.Softmax()(logits), "box": box},
        )
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    with pytest.raises(ValueError, match=r"expected a mapping of `logits` and `box`"):
        house.evaluate(keras.Model(x, [logits, box]), data=data)


def test_pixels_of_integers_stay_whole(caplog):
    """A uint8 input is given pixels of 0 to 255, and no fractions that its type cuts off."""
    caplog.set_level(logging.WARNING, "zoo")
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), dtype="uint8", name="image"),
            layers.Rescaling(1 / 255.0),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    found = house.evaluate(model, "test", data=DIGITS).evaluation.metrics
    assert "takes its pixels" not in caplog.text
    pixels, labels = DIGITS.test["image"], DIGITS.test["label"]
    logits = model.predict(pixels, verbose=0)
    loss = keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    assert found["loss"] == pytest.approx(float(np.mean(loss)), rel=1e-5)
    with pytest.raises(ValueError, match=r"got 0..1 for .*, which reads uint8 .*expected 0..255"):
        house.evaluate(model, data=DIGITS, values="0..1")
    with pytest.raises(ValueError, match=r"got 0..1 for .*, which reads uint8"):
        taken(model, "0..1")
    short = keras.Sequential([keras.Input((8, 8, 1), dtype="int8"), layers.Flatten()])
    with pytest.raises(ValueError, match=r"reads int8; expected uint8 or floats"):
        taken(short, None)


def test_the_ranges_of_keras_applications():
    """`torch` and `tf` are as Keras makes them; the blue, green, red of `caffe` is refused."""
    picture = np.random.RandomState(0).randint(0, 256, (1, 8, 8, 3)).astype("uint8")
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten()])
    for name in ("torch", "tf"):
        want = keras.applications.imagenet_utils.preprocess_input(picture.astype("f4"), mode=name)
        np.testing.assert_allclose(taken(model, name).apply(picture), want, atol=1e-5)
    with pytest.raises(ValueError, match=r"got caffe, whose channels are blue, green, red"):
        taken(model, "caffe")
    grey = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten()])
    with pytest.raises(ValueError, match=r"got torch for .* of 1 channels; expected 0..255 or"):
        taken(grey, "torch")


def test_what_was_asked_for_is_not_guessed(caplog):
    """A kind that the labels do not ask for; shares within a whole block of the task."""
    run = asking.run_of
    model = load_model("own.keras")
    whole = ["task={kind: classify, probabilities: false}"]
    assert not run(model, DIGITS, values="0..1", changes=whole).task.probabilities
    with pytest.raises(ValueError, match=r"task.kind: got segment, which learns mask") as told:
        run(model, DIGITS, changes=["task.kind=segment"])
    assert "unknown key" not in str(told.value)
    images = DIGITS.train["image"][:40]
    column = Column("class", (), ("no", "yes"))
    data = data_of({"image": (Column("image", (8, 8, 1)), images),
                    "label": (column, np.arange(40, dtype="int32") % 2)})  # fmt: skip
    two = net(classes=2)
    assert run(two, data, changes=["task.kind=classify"]).task.kind == "classify"


def test_ranges_without_finite_answers_are_no_choice(caplog):
    """`log` of a pixel below 0 is no number; with weights that are none nothing is chosen."""
    caplog.set_level(logging.WARNING, "zoo")
    x = keras.Input((8, 8, 1), name="image")
    h = layers.Flatten()(keras.ops.log(x + 1e-3))
    model = keras.Model(x, layers.Dense(10, name="logits")(h), name="logs")
    house.evaluate(model, "test", data=DIGITS)
    assert "takes its pixels as" in caplog.text and "-1..1" not in caplog.text
    model.get_layer("logits").bias.assign(np.full(10, np.nan))
    with pytest.raises(ValueError, match=r"logs: its answers to the training examples are not"):
        house.evaluate(model, data=DIGITS)


def test_a_model_that_has_no_graph_or_too_many_numbers_is_refused():
    class Own(keras.Model):
        def call(self, inputs):
            return keras.ops.reshape(inputs, (-1, 64))

    with pytest.raises(TypeError, match=r"got Own, a class of its own; expected a Functional"):
        house.evaluate(Own(), data=DIGITS)
    three = keras.Sequential([keras.Input((10,)), layers.Dense(3, name="out")], name="three")
    with pytest.raises(ValueError, match=r"three: has the outputs out \(3,\); expected one number"):
        house.evaluate(three, data="diabetes")


def test_data_of_another_shape_is_refused_in_a_line(zoo):
    table = load("breast_cancer")
    row = keras.Sequential([keras.Input((7,), name="row"), layers.Dense(1)], name="rows")
    row.save("rows.keras")
    told = zoo("evaluate", "rows.keras", "--data", "breast_cancer", expect=2)
    assert "rows: reads row (7,); breast_cancer has features (30,)" in told
    assert len(told.strip().splitlines()) == 1
    fitting = keras.Sequential([keras.Input((30,)), layers.Dense(1, activation="sigmoid")])
    with pytest.raises(ValueError, match=r"got '0..1' for a model of rows of a table"):
        house.evaluate(fitting, data=table, values="0..1")
    with pytest.raises(ValueError, match=r"got '0..1' for a model of rows of a table"):
        taken(fitting, "0..1")
    two = keras.Input((30,))
    two = keras.Model(two, [layers.Dense(2)(two), layers.Dense(3)(two)], name="two")
    with pytest.raises(ValueError, match=r"two: has the outputs .*; expected one"):
        house.evaluate(two, data=table)
    tokens = np.random.RandomState(0).randint(0, 5, (6, 9)).astype("int32")
    data = data_of({"tokens": (Column("tokens", (9,), tuple("abcde")), tokens),
                    "counted": (Column("count", ()), np.full(6, 8, "int32"))})  # fmt: skip
    small = keras.Sequential(
        [keras.Input((None,), dtype="int32"), layers.Embedding(4, 3), layers.Dense(5)], name="few"
    )
    with pytest.raises(ValueError, match=r"few: has 4 rows for .*; mine has 5 tokens"):
        house.evaluate(small, data=data)


def test_a_file_of_another_model_is_refused_before_it_runs(zoo):
    zoo("export", "own.keras", "tflite", "--samples", "x.npy", "--out", "files")
    told = zoo("evaluate", "lenet5", "--file", "files/own-tflite", expect=2)
    assert "has the inputs (8, 8, 1); expected (32, 32, 1), those of the bundle's model" in told
    assert "another model than that of" not in told and "Traceback" not in told


def test_a_file_of_pixels_is_measured_on_pixels(tmp_path):
    want = house.evaluate("lenet5").evaluation.metrics
    (made,) = house.export("lenet5", "tflite", out=tmp_path, pixels=True)
    found = house.evaluate("lenet5", file=made.path)
    assert found.same_top1 == 1
    assert found.evaluation.metrics == pytest.approx(want, rel=1e-4)


def test_a_target_that_fails_does_not_stop_the_others(zoo, tmp_path):
    text = keras.Input((1,), dtype="string", name="text")
    words = layers.TextVectorization(vocabulary=["a", "b"], output_sequence_length=3)(text)
    model = keras.Model(text, layers.Dense(2)(layers.Embedding(6, 2)(words)))
    model.save(tmp_path / "words.keras")
    out = tmp_path / "files"
    targets = ["tflite", "saved_model", "onnx"]
    told = zoo("export", tmp_path / "words.keras", *targets, "--out", out, expect=1)
    assert [told.count(f"{name} failed: ") for name in targets] == [1, 0, 1]
    assert (out / "words-saved_model" / "manifest.json").is_file()
    assert not (out / "words-tflite").exists() and "Traceback" not in told
    with pytest.raises(PartlyExportedError) as caught:
        house.export(tmp_path / "words.keras", *targets, out=tmp_path / "more")
    assert [one.manifest.target for one in caught.value.done] == ["saved_model"]
    assert list(caught.value.failed) == ["tflite", "onnx"]


def test_a_bundle_without_finite_metrics_is_refused_at_once(tmp_path):
    """Before it is compressed, exported or averaged; a measure beside the loss may be none."""
    made = own.bring(own.opened("own.keras"), DIGITS, tmp_path / "made", values="0..1")
    file = made.path / "report.json"
    report = json.loads(file.read_text())
    report["metrics"] |= {"rare": float("nan")}
    file.write_text(json.dumps(report))
    small = house.compress(made.path, "int8", out=tmp_path / "small")
    assert np.isnan(small.report.compress.parent_metrics["rare"])
    report["metrics"] |= {"loss": float("nan")}
    file.write_text(json.dumps(report))
    for refused in (
        lambda: house.compress(made.path, "prune50", out=tmp_path / "no"),
        lambda: house.export(made.path, "tflite", out=tmp_path / "no"),
        lambda: house.ensemble([made.path, made.path], out=tmp_path / "no"),
    ):
        with pytest.raises(ValueError, match=r"made: got a model with loss nan on the test split"):
            refused()
    with pytest.raises(ValueError, match=r"answers with the shares of a softmax; expected logits"):
        house.ensemble([small.path, small.path], out=tmp_path / "no")


def test_what_keras_lays_around_an_error_is_left_out():
    class Refuses(layers.Layer):
        def call(self, inputs):
            raise ValueError("the line")

    layer = Refuses()
    layer.built = True
    for given in (np.zeros((2, 3), "float32"), keras.Input((3,))):
        with pytest.raises(ValueError, match="Refuses") as told:
            layer(given)
        assert len(str(told.value).splitlines()) > 1
        assert quiet.plain(str(told.value)) == "the line"
    assert quiet.plain("got 1\nand 2") == "got 1\nand 2"
