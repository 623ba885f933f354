"""`zoo generate`: new pictures, the same for the same seed; classes, walks and beginnings."""

import re

import numpy as np
import pytest
from PIL import Image

from zoo.models.saved import load_networks
from zoo.stages.generate import generate
from zoo.tasks import codes
from zoo.tasks import made as pictures
from zoo.tasks.boltzmann.dbn import DBN
from zoo.tasks.boltzmann.rbm import RBM
from zoo.tasks.labels.classify import Classify
from zoo.tasks.latent.attributes import Attributes
from zoo.tasks.latent.bounds import decode, encode
from zoo.tasks.latent.vae import VAE
from zoo.tasks.spn import SumProduct
from zoo.training.fitting import fit

SETTINGS = {
    "vae": ["settings.hidden=16", "settings.latent=2", "task.importance_samples=2"],
    "conditional_vae": ["settings.hidden=16", "settings.latent=2", "task.importance_samples=2"],
    "dcgan_small": ["settings.doublings=1", "settings.width=8", "settings.latent=4"],
}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Bundles of seconds."""
    runs = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(runs / "home"))
        for name, settings in SETTINGS.items():
            changes = ["data.name=digits", "data.limit=64", "train.epochs=1", *settings]
            fit(name, out=runs / name, changes=changes)
    return {name: runs / name for name in SETTINGS}


@pytest.mark.parametrize("name", SETTINGS)
def test_same_seed_makes_the_same_pictures(paths, tmp_path, name):
    first = generate(paths[name], count=10, seed=3, out=tmp_path / "a.png")
    again = generate(paths[name], count=10, seed=3, out=tmp_path / "b.png")
    other = generate(paths[name], count=10, seed=4)
    assert first.shape == (10, 8, 8, 1) and first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != other).any() and (first[0] != first[1]).any()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    picture = np.asarray(Image.open(tmp_path / "a.png"))
    assert picture.shape == (2 * 10 + 2, 8 * 10 + 2)  # 8 in a row, gaps of 2 pixels
    np.testing.assert_array_equal(picture[2:10, 2:10], first[0, ..., 0])
    np.testing.assert_array_equal(picture[12:20, 12:20], first[9, ..., 0])


def test_colours_and_few_pictures_make_a_grid():
    random = np.random.RandomState(0)
    colours = random.randint(0, 255, (3, 4, 5, 3)).astype(np.uint8)
    whole = pictures.grid(colours)
    assert whole.shape == (4 + 4, 3 * 7 + 2, 3)
    np.testing.assert_array_equal(whole[2:6, 16:21], colours[2])
    assert (whole[:2] == 128).all()
    values = np.array([[-2.0, -1.0, 0.0, 1.0, 3.0]])
    assert pictures.to_pixels(values, low=-1.0).tolist() == [[0, 0, 128, 255, 255]]


def test_verb_writes_and_says_so(paths, tmp_path, zoo, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = zoo("generate", paths["vae"], "--count", 4)
    assert out == "vae.png: 4 pictures\n" and (tmp_path / "vae.png").is_file()
    assert "exists; choose another name" in zoo("generate", paths["vae"], expect=2)
    found = zoo("generate", paths["vae"], "--seed", 5, "--force", "--json")
    assert found["file"] == "vae.png" and found["seed"] == 5 and found["count"] == 64


def test_texts_are_printed_and_written(paths, tmp_path, zoo, monkeypatch):
    """What a task of texts returns; its own options arrive."""

    def write(self, networks, *, columns, count, seed, begin):
        return [f"{begin} {seed} {number} {list(columns)}" for number in range(count)]

    monkeypatch.setattr(VAE, "generate", write)
    monkeypatch.setattr("zoo.stages.generate.makes", lambda card: "texts")
    file = tmp_path / "made.txt"
    given = ("--count", 2, "--set", "begin=once", "--out", file)
    out = zoo("generate", paths["vae"], *given)
    lines = ["once 0 0 ['image', 'reconstruction']", "once 0 1 ['image', 'reconstruction']"]
    assert out.splitlines() == [*lines, f"{file}: 2 texts"]
    assert file.read_text().splitlines() == lines
    monkeypatch.setattr(VAE, "generate", None)  # the file is refused before anything is drawn
    told = zoo("generate", paths["vae"], "--out", tmp_path / "made.gif", expect=2)
    assert "which makes texts; expected a text file, e.g. texts.txt." in told


def test_mistakes_are_told_in_one_line(paths, tmp_path, zoo):
    vae = paths["vae"]
    assert "got count 0 and seed 0" in zoo("generate", vae, "--count", 0, expect=2)
    assert "got count 64 and seed -1" in zoo("generate", vae, "--seed", -1, expect=2)
    for wrong in (2.5, True):
        with pytest.raises(ValueError, match=f"got count {wrong} and seed 0; expected whole"):
            generate(vae, count=wrong)
    assert "is a folder; expected a picture" in zoo("generate", vae, "--from", tmp_path, expect=2)
    out = tmp_path / "a.png"
    told = zoo("generate", vae, "--set", "colour=b", "--out", out, expect=2)
    assert told.strip() == (
        "zoo generate: task vae: got colour, which it does not know; expected none."
    )
    told = zoo("generate", vae, "--set", "seed=3", "--out", out, expect=2)
    assert told.strip() == "zoo generate: --set: got 'seed=3'; expected --seed for that."
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(VAE, "generate", None)  # it is told before anything is drawn
        told = zoo("generate", vae, "--out", tmp_path / "a.jpg", expect=2)
    assert (
        "ends in .png, a grid of pictures, or in .gif" in told and not (tmp_path / "a.jpg").exists()
    )
    assert "no such directory" in zoo("generate", tmp_path / "none", expect=2)
    with pytest.raises(ValueError, match=r"^task classify makes nothing; expected a bundle"):
        Classify().generate({}, columns={}, count=1, seed=0)


@pytest.mark.parametrize("name", ["vae", "dcgan_small"])
@pytest.mark.parametrize(
    "option",
    [
        "begin=3",
        "num_classes=x",
        "task=1",
        "draw=1",
        "networks=1",
        "columns=1",
        "self=1",
        "a=false",
    ],
)
def test_an_unknown_option_is_told_whatever_it_is_called(paths, tmp_path, zoo, name, option):
    given = ("--set", option, "--out", tmp_path / "a.png")
    told = zoo("generate", paths[name], *given, expect=2).strip()
    kind = {"vae": "vae", "dcgan_small": "gan"}[name]
    known = f"got {option.partition('=')[0]}, which it does not know; expected none."
    assert told == f"zoo generate: task {kind}: {known}"
    told = zoo("generate", paths[name], "--set", "bundle=x", expect=2).strip()
    assert told == "zoo generate: --set: got 'bundle=x'; expected the first word for that."


@pytest.mark.parametrize(
    ("task", "options", "told"),
    [
        (Attributes(), {"elevation": "high"}, "got elevation 'high'; expected degrees, -90 to 90"),
        (Attributes(), {"elevation": True}, "got elevation True; expected degrees"),
        (Attributes(), {"elevation": float("nan")}, "got elevation nan; expected degrees"),
        (SumProduct(), {"mean": "nope"}, "got mean 'nope'; expected true or false"),
        (
            SumProduct(),
            {"hide": "left"},
            "got hide 'left' and no picture to complete; expected one",
        ),
        (RBM(), {"steps": True}, "got steps True and count 2; expected integers of 1 or more"),
        (DBN(), {"steps": "x"}, "got steps 'x' and count 2; expected integers of 1 or more"),
        (DBN(), {"steps": True}, "got steps True and count 2; expected integers of 1 or more"),
    ],
)
def test_an_option_of_another_type_is_told(task, options, told):
    with pytest.raises(ValueError, match=rf"^task {task.kind}: {told}") as error:
        task.generate({}, columns={}, count=2, seed=0, **options)
    assert "\n" not in str(error.value)


# Classes


def test_a_class_is_made_by_its_name_or_its_index(paths, tmp_path, zoo):
    path = paths["conditional_vae"]
    turns = generate(path, count=12, seed=3)
    three, four = (generate(path, count=12, seed=3, label=label) for label in ("3", 4))
    np.testing.assert_array_equal(three[3], turns[3])  # without one, the classes take turns
    np.testing.assert_array_equal(four[4], turns[4])
    assert (three != four).any() and (three[0] != three[1]).any()
    out = tmp_path / "threes.png"
    zoo("generate", path, "--class", 3, "--seed", 3, "--count", 12, "--out", out)
    pictures.save(three, tmp_path / "expected.png")
    assert out.read_bytes() == (tmp_path / "expected.png").read_bytes()


# Walks and beginnings


def test_a_walk_goes_along_the_sphere():
    random = np.random.RandomState(0)
    one, other = random.normal(size=(2, 500))
    middle = codes.slerp(one, other, 0.5)
    lengths = [np.linalg.norm(x) for x in (one, other)]
    assert np.linalg.norm(middle) == pytest.approx(np.mean(lengths), rel=1e-6)
    assert np.linalg.norm((one + other) / 2) < 0.8 * np.linalg.norm(middle)
    # A quarter of the way is a quarter of the angle, in the plane of both.
    quarter = codes.slerp(one, other, 0.25)
    cosine = one @ other / np.prod(lengths)
    turned = quarter @ one / (np.linalg.norm(quarter) * lengths[0])
    assert np.arccos(turned) == pytest.approx(np.arccos(cosine) / 4, rel=1e-6)
    for share, end in ((0, one), (1, other)):
        np.testing.assert_allclose(codes.slerp(one, other, share), end, atol=1e-12)
    np.testing.assert_allclose(codes.slerp(one, one, 0.3), one)  # no angle
    np.testing.assert_allclose(codes.slerp(0 * one, one, 0.3), 0.3 * one)  # nor direction


def test_a_path_goes_through_its_stops():
    stops = np.random.RandomState(0).normal(size=(3, 4)).astype("float32")
    found = codes.path(stops, 9)
    np.testing.assert_allclose(found[[0, 4, 8]], stops, rtol=1e-5)
    steps = np.linalg.norm(np.diff(found, axis=0), axis=1)
    assert steps.max() < 0.6 * np.linalg.norm(np.diff(stops, axis=0), axis=1).max()
    assert codes.path(stops, 1).shape == (1, 4) and codes.path(stops[:1], 3).shape == (3, 4)
    assert [codes.num_stops(count) for count in (1, 8, 16, 64)] == [2, 2, 3, 9]


@pytest.mark.parametrize("name", SETTINGS)
def test_a_walk_moves_in_small_steps(paths, name):
    walk = generate(paths[name], count=40, seed=1, walk=True).astype(int)
    apart = generate(paths[name], count=40, seed=1).astype(int)
    if name == "conditional_vae":
        apart = generate(paths[name], count=40, seed=1, label=0).astype(int)
        walk = generate(paths[name], count=40, seed=1, label=0, walk=True).astype(int)
    step, jump = (np.abs(np.diff(x, axis=0)).mean() for x in (walk, apart))
    assert 0 < step < 0.5 * jump
    assert (walk[0] != walk[-1]).any()


def digit(path, index, side=8):
    """A picture of scikit-learn's digits, larger than the models see it."""
    from zoo.data.loading import load

    pixels = load("digits").test["image"][index, ..., 0]
    Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST).save(path)
    return path


