"""Baselines on scikit-learn's digits: a loop over all pairs is the neighbours' oracle."""

import numpy as np
import pytest

import zoo as package
from zoo.baselines import BASELINES
from zoo.baselines.gradients import hog
from zoo.baselines.neighbours import count, neighbours
from zoo.bundle import Bundle, Record
from zoo.data.dataset import Split
from zoo.data.loading import load


@pytest.mark.parametrize(("metric", "power"), [("l1", 1), ("l2", 2)])
def test_neighbours_equal_a_loop_over_all_pairs(metric, power):
    data = load("digits", limit=300)
    fitted = neighbours(data.train, data.validation, 10, metric=metric)
    k = fitted.settings["k"]
    scores = fitted.score(data.test["image"])
    compared = 0
    for image, found in zip(data.test["image"], scores, strict=True):
        differences = data.train["image"].astype(int) - image.astype(int)
        distances = (np.abs(differences) ** power).sum(axis=(1, 2, 3))
        order = np.argsort(distances, kind="stable")
        nearest = distances[order[: k + 1]]
        if len(set(nearest)) <= k:  # equally near: any order is right
            continue
        compared += 1
        votes = [int(data.train["label"][index]) for index in order[:k]]
        most = max(votes.count(vote) for vote in votes)
        expected = next(vote for vote in votes if votes.count(vote) == most)
        assert found.argmax() == expected
        assert np.round(found + 0.5 - 1e-9).sum() == k  # every vote is counted
    assert compared > 300


def test_votes_go_to_the_majority_then_to_the_nearest():
    scores = count(np.array([[2, 0, 0], [2, 1, 0], [1, 1, 0]]), 3)
    assert scores.argmax(axis=1).tolist() == [0, 2, 1]
    assert (scores[0] == [2 - 1 / 3, 0, 1]).all()


def test_k_is_chosen_on_validation_and_the_best_is_kept():
    data = load("digits", limit=100)
    fitted = neighbours(data.train, data.validation, 10, metric="l2")
    best = max(one["top1"] for one in fitted.tried)
    assert [one["k"] for one in fitted.tried] == [1, 3, 5, 7, 9]
    assert next(one for one in fitted.tried if one["top1"] == best)["k"] == fitted.settings["k"]
    scores = fitted.score(data.validation["image"])
    assert np.mean(scores.argmax(axis=1) == data.validation["label"]) == pytest.approx(best)


def test_gradients_do_not_see_brightness_but_do_see_direction():
    ramp = np.tile(np.arange(0, 112, 4, dtype=np.uint8), (28, 1))[None, ..., None]
    across, brighter, down = (hog(x, 4) for x in (ramp, ramp + 90, ramp.transpose(0, 2, 1, 3)))
    assert across.shape == (1, 6 * 6 * 2 * 2 * 9)
    np.testing.assert_allclose(across, brighter, atol=1e-6)
    assert np.abs(across - down).max() > 0.1


@pytest.mark.parametrize(
    "name", [row.name for row in BASELINES.values() if ("image", "class") in row.reads]
)
def test_beats_chance_by_far(name, zoo, tmp_path, monkeypatch):
    from zoo.baselines import kmeans, mixtures, sparse_coding, words

    monkeypatch.setattr(words, "NUM_WORDS", 50)
    monkeypatch.setattr(words, "NUM_VOCABULARY_IMAGES", 100)
    monkeypatch.setattr(kmeans, "NUM_CENTRES", 50)
    monkeypatch.setattr(sparse_coding, "NUM_ATOMS", 20)
    monkeypatch.setattr(sparse_coding, "SAMPLE", 1000)
    monkeypatch.setattr(mixtures, "NUMBERS", {"gaussian": (1, 2), "bernoulli": (2, 5)})
    out = tmp_path / "runs" / name
    report = zoo(
        "baseline", name, "--data", "digits", "--limit", "300", "--out", out, "--json"
    )  # fmt: skip
    assert report["metrics"]["top1"] > 0.85
    assert report["metrics"]["top5"] > 0.95 or name == "nearest"  # which has one vote
    assert report["examples"]["train"] == 300 and report["baseline"]["tried"]
    assert np.trace(report["tables"]["confusion"]) / 360 == pytest.approx(report["metrics"]["top1"])
    record = Record(out)
    assert record.card.architecture == name and record.card.parameters > 0
    assert sorted(path.name for path in out.iterdir()) == ["card.json", "report.json"]
    with pytest.raises(FileNotFoundError, match=r"not a bundle; model\.keras"):
        Bundle(out)


