"""Whether XLA compiles forward and backward, tried before a long training, and kept.

On a CPU XLA makes convolutions two to three times slower, and may take long over recurrent graphs,
so that a network with some is not tried there; on a GPU, and for the others, it depends. A short
training is not worth a try; and an agent's is left as it is: rounding makes another one of it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import random
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import keras
import numpy as np

from compress.graph import leaf_layers
from zoo.common import renames
from zoo.common.home import home
from zoo.training import provenance
from zoo.training.loop import Loop
from zoo.training.run import Run
from zoo.training.strategy import Machine

WORTH_STEPS = 5000  # of a training that is worth a try
WORTH = 5.0  # times that what is left takes as long as the try
STEPS, SECONDS = 20, 1.0  # of a way that are timed, at most
BETTER = 0.9  # share of the time that the other way takes at most, to be taken
_SLOW = ("conv", "lstm", "gru", "rnn")  # in the names of layers that XLA slows down on a CPU
LOG = logging.getLogger("zoo")


def choose(run: Run, networks: Mapping[str, keras.Model]) -> Machine:
    """Returns the machine of a run, with XLA where that was found to be faster.

    What was found is kept under the zoo's home, for each model, batch, machine and version.

    Args:
        run: Its recipe says `hardware.jit: auto`, or the machine is as it is.
        networks: Not changed.
    """
    machine, recipe = run.machine, run.recipe
    if recipe.hardware.jit != "auto" or not _may(machine, networks.values()):
        return machine
    fixed = recipe.hardware.deterministic or run.origin.acted
    if fixed or recipe.train.optimizer.kind == "lbfgs":
        return machine
    with _unseen():
        source = run.origin.experience(recipe.train, networks)
        total = recipe.train.epochs * source.steps
        if total < WORTH_STEPS:
            return machine
        path = home() / "choices" / f"{_key(run, networks)}.json"
        found = _read(path)
        if found is None:
            found = _tried(run, networks, total)
            if found is None:  # not worth it
                return machine
            _write(path, found)
    jit = found["xla_ms"] < BETTER * found["ms"]
    told = f"a step takes {found['xla_ms']:.2f} ms with XLA, {found['ms']:.2f} ms without"
    LOG.info("%s: %s (%s)", told, "with" if jit else "without", path)
    reason = machine.reason.replace("no XLA", "XLA") if jit else machine.reason
    return dataclasses.replace(machine, jit=jit, reason=reason)


def _may(machine: Machine, networks: Iterable[keras.Model]) -> bool:
    """Whether there is a choice."""
    if machine.replicas > 1 or machine.worker is not None:
        return False
    if machine.facts()["gpus"]:
        return True
    layers = [layer for network in networks for _, layer in leaf_layers(network)]
    names = {type(layer).__name__.lower() for layer in layers}
    return not any(slow in name for name in names for slow in _SLOW)


def _key(run: Run, networks: Mapping[str, keras.Model]) -> str:
    """What a choice holds for."""
    facts = {
        "networks": {name: one.to_json() for name, one in networks.items()},
        "task": run.recipe.task.model_dump(mode="json"),
        "batch_size": run.recipe.train.batch_size,
        "columns": str(dict(run.data.columns)),
        "precision": run.machine.precision,
        "machine": {k: v for k, v in run.machine.facts().items() if k not in ("reason", "jit")},
        "versions": provenance.versions("keras", "tensorflow"),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _tried(run: Run, networks: Mapping[str, keras.Model], total: int) -> dict[str, float] | None:
    """Milliseconds of a step of both ways; `None` where a try takes more than it can win."""
    began = time.perf_counter()
    alone = _seconds(run, networks, run.machine)
    took = time.perf_counter() - began
    if total * alone < WORTH * took:
        return None
    try:
        other = _seconds(run, networks, dataclasses.replace(run.machine, jit=True))
    except Exception as error:  # XLA lacks an operation: that is a choice too
        LOG.info("XLA: %s", " ".join(str(error).split())[:120])
        other = float("inf")
    return {"ms": 1e3 * alone, "xla_ms": 1e3 * other}


def _seconds(run: Run, networks: Mapping[str, keras.Model], machine: Machine) -> float:
    """The median time of a step, on copies of the networks."""
    source = run.origin.experience(run.recipe.train, networks)
    loop = Loop(networks, run.task, run.recipe.train, machine, source)
    loop.enter(0)
    batches = source.batches(machine.strategy, networks=loop.twins)
    batch = next(iter(batches))
    times: list[float] = []
    until = time.perf_counter() + SECONDS
    while len(times) < 3 or (len(times) < STEPS and time.perf_counter() < until):
        began = time.perf_counter()
        loop.step += 1
        loop.sums.add(loop.take_step(batch))
        loop.sums.wait()
        times.append(time.perf_counter() - began)
        if len(times) == 1:  # the graph
            until = time.perf_counter() + SECONDS
    return float(np.median(times[1:]))


@contextmanager
def _unseen() -> Iterator[None]:
    """Keeps the random numbers of what follows as they would have been."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - Keras draws from it
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def _read(path: Path) -> dict[str, float] | None:
    """What was found before; `None` where there is nothing that can be read."""
    try:
        found = json.loads(path.read_text())
        return {name: float(found[name]) for name in ("ms", "xla_ms")}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(path: Path, found: Mapping[str, float]) -> None:
    """Keeps what was found, where that can be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        partial.write_text(json.dumps(found))
        renames.put(partial, path)
    except OSError as error:
        LOG.info("%s: %s; the choice is not kept", path, error.strerror)
