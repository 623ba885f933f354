"""An unfinished run: what it began with, so that `--resume` goes on with that and nothing else.

`NAME.partial` beside the bundle to be holds what was done and, in a file of its own, what decides
the numbers: the resolved recipe, a digest of the examples, the passes, and of the machine the kind
of device, precision and XLA. A run that is resumed must have the same. Another processor, version
or number of devices is a warning: the examples come in the same order, but the last digits may be
others, and so are masks of dropout and statistics of a share of a batch.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoo import bundle as bundles
from zoo.bundle import Bundle
from zoo.common import digests, reading, renames
from zoo.common.settings import difference, shown
from zoo.data.dataset import DataSet, Split
from zoo.data.feeds.on_disk import OnDisk
from zoo.data.feeds.pictures import Pictures
from zoo.recipe import Recipe
from zoo.training import provenance
from zoo.training.run import SPLITS, Run
from zoo.training.strategy import Machine

TRAIN, COMPRESS = "train.json", bundles.BEGUN  # what a run began with, by its kind
SNAPSHOT = "snapshot.npz"  # of a training
FIRST = 64  # examples of a stream that its digest is made of
LOG = logging.getLogger("zoo")
_REPLACES, _LOOSE = "replaces", "made on"
_WAYS = {
    "data": "Bring its examples back as they were",
    "parent": "Bring the model back as it was",
    "pipeline": "Bring the passes back as they were",
    "machine.device": "Resume on such a machine",
    "machine.precision": "Write hardware.precision={}",
    "machine.jit": "Write hardware.jit={}",
}


class Unfinished:
    """The unfinished run of a bundle to be.

    Args:
        out: Directory of the bundle, which is claimed.
        file: Name of the file that says what it began with: `TRAIN` or `COMPRESS`.
    """

    def __init__(self, out: Path, file: str):
        self.out, self.directory = out, directory_of(out)
        self._path = self.directory / file

    @property
    def there(self) -> bool:
        """Whether there is something to go on with."""
        needed = (COMPRESS,) if self._path.name == COMPRESS else (SNAPSHOT, TRAIN)
        return all((self.directory / name).is_file() for name in needed)

    def admit(self, *, resume: bool, force: bool) -> None:
        """Refuses to begin over an unfinished run, or to go on with none; a dropped one is deleted.

        Args:
            resume: Whether to go on.
            force: Whether an unfinished run may be dropped.

        Raises:
            FileNotFoundError: There is no run to resume.
            FileExistsError: There is one, and neither is asked for; or what is there is not ours.
        """
        if resume:
            needed = (COMPRESS,) if self._path.name == COMPRESS else (SNAPSHOT, TRAIN)
            for path in (self.directory / name for name in needed):
                if not path.is_file():
                    raise FileNotFoundError(
                        f"{path}: not found; there is no unfinished run to resume."
                    )
        elif self.directory.exists():
            names = {path.name for path in self.directory.iterdir()}
            if names and not any(name.startswith((TRAIN, COMPRESS, SNAPSHOT)) for name in names):
                raise FileExistsError(
                    f"{self.directory}: exists and is no unfinished run; move it away, or choose "
                    "another --out."
                )
            if names & {COMPRESS, SNAPSHOT} and not force:  # otherwise nothing has been done yet
                raise FileExistsError(
                    f"{self.directory}: holds an unfinished run; --resume continues it, --force "
                    "drops it."
                )
            self.remove()

    def begun(self) -> dict[str, Any]:
        """Returns what the run began with.

        Raises:
            ValueError: The file is damaged.
        """
        return reading.json_object(self._path, "what a run began with; start anew with --force")

    def begin(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what a run begins with, and what it may replace, for `write`."""
        return {**facts, _REPLACES: _identity(self.out)}

    def check(self, facts: Mapping[str, Any], *, force: bool) -> None:
        """Refuses to go on with something else than it began with.

        Args:
            facts: See `facts_of`.
            force: Whether whatever is at `out` may be replaced.

        Raises:
            ValueError: Something differs; the line says what.
            FileExistsError: There is something at `out` that was not there when the run began.
        """
        begun = self.begun()
        for name in facts:
            found = difference(begun.get(name), json.loads(json.dumps(facts[name])), name)
            if found is None:
                continue
            key, old, new = found
            if name == _LOOSE:
                LOG.warning(
                    "%s: began with %s %s, and goes on with %s: the last digits may be others than "
                    "those of a run that was never stopped", self.directory, key, old, new,
                )  # fmt: skip
                continue
            raise self.refused(found)
        if not force and not self._may_replace(begun):
            raise FileExistsError(
                f"{self.out}: exists, and was not there when {self.directory} began; --force too "
                "replaces it."
            )

    def refused(self, found: tuple[str, Any, Any]) -> ValueError:
        """Returns the error that names a difference, see `zoo.common.settings.difference`."""
        key, old, new = found
        usual = "Repeat its arguments, or none of them"
        way = _WAYS.get(key, _WAYS.get(key.partition(".")[0], usual))
        return ValueError(
            f"--resume: got {key} {shown(new)}; expected {shown(old)}, with which "
            f"{self.directory} began. {way.format(str(old).lower())}, or start anew with --force."
        )

    def remove(self) -> None:
        """Deletes it all."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _may_replace(self, begun: Mapping[str, Any]) -> bool:
        """Whether at `out` is what the run began over with `--force`, or what it has left there."""
        identity = _identity(self.out)
        if not self.out.exists() or (identity and identity == begun.get(_REPLACES)):
            return True
        try:
            left = Bundle(self.out)
            same = recipe_facts(left.recipe) == begun.get("recipe")
            return same and left.report.status == "interrupted"
        except (OSError, ValueError):
            return False


def write(path: Path, begun: Mapping[str, Any]) -> None:
    """Writes what a run begins with, and makes the directory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(json.dumps(begun))
    renames.put(partial, path)


