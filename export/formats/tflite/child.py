"""SavedModel to `.tflite`, job by job, each in a fork of this process.

`export.formats.tflite.convert` starts it and writes a job to its standard input, a line of JSON; it
answers with a line, the status of the fork. What the converter says is in the job's `log`.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # before TensorFlow: the caller may hold the GPU's memory

import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert import mlir_quantize

from export.examples import one_by_one
from export.formats.tflite.calibrate import refined
from export.formats.tflite.constants import rescaled
from export.formats.tflite.entries import alike, in_floats
from export.formats.tflite.floats import kept
from export.formats.tflite.int4 import narrowed
from export.formats.tflite.int16 import widened
from export.formats.tflite.states import one_grid
from export.target import SIGNATURE

PRECISIONS = ("float32", "float16", "dynamic", "int8", "int16x8", "int4")
_TYPES = {"float32": tf.float32, "int8": tf.int8, "uint8": tf.uint8, "int16": tf.int16}


def main() -> None:
    """Does the jobs of standard input until it ends."""
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            _do(job)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _do(job: dict[str, Any]) -> None:
    """Does one job, and ends the process."""
    scratch = Path(job["scratch"])
    log = os.open(scratch / "log", os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(log, stream)
    try:
        Path(job["out"]).write_bytes(convert(scratch, **job["options"]))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def convert(
    scratch: Path, *, precision: str, io: str = "float32", keep: Sequence[str] = ()
) -> bytes:
    """Returns the content of a `.tflite` file.

    Args:
        scratch: Holds `saved_model`, and `INPUT.npy` with the examples of an input.
        precision: One of `PRECISIONS`.
        io: Type of the inputs and outputs of a file of integers.
        keep: Names of layers that have 8 bits in an int4 file.

    Raises:
        ValueError: The model has ranges of its own and another file is wanted; or there are no
            examples to calibrate with.
    """
    saved = str(scratch / "saved_model")
    converter = tf.lite.TFLiteConverter.from_saved_model(saved, signature_keys=[SIGNATURE])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    examples = {path.stem: np.load(path) for path in scratch.glob("*.npy")}
    bits = activation_bits(saved)
    if bits:
        # The graph has ranges of its own: they become those of the integers.
        if precision != "int8":
            raise ValueError("the model has integer ranges; export it as tflite-int8")
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        _set_ends(converter, "int16" if (bits, io) == (16, "int8") else io)
        data = one_grid(rescaled(bytes(converter.convert())))
        return widened(data) if bits == 16 else data
    if precision in CALIBRATED and not examples:
        raise ValueError("no examples to calibrate with; pass `samples`, or --samples FILE.npy")
    if precision == "int4":
        return narrowed(bytes(converter.convert()), examples, keep)
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision in CALIBRATED:
        converter.representative_dataset = partial(one_by_one, examples)
        converter.target_spec.supported_ops = [CALIBRATED[precision]]
        _refine(converter, examples, precision)
        _set_ends(converter, io)
        return one_grid(rescaled(bytes(converter.convert())))
    return bytes(converter.convert())


CALIBRATED = {
    "int8": tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
    "int16x8": tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
    "int4": None,
}


def _refine(converter: Any, examples: Mapping[str, np.ndarray], precision: str) -> None:
    """Has the converter refine what it calibrated before it quantises."""
    plain = converter._quantize

    def quantise(content: bytes, entry: Any, end: Any, *settings: Any) -> bytes:
        converter._experimental_calibrate_only = True
        calibrated = plain(content, entry, end, *settings)
        # An input of integers is on one grid, whatever reads it.
        unlike = precision == "int8" and entry == tf.float32
        calibrated = alike(calibrated, examples) if unlike else calibrated
        better = refined(calibrated, examples, ranges=precision == "int8")
        converter._experimental_calibrate_only = False
        if precision == "int8":
            floats = kept(better) | (in_floats(better, examples) if unlike else set())
            return bytes(
                mlir_quantize(
                    better,
                    input_data_type=entry,
                    output_data_type=end,
                    denylisted_nodes=floats or None,
                )
            )
        return bytes(plain(better, entry, end, *settings))  # calibrates again

    converter._quantize = quantise


def _set_ends(converter: Any, ends: str) -> None:
    converter.inference_input_type = _TYPES[ends]
    converter.inference_output_type = _TYPES[ends]


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
