"""Text from an exported language model, without TensorFlow: by the file's own runtime.

serving.write("exported/char_lstm-tflite", prompt="The ", tokens=200, temperature=0.8)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from export.manifest import Manifest
from serving.engines import Engine, example_shape, open_deployable
from zoo.common import writing
from zoo.common.tensors import LOGITS, NEXT, TOKENS
from zoo.common.writing import Options, Reader


def write(directory: str | Path, *, num_threads: int = 1, **options: Any) -> list[str]:
    """Writes texts, a token at a time; of greedy writing, those that the Keras model writes.

    Args:
        directory: What `zoo export` wrote of a language model.
        num_threads: Threads of one inference; one step is too small for several.
        **options: See `zoo.common.writing.Options`.

    Returns:
        The texts, with the prompt.

    Raises:
        FileNotFoundError: The directory, its manifest or its model file is missing.
        ValueError: It holds no language model, an option is unknown or out of its range, or
            something of the prompt is not in the vocabulary.
    """
    chosen = Options.parse(options, where="generate")
    manifest, engine = open_deployable(directory, num_threads=num_threads)
    reader = reader_of(engine, manifest, chosen.count, where=str(directory))
    return writing.write_texts(reader, manifest.labels, chosen)


def reader_of(engine: Engine, manifest: Manifest, count: int, *, where: str) -> Reader:
    """Returns what reads texts side by side with a file.

    Args:
        engine: What runs the file.
        manifest: Of the file.
        count: Number of texts.
        where: Opens the error line.

    Raises:
        ValueError: It holds no language model.
    """
    inputs = {spec.name: spec for spec in engine.signature.inputs}
    outputs = {spec.name for spec in engine.signature.outputs}
    states = {name: example_shape(spec) for name, spec in inputs.items() if name != TOKENS}
    wanted = {NEXT + name for name in states}
    if TOKENS not in inputs or not wanted <= outputs or not manifest.labels:
        raise ValueError(
            f"{where}: reads {', '.join(inputs)} and answers {', '.join(sorted(outputs))}; "
            "expected a language model, which reads tokens of a vocabulary and its states."
        )
    if states:
        widths = {name: shape[0] for name, shape in states.items()}
        return writing.Stepping(engine.predict, widths, count)
    (answer,) = outputs
    (size,) = example_shape(inputs[TOKENS])

    def call(given: Any) -> Any:
        return {LOGITS: engine.predict(given)[answer]}

    return writing.Windowed(call, size, count)
