"""The real ImageNet weights, where `zoo weights get NAME` has fetched them, and torch's own files.

Three pictures that other packages carry say that a net sees what it should; they are no accuracy.
"""

import functools

import keras
import numpy as np
import pytest
from PIL import Image

import zoo
from tests.oracles import torch_side
from zoo.data.preprocessing import Preprocessing
from zoo.weights import fetch, find_weights, torch_pickle

pytestmark = pytest.mark.oracle

NAMES = ["mobilenet_v2", "efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]
CATS = {281, 282, 285}  # tabby, tiger cat, Egyptian cat


@functools.cache
def cached(name):
    """Path of the weights, or skips with the command that fetches them."""
    try:
        return fetch.cached(find_weights(name))
    except FileNotFoundError:
        pytest.skip(f"the weights are not in the cache: zoo weights get {name}")


@pytest.fixture(scope="module", params=NAMES)
def net(request):
    cached(request.param)
    return zoo.create(request.param, weights="imagenet")


def theirs(name):
    """torchvision's or timm's net with the same file, read by torch itself."""
    import torch

    state = torch.load(cached(name), map_location="cpu", weights_only=True)
    if name == "mobilenet_v2":
        other = torch_side.module("torchvision").models.mobilenet_v2(weights=None)
        other.load_state_dict(state)
        return other.eval()
    other = torch_side.module("timm").create_model(f"tf_{name}")
    own = other.state_dict()  # the same order, other names
    other.load_state_dict(dict(zip(own, state.values(), strict=True)))
    return other.eval()


def test_logits_equal_those_of_torch(net):
    torch_side.module("torchvision")
    images = np.random.RandomState(0).normal(size=(2, *net.input_shape[1:])).astype("float32")
    expected = torch_side.run(theirs(net.name), images).numpy()
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(net(images, training=False), expected, rtol=0, atol=1e-4)


def picture(name):
    if name == "china":
        return pytest.importorskip("sklearn.datasets").load_sample_image("china.jpg")
    return getattr(pytest.importorskip("skimage.data"), name)()


def centre(pixels, row, side):
    """Resizes the shorter side and cuts out the centre, as the weights' documentation says."""
    image = Image.fromarray(pixels)
    factor = row.short_side / min(image.size)
    resample = Image.Resampling[row.resample.upper()]
    image = image.resize([round(length * factor) for length in image.size], resample)
    left, top = [(length - side) // 2 for length in image.size]
    return np.asarray(image.crop((left, top, left + side, top + side)))


@pytest.mark.parametrize(
    ("name", "accepted", "word"),
    [("chelsea", CATS, "cat"), ("coffee", {967}, "espresso"), ("china", {698}, "palace")],
)
def test_pictures(net, name, accepted, word):
    row, side = find_weights(net.name), net.input_shape[1]
    preprocessing = Preprocessing.parse(row.preprocessing(side), "row")
    inputs = preprocessing.apply(centre(picture(name), row, side)[None])
    shares = np.asarray(keras.ops.softmax(net(inputs, training=False)))[0]
    best = int(shares.argmax())
    label = fetch.labels()[best]
    assert best in accepted and word in label, f"{label}, {shares[best]:.3f}"


def test_names_of_the_classes_are_torchvisions():
    """In ImageNet's order; torchvision shortens each to one of its names."""
    torch_side.module("torchvision")
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    cached("mobilenet_v2")
    labels = fetch.labels()
    assert len(labels) == len(_IMAGENET_CATEGORIES) == 1000
    others = [
        index
        for index, (ours, name) in enumerate(zip(labels, _IMAGENET_CATEGORIES, strict=True))
        if name.lower() not in ours.lower()
    ]
    assert others == [134, 639]  # `crane bird`, and a comma in `maillot, tank suit`


# The reader beside torch


@pytest.mark.parametrize("name", NAMES)
def test_the_reader_equals_torch_on_the_real_files(name):
    torch = pytest.importorskip("torch")
    expected = torch.load(cached(name), map_location="cpu", weights_only=True)
    got = torch_pickle.read_checkpoint(cached(name))
    assert list(got) == list(expected)
    for key, tensor in expected.items():
        assert got[key].dtype == tensor.numpy().dtype and got[key].shape == tuple(tensor.shape)
        assert got[key].tobytes() == tensor.numpy().tobytes()


@pytest.mark.parametrize("zipped", [True, False])
def test_the_reader_equals_torch_on_every_type(tmp_path, zipped):
    """Bit for bit: all types, views of one storage, a scalar, an empty tensor, infinities."""
    torch = pytest.importorskip("torch")
    random = np.random.RandomState(0)
    bits = torch.from_numpy(np.frombuffer(random.bytes(4 * 3 * 16), "u1").copy())
    names = ["float64", "float32", "float16", "complex128", "complex64"]
    names += ["int64", "int32", "int16", "int8", "uint8"]
    state = {name: bits.clone().view(getattr(torch, name)).reshape(2, 3, -1) for name in names}
    state["bool"] = bits > 127
    state["bfloat16"] = torch.tensor(
        [1.5, -0.0, 3e38, 1e-40, float("inf"), float("nan")]
    ).bfloat16()
    base = torch.arange(24.0).reshape(4, 6)
    views = {"turned": base.T, "part": base[1:3, ::2], "last": base[3, 5], "none": base[:0]}
    state |= views | {"parameter": torch.nn.Parameter(base).data}
    path = tmp_path / "net.pth"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    got = torch_pickle.read_checkpoint(path)
    assert list(got) == list(state)
    for name, tensor in state.items():
        wanted = (tensor.float() if name == "bfloat16" else tensor).numpy()
        assert got[name].shape == wanted.shape and got[name].dtype == wanted.dtype
        assert got[name].tobytes() == wanted.tobytes(), name


@pytest.mark.parametrize("zipped", [True, False])
def test_the_reader_takes_a_modules_state(tmp_path, zipped):
    """Its metadata hang on the dictionary as an attribute."""
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    path = tmp_path / "net.pth"
    torch.save(net.state_dict(), path, _use_new_zipfile_serialization=zipped)
    got = torch_pickle.read_checkpoint(path)
    assert list(got) == list(net.state_dict()) and got["1.num_batches_tracked"].shape == ()
    torch.save(net, path, _use_new_zipfile_serialization=zipped)  # a whole module is code
    with pytest.raises(ValueError, match="refused"):
        torch_pickle.read_checkpoint(path)
