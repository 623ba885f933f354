"""What agents act in: environments of gymnasium, and what is learnt from acting in them.

    world = zoo.environments.World(Environment(name="CartPole-v1"))
    world.columns       # what is observed, and which actions there are

`copies` acts in several environments side by side; `rollouts`, `replay` and `episodes` are sources
of batches (`zoo.data.feeds.source.Source`). gymnasium is the extra `rl`. Importing this package is
instant.
"""

from __future__ import annotations

from zoo.common import lazy

_EXPORTS = {
    "Copies": "zoo.environments.copies",
    "Episodes": "zoo.environments.episodes",
    "Replay": "zoo.environments.replay",
    "Rollouts": "zoo.environments.rollouts",
    "World": "zoo.environments.world",
    "check_name": "zoo.environments.world",
}

__getattr__, __dir__, __all__ = lazy.attach(__name__, _EXPORTS)
