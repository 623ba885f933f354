"""Core ML, for Apple's devices: an ML program with weights of float16, or in palettes.

Core ML runs on macOS and iOS alone, so here the file is written and read again, no more. Labels go
into its metadata and not into a classifier: that would call logits probabilities, and take away the
tensor that they come in.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from export.manifest import Proof, Signature, TensorSpec
from export.target import Source, Target, Written
from zoo.common.preprocessing import Preprocessing

FILE = "model.mlpackage"
DEPLOYMENT = "iOS16"  # with macOS 13: the first with palettes
TYPES = ("float32", "int32")


class CoreML(Target):
    """A `.mlpackage` folder that takes one example; arithmetic and weights are float16.

    Where the preprocessing is known and is that of one picture, the file takes a picture and
    normalises it itself.

    Attributes:
        weights: `float16`, or the bits of an index into a palette of each large weight, whose
            colours are found by k-means.
    """

    kind: Literal["coreml"] = "coreml"
    weights: Literal["float16", "palette8", "palette6", "palette4"] = "float16"

    precision: ClassVar[str] = "float16"
    proof: ClassVar[Proof] = "convert-only"
    runtime: ClassVar[str] = "coremltools"
    requires: ClassVar[tuple[str, ...]] = ("tensorflow", "coremltools")
    fixed_shape: ClassVar[bool] = True
    one_namespace: ClassVar[bool] = True
    plain_names: ClassVar[bool] = True

    def write(self, source: Source, directory: Path) -> Written:
        """Writes `model.mlpackage` and reads it again.

        Raises:
            RuntimeError: The converter failed, or wrote other inputs and outputs.
        """
        from export.source import refuse_loops

        refuse_loops(source.net, self.kind, "coremltools 9 loses the inputs of its condition")
        normalisation, reason = _normalisation(source)
        with _quiet():
            model = self._convert(source, normalisation)
            if self.weights != "float16":
                model = _palettised(model, bits=int(self.weights.removeprefix("palette")))
            _describe(model, source)
            path = directory / FILE
            model.save(str(path))
        signature = self.signature(source.signature)
        if normalisation:
            pixels = signature.inputs[0].model_copy(update={"dtype": "uint8"})
            signature = signature.model_copy(update={"inputs": (pixels,)})
        self._check(path, signature)
        facts = {
            "weights": self.weights,
            "weights_bytes": sum(part.stat().st_size for part in path.rglob("weight.bin")),
            "minimum_deployment_target": DEPLOYMENT,
            "input": "picture, normalised inside" if normalisation else f"tensor: {reason}",
        }
        return Written(FILE, facts, signature, takes_pixels=bool(normalisation))

    def operators(self, path: Path) -> dict[str, int]:
        """Counts the operations of the ML program, constants left out."""
        program = _load(path).get_spec().mlProgram
        counted = Counter(
            operation.type
            for function in program.functions.values()
            for block in function.block_specializations.values()
            for operation in _nested(block)
        )
        del counted["const"]
        return dict(sorted(counted.items()))

    def signature(self, signature: Signature) -> Signature:
        """Returns the signature with a batch of one."""
        inputs, outputs = (
            tuple(spec.model_copy(update={"shape": (1, *spec.shape[1:])}) for spec in specs)
            for specs in (signature.inputs, signature.outputs)
        )
        return Signature(inputs=inputs, outputs=outputs)

    def fault(self, path: Path) -> str:
        """Names a weight that is not finite."""
        for name, weight in weights(path).items():
            if weight.dtype.kind == "f" and not np.isfinite(weight).all():
                return f"weight {name} has NaN or infinite values as {weight.dtype}"
        return ""

    def check_signature(self, signature: Signature) -> None:
        """Refuses inputs that the file format cannot hold.

        Raises:
            ValueError: An input has a free dimension, or another type than those of Core ML.
        """
        super().check_signature(signature)
        for spec in signature.inputs:
            if spec.dtype not in TYPES:
                raise ValueError(
                    f"export to {self.kind}: input {spec.name!r} is {spec.dtype}; expected"
                    f" {' or '.join(TYPES)}."
                )

    def _convert(self, source: Source, normalisation: dict[str, Any]) -> Any:
        import coremltools as ct

        from export.source import serving_function
        from export.tracing import inlined

        _teach_erfc()
        with inlined():
            concrete = serving_function(
                source.net, source.signature, batch=1
            ).get_concrete_function()
        names = sorted(concrete.structured_outputs)  # the order of its outputs
        places = [tensor.name.partition(":")[0] for tensor in concrete.outputs]
        inputs = [_entry(spec, normalisation) for spec in self.signature(source.signature).inputs]
        types = {spec.name: spec.dtype for spec in source.signature.outputs}
        try:
            model = ct.convert(
                [concrete],
                source="tensorflow",
                convert_to="mlprogram",
                inputs=inputs,
                outputs=[
                    ct.TensorType(name=place, dtype=_exit(types[name]))
                    for place, name in zip(places, names, strict=True)
                ],
                minimum_deployment_target=ct.target[DEPLOYMENT],
                compute_precision=ct.precision.FLOAT16,
                skip_model_load=True,
            )
        except Exception as error:  # of many classes, each with a graph's node in its text
            cause = str(error).strip().partition("\n")[0].rstrip(". ")
            raise RuntimeError(f"export to {self.kind}: the converter failed: {cause}.") from error
        spec = model.get_spec()
        for place, name in zip(places, names, strict=True):
            ct.utils.rename_feature(spec, place, name, rename_inputs=False)
        return ct.models.MLModel(spec, weights_dir=model.weights_dir, skip_model_load=True)

    def _check(self, path: Path, signature: Signature) -> None:
        """Compares the ends of the file with those asked for."""
        description = _load(path).get_spec().description
        for role, found, specs in (
            ("inputs", description.input, signature.inputs),
            ("outputs", description.output, signature.outputs),
        ):
            got = sorted((one.name, _shape(one.type)) for one in found)
            want = sorted((spec.name, spec.shape) for spec in specs)
            if got != want:
                raise RuntimeError(
                    f"export to {self.kind}: the file has {role} {got}; expected {want}."
                )


def _normalisation(source: Source) -> tuple[dict[str, Any], str]:
    """The arguments of an `ImageType` that prepares as is known, or why there are none.

    y = (x * scale - mean) / std is there x * a + b, with one `a` for all channels.
    """
    known, specs = source.about.preprocessing, source.signature.inputs
    if known is None or known.size is None or known.channels not in (1, 3):
        return {}, "no preprocessing of a picture is known"
    if [spec.shape[1:] for spec in specs] != [(known.size, known.size, known.channels)]:
        return {}, "the input is not one picture of the size that the preprocessing makes"
    if len(set(known.std)) > 1:
        return {}, "a picture has one scale, and the standard deviations of the channels differ"
    return _as_affine(known), ""


def _as_affine(known: Preprocessing) -> dict[str, Any]:
    std = known.std[0]
    bias = [-mean / std for mean in known.mean]
    if known.channels == 1:
        return {"scale": known.scale / std, "bias": bias[0], "color_layout": "G"}
    bias = bias * 3 if len(bias) == 1 else bias
    return {"scale": known.scale / std, "bias": bias, "color_layout": "RGB"}


def _entry(spec: TensorSpec, normalisation: dict[str, Any]) -> Any:
    import coremltools as ct

    if normalisation:
        return ct.ImageType(name=spec.name, shape=spec.shape, channel_first=False, **normalisation)
    return ct.TensorType(name=spec.name, shape=spec.shape, dtype=np.dtype(spec.dtype).type)


def _exit(dtype: str) -> Any:
    return np.int32 if np.dtype(dtype).kind in "iub" else np.float32


def _teach_erfc() -> None:
    """erfc(x) = 1 - erf(x), for exact GELU; coremltools has no rule of its own."""
    from coremltools.converters.mil import Builder, register_tf_op

    def convert(context: Any, node: Any) -> None:
        erf = Builder.erf(x=context[node.inputs[0]])
        context.add(node.name, Builder.sub(x=np.float32(1), y=erf, name=node.name))

    convert.__name__ = "Erfc"
    register_tf_op(convert, override=True)


def _palettised(model: Any, *, bits: int) -> Any:
    from coremltools.optimize import coreml

    each = coreml.OpPalettizerConfig(mode="kmeans", nbits=bits)
    return coreml.palettize_weights(model, coreml.OptimizationConfig(global_config=each))


def _describe(model: Any, source: Source) -> None:
    """Writes name, labels, licence and origin into the model's metadata."""
    about = source.about
    model.short_description = about.origin
    model.license = about.licence
    model.user_defined_metadata["name"] = about.name
    model.user_defined_metadata["labels"] = json.dumps(about.labels)


