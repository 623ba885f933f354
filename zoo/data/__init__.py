"""Data sets by name, and the way from a file to a batch.

    data = zoo.data.load("mnist5k", size=32)
    scale = zoo.data.Preprocessing.measure(data.train["image"])
    feed = zoo.data.Feed(data.train, {"image": scale}, batch_size=128, training=True)

`DATASETS` is the catalogue (`zoo.datasets`). Importing this package is instant; NumPy and
TensorFlow are imported when something is loaded.
"""

from __future__ import annotations

from zoo.common import lazy

_EXPORTS = {
    "DATASETS": "zoo.datasets",
    "FOLDER": "zoo.datasets",
    "TEXT": "zoo.datasets",
    "Column": "zoo.common.columns",
    "DataFacts": "zoo.datasets",
    "DataSet": "zoo.data.dataset",
    "Feed": "zoo.data.feeds.feed",
    "Preprocessing": "zoo.data.preprocessing",
    "Split": "zoo.data.dataset",
    "Stream": "zoo.data.feeds.stream",
    "check_name": "zoo.datasets",
    "load": "zoo.data.loading",
    "pack": "zoo.data.records.writing",
}

__getattr__, __dir__, __all__ = lazy.attach(__name__, _EXPORTS)
