"""Records bundles and deployables, and writes the README's tables."""

from __future__ import annotations

import sys
from pathlib import Path

from zoo import results


def main(paths: list[str]) -> None:
    """Records each directory, then writes the tables."""
    for path in paths:
        results.record(Path(path))
    results.README.write_text(results.render(results.README.read_text()))


if __name__ == "__main__":
    main(sys.argv[1:])
