"""Text from what writes: `POST /v1/models/NAME:generate`, whole or in pieces.

The request is an object of `zoo.common.writing.Options`, with `stream` beside them, and of a
captioner the `picture`, `{"b64": "..."}`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from serving.answers.pictures import coded
from serving.answers.writing import reader_of, vocabulary_of
from serving.wire.values import parse
from zoo.common.picture_files import decode_image
from zoo.common.writing import Options, Reader, before_pieces, write_pieces

if TYPE_CHECKING:
    from serving.models.versions import Version

PICTURE = "picture"  # of a request
MOST_WRITERS = 16  # texts that are written at a time
MOST_TEXTS, MOST_TOKENS, MOST_PROMPT = 64, 10_000, 100_000
MOST_STEPS = 200_000  # of all texts of a request, the prompt's among them


class LeftError(Exception):
    """Nobody waits for the text."""


class Leaving:
    """A reader that stops where nobody waits any more.

    Args:
        reader: What reads.

    Attributes:
        left: Whether the client has gone.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.left = False

    def read(self, tokens: np.ndarray) -> np.ndarray:
        """See `Reader.read`.

        Raises:
            LeftError: The client has gone.
        """
        if self.left:
            raise LeftError
        return self._reader.read(tokens)


class Text(NamedTuple):
    """Texts to be written.

    Attributes:
        pieces: Pieces of each text, of which the first is the prompt, empty where something is said
            of it or of a picture. None has been read yet.
        reader: Ends them once it is told that the client has left.
        streamed: Whether to stream them.
    """

    pieces: Iterator[list[str]]
    reader: Leaving
    streamed: bool


def begin(body: bytes, version: Version, *, most_pixels: int | None = None) -> Text:
    """Reads a request; the model is not asked yet.

    Args:
        body: The request.
        version: What is asked.
        most_pixels: Of a picture; a larger one is refused before it is decoded.

    Raises:
        ValueError: The model writes no text, an option is unknown or out of range, something of
            the prompt is not in the vocabulary, or the picture is none.
    """
    request = parse(body)
    picture = None
    if (given := request.pop(PICTURE, None)) is not None:
        found = coded({PICTURE: [given]}, PICTURE, PICTURE)
        if found is None:
            raise ValueError('picture: expected {"b64": "..."}, the base64 of a file.')
        picture = decode_image(found.files[0], PICTURE, most_pixels)
    streamed = request.pop("stream", False)
    if type(streamed) is not bool:
        raise ValueError("stream: expected true or false.")
    options = Options.parse(request, where="generate")
    for key, most in (("count", MOST_TEXTS), ("tokens", MOST_TOKENS)):
        if (got := getattr(options, key)) > most:
            raise ValueError(f"generate.{key}: got {got}; expected {most} at most.")
    if len(options.prompt) > MOST_PROMPT:
        raise ValueError(f"generate.prompt: expected {MOST_PROMPT} characters at most.")
    reader = Leaving(
        reader_of(version.engine, version.manifest, options, where=version.name, picture=picture)
    )
    known = vocabulary_of(version.manifest)
    read = 0 if known.says else len(known.encode(options.prompt, where="prompt"))
    if (steps := (read + options.tokens) * options.count) > MOST_STEPS:
        raise ValueError(
            f"generate: got {steps} tokens of all texts, {read} of each are the prompt's; expected "
            f"{MOST_STEPS} at most."
        )
    pieces = write_pieces(reader, known, options)
    return Text(chain([before_pieces(known, options)], pieces), reader, streamed)


def joined(lines: list[list[str]]) -> list[str]:
    """Returns the texts that rows of pieces make."""
    return ["".join(parts) for parts in zip(*lines, strict=True)]
