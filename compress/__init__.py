"""Compression at training time for Keras 3: any Functional or Sequential model in, a smaller one out.

Importing this package imports neither Keras nor NumPy; a recipe is read, or refused, at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from compress.base import Context
    from compress.catalog import PASSES, pass_names, recipe_names
    from compress.passes.low_rank import LowRank
    from compress.passes.prune import Prune
    from compress.pipeline import Budget, Compressed, Pipeline, apply, load_recipe
    from compress.report import Report

_HOME = {
    "Budget": "compress.pipeline",
    "Compressed": "compress.pipeline",
    "Context": "compress.base",
    "LowRank": "compress.passes.low_rank",
    "PASSES": "compress.catalog",
    "Pipeline": "compress.pipeline",
    "Prune": "compress.passes.prune",
    "Report": "compress.report",
    "apply": "compress.pipeline",
    "load_recipe": "compress.pipeline",
    "pass_names": "compress.catalog",
    "recipe_names": "compress.catalog",
}

__all__ = [*_HOME]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'compress' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(_HOME)
