"""Recursive networks: against a recursion in NumPy; trees as data; what is learnt and deployed."""

import re
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.toy import check_resumed, printed
from zoo.data.loading import load
from zoo.data.texts import trees
from zoo.models.build import create
from zoo.models.saved import load_model
from zoo.training.fitting import fit
from zoo.training.run import Run

SMALL = [
    "settings={units: 32, embedding: 16}",
    "data.limit=1200",
    "train.epochs=8",
    "train.batch_size=32",
    "train.optimizer.learning_rate=0.02",
    "hardware={precision: float32, strategy: one}",
]


@pytest.fixture(scope="module")
def bracketed(tmp_path_factory):
    """A file of trees of at most three digits: few levels."""
    lines = []
    random = np.random.RandomState(3)
    while len(lines) < 1500:
        value, tree = trees._expression(random, random.randint(2, 4))
        lines.append(f"({value} {spelled(tree)})")
    path = tmp_path_factory.mktemp("trees") / "sums.txt"
    path.write_text("\n".join(lines) + "\n")
    return f"trees:{path}"


@pytest.fixture(scope="module")
def bundle(bracketed, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "tree"
    return fit("tree_lstm_small", data=bracketed, out=out, changes=SMALL)


@pytest.fixture(scope="module")
def run(bundle):
    return Run(bundle.recipe, networks={"net": load_model(bundle.path)})


def spelled(tree):
    return tree if isinstance(tree, str) else f"({spelled(tree[0])} {spelled(tree[1])})"


def shaken(net, seed=0):
    random = np.random.RandomState(seed)
    shapes = [weight.shape for weight in net.weights]
    net.set_weights([random.normal(scale=0.6, size=shape).astype("float32") for shape in shapes])
    return net


def recursed(net, tree, places, compose, units):
    """The vector of a tree, part by part, as the papers write it."""
    w = {weight.path: weight.numpy().astype("float64") for weight in net.weights}

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    if isinstance(tree, str):
        word = w["embedding/embeddings"][places[tree]]
        if compose != "lstm":
            return word
        put, out, update = np.split(word @ w["leaf/kernel"] + w["leaf/bias"], 3)
        cell = sigmoid(put) * np.tanh(update)
        return sigmoid(out) * np.tanh(cell), cell
    left, right = (recursed(net, part, places, compose, units) for part in tree)
    if compose == "lstm":
        both = np.concatenate([left[0], right[0]])
        put, one, two, out, update = np.split(both @ w["compose/kernel"] + w["compose/bias"], 5)
        cell = sigmoid(put) * np.tanh(update) + sigmoid(one) * left[1] + sigmoid(two) * right[1]
        return sigmoid(out) * np.tanh(cell), cell
    both = np.concatenate([left, right])
    total = both @ w["compose/kernel"] + w["compose/bias"]
    if compose == "tensor":
        tensor = w["compose_tensor/kernel"].reshape(2 * units, 2 * units, units)
        total = total + np.einsum("i,ijk,j->k", both, tensor, both)
    return np.tanh(total)


@pytest.mark.oracle
@pytest.mark.parametrize("compose", ["plain", "tensor", "lstm"])
def test_trees_batched_by_level_are_the_recursion(compose):
    """Trees of all shapes in one batch, and each of them alone, without padding."""
    random = np.random.RandomState(1)
    made = [trees._expression(random, digits)[1] for digits in (2, 3, 5, 6, 6, 4)]
    flats = [trees.flat(tree) for tree in made]
    longest = max(len(words) for words, _ in flats)
    levels = max(max(joins) for _, joins in flats)
    names = sorted({word for words, _ in flats for word in words})
    places = {word: token + 1 for token, word in enumerate(names)}
    sizes = {"vocabulary": 17, "compose": compose, "units": 5, "embedding": 4, "num_classes": 3}
    net = shaken(create("tree_rnn", input_shape=(longest,), levels=levels, **sizes))
    tokens, joins = np.zeros((2, len(made), longest), "int32")
    for row, (words, heights) in enumerate(flats):
        tokens[row, : len(words)] = [places[word] for word in words]
        joins[row, : len(heights)] = heights
    found = net([tokens, joins]).numpy()
    kernel, bias = net.get_layer("logits").get_weights()
    for row, tree in enumerate(made):
        vector = recursed(net, tree, places, compose, 5)
        vector = vector[0] if compose == "lstm" else vector
        np.testing.assert_allclose(found[row], vector @ kernel + bias, atol=1e-5)
        num = len(flats[row][0])
        alone = create("tree_rnn", input_shape=(num,), levels=levels, **sizes)
        alone.set_weights(net.get_weights())
        given = [tokens[row : row + 1, :num], joins[row : row + 1, :num]]
        np.testing.assert_allclose(alone(given)[0], found[row], atol=1e-6)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(net([tokens, joins]) ** 2)
    for slope in tape.gradient(loss, net.weights):
        assert np.abs(tf.convert_to_tensor(slope)).max() > 0


# -- data -----------------------------------------------------------------------------------------


def value(tree):
    if isinstance(tree, str):
        return int(tree)
    one, (operation, other) = tree
    one, other = value(one), value(other)
    return {"max": max(one, other), "min": min(one, other)}.get(
        operation, (one + other if operation == "+" else one - other) % 10
    )


def rebuilt(words, joins):
    """The tree of words and heights: it parts where the height is greatest."""
    if len(words) == 1:
        return words[0]
    (place,) = np.flatnonzero(joins == max(joins))
    left, right = slice(0, place + 1), slice(place + 1, None)
    return rebuilt(words[left], joins[:place]), rebuilt(words[right], joins[right])


def test_heights_tell_the_tree_and_its_value(monkeypatch):
    monkeypatch.setattr(trees, "EXAMPLES", 400)
    data = load("arithmetic")
    names = data.columns["tokens"].names
    for tokens, joins, label in zip(*(data.train[n] for n in data.columns), strict=True):
        words = [names[token] for token in tokens[tokens > 0]]
        assert value(rebuilt(words, joins[: len(words) - 1])) == int(data.labels[label])
        assert not joins[len(words) - 1 :].any()


def distinct(split):
    rows = np.concatenate([split["tokens"], split["joins"]], axis=1)
    return {row.tobytes() for row in rows}


def test_no_expression_occurs_twice():
    data = load("arithmetic")
    parts = [data.train, data.validation, data.test]
    assert sum(map(len, parts)) == trees.EXAMPLES
    assert len(set.union(*map(distinct, parts))) == trees.EXAMPLES


def test_a_tree_that_stands_in_a_file_twice_is_in_one_part(tmp_path):
    lines = [f"({n % 5} (a{n % 7} b{n // 7 % 7}))" for n in range(400)]
    path = tmp_path / "trees.txt"
    path.write_text("\n".join(lines))
    data = load(f"trees:{path}")
    parts = [data.train, data.validation, data.test]
    seen = [distinct(part) for part in parts]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 49
    assert sum(map(len, parts)) == 400 and min(map(len, seen)) > 2
    path.write_text("\n".join(["(1 (a b))", "(2 (a b))"] * 30))
    with pytest.raises(ValueError, match=r"got 1 different trees; expected 20 or more\.$"):
        load(f"trees:{path}")


def test_a_treebank_is_read_with_its_labels_or_without():
    whole = trees.parse("(3 (2 not) (1 (2 very) (0 bad)))")
    assert whole == trees.parse("(3 (not (very bad)))") == ("3", ("not", ("very", "bad")))
    assert trees.parse("(good (2 (+ 4)))") == ("good", ("2", ("+", "4")))
    assert trees.flat(whole.tree) == (["not", "very", "bad"], [2, 1])
    assert trees.parse("(4 (2 Fine))") == ("4", "Fine")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("(3 (2 not) (1 bad", "expected a closing bracket for each that opens"),
        ("(3 (2 not)) bad)", "expected nothing behind the tree's last bracket"),
        ("(3 (a b c d))", "got a part of 4 in '(3 (a b c d))'; expected two parts"),
        ("((a b))", "expected a label and a tree"),
        ("not bad", "expected a label and a tree"),
    ],
)
def test_what_is_no_tree_is_named_by_its_line(line, message, tmp_path):
    path = tmp_path / "trees.txt"
    path.write_text("(1 (a b))\n" * 30 + "\n" + line + "\n")
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        load(f"trees:{path}")
    told = str(caught.value)
    assert told.startswith(f"trees:{path}:32: got ") and "\n" not in told


