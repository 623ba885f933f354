"""TensorFlow on the CPU, for a SavedModel folder: the one engine that imports TensorFlow."""

from __future__ import annotations

import contextlib
from pathlib import Path

import tensorflow as tf

from export.manifest import Signature
from serving.engines import AnyBatch, Arrays, told

SERVED = "serving_default"


class TensorFlow(AnyBatch):
    """The function `serving_default`; TensorFlow lets several threads run it at once.

    TensorFlow takes a number of threads before its first operation only: that of the first model
    holds for all.
    """

    runtime = f"TensorFlow {tf.__version__}"
    alone = False

    def __init__(self, path: Path, signature: Signature, *, num_threads: int) -> None:
        super().__init__(signature)
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(num_threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        with tf.device("/CPU:0"):
            self._loaded = tf.saved_model.load(str(path))  # it owns the variables
        self._call = self._loaded.signatures[SERVED]

    def _run(self, inputs: Arrays) -> Arrays:
        try:
            with tf.device("/CPU:0"):  # a GPU would round to TF32
                found = self._call(**{name: tf.constant(x) for name, x in inputs.items()})
        except tf.errors.InvalidArgumentError as error:  # e.g. an index beyond a table
            raise ValueError(told(self.runtime, error)) from error
        return {name: found[name].numpy() for name in self._outputs}
