"""442 diabetes patients, each a row of ten measures; the target is a number.

Source: Efron, Hastie, Johnstone & Tibshirani 2004, Least angle regression, Ann. Stat. 32(2), as
`sklearn.datasets.load_diabetes(scaled=False)` carries it: age, sex, body mass index, blood pressure
and six blood values, in their own units. The target measures the progression of the disease one
year later, 25 to 346.
Differs: 310 / 44 / 88 patients for training, validation and test.
"""

from __future__ import annotations

from importlib.metadata import version

import numpy as np

from zoo.common.columns import Column
from zoo.data.dataset import DataSet, Split, stratify
from zoo.datasets import DATASETS


def load() -> DataSet:
    """Loads the table, (10,)."""
    from sklearn.datasets import load_diabetes

    raw = load_diabetes(scaled=False)
    rows, targets = raw.data.astype(np.float32), raw.target.astype(np.float32)
    everything = Split({"features": rows, "target": targets})
    train, validation, test = stratify(everything, lambda num: (num - 132, 44, 88))
    return DataSet(
        "diabetes",
        f"scikit-learn {version('scikit-learn')}, load_diabetes",
        {"features": Column("features", (10,)), "target": Column("number")},
        train,
        validation,
        test,
        mirror=DATASETS["diabetes"].mirror,
    )
