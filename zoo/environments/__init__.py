"""What agents act in: environments of gymnasium, and what is learnt from acting in them.

    world = zoo.environments.World(Environment(name="CartPole-v1"))
    world.columns       # what is observed, and which actions there are

`copies` acts in several environments side by side; `rollouts`, `replay` and `episodes` are sources
of batches (`zoo.data.source.Source`). gymnasium is the extra `rl`. Importing this package is
instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_EXPORTS = {
    "Copies": "zoo.environments.copies",
    "Episodes": "zoo.environments.episodes",
    "Replay": "zoo.environments.replay",
    "Rollouts": "zoo.environments.rollouts",
    "World": "zoo.environments.world",
    "check_name": "zoo.environments.world",
}

__all__ = sorted(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'zoo.environments' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return __all__
