"""The same training on one device and on two, for programs of their own, which import this first.

TensorFlow splits the CPU into two devices only before its first operation.
"""

import numpy as np

from zoo.recipe import Hardware
from zoo.training.strategy import choose_machine
from zoo.training.trainer import Trainer

TWO = choose_machine(Hardware(strategy="mirrored", devices=2, precision="float32"))
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
