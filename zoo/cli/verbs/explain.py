"""Say where a classifier looks, what its units answer to and what fools it, and draw it.

MODEL is a bundle, the name of one that comes with the zoo, a .keras or .h5 file, or e.g.
mobilenet_v2-imagenet of weights that `zoo weights get` fetched.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zoo import weights
from zoo.cli import numbers, own_model, text
from zoo.common.settings import nearest
from zoo.explain.methods import ALL, ATTACKS, LAYERS, MAPS, METHODS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo explain`."""
    parser.add_argument("model", help="what is looked into", metavar="MODEL")
    parser.add_argument(
        "picture", type=Path, nargs="?", help="a picture file, where one is read", metavar="PICTURE"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--method", default="grad_cam", metavar="NAME",
        help=f"of a picture: {', '.join([*MAPS, *ATTACKS])}, activations; of a layer or a data set:"
        f" {', '.join(name for name in LAYERS if name != 'activations')} (default: grad_cam)",
    )  # fmt: skip
    what.add_argument(
        "--all", action="store_const", const=ALL, dest="method",
        help=f"{', '.join(MAPS)}, in one sheet",
    )  # fmt: skip
    parser.add_argument(
        "--class", metavar="NAME", dest="label",
        help="the class that is asked about, by name or number (default: the predicted one)",
    )  # fmt: skip
    parser.add_argument("--layer", metavar="NAME", help="a layer (default: the last convolution)")
    parser.add_argument(
        "--unit", type=numbers.whole(0), metavar="N", help="a unit of it (default: a few)"
    )
    parser.add_argument(
        "--examples", type=numbers.whole(4), default=500, metavar="N",
        help="examples of the test split, at most (default: 500)",
    )  # fmt: skip
    parser.add_argument(
        "--epsilon", type=numbers.from_zero, default=8.0, metavar="LEVELS",
        help="of fgsm, iterative, pgd, transfer, universal: most that a pixel changes, of 255"
        " levels (default: 8)",
    )  # fmt: skip
    parser.add_argument(
        "--beside", metavar="MODEL", action="append", default=[],
        help="of robustness and transfer: another model, e.g. the compressed one; may be repeated",
    )  # fmt: skip
    parser.add_argument("--seed", type=numbers.whole(0), default=0, metavar="N", help="a seed")
    parser.add_argument(
        "--out", type=Path, metavar="F.png", help="(default: PICTURE-METHOD.png or"
        " MODEL-METHOD.png, here)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace the file of --out")
    parser.add_argument(
        "--data", metavar="NAME", help="a data set, or folder:PATH (default: the bundle's own)"
    )
    own_model.add_arguments(parser, data=False)
    parser.add_argument(
        "--labels", metavar="A,B,...", type=lambda names: names.split(","),
        help="of a .keras file: names of its classes, in their order",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Draws, and prints what was seen."""
    method, picture = arguments.method, arguments.picture
    if method not in (*METHODS, ALL):
        raise ValueError(f"--method: got {method!r}. {nearest(method, (*METHODS, ALL))}")
    if picture is None and (method == ALL or METHODS[method].reads == "picture"):
        raise ValueError(f"{method}: got no picture; expected a picture file behind the model.")
    if picture is not None and method != ALL and METHODS[method].reads == "model":
        raise ValueError(f"{method}: got {picture}; expected no picture, of which it is not.")
    out = arguments.out or Path(f"{(picture or Path(arguments.model)).stem}-{method}.png")
    model = found(arguments.model)
    beside = [found(one) for one in arguments.beside]
    brought = {
        name: value for name, value in own_model.brought(arguments).items() if name != "data"
    }
    rows = _maps if method == ALL or method in MAPS else _layers
    rows = rows(arguments, model, beside, out, brought)
    if arguments.json:
        print(text.document(rows))
    else:
        header = [key for key, value in rows[0].items() if value != ""]
        print(text.table(header, [[row[key] for key in header] for row in rows]))
        print(out)


def _maps(
    arguments: argparse.Namespace, model: Any, beside: Any, out: Path, brought: dict[str, Any]
) -> Any:
    from zoo.stages.explain import explain_picture

    seen = explain_picture(
        model,
        arguments.picture,
        method=arguments.method,
        label=arguments.label,
        layer=arguments.layer,
        out=out,
        force=arguments.force,
        **brought,
    )
    return [{
        "image": str(arguments.picture), "class": seen.label, "probability": seen.probability,
        "layer": seen.layer, "methods": " ".join(seen.maps),
    }]  # fmt: skip


def _layers(
    arguments: argparse.Namespace, model: Any, beside: Any, out: Path, brought: dict[str, Any]
) -> Any:
    from zoo.stages.asked import Asked
    from zoo.stages.classifiers import open_classifier
    from zoo.stages.look import look

    names = ("method", "picture", "label", "layer", "unit", "data", "examples", "epsilon", "seed")
    asked = Asked(
        **{name: getattr(arguments, name) for name in names},
        beside=[open_classifier(one) for one in beside],
    )
    opened = open_classifier(model, **brought)
    return look(opened, asked, out=out, force=arguments.force).rows


def found(model: str) -> Any:
    """Returns what `open_classifier` takes; a wrong path is told before TensorFlow is imported."""
    if weights.find_named(model) is not None and not Path(model).exists():
        return model
    return own_model.found(Path(model))
