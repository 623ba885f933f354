"""Inference: the logic of the sentences, files of pairs, what is learnt and deployed."""

import gc
import itertools
import json
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.toy import check_resumed, printed
from zoo.common import vocabulary
from zoo.common.vocabulary import Vocabulary
from zoo.data.loading import load
from zoo.data.sets import entailment
from zoo.data.sets.entailment import LABELS, Sentence, claims, relation
from zoo.data.texts import trees
from zoo.models.build import create
from zoo.models.saved import load_model
from zoo.tasks.sequences import worded
from zoo.training.fitting import fit
from zoo.training.run import Run

SMALL = [
    "settings={units: 32, embedding: 16}",
    "train.epochs=8",
    "train.batch_size=32",
    "train.optimizer.learning_rate=0.005",
    "hardware={precision: float32, strategy: one}",
]


@pytest.fixture(scope="module")
def pairs():
    """400 pairs of sentences of each label, near one another, in turn."""
    random = np.random.RandomState(5)
    found = {label: [] for label in LABELS}
    while min(map(len, found.values())) < 400:
        one = entailment._sentence(random)
        other = entailment._changed(one, random)
        label = relation(one, other)
        found[label].append((one, other, label))
    return [pair for three in zip(*found.values(), strict=False) for pair in three]


@pytest.fixture(scope="module")
def file(pairs, tmp_path_factory):
    path = tmp_path_factory.mktemp("nli") / "pairs.tsv"
    rows = [
        "\t".join([label, " ".join(one.words()), " ".join(other.words())])
        for one, other, label in pairs
    ]
    path.write_text("gold_label\tsentence1\tsentence2\n" + "\n".join(rows) + "\n")
    return f"nli:{path}"


@pytest.fixture(scope="module")
def bundle(file, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "nli"
    return fit("decomposable_attention", data=file, out=out, changes=SMALL)


@pytest.fixture(scope="module")
def run(bundle):
    return Run(bundle.recipe, networks={"net": load_model(bundle.path)})


# -- logic ----------------------------------------------------------------------------------------


@pytest.mark.oracle
def test_relations_are_those_of_all_worlds(monkeypatch):
    """Four kinds of individuals, so sixteen worlds: which kinds there are; all pairs are asked."""
    kinds = [(noun, "big", "fed", verb) for noun in ("dogs", "cats") for verb in ("run", "sit")]
    monkeypatch.setattr(entailment, "KINDS", kinds)
    claims.cache_clear()
    worlds = [
        set(itertools.compress(range(4), bits)) for bits in itertools.product([0, 1], repeat=4)
    ]

    def holds(sentence, world):
        nouns, verbs = entailment.NOUNS[sentence.noun], entailment.VERBS[sentence.verb]
        those = [kinds[k] for k in world if kinds[k][0] in nouns]
        do = [(kind[3] in verbs) != sentence.denied for kind in those]
        return {"all": bool(do) and all(do), "some": any(do), "no": not any(do),
                "not all": not all(do)}[sentence.quantifier]  # fmt: skip

    sentences = [
        Sentence(quantifier, "", noun, denied, verb)
        for quantifier in entailment.QUANTIFIERS
        for noun in ("dogs", "cats", "animals")
        for denied in (False, True)
        for verb in ("run", "rest")
    ]
    seen = set()
    for one, other in itertools.product(sentences, repeat=2):
        models = [holds(other, world) for world in worlds if holds(one, world)]
        assert models
        expected = LABELS[0 if all(models) else 1 if any(models) else 2]
        assert relation(one, other) == expected, (one, other)
        seen.add(expected)
    assert seen == set(LABELS)
    claims.cache_clear()


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (("all", "", "animals", False, "run"), ("some", "", "animals", False, "move"), 0),
        # Of all animals big ones need not be.
        (("all", "", "animals", False, "run"), ("all", "big", "dogs", False, "move"), 1),
        (("no", "", "people", False, "move"), ("no", "big", "men", False, "run"), 0),
        (("some", "", "boys", False, "sit"), ("no", "", "children", False, "rest"), 2),
        (("some", "big", "dogs", False, "run"), ("all", "", "dogs", False, "run"), 1),
        (("all", "", "men", True, "move"), ("no", "", "men", False, "swim"), 0),
    ],
)
def test_relations_by_hand(one, other, expected):
    assert relation(Sentence(*one), Sentence(*other)) == LABELS[expected]


