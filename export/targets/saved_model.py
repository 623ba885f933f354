"""TensorFlow SavedModel: what TF Serving, TensorFlow.js and the TFLite converter read.

One signature, `serving_default`, with the model's own names and a free batch.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import ClassVar, Literal

import tensorflow as tf

from export.examples import Arrays, in_batches
from export.source import serving_function
from export.target import SIGNATURE, Source, Target

FOLDER = "saved_model"


class SavedModel(Target):
    """A SavedModel folder, float32."""

    kind: Literal["saved_model"] = "saved_model"

    runtime: ClassVar[str] = "tensorflow"
    requires: ClassVar[tuple[str, ...]] = ("tensorflow",)

    def write(self, source: Source, directory: Path) -> str:
        """Writes the folder `saved_model`."""
        save(source, directory / FOLDER, batch=None)
        return FOLDER

    def run(self, path: Path, inputs: Arrays) -> Arrays:
        """Runs the serving signature on the CPU."""
        with tf.device("/CPU:0"):  # a GPU would round to TF32
            # The loaded object owns the variables: without a name for it they are freed at once.
            loaded = tf.saved_model.load(str(path))
            serve = loaded.signatures[SIGNATURE]
            return in_batches(
                lambda batch: serve(**{k: tf.constant(v) for k, v in batch.items()}), inputs
            )

    def operators(self, path: Path) -> dict[str, int]:
        """Counts the operations of the signature's graph and of the functions that it calls."""
        graph = tf.saved_model.load(str(path)).signatures[SIGNATURE].graph.as_graph_def()
        nodes = [graph.node, *(function.node_def for function in graph.library.function)]
        return dict(sorted(Counter(node.op for part in nodes for node in part).items()))


def save(source: Source, path: Path, *, batch: int | None) -> None:
    """Writes a SavedModel whose signature takes `batch` examples; `None` for any number."""
    module = tf.Module()
    # The variables, not the model: to save a tracked Keras model TensorFlow traces its own
    # `serving_default`, where augmentation is live.
    module.variables_to_save = [variable.value for variable in source.net.variables]
    serve = serving_function(source.net, source.signature, batch=batch)
    tf.saved_model.save(module, str(path), signatures={SIGNATURE: serve})
