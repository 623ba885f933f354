"""Opens a classifier to look into it: a bundle, a file, a Keras model, or ImageNet's weights."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np

from zoo.bundle import Bundle, find_bundle
from zoo.common.picture_files import read_image
from zoo.common.settings import nearest
from zoo.data.loading import load
from zoo.data.preprocessing import Preprocessing
from zoo.explain import Classifier
from zoo.models.build import create
from zoo.models.saved import load_model
from zoo.stages import own
from zoo.stages.opening import kept
from zoo.stages.ranges import taken
from zoo.weights import fetch, find_named

LOG = logging.getLogger("zoo")
TASKS = ("classify", "binary", "localise")
Model: TypeAlias = Bundle | keras.Model | str | Path


class Examples(NamedTuple):
    """Some examples of a data set.

    Attributes:
        name: Name of the data set.
        pixels: (n, side, side, channels), uint8.
        labels: Their classes (n,); `None` where it has none.
    """

    name: str
    pixels: np.ndarray
    labels: np.ndarray | None


class Opened(NamedTuple):
    """A classifier with what is known of it.

    Attributes:
        name: What it is called.
        seen: To look into.
        known: How a picture becomes what it reads.
        labels: Names of its classes.
        bundle: `None` where it is none.
    """

    name: str
    seen: Classifier
    known: Preprocessing
    labels: tuple[str, ...]
    bundle: Bundle | None = None

    def picture(self, path: str | Path) -> np.ndarray:
        """Reads a picture as the model's pixels (side, side, channels), uint8; says what changed.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is no whole picture.
        """
        image, pixels = read_image(path), self.known.image(path)
        size, channels = pixels.shape[1], pixels.shape[2]
        if (image.height, image.width) != (size, size):
            LOG.info(
                "%s: %d x %d pixels, brought to the %d x %d that %s reads",
                path, image.width, image.height, size, size, self.name,
            )  # fmt: skip
        grey = np.asarray(image)
        if channels == 3 and (grey == grey[..., :1]).all():
            LOG.info("%s: is grey; red, green and blue are alike", path)
        return pixels

    def examples(self, data: str | None, count: int) -> Examples:
        """Returns the first examples of a test split, as pixels, and their classes.

        Args:
            data: A data set by name, or `folder:PATH`; `None`: the bundle's own, or the examples
                that it keeps where that is not at hand.
            count: How many, at most.

        Raises:
            FileNotFoundError, ModuleNotFoundError: The data set is not at hand.
            ValueError: None is named for a model that is no bundle, or it has no pictures.
        """
        if data is None and self.bundle is None:
            raise ValueError(
                f"{self.name}: got no data set; expected --data NAME or --data folder:PATH."
            )
        name = data or self.bundle.card.data  # type: ignore[union-attr]
        try:
            found = load(name, size=self.known.size, channels=self.known.channels)
        except (OSError, ImportError, ValueError) as error:
            stored = None if data or self.bundle is None else kept(self.bundle)
            if stored is None:
                raise
            LOG.warning("%s is not at hand (%s); the bundle's own examples are", name, error)
            found = stored
        if found.columns[found.input].kind != "image":
            raise ValueError(f"{name}: has no pictures; expected a data set of pictures.")
        part = found.test[:count]
        pixels = np.asarray(part[found.input])
        column = next((key for key, one in found.columns.items() if one.kind == "class"), None)
        return Examples(name, pixels, None if column is None else np.asarray(part[column]))

    def find_class(self, label: str | int | None) -> int | None:
        """Returns the class of a name or a number; `None` of `None`.

        Of ImageNet's names, e.g. `tabby, tabby cat`, one part is enough.

        Raises:
            ValueError: There is no such class.
        """
        if label is None:
            return None
        text, lower = str(label), [one.lower() for one in self.labels]
        for index, one in enumerate(lower):
            if text.lower() in (one, *one.split(", ")):
                return index
        if text.isdecimal() and int(text) < len(lower):
            return int(text)
        few = self.labels if len(self.labels) <= 20 else self.labels[:5]
        hint = nearest(text, self.labels)
        hint = hint if "Did you" in hint else f"Some: {', '.join(few)}."
        raise ValueError(
            f"class {text!r}: {self.name} has none; expected one of its {len(self.labels)}, by "
            f"name or number. {hint}"
        )


def open_classifier(
    model: Model, *, labels: Sequence[str] = (), values: str | None = None
) -> Opened:
    """Opens a classifier of pictures.

    Args:
        model: A bundle, its directory, or the name of one that comes with the zoo; a `.keras` or
            `.h5` file, or a Keras model; `MODEL-imagenet` of weights that were fetched.
        labels: Names of the classes of a model that is no bundle.
        values: What pixels become for a model that is no bundle, see `zoo.stages.ranges`.

    Raises:
        FileNotFoundError: There is none.
        TypeError: It has no graph.
        ValueError: It is no classifier of pictures, or the labels are not as many as its classes.
    """
    if own.is_own(model):
        net, name, _, _ = own.opened(model)
        seen = Classifier(net)
        known = taken(net, values)
        names = tuple(labels) or tuple(str(index) for index in range(seen.num_classes))
        if len(names) != seen.num_classes:
            raise ValueError(
                f"--labels: got {len(names)} names; expected {seen.num_classes}, one for each "
                "class."
            )
        return Opened(name, seen, known, names)
    if labels or values is not None:
        raise ValueError(
            f"{model}: got labels or values for what says them itself; expected a .keras file."
        )
    row = find_named(str(model))
    if row is not None and not Path(str(model)).exists():
        made: Any = create(row.model, weights=row.name)
        known = Preprocessing(**row.preprocessing(made.input_shape[1]))
        return Opened(str(model), Classifier(made), known, fetch.labels())
    bundle = find_bundle(model)
    card = bundle.card
    if card.task not in TASKS or len(card.input_shape) != 3:
        raise ValueError(
            f"{bundle.path}: is of the task {card.task}, and reads {card.input_shape}; expected a "
            f"classifier of pictures ({', '.join(TASKS)})."
        )
    known = Preprocessing.parse(card.preprocessing, where=f"{bundle.path}/card.json")
    seen = Classifier(load_model(bundle.path))
    return Opened(bundle.path.name, seen, known, tuple(card.labels), bundle)