@pytest.mark.slow
def test_the_made_set_is_balanced_and_its_parts_share_no_pair():
    data = load("quantifiers")
    seen = []
    for part in (data.train, data.validation, data.test):
        counts = np.bincount(part["label"])
        assert counts.max() - counts.min() <= 1
        rows = np.concatenate([part["tokens"], part["hypothesis"]], axis=1)
        seen.append({row.tobytes() for row in rows})
        assert len(seen[-1]) == len(rows)
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])


def test_a_network_of_one_text_is_refused_pairs_and_trees(file, tmp_path):
    small = ["settings={units: [4]}", "data.limit=60", "train.epochs=1"]
    with pytest.raises(
        ValueError,
        match=r"which has hypothesis \(tokens\), for name_lstm, which reads tokens alone\. Take an "
        r"architecture that reads hypothesis too, or another data set\.$",
    ):
        fit("name_lstm", data=file, out=tmp_path / "x", changes=small)
    path = tmp_path / "trees.txt"
    path.write_text("".join(f"({n % 2} (a{n} (b c)))\n" for n in range(80)))
    with pytest.raises(ValueError, match=r"which has joins \(heights\), for name_lstm, whi"):
        fit("name_lstm", data=f"trees:{path}", out=tmp_path / "x", changes=small)


# -- the bag of words -----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [30, 40_000])
def test_pairs_of_words_are_counted_as_by_a_loop(size):
    """Of a large vocabulary too, whose pairs have no column each."""
    random = np.random.RandomState(0)
    there = random.uniform(size=(2, 700, 6)) < 0.7
    texts = list(random.randint(0, size, there.shape) * there)
    found = worded.counted(texts, size)
    pairs = found[:, 2 * size :]
    assert pairs.shape[1] == min(size * size, worded.PAIRS) and (pairs.data == 1).all()
    for row, (one, other) in enumerate(zip(*texts, strict=True)):
        expected = {(a, b) for a in one for b in other if a and b}
        columns = set(pairs[row].indices)
        if size == 30:
            assert columns == {a * size + b for a, b in expected}
        assert len(expected) - 1 <= len(columns) <= len(expected)
        counts = found[row, :size].toarray()[0]
        np.testing.assert_array_equal(counts[1:], np.bincount(one, minlength=size)[1:])


def test_a_data_set_is_not_kept_for_its_bag_of_words(file):
    data = load(file)
    machine, often = worded._fitted(data, ("tokens", "hypothesis"))
    assert worded._fitted(data, ("tokens", "hypothesis"))[0] is machine and often in range(3)
    there = weakref.ref(data)
    del data
    gc.collect()
    assert there() is None


# -- files ----------------------------------------------------------------------------------------


def test_a_pair_that_stands_in_a_file_twice_is_in_one_part(tmp_path):
    rows = [("a b c d"[: n % 4 * 2 + 1], f"it is {'x ' * (n % 13)}y", n % 3) for n in range(500)]
    lines = ["gold_label\tsentence1\tsentence2", *(f"{LABELS[x]}\t{a}\t{b}" for a, b, x in rows)]
    path = tmp_path / "pairs.tsv"
    path.write_text("\n".join(lines))
    data = load(f"nli:{path}")
    parts = (data.train, data.validation, data.test)
    seen = [
        {row.tobytes() for row in np.concatenate([p["tokens"], p["hypothesis"]], 1)} for p in parts
    ]
    assert list(map(len, seen)) == [42, 5, 5] and len(set.union(*seen)) == 52
    assert sum(map(len, parts)) == 500


