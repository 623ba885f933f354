"""Pictures with a class of TensorFlow Datasets, by the name that they have there.

`tfds:NAME`, `tfds:NAME/CONFIG` or `tfds:NAME:VERSION`. What is not prepared yet the package
downloads, into the folder that it uses (`TFDS_DATA_DIR`). Pictures are decoded and brought to their
size as those of a folder are. The splits are the publisher's; where there is no `validation`, or no
`test`, the last tenth of `train` stands for the one, and what there is for the other.
Limits: other features than one picture and one class are not read, and named in the problems.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np

from zoo.common.columns import Column
from zoo.common.images import pixels, recolour
from zoo.common.picture_files import decode_image
from zoo.data.dataset import DataSet
from zoo.data.feeds.stream import Stream
from zoo.data.own.folder import IN_MEMORY, SIZE
from zoo.datasets import TFDS


def load(
    name: str,
    *,
    size: int | None = None,
    channels: int | None = None,
    stream: bool | Literal["auto"] = "auto",
) -> DataSet:
    """Reads a data set of TensorFlow Datasets.

    Args:
        name: `tfds:NAME`.
        size: Side of the square images in pixels; `None`: their own, or `zoo.data.own.folder.SIZE`
            where they differ or are not square.
        channels: 1 for grey, 3 for colour; `None` for their own.
        stream: Whether they are read anew in every epoch; `auto` does so from 1 GiB of pixels on.

    Returns:
        Images (size, size, 1 or 3) with their class.

    Raises:
        ConnectionError: A download failed.
        ModuleNotFoundError: The package is not installed.
        ValueError: The name is unknown there, or it holds no pictures with a class.
    """
    try:
        import tensorflow_datasets as tfds
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{name}: needs TensorFlow Datasets; pip install 'keras-model-zoo[tfds]'."
        ) from error
    try:
        builder = tfds.builder(name.removeprefix(TFDS))
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        told = str(error).strip().partition("\n")[0]
        raise ValueError(f"{name}: no data set of TensorFlow Datasets ({told}).") from None
    features = builder.info.features
    image, label = (_the_one(name, features, kind) for kind in ("Image", "ClassLabel"))
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what it tells is no answer
            builder.download_and_prepare()
    except Exception as error:
        told = " ".join(str(error).split())
        raise ConnectionError(f"{name}: could not be prepared ({told[:200]}).") from error
    height, width, depth = features[image].shape
    side = size or (height if height == width and height else SIZE)
    depth = channels or (1 if depth == 1 else 3)
    known = builder.info.splits
    columns = {
        "image": Column("image", (side, side, depth)),
        "label": Column("class", (), tuple(features[label].names)),
    }
    parts = _parts(name, set(known))
    num = {split: known[part].num_examples for split, part in parts.items()}
    total = sum(num.values())
    streams = total * side**2 * depth > IN_MEMORY if stream == "auto" else stream

    def rows(part: str) -> Callable[[], Iterator[dict[str, Any]]]:
        def make() -> Iterator[dict[str, Any]]:
            skip = {image: tfds.decode.SkipDecoding()}
            read = builder.as_dataset(split=part, shuffle_files=False, decoders=skip)
            for number, example in enumerate(tfds.as_numpy(read)):
                picture = decode_image(example[image], f"{name}: {part}: example {number}")
                colour = pixels(picture, size=side, channels=3)
                yield {
                    "image": recolour(colour[None], depth)[0],
                    "label": np.int32(example[label]),
                }

        return make

    streamed = {split: Stream(columns, rows(part), num[split]) for split, part in parts.items()}
    made = streamed if streams else {split: one[: len(one)] for split, one in streamed.items()}
    others = sorted(set(features) - {image, label})
    told = ", read anew in every epoch" if streams else ""
    return DataSet(
        name,
        f"{builder.info.full_name} of TensorFlow Datasets {tfds.__version__}: {total:,} pictures "
        f"of {side}x{side} pixels{told}",
        columns,
        made["train"],
        made["validation"],
        made["test"],
        problems=(f"{name}: not read: {', '.join(others)}.",) if others else (),
        digest=f"{builder.info.full_name} {total}",
    )


def _the_one(name: str, features: Any, kind: str) -> str:
    """The name of the only feature of a kind."""
    found = [one for one, feature in features.items() if type(feature).__name__ == kind]
    if len(found) != 1 or (kind == "Image" and features[found[0]].np_dtype != np.uint8):
        told = ", ".join(f"{one} ({type(feature).__name__})" for one, feature in features.items())
        raise ValueError(
            f"{name}: got the features {told}; expected one Image of 8 bits and one ClassLabel. "
            "Others make a `zoo.data.Stream`, see docs/train.md."
        )
    return found[0]


def _parts(name: str, known: set[str]) -> dict[str, str]:
    """What each split is called there."""
    if "train" not in known:
        raise ValueError(f"{name}: got the splits {', '.join(sorted(known))}; expected train.")
    held = next((one for one in ("validation", "val", "dev") if one in known), None)
    if "test" in known and held:
        return {"train": "train", "validation": held, "test": "test"}
    if "test" in known or held:
        test = "test" if "test" in known else str(held)
        return {"train": "train[:90%]", "validation": "train[90%:]", "test": test}
    return {"train": "train[:80%]", "validation": "train[80%:90%]", "test": "train[90%:]"}
