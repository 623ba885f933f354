"""The catalogue of data sets answers without NumPy and TensorFlow."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import zoo.data
import zoo.datasets
from zoo.data import DATASETS, check_name

ROOT = Path(zoo.data.__file__).parents[2]


@pytest.fixture
def pets(tmp_path):
    for name in ("cats", "dogs", ".thumbnails"):
        (tmp_path / name).mkdir()
    return tmp_path


def test_importing_and_checking_a_name_loads_no_numpy():
    code = (
        "import sys, zoo.data; zoo.data.check_name('mnist5k'); "
        "print([m for m in ('numpy', 'tensorflow', 'keras', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("row", DATASETS.values(), ids=DATASETS)
def test_row_names_a_function_that_exists(row):
    module, function = row.loader.split(":")
    tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text())
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_only_digits_change_class_in_a_mirror():
    pictures = {name: row for name, row in DATASETS.items() if row.kinds[0] == "image"}
    turned = {name for name, row in pictures.items() if not row.mirror}
    assert turned == {
        "digits",
        "translated_digits",
        "cluttered_digits",
        "mnist5k",
        "mnist",
        "digit_scenes",
        "digit_scenes_one",
        "digit_scenes_phrases",
        "digit_scenes_regions",
        "digit_captions",
        "coloured_digits",
        "digit_figures",
        "eyes",
        "chair_views",
    }
    assert not any(row.mirror for name, row in DATASETS.items() if name not in pictures)
    tables = {name for name, row in DATASETS.items() if row.kinds[0] == "features"}
    assert tables == {"breast_cancer", "diabetes", "ring"}


@pytest.mark.parametrize("name", DATASETS)
def test_known_names_pass(name):
    check_name(name)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("mnist5", "mnist5k"), ("fashion-mnist", "fashion_mnist"), ("CIFAR10", "cifar10")],
)
def test_unknown_name_suggests_the_nearest(name, meant):
    with pytest.raises(ValueError, match=rf"got '{name}'.*Did you mean '{meant}'\?$"):
        check_name(name)


def test_name_unlike_any_other_lists_all():
    with pytest.raises(ValueError, match=r"Known: digits, .*, folder:PATH"):
        check_name("qqqq")


def test_folder_passes_with_two_classes(pets):
    check_name(f"folder:{pets}")
    assert [path.name for path in zoo.datasets.class_folders(pets)] == ["cats", "dogs"]


def test_folder_in_the_home_directory(pets, monkeypatch):
    monkeypatch.setenv("HOME", str(pets.parent))
    check_name(f"folder:~/{pets.name}")


def test_missing_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        check_name(f"folder:{tmp_path}/nowhere")


def test_folder_with_one_class(pets):
    (pets / "dogs").rmdir()
    with pytest.raises(ValueError, match="got 1 class folders; expected at least 2"):
        check_name(f"folder:{pets}")


def test_every_exported_name_is_listed():
    assert {"load", "Feed", "Preprocessing", "Split", "DataSet", "DATASETS"} <= set(dir(zoo.data))
    with pytest.raises(AttributeError, match="has no attribute 'laod'"):
        _ = zoo.data.laod
