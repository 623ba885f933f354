"""The catalogue's facts and errors, without TensorFlow."""

import json
import subprocess
import sys

import pytest

from zoo.catalog import CATALOG, ROWS, TASKS, find_architecture


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
    assert find_architecture("vgg16") is CATALOG["vgg16"]


@pytest.mark.parametrize(
    ("slip", "meant"), [("vgg61", "vgg16"), ("alexnt", "alexnet"), ("lenet-5", "lenet5")]
)
def test_an_unknown_model_suggests_the_nearest(slip, meant):
    with pytest.raises(ValueError, match=f"^unknown model '{slip}'. Did you mean '{meant}'\\?$"):
        find_architecture(slip)


def test_the_page_needs_the_standard_library_only():
    heavy = {"tensorflow", "keras", "numpy", "pydantic"}
    code = f"import sys, zoo.catalog; print(sorted({heavy} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_tasks_are_files_that_need_no_framework():
    """`zoo train NAME --dry-run` reads them, and is instant."""
    heavy = {"tensorflow", "keras", "numpy"}
    code = (
        "import sys\nfrom importlib import import_module\nfrom zoo.catalog import TASKS\n"
        "for kind, place in TASKS.items():\n"
        "    module, name = place.split(':')\n"
        "    task = getattr(import_module(module), name)\n"
        "    assert task.model_fields['kind'].default == kind, place\n"
        "    assert task().headline.name\n"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_every_row_has_a_task_that_there_is():
    assert {row.task for row in ROWS} <= set(TASKS)
