"""Records bundles and deployables, and writes the generated parts of README and docs."""

from __future__ import annotations

import argparse
from pathlib import Path

from zoo import results
from zoo.results import pages


def main() -> None:
    """Records each directory, then writes the pages, and the picture when asked to."""
    parser = argparse.ArgumentParser(prog="python -m zoo.results", description=__doc__)
    parser.add_argument(
        "paths", nargs="*", type=Path, help="bundles, deployables, or what `zoo bench --json` said"
    )
    parser.add_argument(
        "--picture", action="store_true", help="draw docs/size-accuracy-time.png too"
    )
    arguments = parser.parse_args()
    for path in arguments.paths:
        results.record(path)
    pages.write_pages()
    if arguments.picture:
        from zoo.results.picture import draw

        draw(results.read_rows, pages.ROOT / "docs" / "size-accuracy-time.png")


if __name__ == "__main__":
    main()
