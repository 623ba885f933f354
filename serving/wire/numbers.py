"""Many numbers of a JSON document as an array, without a Python object for each.

The longest list of numbers of a document is taken out of its text and read by simdjson; the rest is
read as ever. Whatever is not plainly such a list stays in the document, whose reader says what is
wrong with it.
"""

from __future__ import annotations

import math
import re
import threading
from typing import Any

import msgspec
import numpy as np
import simdjson
from numpy.typing import NDArray

LEAST_BYTES = 1024  # of a document; a shorter one is read sooner as it is
KEPT_BYTES = 2**20  # of a text whose reader is kept, with its memory, for the next
_OF_NUMBERS = b"0123456789+-.eE \t\r\n"
_LISTS = re.compile(rb"\[[\[\],]{64,}\]")
MOST_QUOTES = 2**17  # of a document in which doubled keys are looked for
_MOST_BRACKETS = 16  # of other lists before and behind
_MARK = b"558545864083284007"  # stands for the list while the rest is read
_OWN = threading.local()


class Numbers:
    """A nested list of numbers.

    Args:
        text: The list as JSON.
        marks: Its brackets and commas.
        values: Its numbers, int64 or float64.
    """

    def __init__(self, text: bytes, marks: bytes, values: NDArray[Any]) -> None:
        self._text, self._marks, self._values = text, marks, values

    def array(self, sizes: tuple[int | None, ...], dtype: str) -> NDArray[Any] | None:
        """Returns the numbers as an array.

        Args:
            sizes: Of its axes; the first may be `None`.
            dtype: Integers are taken for floats, floats for integers not.

        Returns:
            The array; `None` where a size or a number does not fit, or a size is not known.
        """
        rest = sizes[1:]
        if None in rest:
            return None
        values, wanted = self._values, np.dtype(dtype)
        if wanted.kind not in "iuf":
            return None
        each = math.prod(rest)  # type: ignore[arg-type]
        count = len(values) // max(1, each)
        if count * each != len(values) or not count or sizes[0] not in (None, count):
            return None
        if self._marks != _marks(count, *rest):  # type: ignore[arg-type]
            return None
        if wanted.kind != "f" and values.dtype.kind == "f":
            return None
        with np.errstate(over="ignore"):
            array = values.astype(wanted)
        if wanted.kind == "f":
            fits = bool(np.isfinite(array).all())
        else:
            limits = np.iinfo(wanted)
            fits = int(values.min()) >= limits.min and int(values.max()) <= limits.max
        return array.reshape(count, *rest) if fits else None

    def plain(self) -> Any:
        """The nested list itself."""
        return msgspec.json.decode(self._text)


def parsed(body: bytes) -> dict[str, Any] | None:
    """Reads an object of JSON, with `Numbers` in the place of its longest list of numbers.

    They stand where a model's numbers do: `instances`, `inputs`, an input of `inputs` by its name,
    or the `data` of one in a list.

    Returns:
        The object; `None` where there is no such list, or anything is wrong.
    """
    if len(body) < LEAST_BYTES:
        return None
    skeleton = body.translate(None, _OF_NUMBERS)
    runs = list(_LISTS.finditer(skeleton))
    if not runs:
        return None
    run = max(runs, key=lambda one: one.end() - one.start())
    before = skeleton.count(b"[", 0, run.start())
    behind = skeleton.count(b"]", run.end())
    if max(before, behind) > _MOST_BRACKETS:
        return None
    start, end = -1, len(body)
    for _ in range(before + 1):
        start = body.find(b"[", start + 1)
    for _ in range(behind + 1):
        end = body.rfind(b"]", 0, end)
    text = body[start : end + 1]
    rest = body[:start], body[end + 1 :]
    marks = text.translate(None, _OF_NUMBERS)
    if marks != run.group() or any(_MARK in part for part in rest):
        return None
    marked = _MARK.join(rest)
    try:
        request = msgspec.json.decode(marked)
    except (ValueError, RecursionError):
        return None
    if has_doubles(marked, request):
        return None
    holder, values = next(_holders(request), None), _read(text)
    if holder is None or values is None:
        return None
    holder[0][holder[1]] = Numbers(text, marks, values)
    return request  # type: ignore[no-any-return]


def has_doubles(text: bytes, read: Any) -> bool:
    """Whether a key stands twice in an object of JSON, of which readers keep the last in silence.

    There are as many colons outside of strings as keys, if none does.

    Args:
        text: The document; of one with very many strings it is not known.
        read: What a reader made of it.
    """
    quotes = text.count(b'"')
    if quotes == 2 * len(read) or quotes > MOST_QUOTES:  # of its own keys alone
        return False
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in text else text
    outside = plain.split(b'"')[::2]
    pairs, objects = (sum(part.count(sign) for part in outside) for sign in (b":", b"{"))
    todo = [read]
    while todo and objects:
        one = todo.pop()
        if type(one) is dict:
            objects, pairs = objects - 1, pairs - len(one)
            one = one.values()
        todo += [value for value in one if type(value) in (dict, list)]
    return pairs > 0


def _holders(request: Any) -> Any:
    """Where the mark stands: a dictionary, and its key."""
    if type(request) is not dict:
        return
    inputs = request.get("inputs")
    places = [(request, key) for key in ("instances", "inputs")]
    if type(inputs) is dict:
        places += [(inputs, key) for key in inputs]
    elif type(inputs) is list:
        places += [(one, "data") for one in inputs if type(one) is dict]
    for holder, key in places:
        if type(holder.get(key)) is int and holder[key] == int(_MARK):
            yield holder, key


def _read(text: bytes) -> NDArray[Any] | None:
    """All numbers of a list, whole ones as int64 where they are so throughout."""
    parser = getattr(_OWN, "parser", None) if len(text) <= KEPT_BYTES else simdjson.Parser()
    if parser is None:
        parser = _OWN.parser = simdjson.Parser()
    try:
        numbers: Any = parser.parse(text)
        try:
            return np.frombuffer(numbers.as_buffer(of_type="i"), np.int64)
        except (TypeError, ValueError):  # one has a fraction, or is too large
            return np.frombuffer(numbers.as_buffer(of_type="d"), np.float64)
    except (RuntimeError, TypeError, ValueError):
        return None


def _marks(*sizes: int) -> bytes:
    """The brackets and commas of a nested list."""
    *outer, inner = sizes
    marks = b"[" + b"," * (inner - 1) + b"]"
    for size in reversed(outer):
        marks = b"[" + b",".join([marks] * size) + b"]"
    return marks
