"""A few digit scenes, and eyes, of their own: made in a moment, in a cache that goes away."""

import json

import pytest

from tests import toy

COUNTS = {"train": 96, "validation": 24, "test": 24}


def few(tmp_path_factory):
    """Makes the data sets small while it is open: the body of a fixture of a module."""
    from zoo.data.sets import digit_scenes, eyes

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("home")))
        for data in (digit_scenes, eyes):
            patch.setattr(data, "COUNTS", COUNTS)
        yield


TWO_DEVICES = """
    import json, sys
    import numpy as np
    from zoo.data.sets import digit_scenes, eyes
    from zoo.recipe import resolve
    from zoo.training.run import Run

    # 30: a batch that is padded
    digit_scenes.COUNTS = eyes.COUNTS = {"train": 64, "validation": 30, "test": 4}
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
        for layer in networks["net"]._flatten_layers():
            if type(layer).__name__ == sys.argv[3]:
                layer.trainable = False
        history = run.train(networks)
        runs.append((run.machine.replicas, networks["net"].get_weights(), history.rows))
    (two, split, rows), (one, whole, others) = runs
    far = max(float(np.abs(a - b).max()) for a, b in zip(split, whole))
    keys = [key for key in rows[0] if key != "seconds"]
    told = max(abs(a[key] - b[key]) for a, b in zip(rows, others) for key in keys)
    moved = len({row["loss"] for row in rows})
    print(json.dumps({"replicas": [two, one], "weights": far, "history": told, "moved": moved}))
"""


def two_devices(model, changes, home, *, frozen=""):
    """Trains on two devices and on one, layers of a class frozen; returns what differed."""
    return toy.printed(TWO_DEVICES, model, json.dumps(changes), frozen, ZOO_HOME=str(home))
