"""Texts as windows of tokens, the user's own among them, and what a language model has to beat."""

from collections import Counter, defaultdict

import numpy as np
import pytest

import zoo
from zoo.baselines.ngram import NGram
from zoo.common import byte_pairs
from zoo.common.vocabulary import WORD, Vocabulary
from zoo.data.loading import load
from zoo.data.sets import pydoc_topics
from zoo.data.texts import text
from zoo.datasets import DATASETS, check_name
from zoo.recipe import Text

PYTHON_3_11_7 = "37d06970fc926e60"


@pytest.fixture(scope="module")
def data():
    return load("pydoc_topics")


def decoded(data, tokens):
    return "".join(data.columns["tokens"].names[token] for token in tokens)


def counted(data, split):
    """The predictions that count, one window after another, as text."""
    rows = zip(split["tokens"], split["counted"], strict=True)
    return "".join(decoded(data, tokens[-count:]) for tokens, count in rows)


def test_every_character_that_is_measured_counts_once(data):
    whole = pydoc_topics.read()
    held, test = text.bounds(len(whole))
    assert counted(data, data.validation) == whole[held:test]
    assert counted(data, data.test) == whole[test:]
    assert data.test["tokens"].shape == (len(data.test), 101) and data.test["counted"].max() == 50


def test_what_stands_before_is_the_text_before(data):
    whole, (_, test) = pydoc_topics.read(), text.bounds(len(pydoc_topics.read()))
    assert decoded(data, data.test["tokens"][0]) == whole[test - 51 : test + 50]


def test_training_windows_cover_the_training_part_in_random_order(data):
    whole, (held, _) = pydoc_topics.read(), text.bounds(len(pydoc_topics.read()))
    windows = [decoded(data, tokens[:-1]) for tokens in data.train["tokens"]]
    num = (held - 1) // 100
    assert sorted(windows) == sorted(whole[i * 100 : (i + 1) * 100] for i in range(num))
    assert windows[0] != whole[:100] and set(data.train["counted"]) == {100}


def test_source_names_the_python_and_the_text(data):
    import platform

    assert f"Python {platform.python_version()}" in data.source and "sha256" in data.source
    assert data.labels == tuple(sorted(set(pydoc_topics.read())))
    if PYTHON_3_11_7 in data.source:
        row = DATASETS["pydoc_topics"]
        assert row.shape == data.columns["tokens"].shape and row.num_classes == len(data.labels)


def test_size_is_that_of_a_window():
    data = load("pydoc_topics", size=20, limit=5)
    assert data.train["tokens"].shape == (5, 21) and data.test["counted"].max() == 10
    with pytest.raises(ValueError, match="expected null for both"):
        load("pydoc_topics", channels=3)
    with pytest.raises(ValueError, match="size: got 1; expected windows of at least 2"):
        load("pydoc_topics", size=1)


