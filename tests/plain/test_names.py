"""Names of inputs and outputs: only what must change does, and no two become one."""

import pytest

from export.names import input_names, output_names


@pytest.mark.parametrize(
    ("own", "file"),
    [
        (["image", "age_2", "Lat"], ["image", "age_2", "Lat"]),
        (["_x"], ["x"]),
        (["größe", "naïve", "大"], ["grosse", "naive", "tensor"]),
        (["a/b", "a b", "a-b", "a.b"], ["a_b", "a_b_1", "a_b_2", "a_b_3"]),
        (["_x", "x"], ["x_1", "x"]),  # the one that need not change stays
        (["X", "x", "_X"], ["X", "x_1", "X_2"]),  # TensorFlow tells no capitals
        (["self", "class", "name"], ["self_1", "class_1", "name"]),
        (["", "_", "7"], ["tensor", "tensor_1", "tensor_7"]),
    ],
)
def test_names_of_inputs(own, file):
    assert input_names(own) == file
    assert len({name.lower() for name in file}) == len(file)


@pytest.mark.parametrize(
    ("own", "file"),
    [
        (["score", "gru", "gru"], ["score", "gru", "gru_1"]),  # one clash, one other name
        (["gru", "gru", "gru_1"], ["gru", "gru_2", "gru_1"]),
        (["_x", "größe", "Y", "y", "class"], ["_x", "größe", "Y", "y", "class"]),
        (["a/b", "a_b"], ["a_b_1", "a_b"]),
        (["key", "a/b"], ["key", "a_b"]),
    ],
)
def test_names_of_outputs(own, file):
    assert output_names(own, ["key"]) == file


def test_formats_that_know_less():
    assert output_names(["key", "y"], ["key"], apart=True) == ["key_1", "y"]
    assert output_names(["2", "größe", "_y"], plain=True) == ["tensor_2", "grosse", "y"]
    assert input_names(["1x"]) == ["1x"] and input_names(["1x"], plain=True) == ["tensor_1x"]
    # A new name is no input's, so that a table of new names has one meaning.
    assert output_names(["a/b"], ["a_b"]) == ["a_b_1"]
    assert input_names(["a/b"], ["a_b"]) == ["a_b_1"]
