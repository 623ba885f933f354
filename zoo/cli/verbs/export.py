"""Export a bundle for other runtimes; each file is run and compared with the model.

One directory for each target: the model file and its manifest. A file that does not behave like the
model is kept aside, and the command fails.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from zoo.cli import text

NUM_SAMPLES = 256  # the integer targets calibrate on one half and are compared on the other


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo export`."""
    from export.targets import target_names

    parser.add_argument("bundle", type=Path, help="a directory that `zoo train` wrote")
    parser.add_argument(
        "targets", nargs="+", metavar="TARGET", help=f"one or more of {', '.join(target_names())}"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("exported"), metavar="DIR",
        help="holds one directory for each target (default: exported)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace what is there")


def run(arguments: argparse.Namespace) -> None:
    """Exports to every target and prints what was measured."""
    from export.target import About
    from export.targets import find_target
    from zoo import bundle as bundles

    bundle = bundles.Bundle(arguments.bundle)
    name = bundle.path.resolve().name
    targets = [find_target(target) for target in dict.fromkeys(arguments.targets)]
    places = {target.kind: arguments.out / f"{name}-{target.kind}" for target in targets}
    if not arguments.force:  # all places before any work; `export` looks at each once more
        for place in places.values():
            bundles.check_free(place, force=False)

    from export import export
    from zoo.cli.reopen import load, reopen

    model, samples = load(bundle.path), reopen(bundle).samples(NUM_SAMPLES)
    about = About(
        name=name,
        labels=bundle.card.labels,
        preprocessing=bundle.card.preprocessing,
        source_sha256=bundle.sha256,
    )
    done = [
        export(model, target, place, samples=samples, about=about, force=arguments.force)
        for target, place in zip(targets, places.values(), strict=True)
    ]
    if arguments.json:
        rows = [{"path": str(one.path), **one.manifest.model_dump(mode="json")} for one in done]
        print(text.document(rows))
        return
    header = ("target", "file", "size", "gzipped", "largest difference", "same top-1", "path")
    lines = []
    for one in done:
        manifest, parity = one.manifest, one.manifest.parity
        sizes = text.size(manifest.size_bytes), text.size(manifest.gzip_bytes)
        agreement = "" if parity.top1_agreement is None else f"{parity.top1_agreement:.4f}"
        closeness = f"{parity.relative:.1e}", agreement
        lines.append((manifest.target, manifest.file, *sizes, *closeness, str(one.path)))
    print(text.table(header, lines))
