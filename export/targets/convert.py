"""SavedModel to `.tflite`, in a process of its own: `python -m export.targets.convert`.

The converter ends some models (integer recurrent layers) with a segmentation fault; here that costs
an exit code and not the caller's process.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # before TensorFlow: the parent may hold the GPU's memory

import numpy as np
import tensorflow as tf

from export.target import SIGNATURE
from export.targets.widen import widened

_TYPES = {"float32": tf.float32, "int8": tf.int8, "int16": tf.int16}


def main() -> None:
    """Converts what `SCRATCH` holds; see `convert`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("scratch", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--int8", choices=_TYPES, help="full integer; the type of the two ends")
    arguments = parser.parse_args()
    arguments.out.write_bytes(convert(arguments.scratch, arguments.int8))


def convert(scratch: Path, ends: str | None) -> bytes:
    """Returns the content of a `.tflite` file.

    Args:
        scratch: Holds `saved_model`, and `INPUT.npy` with the examples of an input.
        ends: Type of the inputs and outputs of a file of integers; `None` for one of floats.

    Raises:
        ValueError: A file of floats is wanted of a model with ranges of its own.
    """
    saved = str(scratch / "saved_model")
    converter = tf.lite.TFLiteConverter.from_saved_model(saved, signature_keys=[SIGNATURE])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    bits = activation_bits(saved)
    if bits and not ends:
        raise ValueError("the model has integer ranges; export it as tflite-int8")
    if bits:
        # The graph has ranges of its own: they become those of the integers.
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    elif ends:
        examples = {path.stem: np.load(path) for path in scratch.glob("*.npy")}

        def representative_dataset() -> Iterator[dict[str, np.ndarray]]:
            for i in range(len(next(iter(examples.values())))):
                yield {name: array[i : i + 1] for name, array in examples.items()}

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = representative_dataset
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if ends:
        converter.inference_input_type = _TYPES[ends]
        converter.inference_output_type = _TYPES[ends]
    data = converter.convert()
    return widened(data) if bits == 16 else bytes(data)


def activation_bits(saved_model: str) -> int:
    """Returns the most bits that a range of a SavedModel's graph has; 0 where there is none."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    proto = SavedModel()
    proto.ParseFromString(Path(saved_model, "saved_model.pb").read_bytes())
    nodes = [
        node
        for graph in proto.meta_graphs
        for function in graph.graph_def.library.function
        for node in function.node_def
    ]
    # A SavedModel leaves out what has its default value.
    found = [node.attr["num_bits"].i or 8 for node in nodes if node.op == "FakeQuantWithMinMaxVars"]
    return max(found, default=0)


if __name__ == "__main__":
    main()
