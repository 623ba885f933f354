"""What an evaluation draws: curves, what was taken for what, the worst answers."""

import itertools
import json

import keras
import numpy as np
import pytest
from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

import zoo as package
from zoo.common.columns import Column
from zoo.data.dataset import DataSet, Split
from zoo.metrics.detection import Things, averages, confusion, curves, evaluated
from zoo.metrics.segmentation import count_pixels, mean_iou
from zoo.stages.evaluate import Measured
from zoo.tasks import pictures, plots
from zoo.tasks.kept_pictures import KeptPictures
from zoo.tasks.places.detect import Detect
from zoo.tasks.places.ellipse import EllipseTask
from zoo.tasks.places.localise import Localise
from zoo.tasks.places.pose import Pose
from zoo.tasks.places.segment import Segment
from zoo.tasks.task import Evaluation

NAMES = ("a", "b", "c")
# How colours look to whoever lacks a kind of cone: Machado et al. 2009, table 1, severity 1.
CONES = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


def some_things(random, num, *, scores):
    """Boxes that overlap with one another, of three classes."""
    low = random.uniform(0, 30, (num, 2))
    boxes = np.concatenate([low, low + random.uniform(6, 14, (num, 2))], axis=1)
    ranks = random.permutation(num) / num if scores else None
    return Things(boxes, random.randint(0, 3, num), ranks)


def scenes(random, num):
    truth = [some_things(random, random.randint(0, 7), scores=False) for _ in range(num)]
    found = []
    for there in truth:  # near what is there, and elsewhere
        other = some_things(random, 6, scores=True)
        boxes = np.concatenate(
            [there.boxes + random.uniform(-3, 3, there.boxes.shape), other.boxes]
        )
        kinds = np.where(random.rand(len(there.classes)) < 0.7, there.classes, 0)
        kinds = np.concatenate([kinds, other.classes])
        found.append(Things(boxes, kinds, random.permutation(len(kinds)) / len(kinds)))
    return truth, found


@pytest.mark.oracle
def test_what_was_taken_for_what_is_coco_matching_of_all_classes():
    """pycocotools with `useCats` off matches whatever the class is, as the matrix does."""
    truth, found = scenes(np.random.RandomState(0), 40)
    done = evaluated(truth, [one._replace(scores=one.scores + 1e-9) for one in found], NAMES)
    done.params.useCats = 0
    done.params.iouThrs = np.array([0.5])
    done.evaluate()
    kinds = {True: done.cocoDt.anns, False: done.cocoGt.anns}
    of = lambda number, mine: kinds[mine][int(number)]["category_id"]  # noqa: E731
    expected = np.zeros((4, 4), int)
    for one in done.evalImgs[: len(truth)]:  # of all areas
        if one is None:
            continue
        sure = np.array(one["dtScores"]) >= 0.5
        partners = np.array(one["dtMatches"][0])
        for number, partner in zip(np.array(one["dtIds"])[sure], partners[sure], strict=True):
            expected[of(partner, False) if partner else 3, of(number, True)] += 1
        taken = set(partners[sure].tolist())
        for number in one["gtIds"]:
            expected[of(number, False), 3] += number not in taken
    got = sum(confusion(*pair, 3, score=0.5) for pair in zip(truth, found, strict=True))
    np.testing.assert_array_equal(got, expected)
    assert np.trace(got) > 20 and (got[3, :3] > 0).all() and (got[:3, 3] > 0).all()
    assert got[:3].sum() == sum(len(one.classes) for one in truth)


def test_a_thing_is_taken_once_and_what_is_unsure_does_not_count():
    box = np.array([[0, 0, 10, 10.0]])
    truth = Things(box, np.array([1]))
    found = Things(np.repeat(box, 3, axis=0), np.array([1, 2, 0]), np.array([0.7, 0.9, 0.4]))
    counts = confusion(truth, found, 3, score=0.5)
    expected = np.zeros((4, 4))
    expected[1, 2] = expected[3, 1] = 1  # the surest takes it; the next finds nothing free
    np.testing.assert_array_equal(counts, expected)
    none = Things(np.zeros((0, 4)), np.zeros(0, int), np.zeros(0))
    assert confusion(none, none, 3, score=0.5).sum() == 0
    assert confusion(truth, none, 3, score=0.5)[1, 3] == 1


