"""Measures what an autoencoder makes of pictures, and what its codes are worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.tasks import made as pictures
from zoo.tasks.task import Evaluation

if TYPE_CHECKING:
    import keras

    from zoo.data.dataset import DataSet

ROW = 8  # pictures in a row
SETS = 3  # of rows that are drawn
MOST_PIXELS = 1024  # of a picture whose principal components are computed


class Reconstructed:
    """Averages the errors of a split, and keeps a few pictures.

    `squared_error` and `cross_entropy` are summed over a picture's pixels; `noisy_` and `denoised_`
    are of corrupted pictures, before and after. `pca_squared_error` is that of as many principal
    components of the training split as a code has numbers. A file only reconstructs: then the
    squared error alone is measured.

    Args:
        data: Whose training split is compared with; `None` compares with nothing.
        encoder: Makes the codes of the training split, for the linear classifier.
        labels: Labelled training pictures for it; 0 measures none.
    """

    def __init__(
        self,
        data: DataSet | None = None,
        encoder: keras.Model | None = None,
        *,
        labels: int = 0,
    ):
        self._data, self._encoder = data, encoder
        self._labels = labels
        self._parts: list[dict[str, np.ndarray]] = []

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`; `outputs` may be the reconstructed pictures alone."""
        found = dict(outputs) if isinstance(outputs, Mapping) else {"reconstructed": outputs}
        kept = {"image": batch["image"]} | ({"label": batch["label"]} if "label" in batch else {})
        self._parts.append(found | kept)

    def result(self) -> Evaluation:
        """Measures; the table `linear_classifier` tells what codes and pixels are worth."""
        whole = {
            name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]
        }
        image = whole["image"]
        metrics = {"squared_error": _squared(whole["reconstructed"], image)}
        if "cross_entropy" in whole:
            metrics["cross_entropy"] = float(whole["cross_entropy"].mean(dtype="f8"))
        for name in ("noisy", "denoised"):
            if name in whole:
                metrics[f"{name}_squared_error"] = _squared(whole[name], image)
        tables: dict[str, Any] = {}
        if "code" in whole:
            code = whole["code"].reshape(len(image), -1)
            metrics["code_mean"] = float(code.mean(dtype="f8"))
            metrics |= self._components(image, code.shape[1])
            if self._labels and "label" in whole:
                tables["linear_classifier"] = rows = self._classified(image, code, whole["label"])
                metrics |= {f"{row['reads']}_top1": row["top1"] for row in rows}
        return Evaluation(metrics, tables, self._shown(whole))

    def _train(self, count: int | None = None) -> np.ndarray:
        """Intensities of the training split (n, ...), the first `count` of it."""
        data: Any = self._data
        chosen = data.train[: len(data.train) if count is None else count][data.input]
        return np.asarray(chosen).astype(np.float32) / 255

    def _components(self, image: np.ndarray, count: int) -> dict[str, float]:
        """The squared error of so many principal components; none where all would be needed."""
        num = image[0].size
        if self._data is None or count >= num or num > MOST_PIXELS:
            return {}
        train = self._train()
        train = train.reshape(len(train), -1).astype(np.float64)
        mean = train.mean(axis=0)
        covariance = np.cov(train.T)
        _, axes = np.linalg.eigh(covariance)  # in ascending order
        rest = (image.reshape(len(image), -1) - mean) @ axes[:, :-count]
        return {"pca_squared_error": float(np.square(rest).sum(axis=1).mean())}

    def _classified(
        self, image: np.ndarray, code: np.ndarray, label: np.ndarray
    ) -> list[dict[str, Any]]:
        """Linear classifiers of pixels and of codes, from the same training pictures."""
        from zoo.tasks.latent.linear_classifier import measure

        data, encoder = self._data, self._encoder
        if data is None or encoder is None:
            return []
        train = self._train(self._labels)
        labels = np.asarray(data.train[: self._labels]["label"])
        codes = encoder.predict(train, batch_size=250, verbose=0)
        flat = [x.reshape(len(x), -1) for x in (train, codes, image)]
        pixels = {"reads": "pixels", **measure(flat[0], labels, flat[2], label)}
        return [pixels, {"reads": "code", **measure(flat[1], labels, code, label)}]

    def _shown(self, whole: Mapping[str, np.ndarray]) -> dict[str, Callable[[Path], None]]:
        """Rows of pictures, of what the encoder saw, and of what became of them; filters."""
        names = ("image", "noisy", "denoised" if "denoised" in whole else "reconstructed")
        sets = [
            whole[name][first : first + ROW]
            for first in range(0, SETS * ROW, ROW)
            for name in names
            if name in whole and len(whole[name]) >= first + ROW
        ]
        if not sets:
            return {}
        values = pictures.to_pixels(np.concatenate(sets), low=0.0)
        shown: dict[str, Any] = {"reconstructions": partial(pictures.save, values)}
        if (filters := self._filters()) is not None:
            shown["filters"] = partial(pictures.save, filters)
        return shown

    def _filters(self) -> np.ndarray | None:
        """The weights into the first units as pictures, each from its least to its largest."""
        from compress.graph.kernels import computed_kernel

        encoder = self._encoder
        if encoder is None:
            return None
        shape = encoder.input.shape[1:]
        found = (computed_kernel(layer) for layer in encoder.layers)
        kernels = [kernel for kernel in found if kernel is not None]
        if not kernels or tuple(kernels[0].shape[:-1]) != (int(np.prod(shape)),):
            return None
        weights = np.asarray(kernels[0])[:, : pictures.SHOWN].T
        return pictures.stretched(weights.reshape(-1, *shape))


def _squared(one: np.ndarray, other: np.ndarray) -> float:
    """The squared error, summed over the pixels, averaged over the pictures."""
    square = np.square(one.astype(np.float64) - other)
    return float(square.reshape(len(one), -1).sum(axis=1).mean())