def test_words_tell_textures_apart(monkeypatch):
    from zoo.baselines import words

    monkeypatch.setattr(words, "NUM_WORDS", 20)
    random = np.random.RandomState(0)
    images = np.repeat(random.randint(0, 255, (20, 8, 8, 1)).astype(np.uint8), 2, axis=0)
    labels = np.arange(40, dtype=np.int32) % 2
    images[1::2, :, 1::2] = 0  # the second class has stripes
    split = Split({"image": images, "label": labels})
    fitted = words.words(split, split, 2)
    scores = fitted.score(images)
    assert scores.shape == (40, 2) and (scores.argmax(axis=1) == labels).mean() > 0.9
    assert fitted.parameters == 20 * 104 + 20 + 1


def test_colour():
    data = load("digits", channels=3, limit=100)
    for name in ("hog_svm", "knn_l1"):
        row = BASELINES[name]
        module, function = row.method.split(":")
        method = getattr(__import__(module, fromlist=[function]), function)
        fitted = method(data.train, data.validation, 10, **row.settings)
        top1 = np.mean(fitted.score(data.test["image"]).argmax(axis=1) == data.test["label"])
        assert top1 > 0.7


def test_results_take_a_baseline(tmp_path, monkeypatch):
    from zoo import results

    record = package.baseline("knn_l2", data="digits", out=tmp_path / "knn_l2-digits")
    monkeypatch.setattr(results, "HERE", tmp_path)
    assert results.record(record.path) == "train"
    (row,) = results.read_rows("train")
    top1 = record.report.metrics["top1"]
    assert float(row["top1"]) == pytest.approx(top1, abs=1e-4) and row["epochs"] == ""
    shown = f"| `knn_l2-digits` | digits | 1,257 | 360 | {100 * float(row['top1']):.2f} % | - |"
    assert shown in results.tables()


