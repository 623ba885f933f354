"""What strangers send at first: pictures of no type, doubled keys, other spellings."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image

from serving import Server
from tests.serving.kit import call, connect, predict, write_linear, write_sum, write_told

FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "BMP": "image/bmp",
           "WEBP": "image/webp", "TIFF": "image/tiff"}  # fmt: skip


def picture(kind="PNG"):
    file = io.BytesIO()
    Image.new("L", (4, 4), 7).save(file, kind)
    return file.getvalue()


def send(server, verb, body, **headers):
    connection = connect(server)
    path = f"/v1/models/{server.name}:{verb}"
    connection.request("POST", path, body, {k.replace("_", "-"): v for k, v in headers.items()})
    reply = connection.getresponse()
    found = reply.status, json.load(reply)
    connection.close()
    return found


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("sent", ["application/x-www-form-urlencoded", "text/plain", None])
def test_a_picture_of_no_type_is_seen(pictured, kind, sent):
    headers = {"Content_Type": sent} if sent else {}
    status, told = send(pictured, "predict", picture(kind), **headers)
    assert status == 400 and told["error"] == (
        f"request: got a picture ({FORMATS[kind]}) sent as {sent or 'no type'}; expected JSON, or "
        f"the picture to :predict with Content-Type: {FORMATS[kind]}."
    )


@pytest.mark.parametrize("verb", ["classify", "regress"])
def test_pictures_go_to_predict(pictured, verb):
    assert send(pictured, "predict", picture(), Content_Type="image/png")[0] == 200
    status, told = send(pictured, verb, picture(), Content_Type="image/png")
    assert status == 400 and "got image/png; expected JSON. Files of pictures are" in told["error"]


def test_a_picture_to_another_model_is_told_why(tmp_path):
    known = {"size": 4, "channels": 1}
    with Server(write_sum(tmp_path / "sum"), port=0) as server:
        status, told = send(server, "predict", picture(), Content_Type="image/png")
        assert status == 400 and "a step of a model with states, which takes nu" in told["error"]
    odd = write_linear(tmp_path / "odd", preprocessing=known, task="upscale")
    with Server(odd, port=0) as server:
        status, told = send(server, "predict", picture(), Content_Type="image/png")
        assert (
            status == 400 and "does not say what the answers mean (task 'upscale')" in told["error"]
        )
        assert "Send numbers to :predict" in told["error"]


DOUBLED = {
    "outside": b'{"instances": [1.0], "instances": [2.0]}',
    "within": b'{"instances": [{"x": 1.0, "x": 2.0}]}',
    "of columns": b'{"inputs": {"x": [1.0], "x": [2.0]}}',
    "many numbers": b'{"inputs": {"x": [1.0], "x": [' + b"1.0, " * 999 + b"2.0]}}",
}


@pytest.mark.parametrize("case", DOUBLED)
def test_a_key_stands_once(half_plus_three, case):
    status, told = predict(half_plus_three, DOUBLED[case])
    assert status == 400 and "stands twice; expected it once" in told["error"]


@pytest.mark.parametrize(
    "body",
    [b'{"instances": [1.0], "a:{\\"": "\\\\", "b": ":{", "c": {"d": {}, "e": [{}, {"d": 1}]}}',
     b'{"instances": [{"x": 1.0}, {"x": 2.0}]}', b'{"\\\\": 1, "instances": [1.0]}'],
)  # fmt: skip
def test_keys_of_several_objects_may_be_alike(half_plus_three, body):
    assert predict(half_plus_three, body)[0] == 200


def test_a_feature_of_one_value_may_be_that_value(tmp_path):
    """As in TF Serving."""
    with Server(write_told(tmp_path / "told", 2, {"y": [[7.0]]}), port=0) as server:
        assert call(f"{server.url}:regress", {"examples": [{"image": 2.0}]})[0] == 400
    with Server(write_sum(tmp_path / "sum"), port=0) as server:
        url = f"{server.url}:regress"
        for x, total in ((1.0, 2.0), ([1.0], [2.0])):
            status, told = call(url, {"examples": [{"x": x}], "context": {"total": total}})
            assert status == 400 and "got a model of 2 outputs" in told["error"]


def test_the_scheme_of_a_token_is_of_any_case(tmp_path):
    (tmp_path / "token").write_text("Secret\n")
    directory = write_linear(tmp_path / "linear")
    with Server(directory, port=0, token_file=tmp_path / "token") as server:
        for scheme, token, expected in (
            ("Bearer", "Secret", 400), ("bearer", "Secret", 400), ("BEARER ", "Secret", 400),
            ("Basic", "Secret", 401), ("bearer", "secret", 401), ("bearer", "", 401),
            ("", "Secret", 401),
        ):  # fmt: skip
            found = send(server, "predict", b"{}", Authorization=f"{scheme} {token}")
            assert found[0] == expected, scheme
