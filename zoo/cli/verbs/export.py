"""Export a model for other runtimes; each file is run and compared with the model.

One directory for each target: the model file, its manifest and its card. A file that does not
behave like the model is kept aside, the layers where the difference begins are named, and the
command fails.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.cli import text
from zoo.cli.samples import read
from zoo.common import plain_yaml


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo export`."""
    from export.targets import target_names

    parser.add_argument(
        "model", type=Path, help="a directory that `zoo train` wrote, or a .keras or .h5 file"
    )
    parser.add_argument(
        "targets", nargs="+", metavar="TARGET", help=f"one or more of {', '.join(target_names())}"
    )
    parser.add_argument(
        "--network", metavar="NAME",
        help="one of the bundle's networks, e.g. encoder, decoder, in place of what is deployed",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("exported"), metavar="DIR",
        help="holds one directory for each target (default: exported)",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="options",
        help="an option of the targets, e.g. io=int8, opset=13, layout=nchw; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--samples", type=Path, metavar="FILE",
        help="examples (n, ...) as the model takes them, .npy, or .npz by input name; or a folder"
        " of pictures; without it a bundle's own training images",
    )  # fmt: skip
    parser.add_argument(
        "--pixels", action="store_true",
        help="put the preprocessing into the file, which then takes pixels of 0 to 255 (uint8)",
    )  # fmt: skip
    parser.add_argument(
        "--unsafe", action="store_true", help="load Lambda layers, which run the file's own code"
    )
    parser.add_argument("--force", action="store_true", help="replace what is there")


def run(arguments: argparse.Namespace) -> None:
    """Exports to every target and prints what was measured."""
    samples = read(arguments.samples) if arguments.samples else None
    options = dict(map(_option, arguments.options))

    from export.manifest import FILE
    from export.targets import find_target
    from zoo import bundle as bundles
    from zoo.common import staging

    # Before TensorFlow: a wrong name or a taken place is told at once.
    path = arguments.model
    own = bundles.is_model_file(path)
    if own and not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a bundle or a .keras file.")
    found = path if own else bundles.find_bundle(path).path
    bundles.check_network(found, arguments.network)
    name = bundles.name_of(found, arguments.network)
    for target in (find_target(name, options) for name in arguments.targets):
        place = arguments.out / f"{name}-{target.kind}"
        staging.check_free(place, force=arguments.force, mark=FILE)
        target.check_packages()

    from zoo.stages.export import PartlyExportedError, export

    failed = None
    try:
        done = export(
            arguments.model,
            *arguments.targets,
            network=arguments.network,
            out=arguments.out,
            options=options,
            samples=samples,
            pixels=arguments.pixels,
            unsafe=arguments.unsafe,
            force=arguments.force,
        )
    except PartlyExportedError as error:
        done, failed = error.done, error
    _show(arguments, done)
    if failed:
        raise failed


def _show(arguments: argparse.Namespace, done: Sequence[Any]) -> None:
    """Prints what was written."""
    from export.card import sentence

    if arguments.json:
        rows = [{"path": str(one.path), **one.manifest.model_dump(mode="json")} for one in done]
        print(text.document(rows))
        return
    if not done:
        return
    header = ("target", "file", "size", "gzipped", "proof", "largest difference", "same top-1")
    print(text.table((*header, "top-1", "path"), [_line(one) for one in done]))
    for one in done:
        lines = [sentence(one.manifest.distance)] if one.manifest.distance else []
        for line in (*lines, *one.manifest.notes()):
            print(f"{one.manifest.target}: {line}")


def _line(one: Any) -> tuple[str, ...]:
    manifest, parity, score = one.manifest, one.manifest.parity, one.manifest.score
    closeness = ("", "")
    if parity:
        same = "" if parity.top1_agreement is None else f"{parity.top1_agreement:.4f}"
        closeness = f"{parity.relative:.1e}", same
    top1 = f"{score.file['top1']:.4f}" if score and "top1" in score.file else ""
    sizes = text.size(manifest.size_bytes), text.size(manifest.gzip_bytes)
    ends = manifest.target, manifest.file
    return (*ends, *sizes, manifest.proof, *closeness, top1, str(one.path))


def _option(change: str) -> tuple[str, Any]:
    key, equals, value = change.partition("=")
    if not (key and equals):
        raise ValueError(f"--set: got {change!r}; expected KEY=VALUE, e.g. io=int8.")
    return key, plain_yaml.parse(value, f"--set {change}")
