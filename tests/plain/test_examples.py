"""What users call examples: every form gives the same arrays, and no value changes on the way."""

import itertools
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from zoo.common.examples import MOST, as_type, gather


class Spec(NamedTuple):
    name: str
    shape: tuple
    dtype: str = "float32"


X, Y = Spec("x", (None, 3)), Spec("y", (None, 2, 2))
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)
MAPS = np.arange(16, dtype=np.float32).reshape(4, 2, 2)
LABELS = np.arange(4)


class Batches:
    """As a `keras.utils.PyDataset`: batches by their place."""

    def __len__(self):
        return 2

    def __getitem__(self, place):
        part = slice(2 * place, 2 * place + 2)
        return ROWS[part], LABELS[part]


ONE_INPUT = {
    "array": ROWS,
    "nested lists": ROWS.tolist(),
    "list of examples": list(ROWS),
    "list of batches": [ROWS[:3], ROWS[3:]],
    "list of pairs": list(zip(ROWS, LABELS, strict=True)),
    "array in a list": [ROWS],
    "mapping": {"x": ROWS},
    "mapping of lists": {"x": ROWS.tolist()},
    "list of mappings": [{"x": row} for row in ROWS],
    "with labels": (ROWS, LABELS),
    "with labels in lists": (ROWS.tolist(), LABELS.tolist()),
    "with labels of the same shape": (ROWS, ROWS + 1),
    "with weights": (ROWS, LABELS, LABELS),
    "mapping with labels": ({"x": ROWS}, LABELS),
    "generator of examples": lambda: (row for row in ROWS),
    "generator of batches": lambda: iter([(ROWS[:1], LABELS[:1]), (ROWS[1:], LABELS[1:])]),
    "TFLite's representative data set": lambda: ([row[None]] for row in ROWS),
    "batches by place": Batches(),
}


@pytest.mark.parametrize("form", ONE_INPUT)
def test_every_form_of_one_input_gives_the_same_array(form):
    (found,) = gather(ONE_INPUT[form], [X]).values()
    np.testing.assert_array_equal(found, ROWS)


TWO_INPUTS = {
    "mapping": {"y": MAPS, "x": ROWS},
    "list": [ROWS, MAPS],
    "tuple": (ROWS, MAPS),
    "mapping with labels": ({"x": ROWS, "y": MAPS}, LABELS),
    "tuple with labels": ((ROWS, MAPS), LABELS),
    "list of examples": [{"x": x, "y": y} for x, y in zip(ROWS, MAPS, strict=True)],
    "list of pairs": list(zip(ROWS, MAPS, strict=True)),
    "generator with labels": lambda: (
        ({"x": x, "y": y}, 1) for x, y in zip(ROWS, MAPS, strict=True)
    ),
    "generator of tuples with labels": lambda: (
        ((x, y), 1) for x, y in zip(ROWS, MAPS, strict=True)
    ),
}


@pytest.mark.parametrize("form", TWO_INPUTS)
def test_every_form_of_two_inputs_gives_the_same_arrays(form):
    found = gather(TWO_INPUTS[form], [X, Y])
    assert list(found) == ["x", "y"]
    np.testing.assert_array_equal(found["x"], ROWS)
    np.testing.assert_array_equal(found["y"], MAPS)


