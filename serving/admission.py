"""Who may ask, how many bytes are held for all of them, and the threads that read what is large.

One for all that a server listens on, REST and gRPC.
"""

from __future__ import annotations

import asyncio
import hmac
import itertools
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from serving.errors import RefusedError
from serving.settings import Serving

_T = TypeVar("_T")
LARGE_BYTES = 2**17  # of a body that is read in a thread, so that others are not kept waiting
LARGE_THREADS = 2  # JSON becomes up to 25 times as many bytes of Python's objects


class Threads:
    """Few threads for work that would keep all others waiting, and a bounded queue before them.

    Args:
        name: What an error line calls the work.
        number: How many threads.
        most: Calls that may wait or run.
    """

    def __init__(self, name: str, number: int, most: int) -> None:
        self._pool = ThreadPoolExecutor(number, f"serving-{name}")
        self._name, self._most, self._begun = name, most, 0

    async def call(self, function: Callable[..., _T], *arguments: object) -> _T:
        """Returns what a function returns in one of the threads.

        Raises:
            RefusedError: 503: too many wait.
        """
        if self._begun >= self._most:
            raise RefusedError(
                503, f"{self._name}: too many at a time; try again.", retry_after="1"
            )
        self._begun += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._pool, function, *arguments
            )
        finally:
            self._begun -= 1

    def close(self) -> None:
        """Begins no more; what runs goes on to its end."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Admission:
    """Lets requests in.

    Args:
        settings: Of the server.

    Attributes:
        large: Threads for bodies of more than `LARGE_BYTES`.

    Raises:
        OSError: The file of the token cannot be read.
        ValueError: It holds none.
    """

    def __init__(self, settings: Serving) -> None:
        token = settings.token()
        self._wanted = None if token is None else token.encode()
        self._most, self._together = settings.max_body_bytes, settings.max_bodies_bytes
        self._taken = 0  # bytes of all requests
        self._own, self._numbers = uuid.uuid4().hex[:16], itertools.count()
        self.large = Threads("body", LARGE_THREADS, settings.max_waiting)

    def name(self) -> str:
        """Returns an id for a request, which no other has."""
        return f"{self._own}{next(self._numbers):016x}"

    @property
    def asks(self) -> bool:
        """Whether a token is needed."""
        return self._wanted is not None

    def check(self, given: Sequence[bytes]) -> None:
        """Refuses whoever does not send the token, by the values of `authorization`.

        Raises:
            RefusedError: 401.
        """
        if self._wanted is None:
            return
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        same = hmac.compare_digest(token.lstrip(b" "), self._wanted)
        if scheme.lower() != b"bearer" or not same:
            raise RefusedError(
                401, "Authorization: expected 'Bearer' and the server's token.",
                www_authenticate="Bearer",
            )  # fmt: skip

    def take(self, count: int, held: int = 0, what: str = "body") -> None:
        """Takes room for bytes of a request, to be given back.

        Args:
            count: Bytes.
            held: Those that the request has for it already.
            what: Opens the error line.

        Raises:
            RefusedError: 413: more than a request may have; 503: there is no room now.
        """
        if held + count > self._most:
            raise RefusedError(
                413, f"{what}: got {held + count} bytes; expected {self._most} at most."
            )
        if self._taken + count > self._together:
            raise RefusedError(503, f"{what}: no room for it now; try again.", retry_after="1")
        self._taken += count

    def give(self, count: int) -> None:
        """Gives back what was taken."""
        self._taken -= count
