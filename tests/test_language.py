"""Language: windows and one step, what is deployed, what is written; small nets on real text."""

import json
import math
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml

import export
import serving
import zoo
from compress.graph import copy_model
from tests.toy import check_resumed, printed
from zoo.common.writing import Options, draw
from zoo.data.loading import load
from zoo.data.sets import pydoc_topics
from zoo.models.build import create
from zoo.models.saved import load_model, load_networks
from zoo.models.step import is_step, states, step_of, through_time
from zoo.recipe import Train, resolve
from zoo.tasks.words.language import Language
from zoo.tasks.words.predicting import Counted
from zoo.training.fitting import fit
from zoo.training.run import Run
from zoo.training.writing import write_bundle

SMALL = [
    "settings={units: [24, 16], embedding: 12, dropout: 0}",
    "data.size=24",
    "train.epochs=6",
    "train.batch_size=16",
    "train.optimizer.learning_rate=0.02",
    "hardware.precision=float32",
    "hardware.strategy=one",
]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """The first 16,000 characters of the help texts, as a user's own text."""
    path = tmp_path_factory.mktemp("text") / "topics.txt"
    path.write_text(pydoc_topics.read()[:16_000], encoding="utf-8")
    return f"text:{path}"


@pytest.fixture(scope="module")
def bundle(text, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "char_lstm"
    return fit("char_lstm", data=text, out=out, changes=SMALL)


@pytest.fixture(scope="module")
def run(bundle):
    return Run(bundle.recipe, networks=load_networks(bundle.path))


@pytest.fixture(scope="module")
def step(bundle):
    return load_model(bundle.path)


def two_layers(kind="lstm", length=None):
    if kind == "lstm":
        settings = {"units": (9, 7), "embedding": 5, "dropout": 0.3}
        return create("char_lstm", input_shape=(length,), num_classes=11, **settings)
    layer = {"gru": keras.layers.GRU, "simple": keras.layers.SimpleRNN}[kind]
    tokens = keras.Input((length,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(11, 5, name="embedding")(tokens)
    x = layer(9, return_sequences=True, name="low")(x)
    x = keras.layers.LayerNormalization(name="norm")(x)
    x = layer(7, return_sequences=True, name="high")(x)
    return keras.Model(tokens, keras.layers.Dense(11, name="logits")(x), name="net")


def shaken(net, seed=0):
    """Weights large enough that a wrong gate or state would show."""
    random = np.random.RandomState(seed)
    shapes = [weight.shape for weight in net.weights]
    net.set_weights([random.normal(scale=0.7, size=shape).astype("float32") for shape in shapes])
    return net


def tokens_of(net, rows=4, time=50, seed=1):
    size = net.output.shape[-1]
    return np.random.RandomState(seed).randint(0, size, (rows, time)).astype("int32")


# -- networks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["lstm", "gru", "simple"])
def test_a_step_run_along_a_text_is_the_network(kind):
    net = shaken(two_layers(kind))
    step, tokens = step_of(net), tokens_of(net)
    assert is_step(step) and step.inputs[0].shape == (None, 1) and step_of(step) is step
    expected = net(tokens).numpy()
    found = through_time(step, tf.constant(tokens))["logits"].numpy()
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_step_shares_no_weight_with_its_network():
    net = shaken(two_layers())
    before, step = net.get_weights(), step_of(net)
    step.set_weights([w * 0 for w in step.get_weights()])
    assert all(np.array_equal(a, b) for a, b in zip(before, net.get_weights(), strict=True))


@pytest.mark.oracle
def test_a_step_is_the_equations_of_an_lstm():
    """Hochreiter & Schmidhuber 1997 with forget gates, as NumPy spells them; order i f c o."""
    net = shaken(two_layers())
    step = step_of(net)
    known = {tensor.name: np.random.RandomState(2).normal(size=(3, tensor.shape[-1]))
             for tensor in step.inputs}  # fmt: skip
    known["tokens"] = np.array([[3], [0], [10]], "int32")
    found = step([tf.constant(known[t.name].astype(t.dtype)) for t in step.inputs])

    def squashed(x):
        return 1 / (1 + np.exp(-x))

    x = net.get_layer("embedding").get_weights()[0][known["tokens"][:, 0]]
    for name in ("lstm1", "lstm2"):
        kernel, recurrent, bias = net.get_layer(name).get_weights()
        sums = x @ kernel + known[f"{name}_h"] @ recurrent + bias
        i, f, c, o = np.split(sums, 4, axis=1)
        cell = squashed(f) * known[f"{name}_c"] + squashed(i) * np.tanh(c)
        x = squashed(o) * np.tanh(cell)
        np.testing.assert_allclose(found[f"next_{name}_c"], cell, atol=1e-5)
        np.testing.assert_allclose(found[f"next_{name}_h"], x, atol=1e-5)
    kernel, bias = net.get_layer("logits").get_weights()
    np.testing.assert_allclose(found["logits"], x @ kernel + bias, atol=1e-5)


@pytest.mark.oracle
def test_a_network_equals_torch():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    net = shaken(two_layers())
    tokens = tokens_of(net)
    x = torch.tensor(net.get_layer("embedding").get_weights()[0])[torch.tensor(tokens).long()]
    for name in ("lstm1", "lstm2"):
        kernel, recurrent, bias = (torch.tensor(w) for w in net.get_layer(name).get_weights())
        theirs = torch.nn.LSTM(kernel.shape[0], recurrent.shape[0], batch_first=True)
        with torch.no_grad():
            theirs.weight_ih_l0.copy_(kernel.T)
            theirs.weight_hh_l0.copy_(recurrent.T)
            theirs.bias_ih_l0.copy_(bias)
            theirs.bias_hh_l0.zero_()
            x = theirs(x)[0]
    kernel, bias = (torch.tensor(w) for w in net.get_layer("logits").get_weights())
    np.testing.assert_allclose(net(tokens), (x @ kernel + bias).numpy(), atol=2e-5)


def test_any_length_fits():
    net = two_layers()
    assert [net(tokens_of(net, time=time)).shape[1] for time in (1, 30)] == [1, 30]
    assert two_layers(length=6).input_shape == (None, 6)


def test_what_has_no_step_is_refused():
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(5, 4, name="embedding")(tokens)
    both = keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True), name="both")(x)
    with pytest.raises(ValueError, match=r"^net: both is a Bidirectional, which has no single st"):
        step_of(keras.Model(tokens, both, name="net"))
    back = keras.layers.LSTM(3, return_sequences=True, go_backwards=True, name="back")(x)
    with pytest.raises(ValueError, match=r"^net: back runs backwards"):
        step_of(keras.Model(tokens, back, name="net"))
    fork = keras.layers.Add(name="sum")([x, keras.layers.Dense(4, name="side")(x)])
    with pytest.raises(ValueError, match=r"^net: sum does not read what the layer before it gives"):
        step_of(keras.Model(tokens, fork, name="net"))


# -- measures -------------------------------------------------------------------------------------


def batch_of(data, split="test", count=6):
    columns = getattr(data, split)[-count:].columns
    return {**columns, "weight": np.ones(count, "float32")}


def test_a_model_that_knows_nothing_needs_the_logarithm_of_the_vocabulary(run):
    size = len(run.data.labels)
    net = create("char_lstm", input_shape=(None,), num_classes=size, units=(8,), embedding=4)
    for weight in net.get_layer("logits").weights:
        weight.assign(weight * 0)
    metrics = run.evaluate({"net": net}, "test").metrics
    assert metrics["bits_per_character"] == pytest.approx(math.log2(size), rel=1e-6)
    assert metrics["perplexity"] == pytest.approx(size, rel=1e-5)


def test_loss_and_meter_count_the_same_characters(run, step):
    """The last window counts fewer characters than the others; NumPy sums them one by one."""
    task, networks = Language(), run.networks
    batch = batch_of(run.data)
    logits = networks["net"](batch["tokens"][:, :-1]).numpy().astype("float64")
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    bits = [
        -np.log2(shares[row, place, batch["tokens"][row, place + 1]])
        for row, count in enumerate(batch["counted"])
        for place in range(24 - count, 24)
    ]
    assert len(set(batch["counted"])) == 2
    tensors = {name: tf.constant(values) for name, values in batch.items()}
    seen = task.look("loss", networks, tensors, training=False)
    values, weights = seen.measures["bits_per_character"]
    found = float(tf.reduce_sum(values * weights) / tf.reduce_sum(weights))
    meter = task.meter(run.data.columns)
    meter.add(batch, logits)
    assert found == pytest.approx(np.mean(bits), rel=1e-5)
    result = meter.result()
    assert result.metrics["bits_per_character"] == pytest.approx(np.mean(bits), rel=1e-9)
    assert result.tables["counted"] == [{"tokens": len(bits)}]


def test_data_without_a_vocabulary_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"which learns windows of a text, .*; digits has image"):
        fit("char_lstm", data="digits", out=tmp_path / "x", changes=["data.size=null"])


