"""A user's own pictures: folders with files of every bad sort, and what one picture becomes."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests import annotated
from zoo.common import images
from zoo.common.picture_files import read_image
from zoo.data import load


def hashes(split):
    return {image.tobytes() for image in split["image"]}


@pytest.fixture
def pets(tmp_path):
    """Two classes of twelve sound colour pictures, in several formats and sizes."""
    annotated.pets(tmp_path, 12)
    return tmp_path


def test_folder_is_split_by_class(pets):
    data = load(f"folder:{pets}", size=16)
    assert data.labels == ("cats", "dogs")
    assert data.problems == ()
    assert not data.mirror
    assert data.train["image"].shape == (20, 16, 16, 3)
    for split, count in ((data.train, 10), (data.validation, 1), (data.test, 1)):
        assert np.bincount(split["label"]).tolist() == [count, count]
    again = load(f"folder:{pets}", size=16)
    assert again.train["image"].tobytes() == data.train["image"].tobytes()
    assert not hashes(data.train) & hashes(data.test)


@pytest.mark.parametrize("stream", [False, True])
def test_pictures_of_two_splits_are_told_of_and_kept(pets, stream):
    for path in sorted(pets.glob("*/*")):
        Image.open(path).convert("RGB").save(path.with_name(f"copy of {path.stem}.png"))
    data = load(f"folder:{pets}", size=16, stream=stream)
    held = {split: [x.tobytes() for x in np.asarray(getattr(data, split)["image"])]
            for split in ("train", "validation", "test")}  # fmt: skip
    lines = {line.split(" pictures of the ")[1].split()[0]: line for line in data.problems}
    known = set(held["train"])
    for split in ("validation", "test"):
        again = sum(image in known for image in held[split])
        assert again and lines[split].startswith(f"{again} of {len(held[split])} pictures")
        known |= set(held[split])
    assert len(lines) == 2 and list(data.train) == ["image", "label"]
    assert sum(map(len, held.values())) == 48


def test_folder_says_where_and_how(pets):
    data = load(f"folder:{pets}")
    assert data.train["image"].shape[1:] == (64, 64, 3)
    assert data.source == f"{pets}: 24 pictures, 0 files left out, 64x64 pixels (the default)"


def damage(cats):
    """Puts one file of every bad sort among the cats; returns what the report must say of each."""
    whole = {suffix: (cats / f"{i:02}.{suffix}").read_bytes() for i, suffix in
             enumerate(("png", "jpg", "JPEG", "bmp", "gif", "webp"))}  # fmt: skip
    for suffix in ("png", "jpg", "bmp", "gif", "webp"):
        (cats / f"cut.{suffix}").write_bytes(whole[suffix][: len(whole[suffix]) // 2])
    flipped = bytearray(whole["png"])
    flipped[len(flipped) // 2] ^= 0x10
    (cats / "flipped.png").write_bytes(flipped)
    (cats / "empty.jpg").touch()
    (cats / "page.png").write_text("<html>not found</html>")
    Image.new("RGB", (8, 8)).save(cats / "scan.tiff")
    (cats / "scan.tiff").rename(cats / "scan.png")
    (cats / "notes.txt").write_text("cats")
    (cats / "Thumbs.db").write_bytes(b"\xd0\xcf")
    (cats / ".DS_Store").write_bytes(b"\0")
    (cats / "._00.png").write_bytes(b"\0")
    (cats / "kittens").mkdir()
    (cats / "gone.png").symlink_to(cats / "nowhere.png")
    (cats.parent / "readme.txt").write_text("pets")
    return {
        **{
            f"cut.{suffix}": "unreadable picture" for suffix in ("png", "jpg", "bmp", "gif", "webp")
        },
        "flipped.png": "unreadable picture",
        "empty.jpg": "the file is empty",
        "page.png": "not a picture",
        "scan.png": "not a picture",
        "notes.txt": "not a picture by its name",
        "Thumbs.db": "not a picture by its name",
        ".DS_Store": "a hidden file",
        "._00.png": "a hidden file",
        "kittens": "a folder inside a class folder",
        "gone.png": "no such file",
        "readme.txt": "not in a class folder",
    }


def test_folder_names_every_file_it_leaves_out(pets):
    sound = load(f"folder:{pets}", size=16)
    expected = damage(pets / "cats")
    data = load(f"folder:{pets}", size=16)
    assert data.train["image"].tobytes() == sound.train["image"].tobytes()
    assert f": 24 pictures, {len(expected)} files left out" in data.source
    assert len(data.problems) == len(expected)
    for name, reason in expected.items():
        (line,) = [line for line in data.problems if f"/{name}: " in line]
        assert reason in line
        assert "\n" not in line


def test_folder_with_too_few_pictures(pets):
    for path in sorted((pets / "cats").iterdir())[2:]:
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"too few readable pictures in cats \(2\)") as caught:
        load(f"folder:{pets}")
    assert "Left out: 10 files" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folder_without_any_picture(tmp_path):
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match=r"cats \(0\), dogs \(0\)"):
        load(f"folder:{tmp_path}")


def test_folder_is_grey_when_all_pictures_are(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(3):
            picture = Image.fromarray(np.full((9, 9), 40 * index, np.uint8))
            picture.convert(("L", "RGB", "P")[index]).save(tmp_path / name / f"{index}.png")
    data = load(f"folder:{tmp_path}", size=9)
    assert data.train["image"].shape == (2, 9, 9, 1)
    Image.new("RGB", (9, 9), "red").save(tmp_path / "a" / "3.png")
    assert load(f"folder:{tmp_path}", size=9).train["image"].shape[-1] == 3


# Pictures


def saved(path, picture, **options):
    picture.save(path, **options)
    return np.asarray(read_image(path))


def test_exif_orientation_is_applied(tmp_path):
    upright = np.zeros((4, 6, 3), np.uint8)
    upright[0, 0] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to view
    stored = Image.fromarray(np.rot90(upright).copy())
    np.testing.assert_array_equal(saved(tmp_path / "a.png", stored, exif=exif), upright)


def test_16_bit_grey_is_scaled_not_clipped(tmp_path):
    grey = np.asarray([[0, 257, 25_700, 65_535]], np.uint16)
    read = saved(tmp_path / "a.png", Image.fromarray(grey))
    assert read[0, :, 0].tolist() == [0, 1, 100, 255]


def test_transparent_pixels_are_laid_on_white(tmp_path):
    half = Image.new("RGBA", (1, 1), (0, 0, 0, 128))
    assert saved(tmp_path / "a.png", half)[0, 0].tolist() == [127, 127, 127]
    palette = Image.new("P", (1, 1))
    assert saved(tmp_path / "b.png", palette, transparency=0)[0, 0].tolist() == [255, 255, 255]


def test_palette_cmyk_and_one_bit_become_rgb(tmp_path):
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    assert saved(tmp_path / "a.gif", red.quantize(2))[0, 0].tolist() == [255, 0, 0]
    assert np.abs(saved(tmp_path / "b.jpg", red.convert("CMYK"))[0, 0] - [254.0, 0, 0]).max() < 4
    assert saved(tmp_path / "c.png", Image.new("1", (2, 2), 1))[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("side", [12, 40])  # above the limit, and above twice the limit
def test_decompression_bombs_are_refused(tmp_path, monkeypatch, side):
    Image.new("L", (side, side)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="more than 100 pixels"):
        read_image(tmp_path / "a.png")


def test_fit_pads_evenly():
    pixels = np.full((2, 28, 25, 1), 7, np.uint8)
    padded = images.fit(pixels, 32)
    np.testing.assert_array_equal(padded[:, 2:30, 3:28], pixels)
    assert padded.sum() == pixels.sum()


@pytest.mark.oracle
@pytest.mark.parametrize("shape", [(50, 40, 3), (8, 8, 1), (21, 32, 3)])
def test_fit_resizes_as_tensorflow_does(shape):
    pixels = np.random.RandomState(0).randint(0, 256, (3, *shape)).astype(np.uint8)
    theirs = tf.image.resize(pixels, (32, 32), method="bilinear", antialias=True).numpy()
    assert np.abs(images.fit(pixels, 32) - theirs).max() < 1.5
