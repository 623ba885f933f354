"""Names of the classes of a folder, where a file lists them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from zoo.common import plain_yaml, reading
from zoo.common.settings import shown
from zoo.data.annotated.things import Reading
from zoo.data.texts.text_files import text_lines

EXPECTED = "names of the classes, one a line, or under `names`"


def named(files: Iterable[Path]) -> tuple[str, ...]:
    """Returns the names in the first file that is there; none where there is none.

    Args:
        files: Texts with a name a line, or YAML with `names`, a list or a mapping from 0 on.

    Raises:
        ValueError: A file has no names, or one twice, or two files differ.
    """
    known: dict[Path, tuple[str, ...]] = {}
    for path in files:
        if path.is_file():
            found = _of_yaml(path) if path.suffix == ".yaml" else _of_text(path)
            if not found or len(set(found)) < len(found):
                raise reading.FileError(
                    f"{path}: got {len(found)} names, {len(set(found))} of them different; "
                    f"expected {EXPECTED}."
                )
            known[path] = tuple(found)
    first = next(iter(known), None)
    names = known[first] if first else ()
    for path, others in known.items():
        if others != names:
            raise reading.FileError(
                f"{path}: names {', '.join(others)}; {first} names {', '.join(names)}. Expected "
                "the same, in the same order. Move one away."
            )
    return names


def within(found: Reading) -> Reading:
    """Returns a reading whose things are all of its labels; without labels, all names are theirs.

    A thing of another class becomes a problem.
    """
    every = sorted({thing.label for picture in found.pictures for thing in picture.things})
    labels = found.labels or tuple(every)
    unknown = set(every) - set(labels)
    if not unknown:
        return found._replace(labels=labels)
    problems, pictures = list(found.problems), []
    for picture in found.pictures:
        problems += [
            f"{thing.where}: the class {shown(thing.label)} is none of the {len(labels)} names."
            for thing in picture.things
            if thing.label in unknown
        ]
        things = tuple(thing for thing in picture.things if thing.label not in unknown)
        lost = picture.lost + len(picture.things) - len(things)
        pictures.append(picture._replace(things=things, lost=lost))
    return Reading(pictures, labels, problems)


def _of_text(path: Path) -> list[str]:
    lines = text_lines(reading.text(path, EXPECTED).rstrip())
    if "" in map(str.strip, lines):
        raise reading.FileError(
            f"{path}: has an empty line between names; expected {EXPECTED}. A class keeps its "
            "number by its line."
        )
    return [line.strip() for line in lines]


def _of_yaml(path: Path) -> list[str]:
    values = plain_yaml.read(path, EXPECTED, numbered=True)
    names = values.get("names") if isinstance(values, dict) else None
    if isinstance(names, dict):
        numbers = [str(number) for number in range(len(names))]
        names = {str(number): name for number, name in names.items()}
        if missing := [number for number in numbers if number not in names]:
            raise reading.FileError(
                f"{path}: names: got {len(names)} of them, none for {missing[0]}; expected a list, "
                "or a mapping that counts from 0."
            )
        names = [names[number] for number in numbers]
    if not isinstance(names, list):
        raise reading.FileError(
            f"{path}: names: got {type(names).__name__}; expected a list, or a mapping that counts "
            "from 0."
        )
    return [str(name) for name in names]
