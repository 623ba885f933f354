"""The words for a picture or a text, one after another: those given, the likeliest, or a beam.

What the `encoder` reads is called a picture here; of a translator (`zoo.tasks.words.translate`) it
is a row of tokens.

A step of the `decoder` reads `tokens` (batch, 1), what the `encoder` saw and its own states, and
answers with `logits`, new states, and with `place_weights` where it attends. States that the
encoder does not give begin with zeros; what hard attention draws (`zoo.tasks.words.hard`) is zero
but in training. A decoder that reads a `picture` takes it at t = -1, in the
place of a word: its first token is padding (`zoo.models.show_and_tell`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.common.sentences import END, MARKS, PADDING, START
from zoo.common.tensors import IMAGE, LOGITS, LOOKED, NEXT, PICTURE, TOKENS, WEIGHTS
from zoo.common.unrolled import LONGEST

if TYPE_CHECKING:
    import keras
    import numpy as np

    from zoo.data.dataset import DataSet
    from zoo.tasks.task import Networks

    Known = dict[str, Any]  # what a decoder reads beside its tokens, by name
    Call = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]


class Sentence(NamedTuple):
    """What a beam found.

    Attributes:
        tokens: Behind the start, to the end, which is among them unless there was no room.
        log_probability: Sum over the tokens, natural.
    """

    tokens: tuple[int, ...]
    log_probability: float


def check_length(data: DataSet, *names: str) -> None:
    """Refuses texts whose tokens cannot be read, or said, in steps that are written out.

    Args:
        data: The texts.
        names: Of their columns; a step less than tokens, where these are said.

    Raises:
        ValueError: They are longer than `zoo.common.unrolled.LONGEST`.
    """
    for name in names:
        column = data.columns[name]
        marks = 2 if column.names[: len(MARKS)] == MARKS else 0
        steps = (column.shape[0] or 0) - bool(marks)
        if steps > LONGEST:
            raise ValueError(
                f"data.size: got texts of {steps + bool(marks) - marks:,} tokens, {name} of "
                f"{data.name}; expected {LONGEST - 1} at most, as each is a step that is written "
                f"out. Write data.size={LONGEST - 1}, which leaves longer ones out."
            )


def leads(decoder: keras.Model) -> tuple[int, ...]:
    """Returns the tokens that are read before the start."""
    return (PADDING,) if PICTURE in {tensor.name for tensor in decoder.inputs} else ()


def begin(networks: Networks, images: Any, *, training: bool = False) -> Known:
    """Returns what the decoder knows before it reads the start.

    Args:
        networks: `encoder` and `decoder`.
        images: (batch, height, width, channels).
        training: Whether to run as in training.
    """
    seen = _seen(networks["encoder"], images, training=training)
    return begin_from(networks["decoder"], seen, training=training)


def _seen(encoder: keras.Model, given: Any, *, training: bool) -> Known:
    """What an encoder sees of a picture, or of texts that were cut: then zeros fill the places."""
    (read,) = encoder.inputs
    if given.shape[1:] == read.shape[1:]:
        return dict(encoder(given, training=training))
    from keras import layers, ops

    from compress.graph.graph import replay

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(operation, layers.Layer):
            kwargs["training"] = training  # Keras leaves it out where `call` does not take it
        return operation(*args, **kwargs)

    found, missing = replay(encoder, given, call), read.shape[1] - given.shape[1]
    for name, tensor in encoder.output.items():
        if tensor.shape[1] != found[name].shape[1]:  # (batch, time, ...)
            pads = [(0, 0), (0, missing)] + [(0, 0)] * (len(tensor.shape) - 2)
            found[name] = ops.pad(found[name], pads)
    return dict(found)


def begin_from(decoder: keras.Model, seen: Known, *, training: bool = False) -> Known:
    """Returns what a decoder knows before it reads the start, given what was seen (batch, ...)."""
    from keras import ops

    known = dict(seen)
    num = ops.shape(next(iter(known.values())))[0]
    for tensor in decoder.inputs:  # its states, and what hard attention draws
        if tensor.name not in known and tensor.name != TOKENS:
            known[tensor.name] = ops.zeros((num, *tensor.shape[1:]))
    for token in leads(decoder):
        tokens = ops.full((num,), token, dtype="int32")
        known, _ = advance(decoder, known, tokens, training=training)
    return known


def advance(
    decoder: keras.Model, known: Known, tokens: Any, *, training: bool = False
) -> tuple[Known, dict[str, Any]]:
    """Reads a token (batch,) of each sentence: what is known behind it, and the step's outputs."""
    from keras import ops

    from zoo.models.step import states

    given = {**known, TOKENS: ops.convert_to_tensor(tokens)[:, None]}
    found = decoder([given[tensor.name] for tensor in decoder.inputs], training=training)
    new = {name: ops.cast(found[NEXT + name], known[name].dtype) for name in states(decoder)}
    return {**known, **new}, found