def test_json_and_tables_say_the_same(pairs, file, tmp_path):
    names = ("sentence1", "sentence2", "gold_label")
    path = tmp_path / "snli.jsonl"
    rows = [(" ".join(one.words()), " ".join(other.words()), x) for one, other, x in pairs]
    rows.insert(3, ("A man.", "It rains, doesn't it?", "-"))
    path.write_text("".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows))
    one, other = load(file), load(f"nli:{path}")
    assert one.columns == other.columns
    for part in ("train", "test"):
        for name in one.columns:
            np.testing.assert_array_equal(getattr(one, part)[name], getattr(other, part)[name])
    assert other.problems == ("snli.jsonl: 1 pairs without a label are left out",)
    assert Vocabulary.read(one.columns["tokens"]).pieces("It rains, doesn't it?") == [
        *("it", "rains", ",", "doesn", "'", "t", "it", "?")
    ]


def test_a_line_ends_with_a_line_feed_alone(tmp_path):
    """Other signs of Python's `splitlines` stand within a sentence, of JSON, tables and trees."""
    for name in ("a.jsonl", "a.tsv"):
        rows = [{"sentence1": f"one\u2028two {n}", "sentence2": f"\x85a {n}",
                 "gold_label": LABELS[n % 3]} for n in range(40)]  # fmt: skip
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        if name == "a.tsv":
            lines = ["\t".join(row.values()) for row in [{key: key for key in rows[0]}, *rows]]
        path = tmp_path / name
        path.write_text("\r\n".join(lines), encoding="utf-8", newline="")
        data = load(f"nli:{path}")
        assert len(data.train) + len(data.validation) + len(data.test) == 40
        assert {"one", "two", "a"} <= set(data.columns["tokens"].names)
    path = tmp_path / "trees.txt"
    path.write_text("".join(f"({n % 2} (a{n}\u2028b))\n" for n in range(40)), encoding="utf-8")
    data = load(f"trees:{path}")
    assert len(data.train) + len(data.validation) + len(data.test) == 40


