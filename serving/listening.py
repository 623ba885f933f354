"""The socket that a server listens on."""

from __future__ import annotations

import socket


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens.

    Raises:
        OSError: The address is taken, unknown, or not this machine's.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
    except OSError as error:
        raise OSError(
            f"cannot listen on {host}:{port}: {error.strerror}."
            " Choose another host or port; port 0 takes a free one."
        ) from error
    return listening
