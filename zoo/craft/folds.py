"""K-fold cross-validation: every example but the test split's is validated on exactly once.

Source: Stone 1974, J. R. Stat. Soc. B 36(2); the folds are scikit-learn's, and stratified where the
labels are classes. What is measured on the data, its preprocessing, is measured anew for each fold,
on its own training part. The test split stays out of sight.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from zoo.data.dataset import DataSet, Split
from zoo.training.run import Run


def split(data: DataSet, count: int, *, seed: int) -> Iterator[DataSet]:
    """Gives the data set `count` times, each time with another training and validation part.

    Args:
        data: Its training and validation splits are joined and divided anew.
        count: Number of folds, at least 2.
        seed: Seed of the division.

    Raises:
        ValueError: There are fewer than 2 folds, or fewer examples of a class than folds; or the
            examples are windows of one text, of which each overlaps with its neighbours.
    """
    if data.columns[data.input].kind == "tokens":
        raise ValueError(
            f"--folds: got {count} for {data.name}, a text whose windows overlap; expected 1, its "
            "own validation split."
        )
    from sklearn.model_selection import KFold, StratifiedKFold

    everything = Split(
        {name: np.concatenate([data.train[name], data.validation[name]]) for name in data.columns}
    )
    by = next((name for name, column in data.columns.items() if column.kind == "class"), None)
    classes, num = by is not None, len(everything)
    labels = everything[by] if by else np.zeros(num, np.int32)
    fewest = int(np.unique(labels, return_counts=True)[1].min())
    if not 2 <= count <= fewest:
        of = "examples in the smallest class" if classes else "examples"
        raise ValueError(f"--folds: got {count}; expected 2 to {fewest}, the number of {of}.")
    kind = StratifiedKFold if classes else KFold
    folds = kind(count, shuffle=True, random_state=seed).split(np.zeros(num), labels)
    for train, validation in folds:
        yield replace(data, train=everything[train], validation=everything[validation])


def runs(run: Run, count: int) -> Iterator[Run]:
    """Gives a run of each fold; `count` of 1 gives the run with its own validation split."""
    if count == 1:
        yield run
        return
    for data in split(run.data, count, seed=run.recipe.seed):
        yield run.on(data)
