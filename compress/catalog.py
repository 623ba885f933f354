"""What there is by name: the passes, and the recipes that ship with the package."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from zoo.common.settings import nearest, shown

PASSES = {
    "prune": "compress.passes.prune.settings:Prune",
    "prune_channels": "compress.passes.prune_channels.settings:PruneChannels",
    "low_rank": "compress.passes.low_rank.settings:LowRank",
    "share_weights": "compress.passes.share_weights.settings:ShareWeights",
    "quantize": "compress.passes.quantize.settings:Quantize",
    "binarize": "compress.passes.few_values.binarize:Binarize",
    "ternarize": "compress.passes.few_values.ternarize:Ternarize",
    "winograd": "compress.passes.winograd:Winograd",
    "fold_batch_norm": "compress.passes.fold_batch_norm:FoldBatchNorm",
    "entropy": "compress.passes.entropy.settings:Entropy",
    "distill": "compress.passes.distill:Distill",
    "huffman": "compress.passes.huffman:Huffman",
}

_RECIPES = Path(__file__).parent / "recipes"


def pass_names() -> list[str]:
    """Returns the kinds of passes, in the catalogue's order."""
    return list(PASSES)


def pass_class(kind: object, *, where: str = "pass") -> type[Any]:
    """Returns the class of a kind of pass.

    Raises:
        ValueError: There is no such kind; the line opens with `where`.
    """
    if not isinstance(kind, str) or kind not in PASSES:
        raise ValueError(f"{where}.kind: unknown pass {shown(kind)}. {nearest(str(kind), PASSES)}")
    module, name = PASSES[str(kind)].split(":")
    found: type[Any] = getattr(importlib.import_module(module), name)
    return found


def recipe_names() -> list[str]:
    """Returns the names of the recipes that ship with the package, sorted."""
    return sorted(path.stem for path in _RECIPES.glob("*.yaml"))


def recipe_path(name_or_path: str | Path) -> Path:
    """Returns the file of a recipe, given by its name or by a path that ends in `.yaml`.

    Raises:
        ValueError: There is no recipe of that name.
        FileNotFoundError: There is no such file.
    """
    path = Path(name_or_path)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: not found; expected a recipe of `compress`.")
        return path
    names = recipe_names()
    if str(name_or_path) not in names:
        raise ValueError(f"recipe: unknown {str(name_or_path)!r}. {nearest(str(path), names)}")
    return _RECIPES / f"{name_or_path}.yaml"
