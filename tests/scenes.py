"""A few digit scenes of their own for the tests: made in a moment, in a cache that goes away."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
COUNTS = {"train": 96, "validation": 24, "test": 24}


def few(tmp_path_factory):
    """Makes the data sets small while it is open: the body of a fixture of a module."""
    from zoo.data import digit_scenes

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setattr(digit_scenes, "COUNTS", COUNTS)
        yield


def interrupt(step):
    """Presses Ctrl-C after a number of steps."""
    seen = []

    def press(batch, logs):
        seen.append(batch)
        if len(seen) == step:
            os.kill(os.getpid(), signal.SIGINT)

    return keras.callbacks.LambdaCallback(on_train_batch_end=press)


def difference(one, other):
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)


TWO_DEVICES = """
    import json, sys
    import numpy as np
    from zoo.data import digit_scenes
    from zoo.recipe import resolve
    from zoo.training.run import Run

    digit_scenes.COUNTS = {"train": 64, "validation": 30, "test": 4}  # 30: a batch that is padded
    changes = json.loads(sys.argv[2]) + [
        "train.epochs=2", "train.batch_size=16", "hardware.precision=float32",
        "train.optimizer.kind=sgd", "train.optimizer.learning_rate=0.05",
        "train.optimizer.warmup=0", "train.optimizer.clip_global_norm=0.5",
    ]
    runs = []
    for hardware in (["hardware.strategy=mirrored", "hardware.devices=2"],
                     ["hardware.strategy=one"]):
        run = Run(resolve(sys.argv[1], changes=[*changes, *hardware]))
        networks = run.create()
        history = run.train(networks)
        runs.append((run.machine.replicas, networks["net"].get_weights(), history.rows))
    (two, split, rows), (one, whole, others) = runs
    far = max(float(np.abs(a - b).max()) for a, b in zip(split, whole))
    keys = [key for key in rows[0] if key != "seconds"]
    told = max(abs(a[key] - b[key]) for a, b in zip(rows, others) for key in keys)
    moved = len({row["loss"] for row in rows})
    print(json.dumps({"replicas": [two, one], "weights": far, "history": told, "moved": moved}))
"""


def two_devices(model, changes, home):
    """Trains on two devices and on one, in a process of its own; returns what differed.

    TensorFlow splits the CPU only before its first operation.
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(TWO_DEVICES), model, json.dumps(changes)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
        env={**os.environ, "ZOO_HOME": str(home), "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