def test_what_has_no_end_is_read_in_its_order_as_far_as_needed():
    taken = itertools.count()
    endless = (np.full((100, 3), next(taken)) for _ in itertools.repeat(None))
    (found,) = gather(endless, [X]).values()
    assert len(found) == MOST
    assert next(taken) == -(-MOST // 100)
    np.testing.assert_array_equal(found[:, 0], np.repeat(np.arange(6), 100)[:MOST])
    (found,) = gather(np.zeros((1000, 3)), [X]).values()
    assert len(found) == 1000


def test_numbers_without_an_axis_are_a_column_as_keras_takes_them():
    spec = Spec("age", (None, 1), "int64")
    for form in (
        [20, 30],
        np.array([20, 30]),
        {"age": [20, 30]},
        iter([20, 30]),
        [np.array([20, 30])],
    ):
        np.testing.assert_array_equal(gather(form, [spec])["age"], [[20], [30]])


def test_examples_of_several_lengths_are_refused():
    free = Spec("ids", (None, None))
    assert gather([[1, 2], [3, 4]], [free])["ids"].shape == (2, 2)
    with pytest.raises(ValueError, match=r"of 'ids': got examples of shapes \(1,\) and \(2,\)"):
        gather([[1, 2], [3]], [free])


def test_strings():
    spec = Spec("text", (None, 1), "string")
    for form in ([["a"], ["b c"]], ["a", "b c"], np.array(["a", "b c"]), {"text": ["a", "b c"]}):
        assert gather(form, [spec])["text"].tolist() == [["a"], ["b c"]]
    with pytest.raises(ValueError, match="samples of 'text': got int64; expected strings"):
        gather([1, 2], [spec])
    with pytest.raises(ValueError, match=r"samples of 'x': got <U\d+; expected numbers that fit"):
        gather(np.array([["1", "2", "3"]]), [X])


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (None, "got NoneType; expected an array"),
        (7, "got int; expected an array"),
        ([], "got no examples"),
        (iter(()), "got no examples"),
        (np.zeros((0, 3)), "got {'x': 0} examples"),
        (np.zeros((4, 2)), r"samples of 'x': got shape \(4, 2\); expected \('n', 3\)"),
        (np.zeros(3), r"got shape \(3,\); expected \('n', 3\)"),
        ([np.zeros((2, 3)), np.zeros((2, 4))], r"element of shape \(2, 4\); expected"),
        ({"z": ROWS}, r"got inputs \['z'\]; expected \['x'\]"),
        ([[1.0, 2.0], [3.0]], r"element of shape \(2,\); expected an example \(3,\) or a batch"),
        ({"x": [[1.0, 2.0], [3.0]]}, "got list, which is no array"),
        (ROWS * 1j, "got complex64; expected numbers"),
        (np.full((1, 3), np.inf), "got NaN or infinite values"),
    ],
)
def test_what_does_not_fit_is_one_line(samples, message):
    with pytest.raises(ValueError, match=message) as caught:
        gather(samples, [X])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "dtype", "message"),
    [
        ([0.0, 0.5, 1.0], "uint8", "float64 from 0 to 1, fractions in 33% of them; expected uint8"),
        ([-1, 4], "uint8", "int64 from -1 to 4; expected uint8, whole numbers from 0 to 255"),
        ([256.0], "uint8", "from 256 to 256; expected uint8"),
        ([2**31], "int32", "expected int32, whole numbers from -2147483648 to 2147483647"),
        ([1.5], "int32", "fractions in 100% of them; expected int32"),
        ([1e39], "float32", r"float64 from 1e\+39 to 1e\+39; expected at most 3.4e\+38"),
        ([-70000.0], "float16", "expected at most 6.55e"),
        ([16777217], "float32", "16777217, which float32 cannot hold; .* within 16,777,216"),
        ([5, -2049], "float16", "-2049, which float16 cannot hold; .* within 2,048"),
        ([2**63 - 1], "float32", "9223372036854775807, which float32 cannot hold"),
        ([0.5], "bool", "expected bool, false and true from 0 to 1"),
        ([2], "bool", "expected bool"),
    ],
)
def test_a_cast_that_changes_values_is_refused(values, dtype, message):
    with pytest.raises(ValueError, match=f"here: got .*{message}"):
        as_type(np.array(values), dtype, where="here")


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([0.0, 255.0], "uint8"),
        ([-5.0, 2.0], "int32"),
        ([2**31 - 1], "int32"),
        ([True, False], "float32"),
        ([True, False], "int32"),
        ([0, 1], "bool"),
        ([0.0, 1.0], "bool"),
        (np.array([3, 250], np.uint8), "float32"),
        ([0.1], "float32"),
        ([2**24, -(2**24), 2**24 + 2, -(2**63)], "float32"),
        (np.array([2**63], np.uint64), "float32"),
        ([2048, -2050], "float16"),
    ],
)
def test_a_cast_that_keeps_values_is_made(values, dtype):
    found = as_type(np.array(values), dtype, where="here")
    assert found.dtype == dtype
    np.testing.assert_allclose(found.astype(float), np.array(values, float), rtol=1e-7)


def test_a_folder_of_pictures(tmp_path, caplog):
    (tmp_path / "b").mkdir()
    Image.new("RGB", (9, 5), (10, 20, 30)).save(tmp_path / "b" / "1.png")
    Image.new("RGB", (4, 4), (200, 200, 200)).save(tmp_path / "2.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    spec = Spec("image", (None, 4, 6, 3), "uint8")
    found = gather(tmp_path, [spec])["image"]
    assert found.shape == (2, 4, 6, 3) and found.dtype == np.uint8
    assert found[:, 0, 0].tolist() == [[200, 200, 200], [10, 20, 30]]  # 2.png, b/1.png
    assert not caplog.records
    grey = gather(str(tmp_path), [Spec("image", (None, 4, 4, 1))])["image"]
    assert grey.dtype == np.float32 and grey[1, 0, 0, 0] == 18  # luma of 10, 20, 30
    assert "taken as pixels of 0 to 255" in caplog.text
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle/card.json").write_text("{}")
    with pytest.raises(ValueError, match="its pictures are charts"):
        gather(tmp_path / "bundle", [spec])
    with pytest.raises(FileNotFoundError, match="no such folder of pictures"):
        gather(tmp_path / "none", [spec])
    with pytest.raises(ValueError, match="are not one picture"):
        gather(tmp_path, [X])
