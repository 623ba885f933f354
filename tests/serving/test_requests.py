"""Clients' mistakes: each is refused, and the answer says where it is."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.serving.kit import GOOD, predict


def image_with(value):
    image = np.zeros((4, 4, 1)).tolist()
    image[2][3][0] = value
    return image


NOT_A_REQUEST = {
    "empty": (b"", "not JSON"),
    "broken": (b'{"instances": [1', "not JSON"),
    "not text": (b"\xff\xfe\xfd", "not JSON"),
    "trailing": (b'{"instances": [1]} x', "not JSON"),
    "too deep": (b'{"instances": ' + b"[" * 100_000, "not JSON"),
    "huge integer": (b'{"instances": [' + b"9" * 5000 + b"]}", "not JSON"),
    "a list": (b"[1, 2]", "got shape (2,); expected an object"),
    "a number": (b"3", "got 3; expected an object"),
    "no key": (b"{}", "got an empty object; expected either 'instances'"),
    "wrong key": (b'{"instance": [1]}', "got the keys 'instance'; expected either 'instances'"),
    "both keys": (b'{"instances": [1], "inputs": [1]}', "expected either 'instances'"),
    "signature": (b'{"signature_name": "x", "instances": [1]}', "expected 'serving_default'"),
    "signature number": (b'{"signature_name": 5, "instances": [1]}', "got 5"),
}


@pytest.mark.parametrize("case", NOT_A_REQUEST)
def test_what_is_not_a_request_is_refused(linear, case):
    body, part = NOT_A_REQUEST[case]
    status, payload = predict(linear, body)
    assert status == 400
    assert part in payload["error"]
    assert "\n" not in payload["error"]


WRONG_IMAGES = {
    "no instance": ([], "instances: got shape (0,)"),
    "not a list": (3, "instances: got 3; expected a list"),
    "null": (None, "instances: got null; expected a list"),
    "an object": ({"image": GOOD}, "instances: got an object; expected a list"),
    "small": ([GOOD, np.zeros((3, 4, 1)).tolist()], "instances[1]: got shape (3, 4, 1); expected"),
    "transposed": ([np.zeros((1, 4, 4)).tolist()], "got shape (1, 4, 4); expected shape (4, 4, 1)"),
    "without channel": ([np.zeros((4, 4)).tolist()], "instances[0]: got shape (4, 4); expected"),
    "too deep": (
        [np.zeros((4, 4, 1, 1)).tolist()],
        "instances[0]: got shape (4, 4, 1, 1); expected",
    ),
    "a single image": (GOOD, "instances[0]: got shape (4, 1)"),
    "scalars": ([1.0, 2.0], "instances[0]: got 1.0; expected shape (4, 4, 1) of float32"),
    "ragged": ([[*GOOD[:2], GOOD[0][:2], GOOD[0]]], "instances[0][2]: got shape (2, 1); expected"),
    "string": ([GOOD, image_with("1.0")], 'instances[1][2][3][0]: got "1.0"; expected a number'),
    "null value": ([image_with(None)], "instances[0][2][3][0]: got null; expected a number"),
    "true": ([image_with(True)], "instances[0][2][3][0]: got true; expected a number"),
    "NaN": ([image_with(float("nan"))], "instances[0][2][3][0]: got NaN; expected a number"),
    "Infinity": ([image_with(float("inf"))], "instances[0][2][3][0]: got Infinity; expected"),
    "-Infinity": ([image_with(float("-inf"))], "instances[0][2][3][0]: got -Infinity; expected"),
    "beyond float32": ([image_with(1e39)], "instances[0][2][3][0]: got 1e+39; expected a number"),
    "beyond float64": ([image_with(10**400)], "instances[0][2][3][0]: got 1000"),
    "value object": ([image_with({"b64": "aGk="})], "instances[0][2][3][0]: got an object"),
    "mixed": ([GOOD, {"image": GOOD}], "instances[1]: got an object; expected shape (4, 4, 1)"),
    "wrong name": ([{"picture": GOOD}], "instances[0]: got the keys 'picture'; expected an object"),
    "named then plain": ([{"image": GOOD}, GOOD], "instances[1]: got shape (4, 4, 1); expected an"),
}


@pytest.mark.parametrize("name", ["linear", "lite"])
@pytest.mark.parametrize("case", WRONG_IMAGES)
def test_wrong_values_are_refused_and_found(name, case, request):
    instances, part = WRONG_IMAGES[case]
    server = request.getfixturevalue(name)
    status, payload = predict(server, {"instances": instances})
    assert status == 400
    assert part in payload["error"]
    assert predict(server, {"instances": [GOOD]}) == (200, {"predictions": [[0, 0, 0]]})


ROW = {"signal": [1, 2, 3, 4, 5], "sensor": [[1, 2], [3, 4]]}
WRONG_PAIRS = {
    "plain": ({"instances": [[1, 2]]}, "instances[0]: got shape (2,); expected an object with the"),
    "missing": ({"instances": [ROW, {"signal": [1]}]}, "instances[1]: got the keys 'signal'"),
    "unknown": ({"instances": [{**ROW, "tag": 1}]}, "'tag'; expected an object with the keys"),
    "row value": (
        {"instances": [ROW, {**ROW, "sensor": [[1, 2], [3, "4"]]}]},
        'instances[1].sensor[1][1]: got "4"',
    ),
    "plain columns": ({"inputs": [[1, 2]]}, "inputs: got shape (1, 2); expected an object"),
    "missing column": (
        {"inputs": {"signal": [[1] * 5]}},
        "inputs: got the keys 'signal'; expected",
    ),
    "column value": (
        {"inputs": {"signal": [[1] * 5], "sensor": [[[1, 2], [3]]]}},
        "inputs.sensor[0][1]: got shape (1,); expected shape (2,) of float32",
    ),
    "column scalar": (
        {"inputs": {"signal": 1, "sensor": [[[1, 2], [3, 4]]]}},
        "inputs.signal: got",
    ),
    "batches differ": (
        {"inputs": {"signal": [[1] * 5] * 2, "sensor": [[[1, 2], [3, 4]]]}},
        "got 2 of 'signal', 1 of 'sensor'; expected the same number",
    ),
}


@pytest.mark.parametrize("case", WRONG_PAIRS)
def test_wrong_named_tensors_are_refused(pair, case):
    body, part = WRONG_PAIRS[case]
    status, payload = predict(pair, body)
    assert status == 400
    assert part in payload["error"]


@pytest.mark.parametrize("value", [1.0, -1, 256, 1e3, True, "1", 10**400])
def test_integers_are_not_rounded_nor_wrapped(lookup, value):
    status, payload = predict(lookup, {"instances": [[0, 0], [0, value]]})
    assert status == 400
    assert payload["error"].startswith("instances[1][1]: got ")
    assert "expected an integer from 0 to 255 (uint8)" in payload["error"]


def test_mutated_requests_never_end_in_a_500(pair):
    """Bytes are dropped, doubled and replaced; whatever is still a request is answered."""
    random = np.random.RandomState(3)
    body = json.dumps({"instances": [ROW, ROW]}).encode()
    seen = set()
    for _ in range(300):
        mutant = bytearray(body)
        for at in random.randint(len(body) - 4, size=random.randint(1, 4)):
            parts = [b"", mutant[at : at + 1] * 2, b"[", b"]", b"-", b'"', b"9", b"e"]
            mutant[at : at + 1] = parts[random.randint(len(parts))]
        status, payload = predict(pair, bytes(mutant))
        assert (status, list(payload)) in [(200, ["predictions"]), (400, ["error"])]
        seen.add(status)
    assert seen == {200, 400}


@pytest.mark.parametrize("steps", [2, 5, 9])
def test_a_size_that_may_vary_is_that_of_the_request(lines, steps):
    given = np.random.RandomState(steps).randn(3, steps, 3).astype("float32")
    status, payload = predict(lines, {"instances": given.tolist()})
    assert status == 200
    expected = ((given[:, 1:] + given[:, :-1]) / 2).mean(axis=1)
    np.testing.assert_allclose(payload["predictions"], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("instances", "part"),
    [
        (
            [[[1, 2, 3]] * 4, [[1, 2, 3]] * 5],
            "instances[1]: got shape (5, 3); expected shape (4, 3)",
        ),
        ([[[1, 2]] * 4], "instances[0]: got shape (4, 2); expected shape (4, 3)"),
        ([[]], "instances[0]: got shape (0,); expected shape (1, 3)"),
        ([1.0], "instances[0]: got 1.0; expected shape (1, 3)"),
        ([[[1, 2, 3], [1, 2, "x"]]], 'instances[0][1][2]: got "x"; expected a number'),
    ],
)
def test_requests_of_several_sizes_are_refused(lines, instances, part):
    status, payload = predict(lines, {"instances": instances})
    assert status == 400
    assert part in payload["error"]
