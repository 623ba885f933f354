"""Numbers that are read all at once are those that are read one by one, and so are the errors."""

import json

import numpy as np
import pytest

from export.manifest import Signature, TensorSpec
from serving.http import rest
from serving.wire import numbers
from serving.wire.values import parse, parse_numbers

FLAWS = [
    (b"0.5", b"true"),
    (b"0.5", b"null"),
    (b"0.5", b'"a"'),
    (b"0.5", b"NaN"),
    (b"0.5", b"1e999"),
    (b"0.5", b"1e39"),
    (b"0.5", b"01"),
    (b"0.5", b""),
    (b"0.5", b"[0.5]"),
    (b"0.5", b"0.5, 0.5"),
    (b"0.5", b"9007199254740993"),
    (b"0.5", b"18446744073709551616"),
    (b"0.5", b"-0"),
    (b"]]", b"]"),
    (b"]]", b"]]]"),
    (b"[[", b"[[],["),
    (b"[[", b"[" * 2000),
    (b"}", b', "inputs": 558545864083284007}'),
    (b"}", b', "signature_name": "[[,,]]"}'),
    (b"}", b', "signature_name": [[1, 2], [3]]}'),
    (b"}", b""),
]


def told(read, body, signature):
    """What a request gives: arrays, or the error's line."""
    try:
        arrays, by_row = rest.decode(read(body), signature)
    except ValueError as error:
        return str(error)
    return by_row, {key: (one.dtype, one.shape, one.tobytes()) for key, one in arrays.items()}


def signed(*shapes, dtype="float32"):
    specs = [TensorSpec(name=f"x{i}", shape=shape, dtype=dtype) for i, shape in enumerate(shapes)]
    return Signature(inputs=tuple(specs), outputs=())


def request(values, form, name="x0"):
    given = {
        "rows": {"instances": values},
        "columns": {"inputs": values},
        "named": {"inputs": {name: values}},
        "each": {"instances": [{name: row} for row in values]},
    }
    return json.dumps(given[form] | {"signature_name": "serving_default"}).encode()


@pytest.mark.parametrize("form", ["rows", "columns", "named", "each"])
@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8", "int64"])
@pytest.mark.parametrize("sizes", [(1, 300), (3, 8, 8, 3), (2, 20, 20, 1), (40, 5, 1)])
def test_they_are_those_of_the_usual_reader(form, dtype, sizes):
    drawn = np.random.RandomState(0).uniform(0, 255, sizes).astype(dtype)
    body, signature = request(drawn.tolist(), form), signed((None, *sizes[1:]), dtype=dtype)
    assert (numbers.parsed(body) is not None) == (form != "each")
    found = told(parse_numbers, body, signature)
    assert found == told(parse, body, signature)
    assert found[1]["x0"] == (drawn.dtype, drawn.shape, drawn.tobytes())


@pytest.mark.parametrize("dtype", ["float32", "int16", "uint64", "bool"])
@pytest.mark.parametrize("form", ["rows", "named"])
@pytest.mark.parametrize("flaw", FLAWS, ids=[f"{a!r}-{b[:12]!r}" for a, b in FLAWS])
def test_a_flaw_is_told_as_ever(flaw, form, dtype):
    values = np.full((2, 16, 10), 1.0 if dtype == "float32" else 1, "float32").tolist()
    if dtype != "float32":
        values = [[[int(value) for value in row] for row in rows] for rows in values]
    body = request(values, form)
    place = body.index(b"1", len(body) // 2)
    body = body[:place] + b"0.5" + body[place + (3 if dtype == "float32" else 1) :]
    body = flaw[1].join(body.rsplit(flaw[0], 1))
    signature = signed((None, 16, 10), dtype=dtype)
    assert told(parse_numbers, body, signature) == told(parse, body, signature)


@pytest.mark.parametrize("sizes", [(None, 10), (None, 16, 11), (None, 160), (None, None, 10)])
def test_another_shape_is_told_as_ever(sizes):
    body = request(np.ones((2, 16, 10)).tolist(), "rows")
    told_by = [told(read, body, signed(sizes)) for read in (parse_numbers, parse)]
    assert told_by[0] == told_by[1]


def test_two_inputs():
    body = request(np.ones((2, 300)).tolist(), "named")
    signature = signed((None, 300), (None, 2))
    assert told(parse_numbers, body, signature) == told(parse, body, signature)
    both = json.dumps({"inputs": {"x0": np.ones((2, 300)).tolist(), "x1": [[1, 2], [3, 4]]}})
    found = told(parse_numbers, both.encode(), signature)
    assert found == told(parse, both.encode(), signature)
    assert found[1]["x1"][1] == (2, 2)
