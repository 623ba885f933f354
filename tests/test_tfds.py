"""TensorFlow Datasets by name: a builder of one's own, prepared by the package itself."""

from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from zoo.cli import main
from zoo.common.picture_files import read_image
from zoo.data import Stream, load

tfds = pytest.importorskip("tensorflow_datasets")
NUM = {"train": 50, "test": 8}


class _Made(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    SHAPE: ClassVar = (None, None, 3)
    MORE: ClassVar = {}

    def _info(self):
        features = {
            "label": tfds.features.ClassLabel(names=["dark", "light"]),
            "image": tfds.features.Image(shape=self.SHAPE),
            **self.MORE,
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split, num) for split, num in NUM.items()}

    def _generate_examples(self, split, num):
        random = np.random.RandomState(len(split))
        for number in range(num):
            label = number % 2
            side = (20, 24 + number % 3) if self.SHAPE[0] is None else self.SHAPE[:2]
            pixels = random.randint(90 * label, 90 * label + 160, (*side, self.SHAPE[2]))
            example = {"image": pixels.astype(np.uint8), "label": label}
            yield number, example | dict.fromkeys(self.MORE, "x")


class ZooColour(_Made):
    """Pictures of several sizes, and their names."""

    MORE: ClassVar = {"name": tfds.features.Text()}


class ZooGrey(_Made):
    """Grey pictures of one size."""

    SHAPE: ClassVar = (12, 12, 1)


@pytest.fixture(autouse=True, scope="module")
def prepared(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path_factory.mktemp("tfds")))
        yield


@pytest.mark.parametrize("stream", [False, True])
def test_pictures_with_a_class(stream, tmp_path):
    data = load("tfds:zoo_colour", size=16, stream=stream)
    assert data.labels == ("dark", "light") and data.columns["image"].shape == (16, 16, 3)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [45, 5, 8]
    assert data.problems == ("tfds:zoo_colour: not read: name.",)
    assert "zoo_colour/1.0.0 of TensorFlow Datasets" in data.source
    test = data.test[:8]
    whole = tfds.as_numpy(tfds.builder("zoo_colour").as_dataset(split="test", shuffle_files=False))
    for place, example in enumerate(whole):
        Image.fromarray(example["image"]).save(tmp_path / "one.png")
        picture = read_image(tmp_path / "one.png").resize((16, 16), Image.Resampling.BILINEAR)
        np.testing.assert_array_equal(test["image"][place], picture)
        assert test["label"][place] == example["label"]
    seen = {image.tobytes() for split in (data.train, data.validation, data.test)
            for image in split[: len(split)]["image"]}  # fmt: skip
    assert len(seen) == 58 and isinstance(data.train, Stream) == stream


def test_grey_ones_keep_their_size_or_get_another():
    assert load("tfds:zoo_grey").train["image"].shape == (45, 12, 12, 1)
    assert load("tfds:zoo_grey", size=10, channels=3).train["image"].shape == (45, 10, 10, 3)
    assert load("tfds:zoo_grey:1.0.0", limit=10).train["image"].shape == (10, 12, 12, 1)


def test_a_name_is_trained_on_and_packed(tmp_path, capsys):
    changes = ["--set", "data.size=12", "--set", "train.epochs=2", "--set", "train.batch_size=9"]
    arguments = ["--data", "tfds:zoo_grey", *changes, "--set", "settings.units=[4]"]
    assert main(["train", "mlp", *arguments, "--out", str(tmp_path / "run")]) == 0
    assert main(["data", "pack", "tfds:zoo_grey", str(tmp_path / "out")]) == 0
    packed, data = load(f"records:{tmp_path / 'out'}"), load("tfds:zoo_grey")
    np.testing.assert_array_equal(packed.train["image"], data.train["image"])
    assert main(["train", "mlp", "--data", "tfds:no_such_set", "--out", str(tmp_path / "b")]) == 2
    assert "tfds:no_such_set: no data set of TensorFlow Datasets" in capsys.readouterr().err
    assert main(["train", "mlp", "--data", "tfds:", "--out", str(tmp_path / "c")]) == 2
    assert "expected tfds:NAME, e.g. tfds:mnist" in capsys.readouterr().err