def test_mistakes_get_one_line(zoo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "Did you mean 'knn_l2'?" in zoo("baseline", "knn_l3", expect=2)
    assert "Did you mean 'digits'?" in zoo("baseline", "knn_l2", "--data", "digit", expect=2)
    line = zoo("baseline", "knn_l2", "--data", "diabetes", expect=2)
    assert "is not images with classes" in line
    line = zoo("baseline", "hog_svm", "--data", "digits", "--size", "3", expect=2)
    assert "expected at least 4. Set --size." in line
    zoo("baseline", "knn_l1", "--data", "digits", "--limit", "20")
    assert "--force" in zoo("baseline", "knn_l1", "--data", "digits", expect=2)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["knn_l1-digits"]


# Signals


def test_the_nearest_signal_is_that_of_scipy(zoo, tmp_path):
    from scipy.spatial.distance import cdist

    random = np.random.RandomState(0)
    rows = random.randn(60, 7).cumsum(axis=1) + 2 * (np.arange(60) % 2)[:, None]
    lines = [",".join(map(str, row)) + f":{'ab'[n % 2]}" for n, row in enumerate(rows)]
    path = tmp_path / "waves.ts"
    path.write_text("\n".join(["@classLabel true a b", "@data", *lines]) + "\n")
    data = load(f"ts:{path}")
    report = zoo("baseline", "nearest", "--data", f"ts:{path}", "--out", tmp_path / "x", "--json")
    train, test = (split["series"].reshape(len(split), -1) for split in (data.train, data.test))
    found = data.train["label"][cdist(test, train).argmin(axis=1)]
    assert report["metrics"]["top1"] == pytest.approx((found == data.test["label"]).mean())
    line = zoo("baseline", "hog_svm", "--data", f"ts:{path}", expect=2)
    assert "is not images with classes" in line


@pytest.mark.parametrize("name", [row.name for row in BASELINES.values() if row.task == "forecast"])
def test_forecasts_of_a_sine(name, zoo, tmp_path):
    if name in ("autoregression", "exponential_smoothing"):
        pytest.importorskip("statsmodels")
    report = zoo("baseline", name, "--out", tmp_path / name, "--json")
    found, data = report["metrics"], load("sine")
    ahead, series = (data.test[key][..., 0] for key in ("ahead", "series"))
    last = np.abs(ahead - series[:, -1:]).mean()
    exact = name not in ("last_value", "exponential_smoothing")
    most = 2e-3 if name == "period_before" else 1e-4  # a period is 40.01 places
    assert found["mae"] < most if exact else found["mae"] > 0.3
    if name == "last_value":
        assert found["mae"] == pytest.approx(last, rel=1e-5)
    if name == "period_before":
        assert report["baseline"]["settings"] == {"period": 40}
    assert Record(tmp_path / name).card.outputs["ahead"].shape == (20, 1)


def test_results_take_a_forecast(tmp_path, monkeypatch):
    from zoo import results

    monkeypatch.setattr(results, "HERE", tmp_path)
    package.baseline("last_value", out=tmp_path / "last_value-sine")
    results.record(tmp_path / "last_value-sine")
    (row,) = results.read_rows("train")
    assert row["metric"] == "mae" and 0.3 < float(row["value"]) < 1.5


# The shallow neighbours of the map of methods


@pytest.mark.oracle
def test_sparse_codes_are_those_of_scikit_learn():
    from sklearn.decomposition import sparse_encode

    from zoo.baselines.sparse_coding import sparse_codes

    random = np.random.RandomState(0)
    rows, atoms = random.normal(size=(20, 9)), random.normal(size=(12, 9))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    expected = sparse_encode(rows, atoms, algorithm="lasso_cd", alpha=0.3, max_iter=5000)
    found = sparse_codes(rows, atoms, penalty=0.3, steps=2000)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert 0.2 < (found == 0).mean() < 0.9

    def objective(codes):
        return 0.5 * ((rows - codes @ atoms) ** 2).sum() + 0.3 * np.abs(codes).sum()

    few = sparse_codes(rows, atoms, penalty=0.3, steps=30)
    assert objective(expected) <= objective(few) < 1.01 * objective(expected)


@pytest.mark.oracle
def test_triangle_by_a_loop():
    from sklearn.metrics.pairwise import euclidean_distances

    from zoo.baselines.kmeans import triangle

    random = np.random.RandomState(0)
    rows, centres = random.normal(size=(7, 4)), random.normal(size=(5, 4))
    for row, found in zip(euclidean_distances(rows, centres), triangle(rows, centres), strict=True):
        expected = [max(0, row.mean() - distance) for distance in row]
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.oracle
def test_a_mixture_of_one_is_naive_bayes():
    """One component, and two more images with even chances: scikit-learn's BernoulliNB."""
    from sklearn.naive_bayes import BernoulliNB

    from zoo.baselines import mixtures

    pixels = np.random.RandomState(0).randint(0, 2, (40, 9)).astype(float)
    expected = BernoulliNB(alpha=1.0).fit(pixels, np.zeros(40))
    found = mixtures.expectation_maximization(pixels, np.full(9, 0.5), num=1, steps=2)
    assert mixtures.PRIOR == 2.0  # two images with even chances are one of each: alpha = 1
    np.testing.assert_allclose(np.log(found.means), expected.feature_log_prob_, rtol=1e-9)


def test_mixtures_are_distributions_and_each_step_is_better():
    import itertools

    from scipy.special import logsumexp

    from zoo.baselines import mixtures

    random = np.random.RandomState(0)
    pixels = (random.random_sample((60, 6)) < random.random_sample((3, 6)).repeat(20, 0)) * 1.0
    base = np.full(6, 0.5)

    def posterior(steps):
        model = mixtures.expectation_maximization(pixels, base, num=3, steps=steps)
        prior = mixtures.PRIOR * (base * np.log(model.means) + (1 - base) * np.log1p(-model.means))
        shares = np.log(model.shares).mean()  # a Dirichlet prior of 1 / 3 of an image each
        return logsumexp(model.joint(pixels), axis=1).sum() + prior.sum() + shares

    values = [posterior(steps) for steps in range(1, 12)]
    assert (np.diff(values) > -1e-9).all() and values[-1] > values[0]
    model = mixtures.expectation_maximization(pixels, base, num=3)
    everything = np.array(list(itertools.product([0.0, 1.0], repeat=6)))
    assert logsumexp(model.joint(everything)) == pytest.approx(0, abs=1e-9)


def test_patches_are_white():
    from zoo.baselines.patches import Patches, quarters

    data = load("digits", limit=300)
    patches = Patches("kmeans", data.train)
    assert patches.side == 3 and patches.sample.shape == (20_000, 9)
    sizes = np.linalg.eigvalsh(np.cov(patches.sample, rowvar=False))
    assert abs(sizes[0]) < 1e-3 and (sizes[1:] > 0.5).all() and sizes[-1] < 1  # no mean is left
    found = patches.cut(data.test["image"][:2])
    assert found.shape == (2, 6, 6, 9)
    maps = np.arange(2 * 5 * 5).reshape(2, 5, 5, 1)
    assert quarters(maps)[0].tolist() == [
        maps[0, :3, :3].sum(), maps[0, :3, 3:].sum(), maps[0, 3:, :3].sum(), maps[0, 3:, 3:].sum()
    ]  # fmt: skip


def test_mixtures_tell_how_likely_pictures_are(zoo, tmp_path, monkeypatch):
    from zoo.baselines import mixtures

    monkeypatch.setattr(mixtures, "NUMBERS", {"gaussian": (1,), "bernoulli": (5,)})
    for name, metric in (("mixture", "log_density"), ("mixture_binary", "log_likelihood")):
        report = zoo("baseline", name, "--data", "digits", "--out", tmp_path / name, "--json")
        assert np.isfinite(report["metrics"][metric])
    assert -30 < report["metrics"]["log_likelihood"] < -18  # nats; independent pixels have -32
