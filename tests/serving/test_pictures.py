"""Pictures in, answers out: those of `zoo predict`, of the same pixels."""

from __future__ import annotations

import base64
import io
import json
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

import zoo
from serving import Server
from tests.serving.kit import call
from zoo.data.loading import load


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    for place, pixels in enumerate(load("mnist5k").test["image"][:4]):
        Image.fromarray(255 - pixels[..., 0]).convert("RGB").resize((50, 40)).save(
            folder / f"{place}.png"
        )
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def lenet(tmp_path_factory):
    out = tmp_path_factory.mktemp("exported")
    (done,) = zoo.export("lenet5", "tflite", out=out)
    with Server(done.path, port=0) as server:
        yield server


def post(url, data, kind):
    request = urllib.request.Request(url, data, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def multipart(files):
    head = '--end\r\nContent-Disposition: form-data; name="file"; filename="{}"\r\n\r\n'
    parts = (head.format(file.name).encode() + file.read_bytes() + b"\r\n" for file in files)
    body = b"".join(parts)
    return body + b"--end--\r\n", "multipart/form-data; boundary=end"


def alike(found, rows):
    """Same labels, and probabilities as near as the file is to the model."""
    for row in rows:
        row.pop("image")
    assert [row["label"] for row in found] == [row["label"] for row in rows]
    for one, other in zip(found, rows, strict=True):
        assert one.keys() == other.keys()
        for key in set(one) - {"label"}:
            assert one[key] == pytest.approx(other[key], abs=1e-3, rel=1e-3)


def test_a_picture_is_answered_as_by_zoo_predict(lenet, digits):
    for file in digits:
        status, payload = post(f"{lenet.url}:predict", file.read_bytes(), "image/png")
        assert status == 200
        alike(payload["predictions"][0], zoo.predict("lenet5", [file]))
    status, payload = post(f"{lenet.url}:predict?top=10", digits[0].read_bytes(), "image/png")
    assert len(payload["predictions"][0]) == 10
    assert sum(row["probability"] for row in payload["predictions"][0]) == pytest.approx(1)


def test_several_pictures_by_parts_and_in_base64(lenet, digits):
    expected = [
        post(f"{lenet.url}:predict", file.read_bytes(), "image/png")[1]["predictions"][0]
        for file in digits
    ]
    found = post(f"{lenet.url}:predict", *multipart(digits))
    assert found == (200, {"predictions": expected})
    coded = [{"b64": base64.b64encode(file.read_bytes()).decode()} for file in digits]
    assert call(f"{lenet.url}:predict", {"instances": coded}) == found


def test_the_pixels_are_those_that_training_sees(lenet, digits):
    """Inputs to the last bit: what is made here, and by a bundle's own preprocessing."""
    from serving.answers import pictures
    from zoo.bundle import find_bundle
    from zoo.data.preprocessing import Preprocessing

    version = lenet._repository.pick(lenet.name)
    known = Preprocessing(**find_bundle("lenet5").card.preprocessing)
    found, _ = pictures.read([file.read_bytes() for file in digits], version)
    (inputs,) = found.values()
    expected = known.apply(np.stack([known.image(file) for file in digits]))
    np.testing.assert_array_equal(inputs, expected)


JUNK = {
    "no picture": (b"nonsense", "image/png", "picture 0: not a picture; expected BMP, GIF"),
    "nothing": (b"", "image/jpeg", "picture 0: the file is empty"),
    "no parts": (*multipart([]), "pictures: got none; expected files"),
    "no boundary": (b"x", "multipart/form-data", "multipart: Missing boundary"),
    "broken parts": (b"--end\r\nx", "multipart/form-data; boundary=end", "pictures: got none"),
    "base64": (b'{"instances": [{"b64": "?"}]}', "application/json", "instances[0].b64: expected"),
    "base64 of junk": (b'{"instances": [{"b64": "AAAA"}]}', "application/json", "picture 0: not a"),
}


@pytest.mark.parametrize("case", JUNK)
def test_what_is_no_picture_is_refused(lenet, case):
    body, kind, part = JUNK[case]
    status, payload = post(f"{lenet.url}:predict", body, kind)
    assert status == 400 and part in payload["error"]


def test_a_bomb_is_refused(lenet):
    """A file of some hundred bytes that would be 400 million pixels."""
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    status, payload = post(f"{lenet.url}:predict", buffer.getvalue(), "image/png")
    assert status == 400 and "expected a smaller picture" in payload["error"]


def test_a_model_that_reads_no_pictures_says_so(half_plus_three, linear, digits):
    for server in (half_plus_three, linear):
        status, payload = post(f"{server.url}:predict", digits[0].read_bytes(), "image/png")
        assert status == 400 and "the manifest does not say how" in payload["error"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["mask_rcnn_small", "unet_small", "locator"])
def test_places_and_masks_are_those_of_zoo_predict(tmp_path, model):
    file = tmp_path / "scene.png"
    Image.fromarray(load("digit_scenes").test["image"][0]).resize((200, 150)).save(file)
    (done,) = zoo.export(model, "saved_model", out=tmp_path / "x")
    with Server(done.path, port=0) as server:
        status, payload = post(f"{server.url}:predict", file.read_bytes(), "image/png")
    assert status == 200
    (found,), rows = payload["predictions"], zoo.predict(model, [file])
    masks = [[rle.decode(row.pop("mask")) for row in some if "mask" in row]
             for some in (found, rows)]  # fmt: skip
    assert len(masks[0]) == (0 if model == "locator" else len(rows)) and rows
    for one, other in zip(*masks, strict=True):
        assert one.shape == (150, 200) and np.mean(one != other) < 0.001
    if "y1" in rows[0]:
        assert max(row["x2"] for row in rows) > 64  # pixels of the file, not of the network's view
    alike(found, rows)
