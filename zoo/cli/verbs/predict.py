"""Name what is on an image: the most probable classes and their probabilities."""

from __future__ import annotations

import argparse
from pathlib import Path

from zoo.cli import text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo predict`."""
    parser.add_argument("bundle", type=Path, help="a directory that `zoo train` wrote")
    parser.add_argument("images", type=Path, nargs="+", help="image files")
    parser.add_argument("--top", type=int, default=3, metavar="N", help="classes to print")


def run(arguments: argparse.Namespace) -> None:
    """Prints the best classes of each image."""
    import numpy as np

    from zoo.bundle import Bundle
    from zoo.data.preprocessing import Preprocessing

    bundle = Bundle(arguments.bundle)
    preprocessing = Preprocessing.model_validate(bundle.card.preprocessing)
    images = np.stack([preprocessing.image(path) for path in arguments.images])  # (n, h, w, c)
    import keras

    from zoo.models.saved import load

    logits = load(bundle.path).predict_on_batch(preprocessing.apply(images))  # (n, classes)
    shares = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    rows = [
        (str(path), bundle.card.labels[best], float(share[best]))
        for path, share in zip(arguments.images, shares, strict=True)
        for best in share.argsort()[::-1][: arguments.top]
    ]
    header = ("image", "label", "probability")
    if arguments.json:
        print(text.document([dict(zip(header, row, strict=True)) for row in rows]))
    else:
        print(text.table(header, rows))
