"""Texts of about one length share a batch: the same examples, less padding, the same losses."""

import numpy as np
import pytest
import tensorflow as tf

from tests import toy
from zoo import recipe as recipes
from zoo.common.sentences import PADDING
from zoo.common.tensors import SOURCE, TOKENS
from zoo.data import Feed, load
from zoo.data.dataset import Split
from zoo.data.feeds.buckets import Buckets
from zoo.recipe import Hardware
from zoo.training.fitting import fit
from zoo.training.run import Run
from zoo.training.strategy import choose_machine
from zoo.training.strides import Strides

FEW = ["data.name=dates", "data.limit=256", "data.buckets=3", "hardware.strategy=one"]
FEW += ["train.batch_size=32", "train.epochs=2", "hardware.precision=float32"]
SMALL = {
    "rnnsearch_small": "settings={units: 12, embedding: 8, maxout: 8}",
    "seq2seq_small": "settings={units: 12, embedding: 8}",
    "luong_small": "settings={units: 12, embedding: 8}",
}


@pytest.fixture(scope="module")
def dates():
    return load("dates", limit=512).train


def feeds(split, *, count, batch_size=32):
    columns = {name: split[name] for name in (SOURCE, TOKENS)}
    buckets = Buckets(columns, count)
    return [
        Feed(split, {}, batch_size=batch_size, training=True, seed=3, buckets=each)
        for each in (None, buckets)
    ], buckets


def test_an_epoch_has_the_same_examples_in_shorter_batches(dates):
    (plain, cut), buckets = feeds(dates, count=3)
    assert cut.steps == plain.steps and len(buckets.lengths[SOURCE]) == 3

    def rows(feed, epoch):
        found = []
        for batch in feed.dataset(epoch):
            pairs = [np.trim_zeros(row, "b").tobytes() for row in batch[SOURCE].numpy()]
            found += pairs
        return found

    assert sorted(rows(cut, 0)) == sorted(rows(plain, 0))
    assert rows(cut, 0) != rows(cut, 1)
    widths = [[batch[name].shape[1] for name in (SOURCE, TOKENS)] for batch in cut.dataset(0)]
    assert len(set(map(tuple, widths))) == 3
    assert widths != sorted(widths), "batches of all lengths in turn"
    whole = [dates[name].shape[1] for name in (SOURCE, TOKENS)]
    assert np.sum(widths) < 0.9 * len(widths) * np.sum(whole)


def test_what_is_cut_off_is_padding(dates):
    (_, cut), _ = feeds(dates, count=4)
    known = {row.tobytes() for row in np.asarray(dates[SOURCE])}
    length = dates[SOURCE].shape[1]
    for batch in cut.dataset(2):
        short = batch[SOURCE].numpy()
        full = np.pad(short, [(0, 0), (0, length - short.shape[1])])
        assert all(row.tobytes() in known for row in full)


def test_devices_and_a_resumed_run_see_the_same(dates):
    (_, cut), _ = feeds(dates, count=3)
    whole = list(cut.dataset(1))
    halves = list(cut.dataset(1, replicas=2))
    for step, batch in enumerate(whole):
        both = [halves[2 * step + place][SOURCE] for place in range(2)]
        assert np.array_equal(np.concatenate(both), batch[SOURCE])
    rest = list(cut.dataset(1, start=5))
    assert all(np.array_equal(a[TOKENS], b[TOKENS]) for a, b in zip(rest, whole[5:], strict=True))


@pytest.mark.parametrize("name", SMALL)
def test_losses_and_gradients_are_those_of_padded_texts(name):
    run = Run(recipes.resolve(name, changes=[SMALL[name], *FEW]))
    networks, task = run.create(), run.task
    shortest = (np.asarray(run.data.train[SOURCE]) != PADDING).sum(axis=1).argsort()[:8]
    columns = {key: np.asarray(run.data.train[key])[shortest] for key in (SOURCE, TOKENS)}
    tokens = np.pad(columns[TOKENS], [(0, 0), (0, 3)])  # a date has one length
    columns = {**columns, TOKENS: tokens}
    ends = {key: int((rows != PADDING).sum(1).max()) for key, rows in columns.items()}
    assert all(ends[key] < rows.shape[1] for key, rows in columns.items()), "nothing to cut"
    same_slopes(task, networks, columns, ends)


