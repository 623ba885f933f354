"""SavedModel to TensorFlow.js, in its own process: `python -m export.formats.web.convert_tfjs`.

The modules of `tensorflowjs` import what it requires although the conversion of a SavedModel calls
none of it: decision forests and TensorFlow Hub in the file of the conversion, JAX and Keras 2 in
those that its packages gather. Here empty modules stand for the first two, and packages without
their `__init__` for the rest. What the converter itself gets wrong is mended around it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from export.target import SIGNATURE

UNUSED = ("tensorflow_decision_forests", "tensorflow_hub")
FILE = "model.json"


def main() -> None:
    """Converts a SavedModel; outputs keep the names of its signature."""
    parser = argparse.ArgumentParser()
    parser.add_argument("saved_model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("packages", type=Path, help="folder of tensorflowjs")
    given = parser.parse_args()
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # the parent may hold the GPU's memory
    without_erfc(given.saved_model / "saved_model.pb")
    converter = load_converter(given.packages)
    normalise = converter.normalize_bias_add.normalize_bias_add_op
    converter.normalize_bias_add.normalize_bias_add_op = lambda graph: only_biases(normalise(graph))
    converter.convert_tf_saved_model(
        str(given.saved_model),
        str(given.out),
        signature_def=SIGNATURE,
        use_structured_outputs_names=True,
    )
    in_order(given.out / FILE)


def load_converter(packages: Path) -> Any:
    """Returns the module of `tensorflowjs` that converts SavedModels."""
    sys.modules.update({name: ModuleType(name) for name in UNUSED})
    for name in ("tensorflowjs", "tensorflowjs.converters"):
        package = ModuleType(name)
        package.__path__ = [str(packages.joinpath(*name.split(".")))]
        sys.modules[name] = package
    return importlib.import_module("tensorflowjs.converters.tf_saved_model_conversion_v2")


def without_erfc(path: Path) -> None:
    """Writes erfc(x) as 1 - erf(x), which TensorFlow.js has, in the file of a SavedModel."""
    from tensorflow import make_tensor_proto
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved = SavedModel()
    saved.ParseFromString(path.read_bytes())
    for graph in saved.meta_graphs:
        for function in graph.graph_def.library.function:
            renamed = {}  # outputs: that of Erfc is called `y`, that of Sub `z`
            for node in [node for node in function.node_def if node.op == "Erfc"]:
                erf, one = function.node_def.add(), function.node_def.add()
                erf.CopyFrom(node)
                erf.name, erf.op = f"{node.name}/erf", "Erf"
                one.name, one.op = f"{node.name}/one", "Const"
                one.attr["dtype"].CopyFrom(node.attr["T"])
                one.attr["value"].tensor.CopyFrom(make_tensor_proto(1, node.attr["T"].type))
                node.op = "Sub"
                node.input[:] = [f"{one.name}:output:0", f"{erf.name}:y:0"]
                renamed[f"{node.name}:y:0"] = f"{node.name}:z:0"
            for node in function.node_def:
                node.input[:] = [renamed.get(name, name) for name in node.input]
            for name, output in function.ret.items():
                function.ret[name] = renamed.get(output, output)
    path.write_bytes(saved.SerializeToString())


def only_biases(graph: Any) -> Any:
    """Mends a graph whose every sum with a product has become a `BiasAdd`, in place.

    A bias is a vector. Keras writes that of a convolution as (1, 1, 1, channels): it becomes one.
    Other sums, a residual or a scalar, become sums again.
    """
    constants = {node.name: node for node in graph.node if node.op == "Const"}
    uses = Counter(name for node in graph.node for name in node.input)
    for node in [node for node in graph.node if node.op == "BiasAdd"]:
        bias = constants.get(node.input[1])
        sides = bias.attr["value"].tensor.tensor_shape.dim if bias else []
        sizes = [side.size for side in sides]
        if len(sizes) == 1:
            continue
        if bias and sizes and np.prod(sizes) == sizes[-1] and uses[bias.name] == 1:
            del sides[:-1]
            bias.attr.pop("_output_shapes", None)
        else:
            node.op = "AddV2"
            del node.attr["data_format"]
    return graph


def in_order(path: Path) -> None:
    """Puts the outputs' names in the order of the signature, by which TensorFlow.js reads them.

    The converter writes them in that of the alphabet.
    """
    model = json.loads(path.read_text())
    model["userDefinedMetadata"]["structuredOutputKeys"] = list(model["signature"]["outputs"])
    path.write_text(json.dumps(model))


if __name__ == "__main__":
    main()
