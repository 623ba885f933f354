"""What a server counts, in Prometheus' form. Labels are names of models that are served."""

from __future__ import annotations

import os
import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

COUNTED = "PROMETHEUS_MULTIPROC_DIR"  # names where several processes keep what they count
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_EXAMPLES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        of: Any = {"registry": self._registry}
        self.requests = Counter(
            "zoo_requests",
            "Requests that were answered.",
            ("model", "version", "api", "code"),
            **of,
        )
        self.seconds = Histogram(
            "zoo_request_seconds", "From a request's head to its answer.", ("model", "api"),
            buckets=_SECONDS, **of,
        )  # fmt: skip
        self.batches = Histogram(
            "zoo_batch_examples", "Examples of a run.", ("model",), buckets=_EXAMPLES, **of
        )
        self.runs = Histogram(
            "zoo_run_seconds", "One run of the runtime.", ("model",), buckets=_SECONDS, **of
        )
        self.waiting = Gauge(
            "zoo_waiting_examples", "Examples in a queue.", ("model", "version"),
            multiprocess_mode="livesum", **of,
        )  # fmt: skip
        self._http = Counter(
            "zoo_http_answers", "Answers by HTTP, refusals of what was no request among them.",
            ("code",), **of,
        )  # fmt: skip
        self._known: dict[tuple[str, ...], Any] = {}  # to look rows up is slow
        self.ready = Gauge(
            "zoo_version_ready", "1 if it answers.", ("model", "version"),
            multiprocess_mode="livemin", **of,
        )  # fmt: skip

    def answered(self, model: str, version: int, api: str, code: int | str, start: float) -> None:
        """Counts a request of a model.

        Args:
            model: Its name.
            version: The version that was asked.
            api: `predict`, `grpc` and so on.
            code: Of the answer.
            start: When the request's head had come, by `time.perf_counter`.
        """
        key = (model, str(version), api, str(code))
        if (rows := self._known.get(key)) is None:
            rows = self.requests.labels(*key), self.seconds.labels(model, api)
            self._known[key] = rows
        rows[0].inc()
        rows[1].observe(time.perf_counter() - start)

    def answered_http(self, status: int) -> None:
        """Counts an answer by HTTP; 0 is none, as the client had left."""
        key = (str(status),)
        if (row := self._known.get(key)) is None:
            row = self._known[key] = self._http.labels(status or "none")
        row.inc()

    def text(self) -> bytes:
        """Returns what Prometheus reads."""
        if COUNTED not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
