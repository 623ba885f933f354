"""Text from an exported language model or translator, without TensorFlow, by the file's runtime.

serving.write("exported/char_lstm-tflite", prompt="The ", tokens=200, temperature=0.8)
serving.write("exported/rnnsearch_small-tflite", prompt="neural", temperature=0)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from export.manifest import Manifest
from serving.engines import Engine, example_shape, open_deployable
from zoo.common import writing
from zoo.common.tensors import LOGITS, NEXT, TOKENS
from zoo.common.vocabulary import Vocabulary
from zoo.common.writing import Options, Reader

WRITES, TRANSLATES = "language", "translate"  # tasks whose models write


def write(directory: str | Path, *, num_threads: int = 1, **options: Any) -> list[str]:
    """Writes texts, a token at a time; of greedy writing, those that the Keras model writes.

    Args:
        directory: What `zoo export` wrote of a language model, or of a translator.
        num_threads: Threads of one inference; one step is too small for several.
        **options: See `zoo.common.writing.Options`.

    Returns:
        The texts, with the prompt; of a translator, what it says of the prompt.

    Raises:
        FileNotFoundError: The directory, its manifest or its model file is missing.
        ValueError: It holds neither, an option is unknown or out of its range, or something of the
            prompt is not in the vocabulary; or a text to translate is empty or too long.
    """
    chosen = Options.parse(options, where="generate")
    manifest, engine = open_deployable(directory, num_threads=num_threads)
    reader = reader_of(engine, manifest, chosen, where=str(directory))
    return writing.write_texts(reader, vocabulary_of(manifest), chosen)


def writes(manifest: Manifest) -> bool:
    """Whether a file writes text: it is of a language model, or of a translator."""
    return manifest.task in (WRITES, TRANSLATES) and bool(manifest.labels)


def translates(manifest: Manifest) -> bool:
    """Whether what a file writes is said of a prompt, which then has to be there."""
    return writes(manifest) and manifest.task == TRANSLATES


def vocabulary_of(manifest: Manifest, name: str = TOKENS) -> Vocabulary:
    """Returns the vocabulary of an input, by the file's name of it, e.g. of the text itself."""
    return Vocabulary.of_names(
        manifest.reads.get(name, manifest.labels), manifest.units.get(name, "")
    )


def reader_of(engine: Engine, manifest: Manifest, options: Options, *, where: str) -> Reader:
    """Returns what reads texts side by side with a file.

    Args:
        engine: What runs the file.
        manifest: Of the file.
        options: Number of texts, and what a translator reads.
        where: Opens the error line.

    Raises:
        ValueError: It holds neither a language model nor a translator, or one that cannot read the
            prompt.
    """
    if not writes(manifest):
        raise ValueError(
            f"{where}: got a file of {manifest.task or 'a network'}; expected one of a language "
            "model or a translator, whose vocabulary is known."
        )
    inputs = {spec.name: spec for spec in engine.signature.inputs}
    outputs = {spec.name for spec in engine.signature.outputs}
    read = [name for name in manifest.reads if name in inputs and name != TOKENS]
    known = {name: example_shape(spec) for name, spec in inputs.items()}
    states = {name: shape for name, shape in known.items() if name not in (TOKENS, *read)}
    wanted = {NEXT + name for name in states}
    if TOKENS not in inputs or not wanted <= outputs or translates(manifest) is not bool(read):
        raise ValueError(
            f"{where}: got a file of {manifest.task} that reads {', '.join(inputs)} and answers "
            f"{', '.join(sorted(outputs))}; expected tokens, states and, of a translator, the "
            "vocabulary of what it reads. Export it again."
        )
    if states:
        widths = {name: shape[0] for name, shape in states.items()}
        given = {
            name: vocabulary_of(manifest, name)
            .rows([options.prompt], length=known[name][0], where="generate.prompt")
            .repeat(options.count, axis=0)
            for name in read
        }
        return writing.Stepping(engine.predict, widths, options.count, given=given)
    count = options.count
    (answer,) = outputs
    (size,) = example_shape(inputs[TOKENS])

    def call(given: Any) -> Any:
        return {LOGITS: engine.predict(given)[answer]}

    return writing.Windowed(call, size, count)
