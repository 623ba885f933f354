"""A program of Python in a process of its own: what may crash, or take too long."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import export

ROOT = Path(export.__file__).parents[1]


def run(
    module: str, *arguments: str, who: str, seconds: float, cwd: str | Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Runs a module to its end, and returns its status and what it printed.

    Args:
        module: Its name.
        *arguments: Arguments of its command line.
        who: What it is to the user, for the error.
        seconds: Time that it may take.
        cwd: Where it runs.

    Raises:
        RuntimeError: It took too long.
    """
    command = [sys.executable, "-m", module, *arguments]
    try:
        return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise too_slow(who, seconds) from None


def too_slow(who: str, seconds: float) -> RuntimeError:
    """Returns the error of a target that has a `timeout_seconds`."""
    return RuntimeError(
        f"{who} took more than {seconds:g} s. Raise timeout_seconds, or export a smaller model."
    )
