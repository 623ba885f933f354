"""What numbers mean: classes and their scores, places in the picture's own pixels, masks."""

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

from serving import Server
from tests.serving.kit import call, write_told

SIDES = ("y1", "x1", "y2", "x2")


def png(width, height):
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, "PNG")
    return file.getvalue()


PICTURE = png(200, 100)
EXAMPLE = {"image": np.zeros((8, 8, 3)).tolist()}


def sent(server, verb="predict"):
    request = urllib.request.Request(f"{server.url}:{verb}", PICTURE, {"Content-Type": "image/png"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


SHARES = {"meanings": {"y": "probabilities of the classes"}}
SHARE = {"meanings": {"y": "probability of the second class"}}
SCORED = {
    "logits": ([[0.0, np.log(3)]], {"task": "classify"}, [["b", 0.75], ["a", 0.25]]),
    "probabilities": ([[0.3, 0.7]], {"task": "classify", **SHARES}, [["b", 0.7], ["a", 0.3]]),
    "a logit": ([[-np.log(3)]], {"task": "binary"}, [["a", 0.75], ["b", 0.25]]),
    "a probability": ([[0.1]], {"task": "binary", **SHARE}, [["a", 0.9], ["b", 0.1]]),
    "no labels": ([[0.1]], {"task": "binary", "labels": (), **SHARE}, [["0", 0.9], ["1", 0.1]]),
    "fewer labels": ([[0.9, 0.1]], {"task": "classify", "labels": ("a",), **SHARES},
                     [["a", 0.9], ["1", 0.1]]),
    "traits": ([[0.0, np.log(3)]], {"task": "traits"}, [["b", 0.75], ["a", 0.5]]),
    "products": ([[0.5, 4.0]], {"task": "devise"}, [["b", 4.0], ["a", 0.5]]),
}  # fmt: skip


@pytest.mark.parametrize("case", SCORED)
def test_scores_of_classes_are_what_the_manifest_says(tmp_path, case):
    told, changes, expected = SCORED[case]
    write_told(tmp_path / "m", 8, {"y": told}, **{"labels": ("a", "b"), **changes})
    with Server(tmp_path / "m", port=0) as server:
        status, payload = call(f"{server.url}:classify", {"examples": [EXAMPLE]})
        coded = {"image": {"b64": base64.b64encode(PICTURE).decode()}}
        assert call(f"{server.url}:classify", {"examples": [coded]}) == (status, payload)
    assert status == 200
    (rows,) = payload["results"]
    assert [label for label, _ in rows] == [label for label, _ in expected]
    np.testing.assert_allclose([x for _, x in rows], [x for _, x in expected], rtol=1e-5)


def test_numbers_of_which_nothing_is_known_are_no_scores(tmp_path):
    write_told(tmp_path / "m", 8, {"y": [[0.3, 0.7]]})
    with Server(tmp_path / "m", port=0) as server:
        status, payload = call(f"{server.url}:classify", {"examples": [EXAMPLE]})
        assert status == 400 and "not told by the manifest; expected scores" in payload["error"]
        status, payload = sent(server)
        assert status == 400 and "does not say what the answers mean" in payload["error"]


def test_the_forms_of_base64(tmp_path):
    """By row, alone or by name; by column likewise, which is answered as `outputs`."""
    write_told(tmp_path / "m", 8, {"y": [[0.3, 0.7]]}, task="classify", labels=("a", "b"))
    file = {"b64": base64.b64encode(PICTURE).decode()}
    with Server(tmp_path / "m", port=0) as server:
        status, payload = sent(server)
        assert status == 200
        rows = payload["predictions"] * 2
        for body in ([file, file], [{"image": file}, {"image": file}], [file, {"image": file}]):
            assert call(f"{server.url}:predict", {"instances": body}) == (
                200, {"predictions": rows},
            )  # fmt: skip
        for body in ([file, file], {"image": [file, file]}):
            assert call(f"{server.url}:predict", {"inputs": body}) == (200, {"outputs": rows})
        for body, part in (
            ({"instances": [file], "inputs": [file]}, "expected either"),
            ({"inputs": {"x": [file]}}, "got the keys 'x'"),
            ({"instances": [file], "signature_name": "x"}, "expected 'serving_default'"),
        ):
            status, payload = call(f"{server.url}:predict", body)
            assert status == 400 and part in payload["error"]


def test_a_box_in_fractions_is_told_in_pixels(tmp_path):
    told = {"logits": [[0, 9]], "box": [[0.25, 0.5, 0.5, 1.5]]}
    names = {"names": {"box_1": "box"}}  # the file's name of it
    renamed = {"logits": told["logits"], "box_1": told["box"]}
    for place, (outputs, changes) in enumerate(((told, {}), (renamed, names))):
        write_told(tmp_path / str(place), 8, outputs, task="localise", **changes)
        with Server(tmp_path / str(place), port=0) as server:
            status, payload = sent(server)
        assert status == 200, payload
        ((row,),) = payload["predictions"]
        assert row["label"] == "1" and [row[side] for side in SIDES] == [25, 100, 50, 200]


def test_things_have_masks_and_labels_may_be_missing(tmp_path):
    told = {
        "boxes": [[[2, 2, 6, 4], [0, 0, 0, 0]]], "scores": [[0.9, 0]], "classes": [[1, -1]],
        "masks": np.stack([np.ones((4, 4)), np.zeros((4, 4))])[None],
    }  # fmt: skip
    meanings = {"scores": "probability; 0 and what belongs to it is padding"}
    for labels, label in (("ab", "b"), ((), "1"), (("a",), "1")):
        directory = tmp_path / f"m{len(labels)}"
        write_told(directory, 8, told, task="detect", labels=tuple(labels), meanings=meanings)
        with Server(directory, port=0) as server:
            status, payload = sent(server)
        assert status == 200, payload
        ((row,),) = payload["predictions"]
        assert row["label"] == label and row["probability"] == pytest.approx(0.9)
        assert [row[side] for side in SIDES] == [25, 50, 75, 100]
        expected = np.zeros((100, 200))
        expected[25:75, 50:100] = 1
        np.testing.assert_array_equal(rle.decode(row["mask"]), expected)


def test_a_segmentation_has_the_mask_of_each_class(tmp_path):
    told = np.zeros((1, 8, 8, 3))
    told[:, 4:, :, 2] = 1
    write_told(tmp_path / "m", 8, {"y": told}, task="segment", labels=("a", "b", "c"))
    with Server(tmp_path / "m", port=0) as server:
        status, payload = sent(server)
    assert status == 200
    masks = {row["label"]: rle.decode(row["mask"]) for row in payload["predictions"][0]}
    assert set(masks) == {"a", "c"}
    np.testing.assert_array_equal(masks["c"][:, 0], np.arange(100) >= 50)
    np.testing.assert_array_equal(masks["a"] + masks["c"], 1)


def test_points_are_told_in_pixels(tmp_path):
    write_told(tmp_path / "m", 8, {"points": [[[0.25, 0.5]]]}, task="pose")
    with Server(tmp_path / "m", port=0) as server:
        assert sent(server) == (200, {"predictions": [[{"point": 0, "y": 25.0, "x": 100.0}]]})
