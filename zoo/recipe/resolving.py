"""Finds the recipe of an architecture, or of a file, and changes it as asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from zoo import catalog
from zoo.common import plain_yaml
from zoo.common.settings import put, shown
from zoo.datasets import DATASETS, GYM
from zoo.recipe.given import Data
from zoo.recipe.whole import Recipe, load_values

RECIPES = Path(__file__).parents[1] / "recipes"

FURTHER = ("data", "train", "hardware", "seed")  # what training a trained model on looks at
# but has of its own, see `Train.further`
NOT_FURTHER = (
    "train.epochs",
    "train.phases",
    "train.keep",
    "train.transfer",
    "train.optimizer.ema",
)


def resolve(
    model: str, *, data: str | None = None, changes: Iterable[str] = (), smoke: bool = False
) -> Recipe:
    """Returns the recipe for an architecture, or of a file, changed as asked.

    Where the family's images are smaller than the architecture works with, they are as small as it
    works with.

    Args:
        model: Name of an architecture of the catalogue; or the path of a recipe of one's own, which
            ends in `.yaml` and names its `model`, e.g. the `recipe.yaml` of a bundle.
        data: Name of a data set in place of the recipe's; `gym:NAME` of an environment.
        changes: `key=value` with dots between the keys, e.g. `train.epochs=5`; the value is YAML.
        smoke: Whether to apply the file's `smoke` block: a run of seconds that shows that the
            parts fit together.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A name or key is unknown, or a value is wrong.
    """
    own = is_file(model)
    values = _of_file(model) if own else _of_family(model)
    groups = {name: values.get(name, {}) for name in ("data", "smoke")}
    for name, group in groups.items():
        if not isinstance(group, dict):
            raise ValueError(f"{model}: {name}: got {shown(group)}; expected keys and values.")
    values.pop("smoke", None)
    if smoke:
        values = _merge(values, groups["smoke"])
    if not own:
        size, smallest = groups["data"].get("size"), catalog.find_architecture(model).smallest
        if size is None and (known := DATASETS.get(groups["data"].get("name", ""))):
            size = known.shape[0] if known.kinds[0] == "image" and not known.sized else None
        if size is not None and size < smallest:  # of a smaller network of the family
            values["data"] = {**values["data"], "size": smallest}
    if data is not None and data.startswith(GYM):
        values.pop("data", None)
        name = data.removeprefix(GYM)
        values["environment"] = {**values.get("environment", {}), "name": name}
    elif data is not None:
        values["data"] = {**values.get("data", {}), "name": data}
    for change in changes:
        _change(values, change)
    return Recipe.parse(values, where=model if own else "recipe")


def resolve_data(name: str, changes: Iterable[str] = ()) -> Data:
    """Returns the block `data` of a recipe that reads a data set.

    Args:
        name: Name of the data set.
        changes: As in `resolve`, of `data` alone.

    Raises:
        ValueError: A key is unknown, or a value is wrong.
    """
    values: dict[str, Any] = {"data": {"name": name}}
    for change in changes:
        if not change.startswith("data."):
            raise ValueError(f"--set: got {change!r}; expected data.KEY=VALUE, e.g. data.size=64.")
        _change(values, change)
    return Data.parse(values["data"], where="data")


def is_file(model: str) -> bool:
    """Returns whether a model is named by a recipe of one's own: by its path."""
    return Path(model).suffix in (".yaml", ".yml")


def _of_file(path: str) -> dict[str, Any]:
    """The values of a recipe of one's own."""
    values = load_values(Path(path))
    if not isinstance(values.get("model"), str):
        raise ValueError(
            f"{path}: model: got {shown(values.get('model'))}; expected the name of an "
            "architecture, see `zoo list`."
        )
    return {**values, "model": catalog.find_architecture(values["model"]).name}


def _of_family(model: str) -> dict[str, Any]:
    """The values of the recipe of an architecture's family."""
    architecture = catalog.find_architecture(model)
    if not architecture.recipe:
        raise ValueError(
            f"{model}: stands for a model that was brought as a file; expected an architecture, "
            "see `zoo list`."
        )
    return {**load_values(RECIPES / f"{architecture.recipe}.yaml"), "model": architecture.name}


def changed(recipe: Recipe, changes: Iterable[str]) -> Recipe:
    """Returns a resolved recipe with some settings changed.

    Args:
        recipe: Stays as it is.
        changes: As in `resolve`.

    Raises:
        ValueError: A key is unknown, or a value is wrong.
    """
    values = recipe.model_dump(mode="json")
    for change in changes:
        _change(values, change)
    return Recipe.parse(values, where="recipe")


def changed_further(recipe: Recipe, changes: Iterable[str]) -> Recipe:
    """As `changed`, for training a trained model on; see `Train.further`.

    Raises:
        ValueError: As `changed`; or a change does not apply to that.
    """
    changes = tuple(changes)
    groups = FURTHER if recipe.environment is None else (*FURTHER, "environment")
    for change in changes:
        key = change.partition("=")[0].strip()
        if key.partition(".")[0] not in groups:
            raise ValueError(
                f"--set {shown(change)}: does not apply to a trained model; expected a change of "
                f"{', '.join(groups)}."
            )
        if any(f"{own}.".startswith(f"{key}.") or key.startswith(f"{own}.") for own in NOT_FURTHER):
            raise ValueError(
                f"--set {shown(change)}: does not apply to a trained model, which is trained on as "
                "its passes say; expected e.g. train.batch_size or "
                "train.optimizer.learning_rate, one setting at a time."
            )
    return changed(recipe, changes)


def _merge(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lays the changes over the values, group by group."""
    merged = dict(values)
    for key, value in changes.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, Mapping):
            value = _merge(old, value)
        merged[key] = value
    return merged


def _change(values: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise ValueError(f"--set: got {change!r}; expected key=value, e.g. train.epochs=5.")
    put(values, key, plain_yaml.parse(text, f"--set {shown(change)}"), where=f"--set {change}")
