"""Reads and runs `.tflite` files."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from export.examples import Arrays
from export.manifest import Signature, TensorSpec
from export.target import SIGNATURE, Session

LOG = logging.getLogger("export")


def open_file(
    content: bytes,
    *,
    batch: int | None = 1,
    threads: int | None = None,
    reference: bool = False,
) -> Session:
    """Opens a `.tflite` file on the CPU; integer ends are scaled.

    Args:
        content: Bytes of the file.
        batch: Number of examples that a call takes; `None` for any.
        threads: Threads of one inference; `None` leaves it to the runtime.
        reference: Takes the plain kernels, which round as TFLite-Micro's do, not XNNPACK's.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kernels = OpResolverType.BUILTIN_REF if reference else OpResolverType.AUTO
    interpreter = Interpreter(
        model_content=content, num_threads=threads, experimental_op_resolver_type=kernels
    )
    if stateful := keeps_states(content):
        interpreter.allocate_tensors()  # which is refused once there is a runner
    runner = interpreter.get_signature_runner(SIGNATURE)
    entries, exits = runner.get_input_details(), runner.get_output_details()

    def call(inputs: Arrays) -> Arrays:
        if stateful:
            interpreter.reset_all_variables()
        outputs = runner(**{name: to_file(inputs[name], entries[name]) for name in inputs})
        return {name: from_file(array, exits[name]) for name, array in outputs.items()}

    return Session(call, batch=batch)


def calls(
    content: bytes, examples: Iterable[Arrays], *, reference: bool = False
) -> Iterator[Callable[[int], np.ndarray | None]]:
    """Runs a file on each example; yields what reads a tensor by its place, `None` if unused.

    Args:
        content: Bytes of the file.
        examples: By input name, as the file takes them.
        reference: Takes the plain kernels.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    # Inside a delegate there are no tensors to read.
    fast = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(
        model_content=content,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF if reference else fast,
    )
    interpreter.allocate_tensors()

    def read(place: int) -> np.ndarray | None:
        try:
            return np.asarray(interpreter.get_tensor(place))
        except ValueError:  # it has no memory: its operator does not run
            return None

    entries = interpreter.get_signature_runner(SIGNATURE).get_input_details()
    for example in examples:
        interpreter.reset_all_variables()
        for name, entry in entries.items():
            interpreter.set_tensor(entry["index"], example[name])
        interpreter.invoke()
        yield read


def to_file(array: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Quantises: q = round(x / scale) + zero point, clipped. A float tensor has scale 0."""
    scale, zero_point = details["quantization"]
    if not scale or array.dtype == details["dtype"]:
        return array
    limits = np.iinfo(details["dtype"])
    steps = np.clip(np.round(array / scale) + zero_point, limits.min, limits.max)
    return np.asarray(steps, details["dtype"])


