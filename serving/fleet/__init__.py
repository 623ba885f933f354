"""What the engines of a fleet read: TF Serving, Triton, KServe, Kubernetes; from a manifest.

serving.deploy("triton", "exported/lenet5-onnx", out="deploy")
"""

from __future__ import annotations

import importlib
import json
import re
import shutil
from pathlib import Path
from typing import NamedTuple, Protocol

from export.manifest import Manifest
from zoo.common import staging
from zoo.common.settings import nearest

WRITERS = {
    "tf-serving": "serving.fleet.tf_serving",
    "triton": "serving.fleet.triton",
    "kserve": "serving.fleet.kserve",
    "kubernetes": "serving.fleet.kubernetes",
}
"""Modules by the name of the engine; each has a `write`."""


MARK = "deploy.json"  # says what a folder was written for
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")  # goes into paths and configurations


class Deployable(NamedTuple):
    """What is deployed.

    Attributes:
        manifest: Of the exported directory.
        path: Its model file or folder.
        directory: The exported directory.
    """

    manifest: Manifest
    path: Path
    directory: Path


class Writer(Protocol):
    """A module of an engine."""

    def write(self, model: Deployable, out: Path) -> str:
        """Writes what the engine reads into an empty folder.

        Returns:
            How to start it, a line.

        Raises:
            ValueError: The engine does not run such a file.
        """


def deploy(engine: str, directory: str | Path, *, out: str | Path, force: bool = False) -> str:
    """Writes what an engine of a fleet reads, the model file with it.

    Args:
        engine: A key of `WRITERS`.
        directory: What `zoo export` wrote.
        out: The folder to write.
        force: Whether to replace what is there.

    Returns:
        How to start the engine, a line.

    Raises:
        FileExistsError: There is something at `out`.
        FileNotFoundError: The directory, its manifest or its model file is missing.
        ValueError: There is no such engine, the directory is not valid, its model's name is none
            that all engines take, or the engine does not run such a file.
    """
    if engine not in WRITERS:
        raise ValueError(f"deploy: unknown {engine!r}. {nearest(engine, WRITERS)}")
    manifest, path = Manifest.of_file(directory)
    if not _NAME.fullmatch(manifest.name):
        raise ValueError(
            f"{directory}: got the name {manifest.name[:80]!r}; expected letters, digits and _.- "
            "alone. Export with another name."
        )
    module: Writer = importlib.import_module(WRITERS[engine])
    with staging.staged(Path(out), force=force, mark=MARK) as partial:
        told = {"engine": engine, "model": manifest.name, "sha256": manifest.sha256}
        (partial / MARK).write_text(json.dumps(told, indent=1) + "\n")
        return module.write(Deployable(manifest, path, Path(directory)), partial)


def has_free_size(manifest: Manifest) -> bool:
    """Whether a size beside the batch may vary, so that requests do not fit into one batch."""
    return any(None in spec.shape[1:] for spec in manifest.signature.inputs)


def dns_name(name: str) -> str:
    """Returns a name as Kubernetes takes one: small letters, digits and `-`, 63 at most."""
    plain = "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in name.lower())
    return plain.strip("-")[:63].strip("-") or "model"


def copy(source: Path, target: Path) -> None:
    """Copies a file or a folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
