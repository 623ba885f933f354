"""What a target is: settings, a way to write a file, and a way to run that file.

A target never judges its own file: `export.parity` compares what `run` returns with Keras.
"""

from __future__ import annotations

import abc
import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pydantic import ConfigDict, Field

from export.examples import in_batches
from export.manifest import Proof, Signature, gzip_bytes, size_bytes
from export.names import called
from zoo.common.preprocessing import Preprocessing
from zoo.common.settings import Settings

if TYPE_CHECKING:
    import keras

    from export.examples import Arrays


SIGNATURE = "serving_default"  # what TF Serving and the TFLite runtimes call when told no name


class _Settings(Settings):
    """A group of settings of a target."""

    @classmethod
    def called(cls) -> str:
        """See `Settings.called`: what the user calls it."""
        kind = cls.model_fields.get("kind")
        return str(kind.default) if kind else cls.__name__

    @classmethod
    def offered(cls) -> list[str]:
        """See `Settings.offered`: what a caller chooses."""
        return cls.options()

    @classmethod
    def options(cls) -> list[str]:
        """Returns the names of the settings that a caller chooses."""
        return [name for name in cls.model_fields if name not in ("kind", "tolerance")]


class About(_Settings):
    """What the model cannot say of itself; it is written into the manifest.

    Attributes:
        name: Name to serve the model under; empty for the Keras model's own name.
        task: What the answers are, see `Manifest.task`.
        labels: Class names in the order of the last output axis, or of an output below and above 0.
        reads: Tokens of each input that reads text of another vocabulary, see `Manifest.reads`, by
            the Keras model's name of it.
        units: What a token of an input is, see `Manifest.units`, by the same.
        meanings: What the numbers of an output say, by the Keras model's name of it.
        scores: Keras model's names of the outputs whose largest value is the answer, as logits of
            classes; `None` where nothing is known.
        preprocessing: What is done to the raw input before the model sees it; `None` where nothing
            is known.
        licence: Licence of the weights, for the model card.
        origin: Where the model comes from, a line for the model card.
        source_sha256: Digest of the `.keras` file the model was loaded from.
        parent: The float `keras.Model` that a quantised one was made from; the manifest then tells
            how far the file is from it.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: str = ""
    task: str = ""
    labels: tuple[str, ...] = ()
    reads: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    units: dict[str, str] = Field(default_factory=dict)
    meanings: dict[str, str] = Field(default_factory=dict)
    scores: tuple[str, ...] | None = None
    preprocessing: Preprocessing | None = None
    licence: str = ""
    origin: str = ""
    source_sha256: str = ""
    parent: Any = Field(default=None, exclude=True, repr=False)


class Labelled(NamedTuple):
    """Labelled examples, to see what a file does to the task's metrics.

    Attributes:
        inputs: As the model takes them: an array (n, ...), or a mapping from input name to array.
        measure: From outputs (n, ...) by name to metrics by name.
        headline: The metric, a fraction that is better when higher, whose fall has a limit; empty
            for none.
        ranked: Whether a row of an answer is what takes its place by a score, as the boxes of a
            detector: rounding moves all rows behind one that changes places. A file of reduced
            precision is then judged by the metric, and its rows are only asked to be numbers; of
            another the rows of nearly all examples must agree, and the metric judges too.
    """

    inputs: Any
    measure: Callable[[Mapping[str, Any]], Mapping[str, float]]
    headline: str = "top1"
    ranked: bool = False


class Tolerance(_Settings):
    """How far a file may be from its Keras model.

    Attributes:
        max_relative: Limit on the largest difference, as a fraction of the largest absolute output.
        min_cosine: Limit on the cosine between the outputs of the file and of the model.
        min_top1_agreement: Limit on the fraction of examples with the same winner, in [0, 1].
        tie: Two best scores that are closer than this fraction of the largest absolute output are a
            tie, which either may win; such examples do not count towards the agreement.
        edges: `max_relative` for inputs at the edges; `None` asks for numbers, no more: a file that
            was calibrated clips what its examples did not have.
        max_drop: Limit on what the headline of the labelled examples may lose; one example's share
            of it is never too much.
    """

    max_relative: float | None = Field(gt=0)
    min_cosine: float = Field(default=-1.0, ge=-1, le=1)
    min_top1_agreement: float = Field(ge=0, le=1)
    tie: float = Field(ge=0)
    edges: float | None = Field(default=None, gt=0)
    max_drop: float = Field(default=1.0, ge=0, le=1)


# Between two float32 runtimes only the order of the sums differs. Most nets stay below 1e-5; Keras'
# own float32 is 9e-5 from float64 in a ResNet-101 of random weights, and two such may be twice as
# far apart. A wrong padding, epsilon or layout gives 1e-2 and more. On a picture of one colour a
# normalisation divides rounding errors by almost nothing: 2e-4 behind GroupNorm.
FLOAT32 = Tolerance(
    max_relative=3e-4, min_cosine=0.999999, min_top1_agreement=1.0, tie=1e-4, edges=1e-3, max_drop=0
)
# Values beyond the calibrated range are clipped. On nets of 3 to 13 layers trained on digits,
# with 32 to 400 examples to calibrate, the largest difference was 0.01 to 0.20 of the largest
# output and the agreement 0.99 to 1; of MobileNetV2 with ImageNet's weights it is 0.82 to 0.96 on
# pictures that the net itself is unsure of, and 0.88 when nothing but its kernels is rounded. A tie
# is two classes within one step of an int8 output that spans both signs: the file cannot tell them
# apart. Where the right answers are known, `max_drop` is what counts.
INT8 = Tolerance(
    max_relative=0.5, min_cosine=0.98, min_top1_agreement=0.8, tie=2 / 255, max_drop=0.02
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a target writes from.

    Attributes:
        net: A float32 model that takes the inputs as a list, in the order of `signature.inputs`,
            and returns a dict keyed by the names of `signature.outputs`.
        signature: The named inputs and outputs; the first dimension is the batch, `None`.
        about: What is known beyond the graph.
        calibration: Example inputs (n, ...) by input name; empty where the caller gave none, and
            for a target that needs none.
    """

    net: keras.Model
    signature: Signature
    about: About
    calibration: Arrays

    @property
    def passed_on(self) -> dict[str, str]:
        """Names of the inputs that go out as they are, by those of the outputs."""
        names = [spec.name for spec in self.signature.inputs]
        return {
            out: name
            for out, tensor in self.net.output.items()
            for name, entry in zip(names, self.net.inputs, strict=True)
            if tensor is entry
        }

    @property
    def doubles(self) -> list[list[str]]:
        """Names of the outputs that are one tensor, of each tensor that goes out more than once."""
        groups: dict[int, list[str]] = {}
        for name, tensor in self.net.output.items():
            groups.setdefault(id(tensor), []).append(name)
        return [names for names in groups.values() if len(names) > 1]