@pytest.mark.parametrize(
    ("name", "has"),
    [
        ("arithmetic", r"tokens \(tokens\), joins \(heights\), label \(class\)"),
        ("dates", r"source \(tokens\), tokens \(tokens\)"),
    ],
)
def test_rows_with_padding_are_no_windows_of_a_text(name, has):
    with pytest.raises(ValueError, match=rf"^task\.kind: got language, .*; {name} has {has}\. T"):
        Language().check(load(name))


# -- training -------------------------------------------------------------------------------------


def test_it_learns_and_its_bundle_says_so(bundle, run):
    report, card = bundle.report, bundle.card
    with (bundle.path / "history.csv").open() as file:
        names = file.readline().strip().split(",")
        losses = [float(line.split(",")[names.index("loss")]) for line in file]
    assert losses[-1] < 0.9 * losses[0]
    assert report.metrics["bits_per_character"] < 0.9 * math.log2(len(run.data.labels))
    assert set(report.metrics) == {"loss", "bits_per_character", "perplexity", "top1"}
    assert list(card.inputs) == ["tokens", "lstm1_h", "lstm1_c", "lstm2_h", "lstm2_c"]
    assert card.inputs["tokens"].shape == (1,) and card.inputs["lstm2_c"].shape == (16,)
    assert card.labels == run.data.labels and card.networks == ("net",) and not card.custom_layers
    assert "sha256" in report.source and report.tables["counted"] == [{"tokens": 1600}]


