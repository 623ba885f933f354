"""The task of a recipe: its kind, its settings, where old keys have gone, and recipes of before."""

import subprocess
import sys
from importlib import import_module

import pytest
import yaml

from zoo.catalog import TASKS, find_architecture, usual_task
from zoo.datasets import DATASETS
from zoo.losses import Loss
from zoo.recipe import Optimizer, Phase, Recipe, Train, changed, resolve, upgraded

MOVED = ("loss", "label_smoothing", "auxiliary_weight")


@pytest.mark.parametrize(
    ("model", "data", "kind"),
    [
        ("lenet5", "digits", "classify"),
        ("linear", "diabetes", "regress"),
        ("linear_regression", "digits", "classify"),
        ("linear_regression", "diabetes", "regress"),
        ("perceptron", "digits", "binary"),
        ("perceptron", "diabetes", "regress"),
    ],
)
def test_the_usual_kind_is_the_architectures_or_what_the_data_want(model, data, kind):
    assert usual_task(find_architecture(model), DATASETS[data].kinds) == kind
    assert Recipe(model=model, data={"name": data}).task.kind == kind


def test_every_kind_is_a_file_of_settings_that_are_read_back():
    for kind in ("classify", "binary", "regress"):
        recipe = Recipe(model="linear", task={"kind": kind})
        assert recipe.task.kind == kind and kind in TASKS
        assert Recipe(**recipe.model_dump(mode="json")) == recipe


def test_a_loss_with_settings_survives_the_recipe(tmp_path):
    recipe = resolve("linear_regression", changes=["task.loss={kind: huber, delta: 2}"])
    assert recipe.task.loss == Loss(kind="huber", delta=2) and recipe.task.kind == "regress"
    assert yaml.safe_load(recipe.to_yaml())["task"]["loss"] == {"kind": "huber", "delta": 2}
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml())
    assert Recipe.read(path) == recipe
    # The loss says the kind, with and without settings, where the data allow several.
    assert resolve("linear", changes=["task.loss={kind: hinge, margin: 2}"]).task.kind == "binary"
    assert changed(recipe, ["task.loss=mae"]).task.loss == Loss(kind="mae")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            "task.loss={kind: huber, delt: 2}",
            "task.loss.delt: unknown key of huber. Did you mean 'd",
        ),
        ("task.los=huber", "task.los: unknown key. Did you mean 'loss'?"),
        ("task.kind=regres", "task.kind: got 'regres'; expected a task. Did you mean 'regress'?"),
        ("task.loss=zero_one", "task.loss: got 'zero_one'; expected a loss with a gradient."),
        ("task.label_smoothing=1", "task.label_smoothing: got 1; expected less than 1"),
        ("task=regress", "task: got 'regress'; expected"),
    ],
)
def test_a_wrong_task_is_told_in_one_line(change, message):
    with pytest.raises(ValueError, match=r"^recipe\.task") as caught:
        resolve("linear_regression", changes=[change])
    assert str(caught.value).startswith(f"recipe.{message}") and "\n" not in str(caught.value)


@pytest.mark.parametrize("key", MOVED)
def test_old_keys_name_the_new_ones(key, tmp_path):
    told = f".train.{key}: has moved; write task.{key}."
    value = "huber" if key == "loss" else 0.1
    with pytest.raises(ValueError, match="has moved") as caught:
        resolve("linear_regression", changes=[f"train.{key}={value}"])
    assert str(caught.value) == "recipe" + told
    with pytest.raises(ValueError, match="has moved") as caught:
        Recipe(model="linear", train={key: value})
    assert str(caught.value) == "Recipe" + told
    path = tmp_path / "mine.yaml"
    path.write_text(f"model: linear\ntrain: {{{key}: {value}}}\n")
    with pytest.raises(ValueError, match="has moved") as caught:  # one that a user wrote
        Recipe.read(path)
    assert str(caught.value) == "mine.yaml" + told


# Recipes of bundles of the first version