def test_a_walk_begins_with_a_picture(paths, tmp_path, zoo):
    path, networks = paths["vae"], load_networks(paths["vae"])
    files = [digit(tmp_path / f"{index}.png", index) for index in range(2)]
    grey = np.stack([np.asarray(Image.open(file))[..., None] for file in files])
    mean = encode(networks, grey.astype("float32") / 255)["mean"]
    logits = decode(networks, mean).numpy()
    ends = pictures.to_pixels(1 / (1 + np.exp(-logits)), low=0).astype(int)
    found = generate(path, count=5, walk=True, start=files)
    np.testing.assert_allclose(found[[0, -1]].astype(int), ends, atol=1)
    alone = generate(path, count=5, walk=True, start=files[0], seed=2)
    np.testing.assert_allclose(alone[0].astype(int), ends[0], atol=1)
    assert (alone[-1] != ends[1]).any()
    pixels = generate(path, count=5, walk=True, start=grey)
    np.testing.assert_array_equal(pixels, found)
    out = tmp_path / "walk.gif"
    given = [word for file in files for word in ("--from", file)]
    told = zoo("generate", path, "--walk", *given, "--count", 5, "--out", out)
    assert told == f"{out}: 5 pictures\n"
    with Image.open(out) as film:
        assert film.n_frames == 5 and film.size == (240, 240) and "loop" in film.info


