"""What models are asked by REST: `:predict`, `:classify`, `:regress`, `:generate` and `/infer`.

These paths are found by two expressions, and answered without the layers of a framework: what is
not among them is passed on.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import StreamingResponse

from serving.admission import LARGE_BYTES, Admission, Threads
from serving.answers import pictures, text
from serving.answers.writing import captions
from serving.engines import one_line
from serving.errors import RefusedError
from serving.http import open_inference, rest
from serving.http.bodies import files_of, header
from serving.http.connection import LEFT
from serving.http.guard import App, Headers, Receive, Scope, Send, send_json, send_refusal
from serving.metrics import Metrics
from serving.models import sessions
from serving.models.asking import ask
from serving.models.model import MOST_NUMBER, MissingError
from serving.models.repository import Repository
from serving.models.versions import Version
from serving.settings import Serving
from serving.wire import binary_tensors

LOG = logging.getLogger("serving")
_T = TypeVar("_T")
Asked = Mapping[str, str | None]

JSON = b"application/json"
MOST_CLASSES = 1000  # named for a picture
PICTURE_THREADS = 2  # a picture is large while it is decoded

_NAME = "(?P<name>[^/:]+)"
_V1 = re.compile(
    f"/v1/models/{_NAME}(?:/versions/(?P<version>[^/]+)|/labels/(?P<label>[^/]+))?"
    ":(?P<verb>predict|classify|regress|generate)"
)
_V2 = re.compile(f"/v2/models/{_NAME}(?:/versions/(?P<version>[^/]+))?/(?P<verb>infer)")
_DIGITS = len(str(MOST_NUMBER))
_FORMS = {
    "predict": rest.predict,
    "classify": rest.classify,
    "regress": rest.regress,
}


class Inference:
    """Answers what models are asked.

    Args:
        others: Answers all other paths.
        repository: The models.
        settings: Of the server.
        admission: Whose threads read what is large.
        metrics: Counters of the server.
    """

    def __init__(
        self,
        others: App,
        repository: Repository,
        settings: Serving,
        admission: Admission,
        metrics: Metrics,
    ) -> None:
        self._others = others
        self._repository = repository
        self._most_pixels = settings.max_pixels
        self._large = admission.large
        self._pictures = Threads("pictures", PICTURE_THREADS, settings.max_waiting)
        self._texts = Threads("generate", text.MOST_WRITERS, 2 * text.MOST_WRITERS)
        self._writing = 0  # texts that are being written
        self._metrics = metrics

    def close(self) -> None:
        """Reads and writes no more."""
        for threads in (self._large, self._pictures, self._texts):
            threads.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        path: str = scope["path"]
        found = _V1.fullmatch(path) or _V2.fullmatch(path)
        if found is None:
            await self._others(scope, receive, send)
            return
        try:
            if scope["method"] != "POST":
                raise RefusedError(
                    405, f"method: got {scope['method']}; expected POST.", allow="POST"
                )
            await self._answer(found.groupdict(), scope, receive, send)
        except RefusedError as refused:
            await send_refusal(send, refused)
        except Exception as error:
            LOG.exception("%s: failed", path[:200])
            await send_refusal(
                send, RefusedError(500, f"{type(error).__name__}: {one_line(error)}")
            )

    async def _answer(self, asked: Asked, scope: Scope, receive: Receive, send: Send) -> None:
        verb = str(asked["verb"])
        if verb == "generate":
            await self._generate(asked, scope, receive, send)
            return
        with find(self._repository.lease, asked) as version, self._counted(version, verb, scope):
            form = _FORMS.get(verb) or open_inference.form(header(scope, binary_tensors.HEADER))
            content = await self._infer(version, form, scope)
        await send_json(send, 200, *content)

    @contextmanager
    def _counted(self, version: Version, api: str, scope: Scope) -> Iterator[None]:
        state, code = scope["state"], 500
        state["told"] = {"model": version.name, "version": version.number}
        try:
            yield
            code = 200
        except RefusedError as refused:
            code = refused.status
            raise
        finally:
            self._metrics.answered(version.name, version.number, api, code, state["start"])

    async def _infer(
        self, version: Version, form: rest.Form, scope: Scope
    ) -> tuple[bytes, Headers, bytes]:
        body: bytes = scope["state"]["body"]
        read: Any = await files_of(scope, body, form is rest.predict)
        if read is None:
            read = await self._call(form.read, body, version, large=len(body) > LARGE_BYTES)
        if isinstance(read, pictures.Coded):
            read = await _refusing(self._pictures.call(self._decoded(read, version, scope)))
        inputs, how = read
        try:
            outputs = await ask(version, inputs)
            large = isinstance(how, pictures.Given)  # whose masks are as large as the picture
            large |= sum(array.nbytes for array in outputs.values()) > LARGE_BYTES
            content = await self._call(form.write, outputs, how, version, large=large)
        except BaseException:
            if isinstance(how, sessions.Turn):  # it may be asked again
                version.sessions.end(how.name, how.before)
            raise
        if isinstance(content, rest.Content):
            return content.body, content.headers, content.kind
        return content if isinstance(content, bytes) else content.encode(), (), JSON

    def _decoded(self, given: pictures.Coded, version: Version, scope: Scope) -> Callable[[], Any]:
        top = Request(scope).query_params.get("top", "3")
        if not (top.isdecimal() and len(top) <= 4 and 0 < int(top) <= MOST_CLASSES):
            raise RefusedError(400, f"top: got {top[:80]!r}; expected 1 to {MOST_CLASSES}.")
        limits = {"top": int(top), "most_pixels": self._most_pixels}
        return partial(pictures.read, given.files, version, by_row=given.by_row, **limits)

    async def _call(self, function: Callable[..., _T], *arguments: Any, large: bool) -> _T:
        """Reads or writes a body, in a thread if it is large."""
        if large:
            return await _refusing(self._large.call(function, *arguments))
        try:
            return function(*arguments)
        except ValueError as error:
            raise RefusedError(400, str(error)) from None

    async def _generate(self, asked: Asked, scope: Scope, receive: Receive, send: Send) -> None:
        body, written = scope["state"]["body"], None
        if self._writing >= text.MOST_WRITERS:
            raise RefusedError(503, "generate: too many texts at a time.", retry_after="1")
        self._writing += 1
        try:
            with (
                find(self._repository.lease, asked) as version,
                self._counted(version, "generate", scope),
            ):
                # A small file may hold a large picture.
                large = len(body) > LARGE_BYTES or captions(version.manifest)
                begin = partial(text.begin, most_pixels=self._most_pixels)
                written = await self._call(begin, body, version, large=large)
            if written.streamed:
                lines = self._lines(written.pieces)
                await StreamingResponse(lines, media_type="application/x-ndjson")(
                    scope, receive, send
                )
            else:
                rows = await _unless_left(self._rows(written.pieces), scope["state"], receive)
                content = msgspec.json.encode({"texts": text.joined(rows)})
                await send_json(send, 200, content)
        finally:
            self._writing -= 1
            if written is not None:  # what reads in a thread ends with the step that it is at
                written.reader.left = True

    async def _pieces(self, pieces: Iterator[list[str]]) -> AsyncIterator[list[str]]:
        while (parts := await self._texts.call(next, pieces, None)) is not None:
            yield parts

    async def _lines(self, pieces: Iterator[list[str]]) -> AsyncIterator[bytes]:
        """Lines of JSON, a token of each text in each; a client that leaves ends them."""
        async for parts in self._pieces(pieces):
            yield msgspec.json.encode({"pieces": parts}) + b"\n"

    async def _rows(self, pieces: Iterator[list[str]]) -> list[list[str]]:
        return [parts async for parts in self._pieces(pieces)]


def find(pick: Callable[[str, int | None, str | None], Version], asked: Asked) -> Version:
    """Returns the version that a path names.

    Args:
        pick: `Repository.pick`, or `lease`.
        asked: `name`, and perhaps `version` or `label`.

    Raises:
        RefusedError: 404: there is none.
    """
    number = asked.get("version")
    try:
        if number is not None and not (number.isdecimal() and len(number) <= _DIGITS):
            raise MissingError(f"version: got {number[:80]!r}; expected a number.")
        return pick(
            asked["name"] or "", None if number is None else int(number), asked.get("label")
        )
    except MissingError as missing:
        raise RefusedError(404, str(missing)) from None


async def _refusing(work: Coroutine[Any, Any, _T]) -> _T:
    """What a request cannot be made of is the client's mistake."""
    try:
        return await work
    except ValueError as error:
        raise RefusedError(400, str(error)) from None


async def _unless_left(
    work: Coroutine[Any, Any, _T], state: dict[str, Any], receive: Receive
) -> _T:
    """Does some work, which ends when the client leaves, or sends no more."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    state[LEFT] = left = asyncio.Event()
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(gone()), asyncio.ensure_future(left.wait())
    try:
        await asyncio.wait({working, *leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise RefusedError(400, "request: its client left.")
    finally:
        for task in (working, *leaving):
            task.cancel()