def directory_of(out: Path) -> Path:
    """Returns where the unfinished run of a bundle is."""
    return out.with_name(out.name + ".partial")


def facts_of(run: Run, **more: Any) -> dict[str, Any]:
    """Returns what decides the numbers of a run.

    Args:
        run: With its data at hand.
        **more: What else does, plain JSON.
    """
    files = {name: digests.sha256(place) for name, place in run.task.files().items()}
    return {
        **more,
        "recipe": recipe_facts(run.recipe),
        "data": data_digest(run.data) if isinstance(run.data, DataSet) else run.data.source,
        **({"files": files} if files else {}),
        "preprocessing": run.preprocessing.model_dump(mode="json") if run.preprocessing else {},
        "machine": _machine_facts(run.machine),
        _LOOSE: {
            "processor": provenance.processor(),
            "devices": run.machine.replicas,
            **provenance.versions("keras", "tensorflow", "numpy", *run.origin.packages),
        },
    }


def recipe_facts(recipe: Recipe) -> dict[str, Any]:
    """Returns a recipe as plain values, without the hardware, which the machine stands for."""
    return {k: v for k, v in recipe.model_dump(mode="json").items() if k != "hardware"}


def data_digest(data: DataSet) -> str:
    """Returns a digest of all examples of a data set: of their values, or of their files.

    Of a `Stream`, which is read anew in every epoch, it is one of the first examples.
    """
    found = hashlib.sha256(f"{data.digest} {dict(data.columns)}".encode())
    for name in SPLITS:
        split = getattr(data, name)
        columns = (split if isinstance(split, Split) else split[: min(FIRST, len(split))]).columns
        found.update(f"{name} {len(split)}".encode())
        for column, values in columns.items():
            if isinstance(values, Pictures):
                for path in values.paths:
                    found.update(digests.sha256(str(path)).encode())
                continue
            if isinstance(values, OnDisk):  # a pack, whose digest has those of its shards
                found.update(f"{column} {values.dtype} {values.shape}".encode())
                continue
            array = np.ascontiguousarray(values)
            found.update(f"{column} {array.dtype} {array.shape}".encode())
            plain = array.dtype.kind in "biufc"
            found.update(array.tobytes() if plain else repr(array.tolist()).encode())
    return found.hexdigest()


def _machine_facts(machine: Machine) -> dict[str, Any]:
    """What of a machine changes numbers by more than their last digits."""
    facts = machine.facts()
    return {
        "device": "GPU" if facts["gpus"] else "CPU",
        **{name: facts[name] for name in ("precision", "jit")},
    }


def _identity(out: Path) -> str | None:
    """What tells a bundle from another at the same place; `None` where there is none."""
    report = out / bundles.REPORT
    return digests.sha256(report) if report.is_file() else None
