"""Export a model for other runtimes; each file is run and compared with the model.

One directory for each target: the model file, its manifest and its card. A file that does not
behave like the model is kept aside, the layers where the difference begins are named, and the
command fails.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zoo.cli import text

NUM_SAMPLES = 256  # the integer targets calibrate on one half and are compared on the other
NUM_LABELLED = 1000  # of the test split, on which model and file are scored


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo export`."""
    from export.targets import target_names

    parser.add_argument(
        "model", type=Path, help="a directory that `zoo train` wrote, or a .keras file"
    )
    parser.add_argument(
        "targets", nargs="+", metavar="TARGET", help=f"one or more of {', '.join(target_names())}"
    )
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
        help="examples (n, ...) as the model takes them, .npy, or .npz by input name; without it a"
        " bundle's own training images",
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
    from export.targets import find_target
    from zoo import bundle as bundles

    name = arguments.model.resolve().name.removesuffix(".keras")
    options = dict(map(_option, arguments.options))
    targets = [find_target(target, options) for target in dict.fromkeys(arguments.targets)]
    places = {target.kind: arguments.out / f"{name}-{target.kind}" for target in targets}
    if not arguments.force:  # all places before any work; `export` looks at each once more
        for place in places.values():
            bundles.check_free(place, force=False)
    for target in targets:
        target.check_packages()
    samples = _read(arguments.samples) if arguments.samples else None

    from export import export
    from zoo.cli import source

    given = source.open_model(arguments.model, pixels=arguments.pixels, unsafe=arguments.unsafe)
    samples = given.samples(NUM_SAMPLES) if samples is None else samples
    labelled, about = given.labelled(NUM_LABELLED), given.about(name)
    done = [
        export(
            given.model,
            target,
            place,
            samples=samples,
            labelled=labelled,
            about=about,
            force=arguments.force,
        )
        for target, place in zip(targets, places.values(), strict=True)
    ]
    if arguments.json:
        rows = [{"path": str(one.path), **one.manifest.model_dump(mode="json")} for one in done]
        print(text.document(rows))
        return
    header = ("target", "file", "size", "gzipped", "proof", "largest difference", "same top-1")
    print(text.table((*header, "top-1", "path"), [_line(one) for one in done]))


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
    import yaml

    key, equals, value = change.partition("=")
    if not (key and equals):
        raise ValueError(f"--set: got {change!r}; expected KEY=VALUE, e.g. io=int8.")
    return key, yaml.safe_load(value)


def _read(path: Path) -> Any:
    """Reads examples from a `.npy` or a `.npz` file."""
    import numpy as np

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected examples as .npy or .npz.")
    try:
        if path.suffix not in (".npy", ".npz"):
            raise ValueError(f"its name ends in {path.suffix!r}")
        found = np.load(path, allow_pickle=False)
        return found if isinstance(found, np.ndarray) else dict(found)
    except Exception as error:
        cause = " ".join(str(error).split())
        raise ValueError(f"{path}: not a .npy or .npz file of numbers ({cause}).") from None