def test_a_text_of_the_user(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("abcé\n" * 400, encoding="utf-8")
    data = load(f"text:{path}", size=20)
    assert data.labels == ("\n", "a", "b", "c", "é") and data.columns["tokens"].shape == (21,)
    assert counted(data, data.test) == ("abcé\n" * 400)[1800:]


def test_texts_that_cannot_be_read(tmp_path):
    path = tmp_path / "mine.txt"
    with pytest.raises(FileNotFoundError, match=r"^text:.*mine.txt: no such file\.$"):
        check_name(f"text:{path}")
    path.write_bytes(b"ab\xff")
    with pytest.raises(ValueError, match=r"byte 2 is not UTF-8"):
        load(f"text:{path}")
    path.write_text("short")
    with pytest.raises(ValueError, match=r"got 5 characters; expected at least 4,000"):
        load(f"text:{path}")


# -- words, byte pairs, folders, streams -----------------------------------------------------------


def by_unit(unit, vocabulary=None, **more):
    return load("pydoc_topics", size=20, text=Text(unit=unit, vocabulary=vocabulary), **more)


def test_a_mark_of_the_order_of_bytes_is_no_character(tmp_path):
    """At the beginning of each file; within one it is a character like others."""
    for name in "ab":
        lines = "\ufeffabc\n" * 60 if name == "a" else "\ufeffabd\n" + "abd\n" * 60
        (tmp_path / f"{name}.txt").write_text(lines, encoding="utf-8")
    data = load(f"text:{tmp_path}", size=4)
    assert data.columns["tokens"].names == ("\n", "a", "b", "c", "d", "\ufeff")
    assert text.whole(f"text:{tmp_path}").count("\ufeff") == 59
    (tmp_path / "a.txt").unlink()
    assert load(f"text:{tmp_path}", size=4).columns["tokens"].names == ("\n", "a", "b", "d")


def test_words_are_the_most_frequent_of_the_training_part():
    data, whole = by_unit("word", 500), pydoc_topics.read()
    names = data.labels
    words = Counter(WORD.findall(whole[: text.bounds(len(whole))[0]]))
    assert len(names) == 500 and names[0] == "<unk>" and set(names[1:]) <= set(words)
    assert min(words[word] for word in names[1:]) >= max(
        count for word, count in words.items() if word not in names
    )
    row = data.validation[:1]
    shown, lengths = row["tokens"][0], row["lengths"][0]
    begin = whole.index(Vocabulary.of_names(names).behind([0], shown[1:]).split("<unk>")[0].strip())
    assert row["tokens"].shape == row["lengths"].shape == (1, 21) and begin > 0
    assert set(data.columns) == {"tokens", "counted", "lengths"}
    assert all(
        length >= len(names[token]) for token, length in zip(shown, lengths, strict=True) if token
    )


def test_words_are_written_with_blanks_between(caplog):
    words = Vocabulary.of_names(("<unk>", "\n", "a", "word", "."))
    with caplog.at_level("WARNING", "zoo"):
        words.encode("a word.\n", where="x")
        assert not caplog.messages
        words.encode("a bee, a bee", where="prompt")
    assert caplog.messages == [
        "prompt: 'bee', ',' not among the 4 words of the training; read as <unk>"
    ]
    assert words.encode("a word.\nb", where="x") == [2, 3, 4, 1, 0]
    assert words.decode([2, 3, 4, 1, 0, 2]) == "a word .\n<unk> a"
    assert words.behind([2], [3]) == " word"


@pytest.fixture(scope="module")
def pieces():
    pytest.importorskip("tokenizers")
    return by_unit("byte_pair", 400)


def test_byte_pairs_lose_nothing(pieces):
    whole, names = pydoc_topics.read(), pieces.labels
    assert len(names) == 400 and list(names[:103]) == sorted(set(whole))
    joined = "".join(
        "".join(names[token] for token in tokens[-count:])
        for tokens, count in zip(pieces.test["tokens"], pieces.test["counted"], strict=True)
    )
    assert whole.endswith(joined)
    assert len(joined) == pytest.approx(len(whole) / 10, rel=0.01)
    sizes = np.array([len(name) for name in names])
    assert np.array_equal(pieces.test["lengths"], sizes[pieces.test["tokens"]])


def test_a_vocabulary_is_enough_to_join_byte_pairs_again(pieces):
    """What the library's own trainer made reads a text as the vocabulary alone does."""
    import tokenizers

    whole = pydoc_topics.read()
    train = whole[: text.bounds(len(whole))[0]]
    own = tokenizers.Tokenizer(tokenizers.models.BPE())
    own.pre_tokenizer = byte_pairs.runs()
    own.train_from_iterator(
        [train],
        tokenizers.trainers.BpeTrainer(
            vocab_size=400, initial_alphabet=sorted(set(whole)), show_progress=False
        ),
    )
    part = whole[-20_000:]
    known = Vocabulary.read(pieces.columns["tokens"])
    found = known.encode(part, where="x")
    assert [pieces.labels[token] for token in found] == own.encode(part).tokens
    assert known.decode(found) == part
    with pytest.raises(ValueError, match=r"got 50; expected more than the 103 different char"):
        by_unit("byte_pair", 50)
    with pytest.raises(ValueError, match=r"^x: got '☃' in '☃'; expected characters of the 103"):
        known.encode("☃", where="x")


def test_units_that_cannot_be():
    with pytest.raises(ValueError, match=r"^data\.text\.vocabulary: got 50 for characters; expect"):
        by_unit("character", 50)
    with pytest.raises(ValueError, match=r"^data\.text: got word for digits, which is no text"):
        load("digits", text=Text(unit="word"))


@pytest.fixture
def folder(tmp_path):
    """A folder of three texts, one of them in a folder of its own, and what is none."""
    whole = pydoc_topics.read()[:9000]
    for name, part in {"b": whole[3000:6000], "a": whole[:3000], "c/d": whole[6000:]}.items():
        (tmp_path / f"{name}.txt").parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.txt").write_text(part, encoding="utf-8", newline="\r\n")
    (tmp_path / "notes.md").write_text("no text of the folder")
    (tmp_path / ".hidden.txt").write_text("hidden")
    return tmp_path


def test_a_folder_is_its_texts_one_after_another(folder):
    whole = pydoc_topics.read()[:9000]
    check_name(f"text:{folder}")
    assert text.whole(f"text:{folder}") == whole
    data = load(f"text:{folder}", size=20)
    assert counted(data, data.test) == whole[8100:] and data.labels == tuple(sorted(set(whole)))
    for path in folder.rglob("*.txt"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"a folder without a file that ends in \.txt"):
        load(f"text:{folder}")


@pytest.mark.parametrize("unit", ["character", "word"])
def test_a_stream_is_the_text_that_is_held_in_memory(folder, unit, monkeypatch):
    """In blocks so small that lines are cut by them."""
    monkeypatch.setattr("zoo.data.texts.text_files.BLOCK", 37)
    name, tokens = f"text:{folder}", Text(unit=unit)
    held = load(name, size=20, text=tokens)
    data = load(name, size=20, text=tokens, stream=True)
    assert data.labels == held.labels and data.source == held.source
    for split in ("train", "validation", "test"):
        one, other = getattr(held, split), getattr(data, split)
        other = other[: len(other)]
        assert len(one) == len(other) and set(one) == set(other)
        order = np.lexsort(one["tokens"].T), np.lexsort(other["tokens"].T)
        for column in one:
            assert np.array_equal(one[column][order[0]], other[column][order[1]])
    with pytest.raises(ValueError, match="stream: got true for pydoc_topics, which is held in mem"):
        load("pydoc_topics", stream=True)


def test_a_wrong_byte_is_named_wherever_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.data.texts.text_files.BLOCK", 10)
    path = tmp_path / "mine.txt"
    for place in (0, 9, 10, 25):
        good = ("é\n" * 20).encode()
        path.write_bytes(good[: place // 3 * 3] + b"\xff" + good)
        with pytest.raises(ValueError, match=f"byte {place // 3 * 3} is not UTF-8; expected a t"):
            text.whole(f"text:{path}")
    path.write_bytes("aé".encode()[:-1])
    with pytest.raises(ValueError, match="byte 1 is not UTF-8"):
        text.whole(f"text:{path}")


# -- baselines ------------------------------------------------------------------------------------


def plain_bits(order, train, test):
    """Witten-Bell by dictionaries, as the equation reads."""
    counts = [defaultdict(Counter) for _ in range(order)]
    for i in range(len(train)):
        for length in range(min(order, i + 1)):
            counts[length][train[i - length : i]][train[i]] += 1
    bits, whole = 0.0, train + test
    for i in range(len(train), len(whole)):
        share = 1 / len(set(whole))
        for length in range(order):
            seen = counts[length].get(whole[i - length : i])
            if seen:
                share = (seen[whole[i]] + len(seen) * share) / (seen.total() + len(seen))
        bits -= np.log2(share)
    return bits / len(test)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_ngram_equals_dictionaries(order):
    whole = pydoc_topics.read()[:3000]
    names, tokens = text.encode(whole)
    model = NGram(tokens[None, :2500], vocabulary=len(names), order=order)
    found = model.bits(tokens[None, 2400:], np.array([500]))
    assert found == pytest.approx(plain_bits(order, whole[:2500], whole[2500:]), rel=1e-9)


def test_ngram_of_the_help_texts(data):
    """1.905 bits were measured on this text by another program."""
    _, tokens = text.encode(pydoc_topics.read())
    model = NGram(tokens[None, : text.bounds(len(tokens))[1]], vocabulary=len(data.labels), order=5)
    bits = model.bits(data.test["tokens"], data.test["counted"])
    assert bits == pytest.approx(1.905, abs=0.001 if PYTHON_3_11_7 in data.source else 0.2)


def test_ngram_refuses_what_it_cannot_number():
    with pytest.raises(ValueError, match="fewer than 2\\*\\*63 different grams"):
        NGram(np.zeros((1, 50), np.int32), vocabulary=103, order=10)
    model = NGram(np.zeros((1, 50), np.int32), vocabulary=3, order=4)
    with pytest.raises(ValueError, match="without 3 tokens before what counts"):
        model.bits(np.zeros((1, 5), np.int32), np.array([3]))


def test_baselines_of_a_text(tmp_path):
    """The n-gram by dictionaries; xz by what the module itself makes."""
    import lzma

    path = tmp_path / "mine.txt"
    path.write_text(pydoc_topics.read()[:6000], encoding="utf-8")
    whole = path.read_text(encoding="utf-8")
    found = zoo.baseline("ngram", data=f"text:{path}", out=tmp_path / "ngram")
    order, metrics = found.report.baseline.settings["order"], found.report.metrics
    expected = plain_bits(order, whole[:5400], whole[5400:])
    assert metrics["bits_per_character"] == pytest.approx(expected, rel=1e-9)
    assert metrics["bits_of_training_part_alone"] > metrics["bits_per_character"]
    tried = found.report.baseline.tried
    assert min(tried, key=lambda one: one["bits_per_character"])["order"] == order
    assert found.card.task == "language" and found.card.parameters > 1000
    found = zoo.baseline("xz", data=f"text:{path}", out=tmp_path / "xz")
    sizes = [
        len(lzma.compress(part.encode(), preset=9 | lzma.PRESET_EXTREME))
        for part in (whole[:5400], whole)
    ]
    bits = 8 * (sizes[1] - sizes[0]) / 600
    assert found.report.metrics["bits_per_character"] == pytest.approx(bits)


def test_baselines_want_what_they_read(tmp_path):
    with pytest.raises(ValueError, match=r"^ngram: digits is not a text of characters"):
        zoo.baseline("ngram", data="digits", out=tmp_path / "x")
    with pytest.raises(ValueError, match=r"^knn_l2: pydoc_topics is not images with classes"):
        zoo.baseline("knn_l2", data="pydoc_topics", out=tmp_path / "x")


def test_a_run_of_one_character_takes_no_time_to_join_again():
    """Two to the fourteenth of them are fourteen joins, not as many as there are places."""
    pytest.importorskip("tokenizers")
    names = ("=", *("=" * 2**power for power in range(1, 15)), "=" * 3)
    known = Vocabulary(names, "byte_pair")
    assert byte_pairs._joined("=" * 24, {("=" * 2**n, "=" * 2**n): n for n in range(4)}) == (
        "=" * 16, "=" * 8,
    )  # fmt: skip
    assert known.encode("=" * 2**14, where="x") == [14]