def same_slopes(task, networks, columns, ends):
    """Compares losses and gradients of whole rows with those of rows cut at `ends`."""
    variables = [v for net in networks.values() for v in net.trainable_variables]
    for objective in task.objectives():
        found = []
        for length in ({}, ends):
            batch = {
                key: tf.constant(rows[:, : length[key]] if key in length else rows)
                for key, rows in columns.items()
            }
            with tf.GradientTape() as tape:
                seen = task.look(objective.name, networks, batch, training=True)
                values, weights = seen.loss
                loss = tf.reduce_sum(values * weights) / tf.reduce_sum(weights)
            slopes = tape.gradient(loss, [v.value for v in variables])
            found.append((loss, [None if x is None else tf.convert_to_tensor(x) for x in slopes]))
        (loss, slopes), (short, shorter) = found
        assert abs(float(loss - short)) < 1e-6
        assert any(slope is not None and tf.reduce_any(slope != 0) for slope in slopes)
        for slope, other in zip(slopes, shorter, strict=True):
            assert (slope is None) is (other is None)
            if slope is not None:
                np.testing.assert_allclose(slope, other, atol=2e-6)


@pytest.mark.parametrize("name", ["show_attend_tell_small", "show_attend_tell_hard_small"])
def test_captions_lose_padding_alone(name):
    """What hard attention draws has a place for each word: those of the padding go unread."""
    run = Run(recipes.resolve(name, changes=["data.limit=64", "hardware.precision=float32"]))
    networks, task = run.create(), run.task
    rows = np.asarray(run.data.train[TOKENS])
    shortest = (rows != PADDING).sum(axis=1).argsort(kind="stable")[:8]
    columns = {TOKENS: rows[shortest], "weight": np.ones(8, "float32")}
    columns["image"] = np.asarray(run.data.train["image"])[shortest].astype("float32") / 255
    random = np.random.RandomState(0)
    for key, drawn in task.draws(networks).items():
        columns[key] = random.uniform(size=(8, *drawn.shape)).astype("float32")
    end = int((columns[TOKENS] != PADDING).sum(axis=1).max())
    assert end < rows.shape[1]
    same_slopes(task, networks, columns, {TOKENS: end})


def test_both_sides_are_cut_each_to_its_own_length():
    """Lengths of the two that know nothing of one another; every pair is one of the split's."""
    random = np.random.RandomState(1)
    most = {SOURCE: 9, TOKENS: 14}
    rows = {name: np.zeros((300, time), np.int32) for name, time in most.items()}
    for name, time in most.items():
        for number, end in enumerate(random.randint(1, time + 1, 300)):
            rows[name][number, :end] = random.randint(1, 99, end)
    split = Split(rows)
    buckets = Buckets(rows, 4)
    cut = Feed(split, {}, batch_size=20, training=True, seed=2, buckets=buckets)

    def pairs(batches):
        found = []
        for batch in batches:
            whole = {
                name: np.pad(part := batch[name].numpy(), [(0, 0), (0, time - part.shape[1])])
                for name, time in most.items()
            }
            found += [(a.tobytes(), b.tobytes()) for a, b in zip(*whole.values(), strict=True)]
        return found

    expected = sorted((a.tobytes(), b.tobytes()) for a, b in zip(*rows.values(), strict=True))
    assert sorted(pairs(cut.dataset(0))) == expected
    assert pairs(cut.dataset(0, replicas=2)) == pairs(cut.dataset(0))
    for name in most:
        widths = {batch[name].shape[1] for batch in cut.dataset(0)}
        assert len(widths) > 1 and max(widths) == most[name]


def test_it_trains_and_resumes(tmp_path):
    """Texts of up to four letters: each length is a graph of its own, of so many steps."""
    texts = ["".join(chr(97 + n // 3**place % 3) for place in range(1 + n % 4)) for n in range(300)]
    lines = sorted({f"{text}\t{' '.join(text[::-1])}" for text in texts})
    (tmp_path / "texts.tsv").write_text("\n".join(lines), encoding="utf-8")
    few = ["data.buckets=2", "hardware.strategy=one", "hardware.jit=false", "train.batch_size=8"]
    changes = [SMALL["rnnsearch_small"], f"data.name=pairs:{tmp_path / 'texts.tsv'}", *few]
    changes += ["train.epochs=2", "hardware.precision=float32"]
    whole = fit("rnnsearch_small", out=tmp_path / "whole", changes=changes)
    toy.check_resumed(whole, tmp_path / "part", changes=changes, stop_at=5)


def test_several_steps_in_a_call_cannot_be_had_and_it_is_told(dates, caplog):
    (plain, cut), _ = feeds(dates, count=3)
    machine = choose_machine(Hardware(precision="float32", strategy="one", steps_per_call=4))
    with caplog.at_level("WARNING", "zoo"):
        assert Strides(machine, plain, total=100).flows and not caplog.text
        assert not Strides(machine, cut, total=100).flows
    assert (
        "hardware.steps_per_call: got 4; each step is a call of its own, as batches" in caplog.text
    )


def test_what_cannot_be_cut_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"data\.buckets: got 3 for a task classify, whose"):
        fit("linear", out=tmp_path / "a", changes=["data.buckets=3", "data.limit=64"])
