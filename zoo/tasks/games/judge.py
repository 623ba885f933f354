"""A small classifier of a data set's own, whose features say how alike two sets of pictures are.

Inception's features (Heusel et al. 2017, arXiv:1706.08500) are of photographs, and a download. The
judge learns the classes of the training split instead, in seconds and from fixed seeds. It is kept
in `$ZOO_HOME/judges`, under the digest of what it learnt from. Distances by its features are to be
compared with one another, and with that of two sets of real pictures; not with anybody else's.
"""

from __future__ import annotations

import hashlib
import logging

import keras
import numpy as np
from keras import layers

from zoo.common.home import home
from zoo.common.staging import staged_file
from zoo.data.dataset import DataSet

VERSION = 1  # of how a judge is made
FEATURES = 64
EPOCHS, BATCH = 8, 64
SIDE = 8  # of the maps that the features see, at most, in pixels
LOG = logging.getLogger("zoo")


class Judge:
    """Sees features and classes.

    Args:
        model: Pixels, 0 to 255, to `features` (n, FEATURES) and `logits` (n, classes).
        digest: Of what it learnt from, 32 hexadecimal digits; two judges of one digest are alike.
    """

    def __init__(self, model: keras.Model, digest: str = ""):
        self._model, self.digest = model, digest

    def see(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the features (n, FEATURES) and the guessed classes (n,).

        Args:
            pixels: (n, height, width, channels), uint8.
        """
        inputs = np.asarray(pixels).astype(np.float32)
        found = self._model.predict(inputs, batch_size=250, verbose=0)
        return found["features"], found["logits"].argmax(axis=1)


def judge_of(data: DataSet) -> Judge:
    """Returns the judge of a data set, from the cache or made now.

    Args:
        data: Has images and a column `label`.
    """
    train = data.train[: len(data.train)]
    images, labels = np.asarray(train[data.input]), np.asarray(train["label"])
    found = hashlib.sha256(f"judge {VERSION} {keras.version()}".encode())
    found.update(np.ascontiguousarray(images).tobytes())
    found.update(np.ascontiguousarray(labels).tobytes())
    digest = found.hexdigest()[:32]
    path = home() / "judges" / f"{digest}.keras"
    if not path.is_file():
        LOG.info("a classifier of %s learns, to judge pictures by: %s", data.name, path)
        model = _taught(images, labels, num_classes=len(data.columns["label"].names))
        try:
            with staged_file(path) as partial:
                model.save(partial)
        except BlockingIOError:  # another run makes the same at this moment
            return Judge(model, digest)
    return Judge(keras.saving.load_model(path, compile=False), digest)


def _taught(images: np.ndarray, labels: np.ndarray, *, num_classes: int) -> keras.Model:
    """Trains; every number that is drawn has a seed of its own."""
    model = _built(images.shape[1:], num_classes)
    learner = keras.Model(model.input, model.output["logits"])
    learner.compile(
        "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False
    )
    random = np.random.RandomState(0)
    for _ in range(EPOCHS):
        order = random.permutation(len(images))
        inputs = images[order].astype(np.float32)
        learner.fit(inputs, labels[order], batch_size=BATCH, shuffle=False, verbose=0)
    return model


def _built(shape: tuple[int, ...], num_classes: int) -> keras.Model:
    def kernel(number: int) -> keras.initializers.Initializer:
        return keras.initializers.GlorotUniform(seed=number)

    options = {"padding": "same", "activation": "relu", "dtype": "float32"}
    pixels = keras.Input(shape, name="pixels")
    x, filters, number = layers.Rescaling(1 / 255)(pixels), 16, 0
    while number < 2 or max(x.shape[1:3]) > SIDE:
        x = layers.Conv2D(filters, 3, 2, kernel_initializer=kernel(number), **options)(x)
        filters, number = min(2 * filters, 64), number + 1
    x = layers.Flatten()(x)
    x = layers.Dense(FEATURES, "relu", kernel_initializer=kernel(100), name="features")(x)
    dropped = layers.Dropout(0.3, seed=0)(x)
    logits = layers.Dense(num_classes, kernel_initializer=kernel(101), name="logits")(dropped)
    return keras.Model(pixels, {"features": x, "logits": logits}, name="judge")