def told(
    networks: Networks, images: Any, tokens: Any, *, training: bool, drawn: Known | None = None
) -> dict[str, Any]:
    """Runs the decoder along sentences that are given ("teacher forcing").

    Args:
        networks: `encoder` and `decoder`.
        images: (batch, height, width, channels).
        tokens: What is read, from the start on, (batch, time), int32.
        training: Whether to run as in training.
        drawn: What each step reads that was drawn, by name, (batch, time, ...); zeros without.

    Returns:
        The step's outputs by name, each (batch, time, ...).
    """
    known = begin(networks, images, training=training)
    return along(networks["decoder"], known, tokens, training=training, drawn=drawn)


def along(
    decoder: keras.Model, known: Known, tokens: Any, *, training: bool, drawn: Known | None = None
) -> dict[str, Any]:
    """Runs a decoder along given sentences, see `told`, from what it knows before the start."""
    from keras import ops

    steps = []
    for place in range(tokens.shape[1]):
        known = known | {name: values[:, place] for name, values in (drawn or {}).items()}
        known, found = advance(decoder, known, tokens[:, place], training=training)
        steps.append(found)
    return {name: ops.stack([found[name] for found in steps], axis=1) for name in steps[0]}


def greedy(networks: Networks, images: Any, length: int) -> dict[str, Any]:
    """Takes the likeliest token each time, which no padding and no start is.

    Args:
        networks: `encoder` and `decoder`.
        images: (batch, height, width, channels).
        length: Number of tokens, at most.

    Returns:
        `captions` (batch, length), int32, padding behind an end; `place_weights` (batch, length,
        places) where the decoder attends.
    """
    from keras import ops

    known = begin(networks, images)
    tokens = ops.full((ops.shape(images)[0],), START, dtype="int32")
    said, looked = [], []
    for _ in range(length):
        known, found = advance(networks["decoder"], known, tokens)
        best = END + ops.cast(ops.argmax(found[LOGITS][:, END:], axis=-1), "int32")
        over = ops.logical_or(tokens == END, tokens == PADDING)
        tokens = ops.where(over, PADDING, best)
        said.append(tokens)
        looked += [found[WEIGHTS]] if WEIGHTS in found else []
    answer = {"captions": ops.stack(said, axis=1)}
    return answer | ({WEIGHTS: ops.stack(looked, axis=1)} if looked else {})