def test_without_a_walk_a_picture_has_variations(paths, tmp_path):
    """Codes from what the encoder guesses of each picture in turn: its mean is theirs."""
    files = [digit(tmp_path / f"{index}.png", index, side=16) for index in range(2)]
    found = generate(paths["vae"], count=400, start=files).astype(float)
    ends = generate(paths["vae"], count=2, start=files, walk=True).astype(float)
    for turn in range(2):
        assert np.abs(found[turn::2].mean(axis=0) - ends[turn]).mean() < 8
    assert (found[0] != found[2]).any()


def test_a_picture_is_drawn_as_another_class(paths, tmp_path):
    file = digit(tmp_path / "a.png", 0)
    own = generate(paths["conditional_vae"], count=2, start=[file], walk=True)
    each = [
        generate(paths["conditional_vae"], count=2, start=[file], walk=True, label=index)
        for index in range(10)
    ]
    # Its own class is one of the ten, and the first picture tells them apart.
    assert sum((one[0] == own[0]).all() for one in each) == 1


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("vae", {"label": 3}, r"^task vae: got a class for networks that read none; .*--class"),
        ("conditional_vae", {"label": "x"}, r"^--class: got 'x'; .* index, 0 to 9\. Known: 0, 1, "),
        ("conditional_vae", {"label": 10}, r"^--class: got 10; expected a class of digits, or its"),
        ("conditional_vae", {"label": -1}, r"^--class: got -1; expected a class of digits"),
        ("conditional_vae", {"label": "0" * 10}, r"^--class: got '0000000000'; expected a cl"),
        ("dcgan_small", {"start": "8.png"}, r"^task gan: got start \(--from\), which it does not"),
        ("vae", {"start": "7.png"}, r"7\.png: got 7 x 7 pixels; expected 8 x 8 or more"),
        ("vae", {"start": "none.png"}, r"none\.png: no such file"),
        ("vae", {"start": "no.png"}, r"no\.png: not a picture; expected "),
        ("vae", {"start": []}, r"^--from: got no picture"),
        ("vae", {"start": np.zeros((0, 8, 8, 1), "uint8")}, r"^start: got no picture"),
        (
            "vae",
            {"start": np.full((1, 8, 8, 1), np.nan)},
            r"^start: got float64 \(1, 8, 8, 1\); expected uint8 \(n, 8, 8, 1\)",
        ),
        (
            "vae",
            {"start": np.zeros((1, 8, 8, 3), "uint8")},
            r"^start: got uint8 \(1, 8, 8, 3\); expected uint8 \(n, 8, 8, 1\)",
        ),
    ],
)
def test_what_cannot_be_begun_with_is_told(paths, tmp_path, monkeypatch, name, options, told):
    monkeypatch.chdir(tmp_path)
    digit("8.png", 0)
    digit("7.png", 0, side=7)
    (tmp_path / "no.png").write_bytes(b"no picture")
    with pytest.raises((ValueError, FileNotFoundError), match=told) as error:
        generate(paths[name], count=2, **options)
    assert "\n" not in str(error.value) and not re.search(r"\s{2}", str(error.value))


