"""DeViSE: words' vectors, the ranking loss, classes that no training picture shows."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.toy import check_resumed, printed
from zoo.data.sets import coloured_digits
from zoo.data.sets.coloured_digits import NAMES, UNSEEN
from zoo.data.texts import word_vectors
from zoo.models.build import create
from zoo.models.saved import load_model, load_networks
from zoo.stages.predict import predict
from zoo.tasks.labels.devise import DeViSE
from zoo.training.fitting import fit
from zoo.training.run import Run

SMALL = ["data.limit=1600", "train.epochs=4", "hardware={precision: float32, strategy: one}"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return fit("devise_small", out=tmp_path_factory.mktemp("runs") / "devise", changes=SMALL)


@pytest.fixture(scope="module")
def run(bundle):
    return Run(bundle.recipe, networks={"net": load_model(bundle.path)})


# -- words ----------------------------------------------------------------------------------------


@pytest.mark.oracle
def test_pmi_is_counted_one_pair_after_another():
    sentences = [("a", "b"), ("a", "b", "c"), ("c", "d"), ("b", "c")]
    pairs = [pair for one in sentences for pair in itertools.permutations(one, 2)]
    words = "abcd"
    counts = np.array([[pairs.count((one, other)) for other in words] for one in words], float)
    found = word_vectors.positive_pmi(counts)
    for row, column in itertools.product(range(4), repeat=2):
        both = pairs.count((words[row], words[column])) / len(pairs)
        one, other = (
            sum(words[x] == pair[0] for pair in pairs) / len(pairs) for x in (row, column)
        )
        expected = max(0.0, math.log(both / (one * other))) if both else 0.0
        assert found[row, column] == pytest.approx(expected, abs=1e-12)


def test_words_that_are_told_alike_lie_near():
    known = word_vectors.made(16)
    near = lambda one, other: float(np.dot(known[one], known[other]))  # noqa: E731
    assert near("red", "yellow") > 0.5 > near("red", "green")
    assert near("seven", "five") > 0.5 > near("seven", "six") - 0.2 > near("seven", "zero")
    assert all(abs(near("red", number)) < 0.05 for number in word_vectors.NUMBERS)
    assert all(math.isclose(near(word, word), 1, abs_tol=1e-9) for word in known)
    both = word_vectors.of_names(["red seven"], known)[0]
    assert both @ known["red"] == pytest.approx(both @ known["seven"], abs=1e-6)


def test_vectors_are_finite_each_once_and_those_that_are_wanted(tmp_path, caplog):
    file = tmp_path / "words.txt"
    file.write_text("red 3 4\nblue 0 2\nred 1 0\n")
    with caplog.at_level("WARNING", "zoo"):
        assert word_vectors.read(file) == {"red": (0.6, 0.8), "blue": (0.0, 1.0)}
    assert caplog.messages[0].endswith("1 lines of words that have a vector before are left out")
    assert word_vectors.read(file, words={"blue"}) == {"blue": (0.0, 1.0)}
    file.write_text("red 3 4\nblue 0 nan\n")
    with pytest.raises(ValueError, match=r"words\.txt:2: got NaN or infinite numbers"):
        word_vectors.read(file)


def test_vectors_of_ones_own(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("2 3\nred 3 0 4\nseven 0 2 0\n")
    known = word_vectors.read(file)
    assert known == {"red": (0.6, 0.0, 0.8), "seven": (0.0, 1.0, 0.0)}
    file.write_text("red 3 0 4\nseven 0 2\n")
    with pytest.raises(
        ValueError, match=r"words\.txt:2: got 2 cells behind a word; expected 3 num"
    ):
        word_vectors.read(file)
    file.write_text("red 3 0 x\n")
    with pytest.raises(ValueError, match=r"words\.txt:1: got 3 cells behind a word; expected some"):
        word_vectors.read(file)
    file.write_text("\ufeffred 3 4\n\nblue 0 2\n", encoding="utf-8")
    assert word_vectors.read(file) == {"red": (0.6, 0.8), "blue": (0.0, 1.0)}
    file.write_text("\x85 3 4\n\xa0 0 2\na b 4 3\r\n7 0 1 \n", encoding="utf-8", newline="")
    assert word_vectors.read(file) == {
        "\x85": (0.6, 0.8), "\xa0": (0.0, 1.0), "a b": (0.8, 0.6), "7": (0.0, 1.0),
    }  # fmt: skip
    for text, words in (("a 1\nb 2\n", "ab"), ("2 1\na 1\nb 2\n", "ab"), ("2 1\na 1\n", "2a")):
        file.write_text(text)
        assert word_vectors.read(file) == dict.fromkeys(words, (1.0,))
    file.write_text("red 3 4\nblue 0 2 1\n")
    with pytest.raises(ValueError, match=r"words\.txt:2: got 3 cells behind a word; expected 2"):
        word_vectors.read(file)
    file.write_bytes(b"red 3 4\nr\xf8d 1 2\n")
    with pytest.raises(ValueError, match=r"words\.txt: byte 9 is not UTF-8; expected a text in UT"):
        word_vectors.read(file)
    with pytest.raises(FileNotFoundError, match="expected a word and its numbers a line"):
        word_vectors.read(tmp_path / "nowhere.txt")
    with pytest.raises(
        ValueError, match="got none of pink; expected one of each word of the 2 cla"
    ):
        word_vectors.of_names(["red", "pink"], word_vectors.made(16))
    with pytest.raises(ValueError, match="got size 999; expected 1 to"):
        word_vectors.made(999)


# -- data and loss --------------------------------------------------------------------------------


def test_unseen_classes_have_no_training_picture():
    data = coloured_digits.load()
    assert len(set(NAMES)) == 60 and len(UNSEEN) == 12
    counts = {name: np.bincount(getattr(data, name)["label"], minlength=60)
              for name in ("train", "validation", "test")}  # fmt: skip
    assert counts["train"][:48].min() > 100 and not counts["train"][48:].any()
    assert counts["test"].min() > 20 and counts["validation"].min() > 5
    colours = {colour for colour, _ in UNSEEN}
    assert len(colours) == 6 and len({digit for _, digit in UNSEEN}) > 5
    # What is red is redder than it is blue.
    image = data.test["image"].astype(float)
    most = image[np.arange(len(image)), :, :].max(axis=(1, 2))
    red, blue = (
        np.char.startswith(np.array(NAMES)[data.test["label"]], x) for x in ("red", "blue")
    )
    assert (most[red, 0] > most[red, 2]).mean() > 0.99 < (most[blue, 2] > most[blue, 0]).mean()


@pytest.mark.oracle
def test_the_ranking_loss_is_that_of_the_paper():
    """Sums over wrong classes one by one; unseen ones are none, and their examples do not count."""
    random = np.random.RandomState(0)
    scores, labels = random.normal(size=(6, 7)).astype("f4"), np.array([0, 4, 2, 6, 5, 1], "i4")
    task = DeViSE(unseen=2, margin=0.3)
    values, weights = task.loss_of({"label": labels}, tf.constant(scores))
    assert weights.numpy().tolist() == [1, 1, 1, 0, 0, 1]
    for row in (0, 1, 2, 5):
        true = scores[row, labels[row]]
        wrong = [scores[row, j] for j in range(5) if j != labels[row]]
        expected = sum(max(0.0, 0.3 - true + score) for score in wrong)
        assert float(values[row]) == pytest.approx(expected, rel=1e-5)
    plain = DeViSE(unseen=2, loss="cross_entropy").loss_of({"label": labels}, tf.constant(scores))
    shares = np.exp(scores[:, :5]) / np.exp(scores[:, :5]).sum(axis=1, keepdims=True)
    assert float(plain.values[0]) == pytest.approx(-math.log(shares[0, 0]), rel=1e-5)


def test_hits_are_counted_by_hand():
    scores = np.array([[5, 4, 3, 2, 1, 0.0, 9], [0, 1, 2, 3, 4, 9, 5], [9, 0, 1, 2, 3, 4, 5]])
    labels = np.array([0, 5, 6], "i4")
    found = DeViSE(unseen=2).score({"label": labels}, scores.astype("f4"), {})
    assert {key: value for key, value in found.metrics.items() if key != "loss"} == {
        "hit1_seen": 0.0, "hit5_seen": 1.0, "hit1_unseen": 0.5, "hit5_unseen": 1.0,
    }  # fmt: skip
    assert DeViSE(unseen=2).figure(found.metrics, found.tables) == ("hit5_unseen", 2)
    last = found.tables["hits"][-1]
    assert last["classes"] == "unseen, of these" and last["hit1"] == 1.0 and last["chance1"] == 0.5


# -- learning -------------------------------------------------------------------------------------


def test_it_names_classes_that_it_never_saw(bundle, run):
    metrics = bundle.report.metrics
    assert metrics["hit5_unseen"] > 3 * 5 / 60 and metrics["hit5_seen"] > 0.5
    assert [row["classes"] for row in bundle.report.tables["hits"]][1] == "unseen"
    words = load_model(bundle.path).get_layer("logits").get_weights()[0]
    expected = word_vectors.of_names(NAMES, word_vectors.made(16)).T
    np.testing.assert_array_equal(words, expected)
    assert bundle.card.outputs["logits"].names == NAMES and not bundle.card.custom_layers
    assert run.task.chosen(np.eye(60)).tolist() == list(range(60))


def test_a_picture_is_named(bundle, run, tmp_path):
    """A seven in red: the name of a class, of all that there are, and how near it is."""
    place = int(np.flatnonzero(run.data.test["label"] == NAMES.index("red seven"))[0])
    Image.fromarray(run.data.test["image"][place]).save(tmp_path / "seven.png")
    rows = predict(bundle, tmp_path / "seven.png", top=60)
    assert {row["label"] for row in rows} == set(NAMES)
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    known = run.preprocessing.apply(run.data.test["image"][place : place + 1])
    found = run.networks["net"](known).numpy()[0]
    assert rows[0]["label"] == NAMES[found.argmax()]
    assert scores[0] == pytest.approx(found.max(), rel=1e-4)


@pytest.mark.slow
def test_the_baseline_knows_no_unseen_class(tmp_path):
    bundle = fit("devise_softmax", out=tmp_path / "softmax", changes=SMALL)
    assert bundle.report.metrics["hit5_unseen"] < 0.3 < bundle.report.metrics["hit5_seen"]


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        ("mnist5k", [], r"^task\.unseen: got 12; expected 0 to 8, as mnist5k has 10 classes\.$"),
        (
            "mnist5k",
            ["task.unseen=2"],
            r"^task\.unseen: got 2; the training part of mnist5k has pic",
        ),
        (
            "mnist5k",
            ["task.unseen=0"],
            r"^word vectors: got none of 0, 1, 2, 3, 4; expected one of",
        ),
        ("diabetes", [], r"^task\.kind: got devise, which learns label \(class\); diabetes has"),
    ],
)
def test_other_data_are_refused(data, changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        fit("devise_small", data=data, out=tmp_path / "x", changes=changes)


def test_words_come_from_a_bundle_that_has_learnt_them(tmp_path, bundle):
    lines = [" ".join(sentence) for sentence in word_vectors.text()]
    (tmp_path / "words.txt").write_text("\n".join(lines * 6) + "\n")
    changes = ["settings={size: 6}", "train.epochs=1", "data.text.vocabulary=200"]
    data, out = f"text:{tmp_path / 'words.txt'}", tmp_path / "words"
    made = fit("word2vec", data=data, out=out, changes=changes)
    found = DeViSE(vectors=str(made.path))._vectors(NAMES)
    assert found.shape == (60, 6)
    names = made.card.columns["tokens"].names
    words = load_networks(made.path)["words"]
    two = [words(np.array([[names.index(word)]]))[0].numpy() for word in NAMES[0].split()]
    mean = np.mean([one / np.linalg.norm(one) for one in two], axis=0)
    np.testing.assert_allclose(found[0], mean / np.linalg.norm(mean), atol=1e-5)
    with pytest.raises(ValueError, match="is of the task devise; expected a bundle of word vect"):
        DeViSE(vectors=str(bundle.path))._vectors(NAMES)


def test_vectors_of_another_number_are_refused():
    with pytest.raises(ValueError, match=r"vectors: got \(2, 3\); expected 60 of 16 numbers"):
        create("devise_small", vectors=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)))


@pytest.mark.parametrize(
    "target",
    [*(pytest.param(x, marks=pytest.mark.slow) for x in ("tflite", "onnx")), "tflite-int8"],
)
def test_exported_devise_passes_the_gate(target, run, bundle, tmp_path):
    import export

    made = export.export(load_model(bundle.path), target, tmp_path / "x", samples=run.samples(64))
    assert made.manifest.parity.passed


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["prune50", "int8"])
def test_compressed_devise_is_measured_itself(recipe, run, bundle):
    import compress
    from compress import layers

    layers.register()
    model = load_model(bundle.path)
    small = compress.apply(recipe, model, samples=run.samples(128))
    before, after = (run.evaluate(m, "test").metrics["hit5_unseen"] for m in (model, small.model))
    assert after > before - 0.2


@pytest.mark.slow
def test_resumed_run_equals_a_whole_one(tmp_path):
    changes = [*SMALL, "train.epochs=2", "data.limit=640"]
    whole = fit("devise_small", out=tmp_path / "a", changes=changes)
    check_resumed(whole, tmp_path / "b", changes=changes, stop_at=9)


TWO_DEVICES = """
    import json
    from tests import two

    changes = ["data.limit=160", "train.epochs=2", "train.batch_size=32",
               "train.optimizer={kind: sgd, learning_rate: 0.1, clip_global_norm: 0.1}"]
    print(json.dumps(two.of_recipe("devise_small", changes)))
"""


@pytest.mark.slow
@pytest.mark.dist
def test_two_devices_take_the_steps_of_one():
    weights, _, moved = printed(TWO_DEVICES)
    assert moved > 0.001 and weights < 1e-5
