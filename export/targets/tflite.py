"""TFLite files for LiteRT: phones, microcontrollers, and CPUs through XNNPACK.

The batch is one unless told otherwise: with a free batch recurrent layers have to be unrolled. Only
built-in operators are allowed: no runtime from PyPI has others.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from export import processes
from export.manifest import Signature, TensorSpec
from export.names import called
from export.target import INT8, Session, Source, Target, Tolerance, Written
from zoo.common.settings import nearest

if TYPE_CHECKING:
    from export.recurrent import Writer

FILE = "model.tflite"
FLOATS = ("float32", "float16")  # of which the converter writes loops too
UNFUSED = ("int16x8", "int4")  # of which it has no fused LSTM
STATEFUL = "it keeps the states of its recurrent layers: reset its variables before each example"

# The operators that hold nearly all of a network's weights and arithmetic.
_PRODUCTS = {
    "BATCH_MATMUL",
    "CONV_2D",
    "CONV_3D",
    "CONV_3D_TRANSPOSE",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "TRANSPOSE_CONV",
}


class _LiteRT(Target):
    """What all precisions share.

    Attributes:
        batch: Number of examples that a call takes; `None` for any, which some delegates do not
            bear.
        fused: Whether an LSTM becomes one operator where that can be. It keeps its states from one
            call to the next, so that the caller resets its variables before each example. Other
            recurrent layers are unrolled in files of integers, and loops in files of floats.
        timeout_seconds: How long the converter may take.
    """

    batch: Literal[1] | None = 1
    fused: bool = True
    timeout_seconds: float = 900.0

    runtime: ClassVar[str] = "ai-edge-litert"
    requires: ClassVar[tuple[str, ...]] = ("tensorflow", "ai-edge-litert")
    fixed_shape: ClassVar[bool] = True

    def write(self, source: Source, directory: Path) -> Written:
        """Writes `model.tflite`, with labels and preprocessing inside where they are known.

        Raises:
            RuntimeError: The converter failed, crashed or took too long.
            ValueError: There are no examples to calibrate with.
        """
        from export.formats.tflite.convert import convert
        from export.formats.tflite.litert import keeps_states
        from export.formats.tflite.metadata import embedded

        path = directory / FILE
        options = {"precision": self.precision, **self._options()}
        try:
            convert(
                source,
                path,
                options,
                batch=self.batch,
                seconds=self.timeout_seconds,
                writer=self._writer(),
            )
        except TimeoutError:
            who = f"export to {self.kind}: the converter"
            raise processes.too_slow(who, self.timeout_seconds) from None
        except RuntimeError as error:
            told = RuntimeError(f"export to {self.kind}: {error}")
            for note in getattr(error, "__notes__", ()):
                told.add_note(note)
            raise told from None
        content = embedded(path.read_bytes(), source)
        path.write_bytes(content)
        return Written(FILE, {"stateful": STATEFUL} if keeps_states(content) else {})

    def signature(self, signature: Signature) -> Signature:
        """Returns the signature with the file's batch."""
        return Signature(
            inputs=tuple(self._end(spec) for spec in signature.inputs),
            outputs=tuple(self._end(spec) for spec in signature.outputs),
        )

    def open(self, path: Path, *, threads: int | None = None) -> Session:
        """Opens the file in LiteRT; scales the ends that are integers."""
        from export.formats.tflite.litert import open_file

        return open_file(path.read_bytes(), batch=self.batch, threads=threads)

    def operators(self, path: Path) -> dict[str, int]:
        """Counts the operators of all subgraphs."""
        from export.formats.tflite.litert import count

        return count(path.read_bytes())

    def _options(self) -> dict[str, Any]:
        return {}

    def _writer(self) -> Writer | None:
        """How recurrent layers are written.

        Of a loop the converter makes integers with a segmentation fault, and none for a free batch.
        """
        from export import recurrent

        if self.batch is None:
            return recurrent.unrolled
        one = self.fused and self.precision not in UNFUSED
        if self.precision in FLOATS:
            return recurrent.fused if one else None
        return recurrent.fused_or_unrolled if one else recurrent.unrolled

    def _end(self, spec: TensorSpec) -> TensorSpec:
        return spec.model_copy(update={"shape": (self.batch, *spec.shape[1:])})


class TFLite(_LiteRT):
    """A `.tflite` file of float32."""

    kind: Literal["tflite"] = "tflite"


class TFLiteFloat16(_LiteRT):
    """Weights of float16, which the runtime turns into float32 when it loads the file."""

    kind: Literal["tflite-float16"] = "tflite-float16"
    # Each weight is off by 2^-12 of itself at most.
    tolerance: Tolerance = Tolerance(
        max_relative=0.02, min_cosine=0.9999, min_top1_agreement=0.99, tie=0.01, edges=0.05,
        max_drop=0.005,
    )  # fmt: skip

    precision: ClassVar[str] = "float16"