def from_file(array: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Dequantises: x = scale * (q - zero point)."""
    scale, zero_point = details["quantization"]
    return np.float32(scale) * (array.astype(np.float32) - zero_point) if scale else array


def operators(content: bytes) -> Iterator[tuple[str, str]]:
    """Yields the name and the output type of each operator of all subgraphs."""
    types = {value: name for name, value in vars(schema.TensorType).items()}
    model = schema.Model.GetRootAs(content)
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for operator in map(graph.Operators, range(graph.OperatorsLength())):
            yield _name(model, operator), types[graph.Tensors(operator.Outputs(0)).Type()]


def int8_tensors(content: bytes) -> dict[str, int]:
    """Returns the places of the int8 tensors of the main graph, by their names."""
    graph = schema.Model.GetRootAs(content).Subgraphs(0)
    tensors = map(graph.Tensors, range(graph.TensorsLength()))
    return {
        tensor.Name().decode(): place
        for place, tensor in enumerate(tensors)
        if tensor.Type() == schema.TensorType.INT8
    }


def count(content: bytes) -> dict[str, int]:
    """Counts the operators of all subgraphs by name."""
    return dict(sorted(Counter(name for name, _ in operators(content)).items()))


def quantisation(content: bytes) -> dict[str, dict[str, Any]]:
    """Returns `scale` and `zero_point` of each input and output that is of integers, by name.

    A number is scale * (integer - zero point). Of an end that the file itself turns from or into
    floats they are those of the integers behind it.
    """
    model = schema.Model.GetRootAs(content)
    graph = model.Subgraphs(0)
    behind = {}
    for operator in map(graph.Operators, range(graph.OperatorsLength())):
        name = _name(model, operator)
        if name == "QUANTIZE":
            behind[operator.Inputs(0)] = operator.Outputs(0)
        elif name == "DEQUANTIZE":
            behind[operator.Outputs(0)] = operator.Inputs(0)
    signature = model.SignatureDefs(0)
    ends = [
        *map(signature.Inputs, range(signature.InputsLength())),
        *map(signature.Outputs, range(signature.OutputsLength())),
    ]
    found = {}
    for end in ends:
        tensor = graph.Tensors(end.TensorIndex())
        if tensor.Type() == schema.TensorType.FLOAT32:
            tensor = graph.Tensors(behind.get(end.TensorIndex(), end.TensorIndex()))
        known = tensor.Quantization()
        if known and known.ScaleLength() == 1:
            scale, zero_point = float(known.Scale(0)), int(known.ZeroPoint(0))
            found[end.Name().decode()] = {"scale": scale, "zero_point": zero_point}
    return found


def as_written(signature: Signature, content: bytes) -> Signature:
    """Returns a signature with the types that the ends of a file have.

    An end that no range stands at is of floats, whatever was asked for.

    Args:
        signature: What was asked for.
        content: Bytes of the file.
    """
    types = {value: name.lower() for name, value in vars(schema.TensorType).items()}
    model = schema.Model.GetRootAs(content)
    graph, names = model.Subgraphs(0), model.SignatureDefs(0)

    def of(specs: tuple[TensorSpec, ...], entries: Iterable[Any]) -> tuple[TensorSpec, ...]:
        found = {
            entry.Name().decode(): types[graph.Tensors(entry.TensorIndex()).Type()]
            for entry in entries
        }
        return tuple(spec.model_copy(update={"dtype": found[spec.name]}) for spec in specs)

    written = Signature(
        inputs=of(signature.inputs, map(names.Inputs, range(names.InputsLength()))),
        outputs=of(signature.outputs, map(names.Outputs, range(names.OutputsLength()))),
    )
    for asked, got in zip(
        (*signature.inputs, *signature.outputs), (*written.inputs, *written.outputs), strict=True
    ):
        if asked.dtype != got.dtype:
            LOG.warning(
                "export: %r is %s in the file, not %s: the model has no range there",
                *(got.name, got.dtype, asked.dtype),
            )
    return written


def keeps_states(content: bytes) -> bool:
    """Whether a file has variables: the states of a fused LSTM, which one call leaves to the next.

    Who calls it sets them to zero before each example, by `reset_all_variables`.
    """
    model = schema.Model.GetRootAs(content)
    graphs = map(model.Subgraphs, range(model.SubgraphsLength()))
    return any(
        graph.Tensors(i).IsVariable() for graph in graphs for i in range(graph.TensorsLength())
    )


def has_own_ranges(content: bytes) -> bool:
    """Whether the ranges of a file are those of the model; the converter writes that down."""
    from tensorflow.lite.python import conversion_metadata_schema_py_generated as metadata

    model = schema.Model.GetRootAs(content)
    for entry in map(model.Metadata, range(model.MetadataLength())):
        if entry.Name() == b"CONVERSION_METADATA":
            data = model.Buffers(entry.Buffer()).DataAsNumpy().tobytes()
            options = metadata.ConversionMetadata.GetRootAs(data).Options()
            modes = map(
                options.ModelOptimizationModes, range(options.ModelOptimizationModesLength())
            )
            return metadata.ModelOptimizationMode.QUANTIZATION_AWARE_TRAINING in modes
    return False


def _name(model: Any, operator: Any) -> str:
    code = model.OperatorCodes(operator.OpcodeIndex())
    if code.CustomCode():
        return str(code.CustomCode().decode())
    # Codes below 127 are still written to the one-byte field of the first schema.
    return _names()[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]


@cache
def _names() -> dict[int, str]:
    return {value: name for name, value in vars(schema.BuiltinOperator).items()}
