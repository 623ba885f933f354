"""The whole export: write, run what was written, compare, and only then put it in its place."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from export import manifest as manifests
from export.examples import Arrays, check_inputs, draw_inputs
from export.manifest import Manifest, Parity
from export.parity import ParityError, compare
from export.source import prepare, run_keras
from export.target import About, Source, Target
from export.targets import find_target


@dataclass(frozen=True)
class Deployable:
    """A directory with a model file that follows its Keras model, and its manifest.

    Attributes:
        path: The directory.
        manifest: What `manifest.json` says.
    """

    path: Path
    manifest: Manifest


def export(
    model: keras.Model,
    target: str | Target,
    out: str | Path,
    *,
    samples: Any = None,
    about: About | None = None,
    force: bool = False,
) -> Deployable:
    """Writes `model` as a deployable directory, after running the file and comparing it with Keras.

    The file holds inference only, in the target's precision, whatever the model's own is. Nothing
    appears at `out` before the comparison has passed. A file that fails is kept at `OUT.rejected`,
    in place of an earlier one, with the measured numbers in its manifest.

    Args:
        model: A Functional or a built Sequential model; it is not changed.
        target: A name in `TARGETS`, or a target with settings of its own.
        out: The directory to write.
        samples: Examples as the model takes them: an array (n, ...), or a mapping from input name
            to array. All are compared; a target that is calibrated takes the first half for that
            and compares the second. Some hundred are enough. Without them 32 are drawn at random,
            which say little about an int8 file.
        about: Name, labels and preprocessing, for the manifest.
        force: Replaces a deployable that is already at `out`.

    Returns:
        The directory and its manifest.

    Raises:
        FileExistsError: `out` exists.
        ModuleNotFoundError: The target needs a package that is not installed.
        ParityError: The file does not follow the model.
        RuntimeError: The converter failed.
        TypeError: `model` is not a Functional or Sequential model.
        ValueError: The target is unknown, or the samples do not fit.
    """
    target = find_target(target)
    target.check_packages()
    out = Path(out)
    rejected = out.with_name(f"{out.name}.rejected")
    _check_free(out, force=force)
    _check_free(rejected, force=True)
    net, signature = prepare(model)
    target.check_signature(signature)
    inputs = draw_inputs(signature) if samples is None else check_inputs(samples, signature)
    calibration, probes = _halves(inputs) if target.calibrated else ({}, inputs)
    about = about or About()
    about = about.model_copy(update={"name": about.name or model.name})
    source = Source(net=net, signature=signature, about=about, calibration=calibration)

    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a killed process that had our number
    partial.mkdir()
    try:
        path = partial / target.write(source, partial)
        origin = "random" if samples is None else "given"
        parity = _verify(target, path, source, probes, origin)
        manifest = _describe(target, path, source, parity)
        manifest.write(partial)
        if not parity.passed:
            _move(partial, rejected)
            raise ParityError(f"export to {target.kind}: {parity.reason}. File kept in {rejected}.")
        _move(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Deployable(path=out, manifest=manifest)


def _verify(target: Target, path: Path, source: Source, probes: Arrays, origin: str) -> Parity:
    """Runs the file and the Keras model on the same inputs, and compares."""
    expected = run_keras(source.net, source.signature, probes)
    fault = target.fault(path)
    try:
        got = target.run(path, probes)
    except Exception as error:  # each runtime has its own classes for a file that it cannot run
        got, fault = {}, f"{target.runtime} cannot run the file: {str(error).strip()}"
    facts = {"runtime": f"{target.runtime} {_version(target.runtime)}", "inputs": origin}
    parity = compare(expected, got, target.tolerance, **facts)
    return parity.model_copy(update={"passed": False, "reason": fault}) if fault else parity


def _describe(target: Target, path: Path, source: Source, parity: Parity) -> Manifest:
    return Manifest(
        name=source.about.name,
        target=target.kind,
        file=path.name,
        size_bytes=manifests.size_bytes(path),
        gzip_bytes=manifests.gzip_bytes(path),
        sha256=manifests.digest(path),
        signature=target.signature(source.signature),
        preprocessing=source.about.preprocessing,
        labels=source.about.labels,
        precision=target.precision,
        operators=target.operators(path),
        parity=parity,
        versions={name: _version(name) for name in ("keras", *target.requires)},
        source_sha256=source.about.source_sha256,
    )


def _version(distribution: str) -> str:
    return importlib.metadata.version(distribution)


def _halves(inputs: Arrays) -> tuple[Arrays, Arrays]:
    """Calibration must not see what the comparison sees."""
    total = len(next(iter(inputs.values())))
    if total < 2:
        raise ValueError(
            f"export: samples: got {total} example; expected at least 2, one half to calibrate and"
            " one to compare."
        )
    middle = total // 2
    first = {name: array[:middle] for name, array in inputs.items()}
    return first, {name: array[middle:] for name, array in inputs.items()}


def _check_free(path: Path, *, force: bool) -> None:
    """Refuses a place that is taken, and, even with `force`, one that `export` did not write."""
    if not path.exists():
        return
    if not force:
        raise FileExistsError(f"{path}: exists. Choose another place, or replace it with `force`.")
    if not (path / manifests.FILE).is_file():
        raise FileExistsError(
            f"{path}: exists and is not a deployable (no {manifests.FILE}). Choose another place."
        )


def _move(source: Path, destination: Path) -> None:
    """Renames over what is at `destination`; a kill in between leaves the old one beside it."""
    old = destination.with_name(f".{destination.name}.{os.getpid()}.old")
    if destination.exists():
        destination.rename(old)
    source.rename(destination)
    shutil.rmtree(old, ignore_errors=True)
