"""Every loss against hand calculations, scikit-learn and Keras; its gradient and its limits."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from sklearn import metrics

from zoo import losses
from zoo.losses import LOSSES, Loss
from zoo.recipe import Recipe
from zoo.tasks.labels.classify import Classify
from zoo.tasks.labels.regress import Regress

NAMED = {kind: [row.name for row in LOSSES.values() if row.target == kind]
         for kind in ("class", "binary", "number")}  # fmt: skip
TRAINABLE = [row.name for row in LOSSES.values() if row.trains]

# The lecture's cat, car and frog: CS231n, lecture 3.
SCORES = np.array([[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]])
CLASSES = np.array([0, 1, 2])


def example(name, num=64, dtype="float32", seed=0):
    """Labels and outputs that suit a loss."""
    random = np.random.RandomState(seed)
    columns = 5 if name in NAMED["class"] else 1
    outputs = random.normal(scale=2, size=(num, columns)).astype(dtype)
    if name in NAMED["number"]:
        return random.normal(size=num).astype(dtype), outputs
    return random.randint(0, max(columns, 2), num), outputs


def value(name, labels, outputs, **settings):
    return np.asarray(ops.cast(losses.loss_function(name)(labels, outputs, **settings), "float64"))


# By hand


def test_multiclass_svm_is_the_lectures():
    np.testing.assert_allclose(value("multiclass_svm", CLASSES, SCORES), [2.9, 0, 12.9])
    assert value("multiclass_svm", CLASSES, SCORES).mean() == pytest.approx(5.27, abs=0.005)
    np.testing.assert_allclose(
        value("multiclass_svm_squared", CLASSES, SCORES), [2.9**2, 0, 6.3**2 + 6.6**2]
    )
    half = value("multiclass_svm", CLASSES, SCORES, margin=0.5)
    np.testing.assert_allclose(half, [2.4, 0, 5.8 + 6.1])
    np.testing.assert_allclose(value("multiclass_perceptron", CLASSES, SCORES), [1.9, 0, 5.6])
    assert value("zero_one", CLASSES, SCORES).tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("name", "settings", "labels", "outputs", "expected"),
    [
        ("hinge", {}, [1, 1, 0, 0], [0.25, 3, 0.25, -3], [0.75, 0, 1.25, 0]),
        ("hinge", {"margin": 2}, [1, 0], [0.25, -1.5], [1.75, 0.5]),
        ("squared_hinge", {}, [1, 1, 0], [0.25, 3, 0.25], [0.5625, 0, 1.5625]),
        ("perceptron", {}, [1, 1, 0, 0], [0.25, -3, 0.25, -3], [0, 3, 0.25, 0]),
        ("binary_cross_entropy", {}, [1, 0], [np.log(3), np.log(3)], np.log([4 / 3, 4])),
        ("cross_entropy", {}, [0, 1], np.log([[1, 3], [1, 3]]), np.log([4, 4 / 3])),
        ("mse", {}, [1, 2], [3, 2], [4, 0]),
        ("mse", {}, [[1, 2]], [[3, 6]], [10]),
        ("mae", {}, [[1, 2]], [[3, 6]], [3]),
        ("huber", {}, [0, 0], [0.5, 3], [0.125, 2.5]),
        ("huber", {"delta": 2}, [0, 0], [0.5, 3], [0.125, 4]),
        # The label's share p is 3/4, then 1/4: -1/4 (1 - p)^2 log p.
        ("focal", {}, [1, 0], np.log([[1, 3], [1, 3]]), [np.log(4 / 3) / 64, np.log(4) * 9 / 64]),
        ("focal", {"gamma": 0, "alpha": 1}, [1], np.log([[1, 3]]), [np.log(4 / 3)]),
        # A yes of p = 3/4 weighs 1/4, a no that is answered by 3/4 yes weighs 3/4.
        ("binary_focal", {}, [1, 0], [np.log(3)] * 2, [np.log(4 / 3) / 64, np.log(4) * 27 / 64]),
        ("binary_focal", {"gamma": 1, "alpha": 0.5}, [1], [np.log(3)], [np.log(4 / 3) / 8]),
    ],
)
def test_values_by_hand(name, settings, labels, outputs, expected):
    found = value(name, np.array(labels), np.array(outputs, "float64"), **settings)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("num_classes", [2, 10, 1000])
@pytest.mark.parametrize("name", LOSSES)
def test_the_first_loss(name, num_classes):
    """Outputs of 0, as a fresh net nearly gives them: log C, C - 1, log 2, 1, 0."""
    columns = num_classes if name in NAMED["class"] else 1
    first, labels = losses.first(name, num_classes), np.arange(4) % 2
    found = value(name, labels, np.zeros((4, columns), "float32"))
    if first is None:
        by_label = ("zero_one", "focal", "binary_focal", *NAMED["number"])
        assert name in by_label and (name == "focal" or len(set(found)) > 1)
    else:
        np.testing.assert_allclose(found, first, rtol=1e-6)
    expected = {"cross_entropy": np.log(num_classes), "multiclass_svm": num_classes - 1, "hinge": 1}
    assert name not in expected or first == pytest.approx(expected[name])


# Oracles


@pytest.mark.oracle
def test_losses_equal_scikit_learn():
    labels, outputs = example("cross_entropy", 200)
    shares = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    ours = {name: value(name, labels, outputs).mean() for name in NAMED["class"]}
    assert ours["cross_entropy"] == pytest.approx(metrics.log_loss(labels, shares), rel=1e-6)
    guesses = outputs.argmax(axis=1)
    assert ours["zero_one"] == pytest.approx(metrics.zero_one_loss(labels, guesses))
    # With two classes the sum has one term, so that Weston and Watkins are Crammer and Singer.
    two, pair = labels % 2, outputs[:, :2]
    signed, difference = 2 * two - 1, pair[:, 1] - pair[:, 0]
    svm = value("multiclass_svm", two, pair).mean()
    assert svm == pytest.approx(metrics.hinge_loss(signed, difference), rel=1e-6)
    # With five, scikit-learn's is the largest term only.
    assert ours["multiclass_svm"] > 1.5 * metrics.hinge_loss(labels, outputs)
    own = outputs[np.arange(200), labels][:, None]
    terms = np.where(np.arange(5) == labels[:, None], 0, np.maximum(0, outputs - own + 1))
    assert terms.max(axis=1).mean() == pytest.approx(metrics.hinge_loss(labels, outputs))
    assert ours["multiclass_svm"] == pytest.approx(terms.sum(axis=1).mean(), rel=1e-6)
    hinge = value("hinge", two, difference).mean()
    assert hinge == pytest.approx(metrics.hinge_loss(signed, difference), rel=1e-6)
    logistic = value("binary_cross_entropy", two, difference).mean()
    share = 1 / (1 + np.exp(-difference.astype("float64")))
    assert logistic == pytest.approx(metrics.log_loss(two, share), rel=1e-6)
    targets, guesses = example("mse", 200)
    squared = metrics.mean_squared_error(targets, guesses[:, 0])
    assert value("mse", targets, guesses).mean() == pytest.approx(squared, rel=1e-6)
    absolute = metrics.mean_absolute_error(targets, guesses[:, 0])
    assert value("mae", targets, guesses).mean() == pytest.approx(absolute, rel=1e-6)


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("hinge", keras.losses.hinge),
        ("squared_hinge", keras.losses.squared_hinge),
        ("huber", keras.losses.huber),
    ],
)
def test_losses_equal_keras(name, theirs):
    labels, outputs = example(name)
    labels = labels.astype("float32")[:, None]
    np.testing.assert_allclose(value(name, labels, outputs), theirs(labels, outputs), rtol=1e-6)


@pytest.mark.oracle
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_label_smoothing_equals_keras(smoothing):
    labels, outputs = example("cross_entropy")
    theirs = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=smoothing, reduction=None
    )(ops.one_hot(labels, 5), outputs)
    ours = value("cross_entropy", labels, outputs, label_smoothing=smoothing)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    labels, outputs = example("binary_cross_entropy")
    theirs = keras.losses.BinaryCrossentropy(
        from_logits=True, label_smoothing=smoothing, reduction=None
    )(labels[:, None], outputs)
    ours = value("binary_cross_entropy", labels, outputs, label_smoothing=smoothing)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    assert {row.name for row in LOSSES.values() if row.smooths} == {
        "cross_entropy", "binary_cross_entropy", "focal", "binary_focal"
    }  # fmt: skip


FOCI = [(2.0, 0.25), (0.5, 0.9), (0.0, 0.5)]


@pytest.mark.oracle
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("gamma", "alpha"), FOCI)
def test_focal_losses_equal_keras(gamma, alpha, smoothing):
    focus = {"gamma": gamma, "alpha": alpha, "label_smoothing": smoothing}
    labels, outputs = example("focal")
    theirs = keras.losses.CategoricalFocalCrossentropy(from_logits=True, reduction=None, **focus)
    expected = theirs(ops.one_hot(labels, 5), outputs)
    np.testing.assert_allclose(value("focal", labels, outputs, **focus), expected, rtol=1e-4)
    labels, outputs = example("binary_focal")
    theirs = keras.losses.BinaryFocalCrossentropy(
        from_logits=True, reduction=None, apply_class_balancing=True, **focus
    )
    expected = theirs(labels[:, None].astype("float32"), outputs)
    np.testing.assert_allclose(value("binary_focal", labels, outputs, **focus), expected, rtol=1e-4)


@pytest.mark.oracle
@pytest.mark.parametrize(("gamma", "alpha"), FOCI)
def test_focal_losses_are_those_of_the_paper(gamma, alpha):
    """-alpha (1 - p)^gamma log p, in float64."""
    focus = {"gamma": gamma, "alpha": alpha}
    labels, outputs = example("focal", dtype="float64")
    p = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
    p = p[np.arange(len(labels)), labels]
    expected = -alpha * (1 - p) ** gamma * np.log(p)
    np.testing.assert_allclose(value("focal", labels, outputs, **focus), expected, rtol=1e-9)
    labels, outputs = example("binary_focal", dtype="float64")
    p = 1 / (1 + np.exp(-outputs[:, 0]))
    p, weight = np.where(labels, p, 1 - p), np.where(labels, alpha, 1 - alpha)
    expected = -weight * (1 - p) ** gamma * np.log(p)
    np.testing.assert_allclose(value("binary_focal", labels, outputs, **focus), expected, rtol=1e-9)


# Gradients, shapes and numbers


@pytest.mark.parametrize("name", TRAINABLE)
def test_gradient_is_that_of_finite_differences(name):
    """In float64, central; none of these random outputs lies on a kink."""
    labels, outputs = example(name, 16, "float64")
    x = tf.constant(outputs)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = ops.sum(losses.loss_function(name)(labels, x))
    assert total.dtype == tf.float64
    exact, step = tape.gradient(total, x).numpy(), 1e-6
    for index in np.ndindex(outputs.shape):
        moved = [outputs.copy(), outputs.copy()]
        moved[0][index] += step
        moved[1][index] -= step
        up, down = (value(name, labels, one).sum() for one in moved)
        assert exact[index] == pytest.approx((up - down) / (2 * step), abs=1e-7)
    assert np.abs(exact).max() > 0


def test_zero_one_has_no_gradient_and_is_refused_by_a_recipe():
    labels, outputs = example("zero_one")
    x = tf.constant(outputs)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = ops.sum(losses.loss_function("zero_one")(labels, x))
    assert tape.gradient(total, x) is None
    for loss in ("zero_one", {"kind": "zero_one"}):
        with pytest.raises(ValueError, match=r"\.loss: got 'zero_one'; .*cross_entropy") as caught:
            Classify(loss=loss)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="Did you mean 'hinge'"):
        Recipe(model="linear", task={"loss": "hing"})


@pytest.mark.parametrize("name", LOSSES)
def test_one_number_for_each_example(name):
    labels, outputs = example(name, 7)
    expected = value(name, labels, outputs)
    assert expected.shape == (7,)
    if name not in NAMED["class"]:
        for label in (labels, labels[:, None]):
            for output in (outputs, outputs[:, 0]):
                np.testing.assert_array_equal(value(name, label, output), expected)
    for index in range(7):
        part = slice(index, index + 1)
        one = value(name, labels[part], outputs[part])
        np.testing.assert_allclose(one, expected[part], rtol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_is_computed_in_float32(name):
    labels, outputs = example(name)
    for half in ("bfloat16", "float16"):
        x = tf.cast(outputs, half)
        found = losses.loss_function(name)(labels, x)
        assert found.dtype == tf.float32
        np.testing.assert_array_equal(
            found, losses.loss_function(name)(labels, tf.cast(x, tf.float32))
        )


@pytest.mark.parametrize("name", TRAINABLE)
def test_huge_outputs_stay_finite(name):
    """Both ways of being wrong by 1e4, and of being right, in the loss and in its gradient."""
    labels = np.array([0, 1, 0, 1])
    columns = 5 if name in NAMED["class"] else 1
    outputs = np.zeros((4, columns), "float32")
    outputs[:, 0] = [1e4, 1e4, -1e4, -1e4]
    x = tf.constant(outputs)
    with tf.GradientTape() as tape:
        tape.watch(x)
        found = losses.loss_function(name)(labels, x)
    # The focal losses weigh an example by alpha, 1/4 of a class and of a yes, 3/4 of a no.
    weight = {"focal": 0.25, "binary_focal": 0.75}.get(name, 1)
    assert np.isfinite(found).all() and np.max(found) >= weight * (1e4 - 1)
    slopes = tape.gradient(found, x).numpy()
    assert np.isfinite(slopes).all() and np.abs(slopes[np.argmax(found)]).max() >= weight * 0.9


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", ["focal", "binary_focal"])
def test_a_weak_focus_has_a_gradient_where_the_answer_is_sure(name, gamma):
    """(1 - p)^gamma is infinitely steep at p = 1 where gamma is below 1."""
    outputs = np.zeros((2, 2 if name == "focal" else 1), "float32")
    outputs[:, 0] = [40, -40]
    x, labels = tf.constant(outputs), np.array([0, 1]) if name == "focal" else np.array([1, 0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        found = losses.loss_function(name)(labels, x, gamma=gamma)
    assert np.abs(found).max() < 1e-6 and np.abs(tape.gradient(found, x)).max() < 1e-6


@pytest.mark.parametrize("name", LOSSES)
def test_compiles(name):
    """In a graph and by XLA, with a batch of unknown size."""
    labels, outputs = example(name)
    expected = value(name, labels, outputs)
    for jit in (False, True):
        spec = [tf.TensorSpec([None], labels.dtype), tf.TensorSpec([None, outputs.shape[1]])]
        call = tf.function(losses.loss_function(name), spec, jit_compile=jit, autograph=False)
        np.testing.assert_allclose(call(labels, outputs), expected, rtol=1e-5, atol=1e-6)


def test_perceptron_learns_from_zero():
    """Rosenblatt's rule steps at an output of 0, where the loss itself is flat to one side."""
    x = tf.zeros((2, 1))
    with tf.GradientTape() as tape:
        tape.watch(x)
        found = losses.loss_function("perceptron")(np.array([0, 1]), x)
    assert np.abs(found).max() == 0
    assert tape.gradient(found, x)[:, 0].numpy().tolist() == [1, -1]


