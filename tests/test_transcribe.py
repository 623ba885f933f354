"""Labels of signals: CTC, graph transformers and their lattices, on lines of digits."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import compress
import export
from tests import toy
from zoo.baselines import cut_lines
from zoo.common.columns import Column
from zoo.data import load
from zoo.data.sets import digit_lines
from zoo.layers import MultiLSTM
from zoo.models.build import create
from zoo.models.saved import load_model
from zoo.stages import read_lines
from zoo.tasks.sequences import decoding, lattice
from zoo.tasks.sequences.segment_lattice import SegmentLattice
from zoo.tasks.sequences.transcribe import Transcribe
from zoo.training.fitting import fit
from zoo.training.run import Run

SMALL = {
    "ctc_blstm_small": [
        "settings={units: [16], together: 4}",
        "train.optimizer.learning_rate=0.01",
    ],
    "gtn": ["settings={stride: 14, spans: 2}", "train.optimizer.learning_rate=0.005"],
}
CHANGES = [
    "train.epochs=2",
    "train.batch_size=16",
    "data.limit=160",
    "hardware.precision=float32",
    "hardware.strategy=one",
]
BOTH = pytest.mark.parametrize("name", SMALL)


@pytest.fixture(scope="module", autouse=True)
def _few_lines(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setattr(digit_lines, "COUNTS", {"train": 300, "validation": 20, "test": 40})
        yield


@pytest.fixture(scope="module")
def data():
    return load("digit_lines")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return {name: fit(name, out=root / name, changes=[*CHANGES, *SMALL[name]]) for name in SMALL}


# -- data -----------------------------------------------------------------------------------------


def test_lines_are_of_digits(data):
    assert data.columns["series"] == Column("series", (112, 28))
    assert data.columns["tokens"].names == ("", *"0123456789")
    tokens, series = data.train["tokens"], data.train["series"]
    counts = (tokens > 0).sum(axis=1)
    assert set(counts) == {2, 3, 4, 5}
    assert all((row[:n] > 0).all() for row, n in zip(tokens, counts, strict=True))
    assert series.dtype == np.float32 and series.min() == 0 and series.max() == 1
    ink = series.sum(axis=(1, 2))
    assert np.corrcoef(ink, counts)[0, 1] > 0.6
    again = digit_lines._make()["train/pixels"]
    np.testing.assert_array_equal(again, np.rint(series * 255).astype(np.uint8))


def test_lines_of_more_labels_than_places_are_refused(tmp_path):
    """Between two labels alike stands a blank; the arcs of a lattice need none."""
    labels = np.array([[1, 2, 2, 2, 0], [3, 1, 3, 1, 3], [4, 0, 0, 0, 0]])
    assert Transcribe().needed(labels).tolist() == [6, 5, 1]
    assert SegmentLattice().needed(labels).tolist() == [4, 5, 1]
    changes = [*CHANGES, "settings={units: [4], together: 28}"]
    told = r"got a line of 5 labels, which take \d places; expected 4 at most, .* settings\.tog"
    with pytest.raises(ValueError, match=told):
        fit("ctc_blstm_small", out=tmp_path / "x", changes=changes)
    assert not (tmp_path / "x" / "model.keras").exists()


def test_labels_without_a_blank_are_refused(tmp_path):
    with pytest.raises(ValueError, match="learns the labels of a signal"):
        fit("ctc_blstm_small", data="dates", out=tmp_path / "x")


# -- sums over paths ------------------------------------------------------------------------------


def logits_of(time, classes, seed, rows=1):
    return np.random.RandomState(seed).normal(size=(rows, time, classes)).astype("float32") * 2


def collapsed(path):
    return tuple(label for label, _ in itertools.groupby(path) if label)


def by_hand(logits):
    """The probability of each labelling: all paths of a signal, one by one."""
    shares = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    found = {}
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        chance = math.prod(shares[place, label] for place, label in enumerate(path))
        found[collapsed(path)] = found.get(collapsed(path), 0) + chance
    return found


@pytest.mark.parametrize("labels", [(1,), (2, 2), (1, 2, 1), (2, 1, 1)])
def test_the_loss_is_the_sum_over_all_paths(labels):
    logits = logits_of(5, 3, seed=len(labels))
    padded = np.array([[*labels, *[0] * (4 - len(labels))]], "int32")
    found = Transcribe().loss_of({"tokens": tf.constant(padded)}, tf.constant(logits)).values
    assert float(found[0]) == pytest.approx(-math.log(by_hand(logits[0])[labels]), rel=1e-5)
    logs = tf.nn.log_softmax(logits)
    ours = lattice.of_labels(lattice.runs(logs), tf.constant(padded), apart=True)
    assert -float(ours[0]) == pytest.approx(float(found[0]), rel=1e-5)


@pytest.mark.oracle
def test_ctc_and_its_gradient_equal_torch():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    logits = logits_of(20, 6, seed=3, rows=4)
    labels = np.array([[1, 2, 2, 5], [3, 0, 0, 0], [4, 4, 4, 0], [1, 5, 0, 0]], "int32")
    x = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(x)
        ours = Transcribe().loss_of({"tokens": tf.constant(labels)}, x).values
    y = torch.tensor(logits, requires_grad=True)
    logs = torch.log_softmax(y, dim=-1).transpose(0, 1)
    counts = torch.tensor((labels > 0).sum(axis=1))
    loss = torch.nn.functional.ctc_loss(
        logs, torch.tensor(labels), torch.full((4,), 20), counts, reduction="none"
    )
    np.testing.assert_allclose(ours, loss.detach().numpy(), rtol=1e-5)
    loss.sum().backward()
    np.testing.assert_allclose(tape.gradient(ours, x), y.grad.numpy(), atol=1e-5)
    with tf.GradientTape() as tape:
        tape.watch(x)
        runs = lattice.runs(tf.nn.log_softmax(x))
        sums = -lattice.of_labels(runs, tf.constant(labels), apart=True)
    np.testing.assert_allclose(sums, ours, rtol=1e-4)
    np.testing.assert_allclose(tape.gradient(sums, x), y.grad.numpy(), atol=1e-4)


def test_a_wide_beam_is_exact():
    for seed in range(6):
        (logits,) = logits_of(5, 3, seed)
        known = by_hand(logits)
        found = decoding.beam(logits, width=200)
        assert found[0].labels == max(known, key=known.get)
        assert len(found) == len(known)
        for one in found:
            assert math.exp(one.log_probability) == pytest.approx(known[one.labels], rel=1e-6)


def test_the_likeliest_path_is_not_the_likeliest_labelling():
    """Graves et al. 2006, figure 2: two paths say a, one says nothing and is likelier than each."""
    logits = np.log(np.array([[0.6, 0.4], [0.6, 0.4]]))
    assert decoding.best_paths(logits[None]) == [[]]
    assert decoding.beam(logits, width=4)[0].labels == (1,)
    paths = np.array([[0, 2, 2, 0, 2, 1, 1, 0]])
    assert decoding.best_paths(np.eye(3)[paths]) == [[2, 2, 1]]


def every_path(scores):
    """Arcs of each path of a lattice, and its score."""
    nodes, spans, classes = scores.shape

    def from_(node):
        if node == nodes:
            yield (), 0.0
        for span in range(1, min(spans, nodes - node) + 1):
            for label in range(0 if span == 1 else 1, classes):
                for rest, score in from_(node + span):
                    own = float(scores[node, span - 1, label])
                    yield ((node, span, label), *rest), score + own

    return list(from_(0))


@pytest.mark.parametrize("seed", [0, 1])
def test_sums_over_a_lattice_are_those_over_all_paths(seed):
    scores = np.random.RandomState(seed).normal(size=(2, 5, 3, 3)).astype("float32")
    labels = np.array([[1, 2, 2], [2, 0, 0]], "int32")
    wholes = lattice.total(tf.constant(scores)).numpy()
    parts = lattice.of_labels(tf.constant(scores), tf.constant(labels)).numpy()
    for row in range(2):
        paths = every_path(scores[row])
        assert len(paths) > 100
        sums = [score for _, score in paths]
        assert wholes[row] == pytest.approx(math.log(sum(map(math.exp, sums))), rel=1e-5)
        wanted = [label for label in labels[row] if label]
        own = [s for path, s in paths if [arc[2] for arc in path if arc[2]] == wanted]
        assert parts[row] == pytest.approx(math.log(sum(map(math.exp, own))), rel=1e-5)
        top = max(paths, key=lambda path: path[1])
        assert lattice.best(scores)[row] == list(top[0])


def test_a_lattice_has_the_gradient_of_differences():
    scores = np.random.RandomState(4).normal(size=(1, 4, 2, 3))
    labels = tf.constant([[2, 1]])

    def loss(values):
        values = tf.constant(values, tf.float64)
        return float((lattice.total(values) - lattice.of_labels(values, labels))[0])

    x = tf.constant(scores)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = lattice.total(x) - lattice.of_labels(x, labels)
    slopes = tape.gradient(y, x).numpy()
    for place in np.ndindex(scores.shape):
        step = np.zeros_like(scores)
        step[place] = 1e-4
        near = (loss(scores + step) - loss(scores - step)) / 2e-4
        assert slopes[place] == pytest.approx(near, abs=1e-6)


def test_impossible_labels_cost_much_and_have_a_gradient():
    """Three labels in a line of two places."""
    x = tf.constant(np.zeros((1, 2, 1, 3), "float32"))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = lattice.total(x) - lattice.of_labels(x, tf.constant([[1, 2, 1]]))
    assert float(y[0]) > 1e6 and np.isfinite(tape.gradient(y, x)).all()


# -- networks -------------------------------------------------------------------------------------


def test_an_arc_is_what_the_recogniser_sees_of_it(data):
    net = create("gtn")
    line = data.test["series"][:1]
    logits = net(line).numpy()
    assert logits.shape == (1, 16, 4, 11)
    reader = net.get_layer("reader")
    for node, span in ((0, 0), (3, 1), (12, 3), (15, 0)):
        square = np.zeros((1, 28, 28, 1), "float32")
        first, wide = 7 * node, 7 * (span + 1)
        left = 14 - wide // 2
        square[0, :, left : left + wide, 0] = line[0, first : first + wide].T
        np.testing.assert_allclose(logits[0, node, span], reader(square)[0], atol=1e-5)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="got 112 columns, stride=9 and spans=4"):
        create("gtn", stride=9)
    with pytest.raises(ValueError, match="got 112 places and together=5"):
        create("ctc_blstm_small", together=5)


def ordered(height, width, kernel, gates, features):
    """A multi-dimensional LSTM place by place, from the upper left corner."""

    def squashed(x):
        return 1 / (1 + np.exp(-x))

    h, c = (np.zeros((height + 1, width + 1, features)) for _ in range(2))
    for y, x in np.ndindex(height, width):
        told = np.concatenate([h[y, x + 1], h[y + 1, x]]) @ kernel + gates[y, x]  # above, beside
        i, up, side, o, g = np.split(told, 5)
        cell = squashed(i) * np.tanh(g) + squashed(up) * c[y, x + 1] + squashed(side) * c[y + 1, x]
        c[y + 1, x + 1], h[y + 1, x + 1] = cell, squashed(o) * np.tanh(cell)
    return h[1:, 1:]


@pytest.mark.parametrize("corner", [(False, False), (True, False), (False, True), (True, True)])
def test_a_multi_dimensional_lstm_equals_its_equations(corner):
    upwards, leftwards = corner
    layer = MultiLSTM(3, upwards=upwards, leftwards=leftwards)
    gates = np.random.RandomState(1).normal(size=(2, 4, 5, 15)).astype("float32")
    layer.build(gates.shape)
    layer.kernel.assign(np.random.RandomState(2).normal(size=(6, 15)))
    found = layer(gates).numpy()
    turn = (slice(None, None, -1 if upwards else 1), slice(None, None, -1 if leftwards else 1))
    for row in range(2):
        expected = ordered(4, 5, layer.kernel.numpy(), gates[row][turn], 3)[turn]
        np.testing.assert_allclose(found[row], expected, atol=1e-5)
    with pytest.raises(ValueError, match="got 14 channels; expected 15, 5 gates"):
        MultiLSTM(3).build((None, 4, 5, 14))


def test_a_line_is_cut_where_it_has_least_ink(data):
    line = np.zeros((28, 112))
    line[5:20, 3:15] = line[5:20, 30:45] = line[8:12, 45:50] = line[5:20, 50:64] = 1
    widths = [piece.shape[1] for piece in cut_lines.pieces(line)]
    assert len(widths) == 3 and widths[0] == 12
    found = cut_lines.error(data.test["series"], data.test["tokens"])
    assert 0.02 < found < 0.5


# -- training -------------------------------------------------------------------------------------


@BOTH
def test_it_learns_and_explains_itself(name, bundles):
    card, report = bundles[name].card, bundles[name].report
    rows = np.genfromtxt(bundles[name].path / "history.csv", delimiter=",", names=True)
    assert rows["loss"][-1] < 0.9 * rows["loss"][0]
    assert set(report.metrics) == {"label_error", "exact_match", "loss"}
    assert {row["labels"] for row in report.tables["by_length"]} <= {2, 3, 4, 5}
    assert list(card.inputs) == ["series"] and card.labels == digit_lines.NAMES
    assert (bundles[name].path / "lines.png").is_file()


def test_a_batch_is_its_lines_one_by_one(bundles, data):
    for bundle in bundles.values():
        model, lines = load_model(bundle.path), data.test["series"][:4]
        alone = np.concatenate([model(lines[n : n + 1]) for n in range(4)])
        np.testing.assert_allclose(model(lines), alone, atol=1e-5)


@BOTH
def test_the_beam_is_how_it_is_measured(name, bundles, zoo):
    if name == "gtn":
        told = zoo("evaluate", bundles[name].path, "--set", "task.beam=4", expect=2)
        assert "which has its own" in told
        return
    wide = zoo("evaluate", bundles[name].path, "--set", "task.beam=4", "--json")["metrics"]
    assert wide["loss"] == pytest.approx(bundles[name].report.metrics["loss"], rel=1e-5)


@BOTH
def test_predict_reads_a_picture_of_a_line(name, bundles, data, zoo, tmp_path):
    """Dark ink on light paper, of another size, and one that is too wide."""
    line = data.test["series"][0]
    picture = Image.fromarray((255 - line.T * 255).astype(np.uint8))
    picture.save(tmp_path / "line.png")
    (row,) = zoo("predict", bundles[name].path, tmp_path / "line.png", "--json")
    task = Run(bundles[name].recipe).task
    (labels,) = task.read(load_model(bundles[name].path)(line[None]).numpy())
    assert row["answer"] == "".join(digit_lines.NAMES[label] for label in labels)
    np.save(tmp_path / "bytes.npy", np.asarray(picture))
    np.save(tmp_path / "line.npy", line[:100])
    np.savez(tmp_path / "lines.npz", series=data.test["series"][:2])
    files = [tmp_path / file for file in ("bytes.npy", "line.npy", "lines.npz")]
    rows = zoo("predict", bundles[name].path, *files, "--json")
    assert len(rows) == 4 and rows[0]["answer"] == rows[2]["answer"] == row["answer"]
    assert rows[3]["image"].endswith("lines.npz:2")
    half = picture.resize((56, 14))
    half.save(tmp_path / "half.png")
    found = read_lines.series("half.png", half, 112, 28)
    assert (
        np.abs(found - line).mean() < 0.1 and np.corrcoef(found.ravel(), line.ravel())[0, 1] > 0.8
    )
    picture.resize((224, 28)).save(tmp_path / "wide.png")
    told = zoo("predict", bundles[name].path, tmp_path / "wide.png", expect=2)
    assert "wide.png: got 224 x 28 pixels, 224 wide at a height of 28; expected at most 112" in told


@BOTH
@pytest.mark.slow
def test_resumed_run_equals_a_whole_one(name, tmp_path):
    changes = [*CHANGES, *SMALL[name], "data.limit=64"]
    whole = fit(name, out=tmp_path / "a", changes=changes)
    toy.check_resumed(whole, tmp_path / "b", changes=changes, stop_at=5)


TWO_DEVICES = """
    import json, sys
    from tests import two
    from zoo.data.sets import digit_lines

    digit_lines.COUNTS = {"train": 64, "validation": 10, "test": 4}
    changes = [sys.argv[2], "train.epochs=2", "train.batch_size=16",
               "train.optimizer={kind: sgd, learning_rate: 0.02, clip_global_norm: 0.5}"]
    print(json.dumps(two.of_recipe(sys.argv[1], changes)))