def test_what_is_saved_is_the_step_and_the_network(bundle, run, step):
    net = load_networks(bundle.path)["net"]
    assert is_step(step) and not is_step(net)
    tokens = run.raw("test", 3)["tokens"][:, :-1]
    found = through_time(step, tf.constant(tokens))["logits"]
    np.testing.assert_allclose(found, net(tokens), atol=1e-5)
    ours, theirs = run.evaluate(step, "test").metrics, bundle.report.metrics
    assert ours["bits_per_character"] == pytest.approx(theirs["bits_per_character"], abs=1e-6)


def test_resumed_run_equals_a_whole_one(text, tmp_path):
    changes = [*SMALL, "train.epochs=2", "data.limit=160",
               "settings={units: [8], embedding: 6, dropout: 0.3}"]  # fmt: skip
    whole = fit("char_lstm", data=text, out=tmp_path / "a", changes=changes)
    check_resumed(whole, tmp_path / "b", data=text, changes=changes, stop_at=9)


TWO_DEVICES = """
    import json, sys
    from tests import two

    changes = ["settings={units: [8], embedding: 6, dropout: 0}", "data.size=10", "data.limit=160",
               "train.epochs=2", "train.batch_size=32",
               "train.optimizer={kind: sgd, learning_rate: 0.5, clip_global_norm: 0.1}"]
    keys = ("loss", "val_bits_per_character")
    print(json.dumps(two.of_recipe("char_lstm", changes, data=sys.argv[1], keys=keys)))
"""


