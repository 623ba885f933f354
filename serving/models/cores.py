"""The cores that this process may use."""

from __future__ import annotations

import os
from pathlib import Path

QUOTAS = Path("/sys/fs/cgroup/cpu.max")  # of version 2: `max 100000`, or `150000 100000`


def num_cores(quotas: Path = QUOTAS) -> float:
    """Returns how many: those that it may run on, or fewer, also a part, as a container's limit.

    Args:
        quotas: File of the limit: microseconds of a period, and the period.
    """
    cores = float(len(os.sched_getaffinity(0)))
    try:
        quota, period = quotas.read_text().split()
        return min(cores, int(quota) / int(period))
    except (OSError, ValueError, ZeroDivisionError):  # there is no limit
        return cores
