"""TensorFlow on the CPU, for a SavedModel folder: the one engine that imports TensorFlow."""

from __future__ import annotations

import contextlib
from pathlib import Path

import tensorflow as tf

from export.manifest import Signature
from serving.engines import Arrays, one_by_one, one_line

SERVED = "serving_default"


class TensorFlow:
    """The function `serving_default`; TensorFlow lets several threads run it at once.

    TensorFlow takes a number of threads before its first operation only: that of the first model
    holds for all.
    """

    runtime = f"TensorFlow {tf.__version__}"
    alone = False

    def __init__(self, path: Path, signature: Signature, *, num_threads: int) -> None:
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(num_threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        self.signature = signature
        with tf.device("/CPU:0"):
            self._loaded = tf.saved_model.load(str(path))  # it owns the variables
        self._call = self._loaded.signatures[SERVED]
        self._outputs = [spec.name for spec in signature.outputs]
        self._one_by_one = any(spec.shape[0] == 1 for spec in signature.inputs)
        self.batches = not self._one_by_one

    def predict(self, inputs: Arrays) -> Arrays:
        """Runs the whole batch at once, if the model can."""
        return one_by_one(self._run, inputs) if self._one_by_one else self._run(inputs)

    def _run(self, inputs: Arrays) -> Arrays:
        try:
            with tf.device("/CPU:0"):  # a GPU would round to TF32
                found = self._call(**{name: tf.constant(x) for name, x in inputs.items()})
        except tf.errors.InvalidArgumentError as error:  # e.g. an index beyond a table
            raise ValueError(f"{self.runtime}: {one_line(error)}") from error
        return {name: found[name].numpy() for name in self._outputs}