@pytest.mark.dist
def test_two_devices_take_the_steps_of_one(text):
    weights, losses, moved = printed(TWO_DEVICES, text)
    assert moved > 0.01 and weights < 1e-6 and losses < 1e-5


def test_a_step_trains_on_in_place(run, bundle):
    """As the passes of `compress` ask for it: the deployed model, by its own layers."""
    step = load_model(bundle.path)
    before = run.evaluate(step, "validation").metrics["bits_per_character"]
    weights = step.get_weights()
    history = run.train(step, settings=run.recipe.train.further(1))
    assert max(np.abs(a - b).max() for a, b in zip(weights, step.get_weights(), strict=True)) > 0
    assert history.epochs == 1
    assert run.evaluate(step, "validation").metrics["bits_per_character"] < before
    slopes = next(iter(run.gradients(step, batches=1)))
    assert all(np.abs(slope).max() > 0 for slope in slopes)


# -- what is deployed -----------------------------------------------------------------------------


def test_samples_meet_the_states_of_a_run(run, bundle):
    net = load_networks(bundle.path)["net"]
    raw = run.raw("train", 40)["tokens"]
    found = run.samples(40)
    places = raw.sum(axis=1) % 24
    assert len(set(places)) > 10
    hidden = keras.Model(net.input, net.get_layer("lstm2").output)(raw[:, :-1]).numpy()
    for row, place in enumerate(places):
        assert found["tokens"][row] == raw[row, place]
        expected = hidden[row, place - 1] if place else np.zeros(16)
        np.testing.assert_allclose(found["lstm2_h"][row], expected, atol=1e-5)


@pytest.mark.parametrize(
    "target",
    [*(pytest.param(x, marks=pytest.mark.slow) for x in ("tflite", "onnx")), "tflite-int8"],
)
def test_exported_step_passes_the_gate(target, run, step, tmp_path):
    made = export.export(step, target, tmp_path / "x", samples=run.samples(64))
    assert made.manifest.parity.passed
    names = {spec.name for spec in made.manifest.signature.inputs}
    assert names == {"tokens", *states(step)}
    assert made.manifest.size_bytes < 60_000


def test_an_exported_file_is_measured_along_the_text(run, step, tmp_path):
    import onnxruntime

    made = export.export(step, "onnx", tmp_path / "x", samples=run.samples(8))
    session = onnxruntime.InferenceSession(made.path / made.manifest.file)
    names = [tensor.name for tensor in session.get_outputs()]

    def call(given):
        return dict(zip(names, session.run(None, dict(given)), strict=True))

    def answer(columns):
        return run.task.asked(call, run.networks, columns)

    of_file = run.evaluate(step, "test", answer=answer).metrics
    of_keras = run.evaluate(step, "test").metrics
    assert of_file["bits_per_character"] == pytest.approx(of_keras["bits_per_character"], abs=1e-5)


@pytest.mark.parametrize("recipe", ["prune50", "int8"])
def test_compressed_step_is_measured_itself(recipe, run, step):
    import compress
    from compress import layers

    layers.register()
    small = compress.apply(recipe, step, samples=run.samples(64))
    (report,) = small.report.passes
    rows = {row.path: row for row in report.layers}
    assert rows["logits"].changed
    notes = {"prune50": "recurrent_kernel: ", "int8": "stays in floats"}
    assert all(notes[recipe] in rows[name].note for name in ("lstm1", "lstm2"))
    before, after = (run.evaluate(m, "test").metrics for m in (step, small.model))
    gap = after["bits_per_character"] - before["bits_per_character"]
    assert gap != 0 and abs(gap) < (1.5 if recipe == "prune50" else 0.1)
    if recipe == "prune50":
        assert rows["embedding"].changed and pruned_share(small.model) == pytest.approx(0.5, 0.01)


