"""Metrics against scikit-learn, hand-made cases and brute force."""

import numpy as np
import pytest
from sklearn import metrics as theirs

from zoo import metrics


def answers(num=300, classes=7, seed=0):
    random = np.random.RandomState(seed)
    return random.randint(0, classes, num), random.normal(size=(num, classes)).astype("float32")


@pytest.mark.oracle
@pytest.mark.parametrize("k", [1, 2, 5])
def test_top_k_equals_scikit_learn(k):
    labels, outputs = answers()
    expected = theirs.top_k_accuracy_score(labels, outputs, k=k)
    assert metrics.top_k_accuracy(labels, outputs, k) == pytest.approx(expected, abs=1e-12)


def test_top_k_of_equal_outputs():
    """A net that always says the same is right one time in four, whatever k pretends."""
    labels, same = np.arange(4), np.ones((4, 4))
    assert [metrics.top_k_accuracy(labels, same, k) for k in (1, 2, 3, 4, 9)] == [
        0.25, 0.5, 0.75, 1, 1
    ]  # fmt: skip
    assert metrics.top_k_accuracy(labels, same * np.nan, 1) == 0


@pytest.mark.oracle
def test_per_class_and_confusion_equal_scikit_learn_and_a_count():
    labels, outputs = answers()
    guesses, names = outputs.argmax(axis=1), [f"c{i}" for i in range(7)]
    rows = metrics.per_class(labels, guesses, names)
    report = theirs.classification_report(labels, guesses, target_names=names, output_dict=True)
    for row in rows:
        expected = report[row["label"]]
        assert row["f1"] == expected["f1-score"]
        assert all(row[key] == expected[key] for key in ("precision", "recall", "support"))
    counts = np.zeros((7, 7), int)
    for label, guess in zip(labels, guesses, strict=True):
        counts[label, guess] += 1
    np.testing.assert_array_equal(metrics.confusion_matrix(labels, guesses, 7), counts)


def test_a_class_that_is_neither_there_nor_guessed():
    labels, guesses = np.array([0, 0, 1]), np.array([0, 1, 1])
    first, second, third = metrics.per_class(labels, guesses, ["a", "b", "c"])
    assert (first["precision"], first["recall"], second["precision"]) == (1, 0.5, 0.5)
    nothing = {"label": "c", "precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert third == nothing
    assert metrics.confusion_matrix(labels, guesses, 3).tolist() == [[1, 1, 0], [0, 1, 0], [0] * 3]


# Calibration


def by_brute_force(confidences, right, num_bins):
    """The formula of Guo et al., example by example, over the bins (m - 1, m] / M."""
    total, worst = 0.0, 0.0
    for m in range(1, num_bins + 1):
        inside = [i for i, c in enumerate(confidences)
                  if (m - 1) / num_bins < c <= m / num_bins or (m == 1 and c == 0)]  # fmt: skip
        if inside:
            accuracy = sum(bool(right[i]) for i in inside) / len(inside)
            gap = abs(accuracy - sum(float(confidences[i]) for i in inside) / len(inside))
            total, worst = total + gap * len(inside) / len(confidences), max(worst, gap)
    return total, worst


@pytest.mark.parametrize("num_bins", [1, 2, 10, 15])
@pytest.mark.parametrize("num", [1, 5, 400])
def test_calibration_error_equals_brute_force(num, num_bins):
    random = np.random.RandomState(num)
    confidences = random.uniform(size=num)
    right = random.uniform(size=num) < confidences**2
    bins = metrics.reliability(confidences, right, num_bins)
    assert len(bins) == num_bins and sum(row.num for row in bins) == num
    found = metrics.expected_error(bins), metrics.worst_error(bins)
    assert found == pytest.approx(by_brute_force(confidences, right, num_bins), abs=1e-12)


def test_calibration_by_hand():
    """Four examples in two bins: sure of 0.9 and right half of the time; sure of 0.6 and right."""
    bins = metrics.reliability(np.array([0.9, 0.9, 0.6, 0.6]), np.array([1, 0, 1, 1]), 10)
    full = [row for row in bins if row.num]
    assert [(row.num, row.accuracy) for row in full] == [(2, 1), (2, 0.5)]
    assert [row.confidence for row in full] == pytest.approx([0.6, 0.9])
    assert metrics.expected_error(bins) == pytest.approx(0.4)
    assert metrics.worst_error(bins) == pytest.approx(0.4)


def test_a_bin_ends_at_its_upper_edge():
    edges = np.array([0, 0.25, 0.5, 0.75, 1.0])
    bins = metrics.reliability(edges, np.ones(5, bool), 4)
    assert [row.num for row in bins] == [2, 1, 1, 1]
    assert [(row.low, row.high) for row in bins] == [(0, 0.25), (0.25, 0.5), (0.5, 0.75), (0.75, 1)]


def test_a_calibrated_model_has_a_small_error_and_a_boaster_a_large_one():
    random = np.random.RandomState(0)
    confidences = random.uniform(0.1, 1, 50_000)
    honest = random.uniform(size=50_000) < confidences
    assert metrics.expected_error(metrics.reliability(confidences, honest)) < 0.01
    chance = random.uniform(size=50_000) < 0.1
    certain = metrics.reliability(np.full(50_000, 0.99), chance)
    assert metrics.expected_error(certain) == pytest.approx(0.89, abs=0.01)


@pytest.mark.parametrize("wrong", [1.1, -0.1, np.nan])
def test_what_is_no_probability_is_refused(wrong):
    with pytest.raises(ValueError, match=r"^reliability: got 15 bins.*expected"):
        metrics.reliability(np.array([0.5, wrong]), np.array([True, False]))


# Numbers


@pytest.mark.oracle
def test_errors_equal_scikit_learn():
    random = np.random.RandomState(0)
    targets = (150 + 80 * random.normal(size=200)).astype("float32")
    guesses = (targets + 50 * random.normal(size=200)).astype("float32")
    exact = [a.astype("float64") for a in (targets, guesses)]
    pairs = (
        (metrics.mean_squared_error, theirs.mean_squared_error),
        (metrics.mean_absolute_error, theirs.mean_absolute_error),
        (metrics.r2, theirs.r2_score),
    )
    for ours, reference in pairs:
        assert ours(targets, guesses) == pytest.approx(reference(*exact), rel=1e-12)


def test_r2_by_hand():
    targets = np.array([1.0, 2.0, 3.0])
    assert metrics.r2(targets, targets) == 1
    assert metrics.r2(targets, np.full(3, 2.0)) == 0
    assert metrics.r2(targets, targets[::-1]) == -3
    same = np.ones(3)
    assert (metrics.r2(same, same), metrics.r2(same, targets)) == (1, 0)


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match=r"got targets \(3,\) and guesses \(3, 1\)"):
        metrics.mean_squared_error(np.ones(3), np.ones((3, 1)))
