"""`zoo generate`: new pictures of a bundle, the same for the same seed."""

import numpy as np
import pytest
from PIL import Image

from zoo.stages.generate import generate
from zoo.tasks import made as pictures
from zoo.tasks.classify import Classify
from zoo.tasks.vae import VAE
from zoo.training.fitting import fit

SETTINGS = {
    "vae": ["settings.hidden=16", "settings.latent=2", "task.importance_samples=2"],
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

    def write(self, networks, *, columns, count, seed, start):
        return [f"{start} {seed} {number} {list(columns)}" for number in range(count)]

    monkeypatch.setattr(VAE, "generate", write)
    file = tmp_path / "made.txt"
    given = ("--count", 2, "--set", "start=once", "--out", file)
    out = zoo("generate", paths["vae"], *given)
    lines = ["once 0 0 ['image', 'reconstruction']", "once 0 1 ['image', 'reconstruction']"]
    assert out.splitlines() == [*lines, f"{file}: 2 texts"]
    assert file.read_text().splitlines() == lines


def test_mistakes_are_told_in_one_line(paths, tmp_path, zoo):
    vae = paths["vae"]
    assert "got count 0 and seed 0" in zoo("generate", vae, "--count", 0, expect=2)
    assert "got count 64 and seed -1" in zoo("generate", vae, "--seed", -1, expect=2)
    out = tmp_path / "a.png"
    told = zoo("generate", vae, "--set", "prompt=b", "--out", out, expect=2)
    assert told.strip() == "zoo generate: task vae: got the options prompt; expected none."
    told = zoo("generate", vae, "--out", tmp_path / "a.jpg", expect=2)
    assert "ends in .png" in told and not (tmp_path / "a.jpg").exists()
    assert "no such directory" in zoo("generate", tmp_path / "none", expect=2)
    with pytest.raises(ValueError, match=r"^task classify makes nothing; expected a bundle"):
        Classify().generate({}, columns={}, count=1, seed=0)
