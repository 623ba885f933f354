"""What a report says of where its numbers come from: processor, versions, commit."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

CHANGED = "+changed"


def processor() -> str:
    """Returns the processor's name."""
    return cpu_info("model name") or os.uname().machine


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def cpu_info(field: str) -> str:
    """Returns what Linux says of the first core; empty elsewhere."""
    path = Path("/proc/cpuinfo")
    text = path.read_text() if path.is_file() else ""
    found = re.search(rf"^{field}\s*:\s*(.*)$", text, re.MULTILINE)
    return found[1] if found else ""


def versions(*packages: str) -> dict[str, str]:
    """Returns the version of Python, of the zoo and of each package."""
    names = ("keras-model-zoo", *packages)
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def commit() -> str:
    """Returns the commit of the zoo's source tree; empty outside one.

    Of a tree whose files differ from the commit's, `CHANGED` follows.
    """
    try:
        found = _git("rev-parse", "HEAD")
        return found + (CHANGED if is_changed() else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def is_changed() -> bool:
    """Whether a file of the source tree differs from its commit's."""
    return bool(_git("status", "--porcelain", "--untracked-files=no"))


def _git(*arguments: str) -> str:
    root = os.fspath(Path(__file__).parents[2])
    command = ["git", "-C", root, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
