"""Recipes and bundles: what is refused, what survives a round trip, what a kill leaves."""

import pytest

from zoo.bundle import Bundle
from zoo.catalog import CATALOG
from zoo.common.settings import nearest
from zoo.common.staging import staged
from zoo.datasets import DATASETS
from zoo.recipe import RECIPES, Optimizer, Recipe, resolve


@pytest.mark.parametrize("name", CATALOG)
def test_every_architecture_has_a_recipe_that_survives_yaml(name, tmp_path):
    recipe = resolve(name)
    assert recipe.model == name
    assert recipe.data.name in DATASETS
    size = recipe.data.size or DATASETS[recipe.data.name].shape[0]
    assert size >= CATALOG[name].smallest
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe.to_yaml())
    assert Recipe.read(path) == recipe


def test_every_recipe_is_used():
    assert {path.stem for path in RECIPES.glob("*.yaml")} == {a.recipe for a in CATALOG.values()}


def test_changes_are_layered():
    changes = ["train.epochs=3", "train.optimizer.learning_rate=1e-4", "data.augment.mirror=false"]
    recipe = resolve("vgg16", data="cifar10", changes=changes)
    assert recipe.data.name == "cifar10"
    assert recipe.data.augment.mirror is False
    assert (recipe.train.epochs, recipe.train.optimizer.learning_rate) == (3, 1e-4)
    assert recipe.train.batch_size == resolve("vgg16").train.batch_size
    assert resolve("vgg16", changes=["data.size=null"]).data.size is None


def test_a_recipe_of_one_s_own_is_named_by_its_path(tmp_path):
    path = tmp_path / "mine.yaml"
    whole = resolve("vgg16", data="cifar10", changes=["train.epochs=3"])
    path.write_text(whole.to_yaml())
    assert resolve(str(path)) == whole
    path.write_text(
        "model: lenet5\ndata: {name: digits, size: 8}\nsmoke: {train: {epochs: 1}}\n"
        "train: {epochs: 7, batch_size: 9}\n"
    )
    mine = resolve(str(path), data="mnist5k", changes=["seed=3"])
    assert (mine.model, mine.data.name, mine.data.size, mine.seed) == ("lenet5", "mnist5k", 8, 3)
    assert (mine.train.epochs, mine.train.batch_size) == (7, 9)
    assert resolve(str(path), smoke=True).train.epochs == 1


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("model: [", "mine.yaml"),
        ("- 1", r"mine\.yaml: got \[1\]; expected keys and values"),
        ("train: {epochs: 3}", r"mine\.yaml: model: got None; expected the name"),
        ("model: 3", r"mine\.yaml: model: got 3; expected the name"),
        ("model: lenet6", "Did you mean 'lenet5'"),
        ("{model: lenet5, data: digits}", r"mine\.yaml: data: got 'digits'; expected keys"),
        ("{model: lenet5, smoke: 1}", r"mine\.yaml: smoke: got 1; expected keys"),
        ("{model: lenet5, train: {epoch: 1}}", r"mine\.yaml\.train\.epoch: unknown key"),
    ],
)
def test_a_wrong_recipe_of_one_s_own_is_one_line(tmp_path, text, line):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=line) as caught:
        resolve(str(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match=r"other\.yaml"):
        resolve(str(tmp_path / "other.yaml"))


def test_settings_are_frozen_and_say_what_is_wrong():
    with pytest.raises(ValueError, match="frozen"):
        Optimizer().momentum = 0.5
    with pytest.raises(ValueError, match=r"^Optimizer\.momentum: got 2; expected less than 1\.$"):
        Optimizer(momentum=2)
    with pytest.raises(ValueError, match=r"^Recipe\.train\.epochs: got 0; expected greater"):
        Recipe(model="vgg16", train={"epochs": 0})
    with pytest.raises(ValueError, match=r"here\.momentum: got 2; expected less than 1"):
        Optimizer.parse({"momentum": 2}, where="here")
    with pytest.raises(ValueError, match=r"here\.learning_rat: unknown key. Did you mean"):
        Optimizer.parse({"learning_rat": 2}, where="here")


def test_nearest_ignores_case_and_lists_all_when_nothing_is_near():
    assert nearest("VGG16", CATALOG) == "Did you mean 'vgg16'?"
    assert nearest("zzz", ["one", "two"]) == "Known: one, two."


def test_a_failure_leaves_what_was_there(tmp_path):
    out = tmp_path / "bundle"
    with staged(out) as stage:
        (stage / "card.json").touch()
        (stage / "file").write_text("old")

    def fail():
        with staged(out, force=True) as stage:
            (stage / "file").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (out / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]
    with pytest.raises(FileExistsError, match="--force"), staged(out):
        pass
    with staged(out, force=True) as stage:
        (stage / "file").write_text("new")
    assert (out / "file").read_text() == "new"
    assert list(tmp_path.iterdir()) == [out]


def test_force_replaces_nothing_but_a_bundle(tmp_path):
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter1").write_text("words")
    with pytest.raises(FileExistsError, match="not a bundle"), staged(precious, force=True):
        pass
    assert (precious / "chapter1").read_text() == "words"


def test_what_is_not_a_bundle_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such directory"):
        Bundle(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"model\.keras, recipe\.yaml, card\.json"):
        Bundle(tmp_path)