def test_a_folder_has_its_own_parts(tmp_path):
    for part, count in (("train", 30), ("dev", 4), ("test", 5)):
        lines = ["gold_label\tsentence1\tsentence2"]
        lines += [f"{LABELS[n % 3]}\tthis is {part}\tit is {n}" for n in range(count)]
        (tmp_path / f"snli_1.0_{part}.txt").write_text("\n".join(lines))
    data = load(f"nli:{tmp_path}")
    assert [len(x) for x in (data.train, data.validation, data.test)] == [30, 4, 5]
    names = data.columns["tokens"].names
    assert [names[token] for token in data.test["tokens"][0] if token] == [
        "this",
        "is",
        "<unknown>",
    ]
    (tmp_path / "snli_1.0_dev.txt").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"has no file of dev; expected e\.g\. snli_1\.0_dev"
    ):
        load(f"nli:{tmp_path}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\nc\td\n", r":1: has no column sentence1, sentence2, gold_label; expected a table"),
        ("gold_label\tsentence1\tsentence2\nneutral\ta\n", r":2: got 2 columns; expected 3\.$"),
        (
            "gold_label\tsentence1\tsentence2\nperhaps\ta\tb\n",
            r":2: got the label 'perhaps' of 'a'",
        ),
        ("gold_label\tsentence1\tsentence2\nneutral\t\tb\n", r":2: got the label 'neutral' of ''"),
        ('{"gold_label": "neutral"}\n', r":1: expected a line of JSON with sentence1, sentence2"),
        (
            '{"gold_label": "-", "sentence1": "", "sentence2": ""}\n\n'
            '{"gold_label": "neutral", "sentence1": "a", "sentence2": null}\n',
            r":3: expected a line of JSON with sentence1, sentence2, gold_label, which are strings",
        ),
        (
            "gold_label\tsentence1\tsentence2\nneutral\ta\tb\n",
            r"got 1 pairs with a label; expected",
        ),
    ],
)
def test_what_is_no_pair_is_named_by_its_line(text, message, tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        load(f"nli:{path}")
    assert "\n" not in str(caught.value)


def test_a_wrong_encoding_is_named_by_its_byte(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_bytes(b"gold_label\tsentence1\tsentence2\nneutral\ta\xff\tb\n")
    with pytest.raises(ValueError, match="byte 40 is not UTF-8"):
        load(f"nli:{path}")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.tsv: no such file"):
        load(f"nli:{tmp_path / 'nowhere.tsv'}")


# -- networks -------------------------------------------------------------------------------------


def shaken(name, time=6, **sizes):
    net = create(name, input_shape=(time,), num_classes=3, vocabulary=12, **sizes)
    random = np.random.RandomState(0)
    net.set_weights([random.normal(scale=0.4, size=w.shape).astype("f4") for w in net.weights])
    return net


SIZES = {"nli_lstm": {"embedding": 5, "mapped": 4, "units": 6},
         "decomposable_attention": {"embedding": 5, "units": 8}}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_padding_changes_nothing(name):
    net, longer = shaken(name, **SIZES[name]), shaken(name, time=11, **SIZES[name])
    tokens = np.random.RandomState(1).randint(1, 12, (2, 4, 6)).astype("int32")
    for row, count in enumerate((6, 4, 1, 3)):
        tokens[0, row, count:], tokens[1, row, 7 - count :] = 0, 0
    padded = np.pad(tokens, [(0, 0), (0, 0), (0, 5)])
    found = net(list(tokens)).numpy()
    np.testing.assert_allclose(longer(list(padded)), found, atol=1e-5)
    for row in range(4):
        np.testing.assert_allclose(net(list(tokens[:, row : row + 1]))[0], found[row], atol=1e-6)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(net(list(tokens)) ** 2)
    for weight, slope in zip(net.weights, tape.gradient(loss, net.weights), strict=True):
        assert np.abs(tf.convert_to_tensor(slope)).max() > 0, weight.path


@pytest.mark.oracle
def test_attention_is_that_of_the_paper():
    """Equations 1 to 6, one pair of sentences without padding at a time, in NumPy."""
    net = shaken("decomposable_attention", **SIZES["decomposable_attention"])
    w = {weight.path: weight.numpy().astype("float64") for weight in net.weights}

    def twice(x, name):
        for number in "12":
            x = np.maximum(x @ w[f"{name}{number}/kernel"] + w[f"{name}{number}/bias"], 0)
        return x

    def softmax(x):
        return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)

    tokens = np.random.RandomState(2).randint(1, 12, (2, 5, 6)).astype("int32")
    found = net(list(tokens)).numpy()
    for row in range(5):
        a, b = (w["embedding/embeddings"][t[row]] @ w["projected/kernel"] for t in tokens)
        scores = twice(a, "attend") @ twice(b, "attend").T
        beta, alpha = softmax(scores) @ b, softmax(scores.T) @ a
        v = [twice(np.concatenate(x, axis=1), "compare").sum(0) for x in ((a, beta), (b, alpha))]
        expected = twice(np.concatenate(v)[None], "class") @ w["logits/kernel"] + w["logits/bias"]
        np.testing.assert_allclose(found[row], expected[0], rtol=1e-3, atol=1e-4)


def test_the_lstm_reads_up_to_the_last_word():
    net = shaken("nli_lstm", **SIZES["nli_lstm"])
    tokens = np.array([[3, 7, 1, 0, 0, 0]], "int32")
    x = net.get_layer("mapped")(net.get_layer("embedding")(tokens[:, :3]))
    layer = net.get_layer("lstm")
    plain = keras.layers.LSTM(4)
    plain.build(x.shape)
    plain.set_weights(layer.get_weights())
    end = plain(x)
    y = tf.concat([end, end], axis=1)
    for number in (1, 2, 3):
        y = net.get_layer(f"dense{number}")(y)
    expected = net.get_layer("logits")(y)
    np.testing.assert_allclose(net([tokens, tokens]), expected, atol=1e-5)


# -- learning -------------------------------------------------------------------------------------


def test_it_learns_more_than_the_commonest_class(bundle):
    metrics = bundle.report.metrics
    assert metrics["top1"] > metrics["majority"] + 0.1 and metrics["bag_of_words"] > 0.4
    assert list(bundle.card.inputs) == ["tokens", "hypothesis"]
    assert bundle.card.outputs["logits"].names == LABELS and not bundle.card.custom_layers


def test_other_data_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(trees, "EXAMPLES", 400)
    with pytest.raises(
        ValueError, match=r"which reads hypothesis \(tokens\); arithmetic has tokens"
    ):
        fit("nli_lstm", data="arithmetic", out=tmp_path / "x", changes=["data.limit=50"])


def test_two_sentences_are_asked_about(bundle, run, zoo, monkeypatch):
    pair = [run.data.test[name][:1] for name in ("tokens", "hypothesis")]
    names = run.data.columns["tokens"].names
    told = [" ".join(names[token] for token in row[0] if token) for row in pair]
    asked = " | ".join(told)
    logits = load_model(bundle.path)(pair).numpy()[0]
    rows = zoo("predict", bundle.path, "--text", asked, "--text", "\t".join(told), "--json")
    assert len(rows) == 6 and rows[0]["text"] == asked
    best = LABELS[logits.argmax()]
    assert rows[0]["label"] == rows[3]["label"] == best
    share = np.exp(logits.max()) / np.exp(logits).sum()
    assert rows[0]["probability"] == pytest.approx(share, rel=1e-4)
    for text, line in (
        ("all dogs run", "--text: got 'all dogs run'; expected two sentences with '|' or a tab"),
        ("all dogs run |", "expected two sentences with '|'"),
        (f"{'all ' * 30}| no men sit", "--text: got 30 words in 'all all all"),
    ):
        assert line in zoo("predict", bundle.path, "--text", text, expect=2)
    lines = []
    monkeypatch.setattr(vocabulary.LOG, "warning", lambda *told: lines.append(told[0] % told[1:]))
    zoo("predict", bundle.path, "--text", "all zebras run | no men sit")
    assert lines[0].startswith("--text: 'zebras' not among the ") and len(lines) == 1


@pytest.mark.parametrize(
    "target",
    [*(pytest.param(x, marks=pytest.mark.slow) for x in ("tflite", "onnx")), "tflite-int8"],
)
def test_exported_attention_passes_the_gate(target, run, bundle, tmp_path):
    import export

    made = export.export(load_model(bundle.path), target, tmp_path / "x", samples=run.samples(64))
    assert made.manifest.parity.passed


@pytest.mark.slow
def test_an_exported_lstm_passes_the_gate(tmp_path):
    import export

    net = shaken("nli_lstm", **SIZES["nli_lstm"])
    tokens = np.random.RandomState(1).randint(1, 12, (2, 64, 6)).astype("int32")
    samples = dict(zip(("tokens", "hypothesis"), tokens, strict=True))
    made = export.export(net, "onnx", tmp_path / "x", samples=samples)
    assert made.manifest.parity.passed


@pytest.mark.parametrize("recipe", ["prune50", pytest.param("int8", marks=pytest.mark.slow)])
def test_compressed_attention_is_measured_itself(recipe, run, bundle):
    import compress
    from compress import layers

    layers.register()
    model = load_model(bundle.path)
    small = compress.apply(recipe, model, samples=run.samples(128))
    (report,) = small.report.passes
    assert {row.path: row for row in report.layers}["attend1"].changed
    before, after = (run.evaluate(m, "test").metrics["loss"] for m in (model, small.model))
    assert before != after and abs(after - before) < 0.5


@pytest.mark.slow
def test_resumed_run_equals_a_whole_one(file, tmp_path):
    changes = [*SMALL, "train.epochs=2", "data.limit=320", "settings={units: 8, embedding: 8}"]
    whole = fit("nli_lstm", data=file, out=tmp_path / "a", changes=changes)
    check_resumed(whole, tmp_path / "b", data=file, changes=changes, stop_at=9)


TWO_DEVICES = """
    import json, sys
    from tests import two

    changes = ["settings={units: 8, embedding: 6, dropout: 0.0}", "data.limit=160",
               "train.epochs=2", "train.batch_size=32",
               "train.optimizer={kind: sgd, learning_rate: 0.5, clip_global_norm: 0.1}"]
    print(json.dumps(two.of_recipe("decomposable_attention", changes, data=sys.argv[1])))
"""


@pytest.mark.slow
@pytest.mark.dist
def test_two_devices_take_the_steps_of_one(file):
    weights, _, moved = printed(TWO_DEVICES, file)
    assert moved > 0.01 and weights < 1e-6
