"""The real MobileNetV2 as files of integers: they still see what is on a picture."""

import numpy as np
import pytest

import export
import zoo
from export.targets import find_target
from tests.oracles.test_pretrained import CATS, cached, centre, picture
from zoo.data.preprocessing import Preprocessing
from zoo.weights import find

pytestmark = pytest.mark.oracle

NAME, CROPS = "mobilenet_v2", 128
SCENES = ["astronaut", "brick", "camera", "grass", "gravel", "hubble_deep_field", "rocket"]


@pytest.fixture(scope="module")
def net():
    cached(NAME)
    return zoo.create(NAME, weights="imagenet")


@pytest.fixture(scope="module")
def prepared(net):
    """The preprocessing of pictures (n, side, side, 3) of 0 to 255."""
    return Preprocessing.parse(find(NAME).preprocessing(net.input_shape[1]), "row").apply


@pytest.fixture(scope="module")
def samples(net, prepared):
    """Crops, of many sizes, of other pictures than those that are asked about."""
    data = pytest.importorskip("skimage.data")
    row, side, random = find(NAME), net.input_shape[1], np.random.default_rng(0)
    scenes = [getattr(data, name)() for name in SCENES]
    scenes.append(pytest.importorskip("sklearn.datasets").load_sample_image("flower.jpg"))
    crops = []
    for index in range(CROPS):
        scene = scenes[index % len(scenes)]
        scene = np.stack([scene] * 3, axis=-1) if scene.ndim == 2 else scene[..., :3]
        size = int(random.integers(side // 2, min(scene.shape[:2])))
        top, left = (int(random.integers(0, length - size + 1)) for length in scene.shape[:2])
        crops.append(centre(scene[top : top + size, left : left + size], row, side))
    return prepared(np.stack(random.permutation(crops)))


@pytest.mark.parametrize("target", ["tflite-int8", "onnx-int8", "openvino-int8"])
def test_integers_keep_what_the_net_sees(net, prepared, samples, target, tmp_path):
    out = export.export(net, target, tmp_path / "out", samples=samples)
    session = find_target(target).open(out.path / out.manifest.file)
    (entry,) = out.manifest.signature.inputs
    row, side = find(NAME), net.input_shape[1]
    for name, accepted in {"chelsea": CATS, "coffee": {967}, "china": {698}}.items():
        pixels = prepared(centre(picture(name), row, side)[None])
        best = int(np.asarray(net(pixels, training=False)).argmax())
        (scores,) = session.run({entry.name: pixels}).values()
        assert int(scores.argmax()) == best and best in accepted, name
