"""What a Predict request of gRPC asks for: its signature, its outputs, its arrays."""

from __future__ import annotations

from typing import Any

from serving.engines import Arrays
from serving.http.rest import SIGNATURE_NAME
from serving.models.versions import Version
from serving.wire.tensors import Kind, kind_of, values_of


def check_signature(spec: Any) -> None:
    """Refuses a signature that is not the only one."""
    if (name := spec.signature_name) not in ("", SIGNATURE_NAME):
        raise ValueError(f"signature_name: got {name[:80]!r}; expected {SIGNATURE_NAME!r}.")


def wanted(request: Any, version: Version) -> list[str]:
    """Returns the names of the outputs that are asked for."""
    known = [spec.name for spec in version.engine.signature.outputs]
    for name in request.output_filter:
        if name not in known:
            raise ValueError(f"output_filter: got {name[:80]!r}; expected {', '.join(known)}.")
    return list(dict.fromkeys(request.output_filter)) or known


def kinds_of(request: Any, version: Version, most_bytes: int) -> dict[str, Kind]:
    """Returns what each input is, which fits the signature; no array is made yet."""
    check_signature(request.model_spec)
    specs = {spec.name: spec for spec in version.engine.signature.inputs}
    if set(request.inputs) != set(specs):
        given = ", ".join(map(repr, sorted(request.inputs)))[:200] or "none"
        raise ValueError(f"inputs: got {given}; expected {', '.join(map(repr, specs))}.")
    kinds = {}
    for name, spec in specs.items():
        try:
            kind = kind_of(request.inputs[name], most_bytes=most_bytes)
        except ValueError as error:
            raise ValueError(f"inputs.{name}.{error}") from None
        free = (None, *spec.shape[1:])
        fits = len(kind.shape) == len(free) and all(
            size > 0 and wanted in (None, size)
            for size, wanted in zip(kind.shape, free, strict=True)
        )
        if not fits or kind.dtype != spec.dtype:
            told = ", ".join("one or more" if size is None else str(size) for size in free)
            raise ValueError(
                f"inputs.{name}: got {kind.dtype} of shape {str(kind.shape)[:80]}; expected "
                f"{spec.dtype} of shape ({told})."
            )
        kinds[name] = kind
    if len({kind.shape[0] for kind in kinds.values()}) > 1:
        raise ValueError("inputs: expected the same number of examples of each.")
    return kinds


def inputs(request: Any, kinds: dict[str, Kind]) -> Arrays:
    """Returns the arrays of a request, of which it is known what they are."""
    arrays = {}
    for name, kind in kinds.items():
        try:
            array = values_of(request.inputs[name], kind)
        except ValueError as error:
            raise ValueError(f"inputs.{name}.{error}") from None
        arrays[name] = array
    return arrays
