"""A user's examples, in whatever form they are at hand, as one array for each input of a model.

`gather` is the one way in, for calibration and for comparison alike: arrays, lists, mappings by
input name, a `tf.data.Dataset`, a `keras.utils.PyDataset`, a generator, a folder of pictures. It
knows none of these libraries: a data set is what it looks like. No value changes on the way to the
model's type but by the rounding of a float; a cast that would change one is refused.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from zoo.common.reading import one_line
from zoo.common.staging import BUNDLE

LOG = logging.getLogger("zoo")
MOST = 512  # examples that are taken of what may have no end, in its order
NUMBERS = "fiub"  # kinds of NumPy types


class Input(Protocol):
    """An input of a model: a symbolic tensor of Keras, or a manifest's `TensorSpec`."""

    @property
    def name(self) -> str:
        """The name that a mapping has it by."""

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Shape with the batch, e.g. (None, 28, 28, 1)."""

    @property
    def dtype(self) -> str:
        """Type of the values, e.g. `float32`, `string`."""


def gather(
    samples: Any,
    inputs: Sequence[Input],
    *,
    where: str = "samples",
    most: int = MOST,
    also: Mapping[str, str] | None = None,
    pad: int = 0,
) -> dict[str, np.ndarray]:
    """Returns the examples (n, ...) of each input by its name, of the model's types.

    Args:
        samples: Examples as the model takes them: an array (n, ...); a list of examples or of
            batches; one array for each input, in a list in their order or in a mapping by name;
            labels behind the examples, as in (x, y) and (x, y, weight), are passed over. A data
            set, a generator, or a function that returns one, yields examples or batches of the
            same forms. The path of a folder stands for the pictures in it and in its sub-folders,
            by their paths, at the model's size: pixels of 0 to 255, as
            `keras.utils.image_dataset_from_directory` reads them.
        inputs: Inputs of the model.
        where: What an error line opens with.
        most: Number of examples taken of a data set or a generator, the first, or of a folder,
            evenly spread; arrays and lists are taken whole.
        also: Further names of inputs, to the names that they stand for.
        pad: See `Preprocessing.pad`; of the pictures of a folder.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: There is no example, a name or a shape does not fit, or a value is not finite
            or would change in the model's type.
    """
    reader = _Reader(inputs, where, also or {})
    if isinstance(samples, (str, Path)):
        columns = _pictures(Path(samples), inputs, where, most=most, pad=pad)
    elif isinstance(samples, Mapping) or hasattr(samples, "__array__"):
        columns = reader.columns(samples)
    elif isinstance(samples, (list, tuple)) and (whole := reader.whole(samples)) is not None:
        columns = whole
    else:
        limit = None if isinstance(samples, (list, tuple)) else most
        columns = reader.joined(_elements(samples, where), limit)
    found = {}
    for spec in inputs:
        array, of = columns[spec.name], f"{where} of {spec.name!r}"
        shape = tuple(spec.shape[1:])
        if not _fits(array.shape, (None, *shape)):
            raise ValueError(f"{of}: got shape {array.shape}; expected {('n', *shape)}.")
        found[spec.name] = as_type(array, spec.dtype, where=of)
    counts = {name: len(array) for name, array in found.items()}
    if len(set(counts.values())) != 1 or not min(counts.values()):
        raise ValueError(
            f"{where}: got {counts} examples; expected equal numbers, one at least, some hundred"
            " at best."
        )
    return found


def as_type(array: Any, dtype: str, *, where: str) -> np.ndarray:
    """Returns values in a type that holds them as they are, but for the rounding of a float.

    Args:
        array: Values (...).
        dtype: Name of the type, e.g. `uint8`.
        where: What an error line opens with.

    Raises:
        ValueError: A value would change: fractions or numbers out of reach of an integer type,
            whole numbers that a float rounds, floats beyond the largest of a shorter one, numbers
            for booleans, text for numbers. Or one is not finite.
    """
    array = np.asarray(array)
    made: np.ndarray
    if array.dtype.kind == "b" and dtype != "bool":
        array = array.astype(np.uint8)
    if dtype == "string":
        if array.dtype.kind not in "USO":
            raise ValueError(f"{where}: got {array.dtype}; expected strings.")
        made = array.astype(object)
        return made
    if array.dtype.kind == "V":  # bfloat16 and its kin, of ml_dtypes
        array = array.astype(np.float32)
    if array.dtype.kind not in NUMBERS:
        raise ValueError(f"{where}: got {array.dtype}; expected numbers that fit in {dtype}.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{where}: got NaN or infinite values; expected finite ones.")
    kind = np.dtype(dtype if dtype != "bfloat16" else np.float32)
    if not array.size or array.dtype == kind:
        made = array.astype(kind, copy=False)
        return made
    low, high = array.min(), array.max()
    if kind.kind == "f":
        largest = float(np.finfo(kind).max)
        if max(abs(float(low)), abs(float(high))) > largest:
            raise ValueError(
                f"{where}: got {array.dtype} from {low:g} to {high:g}; expected at most"
                f" {largest:.3g}, the largest of {dtype}."
            )
        made = array.astype(kind)
        if array.dtype.kind in "iu" and (lost := array[_changed(made, array)]).size:
            raise ValueError(
                f"{where}: got {array.dtype} with {lost[0]}, which {dtype} cannot hold; expected "
                f"whole numbers within {2 ** (np.finfo(kind).nmant + 1):,}."
            )
        return made
    least, greatest = (0, 1) if kind.kind == "b" else (np.iinfo(kind).min, np.iinfo(kind).max)
    inside = int(np.floor(low)) >= least and int(np.ceil(high)) <= greatest
    fractions = array.dtype.kind == "f" and float(np.mean(array != np.trunc(array)))
    if not inside or fractions:
        told = f", fractions in {fractions:.0%} of them" if fractions else ""
        wanted = "false and true" if kind.kind == "b" else "whole numbers"
        raise ValueError(
            f"{where}: got {array.dtype} from {low:g} to {high:g}{told}; expected {dtype}, {wanted}"
            f" from {least} to {greatest}. Pass the examples as the model takes them."
        )
    made = array.astype(kind)
    return made


def _changed(made: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Where floats are other numbers than the whole ones that they were made of."""
    with np.errstate(invalid="ignore"):  # beyond the largest of their type, which is another one
        changed: np.ndarray = made.astype(whole.dtype) != whole
    return changed


