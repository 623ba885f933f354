"""One side of a comparison of trainings, in a process of its own: `python -m zoo.stages.turns`.

Commands are lines of JSON on standard input, answers are lines on standard output. The process
waits between its turns, so that two of them never compute at the same time.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

OURS, KERAS = "ours", "keras"
WARM_UP = 3  # epochs, and more until the zoo has chosen
TOTAL = 10**6  # steps that the zoo chooses for: a long training
LEAST_STEPS = 4  # of an epoch
PEAK_SECONDS = 0.5  # of products of matrices


class Turn(NamedTuple):
    """What a turn took.

    Attributes:
        seconds: Wall time.
        cpu_seconds: Of all cores.
        steps: Steps in it.
        waited: Wall time in which the step waited for its batch; NaN where nobody looked.
    """

    seconds: float
    cpu_seconds: float
    steps: int
    waited: float


class Side:
    """A training that can be asked to take turns.

    Args:
        who: `OURS`, or `KERAS`.
        model: Name of a row of the catalogue.
        data: Name of a data set in place of the recipe's.
        changes: Changes of the recipe.
        steps: Steps of an epoch, at most; `None` takes all.
    """

    def __init__(
        self, who: str, model: str, data: str | None, changes: Sequence[str], steps: int | None
    ):
        from zoo.recipe import resolve
        from zoo.training.run import Run

        changes = [*changes, "hardware.strategy=one", "train.epochs=100", "train.keep=last"]
        recipe = resolve(model, data=data, changes=changes)
        if getattr(recipe.task, "kind", "") == "classify":  # `compile` has no word for it
            changes.append("task.label_smoothing=0")
        if recipe.environment is None:
            changes.append("data.augment={mirror: false}")
        recipe = resolve(model, data=data, changes=changes)
        self.run = Run(recipe)
        size, acted = recipe.train.batch_size, self.run.origin.acted
        if steps is not None and not acted and steps * size < len(self.run.data.train):
            fewer = dataclasses.replace(self.run.data, train=self.run.data.train[: steps * size])
            self.run = self.run.on(fewer)
        self.networks = self.run.create()
        self.source = self.run.origin.experience(recipe.train, self.networks)
        self.epoch, self._who = 0, who
        if who == OURS:
            self._loop = self._made()
        else:
            from zoo.stages.plain_fit import Plain

            self._plain = Plain(self.run, self.networks, self.source)

    def warm_up(self) -> float:
        """Trains until graphs are made and choices too; returns the seconds of a step."""
        for _ in range(WARM_UP):
            turn = self.turn(1)
        if self._who == OURS:
            while self._loop.strides.measuring and self.epoch < 100:
                self.turn(1)
            turn = self.turn(1)
        return turn.seconds / turn.steps

    def turn(self, epochs: int) -> Turn:
        """Trains for some epochs."""
        steps = epochs * self.source.steps
        if self._who == KERAS:
            seconds, cpu_seconds = self._plain.turn(epochs)
            return Turn(seconds, cpu_seconds, steps, float("nan"))
        began, cpu, self.waited = time.perf_counter(), time.process_time(), 0.0
        for _ in range(epochs):
            self._loop.train_epoch(self.epoch)
            self.epoch += 1
        return Turn(time.perf_counter() - began, time.process_time() - cpu, steps, self.waited)

    def facts(self) -> dict[str, Any]:
        """Returns what is known when the turns are over."""
        facts: dict[str, Any] = {
            "batch_size": self.source.batch_size,
            "precision": self.run.machine.precision,
            "data": self.run.data.name,
            "memory_bytes": memory_bytes(),
            "device_bytes": device_bytes(),
        }
        if self._who == OURS:
            facts |= {
                "steps_per_call": self._loop.strides.now,
                "jit": self.run.machine.jit,
                "macs": self._macs(),
                "peak_flops": peak_flops(self.run.machine.precision),
            }
        return facts

    def _made(self) -> Any:
        from zoo.training.callbacks.calls import Calls
        from zoo.training.loop import Loop
        from zoo.training.strides import Strides

        recipe, run = self.run.recipe, self.run
        loop = Loop(self.networks, run.task, recipe.train, run.machine, self.source)
        loop.enter(0)
        loop.strides = Strides(run.machine, self.source, total=TOTAL)
        loop.calls = Calls([], loop.seen, epochs=1, steps=self.source.steps)
        loop.saved_at = loop.looked_at = time.monotonic()
        pieces = loop.pieces

        def timed(epoch: int) -> Iterator[Any]:
            found = pieces(epoch)
            while True:
                began = time.perf_counter()
                one = next(found, None)
                self.waited += time.perf_counter() - began
                if one is None:
                    return
                yield one

        loop.pieces = timed  # type: ignore[method-assign]
        return loop

    def _macs(self) -> int | None:
        """Multiply-accumulates of an example, where the training is one network's on examples."""
        from compress.measure import account

        if len(self.networks) > 1 or self.run.origin.acted:
            return None
        found = account.total(account.layer_table(next(iter(self.networks.values()))))
        return None if found.num_uncounted else found.macs


def memory_bytes() -> int:
    """Returns the most memory that this process has had."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def device_bytes() -> int | None:
    """Returns the most memory of the GPU that was in use; `None` without one."""
    import tensorflow as tf

    if not tf.config.list_logical_devices("GPU"):
        return None
    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])


def peak_flops(precision: str) -> float:
    """Returns what this device reaches in a product of large matrices, in operations a second."""
    import tensorflow as tf

    side = 8192 if tf.config.list_logical_devices("GPU") else 1024
    dtype = tf.bfloat16 if precision == "mixed_bfloat16" else tf.float32
    one = tf.random.stateless_normal((side, side), (1, 2), dtype=dtype)
    product = tf.function(lambda a: tf.linalg.matmul(a, a), autograph=False)
    float(product(one)[0, 0])
    best, until = 0.0, time.perf_counter() + PEAK_SECONDS
    while time.perf_counter() < until:
        began = time.perf_counter()
        float(product(one)[0, 0])
        best = max(best, 2 * side**3 / (time.perf_counter() - began))
    return best


def main() -> None:
    """Answers commands until the end of the input."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    side: Any = None
    for line in sys.stdin:
        command = json.loads(line)
        if "who" in command:
            side = Side(**command)
            answer: Any = {"seconds": side.warm_up(), "steps": side.source.steps}
        elif "epochs" in command:
            answer = side.turn(command["epochs"])._asdict()
        else:
            answer = side.facts()
        out.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
