"""`Server` and `serve`: one process serves one exported directory.

Limits: IPv4; no encryption and no authentication, so anyone who reaches the port may send requests.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Self

from serving.engines import open_deployable
from serving.routes import Service
from serving.sockets import Listener

MAX_BODY_BYTES = 64 * 2**20


class Server:
    """Serves one exported directory inside a `with` block.

    The port is held from construction on. Leaving the block stops listening, lets the requests that
    have begun finish, and closes.

    Args:
        directory: What `zoo export` wrote for TFLite or ONNX.
        host: The address to listen on.
        port: The port to listen on, in [0, 65535]; 0 takes a free one.
        num_threads: Threads of one inference; `None` takes one for each core.
        max_body_bytes: Largest body of a request; a longer one is refused with 413.

    Attributes:
        name: The model's name, in the manifest and in paths.
        runtime: The runtime's name and version.
        url: The model's address, `http://HOST:PORT/v1/models/NAME`.

    Raises:
        FileNotFoundError: The directory or one of its files is missing.
        ValueError: A setting is out of range, or the directory cannot be served (see
            `engines.open_deployable`).
        OSError: The address is taken, unknown, or not this machine's.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        host: str = "127.0.0.1",
        port: int = 8501,
        num_threads: int | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        if num_threads is None:
            num_threads = os.cpu_count() or 1
        if not host.strip():
            raise ValueError("Server.host: got ''; expected an address, e.g. 127.0.0.1.")
        if not 0 <= port <= 65535:
            raise ValueError(
                f"Server.port: got {port}; expected 0 to 65535, where 0 is a free one."
            )
        if num_threads < 1:
            raise ValueError(f"Server.num_threads: got {num_threads}; expected 1 or more.")
        if max_body_bytes < 1:
            raise ValueError(f"Server.max_body_bytes: got {max_body_bytes}; expected 1 or more.")
        manifest, engine = open_deployable(directory, num_threads=num_threads)
        service = Service(manifest.name, engine)
        try:
            self._listener = Listener((host, port), service, max_body_bytes=max_body_bytes)
        except OSError as error:
            raise OSError(
                f"cannot listen on {host}:{port}: {error.strerror}."
                " Choose another host or port; port 0 takes a free one."
            ) from error
        address, taken = self._listener.socket.getsockname()
        self.name = manifest.name
        self.runtime = engine.runtime
        self.url = f"http://{address}:{taken}/v1/models/{self.name}"

    def __enter__(self) -> Self:
        poll_seconds = 0.1  # how long `stop` may wait for the listening thread
        threading.Thread(target=self._listener.serve_forever, args=(poll_seconds,)).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.stop()


def serve(
    directory: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8501,
    num_threads: int | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> None:
    """Serves one exported directory until Ctrl-C or SIGTERM; call it from the main thread.

    Prints one line when it is ready: name, runtime, address. Arguments and errors are `Server`'s.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # the same as Ctrl-C
    try:
        with Server(
            directory, host=host, port=port, num_threads=num_threads, max_body_bytes=max_body_bytes
        ) as server:
            sys.stdout.write(f"{server.name}: {server.runtime} at {server.url}\n")
            sys.stdout.flush()
            threading.Event().wait()
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)