def test_curves_are_those_whose_mean_is_the_average_precision(tmp_path):
    box, off = np.array([[0, 0, 10, 10.0]]), np.array([[0, 0, 10, 7.0]])
    empty = np.array([[40, 40, 50, 50.0]])
    truth = [Things(box, np.array([kind])) for kind in (0, 0, 1)]
    found = [
        Things(np.concatenate([box, empty]), np.array([0, 1]), np.array([0.9, 0.8])),
        Things(off, np.array([0]), np.array([0.6])),  # IoU .7
        Things(box, np.array([1]), np.array([0.7])),
    ]
    done = evaluated(truth, found, NAMES)
    found_curves, recalls = curves(done)
    loose, strict = found_curves["IoU .50"], found_curves["IoU .75"]
    np.testing.assert_allclose(loose[:, 0], 1)  # both are found
    np.testing.assert_allclose(strict[:, 0], recalls <= 0.5)  # one of two
    np.testing.assert_allclose(loose[:, 1], 0.5)  # behind a false one
    assert np.isnan(loose[:, 2]).all()  # there is none
    metrics, _ = averages(done)
    assert metrics["ap50"] == pytest.approx(np.nanmean(loose))
    assert metrics["ap75"] == pytest.approx(np.nanmean(strict))
    plots.precision_recall(found_curves, recalls, NAMES, tmp_path / "curves.png")
    plots.precision_recall({"IoU .50": loose[:, 2:]}, recalls, NAMES[2:], tmp_path / "none.png")
    seen = np.asarray(Image.open(tmp_path / "curves.png").convert("RGB")).reshape(-1, 3)
    for index, there in enumerate((True, True, False)):
        near = np.abs(seen - 0.8 * np.array(pictures.colour(index))).max(axis=1) < 12
        assert (near.sum() > 50) == there, index


def test_the_first_and_the_worst_are_kept_as_copies():
    kept = KeptPictures(2)
    whole = np.arange(5.0)
    kept.add(((whole[k : k + 1],) for k in range(5)), [0.2, 0.0, 0.5, 0.2, float("nan")])
    assert [float(row[0][0]) for row in kept.first] == [0, 1]
    assert [float(row[0][0]) for row in kept.worst] == [2, 0]  # of equal ones the earlier
    kept.add([(whole[:1] + 7,)], [0.3])
    assert kept.tables() == {"worst": [{"example": 2, "error": 0.5}, {"example": 5, "error": 0.3}]}
    assert all(row[0].base is None for row in [*kept.first, *kept.worst])
    right = KeptPictures(2)
    right.add([(whole,)], [0.0])
    assert right.tables() == {} and set(right.pictures("all", lambda rows, path: None)) == {"all"}


def looks(colours, cones):
    """Colours as they look, in CIELAB."""
    values = np.array(colours) / 255
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    seen = (light @ np.array(cones).T).clip(0, 1)
    back = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    return rgb2lab(back[None])[0]


@pytest.mark.oracle
@pytest.mark.parametrize("cones", CONES)
def test_colours_can_be_told_apart(cones):
    """CIEDE2000; the earlier dozen came to 2.9, its green and red of true and found to 5.9."""

    def least(colours):
        pairs = itertools.combinations(looks(colours, CONES[cones]), 2)
        return min(float(deltaE_ciede2000(*pair)) for pair in pairs)

    assert len(pictures.COLOURS) == 10 and least(pictures.COLOURS) > 13
    assert least([pictures.TRUE, pictures.FOUND]) > 40


# Every meter keeps the worst answers, by what its docstring says

