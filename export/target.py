"""What a target is: settings, a way to write a file, and a way to run that file.

A target never judges its own file: `export.parity` compares what `run` returns with Keras.
"""

from __future__ import annotations

import abc
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from export.manifest import Signature

if TYPE_CHECKING:
    import keras

    from export.examples import Arrays


SIGNATURE = "serving_default"  # what TF Serving and the TFLite runtimes call when told no name


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class About(_Settings):
    """What the model cannot say of itself; it is written into the manifest.

    Attributes:
        name: Name to serve the model under; empty for the Keras model's own name.
        labels: Class names in the order of the last output axis, or of an output below and above 0.
        preprocessing: What is done to the raw input before the model sees it; free-form.
        source_sha256: Digest of the `.keras` file the model was loaded from.
    """

    name: str = ""
    labels: tuple[str, ...] = ()
    preprocessing: dict[str, Any] = {}
    source_sha256: str = ""


class Tolerance(_Settings):
    """How far a file may be from its Keras model.

    Attributes:
        max_relative: Limit on the largest difference, as a fraction of the largest absolute output.
        min_top1_agreement: Limit on the fraction of examples with the same winner, in [0, 1].
        tie: Two best scores that are closer than this fraction of the largest absolute output are a
            tie, which either may win; such examples do not count towards the agreement.
    """

    max_relative: float = Field(gt=0)
    min_top1_agreement: float = Field(ge=0, le=1)
    tie: float = Field(ge=0)


# Between two float32 runtimes only the order of the sums differs. The deepest nets measured, 50 to
# 100 layers, stay below 7e-5; a wrong padding, epsilon or layout gives 1e-2 and more.
FLOAT32 = Tolerance(max_relative=1e-4, min_top1_agreement=1.0, tie=1e-4)


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a target writes from.

    Attributes:
        net: A float32 model that takes the inputs as a list, in the order of `signature.inputs`,
            and returns a dict keyed by the names of `signature.outputs`.
        signature: The named inputs and outputs; the first dimension is the batch, `None`.
        about: What is known beyond the graph.
        calibration: Example inputs (n, ...) by input name; empty for a target that needs none.
    """

    net: keras.Model
    signature: Signature
    about: About
    calibration: Arrays


class Target(_Settings, abc.ABC):
    """A kind of file to export to; the fields are its settings.

    Attributes:
        kind: The target's name in the catalogue.
        tolerance: How far the file's outputs may be from the Keras model's.
        precision: Arithmetic of the file.
        runtime: The distribution whose runtime runs the file.
        requires: The distributions that writing and running need.
        fixed_shape: Whether every dimension after the batch must be known.
        calibrated: Whether writing needs example inputs.
    """

    kind: str = ""
    tolerance: Tolerance = FLOAT32

    precision: ClassVar[str] = "float32"
    runtime: ClassVar[str]
    requires: ClassVar[tuple[str, ...]]
    fixed_shape: ClassVar[bool] = False
    calibrated: ClassVar[bool] = False

    @abc.abstractmethod
    def write(self, source: Source, directory: Path) -> str:
        """Writes the model into `directory` and returns the name of its file or folder."""

    @abc.abstractmethod
    def run(self, path: Path, inputs: Arrays) -> Arrays:
        """Runs the file in its own runtime.

        Args:
            path: What `write` wrote.
            inputs: Arrays (n, ...) by input name, of the Keras model's types.

        Returns:
            Arrays (n, ...) by output name, of the Keras model's types.
        """

    @abc.abstractmethod
    def operators(self, path: Path) -> dict[str, int]:
        """Counts the operators of the file's graph, by their name in the file format."""

    def signature(self, signature: Signature) -> Signature:
        """Returns the file's signature, given the Keras model's."""
        return signature

    def fault(self, path: Path) -> str:
        """Returns what is wrong with the file beyond its outputs, or an empty string."""
        return ""

    def check_packages(self) -> None:
        """Raises an error that names what to install, before any work is done.

        Raises:
            ModuleNotFoundError: A required distribution is missing.
        """
        missing = [
            name
            for name in self.requires
            if importlib.util.find_spec(name.replace("-", "_")) is None
        ]
        if missing:
            names = " ".join(missing)
            raise ModuleNotFoundError(
                f"export to {self.kind}: {names} not installed. Run: pip install {names}",
                name=missing[0],
            )

    def check_signature(self, signature: Signature) -> None:
        """Refuses inputs that the file format cannot hold.

        Raises:
            ValueError: An input has a free dimension and the format wants fixed sizes.
        """
        for spec in signature.inputs:
            if self.fixed_shape and None in spec.shape[1:]:
                raise ValueError(
                    f"export to {self.kind}: input {spec.name!r} has shape {spec.shape}; expected"
                    " fixed sizes after the batch. Build the model with a fixed input_shape."
                )
