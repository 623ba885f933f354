"""Features of small patches, summed over the quarters of an image: k-means and sparse coding.

Source: Coates, Ng & Lee 2011, An analysis of single-layer networks in unsupervised feature
learning, AISTATS (PMLR 15): patches of even contrast, whitened; sums over quarters; standard
features into a linear machine. Differs: patches of a quarter of the side, 3 to 6 pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zoo.data.dataset import Split

SIDES = (3, 6)  # smallest and largest side of a patch, in pixels
SAMPLE = 20_000  # patches that features are learnt from
SMALLEST = 4  # pixels
BLOCK = 100  # images whose patches are in memory at once
CONTRAST = 10.0  # added to the variance of a patch, in squares of grey levels
WHITE = 0.1  # added to the eigenvalues of the covariance


class Patches:
    """Cuts whitened patches out of images; how to whiten is learnt.

    Args:
        name: Name of the baseline; it opens an error line.
        train: Images to learn from.
        seed: Seed of which patches are looked at.

    Attributes:
        side: Of a patch, in pixels.
        sample: Whitened patches of training images, (most, d), float32.

    Raises:
        ValueError: The images are too small.
    """

    def __init__(self, name: str, train: Split, *, seed: int = 0):
        images = train["image"]
        smallest = min(images.shape[1:3])
        if smallest < SMALLEST:
            raise ValueError(
                f"{name}: got images of {smallest} pixels; expected at least {SMALLEST}."
                " Set --size."
            )
        self.side = int(np.clip(smallest // 4, *SIDES))
        random = np.random.RandomState(seed)
        rows = random.randint(images.shape[1] - self.side + 1, size=SAMPLE)
        columns = random.randint(images.shape[2] - self.side + 1, size=SAMPLE)
        which = random.randint(len(images), size=SAMPLE)
        windows = np.lib.stride_tricks.sliding_window_view(images, (self.side, self.side), (1, 2))
        cut = _even(windows[which, rows, columns])
        self._mean = cut.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(cut, rowvar=False))
        self._whitening = ((vectors / np.sqrt(values + WHITE)) @ vectors.T).astype(np.float32)
        self.sample: np.ndarray = (cut - self._mean) @ self._whitening

    @property
    def parameters(self) -> int:
        """Numbers that were learnt."""
        return self._mean.size + self._whitening.size

    def cut(self, images: np.ndarray, step: int = 1) -> np.ndarray:
        """Returns all patches of images, (n, rows, columns, d), float32.

        Args:
            images: Pixels (n, height, width, channels), uint8.
            step: From one patch to the next, in pixels.
        """
        windows = np.lib.stride_tricks.sliding_window_view(images, (self.side, self.side), (1, 2))
        return (_even(windows[:, ::step, ::step]) - self._mean) @ self._whitening

    def features(
        self, encode: Callable[[np.ndarray], np.ndarray], *, step: int = 1
    ) -> Callable[[np.ndarray], np.ndarray]:
        """Returns a function from pixels (n, height, width, channels) to features (n, 4 k).

        Args:
            encode: Whitened patches (m, d) to what is told of them (m, k).
            step: From one patch to the next, in pixels.
        """

        def of(images: np.ndarray) -> np.ndarray:
            rows = []
            for start in range(0, len(images), BLOCK):
                found = self.cut(images[start : start + BLOCK], step)
                codes = encode(found.reshape(-1, found.shape[-1]))
                rows.append(quarters(codes.reshape(*found.shape[:3], -1)))
            return np.concatenate(rows)

        return of


def quarters(maps: np.ndarray) -> np.ndarray:
    """Returns the sums over the quarters of maps (n, rows, columns, k), (n, 4 k)."""
    for axis in (1, 2):
        maps = np.add.reduceat(maps, [0, (maps.shape[axis] + 1) // 2], axis=axis)
    return maps.reshape(len(maps), -1)


def _even(windows: np.ndarray) -> np.ndarray:
    """Patches (..., channels, side, side) as rows (..., d) of mean 0 and even contrast."""
    rows = windows.reshape(*windows.shape[:-3], -1).astype(np.float32)
    rows -= rows.mean(axis=-1, keepdims=True)
    return rows / np.sqrt(rows.var(axis=-1, keepdims=True) + CONTRAST)
