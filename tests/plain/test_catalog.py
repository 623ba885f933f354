"""The catalogue's facts and errors, without TensorFlow."""

import json
import subprocess
import sys

import pytest

from zoo.catalog import CATALOG, ROWS, find


def test_names_are_unique():
    assert [row.name for row in ROWS] == list(CATALOG)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_facts_are_plausible(row):
    assert row.title
    assert row.paper
    assert row.recipe
    assert 1800 < row.year < 2100
    assert row.num_classes >= 1
    assert 1 <= row.smallest <= min(row.input_shape[:2])
    assert row.builder.startswith("zoo.models.")
    assert json.loads(json.dumps(row._asdict()))["settings"].keys() == row.settings.keys()


def test_find_returns_the_row():
    assert find("vgg16") is CATALOG["vgg16"]


@pytest.mark.parametrize(
    ("slip", "meant"), [("vgg61", "vgg16"), ("alexnt", "alexnet"), ("lenet-5", "lenet5")]
)
def test_an_unknown_model_suggests_the_nearest(slip, meant):
    with pytest.raises(ValueError, match=f"^unknown model '{slip}'. Did you mean '{meant}'\\?$"):
        find(slip)


def test_the_page_needs_the_standard_library_only():
    heavy = {"tensorflow", "keras", "numpy", "pydantic"}
    code = f"import sys, zoo.catalog; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
