"""What the head of a request says of its body: files of pictures, or something else."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from serving.answers import pictures
from serving.errors import RefusedError
from serving.http.guard import Scope


def header(scope: Scope, name: bytes) -> bytes | None:
    """Returns the value of a header, the first where there are more."""
    return next((value for key, value in scope["headers"] if key == name), None)


async def files_of(scope: Scope, body: bytes, taken: bool) -> pictures.Coded | None:
    """Returns the picture files of a body; `None` where its type says that it is something else.

    Raises:
        RefusedError: 400: a picture whose type does not say so; or `taken` is false, as files are
            those of `:predict`.
    """
    kind = (header(scope, b"content-type") or b"").partition(b";")[0].strip().lower()
    holds = kind.startswith(b"image/") or kind == b"multipart/form-data"
    if holds and not taken:
        raise RefusedError(
            400, f"request: got {kind.decode('latin-1')[:80]}; expected JSON. Files of pictures "
            "are answered by :predict.",
        )  # fmt: skip
    if not holds:
        if (found := pictures.format_of(body)) is not None:
            told = kind.decode("latin-1")[:80] or "no type"
            raise RefusedError(
                400, f"request: got a picture ({found}) sent as {told}; expected JSON, or the "
                f"picture to :predict with Content-Type: {found}.",
            )  # fmt: skip
        return None
    if kind.startswith(b"image/"):
        return pictures.Coded([body], by_row=True)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    most = pictures.MOST_FILES
    try:
        parts = await Request(scope, receive).form(max_files=most, max_fields=10)
    except MultiPartException as error:
        raise RefusedError(400, f"multipart: {error.message}") from None
    files = [part for _, part in parts.multi_items() if isinstance(part, UploadFile)]
    return pictures.Coded([await file.read() for file in files], by_row=True)
