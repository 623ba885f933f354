"""TFLite-Micro: the int8 TFLite file as C++, for microcontrollers.

The directory is what a firmware takes: the file as an array, the function that registers its
operators and no other, and the size of the arena. The arena is measured with the reference kernels
on this machine. Where pointers have four bytes it is larger than needed; kernels that ask for
scratch memory, such as CMSIS-NN's, need that besides.
"""

from __future__ import annotations

import gzip
import math
import re
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from export.examples import Arrays
from export.formats.micro import arena
from export.formats.tflite.agreement import steps_apart
from export.formats.tflite.litert import (
    as_written,
    from_file,
    keeps_states,
    quantisation,
    to_file,
)
from export.manifest import Signature
from export.target import INT8, Session, Source, Target, Tolerance, Written
from export.targets.tflite import FILE, STATEFUL, TFLiteInt8

CODE, HEADER, OPERATORS = "model.cc", "model.h", "model_ops.h"

# `AddXxx` of an operator is its name in camel case, but for these.
_ODD = {
    "BATCH_MATMUL": "AddBatchMatMul",
    "CUMSUM": "AddCumSum",
    "PADV2": "AddPadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
}


class TFLM(Target):
    """C++ for TFLite-Micro, int8 at both ends.

    Beside `model.cc` lie `model.h`, `model_ops.h` and the same bytes as `model.tflite`.

    Attributes:
        timeout_seconds: How long TFLite-Micro may try sizes of the arena.
    """

    kind: Literal["tflm"] = "tflm"
    tolerance: Tolerance = INT8
    timeout_seconds: float = 900.0

    precision: ClassVar[str] = "int8"
    runtime: ClassVar[str] = "tflite-micro"
    requires: ClassVar[tuple[str, ...]] = ("tensorflow", "ai-edge-litert", "tflite-micro")
    fixed_shape: ClassVar[bool] = True
    calibrated: ClassVar[bool] = True

    def write(self, source: Source, directory: Path) -> Written:
        """Writes the C++ files.

        Raises:
            RuntimeError: TFLite-Micro cannot run the model or took too long, or an output is more
                than a step from that of LiteRT's plain kernels.
        """
        whole = TFLiteInt8(io="int8").content(source)
        content = _bare(whole)
        try:
            arena_bytes = arena.smallest(
                content,
                _enough(content),
                who=f"export to {self.kind}: TFLite-Micro",
                seconds=self.timeout_seconds,
            )
        except arena.RefusedError as error:
            raise RuntimeError(
                f"export to {self.kind}: TFLite-Micro cannot run the model: {error}."
            ) from None
        space = _namespace(source.about.name)
        (directory / FILE).write_bytes(content)
        (directory / HEADER).write_text(_header(content, space))
        (directory / CODE).write_text(_code(content, space))
        (directory / OPERATORS).write_text(_registration(content, space, arena_bytes))
        session = self.open(directory / CODE)
        steps = steps_apart(whole, session, source, reference=True)
        if steps > 1:
            raise RuntimeError(
                f"export to {self.kind}: an output is {steps} steps of int8 from LiteRT's."
            )
        facts = {
            **({"stateful": STATEFUL} if keeps_states(content) else {}),
            "arena_bytes": arena_bytes,
            "flash_bytes": len(content),
            "steps_from_reference": steps,
            # XNNPACK rounds otherwise: 3 steps after 20 layers, none of them a fault.
            "steps_from_tflite": steps_apart(whole, session, source),
            "quantisation": quantisation(whole),
        }
        return Written(CODE, facts, as_written(self.signature(source.signature), whole))

    def signature(self, signature: Signature) -> Signature:
        """Returns the signature with a batch of one and int8 ends."""
        return TFLiteInt8(io="int8").signature(signature)

    def open(self, path: Path, *, threads: int | None = None) -> Session:
        """Opens the array in `model.cc` in TFLite-Micro, in the arena of `model_ops.h`.

        Args:
            path: Path of `model.cc`.
            threads: TFLite-Micro has one.
        """
        from tflite_micro import runtime

        content = read_array(path)
        found = re.search(r"kArenaBytes = (\d+)", path.with_name(OPERATORS).read_text())
        if not found:
            raise ValueError(f"{path.with_name(OPERATORS)}: no kArenaBytes.")
        interpreter = runtime.Interpreter.from_bytes(content, arena_size=int(found[1]))
        inputs, outputs = _places(content)
        entries = {
            name: _details(interpreter.get_input_details(place)) for name, place in inputs.items()
        }
        exits = {
            name: _details(interpreter.get_output_details(place)) for name, place in outputs.items()
        }

        def call(arrays: Arrays) -> Arrays:
            interpreter.reset()  # the states of a fused LSTM
            for name, place in inputs.items():
                interpreter.set_input(to_file(arrays[name], entries[name]), place)
            interpreter.invoke()
            return {
                name: from_file(interpreter.get_output(place), exits[name])
                for name, place in outputs.items()
            }

        return Session(call, batch=1, precision="int8")

    def operators(self, path: Path) -> dict[str, int]:
        """Counts the operators of the model in the array."""
        from export.formats.tflite.litert import count

        return count(read_array(path))

    def sizes(self, path: Path) -> tuple[int, int]:
        """Returns the flash that the array takes, to which the kernels' code comes; and gzipped."""
        content = read_array(path)
        return len(content), len(gzip.compress(content))


