"""Tables as data sets: real rows, fixed splits, standardised features; and images of any colour."""

import hashlib

import numpy as np
import pytest
from PIL import Image
from sklearn import datasets
from sklearn.preprocessing import StandardScaler

from zoo.common import images
from zoo.common.columns import Column
from zoo.data import DATASETS, DataSet, Feed, Preprocessing, Split, load
from zoo.data.dataset import stratify
from zoo.recipe import Augment

TABLES = ("breast_cancer", "diabetes")


def splits(data):
    return data.train, data.validation, data.test


def table(num=20, features=4, seed=0):
    random = np.random.RandomState(seed)
    rows = (random.normal(size=(num, features)) * [1, 10, 100, 1e-3] + 50).astype("float32")
    return Split({"features": rows, "target": random.normal(size=num).astype("float32")})


def learnt(data):
    """Name of the column that is learnt."""
    _, name = data.columns
    return name


@pytest.mark.parametrize("name", TABLES)
def test_table_agrees_with_its_row(name):
    data, row = load(name), DATASETS[name]
    assert data.name == name and not data.mirror and data.problems == ()
    assert max(len(data.labels), 1) == row.num_classes
    assert data.input == "features" and data.columns["features"].kind == "features"
    assert learnt(data) == ("label" if data.labels else "target")
    assert data.columns[learnt(data)].kind == ("class" if data.labels else "number")
    assert tuple(column.kind for column in data.columns.values()) == row.kinds
    for split in splits(data):
        assert split["features"].shape[1:] == row.shape == data.columns["features"].shape
        assert split["features"].dtype == np.float32
        assert split[learnt(data)].dtype == (np.int32 if data.labels else np.float32)


@pytest.mark.oracle
@pytest.mark.parametrize("name", TABLES)
def test_table_holds_scikit_learns_rows_once(name):
    """In their own units, each row with its own label, in one split only."""
    raw = (
        datasets.load_breast_cancer() if name == TABLES[0] else datasets.load_diabetes(scaled=False)
    )
    theirs = sorted(
        (*row.astype("f4"), label) for row, label in zip(raw.data, raw.target, strict=True)
    )
    data = load(name)
    ours = sorted((*row, label) for split in splits(data)
                  for row, label in zip(*split.columns.values(), strict=True))  # fmt: skip
    assert np.array_equal(ours, theirs)
    assert len({row.tobytes() for split in splits(data) for row in split["features"]}) == len(
        theirs
    )


@pytest.mark.parametrize(
    ("name", "counts", "golden"),
    [
        ("breast_cancer", (399, 57, 113), "1d965307a9a99925"),
        ("diabetes", (310, 44, 88), "70349c13bfadcf87"),
    ],
)
def test_split_is_fixed(name, counts, golden):
    data = load(name)
    assert tuple(map(len, splits(data))) == counts
    state = hashlib.sha256()
    for split in splits(data):
        state.update(split["features"].tobytes() + split[learnt(data)].tobytes())
    assert state.hexdigest()[:16] == golden


def test_classes_keep_their_proportions_and_numbers_their_distribution():
    cancer, diabetes = load("breast_cancer"), load("diabetes")
    shares = [split["label"].mean() for split in splits(cancer)]
    assert max(shares) - min(shares) < 0.01
    assert abs(cancer.train["label"][:50].mean() - shares[0]) < 0.02
    means = [split["target"].mean() for split in splits(diabetes)]
    assert max(means) - min(means) < 25  # of 25 to 346


def test_stratify_splits_numbers_as_one_class():
    everything = table(20)
    train, validation, test = stratify(everything, lambda num: (num - 9, 4, 5))
    assert tuple(map(len, (train, validation, test))) == (11, 4, 5)
    found = np.concatenate([part["target"] for part in (train, validation, test)])
    assert sorted(found) == sorted(everything["target"])
    order = np.random.RandomState(0).permutation(20)
    np.testing.assert_array_equal(train["target"], everything["target"][order[:11]])


def test_limit_of_a_table():
    assert len(load("diabetes", limit=7).train) == 7
    with pytest.raises(ValueError, match="limit: got 0 training examples; expected at least 1"):
        load("diabetes", limit=0)
    with pytest.raises(ValueError, match="limit: got 1 training images; expected at least 2"):
        load("breast_cancer", limit=1)


@pytest.mark.parametrize("settings", [{"size": 8}, {"channels": 3}])
def test_a_table_has_neither_size_nor_colour(settings):
    with pytest.raises(ValueError, match="rows of a table; expected null for both"):
        load("diabetes", **settings)


def test_data_set_refuses_other_tables():
    facts = {"features": Column("features", (3,)), "target": Column("number")}

    def made(rows, targets):
        split = Split({"features": rows, "target": targets})
        return DataSet("made", "here", facts, split, split, split)

    with pytest.raises(
        ValueError, match=r"got float64 \(2, 3\); expected float32 \(n, 3\), a colu"
    ):
        made(np.zeros((2, 3)), np.zeros(2, np.float32))
    with pytest.raises(
        ValueError, match=r"got float64 \(2,\); expected float32 \(n\), a column of k"
    ):
        made(np.zeros((2, 3), np.float32), np.zeros(2))
    with pytest.raises(ValueError, match=r"got float32 \(2, 4\); expected float32 \(n, 3\)"):
        made(np.zeros((2, 4), np.float32), np.zeros(2, np.float32))


# Preprocessing and batches


