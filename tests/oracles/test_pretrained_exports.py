"""Nets with ImageNet's weights as files of integers: they still see what is on a picture."""

import numpy as np
import pytest

import export
import zoo
from export.targets import find_target
from tests.oracles.test_pretrained import CATS, cached, centre, picture
from zoo.data.preprocessing import Preprocessing
from zoo.weights import find_weights

pytestmark = pytest.mark.oracle

CROPS = 128
SCENES = ["astronaut", "brick", "camera", "grass", "gravel", "hubble_deep_field", "rocket"]


@pytest.fixture(scope="module", params=["mobilenet_v2", "efficientnet_lite0"])
def name(request):
    cached(request.param)
    return request.param


@pytest.fixture(scope="module")
def net(name):
    return zoo.create(name, weights="imagenet")


@pytest.fixture(scope="module")
def prepared(name, net):
    """The preprocessing of pictures (n, side, side, 3) of 0 to 255."""
    return Preprocessing.parse(find_weights(name).preprocessing(net.input_shape[1]), "row").apply


@pytest.fixture(scope="module")
def samples(name, net, prepared):
    """Crops, of many sizes, of other pictures than those that are asked about."""
    data = pytest.importorskip("skimage.data")
    row, side, random = find_weights(name), net.input_shape[1], np.random.default_rng(0)
    scenes = [getattr(data, scene)() for scene in SCENES]
    scenes.append(pytest.importorskip("sklearn.datasets").load_sample_image("flower.jpg"))
    crops = []
    for index in range(CROPS):
        scene = scenes[index % len(scenes)]
        scene = np.stack([scene] * 3, axis=-1) if scene.ndim == 2 else scene[..., :3]
        size = int(random.integers(side // 2, min(scene.shape[:2])))
        top, left = (int(random.integers(0, length - size + 1)) for length in scene.shape[:2])
        crops.append(centre(scene[top : top + size, left : left + size], row, side))
    return prepared(np.stack(random.permutation(crops)))


@pytest.mark.parametrize(
    "target",
    [
        "tflite-int8",
        *(pytest.param(f"{one}-int8", marks=pytest.mark.slow) for one in ("onnx", "openvino")),
    ],
)
def test_integers_keep_what_the_net_sees(name, net, prepared, samples, target, tmp_path):
    out = export.export(net, target, tmp_path / "out", samples=samples)
    session = find_target(target).open(out.path / out.manifest.file)
    (entry,) = out.manifest.signature.inputs
    row, side = find_weights(name), net.input_shape[1]
    for scene, accepted in {"chelsea": CATS, "coffee": {967}, "china": {698}}.items():
        pixels = prepared(centre(picture(scene), row, side)[None])
        best = int(np.asarray(net(pixels, training=False)).argmax())
        (scores,) = session.run({entry.name: pixels}).values()
        assert int(scores.argmax()) == best and best in accepted, scene
