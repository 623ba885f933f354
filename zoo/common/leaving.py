"""The end of a program that has imported TensorFlow, which takes seconds to take itself down."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading

SLOW, LOST = "tensorflow", 120


def leave(code: int) -> None:
    """Ends the process where TensorFlow is in it; what a program does at its end is done before.

    Threads that are no daemons are waited for, functions of `atexit` called, files of the system
    written. Objects of the interpreter are not taken apart.

    Args:
        code: Exit code of the process.
    """
    if SLOW not in sys.modules:
        return
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.current_thread():
            thread.join()
    atexit._run_exitfuncs()
    logging.shutdown()
    try:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (OSError, ValueError):  # as Python ends then
        code = code or LOST
    os._exit(code)