def read_array(path: Path) -> bytes:
    """Returns the bytes of the array in a `model.cc`."""
    body = re.search(r"kModel\[\] = \{(.*?)\}", path.read_text(), re.S)
    if not body:
        raise ValueError(f"{path}: no array kModel.")
    return bytes.fromhex(re.sub(r"0x|[,\s]", "", body[1]))


def registration_name(operator: str) -> str:
    """Returns the method of `MicroMutableOpResolver` that registers a built-in operator.

    Args:
        operator: As the TFLite schema has it, e.g. `CONV_2D`.
    """
    parts = (part.capitalize() for part in operator.split("_"))
    camel = "".join(part.upper() if part[0].isdigit() else part for part in parts)
    return _ODD.get(operator, f"Add{camel}")


def _bare(content: bytes) -> bytes:
    """The same model without what no microcontroller reads: names of tensors, metadata, labels."""
    from export.formats.tflite.flatbuffer import parse, serialise

    model = parse(content)
    model.description, model.metadata = None, []
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    for tensor in tensors:
        tensor.name = None
    used = {tensor.buffer for tensor in tensors}
    for index, buffer in enumerate(model.buffers):
        if index not in used:
            buffer.data = None
    return serialise(model)


def _enough(content: bytes) -> int:
    """An arena that is far more than enough: every tensor at once, and scratch memory for each."""
    from export.formats.tflite.flatbuffer import parse

    model = parse(content)
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    values = sum(math.prod(tensor.shape) for tensor in tensors if tensor.shape is not None)
    return 32 * values + 4096 * len(tensors) + (1 << 20)


def _places(content: bytes) -> tuple[dict[str, int], dict[str, int]]:
    """The place of each named input and output among those of the graph."""
    from export.formats.tflite.flatbuffer import parse

    model = parse(content)
    (names,), graph = model.signatureDefs, model.subgraphs[0]

    def of(entries: Any, order: Any) -> dict[str, int]:
        return {entry.name.decode(): list(order).index(entry.tensorIndex) for entry in entries}

    return of(names.inputs, graph.inputs), of(names.outputs, graph.outputs)


def _details(details: dict[str, Any]) -> dict[str, Any]:
    """What `to_file` and `from_file` read, as LiteRT spells it."""
    known = details["quantization_parameters"]
    quantised = len(known["scales"]) and details["dtype"] != np.float32
    pair = (float(known["scales"][0]), int(known["zero_points"][0])) if quantised else (0.0, 0)
    return {"dtype": details["dtype"], "quantization": pair}


def _namespace(name: str) -> str:
    """A C++ name that is no keyword and does not begin with a digit."""
    letters = re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_").lower()
    return f"m_{letters}_model" if letters[:1].isdigit() else f"{letters}_model".lstrip("_")


def _ends(content: bytes) -> list[str]:
    """A line of comment for each input and output: what to put in, and what comes out."""
    from export.formats.tflite.flatbuffer import parse, schema

    graph, lines = parse(content).subgraphs[0], []
    for kind, named, order in zip(
        ("input", "output"), _places(content), (graph.inputs, graph.outputs), strict=True
    ):
        for name, place in sorted(named.items(), key=lambda item: item[1]):
            tensor = graph.tensors[order[place]]
            line = f"// {kind}({place}): {name}, shape {tuple(map(int, tensor.shape))}"
            known = tensor.quantization
            if known and known.scale is not None:
                line += f", value = {known.scale[0]:.9g} * (q - ({known.zeroPoint[0]}))"
            elif tensor.type == schema.TensorType.FLOAT32:
                line += ", float"
            lines.append(line)
    return lines


def _header(content: bytes, space: str) -> str:
    ends = "\n".join(_ends(content))
    return f"""// A model for TFLite-Micro.
//
{ends}
#ifndef {space.upper()}_H_
#define {space.upper()}_H_

#include <cstddef>

namespace {space} {{

constexpr std::size_t kModelBytes = {len(content)};
extern const unsigned char kModel[kModelBytes];

}}  // namespace {space}

#endif  // {space.upper()}_H_
"""


def _code(content: bytes, space: str) -> str:
    lines = (content[start : start + 12] for start in range(0, len(content), 12))
    array = "\n".join("    " + " ".join(f"0x{byte:02x}," for byte in line) for line in lines)
    return f"""#include "{HEADER}"

namespace {space} {{

alignas(16) const unsigned char kModel[] = {{
{array}
}};

static_assert(sizeof(kModel) == kModelBytes, "{CODE} and {HEADER} are of two models");

}}  // namespace {space}
"""


def _registration(content: bytes, space: str, arena_bytes: int) -> str:
    from export.formats.tflite.litert import count

    names = [registration_name(name) for name in count(content)]
    calls = "\n".join(
        f"  if (resolver.{name}() != kTfLiteOk) return kTfLiteError;" for name in names
    )
    return f"""// What the interpreter of this model needs: its operators and its arena.
#ifndef {space.upper()}_OPS_H_
#define {space.upper()}_OPS_H_

#include <cstddef>

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

namespace {space} {{

// Measured with the reference kernels and pointers of 8 bytes. Kernels that ask for scratch memory,
// such as CMSIS-NN's, need that besides; arena_used_bytes() of the interpreter tells.
constexpr std::size_t kArenaBytes = {arena_bytes};

using Resolver = tflite::MicroMutableOpResolver<{len(names)}>;

inline TfLiteStatus RegisterOperators(Resolver& resolver) {{
{calls}
  return kTfLiteOk;
}}

}}  // namespace {space}

#endif  // {space.upper()}_OPS_H_
"""
