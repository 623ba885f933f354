"""What an unfinished compression has come to, so that `--resume` goes on from it exactly.

`NAME.partial` beside the bundle to be holds a directory for each pass that is finished, named by a
digest of the passes up to it: its model, all variables (random states among them), its report and
what it trained; and, for the pass under way, the snapshots of its fine-tunings. A pass that is run
again meets the trainings that had ended as they ended. Random numbers are seeded anew for each pass
and each training, so that what comes after does not depend on what was skipped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from pydantic import TypeAdapter

from compress.base import Pass
from compress.measure.account import LayerRow
from compress.measure.report import PassReport
from compress.pipeline.stages import Stage
from zoo.bundle import BEGUN, MODEL, REPORT
from zoo.common import reading, renames
from zoo.models.saved import load_model
from zoo.training import unfinished
from zoo.training.history import History

STATE = "variables.npz"
EXPECTED = "what a compression left; start anew with --force"
LOG = logging.getLogger("zoo")
# What JSON has as dictionaries and lists, as what it was.
_REPORT, _ROWS = TypeAdapter(PassReport), TypeAdapter(list[LayerRow])


class Kept:
    """The finished passes of a compression, and the one under way.

    Args:
        directory: `NAME.partial`; it is made when there is something to keep.
        begun: What the compression began with, plain JSON; see `zoo.training.unfinished`.
        seed: Seed of the recipe.
    """

    def __init__(self, directory: Path, begun: dict[str, Any], seed: int):
        self.directory, self.history = directory, History()
        self.begun, self._seed = begun, seed
        self._key, self._calls, self._own = "", 0, History()

    def find(self, plan: Sequence[Pass]) -> Stage | None:
        """Returns what the last of some passes came to; `None` where it is not finished."""
        folder = self.directory / _key(plan)
        if not folder.is_dir():
            return None
        values = reading.json_object(folder / REPORT, EXPECTED)
        with reading.whole(folder, EXPECTED):
            model = load_model(folder / MODEL)
            state = reading.arrays(folder / STATE, EXPECTED)
            for number, variable in enumerate(model.variables):
                variable.assign(state[f"v{number}"])
            report = _REPORT.validate_python(values["report"])
            rows = _ROWS.validate_python(values["rows"])
            self.history.extend(History(**values["history"]))
        LOG.info("%s: finished before; taken over", plan[-1].kind)
        return Stage(plan[-1], model, report, rows)

    def begin(self, plan: Sequence[Pass]) -> None:
        """Notes which pass comes now."""
        self._key, self._calls, self._own = _key(plan), 0, History()
        self.seed("pass")

    def keep(self, plan: Sequence[Pass], stage: Stage) -> None:
        """Writes what a pass came to, and drops the snapshots of its trainings."""
        self._make()
        folder = self.directory / _key(plan)
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir()
            stage.model.save(partial / MODEL)
            state = {f"v{i}": v.numpy() for i, v in enumerate(stage.model.variables)}
            np.savez(partial / STATE, allow_pickle=False, **state)
            values = {
                "report": dataclasses.asdict(stage.report),
                "rows": [row._asdict() for row in stage.rows],
                "history": vars(self._own),
            }
            (partial / REPORT).write_text(json.dumps(values))
            renames.put(partial, folder)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            LOG.warning("%s: not kept (%s); the run goes on", folder, error.strerror or error)
            return
        shutil.rmtree(self._trainings, ignore_errors=True)

    def training(self) -> Path:
        """Returns the snapshot of the next training of the pass under way, and seeds it."""
        self._make()
        self._trainings.mkdir(exist_ok=True)
        self._calls += 1
        self.seed(f"training {self._calls}")
        return self._trainings / f"{self._calls:02d}.npz"

    def trained(self, history: History) -> None:
        """Adds what a training did."""
        self._own.extend(history)
        self.history.extend(history)
        self.seed(f"after training {self._calls}")

    def seed(self, what: str) -> None:
        """Seeds all random numbers by the recipe, the passes so far, and what comes now."""
        text = f"{self._seed} {self._key} {what}"
        number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
        keras.utils.set_random_seed(number >> 1)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to go on from."""
        return not any(self.directory.glob("*/*"))

    @property
    def _trainings(self) -> Path:
        return self.directory / f"{self._key}.trainings"

    def _make(self) -> None:
        if not (self.directory / BEGUN).is_file():
            unfinished.write(self.directory / BEGUN, self.begun)


def _key(plan: Sequence[Pass]) -> str:
    text = "\n".join(step.model_dump_json() for step in plan)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
