"""Looks at a machine and at what is installed: what the zoo finds, what is wrong, how to mend it.

Nothing is imported to be looked at: TensorFlow runs in a process of its own, last, so that one that
cannot start here is a line too.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from zoo.common.home import home
from zoo.common.tables import size
from zoo.craft.finding import Finding
from zoo.training import provenance

PACKAGE = "keras-model-zoo"
SHOWN = ("keras", "tensorflow", "numpy", "ai-edge-litert", "onnxruntime")
HEAVY = ("tensorflow", "keras", "numpy")  # whose bytecode decides how fast a command starts
INSIDE = ("rl", "text", "names", "umap", "pictures", "targets")  # extras that a user may want
LITTLE_BYTES = 2**31  # of memory or disk
COMPILED = 0.1  # share of files with bytecode; Python compiles what it imports, and no more
LIMIT_SECONDS = 120  # for TensorFlow to start
_LOOK = """
import json, time
began = time.perf_counter()
import keras, tensorflow as tf
devices = [device.device_type for device in tf.config.list_physical_devices()]
total = float(tf.reduce_sum(tf.linalg.matmul(tf.ones((64, 64)), tf.ones((64, 64)))))
print(json.dumps([devices, keras.backend.backend(), total, time.perf_counter() - began]))
"""


def look(*, quick: bool = False) -> Iterator[Finding]:
    """Gives each finding as soon as it is there.

    Args:
        quick: Whether TensorFlow is not started.
    """
    version = platform.python_version()
    yield Finding("python", f"{version}, {sys.executable}", values={"version": version})
    yield _packages()
    yield _processor()
    yield _memory()
    yield _kept()
    yield _bytecode()
    yield from _settings()
    cards = _cards()
    yield _cuda(cards)
    yield from _extras()
    if not quick:
        yield _tensorflow(cards)


def _packages() -> Finding:
    """Whether what every user needs is there, in a version that is known to do."""
    wrong: list[tuple[str, str | None]] = []
    if _version(PACKAGE) is None:
        wrong.append((PACKAGE, None))
    for one in _required():
        found = _version(one.name)
        if found is None or not one.specifier.contains(found, prereleases=True):
            wrong.append((str(one).partition(";")[0].strip(), found))
    versions = {name: _version(name) for name in (PACKAGE, *SHOWN)}
    told = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    if not wrong:
        return Finding("packages", told, values=versions)
    lacks = ", ".join(f"{name} (got {found or 'none'})" for name, found in wrong)
    names = " ".join(f"'{name}'" for name, _ in wrong)
    return Finding(
        "packages", f"{told}; not as needed: {lacks}", "FAIL", f"pip install {names}", versions
    )


def _required(extra: str = "") -> list[Requirement]:
    """What the zoo requires, by itself or of one of its extras."""
    told = importlib.metadata.requires(PACKAGE) if _version(PACKAGE) else None
    every = [Requirement(one) for one in told or []]
    asked = [one for one in every if one.marker is None or one.marker.evaluate({"extra": extra})]
    base = {str(one) for one in every if one.marker is None or one.marker.evaluate({"extra": ""})}
    return [one for one in asked if not extra or str(one) not in base]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> Finding:
    flags = set(provenance.cpu_info("flags").split())
    units = [flag for flag in ("amx_bf16", "avx512_bf16") if flag in flags]
    told = f"{provenance.processor()}, {provenance.cores()} of {os.cpu_count()} cores"
    arithmetic = (
        f"multiplies bfloat16 ({', '.join(units)}): trains in mixed_bfloat16"
        if units
        else "does not multiply bfloat16: trains in float32"
    )
    values = {"name": provenance.processor(), "cores": provenance.cores(), "bfloat16": units}
    if flags and "avx" not in flags:
        way = "TensorFlow's packages need AVX; build it, or take another machine"
        return Finding("processor", f"{told}; no AVX", "FAIL", way, values)
    return Finding("processor", f"{told}; {arithmetic}", values=values)


def _memory() -> Finding:
    total, free = (_memory_bytes(field) for field in ("MemTotal", "MemAvailable"))
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = Path(path).read_text().strip() if Path(path).is_file() else ""
        if text.isdigit() and int(text) < total:  # what a container may have
            total, free = int(text), min(free, int(text))
    if not total:
        return Finding("memory", "unknown here")
    told, values = f"{size(total)}, {size(free)} free", {"total_bytes": total, "free_bytes": free}
    if free < LITTLE_BYTES:
        way = "end other programs, or train in smaller parts: --set train.accumulate=4"
        return Finding("memory", told, "warn", way, values)
    return Finding("memory", told, values=values)


def _memory_bytes(field: str) -> int:
    path = Path("/proc/meminfo")
    text = path.read_text() if path.is_file() else ""
    found = re.search(rf"^{field}:\s*(\d+) kB", text, re.MULTILINE)
    return 1024 * int(found[1]) if found else 0


def _kept() -> Finding:
    """Where the zoo keeps what it fetches."""
    place = home()
    near = next(path for path in (place, *place.parents) if path.exists())
    free = shutil.disk_usage(near).free
    told, values = f"{place}, {size(free)} free", {"path": str(place), "free_bytes": free}
    if not os.access(near, os.W_OK):
        way = "set ZOO_HOME to a directory of yours"
        return Finding("home", f"{told}; cannot be written to", "warn", way, values)
    return Finding("home", told, "warn" if free < LITTLE_BYTES else "ok", "", values)


def _bytecode() -> Finding:
    """Whether what is imported first has been compiled: without, a command starts in seconds."""
    counts, places = {}, []
    for name in HEAVY:
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            continue
        place = Path(next(iter(spec.submodule_search_locations)))
        sources = [path for path in place.rglob("*.py") if "test" not in path.name]
        there = sum(Path(importlib.util.cache_from_source(str(path))).is_file() for path in sources)
        counts[name] = there / max(1, len(sources))
        places.append(str(place))
    told = ", ".join(f"{name} {share:.0%}" for name, share in counts.items())
    if counts and min(counts.values()) < COMPILED:
        way = f"{sys.executable} -m compileall -q -j 0 {' '.join(places)}"
        return Finding("bytecode", f"{told}: every command compiles anew", "warn", way, counts)
    return Finding("bytecode", told, values=counts)


def _settings() -> Iterator[Finding]:
    """What the environment says against what the zoo needs."""
    backend = os.environ.get("KERAS_BACKEND") or _keras_config().get("backend", "tensorflow")
    if backend != "tensorflow":
        way = "export KERAS_BACKEND=tensorflow"
        yield Finding("backend", f"Keras is set to {backend}", "FAIL", way)
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        way = "unset TF_ENABLE_ONEDNN_OPTS"
        yield Finding("oneDNN", "is off: a CPU trains half as fast or slower", "warn", way)
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        if os.environ.get(name, "").isdigit() and int(os.environ[name]) < provenance.cores():
            told = f"is {os.environ[name]}, for {provenance.cores()} cores"
            yield Finding(name, told, "warn", f"unset {name}")


def _keras_config() -> dict[str, Any]:
    theirs = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "keras.json"
    try:
        return dict(json.loads(theirs.read_text()))
    except (OSError, ValueError):
        return {}


def _cards() -> list[str]:
    """GPUs, as the driver tells them."""
    if not (program := shutil.which("nvidia-smi")):
        return []
    fields = "--query-gpu=name,memory.total,driver_version,compute_cap"
    try:
        done = subprocess.run(
            [program, fields, "--format=csv,noheader"], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.strip().splitlines() if done.returncode == 0 else []


def _cuda(cards: list[str]) -> Finding:
    """The CUDA and cuDNN that this build of TensorFlow wants, and those that are there."""
    build = _build()
    wanted = f"CUDA {build.get('cuda_version', '?')}, cuDNN {build.get('cudnn_version', '?')}"
    needed = _wanted_of_tensorflow()
    found = {one.name: _version(one.name) for one in needed}
    libraries = {name: version for name, version in found.items() if version and _names_cuda(name)}
    there = ", ".join(f"{name} {version}" for name, version in libraries.items()) or "none"
    told = f"TensorFlow wants {wanted}; as packages: {there}"
    values = {"gpus": cards, "wanted": build, "found": found}
    if not cards:
        return Finding("gpu", f"none; {told}", values=values)
    told = f"{'; '.join(cards)}; {told}"
    wrong = [
        one.name
        for one in needed
        if (version := found[one.name]) is None or not one.specifier.contains(version)
    ]
    if not build.get("is_cuda_build"):
        return Finding("gpu", f"{told}; this TensorFlow is built without CUDA", "warn",
                       "pip install 'keras-model-zoo[cuda]'", values)  # fmt: skip
    if wrong:  # unless the system has them, which TensorFlow itself tells below
        return Finding("gpu", f"{told}; not as packages: {', '.join(wrong)}", "warn",
                       "pip install 'keras-model-zoo[cuda]'", values)  # fmt: skip
    return Finding("gpu", told, values=values)


def _names_cuda(name: str) -> bool:
    return "runtime" in name or "cudnn" in name


def _wanted_of_tensorflow() -> list[Requirement]:
    try:
        told = importlib.metadata.requires("tensorflow") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [
        one
        for one in map(Requirement, told)
        if one.marker is not None
        and one.marker.evaluate({"extra": "and-cuda"})
        and not one.marker.evaluate({"extra": ""})
    ]


def _build() -> dict[str, Any]:
    """What TensorFlow says of its build, read from its file."""
    spec = importlib.util.find_spec("tensorflow")
    places = list(spec.submodule_search_locations or []) if spec else []
    path = Path(places[0], "python", "platform", "build_info.py") if places else Path()
    text = path.read_text() if path.is_file() else ""
    found = re.search(r"build_info = .*?(\[.*\])\)", text)
    return dict(ast.literal_eval(found[1])) if found else {}


def _extras() -> Iterator[Finding]:
    """What may be installed beyond what every user needs."""
    for extra in INSIDE:
        needed = _required(extra)
        missing = [one.name for one in needed if _version(one.name) is None]
        told = f"without {', '.join(missing)}" if missing else "installed"
        way = f"if wanted: pip install 'keras-model-zoo[{extra}]'" if missing else ""
        if needed:
            yield Finding(f"[{extra}]", told, remedy=way, values={"missing": missing})
    from export.targets import TARGETS

    lacking: dict[str, list[str]] = {}
    for name in TARGETS:
        for package in TARGETS[name]().missing():
            lacking.setdefault(package, []).append(name)
    told = "; ".join(f"{', '.join(names)}: no {package}" for package, names in lacking.items())
    way = f"if wanted: pip install {' '.join(lacking)}" if lacking else ""
    yield Finding("targets", told or f"all {len(TARGETS)}", remedy=way, values=dict(lacking))


def _tensorflow(cards: list[str]) -> Finding:
    """Whether it starts, computes, and sees the devices; in a process of its own."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("KERAS_BACKEND", None)
    try:
        done = subprocess.run(
            [sys.executable, "-c", _LOOK], capture_output=True, text=True, env=environment,
            timeout=LIMIT_SECONDS,
        )  # fmt: skip
        devices, _, total, seconds = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        way = "see bytecode and memory above; a network file system is slow to import from"
        return Finding("tensorflow", f"does not start in {LIMIT_SECONDS} s", "FAIL", way)
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or [f"ends with {done.returncode}"])[-1]
        way = f"pip install --force-reinstall tensorflow=={_version('tensorflow')}"
        return Finding("tensorflow", f"does not start: {last}", "FAIL", way)
    gpus = devices.count("GPU")
    values = {"devices": devices, "seconds": seconds}
    told = f"starts in {seconds:.1f} s; {gpus} GPU, {devices.count('CPU')} CPU"
    if total != 64**3:
        way = "run a test of the memory and the processor"
        return Finding("tensorflow", f"{told}; multiplies wrongly: {total}", "FAIL", way, values)
    if gpus < len(cards):
        way = "pip install 'keras-model-zoo[cuda]', and a driver for its CUDA; see gpu above"
        told = f"{told}: of {len(cards)} GPUs of the driver"
        return Finding("tensorflow", told, "warn", way, values)
    return Finding("tensorflow", told, values=values)
