"""Metadata inside a `.tflite` file: names, labels, normalisation; what MediaPipe's tasks read.

The schema is `metadata_schema.fbs` of TensorFlow Lite (identifier M001): a flatbuffer of its own,
in a buffer that the model lists as `TFLITE_METADATA`. Files that it speaks of, the labels, are a
zip archive behind the model.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from typing import Any

import flatbuffers

from export.formats.tflite.flatbuffer import parse, schema, serialise, to_buffer
from export.target import Source
from zoo.common.preprocessing import Preprocessing

KEY = b"TFLITE_METADATA"
LABELS = "labels.txt"
FLOAT32 = 0  # `TensorType.FLOAT32`

# Numbers of the schema: members of its unions, values of its enumerations.
IMAGE, FEATURE, NORMALISATION = 2, 1, 1
RGB, GREY = 1, 2
AXIS_LABELS = 2


def embedded(content: bytes, source: Source) -> bytes:
    """Returns a `.tflite` file that says what its inputs and outputs are.

    Args:
        content: Bytes of the file, with the signature that `export` gives it.
        source: What it was written from.
    """
    model = parse(content)
    _rename(model)
    metadata = schema.MetadataT(KEY.decode(), to_buffer(model, _metadata(model, source)))
    model.metadata = [*(model.metadata or ()), metadata]
    written = serialise(model)
    if not source.about.labels:
        return written
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:  # stored, as MediaPipe maps it into memory
        stamp = zipfile.ZipInfo(LABELS)  # 1980: the same file from the same model
        files.writestr(stamp, "\n".join(source.about.labels) + "\n")
    return written + archive.getvalue()


def _rename(model: Any) -> None:
    """Gives the tensors at the ends the names of the signature; readers of the file go by them."""
    (signature,), graph = model.signatureDefs, model.subgraphs[0]
    for entry in (*signature.inputs, *signature.outputs):
        graph.tensors[entry.tensorIndex].name = entry.name


def _metadata(model: Any, source: Source) -> bytes:
    """The metadata as a flatbuffer, tensors in the order of the file."""
    to = _Writer()
    (names,), graph = model.signatureDefs, model.subgraphs[0]

    def in_order(places: Sequence[int], named: Any) -> list[tuple[str, int]]:
        known = {entry.tensorIndex: entry.name.decode() for entry in named}
        return [(known.get(place, ""), graph.tensors[place].type) for place in places]

    inputs = [_input(to, name, kind, source) for name, kind in in_order(graph.inputs, names.inputs)]
    outputs = [_output(to, name, source) for name, _ in in_order(graph.outputs, names.outputs)]
    whole = to.table(
        to.text(source.about.name), None, to.vector(inputs), to.vector(outputs)
    )  # SubGraphMetadata: name, description, inputs, outputs
    licence = source.about.licence
    to.finish(
        to.table(  # ModelMetadata
            to.text(source.about.name),
            to.text(source.about.origin) if source.about.origin else None,
            None,
            to.vector([whole]),
            None,
            to.text(licence) if licence else None,
            None,
            to.text("1.0.0"),
        )
    )
    return to.bytes()


def _input(to: _Writer, name: str, kind: int, source: Source) -> int:
    known = source.about.preprocessing
    picture = known is not None and known.size is not None and len(source.signature.inputs) == 1
    if known is None or not picture:
        return _tensor(to, name, content=to.table(_byte(FEATURE), to.table()))
    colour = _byte(RGB if known.channels == 3 else GREY)
    content = to.table(_byte(IMAGE), to.table(colour))  # Content of ImageProperties
    units = [_normalisation(to, known)] if kind == FLOAT32 else []
    return _tensor(to, name, content=content, units=units)


def _normalisation(to: _Writer, known: Preprocessing) -> int:
    """A ProcessUnit; its mean and deviation are those of pixels from 0 to 255.

    One number where all channels have the same: MediaPipe 1.2 takes no more than one, and a model
    with several wants `zoo export --pixels`.
    """
    mean, std = (
        to.floats(
            [value / known.scale for value in (values[:1] if len(set(values)) == 1 else values)]
        )
        for values in (known.mean, known.std)
    )
    return to.table(_byte(NORMALISATION), to.table(mean, std))


def _output(to: _Writer, name: str, source: Source) -> int:
    labels = source.about.labels
    content = to.table(_byte(FEATURE), to.table())
    first = source.signature.outputs[0]
    if not labels or name != first.name or first.shape[-1:] != (len(labels),):
        return _tensor(to, name, content=content)
    file = to.table(to.text(LABELS), None, _byte(AXIS_LABELS))
    return _tensor(to, name, content=content, files=[file])


def _tensor(
    to: _Writer, name: str, *, content: int, units: Sequence[int] = (), files: Sequence[int] = ()
) -> int:
    """A TensorMetadata: name, description, dimension_names, content, units, stats, files."""
    return to.table(
        to.text(name),
        None,
        None,
        content,
        to.vector(units) if units else None,
        None,
        to.vector(files) if files else None,
    )


class _byte(int):  # noqa: N801
    """A field of one byte; every other field is the place of something written before."""


class _Writer:
    """Writes tables from the inside to the outside, fields in the order of the schema."""

    def __init__(self) -> None:
        self._builder = flatbuffers.Builder(1024)

    def text(self, value: str) -> int:
        return int(self._builder.CreateString(value))

    def floats(self, values: Sequence[float]) -> int:
        self._builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self._builder.PrependFloat32(value)
        return int(self._builder.EndVector())

    def vector(self, places: Sequence[int]) -> int:
        self._builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            self._builder.PrependUOffsetTRelative(place)
        return int(self._builder.EndVector())

    def table(self, *fields: int | None) -> int:
        self._builder.StartObject(len(fields))
        for slot, field in enumerate(fields):
            if isinstance(field, _byte):
                self._builder.PrependInt8Slot(slot, field, 0)
            elif field is not None:
                self._builder.PrependUOffsetTRelativeSlot(slot, field, 0)
        return int(self._builder.EndObject())

    def finish(self, place: int) -> None:
        self._builder.Finish(place, b"M001")

    def bytes(self) -> bytes:
        return bytes(self._builder.Output())