IMAGE = Column("image", (16, 16, 3))


def images(num):
    return np.random.RandomState(0).randint(0, 256, (num, 16, 16, 3)).astype(np.uint8)


def detected():
    """The second picture's thing is of another class, the third has one that is not found."""
    box, none = [2, 2, 10, 10], [0, 0, 0, 0]
    truth = {
        "image": images(4),
        "boxes": np.array(
            [[box, none], [box, none], [box, [8, 8, 16, 16]], [none, none]], "float32"
        ),
        "classes": np.array([[0, -1], [1, -1], [2, 1], [-1, -1]], "int32"),
    }
    outputs = {
        "boxes": np.array([[box], [box], [box], [none]], "float32"),
        "scores": np.array([[0.9], [0.9], [0.9], [0]], "float32"),
        "classes": np.array([[0], [0], [2], [-1]], "int32"),
    }
    columns = {"boxes": Column("boxes", (2, 4)), "classes": Column("classes", (2,), NAMES)}
    return Detect(), columns, truth, outputs, {1: 1.0, 2: 1 / 3}


def segmented():
    masks = np.zeros((3, 16, 16), np.uint8)
    masks[:, :8] = 1
    guesses = masks.copy()
    guesses[1, :4], guesses[2, 0, 0] = 0, 2
    outputs = np.eye(3, dtype="float32")[guesses]
    columns = {"mask": Column("mask", (16, 16), NAMES)}
    pairs = zip(masks, guesses, strict=True)
    wrong = [1 - mean_iou(count_pixels(*pair, 3)) for pair in pairs]
    assert wrong[1] == pytest.approx(1 - (0.5 + 128 / 192) / 2)  # half of a class is lost
    truth = {"image": images(3), "mask": masks}
    return Segment(), columns, truth, outputs, {1: wrong[1], 2: wrong[2]}


def localised():
    box = np.array([[4, 4, 12, 12]] * 3, "float32")
    guess = box / 16
    guess[1, 3] = 8 / 16  # half of it
    logits = np.eye(3, dtype="float32")[[0, 1, 0]]
    columns = {"label": Column("class", (), NAMES), "box": Column("box", (4,))}
    truth = {"image": images(3), "label": np.array([0, 1, 2], "int32"), "box": box}
    return Localise(), columns, truth, {"logits": logits, "box": guess}, {2: 1.0, 1: 0.5}


def posed():
    points = np.array([[[2, 2], [12, 12]]] * 3, "float32")
    outputs = points / 16
    outputs[2, 0] += np.array([3, 4], "float32") / 16
    columns = {"points": Column("points", (2, 2))}
    return Pose(), columns, {"image": images(3), "points": points}, outputs, {2: 2.5}


def ellipses():
    truth = np.array([[8, 8, 4, 2, 0.5]] * 3, "float32")
    log = np.log(np.array([4, 2]) / 16)
    row = [0.5, 0.5, *log, np.cos(1.0), np.sin(1.0)]
    outputs = np.array([row] * 3, "float32")
    outputs[1, 0] += 2 / 16
    columns = {"ellipse": Column("ellipse", (5,))}
    return EllipseTask(), columns, {"image": images(3), "ellipse": truth}, outputs, {1: 2.0}


KINDS = [detected, segmented, localised, posed, ellipses]


@pytest.mark.parametrize("kind", KINDS)
def test_the_worst_answers_are_found_and_drawn(kind, tmp_path):
    task, columns, truth, outputs, worst = kind()
    meter, num = task.meter({"image": IMAGE, **columns}), len(truth["image"])
    for part in (slice(0, 2), slice(2, num)):
        batch = {name: values[part] for name, values in truth.items()}
        meter.add(batch, keras.tree.map_structure(lambda x: x[part], outputs))  # noqa: B023
    found = meter.result()
    got = {row["example"]: row["error"] for row in found.tables["worst"]}
    assert [k for k in got if got[k] > 1e-5] == list(worst)
    np.testing.assert_allclose([got[k] for k in worst], list(worst.values()), rtol=1e-4)
    for name, draw in found.pictures.items():
        draw(tmp_path / f"{name}.png")
        assert Image.open(tmp_path / f"{name}.png").size[0] > 20
    expected = {
        "detect": {"boxes", "confusion", "precision_recall"},
        "segment": {"masks", "confusion"},
    }.get(task.kind)
    if expected:
        assert set(found.pictures) == expected | {"worst"}
    if kind is detected:
        counts = np.zeros((4, 4), int)
        counts[0, 0] = counts[1, 0] = counts[2, 2] = counts[1, 3] = 1
        assert found.tables["confusion"] == counts.tolist()


