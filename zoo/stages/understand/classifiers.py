"""Opens a classifier to look into it: a bundle, a file, a Keras model, or ImageNet's weights."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np

from compress.graph.graph import inputs_of, replay
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
        labels: Their classes in the data set (n,), see `Opened.classes_of`; `None`: it has none.
        names: Of the data set's classes.
    """

    name: str
    pixels: np.ndarray
    labels: np.ndarray | None
    names: tuple[str, ...] = ()

    def named(self, index: int) -> str:
        """Returns the name of an example's class; empty where it has none."""
        if self.labels is None:
            return ""
        kind = int(self.labels[index])
        return self.names[kind] if kind < len(self.names) else str(kind)


class Opened(NamedTuple):
    """A classifier with what is known of it.

    Attributes:
        name: What it is called.
        seen: To look into.
        known: How a picture becomes what it reads.
        names: Names of its classes; empty where nobody said them.
        bundle: `None` where it is none.
    """

    name: str
    seen: Classifier
    known: Preprocessing
    names: tuple[str, ...] = ()
    bundle: Bundle | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """What its classes are called: their numbers where they have no names."""
        return self.names or tuple(str(index) for index in range(self.seen.num_classes))

    def unit(self) -> Opened:
        """The same as one that reads pixels from 0 to 1.

        A level is then 1 / 255 of what it reads, and the least and the greatest value are 0 and 1,
        in all channels, whatever each of them is scaled by.
        """
        shape, model = self.known.shape, self.seen.model
        factor, offset = self.known.affine
        image = keras.Input(shape, name="pixels")
        scaled = keras.layers.Rescaling(
            np.broadcast_to(255 * factor, shape[-1:]).tolist(),
            np.broadcast_to(offset, shape[-1:]).tolist(),
            name="unit_pixels",
        )(image)
        structure = keras.tree.pack_sequence_as(inputs_of(model), [scaled])
        # Step by step, so that layers keep their paths.
        outputs = replay(model, structure, lambda step, *args, **kwargs: step(*args, **kwargs))
        net = keras.Model(image, outputs, name=model.name)
        ones = (1.0,) * len(self.known.std)
        changes = {"scale": 1 / 255, "mean": (0.0,) * len(ones), "std": ones}
        return self._replace(seen=Classifier(net), known=self.known.model_copy(update=changes))

    def picture(self, path: str | Path) -> np.ndarray:
        """Reads a picture as the model's pixels (side, side, channels), uint8; says what changed.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is no whole picture.
        """
        found: np.ndarray = self.pictures([path])[0]
        return found

    def pictures(self, paths: Sequence[str | Path]) -> np.ndarray:
        """Reads pictures as `picture` does, (n, side, side, channels); says once what changed.

        Raises:
            FileNotFoundError: One is not there.
            ValueError: One is no whole picture.
        """
        read, resized, grey = [], [], []
        for path in paths:
            image = read_image(path)
            pixels = self.known.pixels(image)
            read.append(pixels)
            size, channels = pixels.shape[1], pixels.shape[2]
            if (image.height, image.width) != (size, size):
                resized.append(f"{path}: {image.width} x {image.height}")
            colours = np.asarray(image)
            if channels == 3 and (colours == colours[..., :1]).all():
                grey.append(str(path))
        for told, what in (
            (resized, f"pixels, brought to the {size} x {size} that {self.name} reads"),
            ([f"{path}:" for path in grey], "is grey; red, green and blue are alike"),
        ):
            if told:
                more = f"; {len(told) - 1} more of {len(paths)} too" if len(told) > 1 else ""
                LOG.info("%s %s%s", told[0], what, more)
        return np.stack(read)

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
        if len(part) < count:
            LOG.info("%s: has %d test examples, all of which are taken", name, len(part))
        pixels = np.asarray(part[found.input])
        column = next((key for key, one in found.columns.items() if one.kind == "class"), None)
        if column is None:
            return Examples(name, pixels, None)
        return Examples(name, pixels, np.asarray(part[column]), tuple(found.columns[column].names))

    def classes_of(self, found: Examples) -> np.ndarray:
        """Returns the model's classes of some examples, by the names of the data set's, (n,).

        Raises:
            ValueError: The examples have no classes, or some that the model does not have.
        """
        if found.labels is None:
            raise ValueError(f"{found.name}: has no classes; expected a data set with one each.")
        labels, own = found.labels.astype(np.int64), self.seen.num_classes
        if found.names and self.names and found.names != self.names:
            places = [self._called(name) for name in found.names]
            lacking = [found.names[kind] for kind in np.unique(labels) if len(places[kind]) != 1]
            if lacking:
                more = f" and {len(lacking) - 5} more" if len(lacking) > 5 else ""
                raise ValueError(
                    f"{found.name}: has examples of {', '.join(map(repr, lacking[:5]))}{more}; "
                    f"expected one class of {self.name} each, e.g. "
                    f"{', '.join(map(repr, self.names[:3]))}."
                )
            return np.array([one[0] if one else -1 for one in places])[labels]
        count = len(found.names) or int(labels.max(initial=-1)) + 1
        if count > own or (found.names and count != own):
            raise ValueError(
                f"{found.name}: has {count} classes, {self.name} {own}; expected as many, where "
                "one of both has no names. --labels names those of a .keras file."
            )
        if found.names != self.names:
            LOG.info("%s: its classes are taken to be those of %s", self.name, found.name)
        return labels

    def class_of_folder(self, name: str) -> int | None:
        """Returns the class that a folder is named like; `None`: there is none, or several."""
        called = self._called(name)
        return called[0] if len(called) == 1 else None

    def _called(self, name: str) -> list[int]:
        """The classes of a name; of names like `tabby, tabby cat`, also those it is a part of."""
        own = [label.lower() for label in self.labels]
        whole = [index for index, label in enumerate(own) if label == name.lower()]
        return whole or [i for i, label in enumerate(own) if name.lower() in label.split(", ")]

    def find_class(self, label: str | int | None) -> int | None:
        """Returns the class of a name or a number; `None` of `None`.

        Of ImageNet's names, e.g. `tabby, tabby cat`, one part is enough.

        Raises:
            ValueError: There is no such class.
        """
        if label is None:
            return None
        text, called = str(label), self._called(str(label))
        if len(called) > 1:
            raise ValueError(
                f"class {text!r}: {self.name} has {len(called)} of that name; expected a number: "
                f"{', '.join(map(str, called))}."
            )
        if called:
            return called[0]
        if text.isdecimal() and int(text) < len(self.labels):
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
        names = tuple(labels)
        if names and len(names) != seen.num_classes:
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


