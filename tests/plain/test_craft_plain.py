"""What a search varies, and what it refuses, before anything heavy is imported."""

import math

import pytest

from zoo.bundle import CARD
from zoo.craft import space
from zoo.craft.plan import RATES, STUDY, Plan, check_sweep, prepare
from zoo.craft.space import Axis
from zoo.recipe import Optimizer, changed, resolve

RATE = "train.optimizer.learning_rate"
RECIPE = resolve("lenet5", data="digits")


def axes(*ranges):
    return space.parse(ranges, RECIPE)


def test_ranges():
    rate, batch, kind, mirror = axes(
        f"{RATE}=1e-4:1e-1:log",
        "train.batch_size=16:128",
        "train.optimizer.kind=sgd,adamw",
        "data.augment.mirror=true,auto",
    )
    assert rate == Axis(RATE, 1e-4, 1e-1, log=True)
    assert batch == Axis("train.batch_size", 16, 128, whole=True)
    assert kind.choices == ("sgd", "adamw") and mirror.choices == (True, "auto")
    # An end without a dot does not make the numbers of a rate whole.
    assert not axes(f"{RATE}=1:10")[0].whole
    for text in space.DEFAULT:
        assert axes(text)[0].log


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("train.optimizer.learning_rat=1:2", "Did you mean 'learning_rate'?"),
        ("trian.epochs=1:2", "Did you mean 'train'?"),
        (f"{RATE}=1e-1:1e-4", "expected low below high"),
        (f"{RATE}=1e-1:1e-1", "expected low below high"),
        ("train.optimizer.weight_decay=0:1:log", "expected a number above 0"),
        (f"{RATE}=0:1", "got 0; expected greater than 0"),
        (f"{RATE}=1e-4:1e-1:lin", "expected `log` or nothing"),
        (f"{RATE}", "expected e.g."),
        ("train.batch_size=1.5:3", "got 1.5; expected a valid integer"),
        ("train.optimizer.kind=sgd:adamw", "expected numbers around the colon"),
        ("train.optimizer.kind=sgd,sdg", "got 'sdg'; expected"),
        ("train.optimizer.kind=sgd,sgd", "expected each once"),
        ("train.optimizer=1:2", "got 1; expected"),
    ],
)
def test_a_wrong_range_gets_one_line(text, hint):
    with pytest.raises(ValueError, match="--range") as error:
        axes(text)
    assert hint in str(error.value) and "\n" not in str(error.value)


def test_a_key_may_vary_once():
    with pytest.raises(ValueError, match="twice"):
        axes(f"{RATE}=1e-4:1e-1", f"{RATE}=1,2")


def test_ranges_of_a_file(tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text(f"{RATE}: 1e-4:1e-1:log\ndata.augment.mirror: [true, false]\n")
    assert axes(*space.read_space(path)) == axes(
        f"{RATE}=1e-4:1e-1:log", "data.augment.mirror=true,false"
    )
    path.write_text("just words")
    with pytest.raises(ValueError, match=r"expected e\.g\."):
        space.read_space(path)
    with pytest.raises(FileNotFoundError, match="ranges in YAML"):
        space.read_space(tmp_path / "nowhere.yaml")


def test_points_of_a_grid():
    rate, batch = axes(f"{RATE}=1e-4:1e-1:log", "train.batch_size=16:64:log")
    assert rate.points(4) == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1])
    assert batch.points(3) == [16, 32, 64]
    assert axes("train.batch_size=1:3")[0].points(9) == [1, 2, 3]
    both = space.grid((rate, batch), 11)
    assert [len(values) for values in both.values()] == [3, 3]
    assert len(space.points(both)) == 9
    assert len(space.grid(axes("train.optimizer.kind=sgd,adam", f"{RATE}=1:2"), 7)[RATE]) == 3
    # Whole numbers run out: more trials than points end all the same.
    assert space.grid(axes("train.batch_size=1:3"), 50) == {"train.batch_size": [1, 2, 3]}
    assert len(space.grid(axes("train.optimizer.kind=sgd,adam"), 10**12)) == 1
    with pytest.raises(ValueError, match="expected at least 4"):
        space.grid((rate, batch), 3)


def test_settings_survive_the_recipe():
    values = {RATE: 0.1 + 0.2, "train.batch_size": 17, "data.augment.mirror": True}
    found = changed(RECIPE, space.settings(values))
    assert found.train.optimizer.learning_rate == 0.1 + 0.2
    assert found.train.batch_size == 17 and found.data.augment.mirror is True
    assert changed(found, []) == found and RECIPE.train.batch_size != 17
    assert changed(RECIPE, space.settings({"data.size": None})).data.size is None
    tiny = changed(RECIPE, space.settings({RATE: 1e-300}))
    assert tiny.train.optimizer.learning_rate == 1e-300


def test_plans():
    ranges = axes("train.batch_size=16:64:log")
    assert Plan(RECIPE, ranges, "grid", trials=4).num_trials == 4
    same, more = Plan(RECIPE, ranges, trials=4), Plan(RECIPE, ranges, trials=40)
    assert same.identity() == more.identity()
    others = (Plan(RECIPE), Plan(RECIPE, ranges, "tpe"), Plan(RECIPE, ranges, folds=3))
    assert all(other.identity() != same.identity() for other in others)
    assert Plan(changed(RECIPE, ["seed=1"]), ranges).identity() != same.identity()
    for wrong in ({"search": "bayes"}, {"trials": 0}, {"folds": 0}):
        with pytest.raises(ValueError, match=f"--{next(iter(wrong))}: got"):
            Plan(RECIPE, **wrong)
    with pytest.raises(ValueError, match="--search grid: got no range"):
        Plan(RECIPE, search="grid")


def test_where_a_search_is_kept(tmp_path):
    out = tmp_path / "deep" / "search"
    with pytest.raises(FileNotFoundError, match="no search to resume"):
        prepare(out, resume=True)
    prepare(out)
    prepare(out)  # still empty
    (out / "thesis").touch()
    with pytest.raises(FileExistsError, match="--force"):
        prepare(out)
    with pytest.raises(FileExistsError, match="not ours"):
        prepare(out, force=True)
    assert (out / "thesis").exists()
    (out / STUDY).touch()
    prepare(out, resume=True)
    with pytest.raises(FileExistsError, match="--resume continues it"):
        prepare(out)
    prepare(out, force=True)
    assert list(out.iterdir()) == []


def test_a_sweep_needs_rates_and_steps():
    check_sweep(RECIPE, low=1e-6, high=10, steps=150)
    lbfgs = RECIPE.train.model_copy(update={"optimizer": Optimizer(kind="lbfgs")})
    for wrong in (
        {"low": 0},
        {"low": 10},
        {"high": math.inf},
        {"low": math.nan},
        {"steps": 19},
        {"recipe": RECIPE.model_copy(update={"train": lbfgs})},
    ):
        with pytest.raises(ValueError, match="got"):
            check_sweep(**{"recipe": RECIPE, "low": 1e-6, "high": 10, "steps": 150} | wrong)


def test_marks_differ():
    assert len({CARD, RATES, STUDY}) == 3
