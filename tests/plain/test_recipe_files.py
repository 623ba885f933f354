"""What every file of `zoo/recipes` says, without training it."""

import re

import pytest
import yaml

from zoo import results
from zoo.catalog import CATALOG
from zoo.recipe import RECIPES, Recipe, resolve
from zoo.results import numbers

HEADER = ("Source", "Command", "Expected", "Hardware", "Minutes")
FILES = sorted(RECIPES.glob("*.yaml"))
MEASURED = {row["name"]: row for row in results.read_rows("train")}
# Files that say so; whoever measures one takes its name out, and none comes in by accident.
UNMEASURED: set[str] = set()
NOT_YET = "not measured yet"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_header_says_five_things(path):
    lines = path.read_text().splitlines()[: len(HEADER)]
    for line, key in zip(lines, HEADER, strict=True):
        assert re.fullmatch(rf"# {key}: \S.*", line), f"{path.name}: {line!r} is no # {key}:"
    facts = dict(line.removeprefix("# ").split(": ", 1) for line in lines)
    command = re.fullmatch(r"zoo train (\S+)", facts["Command"])
    assert command, f"{path.name}: {facts['Command']}"
    assert CATALOG[command[1]].recipe == path.stem
    if command[1] not in MEASURED:  # train it, then `python -m zoo.results runs/...`
        assert {facts[key] for key in HEADER[2:]} == {NOT_YET}, path.name
        return
    row = MEASURED[command[1]]
    score = numbers.score(row).replace("R²", "R2") + (" top-1" if row["top1"] else "")
    assert facts["Expected"].startswith(f"{score} on the {int(row['test_images']):,} test ")
    assert f"{row['cores']} cores" in facts["Hardware"]
    minutes = max(0.1, float(row["seconds"]) / 60)
    assert float(facts["Minutes"]) == pytest.approx(minutes, abs=0.06)


def test_recipes_that_are_not_measured_are_these():
    found = {path.stem for path in FILES if f"# Expected: {NOT_YET}\n" in path.read_text()}
    assert found == UNMEASURED


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_smoke_block_is_short(path):
    values = yaml.safe_load(path.read_text())
    assert set(values) <= set(Recipe.model_fields) | {"smoke"}
    assert values["smoke"]["train"]["epochs"] <= 2, path.name
    for row in CATALOG.values():
        if row.recipe == path.stem:
            smoke = resolve(row.name, smoke=True)
            if smoke.environment is not None:
                assert smoke.environment.frames <= 2000
            else:
                assert smoke.data.limit is not None and smoke.data.limit <= 1000
            assert Recipe(**smoke.model_dump()) == smoke


def test_rows_were_measured_with_the_recipe_as_it_is():
    """Of a row that is named after its architecture, the command is `zoo train NAME`."""
    rows = [row for name, row in MEASURED.items() if name in CATALOG and row["epochs"]]
    assert len(rows) > 100
    wrong = []
    for row in rows:
        recipe = resolve(row["name"])
        place = recipe.environment or recipe.data
        told = (RECIPES / f"{CATALOG[row['name']].recipe}.yaml").read_text()
        epochs = {str(recipe.train.epochs), *re.findall(r"--set train.epochs=(\d+)", told)}
        if row["data"] != place.name or row["epochs"] not in epochs:
            wrong.append(f"{row['name']}: {row['epochs']} epochs of {row['data']}")
    assert not wrong
