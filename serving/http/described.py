"""What a server says of itself: TF Serving's status and metadata, and what the page lists."""

from __future__ import annotations

from typing import Any, NamedTuple

from export.manifest import FILE, TensorSpec
from serving.answers.pictures import takes_pictures
from serving.http.rest import SIGNATURE_NAME
from serving.models.model import Model
from serving.models.repository import Repository
from serving.models.versions import Version
from serving.wire.dtypes import DTYPES

WAITING, AVAILABLE, END = "START", "AVAILABLE", "END"
STATES = {WAITING: 10, AVAILABLE: 30, END: 50}
"""Numbers of ModelVersionStatus.State, by their name."""


class State(NamedTuple):
    """What has become of a version.

    Attributes:
        number: The version.
        name: As TF Serving calls it, a key of `STATES`.
        why: Why it does not answer; empty where it does.
    """

    number: int
    name: str
    why: str


def states(model: Model, chosen: int | None = None) -> list[State]:
    """Returns the states of a version or of all, the newest first; of an unknown one nothing."""
    known = {number: State(number, WAITING, f"waits for its {FILE}") for number in model.waiting}
    known |= {number: State(number, AVAILABLE, "") for number in model.versions}
    known |= {number: State(number, END, str(why)) for number, why in model.refused.items()}
    numbers = sorted(known, reverse=True) if chosen is None else [chosen] * (chosen in known)
    return [known[number] for number in numbers]


def status(found: list[State]) -> dict[str, Any]:
    """Returns TF Serving's `GetModelStatusResponse`."""
    return {
        "model_version_status": [
            {
                "version": str(one.number),
                "state": one.name,
                "status": {
                    "error_code": "INVALID_ARGUMENT" if one.name == END else "OK",
                    "error_message": one.why,
                },
            }
            for one in found
        ]
    }


def metadata(version: Version) -> dict[str, Any]:
    """Returns TF Serving's `GetModelMetadataResponse`."""
    signature = {
        "inputs": {spec.name: _tensor_info(spec) for spec in version.engine.signature.inputs},
        "outputs": {spec.name: _tensor_info(spec) for spec in version.engine.signature.outputs},
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {
            "name": version.name, "signature_name": "", "version": str(version.number)
        },
        "metadata": {
            "signature_def": {"signature_def": {SIGNATURE_NAME: signature}},
            **({"meanings": said} if (said := version.told) else {}),
        },
    }  # fmt: skip


def models(repository: Repository) -> dict[str, Any]:
    """Returns what the page shows of the models."""
    found = []
    for name, model in repository.models.items():
        version = model.pick()
        runtime, reads = version.engine.runtime, takes_pictures(version)
        found.append(
            {"name": name, "version": version.number, "runtime": runtime, "pictures": reads}
        )
    return {"models": found}


def sizes(spec: TensorSpec) -> list[int]:
    """Returns a tensor's sizes, -1 where one may vary, as the batch always may."""
    return [-1, *(-1 if size is None else size for size in spec.shape[1:])]


def _tensor_info(spec: TensorSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "dtype": DTYPES[spec.dtype].tensorflow,
        "tensor_shape": {
            "dim": [{"size": str(size), "name": ""} for size in sizes(spec)],
            "unknown_rank": False,
        },
    }
