"""Times the exported files of a model on this machine, each in its runtime."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from export import benchmark
from export.benchmark import Timing
from export.target import LayerTime
from export.targets import find_target


def bench(folder: str | Path, *, threads: Sequence[int] = (1, 2), rounds: int = 10) -> list[Timing]:
    """Times every file that a runtime here can run, in turns, each in a process of its own.

    Args:
        folder: A directory that `zoo.export` wrote, or one that holds several.
        threads: Numbers of threads of one inference, 1 or more.
        rounds: Turns of each file, 1 or more.

    Returns:
        A timing for each file and number of threads, the fastest first; what did not run is last.

    Raises:
        FileNotFoundError: There is no deployable.
        ValueError: A number is below 1, or no runtime here runs what is in the folder.
    """
    if rounds < 1 or min(threads, default=0) < 1:
        raise ValueError(
            f"bench: got {rounds} rounds and {list(threads)} threads; expected 1 or more of both."
        )
    files = benchmark.find_deployables(Path(folder))
    found = benchmark.time_files(files, threads=threads, rounds=rounds)
    if not found:
        raise ValueError(f"{folder}: no runtime here runs what is in it; nothing to time.")
    return sorted(found, key=lambda one: one.quantile(0.5) if one.seconds else float("inf"))


def layer_times(timings: Iterable[Timing]) -> dict[str, list[LayerTime]]:
    """Returns each file's layers, slowest first, where its runtime tells them; by file name."""
    found = {}
    for timing in {timing.path: timing for timing in timings}.values():
        manifest = timing.manifest
        target = find_target(manifest.target, manifest.options)
        times = target.layers(timing.path / manifest.file, manifest.keras or manifest.signature)
        if times:
            found[timing.path.name] = sorted(times, key=lambda one: -one.seconds)
    return found