class _Reader:
    """Turns what a user calls an example, or a batch of them, into arrays by input name."""

    def __init__(self, inputs: Sequence[Input], where: str, also: Mapping[str, str]) -> None:
        self._inputs, self._where, self._also = inputs, where, also

    def columns(self, samples: Any) -> dict[str, np.ndarray]:
        """Whole arrays (n, ...): one, or a mapping."""
        values = samples if isinstance(samples, Mapping) else {self._inputs[0].name: samples}
        return {spec.name: _column(self._array(value), spec) for spec, value in self._named(values)}

    def whole(self, samples: Sequence[Any]) -> dict[str, np.ndarray] | None:
        """A list or tuple that is (x, y), or holds the whole array of each input; else `None`."""
        inputs = self._inputs
        if isinstance(samples, tuple) and len(samples) in (1, 2, 3):
            first = samples[0]
            if len(inputs) == 1 or isinstance(first, Mapping):
                return self.columns(first)
            if isinstance(first, (list, tuple)):
                return self.whole(list(first))
        if len(samples) != len(inputs) or not self._is_whole(samples):
            return None
        return self.columns({spec.name: one for spec, one in zip(inputs, samples, strict=True)})

    def _is_whole(self, values: Iterable[Any]) -> bool:
        """Whether each is an array with a batch, in the order of the inputs; no list of numbers."""
        ranks = [np.ndim(one) if hasattr(one, "__array__") else -1 for one in values]
        return ranks == [len(spec.shape) for spec in self._inputs]

    def joined(self, elements: Iterable[Any], most: int | None) -> dict[str, np.ndarray]:
        """Examples or batches, one after the other, as arrays (n, ...)."""
        parts: dict[str, list[np.ndarray]] = {spec.name: [] for spec in self._inputs}
        total = 0
        for element in elements:
            batch = self._batch(element)
            for name, array in batch.items():
                parts[name].append(array)
            total += len(batch[self._inputs[0].name])
            if most is not None and total >= most:
                break
        if not total:
            raise ValueError(f"{self._where}: got no examples; expected some hundred.")
        columns = {}
        for name, arrays in parts.items():
            shapes = sorted({array.shape[1:] for array in arrays})
            if len(shapes) > 1:
                raise ValueError(
                    f"{self._where} of {name!r}: got examples of shapes {shapes[0]} and"
                    f" {shapes[1]}; expected one shape. Bring them to one length first."
                )
            columns[name] = np.concatenate(arrays)[:most]
        return columns

    def _batch(self, element: Any) -> dict[str, np.ndarray]:
        """One element, example or batch, as arrays (n, ...)."""
        inputs = self._inputs
        if isinstance(element, Mapping):
            values = {spec.name: value for spec, value in self._named(element)}
        elif isinstance(element, (list, tuple)) and not self._is_example(element):
            first = element[0] if element else None
            labelled = isinstance(first, (Mapping, list, tuple)) or len(inputs) == 1
            if labelled and element and len(element) <= 3:  # (x, y, weight), as `fit` takes them
                return self._batch(first)
            if len(element) != len(inputs):
                raise ValueError(
                    f"{self._where}: got {len(element)} arrays in an element; expected"
                    f" {len(inputs)}, one for each input, or a mapping by name."
                )
            values = {spec.name: one for spec, one in zip(inputs, element, strict=True)}
        else:
            if len(inputs) > 1:
                names = [spec.name for spec in inputs]
                raise ValueError(
                    f"{self._where}: got elements of one array; expected one for each of {names}."
                )
            values = {inputs[0].name: element}
        return {spec.name: self._examples(values[spec.name], spec) for spec in inputs}

    def _is_example(self, element: Sequence[Any]) -> bool:
        """Whether nested lists of plain numbers are an example of the only input."""
        if len(self._inputs) > 1 or any(hasattr(one, "shape") for one in element):
            return False
        if not any(isinstance(one, (Mapping, list, tuple)) for one in element):
            return True
        try:
            shape = np.shape(element)
        except ValueError:  # ragged: of several inputs
            return False
        (spec,) = self._inputs
        return _fits(shape, spec.shape[1:]) or _fits(shape, (None, *spec.shape[1:]))

    def _examples(self, value: Any, spec: Input) -> np.ndarray:
        """A batch as it is; one example as a batch of one."""
        array, inner = self._array(value), tuple(spec.shape[1:])
        if array.ndim == 0 and inner == (1,):
            return array.reshape(1, 1)
        if _fits(array.shape, inner):
            return array[None]
        column = _column(array, spec)
        if _fits(column.shape, (None, *inner)):
            return column
        raise ValueError(
            f"{self._where} of {spec.name!r}: got an element of shape {array.shape}; expected"
            f" an example {inner} or a batch {('n', *inner)}."
        )

    def _named(self, values: Mapping[str, Any]) -> list[tuple[Input, Any]]:
        """Each input with its value."""
        given = {self._also.get(str(name), str(name)): value for name, value in values.items()}
        names = [spec.name for spec in self._inputs]
        if sorted(given) != sorted(names) or len(given) != len(values):
            got = sorted(map(str, values))
            raise ValueError(f"{self._where}: got inputs {got}; expected {names}.")
        return [(spec, given[spec.name]) for spec in self._inputs]

    def _array(self, value: Any) -> np.ndarray:
        try:
            return np.asarray(value)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{self._where}: got {type(value).__name__}, which is no array"
                f" ({one_line(error)}); expected arrays, or lists of equal lengths."
            ) from None


