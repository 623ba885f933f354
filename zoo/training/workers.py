"""The processes that train together, on one host or on several, and how they find one another.

`TF_CONFIG` names them, as TensorFlow, Kubernetes' training operator and `zoo launch` do. Before
TensorFlow waits for the others, without a limit and without a word, each worker has met every
other one here. The first is the chief: it alone writes.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from zoo.recipe import Hardware

VARIABLE = "TF_CONFIG"
JOBS = ("chief", "worker")  # in the order of their numbers
PAUSE = 0.1  # seconds between two tries
GREETING, ANSWER = b"zoo worker %06d\n", b"zoo\n"
LOG = logging.getLogger("zoo")


class Worker(NamedTuple):
    """One of the processes that train together.

    Attributes:
        addresses: `host:port` of each; the chief's first.
        number: Which one this is.
    """

    addresses: tuple[str, ...]
    number: int

    @property
    def chief(self) -> bool:
        """Whether it writes."""
        return self.number == 0


def of(settings: Hardware, environment: Mapping[str, str] = os.environ) -> Worker | None:
    """Returns which worker this process is; `None` where it trains alone.

    Args:
        settings: `auto` and `multiworker` look for others.
        environment: Variables of the environment.

    Raises:
        ValueError: `multiworker` is asked for and nobody is named, or `TF_CONFIG` is wrong.
    """
    text = environment.get(VARIABLE, "")
    if settings.strategy not in ("auto", "multiworker"):
        return None
    if not text:
        if settings.strategy == "multiworker":
            raise ValueError(
                f"hardware.strategy: got multiworker without {VARIABLE}; expected the addresses of "
                "all workers there. On one host, `zoo launch --workers 2 -- zoo train ...` sets it."
            )
        return None
    worker = _parsed(text)
    return worker if len(worker.addresses) > 1 or settings.strategy == "multiworker" else None


def configuration(addresses: Sequence[str], number: int) -> str:
    """Returns the `TF_CONFIG` of a worker."""
    task = {"type": "worker", "index": number}
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": task})


def meet(worker: Worker, *, seconds: float) -> None:
    """Returns when every worker has met every other one.

    A worker that was started anew alone meets nobody: the others are past it.

    Args:
        worker: This one.
        seconds: How long to wait.

    Raises:
        OSError: Its own port is taken.
        TimeoutError: Others did not come.
    """
    end = time.monotonic() + seconds
    met = {worker.number}
    with _listening(worker, end) as door:
        door.settimeout(PAUSE)
        heard: set[int] = {worker.number}
        closed = threading.Event()
        listener = threading.Thread(target=_hear, args=(door, heard, closed), daemon=True)
        listener.start()
        try:
            while len(met & heard) < len(worker.addresses):
                for number in set(range(len(worker.addresses))) - met:
                    if _greeted(worker, number):
                        met.add(number)
                if time.monotonic() > end:
                    raise _missing(worker, met & heard, seconds)
                time.sleep(PAUSE / 4)
        finally:
            closed.set()
            listener.join()


def _parsed(text: str) -> Worker:
    """The worker that a `TF_CONFIG` names.

    Raises:
        ValueError: It is not as TensorFlow writes it.
    """
    example = configuration(["first:2222", "second:2222"], 0)
    wrong = ValueError(f"{VARIABLE}: got {text[:200]!r}; expected e.g. {example}.")
    try:
        values: Any = json.loads(text)
        cluster, task = values["cluster"], values["task"]
        kind, index = str(task["type"]), int(task["index"])
        lists = {job: [str(one) for one in cluster.get(job, [])] for job in JOBS}
        others = set(cluster) - set(JOBS)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise wrong from None
    if others or kind not in JOBS:
        found = ", ".join(sorted(others | {kind} - set(JOBS)))
        raise ValueError(
            f"{VARIABLE}: got the job {found}; expected only chief and worker, who all train."
        )
    if not 0 <= index < len(lists[kind]) or len(lists["chief"]) > 1:
        raise wrong
    addresses = [one for job in JOBS for one in lists[job]]
    if len(set(addresses)) < len(addresses) or not all(map(_port, addresses)):
        raise wrong
    before = 0 if kind == "chief" else len(lists["chief"])
    return Worker(tuple(addresses), before + index)


def _port(address: str) -> int:
    """The port of an address; 0 where there is none."""
    port = address.rpartition(":")[2]
    return int(port) if port.isdecimal() else 0


def _listening(worker: Worker, end: float) -> socket.socket:
    """Opens the worker's own port, which a worker that is ending may still have."""
    address = worker.addresses[worker.number]
    while True:
        try:
            return socket.create_server(("", _port(address)), backlog=len(worker.addresses))
        except OSError as error:
            if time.monotonic() > end:
                raise OSError(
                    f"{VARIABLE}: worker {worker.number} cannot listen at {address} "
                    f"({error.strerror}); expected a free port of this host."
                ) from error
            time.sleep(PAUSE)


def _hear(door: socket.socket, heard: set[int], closed: threading.Event) -> None:
    """Answers those who greet."""
    while not closed.is_set():
        try:
            caller, _ = door.accept()
            with caller:
                caller.settimeout(1)
                greeting = caller.recv(len(GREETING % 0))
                if greeting[:-7] == GREETING[: -len(b"%06d\n")]:
                    caller.sendall(ANSWER)
                    heard.add(int(greeting[-7:]))
        except (OSError, ValueError):
            continue


def _greeted(worker: Worker, number: int) -> bool:
    """Whether another worker has answered."""
    host, _, port = worker.addresses[number].rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=1) as other:
            other.sendall(GREETING % worker.number)
            return other.recv(len(ANSWER)) == ANSWER
    except OSError:
        return False


def _missing(worker: Worker, met: set[int], seconds: float) -> TimeoutError:
    """The error that names who did not come."""
    away = [i for i in range(len(worker.addresses)) if i not in met]
    told = ", ".join(f"worker {i} at {worker.addresses[i]}" for i in away)
    return TimeoutError(
        f"{VARIABLE}: got no answer of {told} within {seconds:g} s; expected all "
        f"{len(worker.addresses)} workers. Start them together, or write a larger "
        "hardware.wait_seconds."
    )