@pytest.mark.parametrize(
    ("train", "data", "task"),
    [
        ({"loss": "auto"}, "digits", {"kind": "classify", "loss": "cross_entropy"}),
        ({}, "digits", {"kind": "classify", "loss": "cross_entropy"}),
        ({"loss": "auto"}, "diabetes", {"kind": "regress", "loss": "mse"}),
        ({"loss": "huber"}, "diabetes", {"kind": "regress", "loss": "huber"}),
        ({"loss": "hinge"}, "breast_cancer", {"kind": "binary", "loss": "hinge"}),
        ({"loss": "multiclass_svm"}, "digits", {"kind": "classify", "loss": "multiclass_svm"}),
        ({"label_smoothing": 0.1}, "digits", {"kind": "classify", "label_smoothing": 0.1}),
        ({"auxiliary_weight": 0.2}, "digits", {"kind": "classify", "auxiliary_weight": 0.2}),
        ({"loss": "auto"}, "folder:pets", {"kind": "classify", "loss": "cross_entropy"}),
    ],
    ids=str,
)
def test_recipes_of_the_first_version_are_read(train, data, task, tmp_path):
    values = {"model": "linear", "data": {"name": data}, "train": {"epochs": 3, **train}}
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    recipe = Recipe.read(path, upgrade=True)
    plain = recipe.task.model_dump(mode="json")
    assert {key: plain[key] for key in task} == task
    assert recipe.train.epochs == 3 and recipe.data.name == data
    assert upgraded(recipe.model_dump(mode="json")) == recipe.model_dump(mode="json")
    path.write_text(recipe.to_yaml())
    assert Recipe.read(path) == Recipe.read(path, upgrade=True) == recipe


# Several objectives, phases, and which weights are kept


def test_optimizers_of_single_objectives_change_the_common_one():
    train = Train(
        optimizer={"kind": "adam", "learning_rate": 0.01, "clip_norm": 1.0},
        optimizers={"critic": {"learning_rate": 0.04, "clip_norm": None}},
    )
    critic = train.optimizer_of("critic")
    assert critic == Optimizer(kind="adam", learning_rate=0.04)
    assert train.optimizer_of("actor") is train.optimizer
    further = train.further(2, rate=0.1)
    assert further.optimizer_of("critic").learning_rate == pytest.approx(0.004)
    assert further.optimizer_of("critic").kind == "adam"
    assert further.optimizer_of("actor").learning_rate == pytest.approx(0.001)
    assert further.keep == "last" and further.phases == ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"optimizers": {"critic": {"learning_rat": 1}}},
            r"\.optimizers\.critic\.learning_rat: unk",
        ),
        (
            {"optimizers": {"critic": {"momentum": 2}}},
            r"\.optimizers\.critic\.momentum: got 2; exp",
        ),
        (
            {"optimizer": {"clip_norm": 1.0}, "optimizers": {"critic": {"clip_value": 1.0}}},
            r"\.optimizers\.critic\.clip_norm: got a number beside clip_value",
        ),
        (
            {"epochs": 5, "phases": [{"epochs": 2}]},
            r"\.epochs: got 5; expected 2, the sum of train",
        ),
        ({"epochs": 1, "phases": [{"epochs": 0}]}, r"\.phases\.0\.epochs: got 0; expected greater"),
        ({"keep": "worst"}, r"\.keep: got 'worst'; expected 'last' or 'best'"),
        (
            {"epochs": 2, "phases": [{"epochs": 2}], "optimizer": {"kind": "lbfgs"}},
            r"\.phases: got phases with frozen epochs or lbfgs",
        ),
        (
            {"epochs": 2, "phases": [{"epochs": 2, "optimizer": {"learning_rate": -1}}]},
            r"\.phases\.0\.optimizer\.learning_rate: got -1; expected greater than 0",
        ),
    ],
    ids=str,
)
def test_parts_that_do_not_fit_are_refused_in_one_line(values, message):
    with pytest.raises(ValueError, match=r"^Train" + message) as caught:
        Train(**values)
    assert "\n" not in str(caught.value)


def test_changes_are_judged_together_with_what_they_change():
    train = Train(
        epochs=2,
        optimizer={"kind": "sgd"},
        optimizers={"critic": {"nesterov": True}},
        phases=[{"epochs": 2, "optimizer": {"nesterov": True}}],
    )
    assert train.optimizer_of("critic").nesterov
    with pytest.raises(
        ValueError, match=r"^Train\.optimizers\.critic\.nesterov: got true with adam"
    ):
        Train(optimizer={"kind": "adam"}, optimizers={"critic": {"nesterov": True}})


def test_phases_share_the_common_optimizer():
    train = Train(epochs=3, phases=[{"epochs": 1}, {"epochs": 2, "objectives": ["loss"]}])
    assert train.phases == (Phase(epochs=1), Phase(epochs=2, objectives=("loss",)))
    assert Train(**train.model_dump(mode="json")) == train


def test_a_recipe_is_resolved_without_a_framework():
    heavy = {"tensorflow", "keras", "numpy"}
    code = (
        "import sys; from zoo.recipe import resolve; "
        "resolve('linear_regression', changes=['task.loss={kind: huber, delta: 2}']).to_yaml(); "
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_what_a_task_is_measured_by_is_among_its_settings():
    found = {}
    for kind, place in TASKS.items():
        module, name = place.split(":")
        task = getattr(import_module(module), name)
        assert set(task.measured_by) <= set(task.model_fields) - {"kind"}
        found[kind] = task.measured_by
    assert found["vae"] == ("importance_samples",) and not found["classify"]
