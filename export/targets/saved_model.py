"""TensorFlow SavedModel, in the folders that TF Serving wants: `NAME/1/`.

`serving_default` takes the model's own inputs by name, with a free batch. Where the preprocessing
and the labels are known, `classify_bytes` takes encoded pictures and returns labels with scores.
Requests to warm up with lie in `assets.extra`, where TF Serving looks for them.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from pathlib import Path
from typing import ClassVar, Literal

from export.examples import Arrays
from export.target import SIGNATURE, Session, Source, Target, Written

VERSION = "1"


class SavedModel(Target):
    """A SavedModel folder, float32."""

    kind: Literal["saved_model"] = "saved_model"

    runtime: ClassVar[str] = "tensorflow"
    requires: ClassVar[tuple[str, ...]] = ("tensorflow", "tensorflow-serving-api")
    tables: ClassVar[bool] = True

    def write(self, source: Source, directory: Path) -> Written:
        """Writes the folder `NAME/1`.

        Raises:
            RuntimeError: `classify_bytes` does not answer as the model does.
        """
        from export.formats.saved_model import signatures

        name = re.sub(r"[^\w.-]", "_", source.about.name) or "model"
        path = directory / name / VERSION
        signatures.save(source, path, batch=None, classify=True)
        signatures.warm_up(source, path, name)
        named = [SIGNATURE]
        if signatures.classifies(source):
            named.append(signatures.CLASSIFY)
            signatures.check_classify(source, path)
        return Written(f"{name}/{VERSION}", {"signatures": named})

    def open(self, path: Path, *, threads: int | None = None) -> Session:
        """Opens the serving signature on the CPU.

        TensorFlow takes a number of threads before its first operation only.
        """
        import tensorflow as tf

        if threads:
            with contextlib.suppress(RuntimeError):
                tf.config.threading.set_intra_op_parallelism_threads(threads)
                tf.config.threading.set_inter_op_parallelism_threads(1)
        with tf.device("/CPU:0"):
            loaded = tf.saved_model.load(str(path))
        serve = loaded.signatures[SIGNATURE]

        def call(batch: Arrays) -> Arrays:
            with tf.device("/CPU:0"):  # a GPU would round to TF32
                outputs = serve(**{name: tf.constant(array) for name, array in batch.items()})
            # The loaded object owns the variables: without a name for it they are freed at once.
            return loaded and {name: value.numpy() for name, value in outputs.items()}

        return Session(call, precision="float32")

    def operators(self, path: Path) -> dict[str, int]:
        """Counts the operations of the signature's graph and of the functions that it calls."""
        import tensorflow as tf

        graph = tf.saved_model.load(str(path)).signatures[SIGNATURE].graph.as_graph_def()
        nodes = [graph.node, *(function.node_def for function in graph.library.function)]
        return dict(sorted(Counter(node.op for part in nodes for node in part).items()))
