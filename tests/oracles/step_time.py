"""Times our training steps beside tfmot's: `python tests/oracles/step_time.py`.

tfmot wraps a tf_keras model, ours is the same net in Keras 3; equal batches, optimizer, sparsity
and renewals of the masks. Single steps take turns, so that other work on the machine slows all of
them. A step is timed from the beginning of a batch to the end of its callbacks. `plain` is what
each Keras takes by itself. The command ends with status 1 where, renewals among them, our steps
take longer than tfmot's.
"""

import os
import statistics
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
sys.path.insert(0, str(Path(__file__).parents[2]))

import keras
import numpy as np
import tensorflow as tf

import compress
from compress import tfmot
from compress.graph.holding import hold
from compress.passes.prune.schedule import Schedule

TFMOT = tfmot.import_tfmot()
import tf_keras  # noqa: E402  after tfmot's guarded import

BATCH, STEPS, WARM_UP, EVERY = 64, 420, 20, 10
RANDOM = np.random.RandomState(0)
IMAGES = RANDOM.randn(BATCH * 20, 28, 28, 1).astype("float32")
LABELS = RANDOM.randint(0, 10, BATCH * 20)


def net(framework):
    layers = framework.layers
    return framework.Sequential(
        [
            layers.InputLayer((28, 28, 1)),
            layers.Conv2D(16, 3, padding="same", activation="relu", name="conv1"),
            layers.Conv2D(32, 3, strides=2, padding="same", activation="relu", name="conv2"),
            layers.Conv2D(32, 3, strides=2, padding="same", activation="relu", name="conv3"),
            layers.Flatten(name="flat"),
            layers.Dense(128, activation="relu", name="fc"),
            layers.Dense(10, name="logits"),
        ]
    )


def theirs_pruned():
    schedule = TFMOT.sparsity.keras.ConstantSparsity(0.8, 0, frequency=EVERY)
    model = TFMOT.sparsity.keras.prune_low_magnitude(net(tf_keras), schedule)
    return tf_keras, model, [TFMOT.sparsity.keras.UpdatePruningStep()]


def ours_pruned():
    schedule = Schedule(shape="constant", end=1.0, every=EVERY)
    return keras, net(keras), [compress.Prune(sparsity=0.8, schedule=schedule).callback()]


def theirs_shared():
    start = TFMOT.clustering.keras.CentroidInitialization.LINEAR
    settings = {"number_of_clusters": 16, "cluster_centroids_init": start}
    return tf_keras, TFMOT.clustering.keras.cluster_weights(net(tf_keras), **settings), []


def ours_shared():
    model = compress.ShareWeights(bits=4).apply(net(keras)).model
    return keras, hold(model), []


BUILDERS = {
    "tf_keras, plain": lambda: (tf_keras, net(tf_keras), []),
    "Keras 3, plain": lambda: (keras, net(keras), []),
    "tfmot, pruned": theirs_pruned,
    "ours, pruned": ours_pruned,
    "tfmot, shared": theirs_shared,
    "ours, shared": ours_shared,
}
PAIRS = [
    ("Keras 3, plain", "tf_keras, plain"),
    ("ours, pruned", "tfmot, pruned"),
    ("ours, shared", "tfmot, shared"),
]


def steps(framework, model, callbacks):
    """Trains for ever; each `next` is one step, with its callbacks, and gives its seconds."""
    loss = framework.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(framework.optimizers.SGD(0.01), loss)
    params = {"epochs": 1, "steps": STEPS}
    listed = framework.callbacks.CallbackList(callbacks, model=model, **params)
    data = tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(BATCH).repeat()
    batches = iter(data)
    model.make_train_function()
    listed.on_train_begin()
    listed.on_epoch_begin(0)
    for number in range(STEPS):
        start = time.perf_counter()
        listed.on_train_batch_begin(number)
        model.train_function(batches)
        listed.on_train_batch_end(number)
        yield time.perf_counter() - start


def main():
    runs = {name: steps(*build()) for name, build in BUILDERS.items()}
    seconds = {name: [] for name in runs}
    for _ in range(STEPS):
        for name, run in runs.items():
            seconds[name].append(next(run))
    seconds = {name: values[WARM_UP:] for name, values in seconds.items()}
    lines = []
    for name, values in seconds.items():
        median, mean = 1e3 * statistics.median(values), 1e3 * usual(values)
        lines.append(f"{name:16} median {median:6.2f} ms  with renewals {mean:6.2f} ms")
    slower = False
    for ours, theirs in PAIRS:
        ratios = [f(seconds[ours]) / f(seconds[theirs]) for f in (statistics.median, usual)]
        lines.append(f"{ours} / {theirs}: median {ratios[0]:.2f}, with renewals {ratios[1]:.2f}")
        slower |= ours.startswith("ours") and ratios[1] > 1
    sys.stdout.write("\n".join(lines) + "\n")
    return int(slower)


def usual(values):
    """The mean over a cycle of the median of each of its steps; the last renews the masks."""
    return statistics.mean(statistics.median(values[i::EVERY]) for i in range(EVERY))


if __name__ == "__main__":
    sys.exit(main())