def told_apart(names: Sequence[str]) -> list[str]:
    """Returns names of which none is twice: equal ones are counted, `lenet5 (1)`."""
    count: dict[str, int] = {}
    told = []
    for name in names:
        count[name] = count.get(name, 0) + 1
        told.append(f"{name} ({count[name]})" if names.count(name) > 1 else name)
    return told


def same_classes(first: Opened, other: Opened) -> Opened:
    """Returns the second with the classes of the first, which it may have no names of.

    Raises:
        ValueError: It reads pictures of another size, or has other classes.
    """
    if other.known.shape != first.known.shape:
        read = [" x ".join(map(str, one.known.shape)) for one in (first, other)]
        raise ValueError(
            f"{other.name}: reads pictures of {read[1]}, {first.name} of {read[0]}; expected "
            "equal ones, e.g. a bundle and what `zoo compress` made of it."
        )
    alike = first.seen.num_classes == other.seen.num_classes
    if not alike or (first.names and other.names and first.names != other.names):
        told = [f"{len(one.labels)} classes ({', '.join(one.labels[:3])}, ...)"
                for one in (first, other)]  # fmt: skip
        raise ValueError(
            f"{first.name} has {told[0]}, {other.name} {told[1]}; expected the same ones, in the "
            "same order."
        )
    return other._replace(names=first.names or other.names)
