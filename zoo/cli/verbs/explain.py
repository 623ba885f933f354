"""Say where a classifier looks, what its units answer to and what fools it, and draw it.

MODEL is a bundle, the name of one that comes with the zoo, a .keras or .h5 file, or e.g.
mobilenet_v2-imagenet of weights that `zoo weights get` fetched.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zoo.cli import numbers, own_model, text
from zoo.explain.methods import (
    ALL,
    ATTACKS,
    EPSILON,
    EXAMPLES,
    LAYERS,
    MAPS,
    METHODS,
    OPTIONS,
    check_said,
)  # fmt: skip


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
    for name, value, told in (
        ("label", {"metavar": "NAME"}, "the class that is asked about, by name or number (default: "
         "the predicted one)"),
        ("layer", {"metavar": "NAME"}, "a layer (default: the last convolution)"),
        ("unit", {"type": numbers.whole(0), "metavar": "N"}, "a unit of it (default: a few)"),
        ("examples", {"type": numbers.whole(4), "metavar": "N"}, "examples of the test split, at "
         f"most (default: {EXAMPLES})"),
        ("epsilon", {"type": numbers.from_zero, "metavar": "LEVELS"}, "most that a pixel changes, "
         f"of 255 levels (default: {EPSILON:g})"),
        ("beside", {"metavar": "MODEL", "action": "append"}, "another model, e.g. the compressed "
         "one; may be repeated"),
        ("seed", {"type": numbers.whole(0), "metavar": "N"}, "a seed (default: 0)"),
    ):  # fmt: skip
        of = [one for one, method in METHODS.items() if name in method.takes]
        told = told if len(of) > 8 or name == "label" else f"of {', '.join(of)}: {told}"
        parser.add_argument(OPTIONS[name], dest=name, help=told, **value)
    parser.add_argument(
        "--out", type=Path, metavar="F.png", help="(default: PICTURE-METHOD.png or"
        " MODEL-METHOD.png, here)",
    )  # fmt: skip
    parser.add_argument(
        "--arrays",
        type=Path,
        metavar="F.npz",
        help="write what was seen as arrays too; attacked pictures are from 0 to 1 in them",
    )
    parser.add_argument("--force", action="store_true", help="replace files that are there")
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
    said = {name: value for name in OPTIONS if (value := getattr(arguments, name)) is not None}
    check_said(method, said)
    out = arguments.out or Path(f"{(picture or Path(arguments.model)).stem}-{method}.png")
    model = own_model.found_classifier(arguments.model)
    said["beside"] = [own_model.found_classifier(one) for one in said.get("beside", ())]
    brought = {
        name: value for name, value in own_model.brought(arguments).items() if name != "data"
    }
    do = _maps if method == ALL or method in MAPS else _layers
    rows = do(model, method, said, out, arguments, brought)
    if arguments.json:
        print(text.document(rows))
    else:
        header = [key for key, value in rows[0].items() if value != ""]
        print(text.table(header, [[row[key] for key in header] for row in rows]))
        print(out if arguments.arrays is None else f"{out}, {arguments.arrays}")


def _maps(
    model: Any, method: str, said: dict[str, Any], out: Path, arguments: argparse.Namespace,
    brought: dict[str, Any],
) -> list[dict[str, Any]]:  # fmt: skip
    from zoo.stages.understand.explain import explain_picture

    seen = explain_picture(
        model,
        said["picture"],
        method=method,
        label=said.get("label"),
        layer=said.get("layer"),
        out=out,
        arrays=arguments.arrays,
        force=arguments.force,
        **brought,
    )
    return [{
        "image": str(said["picture"]), "class": seen.label, "probability": seen.probability,
        "layer": seen.layer, "methods": " ".join(seen.maps),
    }]  # fmt: skip


def _layers(
    model: Any, method: str, said: dict[str, Any], out: Path, arguments: argparse.Namespace,
    brought: dict[str, Any],
) -> list[dict[str, Any]]:  # fmt: skip
    from zoo.stages.own import is_own
    from zoo.stages.understand.asked import Asked
    from zoo.stages.understand.classifiers import open_classifier
    from zoo.stages.understand.look import look

    own = {name: value for name, value in brought.items() if name == "values"}
    beside = [open_classifier(one, **(own if is_own(one) else {})) for one in said["beside"]]
    asked, opened = Asked(method, **{**said, "beside": beside}), open_classifier(model, **brought)
    return look(opened, asked, out=out, arrays=arguments.arrays, force=arguments.force).rows
