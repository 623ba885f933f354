"""What the papers report stands beside the rows that it belongs to."""

from zoo import results
from zoo.baselines import BASELINES
from zoo.catalog import CATALOG
from zoo.results import numbers

PAPERS = results.read_rows("papers")


def test_each_is_of_something_that_is_known():
    names = [row["name"] for row in PAPERS]
    assert len(set(names)) == len(names)
    assert all(row["published"] for row in PAPERS)
    rows = {row["name"] for row in results.read_rows("train")}
    known = {*CATALOG, *(name.removesuffix("_small") for name in CATALOG), *BASELINES, *rows}
    assert set(names) <= known


def test_a_row_finds_it_by_its_name_then_its_model_then_without_small():
    found = {"r-pool": "own", "r_small": "model", "u": "large", "u_small2": "second"}
    rows = [
        ("r-pool", "r_small"),
        ("r", "r_small"),
        ("u-x", "u_small"),
        ("v", "u_small2"),
        ("w", "w"),
    ]
    data = {
        "papers": [{"name": name, "published": told} for name, told in found.items()],
        "train": [{"name": name, "model": model, "top1": "0.5"} for name, model in rows],
    }
    shown = numbers.shown(data.__getitem__, "train")
    assert [row["paper"] for row in shown] == ["own", "model", "large", "second", ""]
