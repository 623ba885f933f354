"""`python -m serving.processes.child DESCRIPTOR PARENT SETTINGS DIRECTORY...`: see `supervisor`."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import sys
import threading

from serving.server import Server
from zoo.common.leaving import leave

PARENT_SECONDS = 1.0  # how often it is looked for


def main() -> None:
    """Serves on a socket of the parent, until SIGTERM or until the parent is gone."""
    descriptor, parent, settings, *directories = sys.argv[1:]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent asks
    listening = socket.socket(fileno=int(descriptor))
    try:
        server = Server(*directories, listening=listening, **json.loads(settings))
    except (OSError, ValueError) as error:
        sys.exit(f"serve: {error}")
    with server:
        sys.stdout.write("\n".join([*server.lines(), "", ""]))
        sys.stdout.flush()
        logging.basicConfig(stream=sys.stderr, format="%(message)s")
        logging.getLogger("serving").setLevel(logging.INFO)
        while not stop.wait(PARENT_SECONDS) and os.getppid() == int(parent):
            if server.ended.is_set():
                sys.exit("serve: the server ended by itself; see above.")
    leave(0)


if __name__ == "__main__":
    main()
