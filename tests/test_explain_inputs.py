"""What cannot be looked into, or attacked, is refused in a line; nothing is taken for another."""

import logging

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

from tests.test_explain import filled, net
from zoo import explain
from zoo.common.picture_files import read_image
from zoo.data.loading import load
from zoo.data.preprocessing import Preprocessing
from zoo.models.perception import Perception
from zoo.recipe import resolve
from zoo.stages.understand.classifiers import open_classifier

X = np.random.RandomState(5).uniform(size=(2, 16, 16, 3)).astype("float32")
LABELS = np.array([0, 3])
ATTACKS = {
    "fgsm": {"epsilon": 0.06},
    "iterative": {"epsilon": 0.06, "steps": 2},
    "pgd": {"epsilon": 0.06, "steps": 2},
    "deepfool": {"steps": 2},
    "carlini_wagner": {"steps": 2},
}


@pytest.fixture(scope="module")
def toy():
    return explain.Classifier(net())


def first(*, inside=False):
    """Channels first: from the input on, or within."""
    image = keras.Input((16, 16, 3) if inside else (3, 16, 16))
    x = layers.Permute((3, 1, 2))(image) if inside else image
    x = layers.Conv2D(6, 3, data_format="channels_first", padding="same", name="first")(x)
    x = layers.GlobalAveragePooling2D(data_format="channels_first")(x)
    return keras.Model(image, layers.Dense(5)(x), name="turned")


@pytest.mark.parametrize("inside", [False, True])
def test_channels_first_are_refused(inside):
    model, line = first(inside=inside), "turned: layer 'first' computes with channels first; .*last"
    for do in (explain.saliency, explain.grad_cam, explain.occlusion, explain.activations):
        with pytest.raises(ValueError, match=line):
            do(model, np.zeros((1, *model.input_shape[1:])))
    if inside:
        known = Preprocessing(size=16, channels=3, mean=(0.0,) * 3, std=(1.0,) * 3)
        with pytest.raises(ValueError, match=line):
            Perception("turned", model, known)


@pytest.mark.parametrize("method", [*ATTACKS, "universal_perturbation"])
def test_inputs_beyond_the_bounds_are_refused(toy, method):
    attack = getattr(explain, method)
    line = r"got inputs of .* for bounds of 0 to 1; expected inputs within. .*bounds=\(0, 255\)"
    given = ({"epsilon": 0.06},) if method == "universal_perturbation" else (ATTACKS[method],)
    labels = () if method == "universal_perturbation" else (LABELS,)
    with pytest.raises(ValueError, match=line):
        attack(toy, 255 * X, *labels, **given[0])
    low = X - 0.5
    low[0, 0, 0, 0] = -0.5
    with pytest.raises(ValueError, match=r"for bounds of 0 to 1; .* bounds=\(-0\.5, "):
        attack(toy, low, *labels, **given[0])
    with pytest.raises(ValueError, match="expected bounds that rise"):
        attack(toy, X, *labels, **given[0], bounds=(1, 0))
    made = attack(toy, np.full_like(X, 1 + 1e-5), *labels, **given[0])  # rounding is none
    assert np.isfinite(getattr(made, "inputs", made)).all()


def test_a_table_and_a_comparison_refuse_them_too(toy):
    for do in (
        lambda: explain.robustness({"a": toy}, 255 * X, LABELS, epsilons=[0.1]),
        lambda: explain.compare(*[explain.Side(toy, 255 * X)] * 2),
    ):
        with pytest.raises(ValueError, match=r"expected inputs within. .*bounds=\(0, 255\)"):
            do()


@pytest.mark.parametrize(
    ("inputs", "classes", "line"),
    [
        (X, [0, 3, 1], r"classes: got \(3,\) for 2 pictures; expected one class, or one for each"),
        (X, 1.5, "classes: got 1.5; expected whole numbers"),
        (X, "cat", "classes: got cat; expected whole numbers"),
        (X, 9, "classes: got 9 to 9; expected 0 to 4"),
        (
            X[0],
            1,
            r"toy: got inputs \(16, 16, 3\); expected pictures \(n, 16, 16, 3\), .*x\[None\]",
        ),
        (X[:0], 1, r"toy: got inputs \(0, 16, 16, 3\); expected pictures .*, one or more"),
        (X[:, :8], 1, r"toy: got inputs \(2, 8, 16, 3\); expected"),
        (X * [[[[np.nan]]], [[[1]]]], 1, "a value that is not finite in picture 0 of 2"),
    ],
)
def test_what_is_not_what_the_model_reads_is_told(toy, inputs, classes, line):
    for do in (explain.saliency, explain.grad_cam, explain.occlusion, explain.smooth_grad):
        with pytest.raises(ValueError, match=line) as error:
            do(toy, inputs, classes)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=line):
        explain.fgsm(toy, inputs, classes, epsilon=0.1)
    with pytest.raises(ValueError, match=line):
        explain.accuracy(toy, inputs, classes)


