"""Examples in, answers out; the same for REST and for gRPC."""

from __future__ import annotations

import asyncio
import logging

from serving.engines import Arrays, one_line
from serving.errors import RefusedError
from serving.models import ranges
from serving.models.batching import BusyError
from serving.models.versions import Version

LOG = logging.getLogger("serving")


async def ask(version: Version, inputs: Arrays) -> Arrays:
    """Returns the answers to some examples.

    Args:
        version: What is asked; it must be held, see `Repository.lease`.
        inputs: One array for each input, (batch, ...).

    Raises:
        RefusedError: 400: the model has no answer to a value; 500: it fails; 503: too many
            examples wait.
    """
    try:
        ranges.check(inputs, version.ranges)
        if version.is_quick(inputs):
            return version.run(inputs)
        return await asyncio.wrap_future(version.submit(inputs))
    except BusyError:
        raise RefusedError(
            503, f"{version.name}: too many examples wait; try again.", retry_after="1"
        ) from None
    except ValueError as error:
        raise RefusedError(400, str(error)) from None
    except Exception as error:
        message = f"{type(error).__name__}: {one_line(error)}"
        LOG.error("%s version %d: %s", version.name, version.number, message)
        raise RefusedError(500, f"{version.engine.runtime}: {message}") from error
