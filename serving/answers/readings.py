"""What the numbers of a version's outputs say, as `zoo predict` says it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.engines import Arrays
from zoo.common import answers

if TYPE_CHECKING:
    from serving.models.versions import Version

_BOXED = ("detect", "dense_caption")  # their scores are probabilities as they are
_INDICES = ("classes", "phrases")  # outputs that are indices of labels


def rows(version: Version, outputs: Arrays, *, top: int) -> tuple[list[list[dict[str, Any]]], Any]:
    """Returns the rows of the answer to each example, and the outputs as they were read.

    Args:
        version: Its manifest says what the outputs are.
        outputs: By the names of the file, (n, ...).
        top: Number of classes to name for an example.

    Raises:
        ValueError: An output is not finite, or the manifest does not say what the outputs are.
    """
    manifest, task = version.manifest, version.manifest.task
    check(version)
    given: Any = {}
    for name, array in outputs.items():
        if not np.isfinite(array).all():
            raise ValueError(f"output {name!r}: not finite, so that it means nothing.")
        own = manifest.names.get(name, name)
        given[own] = array
        if "probabilit" in manifest.meanings.get(name, "") and task not in _BOXED:
            given[own] = _logits(array, several=array.shape[-1] > 1 and task != "traits")
    names = _labels(manifest.labels, given, task)
    if len(given) == 1:
        (given,) = given.values()
    return answers.answers(task, given, labels=names, top=top), given


def check(version: Version) -> None:
    """Sees to it that it is known what the outputs say.

    Raises:
        ValueError: It is not.
    """
    manifest = version.manifest
    known = answers.MEANINGS.get(manifest.task, {})
    names = {manifest.names.get(one.name, one.name) for one in version.engine.signature.outputs}
    if not known or not (set(known) - {"", "masks"} <= names or ("" in known and len(names) == 1)):
        raise ValueError(
            f"{version.name}: got a picture, or a question for classes; the manifest does not say "
            f"what the answers mean (task {manifest.task!r}). Send numbers to :predict, as "
            "'instances' or 'inputs'."
        )


def scores(version: Version, outputs: Arrays) -> list[list[tuple[str, float]]]:
    """Returns label and score of each class for each example, the likeliest first.

    Raises:
        ValueError: The outputs are no scores of classes.
    """
    task = version.manifest.task
    if task not in answers.OF_CLASSES:
        told = "; ".join(version.manifest.meanings.values()) or "not told by the manifest"
        raise ValueError(
            f"classify: what {version.name} answers is {told}; expected scores of classes. Ask "
            "with :predict."
        )
    found, _ = rows(version, outputs, top=max(2, next(iter(outputs.values())).shape[-1]))
    pairs: Any = [[tuple(row.values()) for row in one] for one in found]
    return [sorted(one, key=lambda pair: -pair[1]) for one in pairs]


def values(version: Version, outputs: Arrays) -> list[float]:
    """Returns the one number that is answered to each example.

    Raises:
        ValueError: There are more, or one is not finite.
    """
    if len(outputs) > 1:
        raise ValueError(
            f"regress: got a model of {len(outputs)} outputs; expected one of one. Ask with "
            ":predict."
        )
    ((name, array),) = outputs.items()
    if array.ndim > 2 or array[0].size != 1:
        raise ValueError(
            f"regress: {version.name} answers {tuple(array.shape[1:])} for an example; expected "
            "one number. Ask with :predict."
        )
    if not np.isfinite(array).all():
        raise ValueError(f"output {name!r}: not finite, so that it means nothing.")
    found: list[float] = array.reshape(-1).tolist()
    return found


def _labels(known: Sequence[str], given: dict[str, Any], task: str) -> list[str]:
    """Names of the classes; of those without a name their numbers."""
    indices = [given[name] for name in _INDICES if name in given]
    if indices:
        num = int(max(0, *(array.max(initial=-1) + 1 for array in indices)))
    else:
        array = given["logits"] if "logits" in given else next(iter(given.values()))
        num = array.shape[-1] if task == "traits" else max(2, array.shape[-1])
    return [*known[:num], *map(str, range(len(known), num))]


def _logits(shares: np.ndarray[Any, Any], *, several: bool) -> np.ndarray[Any, Any]:
    """What a softmax, or a sigmoid, makes these probabilities of."""
    shares = np.clip(shares.astype(np.float32), 1e-7, 1 - 1e-7)  # as Keras' own losses do
    logs: np.ndarray[Any, Any] = np.log(shares)
    return logs if several else logs - np.log(1 - shares)