def test_pictures_to_begin_with_are_neither_dropped_nor_replaced(paths, tmp_path, zoo):
    files = [digit(tmp_path / f"{index}.png", index) for index in range(3)]
    with pytest.raises(ValueError, match="got 3 pictures and count 2; expected a count of as many"):
        generate(paths["vae"], count=2, start=files)
    before = files[1].read_bytes()
    given = ("--from", files[0], "--from", files[1], "--out", files[1], "--force")
    told = zoo("generate", paths["vae"], *given, expect=2)
    assert f"{files[1]}: is what is read" in told and files[1].read_bytes() == before


def test_a_model_that_answers_no_file_names_the_verb_that_asks_it(paths, tmp_path, zoo):
    told = zoo("predict", paths["vae"], tmp_path / "none.png", expect=2)  # not even read
    assert "is of the task vae, which has no answer for a file" in told
    assert told.strip().endswith("`zoo generate` asks it.")


def test_sums_of_codes_are_those_of_means():
    random = np.random.RandomState(0)
    given, labels = random.normal(size=(50, 3)), random.randint(0, 4, 50)
    means = codes.class_means(given, labels, 5)
    assert np.isnan(means[4]).all()  # a class without an example
    np.testing.assert_allclose(means[2], given[labels == 2].mean(axis=0))
    rows = codes.sums(means)
    assert rows.shape == (4, 4, 3)
    a, b, c = means[3], means[0], means[1]
    np.testing.assert_allclose(rows[3], np.stack([a, b, c, a - b + c]), rtol=1e-5)
    assert len(codes.sums(means[3:])) == 0
