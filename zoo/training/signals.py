"""Turns Ctrl-C and SIGTERM into a request that is met between two steps.

Around the steps, SIGTERM ends a command as Ctrl-C does: files that are half written are deleted.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType


@dataclass
class StopRequest:
    """Whether somebody asked the training to stop."""

    requested: bool = False


@contextlib.contextmanager
def orderly() -> Iterator[None]:
    """Lets SIGTERM raise `KeyboardInterrupt` in the block, where nobody else has a say in it.

    Outside the main thread, where Python delivers no signals, nothing changes.
    """
    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
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
        request.requested = True
        signal.signal(kind, usual[signal.Signals(kind)])

    for kind in usual:
        signal.signal(kind, handle)
    try:
        yield request
    finally:
        for kind, handler in usual.items():
            signal.signal(kind, handler)
