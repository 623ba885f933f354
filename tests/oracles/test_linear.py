"""The linear family against closed forms and scikit-learn, each on the same objective.

Ours is the mean of the loss plus l2 times the sum of the squared weights; the bias is free.
scikit-learn's are sums, with a penalty of their own:

    Ridge                sum of squared errors + alpha |w|^2       l2 = alpha / n
    LogisticRegression   |w|^2 / 2 + C * sum of losses             l2 = 1 / (2 C n)
    LinearSVC            the same, and the bias is penalised too, by 1 / intercept_scaling^2 of it
"""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression, Perceptron, Ridge
from sklearn.svm import SVC, LinearSVC

from zoo.data.dataset import Split
from zoo.data.feeds.feed import Feed
from zoo.data.preprocessing import Preprocessing
from zoo.models.build import create
from zoo.recipe import Hardware, Optimizer, Train, resolve
from zoo.tasks.labels.binary import Binary
from zoo.tasks.labels.classify import Classify
from zoo.training.run import Run
from zoo.training.strategy import choose_machine
from zoo.training.trainer import Trainer

pytestmark = pytest.mark.oracle

FULL_BATCH = ["train.optimizer.kind=lbfgs", "train.epochs=2000", "hardware.precision=float32"]


def solve(name, *changes):
    """Trains by the zoo on the whole training split; gives its inputs, labels, weights and bias."""
    run = Run(resolve(name, changes=[*FULL_BATCH, *changes]))
    model = run.create()["net"]
    run.train(model)
    weights, bias = (value.astype("float64") for value in model.get_weights())
    inputs = run.samples(len(run.data.train)).reshape(len(run.data.train), -1)
    (learnt,) = run.task.targets
    return inputs.astype("float64"), run.data.train[learnt], weights, bias


def check(ours, theirs, limit):
    """The largest difference, as a share of the largest coefficient."""
    assert np.shape(ours) == np.shape(theirs)
    relative = np.abs(ours - theirs).max() / np.abs(theirs).max()
    assert relative < limit


def test_linear_regression_is_least_squares():
    inputs, targets, weights, bias = solve("linear_regression", "train.regularize.l2=0")
    matrix = np.column_stack([inputs, np.ones(len(inputs))])
    exact, *_ = np.linalg.lstsq(matrix, targets.astype("float64"))
    check(np.append(weights[:, 0], bias), exact, 1e-3)


def test_gradient_descent_of_the_recipe_finds_least_squares_too():
    """Plain SGD on small batches, as `zoo train linear_regression` does it: the error is noise."""
    run = Run(resolve("linear_regression", changes=["train.epochs=30"]))
    model = run.create()
    run.train(model)
    inputs = run.samples(310).astype("float64")
    matrix = np.column_stack([inputs, np.ones(310)])
    targets = run.data.train["target"].astype("float64")
    exact, *_ = np.linalg.lstsq(matrix, targets)
    best = np.mean((matrix @ exact - targets) ** 2)
    found = run.evaluate(model, "train").metrics["mse"]
    assert best * (1 - 1e-6) < found < 1.005 * best


def test_ridge_equals_scikit_learn():
    alpha = 50.0
    inputs, targets, weights, bias = solve(
        "linear_regression", f"train.regularize.l2={alpha / 310}"
    )
    theirs = Ridge(alpha=alpha).fit(inputs, targets.astype("float64"))
    check(weights[:, 0], theirs.coef_, 1e-3)
    check(bias, np.atleast_1d(theirs.intercept_), 1e-3)


@pytest.mark.parametrize("c", [0.1, 1.0])
def test_logistic_regression_equals_scikit_learn(c):
    inputs, labels, weights, bias = solve(
        "logistic_regression", f"train.regularize.l2={1 / (2 * c * 399)}"
    )
    theirs = LogisticRegression(C=c, tol=1e-10, max_iter=10_000).fit(inputs, labels)
    check(weights.T, theirs.coef_, 1e-3)
    check(bias, theirs.intercept_, 1e-3)


def test_softmax_regression_equals_scikit_learn():
    c = 0.01
    inputs, labels, weights, bias = solve(
        "linear", "data.name=digits", f"train.regularize.l2={1 / (2 * c * 1257)}"
    )
    theirs = LogisticRegression(C=c, tol=1e-10, max_iter=10_000).fit(inputs, labels)
    check(weights.T, theirs.coef_, 1e-3)
    # A constant added to all logits changes no probability, so the biases are compared in those.
    check(softmax(inputs @ weights + bias, axis=1), theirs.predict_proba(inputs), 1e-3)


@pytest.mark.parametrize("c", [0.01, 0.1])
def test_linear_svm_equals_scikit_learn(c):
    """The squared hinge, which is smooth; a bias scaled by 1000 is as good as free."""
    inputs, labels, weights, bias = solve(
        "logistic_regression",
        "task.loss=squared_hinge",
        f"train.regularize.l2={1 / (2 * c * 399)}",
    )
    theirs = LinearSVC(
        loss="squared_hinge", dual=False, C=c, tol=1e-10, max_iter=100_000, intercept_scaling=1000
    ).fit(inputs, labels)
    check(weights.T, theirs.coef_, 3e-3)
    check(bias, theirs.intercept_, 3e-3)


