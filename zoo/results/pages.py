"""The pages with generated parts: which part stands in which file, between which markers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from zoo.results import digest, numbers, read_rows

ROOT = Path(__file__).parents[2]
PAGES: Mapping[str, Mapping[str, Callable[[numbers.Read], str]]] = {
    "README.md": {"counts": digest.counts, "digest": digest.digest},
    "docs/tasks.md": {"kinds": digest.kinds},
    "docs/train.md": {"datasets": digest.datasets},
    "docs/numbers.md": {"tables": numbers.tables},
}


def markers(part: str) -> tuple[str, str]:
    """Returns the lines before and behind a generated part."""
    begin = f"<!-- {part}: written by `python -m zoo.results`; do not edit -->"
    return begin, f"<!-- end of {part} -->"


def render(page: str, text: str) -> str:
    """Returns the text of a page with its generated parts written anew.

    Args:
        page: A key of `PAGES`.
        text: The page as it is.

    Raises:
        ValueError: A marker is missing.
    """
    for part, write_pages in PAGES[page].items():
        begin, end = markers(part)
        head, found, rest = text.partition(begin)
        _, closed, tail = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"{page}: the markers of {part} are missing; expected {begin}, {end}.")
        text = f"{head}{begin}\n\n{write_pages(read_rows)}\n\n{end}{tail}"
    return text


def write_pages() -> None:
    """Writes every page anew."""
    for page in PAGES:
        path = ROOT / page
        path.write_text(render(page, path.read_text()))
