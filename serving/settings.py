"""How a server listens, what it batches, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from zoo.common import plain_yaml, reading
from zoo.common.settings import Settings, shown

Count = Annotated[int, Field(ge=1)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]

MEBIBYTE = 2**20


class Batching(Settings):
    """How the requests for a model are run.

    Attributes:
        num_workers: Inferences of a model that run at a time.
        max_batch: Examples that one inference takes at most; 1 never puts requests together. A
            model that is not faster so, measured when it is loaded, never does.
        wait_seconds: How long an example waits for others to come. With 0, those are put together
            that came while all workers were busy.
        max_waiting: Examples that may wait for a model; more are refused with 503.
    """

    num_workers: Count = 1
    max_batch: Count = 32
    wait_seconds: float = Field(0.0, ge=0, le=10)
    max_waiting: Count = 1024


class Serving(Batching):
    """Settings of a server; those of `Batching` are of every model.

    Attributes:
        host: Address to listen on; beyond loopback, set a token and TLS, or put a proxy in front.
        port: Port of REST; 0 takes a free one.
        grpc_port: Port of gRPC; 0 takes a free one, `None` does not listen.
        num_processes: Processes that serve one address. One that dies is begun again; sessions need
            a single one.
        num_threads: Threads of one inference; `None`: the cores, shared among the workers.
        batching: Settings of `Batching` that a model has for itself, by its name, e.g. `{"vgg16":
            {"max_batch": 8}}`.
        max_body_bytes: Largest body of a request; a larger one is refused with 413.
        max_bodies_bytes: Bodies that are being read or answered, all together; a request that
            would go beyond is refused with 503.
        body_seconds: How long the head of a request, or its body, may take to come, and 64 KiB of
            an answer to be read.
        idle_seconds: How long a connection may wait between requests.
        max_pixels: Pixels of a picture at most; a larger one is refused before it is decoded.
        max_connections: Connections at a time. For one more, one that waits between requests is
            closed; where none does, it is refused with 503.
        drain_seconds: How long a server that stops waits for the requests that have begun, of REST
            and of gRPC together.
        poll_seconds: How often new versions are looked for.
        labels: Names of versions, e.g. `{"stable": 1}`, or by model, `{"vgg16": {"stable": 1}}`;
            such versions are kept loaded.
        token_file: File of what a client must send as `Authorization: Bearer TOKEN`; `None` asks
            for none.
        certificate: PEM file of the certificates; with `key`, REST and gRPC are encrypted.
        key: PEM file of their private key.
    """

    host: str = Field("127.0.0.1", min_length=1, pattern=r"\S")
    port: Port = 8501
    grpc_port: Port | None = None
    num_processes: Annotated[int, Field(ge=1, le=256)] = 1
    num_threads: Count | None = None
    batching: Mapping[str, Batching] = {}
    max_body_bytes: Count = 16 * MEBIBYTE
    max_bodies_bytes: Count = 256 * MEBIBYTE
    body_seconds: Seconds = 30.0
    idle_seconds: Seconds = 60.0
    max_pixels: Count = 32 * MEBIBYTE
    max_connections: Count = 1024
    drain_seconds: Seconds = 30.0
    poll_seconds: Seconds = 2.0
    labels: Mapping[str, Count | Mapping[str, Count]] = {}
    token_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("a certificate and its key, or neither")
        if self.max_body_bytes > self.max_bodies_bytes:
            raise ValueError(f"max_bodies_bytes of max_body_bytes ({self.max_body_bytes}) at least")
        return self

    def batching_of(self, model: str) -> Batching:
        """Returns how the requests for a model are run."""
        common = Batching(**{key: getattr(self, key) for key in Batching.model_fields})
        own = self.batching.get(model)
        told = own.model_dump(include=own.model_fields_set) if own else {}
        return common.model_copy(update=told)

    def labels_of(self, model: str) -> dict[str, int]:
        """Returns the versions that have a name, by that name; a model's own go before."""
        own = self.labels.get(model, {})
        common = {key: value for key, value in self.labels.items() if isinstance(value, int)}
        return common | (dict(own) if isinstance(own, Mapping) else {})

    def token(self) -> str | None:
        """Returns what a client must send.

        Raises:
            OSError: The file cannot be read.
            ValueError: It holds no line of printable characters.
        """
        if self.token_file is None:
            return None
        token = reading.text(self.token_file, "a token").strip()
        if not (token.isascii() and token.isprintable() and token):
            raise ValueError(f"{self.token_file}: expected one line of printable ASCII characters.")
        return token


def parse(changes: Iterable[str]) -> dict[str, Any]:
    """Returns settings that were written as `KEY=VALUE`, e.g. `num_workers=2`; values are YAML.

    Raises:
        ValueError: One is not so written.
    """
    values: dict[str, Any] = {}
    for change in changes:
        key, equals, text = change.partition("=")
        if not (key and equals):
            raise ValueError(f"--set: got {shown(change)}; expected KEY=VALUE, e.g. num_workers=2.")
        values[key] = plain_yaml.parse(text, f"--set {shown(change)}")
    return values