def pruned_share(step):
    names = ("embeddings", "kernel", "recurrent_kernel")
    kernels = [weight for weight in step.weights if weight.name in names]
    return np.mean(np.concatenate([kernel.numpy().ravel() for kernel in kernels]) == 0)


def test_pruned_weights_stay_zero_while_a_step_trains_on(run, step):
    import compress

    def more(model, *, epochs, callbacks, rate=1.0):
        run.train(model, settings=run.recipe.train.further(1, rate=rate), callbacks=callbacks)

    small = compress.apply("prune50", step, fit=more)
    assert pruned_share(small.model) == pytest.approx(0.5, 0.01)
    before, after = (run.evaluate(m, "test").metrics for m in (step, small.model))
    assert after["bits_per_character"] < before["bits_per_character"] + 0.05


def test_a_compressed_bundle_holds_the_step_alone(run, bundle, step, tmp_path):
    import time

    from zoo.training.history import History

    made = write_bundle(run, tmp_path / "small", step, History(), began=time.perf_counter())
    assert not (made.path / "networks").exists() and made.card.networks == ()
    assert made.report.metrics["top1"] == pytest.approx(bundle.report.metrics["top1"], abs=1e-3)
    assert is_step(load_networks(made.path)["net"])


# -- writing --------------------------------------------------------------------------------------


def written(run, bundle, **options):
    options = {"count": 1, "seed": 0, "tokens": 40} | options
    return run.task.generate(run.networks, columns=bundle.card.outputs, **options)


def test_the_same_seed_writes_the_same(run, bundle):
    texts = written(run, bundle, count=2, seed=3, prompt="The ")
    assert texts == written(run, bundle, count=2, seed=3, prompt="The ")
    assert texts[0] != texts[1] and texts != written(run, bundle, count=2, seed=4, prompt="The ")
    assert all(text.startswith("The ") and len(text) == 44 for text in texts)
    assert len(written(run, bundle)[0]) == 40


def test_cold_writing_is_greedy(run, bundle):
    net = tf.function(run.networks["net"], autograph=False)
    names, prompt = run.data.labels, "with the "
    tokens = np.zeros((1, 39), "int32")
    tokens[0, :9] = [names.index(character) for character in prompt]
    for place in range(9, 39):  # what stands behind a place changes nothing
        tokens[0, place] = net(tf.constant(tokens))[0, place - 1].numpy().argmax()
    expected = "".join(names[token] for token in tokens[0])
    for temperature in (0.0, 1e-6):
        assert written(run, bundle, prompt=prompt, tokens=30, temperature=temperature) == [expected]