@pytest.mark.parametrize("name", [*NAMED["binary"], *NAMED["number"]])
def test_outputs_of_another_shape_are_refused(name):
    """They would broadcast to (batch, batch) and train on nonsense."""
    with pytest.raises(ValueError, match=rf"^{name}: .*got .*\(4, 3\); expected"):
        losses.loss_function(name)(np.arange(4) % 2, np.zeros((4, 3), "float32"))


def test_the_table_answers_without_keras():
    assert losses.find_loss("mse").target == "number"
    with pytest.raises(ValueError, match="Did you mean 'huber'"):
        losses.find_loss("hubre")
    with pytest.raises(ValueError, match="a loss"):
        losses.first("hubre", 2)


# With settings


def test_a_loss_with_settings_computes_with_them():
    labels, outputs = example("huber")
    found = Loss(kind="huber", delta=0.3)(labels, outputs)
    np.testing.assert_array_equal(found, value("huber", labels, outputs, delta=0.3))
    assert np.abs(np.asarray(found) - value("huber", labels, outputs)).max() > 0.1
    labels, outputs = example("focal")
    found = Loss(kind="focal", gamma=0.5)(labels, outputs, label_smoothing=0.2)
    expected = value("focal", labels, outputs, gamma=0.5, label_smoothing=0.2)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("loss", "plain"),
    [
        ("huber", "huber"),
        ({"kind": "huber"}, "huber"),
        ({"kind": "huber", "delta": 2}, {"kind": "huber", "delta": 2}),
    ],
    ids=str,
)
def test_a_loss_is_a_name_or_a_name_with_settings(loss, plain):
    task = Regress(loss=loss)
    assert task.model_dump(mode="json")["loss"] == plain
    assert Regress(**task.model_dump(mode="json")) == task


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (
            {"kind": "huber", "delt": 2},
            r"\.loss\.delt: unknown key of huber. Did you mean 'delta'\?",
        ),
        ({"kind": "huber", "margin": 2}, r"\.loss\.margin: unknown key of huber. Known: delta\."),
        ({"kind": "mse", "delta": 2}, r"\.loss\.delta: unknown key of mse. It has no settings\."),
        ({"kind": "huber", "delta": -1}, r"\.loss\.delta: got -1; expected a number, not below 0"),
        ({"kind": "huber", "delta": "2m"}, r"\.loss\.delta: got '2m'; expected a number"),
        ({"kind": "huber", "delta": True}, r"\.loss\.delta: got True; expected a number"),
        ({"kind": "hubre"}, r"\.loss: got 'hubre'; expected a loss. Did you mean 'huber'\?"),
    ],
    ids=str,
)
def test_settings_that_a_loss_lacks_are_refused_in_one_line(loss, message):
    with pytest.raises(ValueError, match=message) as caught:
        Regress(loss=loss)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"^Recipe\.task" + message):
        Recipe(model="linear_regression", data={"name": "diabetes"}, task={"loss": loss})
