"""Turns Ctrl-C and SIGTERM into a request that is met between two steps.

Ctrl-C is a user, who wants to see what was trained: what came of it is measured and written.
SIGTERM is a machine that needs the room within seconds: the state of the training is saved, and
nothing else is done. Around the steps both end a command: files that are half written are deleted.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM ended the command; a training that keeps a snapshot goes on from it."""


@dataclass
class StopRequest:
    """Whether somebody asked the training to stop.

    Attributes:
        interrupted: By Ctrl-C.
        terminated: By SIGTERM.
    """

    interrupted: bool = False
    terminated: bool = False

    @property
    def requested(self) -> bool:
        """Whether by either."""
        return self.interrupted or self.terminated


@contextlib.contextmanager
def orderly() -> Iterator[None]:
    """Lets SIGTERM raise `Terminated` in the block, where nobody else has a say in it.

    Outside the main thread, where Python delivers no signals, nothing changes.
    """
    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Gives a request that the first Ctrl-C or SIGTERM sets; the second one acts as usual.

    Outside the main thread, where Python delivers no signals, nothing is caught.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    usual = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}

    def handle(kind: int, _: FrameType | None) -> None:
        if kind == signal.SIGTERM:
            request.terminated = True
        else:
            request.interrupted = True
        signal.signal(kind, usual[signal.Signals(kind)])

    for kind in usual:
        signal.signal(kind, handle)
    try:
        yield request
    finally:
        for kind, handler in usual.items():
            signal.signal(kind, handler)


def _terminate(kind: int, _: FrameType | None) -> None:
    raise Terminated
