"""Take the noise away from pictures, with an autoencoder that was trained to.

Such are denoising_autoencoder and conv_autoencoder. Of each picture NAME-denoised.png shows the
noisy one, the denoised one and, with --noise, the original, side by side.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from zoo.cli import numbers, text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo denoise`."""
    parser.add_argument("bundle", type=Path, help="a directory that `zoo train` wrote")
    parser.add_argument(
        "pictures", type=Path, nargs="+",
        help="picture files, of the bundle's size; of any, where it has convolutions alone",
    )  # fmt: skip
    parser.add_argument(
        "--noise", type=numbers.from_zero, default=0.0, metavar="LEVEL",
        help="noise to add first: its deviation, white being 1, or the share of blackened pixels",
    )  # fmt: skip
    parser.add_argument("--seed", type=numbers.integer, default=0, metavar="S", help="default: 0")
    parser.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="default: this directory"
    )
    parser.add_argument("--force", action="store_true", help="replace files of --out")


def run(arguments: argparse.Namespace) -> None:
    """Denoises, writes and prints."""
    from zoo.bundle import find_bundle

    bundle = find_bundle(arguments.bundle)  # before TensorFlow: a wrong path is told at once
    from zoo.stages.denoise import denoise

    made = denoise(
        bundle,
        arguments.pictures,
        noise=arguments.noise,
        seed=arguments.seed,
        out=arguments.out,
        force=arguments.force,
    )
    rows = []
    for one in made:
        row: dict[str, Any] = {"picture": one.name, "file": str(one.file)}
        if arguments.noise:
            row["noisy_psnr"], row["denoised_psnr"] = one.decibels
        rows.append(row)
    if arguments.json:
        for row in rows:  # of two equal pictures it is infinite, which JSON has not
            row |= {name: None for name, value in row.items() if value == math.inf}
        print(text.document(rows))
        return
    for row in rows:
        told = ""
        if arguments.noise:
            told = f": {row['noisy_psnr']:.2f} dB before, {row['denoised_psnr']:.2f} dB after"
        print(f"{row['file']}{told}")
