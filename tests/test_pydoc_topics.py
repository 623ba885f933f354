"""Texts as windows of characters, the user's own among them, and the n-gram model beside them."""

from collections import Counter, defaultdict

import numpy as np
import pytest

from zoo.baselines.ngram import NGram
from zoo.data import pydoc_topics, text
from zoo.data.loading import load
from zoo.datasets import DATASETS, check_name

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
