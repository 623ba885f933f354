"""`Server` and `serve`: one process serves exported directories, by REST and perhaps by gRPC."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import uvicorn

from serving import app, connection
from serving.guard import Guard
from serving.listening import listen
from serving.metrics import Metrics
from serving.repository import Repository
from serving.settings import Serving


class Server:
    """Serves exported directories inside a `with` block.

    The port is held, and every model loaded and run, from construction on. Leaving the block stops
    listening, lets the requests that have begun finish, and closes.

    Args:
        *directories: What `zoo export` wrote for TFLite or ONNX, or a directory of its versions,
            `NAME/1`, `NAME/2`.
        listening: Socket of the parent of several processes, see `serving.processes`.
        **settings: See `serving.settings.Serving`.

    Attributes:
        name: The first model's name, in paths.
        runtime: Its runtime's name and version.
        root: Address of the server, `http://HOST:PORT`.
        url: The first model's address, `http://HOST:PORT/v1/models/NAME`.
        grpc_port: Port of gRPC inside the block; `None` where there is none.

    Raises:
        FileNotFoundError: A directory or one of its files is missing.
        ValueError: A setting is out of range, or a directory cannot be served (see
            `engines.open_engines`).
        OSError: The address is taken, unknown, or not this machine's.
    """

    def __init__(
        self, *directories: str | Path, listening: socket.socket | None = None, **settings: Any
    ) -> None:
        self.settings = Serving.parse(settings, where="Server")
        self._metrics = Metrics()
        self._repository = Repository(directories, self.settings, self._metrics)
        self._socket = listening or listen(self.settings.host, self.settings.port)
        host, port = self._socket.getsockname()[:2]
        scheme = "https" if self.settings.certificate else "http"
        self.root = f"{scheme}://{host}:{port}"
        first = next(iter(self._repository.models.values()))
        self.name = first.name
        self.runtime = first.pick().engine.runtime
        self.url = f"{self.root}/v1/models/{self.name}"
        self._routes = app.Routes(self._repository, self._metrics)
        self.grpc_port: int | None = None
        self._http = uvicorn.Server(self._configured())
        self._thread = threading.Thread(target=self._run)
        self._begun: Future[None] = Future()

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self._begun.result()
        except OSError:
            self._thread.join()
            self._repository.close()
            raise
        self._repository.watch()
        return self

    def __exit__(self, *_: object) -> None:
        self._routes.stopping = True
        self._http.should_exit = True
        self._thread.join()
        self._repository.close()

    def lines(self) -> list[str]:
        """Returns a line for each model: its name, runtime and address."""
        return [
            f"{name}: {model.pick().engine.runtime} at {self.root}/v1/models/{name}"
            for name, model in self._repository.models.items()
        ]

    def _configured(self) -> uvicorn.Config:
        settings = self.settings
        return uvicorn.Config(
            Guard(self._routes.app(), settings),
            http=connection.protocol(settings.body_seconds),
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=settings.max_connections,
            timeout_keep_alive=int(settings.idle_seconds) or 1,
            timeout_graceful_shutdown=int(settings.drain_seconds) or 1,
            ssl_certfile=settings.certificate,
            ssl_keyfile=settings.key,
        )

    def _run(self) -> None:
        config = self._http.config
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            try:
                runner.run(self._serve())
            except BaseException as error:
                if self._begun.done():
                    raise
                self._begun.set_exception(error)

    async def _serve(self) -> None:
        calls = None
        if self.settings.grpc_port is not None:
            from serving.rpc import Services

            services = Services(self._repository, self.settings, self._metrics)
            calls, self.grpc_port = await services.start()
        self._begun.set_result(None)
        await self._http.serve(sockets=[self._socket])
        if calls is not None:
            await calls.stop(self.settings.drain_seconds)


def serve(*directories: str | Path, **settings: Any) -> None:
    """Serves exported directories until Ctrl-C or SIGTERM; call it from the main thread.

    Prints one line for each model when it is ready: name, runtime, address; and logs one line of
    JSON for each request. Arguments and errors are `Server`'s. With `num_processes` of 2 and more
    so many processes serve, and one that dies is begun again.
    """
    chosen = Serving.parse(settings, where="Server")
    if chosen.num_processes > 1:
        from serving.processes import supervise

        supervise(directories, chosen)
        return
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        with Server(*directories, **settings) as server:
            for line in server.lines():
                sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
            with _logged():
                stop.wait()
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def _logged() -> Iterator[None]:
    """Writes what happens from now on, requests and versions, on standard error."""
    handler, log = logging.StreamHandler(sys.stderr), logging.getLogger("serving")
    handler.setFormatter(logging.Formatter("%(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
