"""Fashion-MNIST: 60,000 + 10,000 pieces of clothing, 28x28 pixels.

Source: Xiao, Rasul & Vollgraf, arXiv:1708.07747. The IDX files of Debian's `dataset-fashion-mnist`
are read when they are installed, else Keras downloads the same files.
Differs: 55,000 / 5,000 of the 60,000 go to training and validation (`zoo.data.sets.official`).
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from zoo.data.dataset import DataSet
from zoo.data.sets.official import assemble, download

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
LABELS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def load() -> DataSet:
    """Loads the clothes, (28, 28, 1).

    Raises:
        ConnectionError: The Debian package is not installed and the download failed.
        FileNotFoundError: The Debian package lacks a file.
        ValueError: A file of the Debian package is damaged.
    """
    if DEBIAN.is_dir():
        source = f"Debian dataset-fashion-mnist, {DEBIAN}"
        return assemble("fashion_mnist", source, LABELS, (_read("train"), _read("t10k")))
    import keras

    arrays = download(
        "fashion_mnist",
        keras.datasets.fashion_mnist.load_data,
        advice=f"There is no {DEBIAN} either: run apt install dataset-fashion-mnist.",
    )
    source = "Keras' download, keras.datasets.fashion_mnist"
    return assemble("fashion_mnist", source, LABELS, arrays)


def _read(part: str) -> tuple[np.ndarray, np.ndarray]:
    images = read_idx(DEBIAN / f"{part}-images-idx3-ubyte.gz", num_axes=3)
    labels = read_idx(DEBIAN / f"{part}-labels-idx1-ubyte.gz", num_axes=1)
    return images, labels


def read_idx(path: Path, *, num_axes: int) -> np.ndarray:
    """Reads an array of bytes from a gzipped IDX file.

    The file is big-endian: two zero bytes, 8 for unsigned bytes, the number of axes, each axis as
    32 bits, then the bytes.

    Args:
        path: The file.
        num_axes: Number of axes that the array must have.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not what its header says.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; run: apt install --reinstall dataset-fashion-mnist"
        )
    try:
        with gzip.open(path) as file:
            raw = file.read()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path}: damaged gzip file ({error}).") from None
    start = 4 + 4 * num_axes
    shape = tuple(np.frombuffer(raw[4:start].ljust(start - 4, b"\0"), ">u4").astype(int))
    if raw[:4] != bytes([0, 0, 8, num_axes]) or len(raw) != start + np.prod(shape):
        raise ValueError(f"{path}: got {len(raw)} bytes that do not fit an IDX header of bytes.")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)
