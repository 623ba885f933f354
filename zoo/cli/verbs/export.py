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
    samples = _read(arguments.samples) if arguments.samples else None
    options = dict(map(_option, arguments.options))

    from export.targets import find_target
    from zoo import bundle as bundles
    from zoo.common import staging

    # Before TensorFlow: a wrong name or a taken place is told at once.
    path = arguments.model
    name = (path if path.suffix == ".keras" else bundles.find_bundle(path).path).resolve().name
    name = name.removesuffix(".keras")
    for target in (find_target(name, options) for name in arguments.targets):
        if not arguments.force:
            staging.check_free(arguments.out / f"{name}-{target.kind}", force=False)
        target.check_packages()

    from zoo.stages.export import export

    done = export(
        arguments.model,
        *arguments.targets,
        out=arguments.out,
        options=options,
        samples=samples,
        pixels=arguments.pixels,
        unsafe=arguments.unsafe,
        force=arguments.force,
    )
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
