"""Examples in, answers out, of whatever version answers now; the same for REST and for gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from serving.batching import ClosedError
from serving.engines import Arrays
from serving.repository import Version


async def ask(
    version: Version, inputs: Arrays, again: Callable[[], Version]
) -> tuple[Arrays, Version]:
    """Returns the answers to some examples, and the version that gave them.

    Args:
        version: What is asked.
        inputs: One array for each input, (batch, ...).
        again: Gives the version to ask where another took over meanwhile.

    Raises:
        BusyError: Too many examples wait.
        ValueError: The runtime refuses a value.
    """
    while not version.is_quick(inputs):
        try:
            answer = version.submit(inputs)
        except ClosedError:
            version = again()
            continue
        return await asyncio.wrap_future(answer), version
    return version.run(inputs), version
