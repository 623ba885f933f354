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
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import uvicorn

from serving.admission import Admission
from serving.http import app, connection
from serving.http.guard import Guard
from serving.http.inference import Inference
from serving.metrics import Metrics
from serving.models.repository import Repository
from serving.processes.listening import listen, shown_address
from serving.settings import Serving
from zoo.common import reading

WATCH_SECONDS = 0.5  # how often it is looked whether a server still runs


class Server:
    """Serves exported directories inside a `with` block.

    The port is held, and every model loaded and run, from construction on. Leaving the block stops
    listening, lets the requests that have begun finish, and closes.

    Args:
        *directories: What `zoo export` wrote for TFLite or ONNX, or a directory of its versions,
            `NAME/1`, `NAME/2`.
        listening: Socket of the parent of several processes, see `serving.processes.supervisor`.
        **settings: See `serving.settings.Serving`.

    Attributes:
        name: The first model's name, in paths.
        runtime: Its runtime's name and version.
        ended: Set when nothing answers any more, also where that was not asked for.
        root: Address of the server, `http://HOST:PORT`.
        url: The first model's address, `http://HOST:PORT/v1/models/NAME`.
        grpc_port: Port of gRPC inside the block; `None` where there is none.

    Raises:
        FileNotFoundError: A directory or one of its files is missing.
        ValueError: A setting is out of range, or a directory cannot be served (see
            `engines.open_engines`).
        OSError: The address is taken, unknown, or not this machine's; or the certificate, its key
            or the token cannot be read.
    """

    def __init__(
        self, *directories: str | Path, listening: socket.socket | None = None, **settings: Any
    ) -> None:
        self.settings = Serving.parse(settings, where="Server")
        self._metrics = Metrics()
        self._admission = Admission(self.settings)
        self._repository = Repository(directories, self.settings, self._metrics)
        self._routes = app.Routes(self._repository, self._metrics)
        self._inference = Inference(
            self._routes.app(), self._repository, self.settings, self._admission, self._metrics
        )
        self._http = uvicorn.Server(self._configured())
        self._socket = listening or listen(self.settings.host, self.settings.port)
        host, port = self._socket.getsockname()[:2]
        scheme = "https" if self.settings.certificate else "http"
        self.root = f"{scheme}://{shown_address(host, port)}"
        first = next(iter(self._repository.models.values()))
        self.name = first.name
        self.runtime = first.pick().engine.runtime
        self.url = f"{self.root}/v1/models/{self.name}"
        self.grpc_port: int | None = None
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._begun: Future[asyncio.AbstractEventLoop] = Future()
        self._asked_to_end = asyncio.Event()

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
        with suppress(RuntimeError):  # its loop has ended already
            self._begun.result().call_soon_threadsafe(self._asked_to_end.set)
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
        guard = Guard(self._inference, settings, self._admission, self._metrics)
        config = uvicorn.Config(
            guard,
            http=connection.protocol(settings, guard.refused),
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(settings.idle_seconds) or 1,
            timeout_graceful_shutdown=int(settings.drain_seconds) or 1,
            ssl_certfile=settings.certificate,
            ssl_keyfile=settings.key,
        )
        try:
            config.load()
        except OSError as error:  # of TLS
            raise OSError(
                f"{settings.certificate}, {settings.key}: no certificate and its key, in PEM "
                f"({reading.one_line(error)})."
            ) from error
        return config

    def _run(self) -> None:
        config = self._http.config
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            try:
                runner.run(self._serve())
            except BaseException as error:
                if self._begun.done():
                    raise
                self._begun.set_exception(error)
            finally:
                self._inference.close()
                self.ended.set()

    async def _serve(self) -> None:
        calls = None
        if self.settings.grpc_port is not None:
            from serving.rpc.service import Services

            services = Services(self._repository, self.settings, self._admission, self._metrics)
            calls, self.grpc_port = await services.start()
        http = asyncio.create_task(self._http.serve(sockets=[self._socket]))
        asked = asyncio.create_task(self._asked_to_end.wait())
        self._begun.set_result(asyncio.get_running_loop())
        await asyncio.wait({http, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        self._http.should_exit = True
        ending = [http]
        if calls is not None:  # both within the same time
            ending.append(asyncio.create_task(calls.stop(self.settings.drain_seconds)))
        await asyncio.gather(*ending)


def serve(*directories: str | Path, **settings: Any) -> None:
    """Serves exported directories until Ctrl-C or SIGTERM; call it from the main thread.

    Prints one line for each model when it is ready: name, runtime, address; and logs one line of
    JSON for each request. With `num_processes` of 2 and more so many processes serve, and one that
    dies is begun again. Arguments and errors are `Server`'s; OSError is raised, too, where it ends
    by itself.
    """
    chosen = Serving.parse(settings, where="Server")
    if chosen.num_processes > 1:
        from serving.processes.supervisor import supervise

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
                while not (stop.wait(WATCH_SECONDS) or server.ended.is_set()):
                    pass
            if not stop.is_set():
                raise OSError("the server ended by itself; see above.")
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
