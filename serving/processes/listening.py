"""The socket that a server listens on."""

from __future__ import annotations

import socket


def shown_address(host: str, port: int) -> str:
    """Returns `HOST:PORT`; an address of IPv6 stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bound(host: str, port: int, *options: int) -> socket.socket:
    """Returns a socket that is bound to an address.

    Args:
        host: Name or number, also of IPv6.
        port: 0 takes a free one.
        *options: Of the socket, to be set.

    Raises:
        OSError: The address is taken, unknown, or not this machine's.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        made = socket.socket(family, kind, protocol)
        try:
            for option in options:
                made.setsockopt(socket.SOL_SOCKET, option, 1)
            made.bind(address)
        except OSError:
            made.close()
            raise
    except OSError as error:
        raise OSError(
            f"cannot listen on {shown_address(host, port)}: {error.strerror}."
            " Choose another host or port; port 0 takes a free one."
        ) from error
    return made


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that listens.

    Raises:
        OSError: The address is taken, unknown, or not this machine's.
    """
    listening = bound(host, port, socket.SO_REUSEADDR)
    listening.listen(2048)
    return listening
