"""Refusals: a status, and one line that says where, what was got, and what was expected."""

from __future__ import annotations


class RefusedError(Exception):
    """A request that is not answered.

    Attributes:
        status: HTTP status.
        message: One line.
        headers: Further headers of the answer.
    """

    def __init__(self, status: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