def _column(array: np.ndarray, spec: Input) -> np.ndarray:
    """Numbers (n,) of an input (n, 1) as a column, as Keras takes them."""
    return array[:, None] if array.ndim == 1 and tuple(spec.shape[1:]) == (1,) else array


def _fits(shape: Sequence[int], wanted: Sequence[int | None]) -> bool:
    return len(shape) == len(wanted) and all(
        size in (None, got) for got, size in zip(shape, wanted, strict=True)
    )


def _elements(samples: Any, where: str) -> Iterator[Any]:
    """The elements of a list, a data set or a generator, in order."""
    if hasattr(samples, "as_numpy_iterator"):  # a tf.data.Dataset
        return iter(samples.as_numpy_iterator())
    if callable(samples) and not hasattr(samples, "__iter__") and not _is_indexed(samples):
        return _elements(samples(), where)  # what TFLite calls a representative data set
    if _is_indexed(samples):  # a keras.utils.PyDataset
        length = len(samples) if hasattr(samples, "__len__") else samples.num_batches
        places = itertools.count() if length is None else range(length)
        return (samples[place] for place in places)
    if isinstance(samples, Iterable):
        return iter(samples)
    raise ValueError(
        f"{where}: got {type(samples).__name__}; expected an array (n, ...), a mapping from input"
        " name to array, a list, a data set, a generator or a folder of pictures."
    )


