"""The settings of one training run. YAML is their spelling; `zoo/recipes` has one file a family.

A recipe is resolved in three layers: the family's file, the command line's `--data`, then each
`--set key=value`. The resolved recipe goes into the bundle and is enough to repeat the run.
"""

from zoo.recipe.given import Augment, Count, Data, Environment, Hardware, Pixels, Text
from zoo.recipe.learning import Fraction, Optimizer, Phase, Regularize, Train, Transfer
from zoo.recipe.resolving import (
    FURTHER,
    NOT_FURTHER,
    RECIPES,
    changed,
    changed_further,
    is_file,
    resolve,
    resolve_data,
)
from zoo.recipe.whole import Recipe, upgraded

__all__ = [
    "FURTHER",
    "NOT_FURTHER",
    "RECIPES",
    "Augment",
    "Count",
    "Data",
    "Environment",
    "Fraction",
    "Hardware",
    "Optimizer",
    "Phase",
    "Pixels",
    "Recipe",
    "Regularize",
    "Text",
    "Train",
    "Transfer",
    "changed",
    "changed_further",
    "is_file",
    "resolve",
    "resolve_data",
    "upgraded",
]