def shares(count=20_000, **options):
    """How often each of three tokens is drawn."""
    logits = np.tile(np.log([0.2, 0.5, 0.3]), (count, 1))
    drawn = draw(logits, Options(**options), np.random.RandomState(0))
    return np.bincount(drawn, minlength=3) / count


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.2, 0.5, 0.3]),
        ({"temperature": 0.5}, np.array([4, 25, 9]) / 38),
        ({"top_k": 2}, [0, 0.625, 0.375]),
        ({"top_k": 9}, [0.2, 0.5, 0.3]),
        ({"top_p": 0.5}, [0, 1, 0]),
        ({"top_p": 0.51}, [0, 0.625, 0.375]),
        ({"top_p": 0.65, "temperature": 0.5}, [0, 1, 0]),
        ({"top_p": 0.7, "top_k": 2}, [0, 0.625, 0.375]),
        ({"temperature": 0}, [0, 1, 0]),
    ],
)
def test_warm_writing_draws_from_the_likeliest(options, expected):
    np.testing.assert_allclose(shares(**options), expected, atol=0.015)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prompt": "naïve ☃"}, r"^prompt: got 'ï', '☃' in 'naïve ☃'; expected characters of"),
        ({"temperature": -1.0}, r"^generate\.temperature: got -1\.0; expected greater than"),
        ({"tokens": 0}, r"^generate\.tokens: got 0; expected greater than"),
        ({"top_p": 0.0}, r"^generate\.top_p: got 0\.0; expected greater than"),
        ({"tokns": 9}, r"^generate\.tokns: unknown key\. Did you mean 'tokens'\?$"),
    ],
)
def test_wrong_options_of_writing(run, bundle, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        written(run, bundle, **options)
    assert "\n" not in str(caught.value)


def test_the_recipe_is_instant_and_its_optimizer_clips():
    recipe = resolve("char_lstm")
    assert recipe.task.kind == "language" and isinstance(recipe.train, Train)
    assert recipe.train.optimizer.clip_global_norm == 1.0
    code = "import sys, zoo.recipe as r; r.resolve('char_lstm'); print('keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


NO_TENSORFLOW = """
import sys
from zoo.cli import main
main(["generate", sys.argv[1], "--prompt", "with the ", "--tokens", "40", "--temperature", "0",
      "--json"])
assert not {"tensorflow", "keras"} & set(sys.modules)
"""


@pytest.fixture(scope="module")
def files(step, run, bundle, tmp_path_factory):
    """Exported steps, by target."""
    out = tmp_path_factory.mktemp("exported")
    about = export.About(name="char_lstm", task="language", labels=bundle.card.labels)
    return {
        target: export.export(step, target, out / target, samples=run.samples(64), about=about).path
        for target in ("tflite", "onnx")
    }


@pytest.mark.parametrize("target", ["tflite", "onnx"])
def test_a_file_writes_what_keras_writes(target, files, run, bundle):
    options = {"prompt": "with the ", "tokens": 60, "temperature": 0.0}
    assert serving.write(files[target], **options) == written(run, bundle, **options)
    options = {"count": 2, "seed": 5, "tokens": 30, "temperature": 0.7, "top_p": 0.9}
    texts = serving.write(files[target], **options)
    assert len(texts) == 2 and texts == serving.write(files[target], **options)


def test_a_file_writes_without_tensorflow(files, run, bundle):
    """In a process of its own, by the command."""
    command = [sys.executable, "-c", NO_TENSORFLOW, str(files["tflite"])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)["texts"]
    assert found == written(run, bundle, prompt="with the ", temperature=0.0)


def test_what_a_file_cannot_write(files, tmp_path):
    with pytest.raises(ValueError, match=r"^prompt: got '☃' in '☃'; expected characters"):
        serving.write(files["onnx"], prompt="☃")
    with pytest.raises(ValueError, match="got --walk for an exported file; drop it"):
        zoo.generate(files["onnx"], walk=True)
    texts = zoo.generate(files["onnx"], tokens=5, out=tmp_path / "text.txt")
    assert (tmp_path / "text.txt").read_text(encoding="utf-8") == f"{texts[0]}\n"


@pytest.mark.slow
def test_a_file_writes_many_times_as_fast_as_keras_predicts(files, step, run):
    """Of the loop that Keras' users write, a step at a time by `predict`."""
    import time

    given = {t.name: np.zeros((1, *t.shape[1:]), t.dtype) for t in step.inputs}
    step.predict(given, verbose=0)
    began = time.perf_counter()
    for _ in range(20):
        found = step.predict(given, verbose=0)
        given |= {name: found[f"next_{name}"] for name in given if name != "tokens"}
    keras_seconds = (time.perf_counter() - began) / 20
    began = time.perf_counter()
    serving.write(files["tflite"], tokens=2000)
    assert keras_seconds > 20 * (time.perf_counter() - began) / 2000


# -- learning on from what is read ----------------------------------------------------------------


def test_dynamic_evaluation_is_gradient_descent_behind_each_window(run):
    """By the definition, in NumPy's order: predict, then learn, window by window."""
    net = copy_model(run.networks["net"])
    batch = run.data.test[:4].columns
    meter = Language(dynamic=0.5).meter_with(run.data, run.networks)
    meter.add(batch, run.networks["net"](batch["tokens"][:, :-1]).numpy())
    found = meter.result().metrics
    nats = 0.0
    for tokens, counted in zip(batch["tokens"], batch["counted"], strict=True):
        with tf.GradientTape() as tape:
            logits = net(tokens[None, :-1])[0, -counted:]
            loss = keras.ops.mean(
                keras.ops.sparse_categorical_crossentropy(
                    tokens[-counted:], logits, from_logits=True
                )
            )
        nats += float(loss) * counted
        slopes = tape.gradient(loss, [v.value for v in net.trainable_variables])
        slopes = [np.array(tf.convert_to_tensor(slope)) for slope in slopes]
        norm = np.sqrt(sum(float((slope**2).sum()) for slope in slopes))
        for variable, slope in zip(net.trainable_variables, slopes, strict=True):
            variable.assign(variable - 0.5 * slope / max(1.0, norm))
    bits = nats / math.log(2) / batch["counted"].sum()
    assert found["dynamic_bits_per_character"] == pytest.approx(bits, rel=1e-5)
    assert bits != pytest.approx(found["bits_per_character"], rel=1e-4)


def test_dynamic_evaluation_is_asked_for_and_helps(bundle):
    found = zoo.evaluate(bundle, changes=["task.dynamic=0.05"]).evaluation.metrics
    assert found["bits_per_character"] == pytest.approx(bundle.report.metrics["bits_per_character"])
    assert found["dynamic_bits_per_character"] < found["bits_per_character"]


# -- windows, words -------------------------------------------------------------------------------

WINDOWED = {
    "char_tcn_small": "{channels: [16, 12], embedding: 8, context: 24}",
    "char_transformer_small": "{width: 16, depth: 2, heads: 2, units: 24, context: 24}",
}


@pytest.mark.parametrize("name", WINDOWED)
def test_a_place_sees_none_behind_it(name):
    settings = yaml.safe_load(WINDOWED[name])
    net = shaken(create(name, input_shape=(None,), num_classes=11, **settings))
    tokens = tokens_of(net, time=24)
    changed = tokens.copy()
    changed[:, 13:] = (changed[:, 13:] + 1) % 11
    one, other = net(tokens).numpy(), net(changed).numpy()
    np.testing.assert_allclose(one[:, :13], other[:, :13], atol=1e-5)
    assert np.abs(one[:, 13:] - other[:, 13:]).max() > 0.01
    changed = tokens.copy()
    changed[:, 9] = (changed[:, 9] + 1) % 11  # and sees one that stands a little before it
    assert np.abs(net(changed).numpy()[:, 13] - one[:, 13]).max() > 1e-4
    np.testing.assert_allclose(net(tokens[2:3]), one[2:3], atol=1e-5)


@pytest.mark.oracle
def test_attention_equals_torch():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    settings = yaml.safe_load(WINDOWED["char_transformer_small"]) | {"depth": 1}
    net = shaken(create("char_transformer_small", input_shape=(None,), num_classes=11, **settings))
    tokens = tokens_of(net, time=24)
    weights = {
        (layer.name, place): torch.tensor(value)
        for layer in net.layers
        for place, value in enumerate(layer.get_weights())
    }

    def linear(x, name):
        return x @ weights[name, 0] + weights[name, 1]

    def norm(x, name):
        return torch.nn.functional.layer_norm(x, x.shape[-1:], weights[name, 0], weights[name, 1])

    x = weights["embedding", 0][torch.tensor(tokens).long()] + weights["positions", 0]
    y = norm(x, "layer1_attention_norm")
    parts = [linear(y, f"layer1_{part}").reshape(4, 24, 2, 8).transpose(1, 2)
             for part in ("query", "key", "value")]  # fmt: skip
    y = torch.nn.functional.scaled_dot_product_attention(*parts, is_causal=True)
    x = x + linear(y.transpose(1, 2).reshape(4, 24, 16), "layer1_attention_out")
    y = torch.relu(linear(norm(x, "layer1_dense_norm"), "layer1_dense"))
    x = x + linear(y, "layer1_dense_out")
    expected = linear(norm(x, "logits_norm"), "logits")
    np.testing.assert_allclose(net(tokens), expected.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "name", [pytest.param("char_tcn_small", marks=pytest.mark.slow), "char_transformer_small"]
)
def test_a_model_of_windows_learns_and_its_file_writes(name, text, tmp_path):
    changes = [*SMALL[1:], f"settings={WINDOWED[name]}", "train.epochs=2", "data.limit=320"]
    bundle = fit(name, data=text, out=tmp_path / "run", changes=changes)
    assert bundle.report.metrics["bits_per_character"] < math.log2(len(bundle.card.labels))
    model, run = load_model(bundle.path), Run(bundle.recipe, networks=load_networks(bundle.path))
    assert not is_step(model) and model.input_shape == (None, 24)
    options = {"prompt": "with the ", "tokens": 30, "temperature": 0.0}
    expected = run.task.generate(
        {"net": model}, columns=bundle.card.outputs, count=1, seed=0, **options
    )
    about = export.About(name=name, task="language", labels=bundle.card.labels)
    for target in ("tflite", "onnx"):
        made = export.export(model, target, tmp_path / target, samples=run.samples(16), about=about)
        assert made.manifest.parity.passed
        assert serving.write(made.path, **options) == expected
    with pytest.raises(ValueError, match=r"^data\.size: got 20; .* reads windows of 24\."):
        fit(name, data=text, out=tmp_path / "x", changes=[*changes, "data.size=20"])


def test_words_are_measured_by_the_characters_they_stand_for(text, tmp_path):
    changes = [*SMALL[1:], "data.text={unit: word, vocabulary: 120}", "data.size=10",
               "settings={units: [12], embedding: 8}", "train.epochs=2"]  # fmt: skip
    bundle = fit("word_lstm", data=text, out=tmp_path / "run", changes=changes)
    run = Run(bundle.recipe, networks=load_networks(bundle.path))
    metrics, columns = bundle.report.metrics, run.data.test.columns
    tokens = bundle.report.tables["counted"][0]["tokens"]
    left = np.arange(10)[::-1][None] < columns["counted"][:, None]
    characters = columns["lengths"][:, 1:][left].sum()
    assert tokens == left.sum() and characters > 2 * tokens
    bits = metrics["loss"] * tokens / math.log(2) / characters
    assert metrics["bits_per_character"] == pytest.approx(bits, rel=1e-6)
    batch = {name: tf.constant(values) for name, values in columns.items()}
    values, weights = run.task.look("loss", run.networks, batch, training=False).measures[
        "bits_per_character"
    ]
    found = float(tf.reduce_sum(values * weights) / tf.reduce_sum(weights))
    assert found == pytest.approx(bits, rel=1e-4)
    (line,) = run.task.generate(
        run.networks, columns=bundle.card.outputs, count=1, seed=0, prompt="The zebra", tokens=9
    )
    assert line.startswith("The zebra") and len(line) > 20


def test_characters_of_words_that_are_not_known_are_counted():
    batch = {
        "tokens": np.array([[3, 0, 2, 1], [1, 2, 0, 3]]),
        "lengths": np.array([[9, 5, 2, 1], [9, 4, 7, 1]]),
        "counted": np.array([3, 2]),  # of the second row the last two: 7 and 1 characters
    }
    meter = Counted(0)
    meter.add(batch, np.zeros((2, 3, 4), "float32"))
    found = meter.result().metrics
    assert found["unknown"] == pytest.approx((5 + 7) / (5 + 2 + 1 + 7 + 1))
    assert found["bits_per_character"] == pytest.approx(5 * 2 / 16)