def test_too_few_features_and_those_that_are_no_numbers_are_told():
    features = np.random.RandomState(0).normal(size=(8, 5))
    with pytest.raises(ValueError, match=r"pca: got 1 examples \(1, 5\); expected 2 or more"):
        explain.pca(features[:1])
    with pytest.raises(ValueError, match=r"pca: got 6 components of \(8, 5\); expected 1 to 5"):
        explain.pca(features, components=6)
    features[3, 2] = np.nan
    for do in (explain.pca, explain.tsne, lambda x: explain.neighbours(x, x)):
        with pytest.raises(ValueError, match="not finite, of example 3 first") as error:
            do(features)
        assert "\n" not in str(error.value)


def saved(path, *, scaled):
    image = keras.Input((16, 16, 3))
    x = layers.Rescaling(1 / 255)(image) if scaled else image
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3, activation="relu")(x))
    filled(keras.Model(image, layers.Dense(3)(x))).save(path)
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for number in range(30):
        place = folder / "data" / "abc"[number % 3]
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.random.RandomState(number).randint(0, 255, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.png")
    plain, scaled = (
        saved(folder / f"{n}.keras", scaled=n == "scaled") for n in ("plain", "scaled")
    )
    return folder, plain, scaled


def test_two_files_may_read_two_ranges(zoo, files, tmp_path):
    """A net and the same with its scaling inside answer alike; of one range they would not."""
    folder, plain, scaled = files
    ask = ("compare", plain, scaled, "--pictures", folder / "data", "--labels", "a,b,c")
    facts = zoo(*ask, "--values", "0..1,0..255", "--out", tmp_path / "a.png", "--json")
    assert facts["same_top1"] == 1 and facts["correlation"] == pytest.approx(1, abs=1e-5)
    assert {row["class"] for row in facts["classes"]} == {"a", "b", "c"}
    told = zoo(*ask, "--values", "0..1,0..1,0..1", "--out", tmp_path / "b.png", expect=2)
    assert "expected one range, or one of each, A,B" in told
    told = zoo("compare", "lenet5", scaled, "--values", "0..1,0..1", expect=2)
    assert "a bundle, which says its own" in told
    told = zoo(*ask, "--lables", "a", expect=2)
    assert told == "zoo compare: unrecognized arguments: --lables a; see zoo compare --help\n"


def test_tables_say_how_many_pictures_and_attacks_whether_they_fooled(zoo, files, tmp_path):
    folder, plain, _ = files
    ask = ("--values", "0..1", "--labels", "a,b,c", "--json")
    data = ("--data", f"folder:{folder / 'data'}", "--examples", "12")
    rows = zoo("explain", plain, *ask, "--method", "robustness", *data, "--out", tmp_path / "r.png")
    num = len(load(f"folder:{folder / 'data'}").test)
    assert 0 < num < 12 and [row["pictures"] for row in rows] == [num] * len(rows)
    picture = folder / "data" / "a" / "0.png"
    for method in ("fgsm", "deepfool"):
        out = tmp_path / f"{method}.png"
        rows = zoo("explain", plain, picture, *ask, "--method", method, "--out", out)
        assert [row["fooled"] for row in rows] == [
            "-", "yes" if rows[0]["class"] != rows[1]["class"] else "no"
        ]  # fmt: skip


def test_a_smaller_split_is_told(files):
    folder, plain, _ = files
    log, handler = logging.getLogger("zoo"), logging.Handler()
    lines = []
    handler.emit = lambda record: lines.append(record.getMessage())
    log.addHandler(handler)
    level = log.level
    log.setLevel(logging.INFO)
    try:
        opened = open_classifier(plain, labels=("a", "b", "c"), values="0..1")
        opened.examples(f"folder:{folder / 'data'}", 12)
        frames = [Image.new("RGB", (16, 16), (50 * n, 0, 0)) for n in range(3)]
        frames[0].save(folder / "some.gif", save_all=True, append_images=frames[1:])
        opened.picture(folder / "some.gif")
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
    num = len(load(f"folder:{folder / 'data'}").test)
    assert any(f"has {num} test examples, all of which are taken" in line for line in lines)
    assert sum("an animation of 3 frames" in line for line in lines) == 1


def test_small_lines(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.tiff")
    with pytest.raises(ValueError, match=r"Of another kind, e\.g\. TIFF, convert it"):
        read_image(tmp_path / "a.tiff")
    with pytest.raises(ValueError, match="A space is missing: write 'side: 20'"):
        resolve("dqn", changes=["environment.pixels={side:20,stack:2}"])
