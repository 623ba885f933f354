"""The neural Turing machine: its equations, its four tasks, what is learnt and deployed."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.toy import check_resumed, printed
from zoo.data.loading import load
from zoo.data.sets import algorithms
from zoo.models.build import create
from zoo.models.saved import load_model, load_networks
from zoo.models.step import logits_of, states, through_time
from zoo.tasks.sequences.recall import Recall
from zoo.training.fitting import fit
from zoo.training.run import Run

SMALL = [
    "settings={units: 24, places: 8, width: 8}",
    "data={name: copy, size: 2, limit: 640}",
    "train.epochs=5",
    "train.batch_size=16",
    "train.optimizer.learning_rate=0.01",
    "hardware={precision: float32, strategy: one, jit: false}",
]


@pytest.fixture(scope="module", autouse=True)
def _few_sequences():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(algorithms, "TRAIN", 1_600)
        patch.setattr(algorithms, "VALIDATION", 100)
        yield


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return fit("ntm_small", out=tmp_path_factory.mktemp("runs") / "ntm", changes=SMALL)


@pytest.fixture(scope="module")
def run(bundle):
    return Run(bundle.recipe, networks=load_networks(bundle.path))


def shaken(net, seed=0, scale=0.6):
    random = np.random.RandomState(seed)
    shapes = [weight.shape for weight in net.weights]
    net.set_weights([random.normal(scale=scale, size=shape).astype("float32") for shape in shapes])
    return net


# -- equations ------------------------------------------------------------------------------------


def along(net, series, *, places, width, heads, units, controller):
    """The paper's equations one after another, for one sequence, in float64."""
    weights = {w.path: w.numpy().astype("float64") for w in net.weights}

    def dense(x, name):
        return x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def softmax(x):
        return np.exp(x - x.max()) / np.exp(x - x.max()).sum()

    def head(x, before, memory, name):
        given = dense(x, f"{name}_head")
        key = np.tanh(given[:width])
        strength, gate = np.log1p(np.exp(given[width])), sigmoid(given[width + 1])
        shift = softmax(given[width + 2 : width + 5])
        sharpness = 1 + np.log1p(np.exp(given[width + 5]))
        cosines = np.array(
            [key @ row / np.sqrt((key @ key) * (row @ row) + 1e-6) for row in memory]
        )
        mixed = gate * softmax(strength * cosines) + (1 - gate) * before  # equations 5 to 7
        moved = np.zeros(places)
        for place in range(places):  # equation 8
            for step, share in zip((-1, 0, 1), shift, strict=True):
                moved[place] += share * mixed[(place - step) % places]
        sharp = (moved + 1e-6) ** sharpness
        return sharp / sharp.sum(), given[width + 6 :]

    memory, reads = np.zeros((places, width)), [np.zeros(width)] * heads
    first = np.eye(places)[0]
    looks = {f"{kind}{i}": first for kind in ("read", "write") for i in range(1, heads + 1)}
    h = c = np.zeros(units)
    logits = []
    for now in series:
        x = np.concatenate([now, *reads])
        if controller == "lstm":
            gates = x @ weights["controller/kernel"] + h @ weights["controller/recurrent_kernel"]
            i, f, g, o = np.split(gates + weights["controller/bias"], 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            x = h = sigmoid(o) * np.tanh(c)
        else:
            x = np.tanh(dense(x, "controller"))
        old, added = memory, 0  # all erase, then all add, section 3.2
        for number in range(1, heads + 1):
            name = f"write{number}"
            looks[name], more = head(x, looks[name], old, name)
            erase, add = sigmoid(more[:width]), np.tanh(more[width:])
            memory = memory * (1 - np.outer(looks[name], erase))
            added = added + np.outer(looks[name], add)
        memory, reads = memory + added, []
        for number in range(1, heads + 1):
            name = f"read{number}"
            looks[name], _ = head(x, looks[name], memory, name)
            reads.append(looks[name] @ memory)
        logits.append(dense(np.concatenate([x, *reads]), "logits"))
    return np.array(logits), memory, looks


@pytest.mark.oracle
@pytest.mark.parametrize(("controller", "heads"), [("lstm", 2), ("feedforward", 1)])
def test_a_step_is_the_equations_of_the_paper(controller, heads):
    sizes = {"places": 5, "width": 3, "heads": heads, "units": 7, "controller": controller}
    net = shaken(create("ntm", input_shape=(None, 4), num_classes=2, **sizes), scale=1.0)
    series = np.random.RandomState(1).normal(size=(3, 9, 4)).astype("float32")
    found = {name: x.numpy() for name, x in through_time(net, tf.constant(series)).items()}
    assert found["next_read1_weights"].max() > 0.3  # or attention proves nothing
    for row in range(3):
        logits, memory, looks = along(net, series[row], **sizes)
        np.testing.assert_allclose(found["logits"][row], logits, atol=2e-4)
        last = found["next_memory"][row, -1].reshape(5, 3)
        np.testing.assert_allclose(last, memory, atol=2e-4)
        for name, look in looks.items():
            np.testing.assert_allclose(found[f"next_{name}_weights"][row, -1], look, atol=2e-4)
    np.testing.assert_allclose(logits_of(net, series, training=False), found["logits"], atol=1e-5)


def test_heads_write_in_any_order():
    """All erase before any adds, section 3.2."""
    net = shaken(create("ntm", input_shape=(None, 4), num_classes=2, heads=2, units=7), scale=1.0)
    series = tf.constant(np.random.RandomState(1).normal(size=(2, 3, 4)), "float32")
    first = through_time(net, series)["next_memory"][:, 0]  # heads may look alike later
    known = {weight.path: weight for weight in net.weights}
    for path, weight in known.items():
        if path.startswith("write1_"):
            other = known[path.replace("write1", "write2")]
            one, two = weight.numpy(), other.numpy()
            weight.assign(two)
            other.assign(one)
    swapped = through_time(net, series)["next_memory"][:, 0]
    assert np.abs(first).max() > 0.1
    np.testing.assert_allclose(first, swapped, atol=1e-6)


def test_a_sharp_look_at_what_is_even_is_a_number():
    net = shaken(create("ntm", input_shape=(None, 4), num_classes=2, units=7))
    for weight in net.weights:
        if "_head/" in weight.path:
            # A key of nothing, a gate that is open: all 128 places alike, to the 40th power.
            even = np.zeros(weight.shape, "float32")
            if weight.path.endswith("bias"):
                even[21:22], even[25:26] = 30.0, 40.0
            weight.assign(even)
    found = through_time(net, tf.zeros((1, 2, 4)))
    assert all(np.isfinite(value).all() for value in found.values())
    np.testing.assert_allclose(found["next_read1_weights"][0, -1], np.full(128, 1 / 128), atol=1e-6)


def test_the_baseline_is_a_chain_of_lstm_layers():
    net = shaken(create("lstm_memory", input_shape=(None, 4), num_classes=2, units=(6, 5)))
    series = np.random.RandomState(1).normal(size=(3, 9, 4)).astype("float32")
    x = keras.Input((None, 4))
    y = keras.layers.LSTM(6, return_sequences=True)(x)
    y = keras.layers.Dense(2)(keras.layers.LSTM(5, return_sequences=True)(y))
    other = keras.Model(x, y)
    other.set_weights(net.get_weights())
    np.testing.assert_allclose(logits_of(net, series, training=False), other(series), atol=1e-5)


def test_any_head_moves_and_all_weights_learn():
    net = shaken(create("ntm_small", input_shape=(None, 10), num_classes=8, units=9, heads=2))
    series = tf.constant(load("copy", size=3, limit=8).train["series"])
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(logits_of(net, series, training=True) ** 2)
    for weight, slope in zip(net.weights, tape.gradient(loss, net.weights), strict=True):
        assert np.isfinite(slope).all() and np.abs(slope).max() > 0, weight.path


# -- data -----------------------------------------------------------------------------------------


def examples(name, size):
    data = load(name, size=size, limit=300)
    rows = data.train.columns
    for row in range(300):
        asked = rows["asked"][row] > 0
        yield rows["series"][row], rows["answer"][row][asked], asked, int(rows["length"][row])


def test_copies_are_what_was_read():
    for series, answer, asked, length in examples("copy", 4):
        np.testing.assert_array_equal(answer, series[1 : length + 1, :8])
        assert series[0, 8] == series[length + 1, 9] == 1 and 1 <= length <= 4
        assert not series[asked].any() and asked.sum() == length


def test_repeated_copies_end_in_a_mark():
    seen = set()
    for series, answer, _, length in examples("repeat_copy", 3):
        times = (len(answer) - 1) // length
        assert series[length + 1, 9] == pytest.approx((times - 2) / np.sqrt(8 / 12))
        np.testing.assert_array_equal(
            answer[:-1, :8], np.tile(series[1 : length + 1, :8], (times, 1))
        )
        assert answer[-1].tolist() == [0] * 8 + [1] and not answer[:-1, 8].any()
        seen.add(times)
    assert seen == {1, 2, 3}


def test_what_is_recalled_is_the_next_item():
    for series, answer, asked, length in examples("associative_recall", 4):
        items = series[: 4 * length].reshape(length, 4, 8)[:, 1:, :6]
        query = series[4 * length + 1 : 4 * length + 4, :6]
        place = next(i for i in range(length) if np.array_equal(items[i], query))
        np.testing.assert_array_equal(answer, items[place + 1])
        assert asked.sum() == 3 and 2 <= length <= 4


def test_the_sorted_are_the_highest_first():
    for series, answer, _, length in examples("priority_sort", 5):
        order = sorted(range(length), key=lambda i: -series[i, 8])[: -(-4 * length // 5)]
        np.testing.assert_array_equal(answer, series[order, :8])


def test_the_test_part_is_longer_and_the_size_is_checked():
    data = load("copy", size=3)
    assert data.train["length"].max() == 3 and data.test["length"].max() == 6
    assert data.train["series"].shape[1:] == (8, 10) and data.test["series"].shape[1:] == (14, 10)
    with pytest.raises(ValueError, match=r"^size: got 1; expected 2 or more, the longest of assoc"):
        load("associative_recall", size=1)
    assert algorithms.load_copy(size=3).train["series"].tobytes() == data.train["series"].tobytes()


# -- measures -------------------------------------------------------------------------------------


def test_a_machine_that_knows_nothing_needs_a_bit_for_each_bit(run):
    net = create("ntm_small", input_shape=(None, 10), num_classes=8, units=8, places=8)
    for weight in net.get_layer("logits").weights:
        weight.assign(weight * 0)
    found = run.evaluate({"net": net}, "test")
    assert found.metrics["loss"] == pytest.approx(np.log(2), rel=1e-6)
    for row in found.tables["lengths"]:
        assert (
            row["cost"] == pytest.approx(row["bits"], rel=1e-6) and row["bits"] == 8 * row["length"]
        )


def test_loss_and_meter_count_the_same_bits(run):
    task, networks = Recall(), run.networks
    batch = {**run.raw("test", 130), "weight": np.ones(130, "float32")}
    tensors = {name: tf.constant(values) for name, values in batch.items()}
    seen = task.look("loss", networks, tensors, training=False)
    meter = task.meter_of(run.data)
    meter.add(batch, task.answer(networks, tensors).numpy())
    known = (batch["length"] <= 2).astype("float32")
    values, weights = seen.loss
    weights = weights * known[:, None, None]
    result = meter.result()
    metrics = result.metrics
    assert metrics["loss"] == pytest.approx(
        float(tf.reduce_sum(values * weights) / tf.reduce_sum(weights)), rel=1e-5
    )
    wrong = seen.measures["wrong_bits"].values.numpy()
    assert metrics["wrong_bits"] == pytest.approx(wrong[known > 0].mean(), rel=1e-6)
    assert metrics["wrong_bits_beyond"] == pytest.approx(wrong[batch["length"] == 3].mean())
    # A table tells what sets machines apart, and of how many sequences it is.
    beyond = int((batch["length"] == 3).sum())
    assert task.figure(metrics, result.tables) == ("wrong_bits_beyond", beyond)
    del metrics["wrong_bits_beyond"]
    assert task.figure(metrics, result.tables) == ("wrong_bits", 130)


def test_padding_changes_nothing(run):
    """One sequence alone, without what fills it up, is answered as among longer ones."""
    raw = run.raw("test", 200)
    whole = run.task.answer(run.networks, {k: tf.constant(v) for k, v in raw.items()}).numpy()
    for row in (0, 60, 199):
        time = 2 * int(raw["length"][row]) + 2
        alone = {"series": tf.constant(raw["series"][row : row + 1, :time])}
        found = run.task.answer(run.networks, alone)[0]
        np.testing.assert_allclose(found, whole[row, :time], atol=1e-5)


def test_other_data_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"^task\.kind: got recall, which reads series \(series\); "
    ):
        fit("ntm_small", data="digits", out=tmp_path / "x", changes=["data.size=null"])


# -- training -------------------------------------------------------------------------------------


def test_it_learns_and_its_bundle_says_so(bundle):
    report, card = bundle.report, bundle.card
    assert report.metrics["loss"] < 0.8 * np.log(2)
    assert set(report.metrics) >= {"wrong_bits", "bits_per_sequence", "exact", "wrong_bits_beyond"}
    assert [row["length"] for row in report.tables["lengths"]] == [1, 2, 3, 4]
    assert list(card.inputs) == ["series", *states(load_model(bundle.path))]
    assert card.inputs["series"].shape == (1, 10) and card.inputs["memory"].shape == (64,)
    assert not card.custom_layers and (bundle.path / "attention.png").stat().st_size > 2000


@pytest.mark.slow
def test_resumed_run_equals_a_whole_one(tmp_path):
    changes = [*SMALL, "train.epochs=2", "data.limit=160"]
    whole = fit("ntm_small", out=tmp_path / "a", changes=changes)
    check_resumed(whole, tmp_path / "b", changes=changes, stop_at=9)


TWO_DEVICES = """
    import json
    from tests import two

    changes = ["settings={units: 8, places: 6, width: 4}", "data={name: copy, size: 2, limit: 160}",
               "train.epochs=2", "train.batch_size=32", "hardware.jit=false",
               "train.optimizer={kind: sgd, learning_rate: 0.5, clip_global_norm: 0.1}"]
    print(json.dumps(two.of_recipe("ntm_small", changes)))
"""


@pytest.mark.slow
@pytest.mark.dist
def test_two_devices_take_the_steps_of_one():
    weights, _, moved = printed(TWO_DEVICES)
    assert moved > 0.01 and weights < 1e-6


# -- what is deployed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", [pytest.param("tflite", marks=pytest.mark.slow), "onnx", "tflite-int8"]
)
def test_exported_step_passes_the_gate(target, run, tmp_path):
    import export

    made = export.export(run.networks["net"], target, tmp_path / "x", samples=run.samples(64))
    assert made.manifest.parity.passed
    names = {spec.name for spec in made.manifest.signature.inputs}
    assert names == {"series", *states(run.networks["net"])}
    if target != "onnx":
        return
    import onnxruntime

    session = onnxruntime.InferenceSession(made.path / made.manifest.file)
    outputs = [tensor.name for tensor in session.get_outputs()]

    def call(given):
        return dict(zip(outputs, session.run(None, dict(given)), strict=True))

    of_file = run.evaluate(
        run.networks, "test", answer=lambda columns: run.task.asked(call, run.networks, columns)
    )
    of_keras = run.evaluate(run.networks, "test").metrics
    assert of_file.metrics["loss"] == pytest.approx(of_keras["loss"], abs=1e-5)


def test_a_pruned_step_is_measured_itself(run):
    import compress

    net = run.networks["net"]
    small = compress.apply("prune50", net, samples=run.samples(64))
    (report,) = small.report.passes
    rows = {row.path: row for row in report.layers}
    assert rows["logits"].changed and rows["write1_head"].changed
    before, after = (run.evaluate(m, "test").metrics["loss"] for m in (net, small.model))
    assert 0 < abs(after - before) < 1


@pytest.mark.parametrize("target", ["tflite", pytest.param("onnx", marks=pytest.mark.slow)])
def test_a_bundle_is_exported_by_name(target, bundle, zoo, tmp_path):
    """Its answer takes a step for each place: one step is compared, and no bits are counted."""
    zoo("export", bundle.path, target, "--out", tmp_path)
    (directory,) = tmp_path.glob(f"*-{target}")
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["parity"]["passed"] and manifest["score"] is None