def _shape(kind: Any) -> tuple[int, ...]:
    """The shape (n, ...) of an input or output, as Keras has it."""
    if kind.WhichOneof("Type") != "imageType":
        return tuple(kind.multiArrayType.shape)
    picture = kind.imageType
    grey = picture.colorSpace == picture.ColorSpace.Value("GRAYSCALE")
    return 1, picture.height, picture.width, 1 if grey else 3


def weights(path: Path) -> dict[str, np.ndarray]:
    """Returns the constants of numbers in a file, by name; those in palettes as they are used."""
    with _quiet():
        from coremltools.converters.mil.frontend.milproto.load import load

        model = _load(path)
        spec = model.get_spec()
        program = load(spec, spec.specificationVersion, model.weights_dir)
        found = {
            operation.name: np.asarray(
                operation.outputs[0].val
                if operation.op_type == "const"
                else operation.materialized_val_inference()
            )
            for function in program.functions.values()
            for operation in _nested(function)
            if operation.op_type.startswith("const")  # and `constexpr_lut_to_dense`
        }
    return {name: array for name, array in found.items() if array.dtype.kind in "fiu"}


def _nested(block: Any) -> Iterator[Any]:
    for operation in block.operations:
        yield operation
        for inner in operation.blocks:  # of a loop or a branch
            yield from _nested(inner)


def _load(path: Path) -> Any:
    with _quiet():
        import coremltools as ct

        return ct.models.MLModel(str(path), skip_model_load=True)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps off what coremltools prints: bars, and that it is not on a Mac."""
    log = logging.getLogger("coremltools")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings(action="ignore"):
            yield
    finally:
        log.setLevel(before)
