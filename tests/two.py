"""The same training on one device and on two, for programs of their own, which import this first.

TensorFlow splits the CPU into two devices only before its first operation. A program that several
workers run at the same time (`tests.programs.run_workers`) has their devices in the place of two.
"""

import os

import numpy as np

from zoo.recipe import Hardware, resolve
from zoo.training import workers
from zoo.training.run import Run
from zoo.training.strategy import choose_machine
from zoo.training.trainer import Trainer

SEVERAL = (
    {"strategy": "multiworker", "wait_seconds": 60}
    if workers.VARIABLE in os.environ
    else {"strategy": "mirrored", "devices": 2}
)
TWO = choose_machine(Hardware(**SEVERAL, precision="float32"), join=True)
ONE = choose_machine(Hardware(strategy="one", precision="float32"))


def trained(make, batches, task, settings, keys):
    """Trains what `make` gives, on either.

    Returns how far apart the weights are, how far apart `keys` of the histories, and how far the
    weights have moved, each at most; and the networks of one device, and of two.
    """
    from tests.toy import difference

    ends, histories = [], []
    for machine in (ONE, TWO):
        networks = make()
        feeds = batches(networks, training=True), batches(networks)
        history = Trainer(networks, task, settings, machine).fit(*feeds)
        ends.append(networks)
        histories.append([row[key] for row in history.rows for key in keys])
    apart = float(np.abs(np.subtract(*histories)).max())
    return [difference(*ends), apart, difference(ends[0], make())], ends


def of_recipe(model, changes, *, data=None, prepare=None, keys=("loss", "val_loss")):
    """A recipe's run on either, in float32; what `prepare` does is done to fresh networks.

    Returns how far apart the weights are, how far apart `keys` of the histories, and how far the
    weights have moved, each at most.
    """
    ends, histories = [], []
    for devices in (SEVERAL, {"strategy": "one"}):
        hardware = {**devices, "precision": "float32"}
        machine = [f"hardware.{key}={value}" for key, value in hardware.items()]
        run = Run(resolve(model, data=data, changes=[*changes, *machine]), join=True)
        networks = run.create()
        if prepare is not None:
            prepare(networks)
        before = _weights(networks)
        history = run.train(networks)
        ends.append(_weights(networks))
        histories.append([row[key] for row in history.rows for key in keys])
    apart = float(np.abs(np.subtract(*histories)).max())
    return [_apart(*ends), apart, _apart(ends[1], before)]


def freeze_statistics(networks):
    """Normalisations learn nothing: statistics of a batch are a replica's own."""
    import keras

    for network in networks.values():
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False


def _weights(networks):
    return [array for network in networks.values() for array in network.get_weights()]


def _apart(one, other):
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))
