"""Times training beside plain Keras: the same model, examples, batches and precision, in turns.

Each side has a process of its own, which waits while the other trains, so a busy machine is the
same for both; ratios are medians over pairs of turns. A second plain side trains in float32, which
is what Keras does by itself.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from zoo import catalog
from zoo.stages.turns import KERAS, LEAST_STEPS, OURS, Turn

FLOPS = 6  # operations of a training step for each multiply-accumulate of a prediction
# What is measured when no name is given, and on which data: those that every machine has.
FAMILIES: Mapping[str, str | None] = {
    "lenet5": None,
    "resnet20": "mnist5k",
    "vgg16": None,
    "vgg16_bn": None,
    "densenet40": "mnist5k",
    "mobilenet_v2": "mnist5k",
    "googlenet_bn": "mnist5k",
    "char_lstm": None,
    "unet_small": None,
    "vae": None,
    "dcgan_small": None,
    "dqn": None,
}
SHORT_SECONDS = 0.5  # of an epoch at least, so that what happens between two does not count


class Trained(NamedTuple):
    """How fast a model trains here, and by plain Keras.

    Attributes:
        name: The model.
        data: Its data.
        batch_size: Examples of a step.
        precision: Of both sides.
        ms: Wall time of a step, in milliseconds, the median over turns.
        keras_ms: The same of Keras.
        cpu_ms: Processor's time of a step.
        keras_cpu_ms: The same of Keras.
        faster: How many times as fast, by the wall: the median over pairs of turns.
        cpu_faster: The same by the processor's time.
        float32_ms: Wall time of a step of Keras in float32.
        float32_faster: How many times as fast as that.
        per_second: Examples a second.
        memory_bytes: Most memory of the process; of the GPU where there is one.
        memory_ratio: That over Keras' in the same precision.
        utilisation: Operations of the model a second, over those of a product of large matrices
            here; `None` where they are not counted.
        waiting: Share of the wall time in which a step waited for its batch.
        steps_per_call: How many steps one call takes.
        jit: Whether XLA compiled forward and backward.
        turns: Number of turns of each side.
    """

    name: str
    data: str
    batch_size: int
    precision: str
    ms: float
    keras_ms: float
    cpu_ms: float
    keras_cpu_ms: float
    faster: float
    cpu_faster: float
    float32_ms: float
    float32_faster: float
    per_second: float
    memory_bytes: int
    memory_ratio: float
    utilisation: float | None
    waiting: float
    steps_per_call: int
    jit: bool
    turns: int


def bench_trained(
    names: Sequence[str] = (),
    *,
    rounds: int = 5,
    seconds: float = 3.0,
    changes: Sequence[str] = (),
) -> Iterator[Trained]:
    """Measures models, one after another.

    Args:
        names: Of the catalogue; none for `FAMILIES`.
        rounds: Turns of each side.
        seconds: How long a turn takes, about; an epoch is no shorter.
        changes: Changes of each recipe, e.g. `hardware.precision=float32`.

    Yields:
        A row for each.

    Raises:
        ValueError: A name is unknown, or a number is too small.
        RuntimeError: A side failed.
    """
    if rounds < 1 or seconds <= 0:
        raise ValueError(
            f"bench train: got {rounds} rounds of {seconds:g} s; expected 1 or more, and more "
            "than 0."
        )
    found = [catalog.find_architecture(name).name for name in names or FAMILIES]
    for name in found:
        yield _measured(name, rounds=rounds, seconds=seconds, changes=changes)


def _measured(name: str, *, rounds: int, seconds: float, changes: Sequence[str]) -> Trained:
    asked = {"model": name, "data": FAMILIES.get(name), "changes": list(changes)}
    single = [*changes, "hardware.precision=float32"]
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(_side())
        step = ours.ask({"who": OURS, **asked, "steps": LEAST_STEPS})["seconds"]
        steps = max(LEAST_STEPS, math.ceil(min(seconds, SHORT_SECONDS) / step))
        told = {**asked, "steps": steps}
        first = ours.ask({"who": OURS, **told})
        precision = ours.ask({})["precision"]
        sides = {OURS: ours, KERAS: stack.enter_context(_side())}
        sides[KERAS].ask({"who": KERAS, **told})
        if precision != "float32":
            sides["float32"] = stack.enter_context(_side())
            sides["float32"].ask({"who": KERAS, **told, "changes": single})
        epochs = max(1, round(seconds / (first["seconds"] * first["steps"])))
        turns: dict[str, list[Turn]] = {who: [] for who in sides}
        for _ in range(rounds):
            for who, side in sides.items():
                turns[who].append(Turn(**side.ask({"epochs": epochs})))
        facts = {who: side.ask({}) for who, side in sides.items()}
    turns.setdefault("float32", turns[KERAS])
    return _row(name, turns, facts)


def _row(name: str, turns: Mapping[str, list[Turn]], facts: Mapping[str, Any]) -> Trained:
    mine, theirs = facts[OURS], facts[KERAS]
    wall = {who: [one.seconds / one.steps for one in found] for who, found in turns.items()}
    cpu = {who: [one.cpu_seconds / one.steps for one in found] for who, found in turns.items()}
    per_second = mine["batch_size"] / median(wall[OURS])
    memory = "device_bytes" if mine["device_bytes"] else "memory_bytes"
    counted = FLOPS * mine["macs"] * per_second if mine["macs"] else None
    return Trained(
        name=name,
        data=mine["data"],
        batch_size=mine["batch_size"],
        precision=mine["precision"],
        ms=1e3 * median(wall[OURS]),
        keras_ms=1e3 * median(wall[KERAS]),
        cpu_ms=1e3 * median(cpu[OURS]),
        keras_cpu_ms=1e3 * median(cpu[KERAS]),
        faster=_ratio(wall[KERAS], wall[OURS]),
        cpu_faster=_ratio(cpu[KERAS], cpu[OURS]),
        float32_ms=1e3 * median(wall["float32"]),
        float32_faster=_ratio(wall["float32"], wall[OURS]),
        per_second=per_second,
        memory_bytes=mine[memory],
        memory_ratio=mine[memory] / theirs[memory],
        utilisation=counted / mine["peak_flops"] if counted else None,
        waiting=median(one.waited / one.seconds for one in turns[OURS]),
        steps_per_call=mine["steps_per_call"],
        jit=mine["jit"],
        turns=len(turns[OURS]),
    )


def _ratio(above: Sequence[float], below: Sequence[float]) -> float:
    return median(a / b for a, b in zip(above, below, strict=True))


class _Process:
    """A side, and how to ask it.

    Args:
        process: Reads commands, and writes answers.
        said: Its standard error.
    """

    def __init__(self, process: Any, said: Any):
        self._process, self._said = process, said

    def ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the answer to a command.

        Raises:
            RuntimeError: The process has ended.
        """
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            self._process.wait()
            self._said.seek(0)
            last = (self._said.read().strip().splitlines() or ["it said nothing"])[-1]
            raise RuntimeError(f"bench train: {command.get('model', 'a side')} failed: {last}")
        return dict(json.loads(answer))


@contextlib.contextmanager
def _side() -> Iterator[_Process]:
    environment = {**os.environ, "TF_FORCE_GPU_ALLOW_GROWTH": "true"}  # two share a GPU
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "zoo.stages.turns"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env=environment,
        )
        try:
            yield _Process(process, said)
        finally:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(BrokenPipeError):
                    stream.close()  # type: ignore[union-attr]