# From the command line


@pytest.fixture(scope="module")
def few():
    """Twelve pictures of one thing, and a detector that has learnt nothing."""
    random = np.random.RandomState(0)
    columns = {
        "image": Column("image", (64, 64, 3)),
        "boxes": Column("boxes", (2, 4)),
        "classes": Column("classes", (2,), NAMES),
    }
    parts = {
        "image": random.randint(0, 256, (12, 64, 64, 3)).astype(np.uint8),
        "boxes": np.tile(np.array([[8, 8, 40, 40], [0, 0, 0, 0]], "float32"), (12, 1, 1)),
        "classes": np.tile(np.array([1, -1], "int32"), (12, 1)),
    }
    whole = Split(parts)
    data = DataSet("few", "made here", columns, whole[:4], whole[4:8], whole[8:])
    keras.utils.set_random_seed(0)
    return data, package.create("faster_rcnn_small", num_classes=3, width=8, units=16)


def test_evaluate_writes_what_there_is_to_see(few, tmp_path):
    data, net = few
    out = tmp_path / "seen"
    options = {"data": data, "changes": ["task.kind=detect"], "values": "0..1", "out": out}
    found = package.evaluate(net, "test", **options)
    names = {path.name for path in out.iterdir()}
    assert names == {"evaluation.json", *(f"{name}.png" for name in found.evaluation.pictures)}
    assert {"precision_recall.png", "confusion.png", "boxes.png", "worst.png"} <= names
    told = json.loads((out / "evaluation.json").read_text())
    assert told["metrics"] == found.evaluation.metrics and told["examples"] == 4
    assert len(told["tables"]["confusion"]) == 4 and told["tables"]["worst"][0]["example"] == 0
    with pytest.raises(FileExistsError, match="exists; choose another"):
        package.evaluate(net, "test", **options)


def test_evaluate_replaces_only_what_it_has_written(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.stages.evaluate._measured", lambda *_: Measured(Evaluation({"x": 1})))
    (out := tmp_path / "seen").mkdir()
    (out / "mine.txt").write_text("")
    with pytest.raises(FileExistsError, match=r"not ours, as it has no evaluation\.json"):
        package.evaluate("run", out=out, force=True)
    (out / "evaluation.json").write_text("")
    package.evaluate("run", out=out, force=True)
    assert [path.name for path in out.iterdir()] == ["evaluation.json"]


def test_names_of_classes_are_no_formulas(tmp_path):
    names = ["ok", "$_$"]
    plots.confusion(np.array([[3, 1], [0, 2]]), names, tmp_path / "counts.png")
    recalls = np.linspace(0, 1, 101)
    drawn = {"IoU .50": np.stack([1 - recalls, 1 - recalls**2], axis=1)}
    plots.precision_recall(drawn, recalls, names, tmp_path / "precision.png")
    assert {path.stem for path in tmp_path.iterdir()} == {"counts", "precision"}


def test_what_a_models_answers_mean_is_not_changed(bundle, zoo):
    """Logits measured as probabilities would be a silent lie."""
    change = "task.probabilities=true"
    told = zoo("evaluate", bundle.path, "--set", change, expect=2).strip()
    assert told.endswith(
        f"got {change} for a bundle, which has its own; expected a .keras file, or no change."
    )
