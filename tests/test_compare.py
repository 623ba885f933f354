"""What sets two classifiers apart: a net and what a compression made of it."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

from tests.test_explain import filled, net
from zoo import explain
from zoo.explain.differences import most_hurt, overlaps, per_class

INPUTS = np.random.RandomState(3).uniform(size=(24, 16, 16, 3)).astype("float32")


@pytest.fixture(scope="module")
def pair():
    """A net, and one whose weights were moved a little."""
    seen, other = explain.Classifier(net()), net()
    for index, weight in enumerate(other.weights):
        noise = np.random.RandomState(90 + index).normal(0, 0.05, weight.shape)
        weight.assign(weight + noise.astype("float32"))
    return seen, explain.Classifier(other)


def test_a_net_and_itself_are_alike(pair):
    one = explain.Side(pair[0], INPUTS)
    labels = pair[0].scores(INPUTS).argmax(axis=1)
    found = explain.compare(one, one, labels, looked=8, attacked=4)
    assert found.same_top1 == 1 and found.correlation == pytest.approx(1)
    assert found.overlap == pytest.approx(1) and found.chance < 1 and found.looked == 8
    assert found.margins[0] == found.margins[1] > 0 and found.attacked == 4
    assert found.ece[0] == found.ece[1] and not found.falls.any() and not len(most_hurt(found, 5))


def test_what_is_compared_is_what_numpy_says(pair):
    labels = np.random.RandomState(0).randint(0, 5, 24)
    sides = [explain.Side(one, INPUTS) for one in pair]
    found = explain.compare(*sides, labels, looked=24, attacked=0)
    scores = [one.scores(INPUTS).astype(float) for one in pair]
    named = [each.argmax(axis=1) for each in scores]
    assert found.same_top1 == np.mean(named[0] == named[1])
    centred = [(each - each.mean(axis=1, keepdims=True)).ravel() for each in scores]
    assert found.correlation == pytest.approx(np.corrcoef(*centred)[0, 1])
    shifted = [centred[0] + np.repeat(np.arange(24), 5), centred[1]]  # the softmax is the same
    assert found.correlation > np.corrcoef(*shifted)[0, 1] + 0.05
    maps = [explain.grad_cam(one, INPUTS, named[0]) for one in pair]
    sums = [each.sum(axis=(1, 2)) for each in maps]
    both = (sums[0] > 0) & (sums[1] > 0)
    parts = [each / total[:, None, None] for each, total in zip(maps, sums, strict=True)]
    wanted = 1 - np.abs(parts[0] - parts[1]).sum(axis=(1, 2)) / 2  # less the total variation
    assert overlaps(pair, INPUTS, INPUTS)[0][both] == pytest.approx(wanted[both], abs=1e-5)
    assert found.margins is None
    right = [each == labels for each in named]
    rows = per_class(found, tuple("abcde"))
    assert sum(row["hurt"] for row in rows) == (right[0] & ~right[1]).sum()
    assert sum(row["mended"] for row in rows) == (right[1] & ~right[0]).sum()
    assert sum(row["pictures"] for row in rows) == 24
    changes = [row["second"] - row["first"] for row in rows]
    assert changes == sorted(changes)
    worst = most_hurt(found, 24)
    lost = right[0] & ~right[1]
    assert set(np.flatnonzero(lost & (found.falls > 0))) == set(worst[: int(lost.sum())])
    assert (found.falls[worst] > 0).all()


def test_margins_are_those_of_deepfool(pair):
    labels = pair[0].scores(INPUTS).argmax(axis=1)
    sides = [explain.Side(one, INPUTS) for one in pair]
    found = explain.compare(*sides, labels, looked=0, attacked=6)
    both = np.flatnonzero(pair[1].scores(INPUTS).argmax(axis=1) == labels)[:6]
    assert found.attacked == len(both) and found.overlap is None
    far = explain.deepfool(pair[1], INPUTS[both], labels[both]).distance
    assert found.margins[1] == pytest.approx(np.median(far) / np.sqrt(16 * 16 * 3) * 255, rel=1e-4)


def test_pictures_that_do_not_fool_are_as_far_as_can_be(pair):
    """Both margins are of the same pictures; one that is not fooled is not left out of one side."""
    easy, hard = net(), net()
    labels = explain.Classifier(easy).scores(INPUTS).argmax(axis=1)
    for weight in hard.get_layer("conv1").weights:  # no longer looks at the picture
        weight.assign(0 * weight)
    hard.get_layer("logits").bias.assign(9.0 * np.eye(5)[np.bincount(labels).argmax()])
    sides = [explain.Side(one, INPUTS) for one in (easy, hard)]
    found = explain.compare(*sides, labels, looked=0, attacked=5)
    assert found.attacked == 5 and found.fooled[1] == 0 and found.margins[1] == float("inf")
    named = np.flatnonzero(labels == np.bincount(labels).argmax())[:5]
    alone = explain.deepfool(easy, INPUTS[named], labels[named])
    assert found.fooled[0] == alone.fooled.sum() > 0
    far = np.where(alone.fooled, alone.distance, np.inf) / np.sqrt(16 * 16 * 3) * 255
    assert found.margins[0] == pytest.approx(np.median(far), rel=1e-4)


def test_one_picture_has_no_other(pair):
    one = explain.Side(pair[0], INPUTS[:1])
    found = explain.compare(one, one, attacked=0)
    assert found.overlap == pytest.approx(1) and found.looked == 1 and found.chance is None


def test_maps_of_unlike_sizes_and_nets_without_convolutions():
    coarse, dense = net(), keras.Sequential([
        keras.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(5),
    ])  # fmt: skip
    image = keras.Input((16, 16, 3))
    fine = keras.layers.Conv2D(6, 3, padding="same", name="other")(image)
    mean = keras.layers.GlobalAveragePooling2D()(fine)
    fine = filled(keras.Model(image, keras.layers.Dense(5)(mean)))
    found = explain.compare(explain.Side(coarse, INPUTS), explain.Side(fine, INPUTS), attacked=0)
    assert 0 <= found.overlap <= 1 and found.ece is None
    found = explain.compare(explain.Side(coarse, INPUTS), explain.Side(dense, INPUTS), attacked=0)
    assert found.overlap is None and found.looked == 0
    three = keras.Sequential([keras.Input((16, 16, 3)), *dense.layers[:-1], keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="5 and 3 classes"):
        explain.compare(explain.Side(dense, INPUTS), explain.Side(three, INPUTS))


@pytest.fixture(scope="module")
def rounded(bundle, tmp_path_factory):
    """The bundle, with weights of two bits: something is lost."""
    import zoo

    out = tmp_path_factory.mktemp("compare") / "share2"
    recipe = out.with_name("share2.yaml")
    recipe.write_text("passes:\n- {kind: share_weights, bits: 2, epochs: 0}\n")
    return zoo.compress(bundle, recipe, out=out)


def test_zoo_compare(zoo, bundle, rounded, tmp_path):
    out = tmp_path / "both.png"
    facts = zoo("compare", bundle.path, rounded.path, "--out", out, "--json")
    assert json.loads(out.with_suffix(".json").read_text()) == facts
    assert Image.open(out).size[0] > 300 and facts["same_top1"] < 1
    tops = [side["top1"] for side in facts["sides"]]
    num = facts["pictures"]
    assert tops[0] - tops[1] == pytest.approx((facts["hurt"] - facts["mended"]) / num)
    assert tops == pytest.approx([one.report.metrics["top1"] for one in (bundle, rounded)])
    eces = [side["ece"] for side in facts["sides"]]
    assert eces == pytest.approx([one.report.metrics["ece"] for one in (bundle, rounded)], abs=1e-5)
    assert facts["worst"] and facts["worst"][0]["fall"] > 0
    told = zoo("compare", bundle.path, rounded.path, "--out", tmp_path / "again.png")
    assert "same top-1" in told and "hurt" in told and len(told.splitlines()) <= 26
    told = zoo("compare", bundle.path, rounded.path, "--out", out, expect=2)
    assert "exists; choose another name" in told


def test_zoo_compare_of_a_folder(zoo, bundle, rounded, tmp_path, capsys):
    from zoo.cli import main

    root = tmp_path / "pictures"
    raw = np.load(bundle.path / "samples.npz")
    for index, label in enumerate(raw["test/label"][:12]):
        place = root / bundle.card.labels[label] / f"{index}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(raw["test/image"][index][..., 0]).save(place)
    ask = ("compare", bundle.path, rounded.path, "--pictures", root)
    facts = zoo(*ask, "--out", tmp_path / "a.png", "--json")
    assert facts["pictures"] == 12 and "hurt" in facts and "top1" in facts["sides"][0]
    Image.fromarray(raw["test/image"][0][..., 0]).save(root / "loose.png")
    assert main([str(one) for one in (*ask, "--out", tmp_path / "b.png", "--json")]) == 0
    out, told = capsys.readouterr()
    facts = json.loads(out)
    assert facts["pictures"] == 13 and "hurt" not in facts and "ece" not in facts["sides"][0]
    assert "1 of 13 lie in no folder" in told and "loose.png" in told
    (tmp_path / "empty").mkdir()
    told = zoo(*ask[:-1], tmp_path / "empty", "--out", tmp_path / "c.png", expect=2)
    assert "holds no pictures" in told
    told = zoo(*ask[:-1], tmp_path / "gone", "--out", tmp_path / "c.png", expect=2)
    assert "no such folder" in told


def test_what_cannot_be_compared_is_refused_in_a_line(zoo, bundle, tmp_path):
    def saved(shape, classes, name):
        layers = [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(classes)]
        keras.Sequential(layers).save(tmp_path / f"{name}.keras")
        return tmp_path / f"{name}.keras"

    side = bundle.card.input_shape[0]
    out = ("--out", tmp_path / "x.png")
    told = zoo("compare", bundle.path, saved((16, 16, 3), 10, "large"), *out, expect=2)
    assert f"{side} x {side} x 1" in told and "16 x 16 x 3" in told and told.count("\n") <= 2
    told = zoo("compare", bundle.path, saved((side, side, 1), 7, "seven"), *out, expect=2)
    assert "has 10 classes (0, 1, 2, ...), seven 7 classes" in told
    ten = saved((side, side, 1), 10, "ten")
    told = zoo("compare", ten, ten, *out, expect=2)
    assert "got no data set" in told
    facts = zoo("compare", bundle.path, ten, "--values", "0..1", *out, "--json")
    assert [one["name"] for one in facts["sides"]] == [bundle.path.name, "ten"]
    assert facts["overlap"] is None


def test_a_compression_says_how_alike_parent_and_child_are(zoo, rounded):
    from zoo.cli.tables import summary
    from zoo.stages.understand.compare import told

    found = rounded.report.compress.compared
    assert found["pictures"] == 256 and found["same_top1"] < 1 and found["correlation"] < 1
    assert 0 < found["chance"] < found["overlap"] < 1 and found["looked"] == 32
    tops = [np.average([row[side] for row in found["classes"]],
                       weights=[row["pictures"] for row in found["classes"]])
            for side in ("first", "second")]  # fmt: skip
    assert tops[0] - tops[1] == pytest.approx((found["hurt"] - found["mended"]) / 256)
    assert len(found["classes"]) == 10 and min(found["ece"]) > 0
    assert told(found) in summary(rounded) and f"hurt {found['hurt']}" in summary(rounded)
