"""What is counted: means over parts of examples, over padded batches, and what callbacks read."""

from typing import Literal

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import toy
from tests.toy import settings, small, train, validation
from zoo.data.dataset import Split
from zoo.data.feeds.feed import Feed
from zoo.recipe import Hardware
from zoo.tasks.labels.classify import Classify
from zoo.tasks.supervised import Supervised
from zoo.tasks.task import Mean, Objective, columns_of
from zoo.training import steps, strategy
from zoo.training.history import Means, Sums
from zoo.training.trainer import Trainer

RANDOM = np.random.RandomState(0)


# Weighed values


@pytest.mark.parametrize("shape", [(6,), (6, 5), (6, 5, 2)], ids=str)
@pytest.mark.parametrize("weighed", [False, True])
def test_sums_are_those_of_numpy(shape, weighed):
    """Padding weighs nothing, whatever its parts say."""
    values = RANDOM.normal(size=shape).astype("float32")
    own = RANDOM.randint(0, 3, shape).astype("float32") if weighed else None
    weight = np.array([1, 1, 0, 1, 1, 0], "float32")
    found = steps.sums({"some": Mean(values, own)}, {"weight": weight})["some"].numpy()
    whole = weight.reshape(6, *[1] * (len(shape) - 1)) * (np.ones(shape) if own is None else own)
    np.testing.assert_allclose(found, [(values * whole).sum(), whole.sum()], rtol=1e-5)


class Parts(Supervised):
    """The squared outputs of the parts of an example that count."""

    kind: Literal["parts"] = "parts"

    def loss_of(self, batch, outputs):
        return Mean(outputs**2, batch["counts"])


def test_the_loss_is_the_mean_over_all_parts_of_the_batch_that_count():
    """Not the mean of the examples' means: an example with more parts weighs more."""
    x = keras.Input((4,), name="features")
    model = keras.Model(x, keras.layers.Dense(4, name="logits")(x))
    rows = RANDOM.normal(size=(5, 4)).astype("float32")
    counts = np.array([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]])
    weight = np.array([1, 1, 1, 1, 0], "float32")
    batch = {"features": rows, "counts": counts.astype("float32"), "weight": weight}
    variables = model.trainable_variables
    arguments = Parts(), Objective(), {"net": model}, batch
    total, slopes, seen = steps.gradient(*arguments, variables=variables)
    outputs = model(rows).numpy()
    whole = counts * weight[:, None]
    assert float(total) == pytest.approx((outputs**2 * whole).sum() / 10, rel=1e-5)
    assert whole.sum() == 10 and seen.loss.values.shape == (5, 4)
    by_hand = rows.T @ (2 * outputs * whole) / 10
    np.testing.assert_allclose(slopes[0], by_hand, rtol=1e-4, atol=1e-6)
    nothing = {**batch, "counts": np.zeros((5, 4), "float32")}
    total, slopes, _ = steps.gradient(*arguments[:3], nothing, variables=variables)
    assert float(total) == 0 and all(not np.any(slope) for slope in slopes)


def test_a_model_reads_the_columns_of_its_inputs():
    two = [keras.Input((2,), name=name) for name in ("left", "right")]
    model = keras.Model(two, keras.layers.Add()(two), name="adder")
    columns = {"right": np.ones((1, 2)), "left": np.zeros((1, 2)), "label": np.zeros(1)}
    assert list(columns_of(model, columns)) == ["left", "right"]
    old = keras.Input((2,), name="image")  # a bundle of before: its one input has another name
    one = keras.Model(old, keras.layers.Dense(1)(old), name="old")
    assert columns_of(one, {"features": 3, "target": 4}) == 3
    with pytest.raises(ValueError, match="adder: reads left, right; got the columns left"):
        columns_of(model, {"left": 1})


# What callbacks read


def collected(model, **options):
    """What a callback gets after every step, unread; and what one reads at once."""
    unread, at_once = [], []

    def note(batch, logs):
        unread.append(logs)

    def look(batch, logs):
        at_once.append(dict(logs))

    callbacks = [keras.callbacks.LambdaCallback(on_train_batch_end=each) for each in (note, look)]
    history = train(model, settings(**options), callbacks=callbacks, validation=validation())
    return history, unread, at_once


def test_means_of_a_step_are_the_same_whenever_they_are_read():
    history, unread, at_once = collected(small())
    assert len(unread) == 20
    for late, early in zip(unread, at_once, strict=True):
        assert dict(late) == early  # exactly: they are those of their step
        assert list(late) == ["loss", "top1", "top5"] and len(late) == 3
        assert late.get("acc") is None and "loss" in late
    for epoch in range(2):
        row = history.rows[epoch]
        end = dict(unread[10 * epoch + 9])
        assert end == {name: row[name] for name in end}  # exactly
    # Reading them changes nothing, and neither does reading nothing.
    again, unread, _ = collected(small())
    quiet = train(small(), settings(), validation=validation())
    for other in (again, quiet):
        for one, row in zip(history.rows, other.rows, strict=True):
            assert all(one[key] == row[key] for key in one if key != "seconds")


