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

_TYPES = {"float32": tf.float32, "int8": tf.int8}


def main() -> None:
    """Converts `SCRATCH/saved_model`; `SCRATCH/INPUT.npy` holds the examples of an input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("scratch", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--int8", choices=_TYPES, help="full integer; the type of the two ends")
    arguments = parser.parse_args()

    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(arguments.scratch / "saved_model"), signature_keys=[SIGNATURE]
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if arguments.int8:
        examples = {path.stem: np.load(path) for path in arguments.scratch.glob("*.npy")}

        def representative_dataset() -> Iterator[dict[str, np.ndarray]]:
            for i in range(len(next(iter(examples.values())))):
                yield {name: array[i : i + 1] for name, array in examples.items()}

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = representative_dataset
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = _TYPES[arguments.int8]
        converter.inference_output_type = _TYPES[arguments.int8]
    arguments.out.write_bytes(converter.convert())


if __name__ == "__main__":
    main()