class TFLiteDynamic(_LiteRT):
    """Weights of int8; activations are floats, made int8 for each product as it runs."""

    kind: Literal["tflite-dynamic"] = "tflite-dynamic"
    tolerance: Tolerance = Tolerance(
        max_relative=0.25, min_cosine=0.99, min_top1_agreement=0.9, tie=2 / 255, max_drop=0.02
    )

    precision: ClassVar[str] = "dynamic"


class _Integers(_LiteRT):
    """A file of integers, calibrated on examples or by the model's own ranges."""

    tolerance: Tolerance = INT8

    calibrated: ClassVar[bool] = True

    def write(self, source: Source, directory: Path) -> Written:
        """Writes `model.tflite`; the manifest tells what the integers at its ends mean."""
        from export.formats.tflite.litert import as_written, quantisation

        written = super().write(source, directory)
        content = (directory / written.file).read_bytes()
        return written._replace(
            facts={**written.facts, "quantisation": quantisation(content)},
            signature=as_written(self.signature(source.signature), content),
        )

    def fault(self, path: Path) -> str:
        """Names the convolutions and dense layers that the converter left in float, in silence.

        A model with ranges of its own says itself which of its layers are integers.
        """
        from export.formats.tflite.litert import has_own_ranges, operators

        content = path.read_bytes()
        if has_own_ranges(content):
            return ""
        found = operators(content)
        left = Counter(n for n, dtype in found if n in _PRODUCTS and dtype == "FLOAT32")
        names = ", ".join(f"{name} ({count})" for name, count in sorted(left.items()))
        advice = "compress the model with `int8` first, which says itself what stays in floats"
        return f"operators stayed float32: {names}; {advice}" if names else ""


class TFLiteInt8(_Integers):
    """A `.tflite` file whose weights and activations are int8.

    Attributes:
        io: Type of the inputs and outputs. Microcontrollers want `int8`; with `float32` the file
            itself converts at both ends and replaces the float file without a change in the caller.
    """

    kind: Literal["tflite-int8"] = "tflite-int8"
    io: Literal["float32", "int8", "uint8"] = "float32"

    precision: ClassVar[str] = "int8"

    def content(self, source: Source) -> bytes:
        """Returns the content of the file, which every other target of integers is made of.

        One calibration, one rounding: what a microcontroller, ONNX Runtime and OpenVINO run are
        then the same integers, and each is compared with this file first.

        Raises:
            RuntimeError: The converter failed, or left a layer in float.
            ValueError: There are no examples to calibrate with.
        """
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / self.write(source, Path(scratch)).file
            if fault := self.fault(path):
                raise RuntimeError(f"export to {self.kind}: {fault}.")
            return path.read_bytes()

    def _options(self) -> dict[str, Any]:
        return {"io": self.io}

    def _end(self, spec: TensorSpec) -> TensorSpec:
        dtype = self.io if spec.dtype == "float32" else spec.dtype
        return super()._end(spec).model_copy(update={"dtype": dtype})


class TFLiteInt16x8(_Integers):
    """Activations of int16 between weights of int8: where int8 loses too much."""

    kind: Literal["tflite-int16x8"] = "tflite-int16x8"
    tolerance: Tolerance = Tolerance(
        max_relative=0.25, min_cosine=0.99, min_top1_agreement=0.95, tie=2 / 255, max_drop=0.02
    )

    precision: ClassVar[str] = "int16x8"


class TFLiteInt4(_Integers):
    """Kernels of dense layers and convolutions in 4 bits, activations in int8.

    Attributes:
        keep: Names of layers whose kernels have 8 bits: the first and the last, as a rule.
    """

    kind: Literal["tflite-int4"] = "tflite-int4"
    # A kernel has fifteen values for each channel; what that costs is for `top1` to tell.
    tolerance: Tolerance = Tolerance(
        max_relative=None, min_cosine=0.9, min_top1_agreement=0.8, tie=2 / 255, max_drop=0.05
    )
    keep: tuple[str, ...] = ()

    precision: ClassVar[str] = "int4"
    requires: ClassVar[tuple[str, ...]] = (*_LiteRT.requires, "litert-quantizer")

    def write(self, source: Source, directory: Path) -> Written:
        """See `_LiteRT.write`.

        Raises:
            ValueError: A name in `keep` is that of no layer.
        """
        layers = source.net._flatten_layers(include_self=False)
        names = {called(layer): layer.name for layer in layers}
        for name in self.keep:
            if name not in names:
                hint = nearest(name, names)
                raise ValueError(f"export to {self.kind}: keep: no layer {name!r}. {hint}")
        own = self.model_copy(update={"keep": tuple(names[name] for name in self.keep)})
        return super(TFLiteInt4, own).write(source, directory)

    def _options(self) -> dict[str, Any]:
        return {"keep": self.keep}
