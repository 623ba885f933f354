"""Text from language models: `POST /v1/models/NAME:generate`, whole or as it is written.

The request is an object of `zoo.common.writing.Options`, with `stream` beside them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from serving.values import parse
from serving.writing import reader_of
from zoo.common.writing import Options, write_pieces

if TYPE_CHECKING:
    from serving.repository import Version

MOST_WRITERS = 16  # texts that are written at a time
MOST_TEXTS, MOST_TOKENS, MOST_PROMPT = 64, 10_000, 100_000


def begin(body: bytes, version: Version) -> tuple[Iterator[list[str]], bool]:
    """Reads a request.

    Returns:
        The pieces of each text, of which the first is the prompt; and whether to stream them.

    Raises:
        ValueError: The model writes no text, or an option is unknown or out of range.
    """
    request = parse(body)
    streamed = request.pop("stream", False)
    if type(streamed) is not bool:
        raise ValueError("stream: expected true or false.")
    options = Options.parse(request, where="generate")
    for key, most in (("count", MOST_TEXTS), ("tokens", MOST_TOKENS)):
        if (got := getattr(options, key)) > most:
            raise ValueError(f"generate.{key}: got {got}; expected {most} at most.")
    if len(options.prompt) > MOST_PROMPT:
        raise ValueError(f"generate.prompt: expected {MOST_PROMPT} characters at most.")
    reader = reader_of(version.engine, version.manifest, options.count, where=version.name)
    pieces = write_pieces(reader, version.manifest.labels, options)
    first = next(pieces)  # refuses a prompt that cannot be read
    return chain([[options.prompt] * options.count, first], pieces), streamed


def joined(lines: list[str]) -> list[str]:
    """Returns the texts that lines of pieces make."""
    rows = [json.loads(line)["pieces"] for line in lines]
    return ["".join(parts) for parts in zip(*rows, strict=True)]