@pytest.mark.oracle
@pytest.mark.parametrize("name", TABLES)
def test_standardising_equals_scikit_learn(name):
    train = load(name).train
    measured = Preprocessing.measure(train["features"])
    assert measured.size is None and measured.shape == DATASETS[name].shape
    theirs = StandardScaler().fit_transform(train["features"].astype("float64"))
    inputs = measured.apply(train["features"])
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs, theirs, atol=2e-5)
    assert Preprocessing.model_validate_json(measured.model_dump_json()) == measured


def test_a_constant_feature_gives_zeros():
    rows = np.tile(np.array([[0.1, 0, 1e6]], np.float32), (5, 1))
    rows[0, 1] = 1
    measured = Preprocessing.measure(rows)
    inputs = measured.apply(rows)
    assert np.abs(inputs[:, [0, 2]]).max() < 0.1 and inputs[0, 1] == pytest.approx(2)


def test_cards_of_images_still_load():
    old = {"size": 28, "channels": 1, "scale": 1 / 255, "mean": [0.13], "std": [0.31]}
    measured = Preprocessing.parse(old, "card.json")
    assert measured.shape == (28, 28, 1) and measured.model_dump(mode="json") == old | {"pad": 8}
    with pytest.raises(ValueError, match="channels got 2; expected 1 for grey or 3 for RGB"):
        Preprocessing(size=28, channels=2, mean=(0, 0), std=(1, 1))
    with pytest.raises(ValueError, match="got 1 means and 2 deviations"):
        Preprocessing(size=None, channels=2, mean=(0,), std=(1, 1))


def test_rows_of_another_table_are_refused(tmp_path):
    measured = Preprocessing.measure(table()["features"])
    for wrong in (np.zeros((2, 3), "float32"), np.zeros((2, 4)), np.zeros((2, 4, 4, 1), np.uint8)):
        with pytest.raises(ValueError, match=r"expected float32 \(n, 4\)"):
            measured.apply(wrong)
    with pytest.raises(ValueError, match="got a picture; expected rows of 4 features"):
        measured.image(tmp_path / "a.png")


def test_rows_are_read_from_csv(tmp_path):
    file, rows = tmp_path / "a.csv", table(3)["features"]
    file.write_text("\n".join(", ".join(map(str, row)) for row in rows) + "\n\n")
    np.testing.assert_array_equal(Preprocessing.measure(table()["features"]).rows(file), rows)


def test_batches_of_a_table():
    split = table(20)
    scale = Preprocessing.measure(split["features"])
    prepare = {"features": scale}
    batches = list(Feed(split, prepare, batch_size=8).dataset())
    assert all(set(batch) == {"features", "target", "weight"} for batch in batches)
    inputs = np.concatenate([batch["features"] for batch in batches])
    targets = np.concatenate([batch["target"] for batch in batches])
    assert inputs.dtype == targets.dtype == np.float32
    np.testing.assert_allclose(inputs[:20], scale.apply(split["features"]), rtol=1e-6, atol=1e-5)
    np.testing.assert_array_equal(targets[:20], split["target"])
    still = Augment(mirror=False)
    assert Feed(split, prepare, batch_size=8, training=True, augment=still).steps == 2


@pytest.mark.parametrize("settings", [{"shift": 1}, {"rotate": 5}, {"mirror": True}])
def test_a_table_is_not_augmented(settings):
    split = table()
    moved = Augment(**{"mirror": False, **settings})
    prepare = {"features": Preprocessing.measure(split["features"])}
    with pytest.raises(ValueError, match=r"rows of a table or texts; expected none"):
        Feed(split, prepare, batch_size=8, training=True, augment=moved)


# Colour


def test_grey_is_repeated_and_colour_becomes_luma():
    random = np.random.RandomState(0)
    colour = random.randint(0, 256, (6, 9, 7, 3)).astype(np.uint8)
    grey = images.recolour(colour, 1)
    for ours, pixels in zip(grey, colour, strict=True):
        np.testing.assert_array_equal(ours[..., 0], Image.fromarray(pixels).convert("L"))
    exact = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey[..., 0] - exact).max() < 1
    back = images.recolour(grey, 3)
    assert back.shape == colour.shape and back.dtype == np.uint8
    assert all(np.array_equal(back[..., [channel]], grey) for channel in range(3))
    assert images.recolour(colour, 3) is colour


def test_channels_of_a_data_set(tmp_path):
    grey, colour = load("digits", size=16), load("digits", size=16, channels=3)
    for one, three in zip(splits(grey), splits(colour), strict=True):
        assert three["image"].shape == (*one["image"].shape[:3], 3)
        np.testing.assert_array_equal(three["image"], np.repeat(one["image"], 3, axis=-1))
        np.testing.assert_array_equal(three["label"], one["label"])
    assert colour.columns["image"].shape == (16, 16, 3)
    same, stored = load("digits", channels=1).train, load("digits").train
    assert same["image"].tobytes() == stored["image"].tobytes()
    with pytest.raises(ValueError, match="channels: got 2; expected 1 for grey or 3"):
        load("digits", channels=2)


def test_a_picture_becomes_what_training_saw(tmp_path):
    """`zoo predict` reads a file by another path than `load`; both must agree on the pixels."""
    random = np.random.RandomState(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for index in range(3):
            pixels = random.randint(0, 256, (20, 30, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
    for channels, levels in ((3, 0), (1, 1)):  # a folder's pictures turn grey after they shrink
        data = load(f"folder:{tmp_path}", size=16, channels=channels)
        reader = Preprocessing.measure(data.train[data.input])
        seen = np.concatenate([split["image"] for split in splits(data)]).astype(int)
        for path in tmp_path.glob("*/*.png"):
            distances = np.abs(seen - reader.image(path)).reshape(6, -1).max(axis=1)
            assert sorted(distances <= levels) == [False] * 5 + [True]
