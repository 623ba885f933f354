"""Several workers, in real processes on loopback: the steps of one device, kills, and resuming."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from tests import programs
from tests.programs import printed_by_workers
from zoo.bundle import Bundle
from zoo.models.saved import load_model

ROOT = Path(__file__).parents[1]
LIMIT = 300  # seconds until everything that a test has started is killed
SAME = """
    import json, sys
    from tests import two
    from tests.toy import feed, settings, small, validation
    from zoo.tasks.labels.classify import Classify

    # 10 steps an epoch: 64 and some more; the norm of the whole gradient is clipped in all.
    chosen = settings(epochs=7, clip_global_norm=0.5)
    batches = lambda networks, training=False: feed() if training else validation()
    make = lambda: {"net": small()}
    found, _ = two.trained(make, batches, Classify(), chosen, ("loss", "val_loss", "val_top1"))
    print(json.dumps([*found, two.TWO.worker.number, two.TWO.replicas]))
"""


@pytest.mark.dist
def test_two_workers_take_the_steps_of_one_device():
    found = printed_by_workers(SAME)
    for number, (weights, losses, moved, own, replicas) in enumerate(found):
        assert (own, replicas) == (number, 2)
        assert moved > 0.1 and weights < 1e-6 and losses < 1e-5
