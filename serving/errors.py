"""Refusals: a status, and one line that says where, what was got, and what was expected."""

from __future__ import annotations

import json


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

    def content(self) -> bytes:
        """Returns the body of the answer, as TF Serving has it."""
        return json.dumps({"error": self.message}).encode()

    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """Returns the further headers as ASGI has them."""
        return [(name.encode(), value.encode()) for name, value in self.headers.items()]
