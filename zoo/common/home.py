"""Where things lie: what the zoo can fetch or make again, and what comes with it."""

from __future__ import annotations

import os
from pathlib import Path

SHIPPED = Path(__file__).parents[1] / "weights" / "shipped"  # trained bundles, packed


def home() -> Path:
    """Returns `$ZOO_HOME`, by default `~/.cache/zoo`."""
    return Path(os.environ.get("ZOO_HOME") or Path.home() / ".cache" / "zoo")


def shipped() -> list[Path]:
    """Returns the directories of the bundles that come with the zoo, packed, in order."""
    return sorted(path.parent for path in SHIPPED.glob("*/card.json"))