def _is_indexed(samples: Any) -> bool:
    return hasattr(samples, "__getitem__") and not isinstance(samples, (list, tuple))


def spread(total: int, number: int) -> list[int]:
    """Returns at most `number` places of `total`, evenly apart: those in front may be of a kind."""
    number = min(number, total)
    return [place * total // number for place in range(number)]


def _pictures(
    root: Path, inputs: Sequence[Input], where: str, *, most: int, pad: int
) -> dict[str, np.ndarray]:
    """The pictures of a folder as pixels of 0 to 255 (n, height, width, channels)."""
    from PIL import Image, ImageOps

    from zoo.common.picture_files import SUFFIXES, read_image

    if not root.is_dir():
        raise FileNotFoundError(f"{where}: {root}: no such folder of pictures.")
    if (root / BUNDLE).is_file():
        raise ValueError(
            f"{where}: {root}: is a bundle, and its pictures are charts; expected a folder of "
            "pictures, or arrays."
        )
    spec = inputs[0]
    sides = [size for size in spec.shape[1:] if size is not None]
    if len(inputs) != 1 or len(sides) != 3 or len(spec.shape) != 4 or sides[2] not in (1, 3):
        told = {one.name: tuple(one.shape) for one in inputs}
        raise ValueError(
            f"{where}: got the folder {root}; expected arrays, as the inputs {told} are not one"
            " picture (n, height, width, 1 or 3) of a known size."
        )
    files = sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES)
    files = [files[place] for place in spread(len(files), most)]  # one class is one sub-folder
    if not files:
        raise ValueError(f"{where}: {root}: got no pictures; expected {', '.join(SUFFIXES)}.")
    height, width, channels = sides
    images = []
    for file in files:
        image = read_image(file)
        spare = width - image.width, height - image.height
        if pad and all(0 <= side <= pad for side in spare):
            image = ImageOps.expand(image, (spare[0] // 2, spare[1] // 2))
            image = image.crop((0, 0, width, height))  # what is missing is zeros
        else:
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(image if channels == 3 else image.convert("L"))
        images.append(pixels.reshape(height, width, channels))
    if "float" in spec.dtype:
        LOG.warning(
            "%s: the pictures of %s are taken as pixels of 0 to 255; pass arrays if the model"
            " takes other numbers", where, root,
        )  # fmt: skip
    return {spec.name: np.stack(images)}
