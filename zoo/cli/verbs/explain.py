"""Say where a classifier looks, and draw it.

MODEL is a bundle, the name of one that comes with the zoo, a .keras or .h5 file, or e.g.
mobilenet_v2-imagenet of weights that `zoo weights get` fetched.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zoo import weights
from zoo.cli import own_model, text

DEFAULT = "grad_cam"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo explain`."""
    parser.add_argument("model", help="what is looked into", metavar="MODEL")
    parser.add_argument("picture", type=Path, help="a picture file", metavar="PICTURE")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--method", default=DEFAULT, metavar="NAME",
        help="saliency, guided_backprop, deconvnet, grad_cam (the default), integrated_gradients,"
        " smooth_grad or occlusion",
    )  # fmt: skip
    what.add_argument(
        "--all", action="store_const", const="all", dest="method", help="all of them, in one sheet"
    )
    parser.add_argument(
        "--class", metavar="NAME", dest="label",
        help="the class that is asked about, by name or number (default: the predicted one)",
    )  # fmt: skip
    parser.add_argument(
        "--layer", metavar="NAME", help="layer of grad_cam (default: the last convolution)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="F.png", help="(default: PICTURE-METHOD.png, here)"
    )
    parser.add_argument("--force", action="store_true", help="replace the file of --out")
    own_model.add_arguments(parser, data=False)
    parser.add_argument(
        "--labels", metavar="A,B,...", type=lambda names: names.split(","),
        help="of a .keras file: names of its classes, in their order",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Draws, and prints what was asked about."""
    out = arguments.out or Path(f"{arguments.picture.stem}-{arguments.method}.png")
    model = found(arguments.model)
    from zoo.stages.explain import explain_picture

    seen = explain_picture(
        model,
        arguments.picture,
        method=arguments.method,
        label=arguments.label,
        layer=arguments.layer,
        out=out,
        force=arguments.force,
        **own_model.brought(arguments),
    )
    row = {
        "image": str(arguments.picture), "class": seen.label, "probability": seen.probability,
        "layer": seen.layer, "methods": " ".join(seen.maps), "file": str(out),
    }  # fmt: skip
    if arguments.json:
        print(text.document(row))
    else:
        header = [key for key, value in row.items() if value != ""]
        print(text.table(header, [[row[key] for key in header]]))


def found(model: str) -> Any:
    """Returns what `open_classifier` takes; a wrong path is told before TensorFlow is imported."""
    if weights.find_named(model) is not None and not Path(model).exists():
        return model
    return own_model.found(Path(model))