def beam(networks: Networks, image: Any, length: int, *, width: int) -> list[Sentence]:
    """Keeps the likeliest sentences of each length, and goes on from these.

    Source: Vinyals et al. 2014, arXiv:1411.4555, section 3.1, where the width is 20. Sentences that
    have come to their end keep their place; nothing makes up for their length. With a width of 1 it
    is `greedy`.

    Args:
        networks: `encoder` and `decoder`.
        image: One picture as the encoder reads it, (height, width, channels).
        length: Number of tokens, at most.
        width: Number of sentences that are kept.

    Returns:
        At most `width` sentences, the likeliest first.
    """
    import numpy as np
    from keras import ops

    decoder = networks["decoder"]
    known = begin(networks, ops.convert_to_tensor(image)[None])
    known = {name: ops.repeat(values, width, axis=0) for name, values in known.items()}
    kept = [Sentence((), 0.0)]
    for _ in range(length):
        last = [one.tokens[-1] if one.tokens else START for one in kept]
        padded = np.array(last + [PADDING] * (width - len(last)), np.int32)
        known, found = advance(decoder, known, ops.convert_to_tensor(padded))
        logs = ops.convert_to_numpy(ops.log_softmax(ops.cast(found[LOGITS], "float32"), axis=-1))
        choices = [(one, row) for row, one in enumerate(kept) if _over(one)]
        for row, one in enumerate(kept):
            if not _over(one):
                for token in END + np.argsort(-logs[row, END:], kind="stable")[:width]:
                    total = one.log_probability + float(logs[row, token])
                    choices.append((Sentence((*one.tokens, int(token)), total), row))
        choices.sort(key=lambda choice: -choice[0].log_probability)
        kept = [one for one, _ in choices[:width]]
        rows = np.array([row for _, row in choices[:width]] + [0] * (width - len(kept)), np.int32)
        known = {name: ops.take(values, rows, axis=0) for name, values in known.items()}
        if all(map(_over, kept)):
            break
    return kept


def _over(sentence: Sentence) -> bool:
    return bool(sentence.tokens) and sentence.tokens[-1] in (END, PADDING)


def whole(networks: Networks) -> keras.Model:
    """Returns one step from the picture: the encoder and the decoder in one graph.

    Where the token is a start, states that the encoder gives stand in for those that are read.

    Returns:
        What the encoder reads, `tokens` (batch, 1) and the states (batch, units) to the decoder's
        outputs.
    """
    import keras
    from keras import ops

    from zoo.models.step import states

    encoder, decoder = networks["encoder"], networks["decoder"]
    (read,) = encoder.inputs
    image = keras.Input(read.shape[1:], dtype=read.dtype, name=read.name)
    tokens = keras.Input((1,), dtype="int32", name=TOKENS)
    given = {name: keras.Input((units,), name=name) for name, units in states(decoder).items()}
    known = dict(encoder(image))
    first = ops.cast(ops.equal(tokens, START), "float32")  # (batch, 1)
    for name, values in given.items():
        known[name] = values + first * (known[name] - values) if name in known else values
    known[TOKENS] = tokens
    for tensor in decoder.inputs:  # what hard attention draws: nothing, when it is deployed
        if tensor.name not in known:
            known[tensor.name] = ops.zeros_like(ops.repeat(first, tensor.shape[-1], axis=1))
    outputs = decoder([known[tensor.name] for tensor in decoder.inputs])
    outputs = {name: tensor for name, tensor in outputs.items() if name != LOOKED}  # to learn by
    name = "captioner" if read.name == IMAGE else "translator"
    return keras.Model([image, tokens, *given.values()], outputs, name=name)


def asked(call: Call, networks: Networks, images: np.ndarray, length: int) -> np.ndarray:
    """Returns the likeliest tokens (n, length) by what does the step of `whole`, e.g. a file."""
    import numpy as np

    from zoo.models.step import states

    decoder, num = networks["decoder"], len(images)
    read = networks["encoder"].inputs[0].name
    known = {name: np.zeros((num, units), "float32") for name, units in states(decoder).items()}
    tokens, said = np.full(num, START, np.int32), []
    for token in leads(decoder):
        lead = np.full((num, 1), token, np.int32)
        found = call({read: images, TOKENS: lead, **known})
        known = {name: found[NEXT + name] for name in known}
    for _ in range(length):
        found = call({read: images, TOKENS: tokens[:, None], **known})
        known = {name: found[NEXT + name] for name in known}
        over = np.isin(tokens, (END, PADDING))
        best = END + np.asarray(found[LOGITS])[:, END:].argmax(axis=-1)
        tokens = np.where(over, PADDING, best).astype(np.int32)
        said.append(tokens)
    return np.stack(said, axis=1)
