"""Writing with a language model: a token after another, each drawn from what the model expects.

A translator or a captioner writes alike, from a start to an end, what it says of what it has read
all along.

Nothing here knows what runs the model: Keras, or the runtime of an exported file. A model is one
step, which reads a token and its states, or reads whole windows and looks back no further.

Sources: nucleus, the likeliest tokens that together have a share: Holtzman et al. 2020, The curious
case of neural text degeneration, arXiv:1904.09751; the k likeliest: Fan et al. 2018,
arXiv:1805.04833.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Protocol

import numpy as np
from pydantic import Field

from zoo.common import sentences
from zoo.common.settings import Settings
from zoo.common.tensors import LOGITS, NEXT, TOKENS
from zoo.common.vocabulary import Vocabulary

START = "\n"  # what stands before a text without a prompt, where the vocabulary has it

Call = Callable[[Mapping[str, np.ndarray]], Mapping[str, Any]]


class Options(Settings):
    """How to write.

    Attributes:
        count: Number of texts.
        seed: Seed of the draws.
        prompt: What every text begins with; of a translator, what is translated.
        tokens: Tokens to write behind the prompt; of a translator or a captioner at most.
        temperature: What the logits are divided by; 0 takes the likeliest token each time.
        top_k: Draws from so many of the likeliest tokens only; 0 draws from all.
        top_p: Draws from the likeliest tokens that together have this share; 1 draws from all.
    """

    count: Annotated[int, Field(ge=1)] = 1
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    prompt: str = ""
    tokens: Annotated[int, Field(ge=1)] = 200
    temperature: Annotated[float, Field(ge=0)] = 1.0
    top_k: Annotated[int, Field(ge=0)] = 0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0


class Reader(Protocol):
    """A model that reads texts side by side, a token of each at a time."""

    def read(self, tokens: np.ndarray) -> np.ndarray:
        """Reads the next token of each text (n,); returns logits (n, vocabulary) of the next."""


class Stepping:
    """Reads by a step, which carries states.

    Args:
        call: The step: `tokens` (n, 1) and states (n, units) to `logits` and new states.
        widths: Units of each state, by name.
        count: Number of texts.
        given: What every step reads besides (n, ...), by name.
        leads: Tokens that are read before all others.
    """

    def __init__(
        self,
        call: Call,
        widths: Mapping[str, int],
        count: int,
        *,
        given: Mapping[str, np.ndarray] | None = None,
        leads: Sequence[int] = (),
    ):
        self._call, self._given, self._leads = call, dict(given or {}), list(leads)
        self._known = {name: np.zeros((count, units), "float32") for name, units in widths.items()}

    def read(self, tokens: np.ndarray) -> np.ndarray:
        """See `Reader.read`."""
        while self._leads:
            self._step(np.full_like(tokens, self._leads.pop(0)))
        return self._step(tokens)

    def _step(self, tokens: np.ndarray) -> np.ndarray:
        tokens = tokens[:, None].astype(np.int32)
        found = self._call({**self._given, TOKENS: tokens, **self._known})
        self._known = {name: found[NEXT + name] for name in self._known}
        return np.asarray(found[LOGITS])


class Windowed:
    """Reads by a model of whole windows, of which the last tokens are the text so far.

    Args:
        call: `tokens` (n, size) to `logits` (n, size, vocabulary), each a function of the tokens
            up to its place.
        size: Tokens of a window.
        count: Number of texts.
    """

    def __init__(self, call: Call, size: int, count: int):
        self._call, self._size = call, size
        self._texts = np.zeros((count, 0), np.int32)

    def read(self, tokens: np.ndarray) -> np.ndarray:
        """See `Reader.read`."""
        self._texts = np.concatenate([self._texts, tokens[:, None].astype(np.int32)], axis=1)
        shown = self._texts = self._texts[:, -self._size :]
        num = shown.shape[1]
        # What stands behind a place changes nothing there.
        padded = np.pad(shown, ((0, 0), (0, self._size - num)))
        return np.asarray(self._call({TOKENS: padded})[LOGITS])[:, num - 1]


def write_texts(reader: Reader, vocabulary: Vocabulary, options: Options) -> list[str]:
    """Returns texts that begin with the prompt, or what is said of it, or of a picture.

    Args:
        reader: A model that has read nothing yet.
        vocabulary: Of what is written.
        options: How to write.

    Raises:
        ValueError: Something of the prompt is not in the vocabulary.
    """
    pieces = list(write_pieces(reader, vocabulary, options))
    first = before_pieces(vocabulary, options)
    return ["".join(parts) for parts in zip(first, *pieces, strict=True)]


def before_pieces(known: Vocabulary, options: Options) -> list[str]:
    """Returns what stands before the pieces of each text: the prompt, where it is written on."""
    return ["" if known.says else options.prompt] * options.count


def write_pieces(reader: Reader, known: Vocabulary, options: Options) -> Iterator[list[str]]:
    """Yields what follows the prompt of each text, a token at a time, see `write_texts`."""
    random = np.random.RandomState(options.seed)
    if known.says:
        yield from _said(reader, known, options, random)
        return
    prompt = known.encode(options.prompt, where="prompt")
    begin = prompt or [known.names.index(START) if START in known.names else 0]
    for token in begin:
        logits = reader.read(np.full(options.count, token))
    before = [prompt] * options.count
    for number in range(1, options.tokens + 1):
        written = draw(logits, options, random)  # (count,)
        yield [
            known.behind(last, [token])
            for last, token in zip(before, written.tolist(), strict=True)
        ]
        before = [[token] for token in written.tolist()]
        if number < options.tokens:
            logits = reader.read(written)


def _said(
    reader: Reader, known: Vocabulary, options: Options, random: np.random.RandomState
) -> Iterator[list[str]]:
    """Yields what is said of what was read, from the start until each text has its end."""
    begun, tokens = [False] * options.count, np.full(options.count, sentences.START)
    between = known.joined(["", ""])
    for _ in range(options.tokens):
        # Padding and starts, which stand before the end among the marks, are never said.
        logits = reader.read(tokens)[:, sentences.END :]
        written = sentences.END + draw(logits, options, random)
        over = np.isin(tokens, (sentences.END, sentences.PADDING))
        tokens = np.where(over, sentences.PADDING, written)
        names = [known.decode([token]) for token in tokens.tolist()]
        yield [
            f"{between}{name}" if name and there else name
            for name, there in zip(names, begun, strict=True)
        ]
        begun = [there or bool(name) for name, there in zip(names, begun, strict=True)]
        if np.isin(tokens, (sentences.END, sentences.PADDING)).all():
            return


def draw(logits: np.ndarray, options: Options, random: np.random.RandomState) -> np.ndarray:
    """Returns a token for each row of logits (n, vocabulary), as (n,).

    The largest of logits / temperature + Gumbel noise is a draw from their softmax; so the draw
    goes to the likeliest token as the temperature goes to 0.
    """
    noise = random.gumbel(size=logits.shape)
    logits = logits.astype("float64")
    order = np.argsort(-logits, axis=1, kind="stable")
    ranked = np.take_along_axis(logits, order, axis=1)
    place = np.arange(logits.shape[1])[None]
    kept = place < (options.top_k or logits.shape[1])
    if options.top_p < 1 and options.temperature > 0:
        shares = np.exp((ranked - ranked[:, :1]) / options.temperature)
        shares = np.where(kept, shares, 0)
        before = np.cumsum(shares, axis=1) - shares
        kept = kept & (before < options.top_p * shares.sum(axis=1, keepdims=True))
    scores = ranked + options.temperature * np.take_along_axis(noise, order, axis=1)
    best = np.where(kept, scores, -np.inf).argmax(axis=1)
    return np.take_along_axis(order, best[:, None], axis=1)[:, 0]
