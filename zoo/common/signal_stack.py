"""Keeps the stack that signals are handled on, which OpenVINO puts another in the place of.

OpenVINO 2026 gives the thread that loads its CPU plugin a stack of its own by sigaltstack(2), and
frees that memory with the plugin, on whichever thread this happens. Python handles signals on that
stack (`SA_ONSTACK`): the next Ctrl-C or SIGTERM is then a segmentation fault that nothing reports.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator


class _Stack(ctypes.Structure):  # stack_t of Linux
    _fields_ = (("place", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


_SIGALTSTACK = getattr(ctypes.CDLL(None), "sigaltstack", None) if sys.platform == "linux" else None


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Gives this thread back, behind the block, the signal stack that it had before."""
    if _SIGALTSTACK is None:
        yield
        return
    before = _Stack()
    _SIGALTSTACK(None, ctypes.byref(before))
    try:
        yield
    finally:
        _SIGALTSTACK(ctypes.byref(before), None)
