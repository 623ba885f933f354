"""`manifest.json`: what a deployable directory says about itself.

A deployable is one model file and this manifest. The schema needs neither TensorFlow nor NumPy, so
that `serving` and other readers start at once.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, ValidationError

from zoo.common import reading

FILE = "manifest.json"
LOGITS = "logits: a softmax makes the model's shares of them, which an integer file has not"
EXPECTED = "the manifest of a deployable, which `zoo export` wrote"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TensorSpec(_Part):
    """One named input or output; `None` in `shape` is a dimension that may vary."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class Signature(_Part):
    """The named tensors that go in and come out."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def of_one(self) -> Signature:
        """Returns the signature with a batch of one."""

        def one(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
            return tuple(spec.model_copy(update={"shape": (1, *spec.shape[1:])}) for spec in specs)

        return Signature(inputs=one(self.inputs), outputs=one(self.outputs))


class Parity(_Part):
    """How closely the file's outputs follow the Keras model's, on the same inputs.

    Attributes:
        runtime: The runtime that ran the file, with its version.
        samples: Number of examples compared.
        inputs: `given` when the caller passed examples, `random` when they were drawn, `edges` for
            zeros, the least and the greatest values of those, and noise between them.
        max_abs: Largest absolute difference of an output value; `None` when the outputs could not
            be compared, for the cause that `reason` gives.
        relative: `max_abs` divided by the largest absolute output of the Keras model; of outputs
            of floats where there are some.
        cosine: Cosine of the angle between the outputs of the file and of the model, all examples
            as one vector; of several outputs the smallest.
        top1_agreement: Fraction of the counted examples whose largest output has the same index, or
            of the values that are the same in an output of whole numbers, booleans or strings; of
            several outputs the smallest. `None` when none were counted, or when there is neither.
        top1_samples: Number of counted examples: those whose two best scores do not tie.
        max_relative: The limit set on `relative`; `None` for no limit.
        min_cosine: The limit set on `cosine`.
        min_top1_agreement: The limit set on `top1_agreement`.
        left_out: Invented examples that the Keras model itself has no finite answer to, with the
            reason; they are not among `samples`.
        passed: Whether the limits were kept and every output was finite.
        reason: Why the file was rejected; empty when it passed.
    """

    runtime: str
    samples: int
    inputs: Literal["given", "random", "edges"]
    max_abs: float | None = None
    relative: float | None = None
    cosine: float | None = None
    top1_agreement: float | None = None
    top1_samples: int = 0
    max_relative: float | None
    min_cosine: float = -1.0
    min_top1_agreement: float
    left_out: dict[str, str] = {}
    passed: bool
    reason: str = ""


class Score(_Part):
    """What the task says of the file and of its Keras model, on the same labelled examples.

    Attributes:
        examples: Their number.
        model: Metrics of the Keras model, e.g. `top1`, by name.
        file: Metrics of the file.
    """

    examples: int
    model: dict[str, float]
    file: dict[str, float]


class Distance(_Part):
    """How far the file's answers are from those of the float model that it stands for.

    Attributes:
        of: The float model: `the model given`, or its name.
        samples: Number of examples compared, as the file's parity was.
        relative: Largest difference divided by the largest absolute output of the float model.
        sqnr_db: Signal to quantisation noise in decibels, 10 log10(sum of squares of the outputs /
            that of the differences); `None` where there is no difference. Of several outputs the
            smallest, as of those that follow.
        cosine: Cosine of the angle between the outputs, all examples as one vector.
        top1_agreement: See `Parity.top1_agreement`.
    """

    of: str
    samples: int
    relative: float
    sqnr_db: float | None = None
    cosine: float
    top1_agreement: float | None = None


Proof: TypeAlias = Literal["numeric", "compile", "convert-only"]
"""How far a file was proved: its answers compared in its own runtime; compiled by its vendor's
compiler, without a device; or no more than written and read again."""


class Manifest(_Part):
    """The schema of `manifest.json`.

    Attributes:
        name: Name under which the model is served.
        target: Name of the export target, e.g. `tflite-int8`.
        options: Settings of the target.
        file: The model's file or folder, relative to the manifest.
        size_bytes: Bytes of the model on disk.
        gzip_bytes: The same after gzip (see `gzip_bytes`).
        sha256: Digest of the model (see `digest`).
        signature: The file's inputs and outputs.
        keras: Signature of the Keras model, where the file's differ in layout or type.
        names: The Keras model's own names of inputs and outputs, by those of the file that differ.
        task: What the answers are, a key of `zoo.common.answers.MEANINGS`; empty where it is not
            known.
        preprocessing: What was done to the raw input before the model saw it; free-form.
        labels: Class names in the order of the last output axis, or of an output below and above 0
            where that axis has length 1; empty when there are none.
        reads: The tokens of each input that reads another vocabulary than `labels`, in the order of
            their numbers, by the file's name of it.
        units: What a token of an input is, `character`, `word` or `byte_pair`, by the same name;
            where it is not said, the tokens tell.
        meanings: What the numbers of an output say, e.g. units, by the file's name of it.
        ranges: The least and the greatest number that an input takes, by name, where its type holds
            more: the places of a table, or those for which the runtime computes as the model does.
        precision: Arithmetic of the file, e.g. `float32`, `int8`.
        operators: How often each operator of the runtime's graph occurs.
        rejected: Why the file must not be used; empty when it passed.
        proof: How far the file was proved.
        parity: The comparison with the Keras model; `None` without a runtime to run the file.
        edges: The same on inputs at the edges.
        score: The task's metrics; `None` where the caller knew no labels.
        distance: From the float model; `None` of a float file of a float model, and where a model
            was quantised before and the caller did not give what it was made from.
        facts: What the target measured besides, e.g. the arena of a microcontroller in bytes.
        versions: Versions of the distributions that wrote and ran the file.
        source_sha256: Digest of the Keras file that was exported; empty when there was none.
    """

    schema_version: Literal[1] = 1
    name: str
    target: str
    options: dict[str, Any] = {}
    file: str
    size_bytes: int
    gzip_bytes: int
    sha256: str
    signature: Signature
    keras: Signature | None = None
    names: dict[str, str] = {}
    task: str = ""
    preprocessing: dict[str, Any] = {}
    labels: tuple[str, ...] = ()
    reads: dict[str, tuple[str, ...]] = {}
    units: dict[str, str] = {}
    meanings: dict[str, str] = {}
    ranges: dict[str, tuple[int, int]] = {}
    precision: str
    operators: dict[str, int] = {}
    rejected: str = ""
    proof: Proof = "numeric"
    parity: Parity | None = None
    edges: Parity | None = None
    score: Score | None = None
    distance: Distance | None = None
    facts: dict[str, Any] = {}
    versions: dict[str, str] = {}
    source_sha256: str = ""

    def notes(self) -> list[str]:
        """Returns what a reader of the Keras model would not think of the file, a sentence each."""
        found = [f"Output {name!r} gives {LOGITS}." for name in self.facts.get("logits", ())]
        ends = (*self.signature.inputs, *self.signature.outputs)
        io = self.options.get("io", "float32")
        if io != "float32" and (names := [repr(spec.name) for spec in ends if spec.dtype == io]):
            found.append(
                f"{', '.join(names)} hold {io}, scaled; `zoo serve` takes and gives float32."
            )
        for name, (low, high) in self.ranges.items():
            found.append(f"Input {name!r} takes numbers from {low} to {high}.")
        return found

    @classmethod
    def read(cls, directory: str | Path) -> Manifest:
        """Reads the manifest of a deployable directory.

        Raises:
            FileNotFoundError: `directory` holds no manifest.
            OSError: It cannot be read.
            ValueError: The manifest does not follow the schema; one line, with its first problem.
        """
        path = Path(directory) / FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: not found; expected a directory that `zoo export` wrote."
            )
        text = reading.text(path, EXPECTED)
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            spot = ".".join(map(str, first["loc"])) or "whole"
            raise ValueError(
                f"{path}: {FILE} is not valid: {spot}: {reading.one_line(ValueError(first['msg']))}"
                f" ({error.error_count()} problems). Export again."
            ) from error

    @classmethod
    def of_file(cls, directory: str | Path) -> tuple[Manifest, Path]:
        """Reads the manifest, and sees to it that the file beside it is the one that was exported.

        Whoever opens an exported file does so by this.

        Returns:
            The manifest, and the path of its file or folder.

        Raises:
            FileNotFoundError: The manifest or the file is missing.
            OSError: One cannot be read.
            ValueError: The manifest is not valid, names a file outside the directory, the file is
                another one, or it was rejected.
        """
        manifest = cls.read(directory)
        path = Path(directory) / manifest.file
        inside = os.path.realpath(directory)
        bad = not manifest.file or "\0" in manifest.file
        # A SavedModel is a folder in a folder, NAME/1.
        if bad or not os.path.realpath(path).startswith(inside + os.sep):
            raise ValueError(
                f"{directory}: {FILE} names the file {manifest.file!r}; expected one within the"
                " directory. Export again."
            )
        if not path.exists():
            raise FileNotFoundError(
                f"{path}: not found, but the manifest names it; copy it whole, or export again."
            )
        if (found := digest(path)) != manifest.sha256:
            raise ValueError(
                f"{path}: got sha256 {found[:12]}...; expected {manifest.sha256[:12]}..., as in the"
                " manifest. The file is not complete yet, or changed after the export; copy it"
                " whole, or export again."
            )
        if manifest.rejected:
            raise ValueError(
                f"{directory}: the file failed its parity check ({manifest.rejected}), so its"
                " answers are not the model's; export again."
            )
        return manifest, path

    def write(self, directory: str | Path) -> None:
        """Writes `manifest.json` into `directory`."""
        (Path(directory) / FILE).write_text(self.model_dump_json(indent=2) + "\n")


def digest(path: str | Path) -> str:
    """Returns the sha256 of a file, or of a folder's file names and contents in sorted order."""
    state = hashlib.sha256()
    for block in _blocks(Path(path)):
        state.update(block)
    return state.hexdigest()


def size_bytes(path: str | Path) -> int:
    """Returns the bytes of a file, or of all files in a folder."""
    return sum(part.stat().st_size for part in _files(Path(path)))


def gzip_bytes(path: str | Path) -> int:
    """Returns the bytes after `gzip -6`; the files of a folder are packed as one stream."""
    state = zlib.compressobj(level=6, wbits=31)  # 31: a gzip header and trailer
    return sum(len(state.compress(block)) for block in _blocks(Path(path))) + len(state.flush())


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())


def _blocks(path: Path) -> Iterator[bytes]:
    """The content in blocks; within a folder, each file after its name."""
    for part in _files(path):
        if part != path:
            yield part.relative_to(path).as_posix().encode() + b"\0"
        with part.open("rb") as file:
            while block := file.read(1 << 20):
                yield block