class Written(NamedTuple):
    """What a target wrote.

    Attributes:
        file: Name of the model's file or folder, within the directory.
        facts: What was measured on the way, for the manifest.
        signature: The file's, where `about` changed it; `None` for what the target says.
        takes_pixels: Whether the preprocessing of `about` is inside the file.
    """

    file: str
    facts: Mapping[str, Any] = {}
    signature: Signature | None = None
    takes_pixels: bool = False


class LayerTime(NamedTuple):
    """What a layer of a file takes: its name and kind in the file's terms, and the seconds."""

    name: str
    kind: str
    seconds: float


@dataclass(frozen=True)
class Session:
    """A file, opened in its own runtime.

    Attributes:
        call: One call of the runtime: from inputs (n, ...) by name to outputs (n, ...) by name, of
            the Keras model's names, layouts and types.
        batch: The number of examples that a call takes; `None` for any.
        precision: The arithmetic that the runtime says it uses; empty where it does not tell.
    """

    call: Callable[[Arrays], Arrays]
    batch: int | None = None
    precision: str = ""

    def run(self, inputs: Arrays) -> Arrays:
        """Returns the outputs (n, ...) for any number of examples."""
        return in_batches(self.call, inputs, size=self.batch or 32)


class Target(_Settings, abc.ABC):
    """A kind of file to export to; the fields are its settings.

    Attributes:
        kind: The target's name in the catalogue.
        tolerance: How far the file's outputs may be from the Keras model's.
        precision: Arithmetic of the file.
        proof: How far the file can be proved here; only a `numeric` target has `open`.
        runtime: The distribution whose runtime runs, or compiles, the file.
        requires: The distributions that writing and running need.
        fixed_shape: Whether every dimension after the batch must be known.
        calibrated: Whether writing needs example inputs.
        one_namespace: Whether the format has one set of names for inputs and outputs.
        plain_names: Whether names are of ASCII, a letter first, those of outputs too.
        tables: Whether the format holds strings and tables to look them up in.
    """

    kind: str = ""
    tolerance: Tolerance = FLOAT32

    precision: ClassVar[str] = "float32"
    proof: ClassVar[Proof] = "numeric"
    runtime: ClassVar[str]
    requires: ClassVar[tuple[str, ...]]
    fixed_shape: ClassVar[bool] = False
    calibrated: ClassVar[bool] = False
    one_namespace: ClassVar[bool] = False
    plain_names: ClassVar[bool] = False
    tables: ClassVar[bool] = False

    @abc.abstractmethod
    def write(self, source: Source, directory: Path) -> Written:
        """Writes the model into `directory`."""

    def open(self, path: Path, *, threads: int | None = None) -> Session:
        """Opens what `write` wrote in its own runtime, on the CPU.

        Args:
            path: The file or folder.
            threads: Threads of one inference; `None` leaves it to the runtime.
        """
        raise NotImplementedError(f"{self.kind}: no runtime for this target; proof: {self.proof}.")

    @abc.abstractmethod
    def operators(self, path: Path) -> dict[str, int]:
        """Counts the operators of the file's graph, by their name in the file format."""

    def layers(self, path: Path, signature: Signature) -> list[LayerTime]:
        """Returns the time of each layer, of a runtime that tells it; else nothing.

        Args:
            path: The file or folder.
            signature: Signature of the Keras model.
        """
        return []

    def signature(self, signature: Signature) -> Signature:
        """Returns the file's signature, given the Keras model's."""
        return signature

    def sizes(self, path: Path) -> tuple[int, int]:
        """Returns the bytes that the model takes where it is deployed, and those after gzip."""
        return size_bytes(path), gzip_bytes(path)

    def fault(self, path: Path) -> str:
        """Returns what is wrong with the file beyond its outputs, or an empty string."""
        return ""

    def missing(self) -> list[str]:
        """Returns the distributions in `requires` that are not installed."""
        return [name for name in self.requires if not _installed(name)]

    def check_packages(self) -> None:
        """Raises an error that names what to install, before any work is done.

        Raises:
            ModuleNotFoundError: A required distribution is missing.
        """
        if missing := self.missing():
            names = " ".join(missing)
            raise ModuleNotFoundError(
                f"export to {self.kind}: {names} not installed. Run: pip install {names}",
                name=missing[0],
            )

    def versions(self) -> dict[str, str]:
        """Returns the versions of what writes and runs the file, by name."""
        return {name: importlib.metadata.version(name) for name in ("keras", *self.requires)}

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

    def check_model(self, net: keras.Model) -> None:
        """Refuses strings, and tables that are looked up, where the format has neither.

        Raises:
            RuntimeError: The model has one.
        """
        if self.tables:
            return
        for layer in net._flatten_layers(include_self=False):
            if hasattr(layer, "lookup_table") or "string" in (layer.compute_dtype, layer.dtype):
                raise RuntimeError(
                    f"export to {self.kind}: layer {called(layer)!r} ({type(layer).__name__}) looks"
                    " up strings or a table, which the format has not. Export to saved_model, or"
                    " give the model the numbers that the layer makes."
                )


def _installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
