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


@pytest.mark.parametrize("name", BASELINES)
def test_beats_chance_by_far(name, zoo, tmp_path, monkeypatch):
    from zoo.baselines import words

    monkeypatch.setattr(words, "NUM_WORDS", 50)
    monkeypatch.setattr(words, "NUM_VOCABULARY_IMAGES", 100)
    out = tmp_path / "runs" / name
    report = zoo(
        "baseline", name, "--data", "digits", "--limit", "300", "--out", out, "--json"
    )  # fmt: skip
    assert report["metrics"]["top1"] > 0.85 and report["metrics"]["top5"] > 0.95
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
    assert "has no images with classes" in line
    line = zoo("baseline", "hog_svm", "--data", "digits", "--size", "3", expect=2)
    assert "expected at least 4. Set --size." in line
    zoo("baseline", "knn_l1", "--data", "digits", "--limit", "20")
    assert "--force" in zoo("baseline", "knn_l1", "--data", "digits", expect=2)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["knn_l1-digits"]
