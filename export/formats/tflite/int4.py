"""Kernels of 4 bits in a TFLite file, by `litert-quantizer`: the converter has none of its own.

Activations are int8, their ranges the least and the greatest value that the examples gave (the
quantiser's default, a moving average, forgets the early ones).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.examples import one_by_one
from export.target import SIGNATURE

NARROW = ("CONV_2D", "FULLY_CONNECTED")  # the operators whose kernels LiteRT has in 4 bits


def narrowed(content: bytes, examples: Mapping[str, np.ndarray], keep: Sequence[str]) -> bytes:
    """Returns the file with kernels of 4 bits and activations of 8.

    Args:
        content: A `.tflite` file of floats.
        examples: Inputs (n, ...) by name.
        keep: Names of layers whose kernels have 8 bits.
    """
    from litert_quantizer import algorithm_manager, calibrator, qtyping, recipe_manager
    from litert_quantizer.quantizer import Quantizer
    from litert_quantizer.utils import qsv_utils

    operation = qtyping.TFLOperationName
    recipe = recipe_manager.RecipeManager()

    def quantise(regex: str, names: Sequence[str], bits: int) -> None:
        for name in names:
            recipe.add_static_config(
                regex=regex,
                operation_name=getattr(operation, name),
                activation_num_bits=8,
                weight_num_bits=bits,
            )

    quantise(".*", ("ALL_SUPPORTED",), 8)
    quantise(".*", NARROW, 4)
    for output in _outputs_of(content, keep):
        quantise(rf"(.*;)?{re.escape(output)}(;.*)?$", NARROW, 8)
    for end in (operation.INPUT, operation.OUTPUT):  # stay float
        recipe.add_quantization_config(
            regex=".*",
            operation_name=end,
            algorithm_key=algorithm_manager.AlgorithmName.NO_QUANTIZE,
        )
    observed = calibrator.Calibrator(content, qsv_update_func=qsv_utils.min_max_update)
    observed.calibrate({SIGNATURE: one_by_one(examples)}, recipe)
    quantizer = Quantizer(content, recipe.get_quantization_recipe())
    result = quantizer.quantize(observed.get_model_qsvs())
    return bytes(result.quantized_model)


def _outputs_of(content: bytes, layers: Sequence[str]) -> list[str]:
    """Names of the outputs of the operators that hold the kernels of these layers."""
    model = schema.Model.GetRootAs(content)
    # TensorFlow numbers the scopes: the kernel of `conv1` is `net_1/conv1_1/convolution`.
    wanted = re.compile("|".join(rf"(.*/)?{re.escape(name)}(_1)?/[^/]*" for name in layers) or "$^")
    found = []
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for operator in map(graph.Operators, range(graph.OperatorsLength())):
            places = [place for place in operator.InputsAsNumpy() if place >= 0]
            names = (graph.Tensors(place).Name().decode() for place in places[1:])
            if any(wanted.fullmatch(part) for name in names for part in name.split(";")):
                found.append(graph.Tensors(operator.Outputs(0)).Name().decode())
    return found
