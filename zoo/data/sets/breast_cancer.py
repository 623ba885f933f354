"""569 breast tumours, each a row of 30 measures of its cells' nuclei: benign or malignant.

Source: Street, Wolberg & Mangasarian 1993, UCI's Breast Cancer Wisconsin (Diagnostic), as
`sklearn.datasets.load_breast_cancer` carries it: mean, standard error and worst value of ten
measures. Malignant is class 0, benign class 1, the "yes" of a model with one output.
Differs: 399 / 57 / 113 tumours for training, validation and test, with the classes in their
proportions. With 113 test rows, top-1 is known to about 2 %.
"""

from __future__ import annotations

from importlib.metadata import version

import numpy as np

from zoo.common.columns import Column
from zoo.data.dataset import DataSet, Split, stratify
from zoo.datasets import DATASETS


def load() -> DataSet:
    """Loads the table, (30,)."""
    from sklearn.datasets import load_breast_cancer

    raw = load_breast_cancer()
    rows, classes = raw.data.astype(np.float32), raw.target.astype(np.int32)
    everything = Split({"features": rows, "label": classes})
    train, validation, test = stratify(everything, _counts, by="label")
    labels = tuple(str(name) for name in raw.target_names)
    return DataSet(
        "breast_cancer",
        f"scikit-learn {version('scikit-learn')}, load_breast_cancer",
        {"features": Column("features", (30,)), "label": Column("class", (), labels)},
        train,
        validation,
        test,
        mirror=DATASETS["breast_cancer"].mirror,
    )


def _counts(num: int) -> tuple[int, int, int]:
    held, shown = round(0.1 * num), round(0.2 * num)
    return num - held - shown, held, shown
