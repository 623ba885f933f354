"""What is exported: a bundle with its data and labels, or anybody's `.keras` file."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import keras
import numpy as np

from export.manifest import Preprocessing
from export.target import About, Labelled
from zoo.bundle import Bundle
from zoo.cli.reopen import load, reopen
from zoo.data.images import PAD
from zoo.models.pixels import take_pixels


class Given:
    """A model by itself: nothing is known of its inputs but their shapes.

    Attributes:
        model: As loaded.
    """

    def __init__(self, model: keras.Model, path: Path):
        self.model, self._path = model, path

    def samples(self, count: int) -> Any:
        """Returns `count` examples as the model takes them; `None` where there are none."""
        return None

    def labelled(self, count: int) -> Labelled | None:
        """Returns at most `count` labelled examples of the test split."""
        return None

    def about(self, name: str) -> About:
        """Returns what is known of the model."""
        return About(name=name, source_sha256=hashlib.sha256(self._path.read_bytes()).hexdigest())


class GivenBundle(Given):
    """A bundle.

    Args:
        bundle: The bundle.
        pixels: Whether the preprocessing becomes a part of the model.
    """

    def __init__(self, bundle: Bundle, *, pixels: bool):
        self._bundle, self._run, self._pixels = bundle, reopen(bundle), pixels
        model = load(bundle.path)
        super().__init__(
            take_pixels(model, self._run.preprocessing) if pixels else model, bundle.path
        )

    def samples(self, count: int) -> Any:
        """See `Given.samples`; the first of the training split."""
        images = self._run.data.train.images[:count]
        return images if self._pixels else self._run.preprocessing.apply(images)

    def labelled(self, count: int) -> Labelled | None:
        """See `Given.labelled`; the first of the test split, which is in no order."""
        split = self._run.data.test
        images, labels = split.images[:count], split.labels[:count]
        inputs = images if self._pixels else self._run.preprocessing.apply(images)

        def measure(outputs: Any) -> dict[str, float]:
            (values,) = outputs.values()
            return self._run.task.score(labels, np.asarray(values)).metrics

        return Labelled(inputs, measure)

    def about(self, name: str) -> About:
        """See `Given.about`."""
        card = self._bundle.card
        known = Preprocessing(**card.preprocessing, pad=PAD)
        if self._pixels:
            known = Preprocessing(size=known.size, channels=known.channels, pad=PAD)
        return About(
            name=name,
            labels=card.labels,
            preprocessing=known,
            licence=card.licence,
            origin=f"{card.architecture} ({card.paper}), trained on {card.data}.",
            source_sha256=self._bundle.sha256,
        )


def open_model(path: Path, *, pixels: bool, unsafe: bool) -> Given:
    """Opens a bundle or a `.keras` file.

    Args:
        path: Of either.
        pixels: Whether the preprocessing becomes a part of the model.
        unsafe: Whether Lambda layers may be loaded.

    Raises:
        FileNotFoundError: There is neither.
        ValueError: The file is not a whole Keras model, or nothing is known to preprocess with.
    """
    if path.suffix != ".keras":
        return GivenBundle(Bundle(path), pixels=pixels)
    if pixels:
        raise ValueError(
            f"{path}: got --pixels; a .keras file does not say how pixels become inputs. Export the"
            " bundle it came from, or build the preprocessing into the model."
        )
    return Given(load(path, unsafe=unsafe), path)