def test_a_tree_too_deep_to_read_is_told():
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    try:
        with pytest.raises(ValueError, match="expected a tree of 64 words at most"):
            trees.parse("(1 " + "(a " * 3000 + "b" + ")" * 3001)
    finally:
        sys.setrecursionlimit(limit)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.txt: no such file\.$"):
        load(f"trees:{tmp_path / 'nowhere.txt'}")
    path = tmp_path / "trees.txt"
    path.write_bytes(b"(1 (a b))\n(1 (a \xff))\n")
    with pytest.raises(ValueError, match="byte 16 is not UTF-8"):
        load(f"trees:{path}")
    path.write_text("(1 (a b))\n")
    with pytest.raises(ValueError, match="got 1 different trees; expected 20 or more"):
        load(f"trees:{path}")


def test_words_that_the_training_lacks_are_one(tmp_path):
    path = tmp_path / "trees.txt"
    path.write_text("".join(f"({n % 2} (word{n} same))\n" for n in range(60)))
    data = load(f"trees:{path}")
    names = data.columns["tokens"].names
    assert names[:2] == ("", "<unknown>") and "same" in names
    assert set(data.test["tokens"][:, 0]) == {1} and data.train["tokens"].min() > 1


# -- learning -------------------------------------------------------------------------------------