def test_means_of_a_step_are_those_of_the_batches_so_far():
    """At a rate of nearly 0, so that one model gives every batch's own loss."""
    model = small()
    _, unread, _ = collected(model, epochs=1, learning_rate=1e-30)
    losses, right = [], []
    for batch in toy.feed().dataset(0):
        logits = model(batch["image"]).numpy().astype("float64")
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        labels = batch["label"].numpy()
        losses.append(-np.log(shares[np.arange(64), labels]))
        right.append(logits.argmax(axis=1) == labels)
        assert unread[len(losses) - 1]["loss"] == pytest.approx(np.mean(losses), rel=1e-6)
        assert unread[len(losses) - 1]["top1"] == np.mean(right)  # counts: exactly


def test_sums_go_on_from_plain_numbers():
    sums = Sums()
    sums.add({"loss": tf.constant([3.0, 2.0], tf.float64)})
    before = Means(sums)
    sums.add({"loss": tf.constant([0.1, 1.0], tf.float64)})
    assert before["loss"] == 1.5 and sums.mean("loss") == 3.1 / 3
    again = Sums(sums.plain())
    again.add({"loss": np.array([0.2, 1.0])})
    sums.add({"loss": tf.constant([0.2, 1.0], tf.float64)})
    assert again.means() == sums.means() == {"loss": (3.1 + 0.2) / 4}
    # The mean of nothing is no return of 0, which could be a record.
    assert np.isnan(Sums({"none": [0.0, 0.0]}).means()["none"])


# Embeddings, whose gradient is sparse


def words(seed=0):
    keras.utils.set_random_seed(seed)
    x = tokens = keras.Input((12,), dtype="int32", name="tokens")
    x = keras.layers.Embedding(50, 8, name="embedding")(x)
    x = keras.layers.GlobalAveragePooling1D(name="pool")(x)
    return keras.Model(tokens, keras.layers.Dense(10, name="logits")(x), name="words")


def texts(num=640):
    """Twelve words, of which some tell the class; word 0 never comes."""
    random = np.random.RandomState(1)
    labels = random.randint(0, 10, num).astype("int32")
    tokens = random.randint(11, 50, (num, 12)).astype("int32")
    tokens[:, :6] = labels[:, None] + 1
    return Split({"tokens": tokens, "label": labels})


@pytest.mark.parametrize(
    ("key", "largest"), [("clip_value", 0.003), ("clip_norm", 0.02), ("clip_global_norm", 0.03)]
)
def test_the_gradient_of_an_embedding_is_clipped_as_a_whole(key, largest):
    """By the formulas, in NumPy, on the dense gradient; a word that never comes stays."""
    from tests.test_optimizers import clipped

    batches = Feed(texts(), {}, batch_size=64, training=True)
    ours = words()
    chosen = settings(**{key: largest}, learning_rate=0.5, momentum=0.0)
    machine = strategy.choose_machine(Hardware(precision="float32", strategy="one"))
    history = Trainer(ours, Classify(), chosen, machine).fit(batches)
    theirs, cuts = words(), []
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for epoch in range(2):
        for batch in batches.dataset(epoch):
            with tf.GradientTape() as tape:
                total = loss(batch["label"], theirs(batch["tokens"], training=True))
            variables = theirs.trainable_variables
            slopes = tape.gradient(total, [variable.value for variable in variables])
            assert isinstance(slopes[0], tf.IndexedSlices)
            dense = [tf.convert_to_tensor(slope).numpy() for slope in slopes]
            cut = clipped(dense, key, largest)
            cuts.append(max(np.abs(a - b).max() for a, b in zip(dense, cut, strict=True)))
            for variable, slope in zip(variables, cut, strict=True):
                variable.assign(variable - 0.5 * slope)
    assert min(cuts) > 1e-4  # every step was cut
    assert toy.difference(ours, theirs) < 2e-6
    assert history.rows[1]["loss"] < history.rows[0]["loss"]
    table, start = (model.get_layer("embedding").embeddings.numpy() for model in (ours, words()))
    np.testing.assert_array_equal(table[0], start[0])
    assert np.abs(table[1:11] - start[1:11]).max() > 1e-3


def test_an_embedding_trains_without_clipping_and_the_loss_falls():
    machine = strategy.choose_machine(Hardware(precision="float32", strategy="one"))
    model = words()
    batches = Feed(texts(), {}, batch_size=64, training=True)
    chosen = settings(epochs=12, kind="adam", learning_rate=0.02)
    history = Trainer(model, Classify(), chosen, machine).fit(batches)
    assert history.rows[-1]["top1"] > 0.95 and history.rows[-1]["loss"] < history.rows[0]["loss"]
