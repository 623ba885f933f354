"""ONNX files as ONNX Runtime runs them on the CPU: opened, counted, timed node by node."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from pathlib import Path

from export.examples import Arrays
from export.target import LayerTime, Session

PROFILED = 20  # runs that the time of a node is the mean of


def open_onnx(file: Path | bytes, *, threads: int | None = None) -> Session:
    """Opens a file in ONNX Runtime on the CPU.

    Args:
        file: The `.onnx` file, or its content.
        threads: Threads of one inference; `None` leaves it to the runtime.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads:
        options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    return Session(lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True)))


def node_times(path: Path, inputs: Arrays) -> list[LayerTime]:
    """Returns the seconds of each node, the mean of `PROFILED` runs on one thread.

    Args:
        path: The `.onnx` file.
        inputs: One example, as the file takes it.
    """
    import onnxruntime

    with tempfile.TemporaryDirectory() as scratch:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(scratch, "profile"))
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        for _ in range(PROFILED + 1):
            session.run(None, dict(inputs))
        events = json.loads(Path(session.end_profiling()).read_text())
    totals: dict[tuple[str, str], list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            key = event["name"].removesuffix("_kernel_time"), event["args"]["op_name"]
            totals.setdefault(key, []).append(event["dur"] / 1e6)
    return [LayerTime(*key, sum(times[1:]) / PROFILED) for key, times in totals.items()]


def count_nodes(path: Path) -> dict[str, int]:
    """Counts the nodes of a file's graph."""
    import onnx

    nodes = onnx.load(path, load_external_data=False).graph.node
    return dict(sorted(Counter(node.op_type for node in nodes).items()))