def test_it_learns_more_than_a_bag_of_words(bundle):
    metrics = bundle.report.metrics
    assert metrics["top1"] > metrics["bag_of_words"] > 0.1 and metrics["top1"] > 0.35
    assert 0.08 < metrics["majority"] < 0.25
    assert list(bundle.card.inputs) == ["tokens", "joins"] and not bundle.card.custom_layers
    assert bundle.card.inputs["joins"].kind == "heights"


def test_other_data_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"which reads tokens \(tokens\); digits has image"):
        fit("tree_rnn", data="digits", out=tmp_path / "x", changes=[])


def test_an_expression_is_asked_about(bundle, zoo):
    model, labels = load_model(bundle.path), bundle.card.labels
    words, joins = trees.flat(("7", ("max", ("3", ("+", "4")))))
    columns = bundle.card.inputs
    given = np.zeros((2, 1, *columns["tokens"].shape), "int32")
    given[0, 0, : len(words)] = [columns["tokens"].names.index(word) for word in words]
    given[1, 0, : len(joins)] = joins
    logits = model(list(given)).numpy()[0]
    asked = "(7 (max (3 (+ 4))))"
    rows = zoo("predict", bundle.path, "--text", asked, "--top", "2", "--json")
    assert [row["label"] for row in rows] == [labels[n] for n in logits.argsort()[::-1][:2]]
    assert rows[0]["text"] == asked and 0.1 < rows[0]["probability"] <= 1
    assert trees.unlabelled("(2 7 (max 3))") == ("7", ("max", "3")) and trees.unlabelled("7") == "7"
    for text, line in (
        ("(7 (max 3)", "--text: got '(7 (max 3)'; expected a closing bracket"),
        ("(7 (max 3)))", "expected nothing behind the tree's last bracket"),
        (" ", "--text: got an empty text; expected a tree, e.g. (not (very bad))."),
        (
            "(1 (+ (1 (+ (1 (+ (1 (+ 1))))))))",
            "got 9 words in '1 + 1 + 1 + 1 + 1'; expected at most",
        ),
    ):
        assert line in zoo("predict", bundle.path, "--text", text, expect=2)


@pytest.mark.parametrize(
    "target",
    [*(pytest.param(x, marks=pytest.mark.slow) for x in ("tflite", "onnx")), "tflite-int8"],
)
def test_exported_tree_passes_the_gate(target, run, bundle, tmp_path):
    import export

    model, samples = load_model(bundle.path), run.samples(64)
    made = export.export(model, target, tmp_path / "x", samples=samples)
    assert made.manifest.parity.passed


@pytest.mark.parametrize("recipe", ["prune50", pytest.param("int8", marks=pytest.mark.slow)])
def test_compressed_tree_is_measured_itself(recipe, run, bundle):
    import compress
    from compress import layers

    layers.register()
    model = load_model(bundle.path)
    small = compress.apply(recipe, model, samples=run.samples(128))
    (report,) = small.report.passes
    assert {row.path: row for row in report.layers}["compose"].changed
    before, after = (run.evaluate(m, "test").metrics["loss"] for m in (model, small.model))
    assert before != after and abs(after - before) < 1


@pytest.mark.slow
def test_resumed_run_equals_a_whole_one(bracketed, tmp_path):
    changes = [*SMALL, "train.epochs=2", "data.limit=320"]
    whole = fit("tree_rnn", data=bracketed, out=tmp_path / "a", changes=changes)
    check_resumed(whole, tmp_path / "b", data=bracketed, changes=changes, stop_at=9)


TWO_DEVICES = """
    import json, sys
    from tests import two

    changes = ["settings={units: 8}", "data.limit=160", "train.epochs=2", "train.batch_size=32",
               "train.optimizer={kind: sgd, learning_rate: 0.5, clip_global_norm: 0.1}"]
    print(json.dumps(two.of_recipe("tree_rnn", changes, data=sys.argv[1])))
"""


@pytest.mark.slow
@pytest.mark.dist
def test_two_devices_take_the_steps_of_one(bracketed):
    weights, _, moved = printed(TWO_DEVICES, bracketed)
    assert moved > 0.01 and weights < 1e-6


def test_a_tree_of_one_word_is_its_word():
    net = create("tree_rnn", input_shape=(3,), vocabulary=4, levels=2, units=4, num_classes=2)
    one, other = (net([np.array([[t, 0, 0]], "int32"), np.zeros((1, 3), "int32")]) for t in (1, 2))
    word = net.get_layer("embedding").embeddings.numpy()[1]
    expected = keras.ops.convert_to_numpy(net.get_layer("logits")(word[None]))
    np.testing.assert_allclose(one, expected, atol=1e-6)
    assert np.abs(one - other).max() > 0