def test_multiclass_svm_of_two_classes_is_the_svm():
    """Weston and Watkins' loss of two outputs is the hinge of their difference.

    The pair of weight vectors that costs least is w / 2 and -w / 2, so the penalty of both is half
    of that of their difference.
    """
    c = 0.01
    inputs, labels, weights, bias = solve(
        "linear_svm",
        "data.name=breast_cancer",
        "task.loss=multiclass_svm_squared",
        f"train.regularize.l2={1 / (c * 399)}",
    )
    theirs = LinearSVC(
        loss="squared_hinge", dual=False, C=c, tol=1e-10, max_iter=100_000, intercept_scaling=1000
    ).fit(inputs, labels)
    check(weights[:, 1:] - weights[:, :1], theirs.coef_.T, 1e-3)
    check(bias[1:] - bias[:1], theirs.intercept_, 1e-3)
    # Not squared, the sum is what scikit-learn's `SVC` minimises: nothing near it costs less.
    theirs = SVC(kernel="linear", C=c, tol=1e-8).fit(inputs, labels)
    task = Classify(loss="multiclass_svm")

    def objective(w, b):
        scores = np.column_stack([-inputs @ w - b, inputs @ w + b]) / 2
        return float(np.mean(task.loss_of({"label": labels}, scores).values)) + (w @ w / 2) / (
            c * 399
        )

    best = objective(theirs.coef_[0], theirs.intercept_[0])
    random = np.random.RandomState(0)
    for length in (1e-3, 1e-2, 1e-1):
        step = length * random.normal(size=31)
        assert objective(theirs.coef_[0] + step[:30], theirs.intercept_[0] + step[30]) > best


# The perceptron


def toy(num=60):
    """Points in the plane on both sides of a line, none nearer to it than 0.1."""
    points = np.random.RandomState(2).uniform(-2, 2, (2 * num, 2)).astype("float32")
    height = points @ np.array([1.5, -1.0]) / np.hypot(1.5, 1.0) - 0.8
    points, height = points[np.abs(height) > 0.1], height[np.abs(height) > 0.1]
    return Split({"features": points[:num], "label": (height[:num] > 0).astype("int32")})


def rosenblatt(split, *, epochs):
    """The zoo's perceptron from weights of 0: one example at a time, steps of length 1."""
    as_it_is = Preprocessing(size=None, channels=2, scale=1.0, mean=(0, 0), std=(1, 1))
    feed = Feed(split, {"features": as_it_is}, batch_size=1, training=True)
    model = create("perceptron", input_shape=(2,))
    model.set_weights([np.zeros((2, 1)), np.zeros(1)])
    optimizer = Optimizer(kind="sgd", learning_rate=1.0, momentum=0.0, schedule="constant")
    settings = Train(epochs=epochs, batch_size=1, optimizer=optimizer)
    machine = choose_machine(Hardware(precision="float32", strategy="one"))
    Trainer(model, Binary(loss="perceptron"), settings, machine).fit(feed)
    return feed, np.append(*model.get_weights())


def test_one_pass_of_the_perceptron_by_hand_and_by_scikit_learn():
    split = toy()
    feed, ours = rosenblatt(split, epochs=1)
    order = [(one["features"].numpy()[0], int(one["label"][0])) for one in feed.dataset()]
    assert len(order) == 60
    weights, mistakes = np.zeros(3), 0
    for x, label in order:
        sign, augmented = 2 * label - 1, np.append(x, 1.0)
        if sign * (weights @ augmented) <= 0:
            weights += sign * augmented
            mistakes += 1
    assert 5 <= mistakes < 30
    np.testing.assert_allclose(ours, weights, rtol=1e-5, atol=1e-5)
    theirs = Perceptron(max_iter=1, tol=None, shuffle=False, eta0=1.0).fit(
        np.stack([x for x, _ in order]), [label for _, label in order]
    )
    found = np.append(theirs.coef_[0], theirs.intercept_)
    np.testing.assert_allclose(ours, found, rtol=1e-5, atol=1e-5)


def test_perceptron_separates_what_can_be_separated():
    """Novikoff 1962: at most (R / margin)^2 mistakes, whatever the order."""
    split = toy()
    _, found = rosenblatt(split, epochs=40)
    guesses = split["features"] @ found[:2] + found[2] > 0
    assert (guesses == split["label"]).all()
    assert 0 < split["label"].mean() < 1


@pytest.mark.parametrize(
    ("name", "loss", "outputs"),
    [
        ("linear_regression", "mse", 1),
        ("logistic_regression", "binary_cross_entropy", 1),
        ("perceptron", "perceptron", 1),
        ("linear_svm", "multiclass_svm", 10),
        ("linear", "cross_entropy", 10),
    ],
)
def test_heads_are_coupled_to_losses(name, loss, outputs):
    run = Run(resolve(name))
    assert run.task.loss.kind == loss and not run.task.loss.changes
    assert run.create()["net"].output_shape == (None, outputs) == create(name).output_shape
