"""Text from an exported language model, translator or captioner, without TensorFlow.

serving.write("exported/char_lstm-tflite", prompt="The ", tokens=200, temperature=0.8)
serving.write("exported/rnnsearch_small-tflite", prompt="neural", temperature=0)
serving.write("exported/show_attend_tell_small-tflite", picture="photo.png", temperature=0)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from export.manifest import Manifest
from serving.engines import Engine, example_shape, open_deployable
from zoo.common import writing
from zoo.common.picture_files import read_image
from zoo.common.preprocessing import Preprocessing
from zoo.common.sentences import PADDING
from zoo.common.tensors import IMAGE, LOGITS, NEXT, TOKENS
from zoo.common.vocabulary import Vocabulary
from zoo.common.writing import Options, Reader

if TYPE_CHECKING:
    from PIL.Image import Image

WRITES, TRANSLATES, CAPTIONS = "language", "translate", "caption"  # tasks whose models write


def write(
    directory: str | Path,
    *,
    picture: str | Path | None = None,
    num_threads: int = 1,
    **options: Any,
) -> list[str]:
    """Writes texts, a token at a time; of greedy writing, those that the Keras model writes.

    Args:
        directory: What `zoo export` wrote of a language model, a translator or a captioner.
        picture: What a captioner reads, a file of one of `zoo.common.picture_files.FORMATS`.
        num_threads: Threads of one inference; one step is too small for several.
        **options: See `zoo.common.writing.Options`.

    Returns:
        The texts, with the prompt; of a translator, what it says of the prompt; of a captioner, of
        the picture.

    Raises:
        FileNotFoundError: The directory, its manifest, its model file or the picture is missing.
        ValueError: It holds none of them, an option is unknown or out of its range, something of
            the prompt is not in the vocabulary, a text to translate is empty or too long, or there
            is a picture too few or too many.
    """
    chosen = Options.parse(options, where="generate")
    manifest, engine = open_deployable(directory, num_threads=num_threads)
    seen = None if picture is None else read_image(picture)
    reader = reader_of(engine, manifest, chosen, where=str(directory), picture=seen)
    return writing.write_texts(reader, vocabulary_of(manifest), chosen)


def writes(manifest: Manifest) -> bool:
    """Whether a file writes text: it is of a language model, a translator or a captioner."""
    return manifest.task in (WRITES, TRANSLATES, CAPTIONS) and bool(manifest.labels)


def translates(manifest: Manifest) -> bool:
    """Whether what a file writes is said of a prompt, which then has to be there."""
    return writes(manifest) and manifest.task == TRANSLATES


def captions(manifest: Manifest) -> bool:
    """Whether what a file writes is said of a picture, which then has to be there."""
    return writes(manifest) and manifest.task == CAPTIONS


def vocabulary_of(manifest: Manifest, name: str = TOKENS) -> Vocabulary:
    """Returns the vocabulary of an input, by the file's name of it, e.g. of the text itself."""
    return Vocabulary.of_names(
        manifest.reads.get(name, manifest.labels), manifest.units.get(name, "")
    )


def reader_of(
    engine: Engine,
    manifest: Manifest,
    options: Options,
    *,
    where: str,
    picture: Image | None = None,
) -> Reader:
    """Returns what reads texts side by side with a file.

    Args:
        engine: What runs the file.
        manifest: Of the file.
        options: Number of texts, and what a translator reads.
        where: Opens the error line.
        picture: What a captioner reads.

    Raises:
        ValueError: It holds none that writes, or one that cannot read the prompt or the picture.
    """
    if not writes(manifest):
        raise ValueError(
            f"{where}: got a file of {manifest.task or 'a network'}; expected one of a language "
            "model, a translator or a captioner, whose vocabulary is known."
        )
    if captions(manifest) is not (picture is not None):
        told = ("got none", "expected one") if picture is None else ("got one", "drop it")
        raise ValueError(f"generate.picture: {told[0]} for a model of {manifest.task}; {told[1]}.")
    if picture is not None and options.prompt:
        raise ValueError("generate.prompt: got one beside a picture; drop it.")
    inputs = {spec.name: spec for spec in engine.signature.inputs}
    outputs = {spec.name for spec in engine.signature.outputs}
    read = [name for name in manifest.reads if name in inputs and name != TOKENS]
    known = {name: example_shape(spec) for name, spec in inputs.items()}
    if picture is not None and IMAGE in inputs:
        read = [IMAGE]
    states = {name: shape for name, shape in known.items() if name not in (TOKENS, *read)}
    wanted = {NEXT + name for name in states}
    says = translates(manifest) or captions(manifest)
    if TOKENS not in inputs or not wanted <= outputs or says is not bool(read):
        raise ValueError(
            f"{where}: got a file of {manifest.task} that reads {', '.join(inputs)} and answers "
            f"{', '.join(sorted(outputs))}; expected tokens, states and what it says something "
            "of, an image or tokens of a known vocabulary. Export it again."
        )
    if states:
        widths = {name: shape[0] for name, shape in states.items()}
        if picture is None:
            given = {
                name: vocabulary_of(manifest, name).rows(
                    [options.prompt], length=known[name][0], where="generate.prompt"
                )
                for name in read
            }
        else:
            given = {IMAGE: _pixels(picture, manifest, inputs[IMAGE].dtype)}
        given = {name: rows.repeat(options.count, axis=0) for name, rows in given.items()}
        # Some captioners read the picture at a padding; others begin anew at the start behind it.
        leads = () if picture is None else (PADDING,)
        return writing.Stepping(engine.predict, widths, options.count, given=given, leads=leads)
    count = options.count
    (answer,) = outputs
    (size,) = example_shape(inputs[TOKENS])

    def call(given: Any) -> Any:
        return {LOGITS: engine.predict(given)[answer]}

    return writing.Windowed(call, size, count)


def _pixels(picture: Image, manifest: Manifest, dtype: str) -> np.ndarray:
    """A picture as a file reads it, (1, height, width, channels)."""
    known = Preprocessing.parse(manifest.preprocessing, where="manifest: preprocessing")
    return known.apply(known.pixels(picture)[None]).astype(dtype, copy=False)