"""


@pytest.mark.slow
@pytest.mark.dist
@BOTH
def test_two_devices_take_the_steps_of_one(name, tmp_path):
    printed = toy.printed(TWO_DEVICES, name, SMALL[name][0], ZOO_HOME=str(tmp_path))
    weights, losses, moved = printed
    assert moved > 1e-3 and weights < 1e-5 and losses < 1e-4


# -- what is deployed -----------------------------------------------------------------------------


@BOTH
@pytest.mark.slow
@pytest.mark.parametrize("target", ["tflite", "onnx"])
def test_exported_file_passes_the_gate_and_is_measured(name, target, bundles, zoo, tmp_path):
    zoo("export", bundles[name].path, target, "--out", tmp_path)
    found = zoo("evaluate", bundles[name].path, "--file", tmp_path / f"{name}-{target}", "--json")
    ours = bundles[name].report.metrics["label_error"]
    assert found["metrics"]["label_error"] == pytest.approx(ours, abs=1e-6)


@pytest.mark.slow
def test_a_lattice_in_integers_passes_the_gate(bundles, tmp_path):
    run = Run(bundles["gtn"].recipe)
    made = export.export(
        load_model(bundles["gtn"].path), "tflite-int8", tmp_path / "x", samples=run.samples(64)
    )
    assert made.manifest.parity.passed


@pytest.mark.slow
@BOTH
def test_compressed_network_is_measured_itself(name, bundles):
    run, model = Run(bundles[name].recipe), load_model(bundles[name].path)

    def tune(network, *, epochs, callbacks, rate=1.0):
        run.train(network, settings=run.recipe.train.further(1, rate=rate))

    small = compress.apply("prune50", model, samples=run.samples(64), fit=tune)
    before, after = (run.evaluate(one, "test").metrics["loss"] for one in (model, small.model))
    assert after != before and after < 1.2 * before


def test_tasks_say_what_they_learn(data):
    for task in (Transcribe(), SegmentLattice()):
        assert task.check(data) is None
        assert task.sizes(data) == {"input_shape": (112, 28), "num_classes": 11}
