"""YAML without surprises: a value is what it looks like.

YAML 1.1, which PyYAML reads, makes `yes`, `on` and `no` booleans, 1:30 ninety, 010 eight and 1e-3 a
text. Here `true` and `false` are booleans, decimal numbers are numbers, with or without a point,
`null`, `~` and nothing are nothing, and all else is text. A key is text, and stands there once.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from zoo.common import reading
from zoo.common.reading import FileError, one_line

MOST_NODES = 100_000  # of a document with its references followed
MOST_BYTES = 2**22


def parse(text: str, where: str, *, numbered: bool = False) -> Any:
    """Returns the value that a text says.

    Args:
        text: YAML.
        where: What the text is of; the error line opens with it.
        numbered: Whether a key may be a whole number, as in files of other tools.

    Raises:
        ValueError: It is not YAML, nested too deeply, or unfolds to too much.
    """
    try:
        return yaml.load(text, Loader=_Numbered if numbered else _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FileError(f"{where}: not YAML: {one_line(error)}.") from error


def read(path: str | Path, expected: str, *, numbered: bool = False) -> Any:
    """Returns the value that a file says.

    Args:
        path: A file of YAML.
        expected: What it should be.
        numbered: See `parse`.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be read.
        ValueError: It is no text in UTF-8, or not YAML.
    """
    content = reading.text(path, expected)
    if len(content) > MOST_BYTES:
        raise FileError(f"{path}: got {len(content):,} characters; expected {expected}.")
    return parse(content, str(path), numbered=numbered)


def dump(value: Any) -> str:
    """Returns plain values as YAML, which reads the same here and by YAML 1.1."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """A dumper that quotes what looks like anything but text to either."""


class _Loader(yaml.SafeLoader):
    """A loader with kinds of its own."""

    key_kinds: tuple[str, ...] = ("str",)
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  PyYAML's own name

    def compose_document(self) -> Any:
        """Refuses what would unfold to too much before it is made."""
        node = super().compose_document()
        _count(node, {}, set())
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        """Makes a dictionary, of keys that are text and stand there once."""
        seen = set()
        for key, _ in node.value:
            if key.tag not in {f"tag:yaml.org,2002:{kind}" for kind in self.key_kinds}:
                raise ValueError(f"{key.start_mark}: got a key that is no text")
            if key.value in seen:
                raise ValueError(f"key {key.value!r} stands there twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


class _Numbered(_Loader):
    """A loader of mappings whose keys may be whole numbers."""

    key_kinds = ("str", "int")


def _count(node: Any, sizes: dict[int, int], above: set[int]) -> int:
    """How many values a node unfolds to."""
    if id(node) in above:
        raise ValueError("a value that holds itself")
    if id(node) not in sizes:
        parts: list[Any] = []
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            parts = node.value
        size = 1 + sum(_count(part, sizes, above | {id(node)}) for part in parts)
        if size > MOST_NODES:
            raise ValueError(f"more than {MOST_NODES:,} values")
        sizes[id(node)] = size
    return sizes[id(node)]


def _number(loader: Any, node: Any) -> int:
    return int(loader.construct_scalar(node))


def _real(loader: Any, node: Any) -> float:
    text = loader.construct_scalar(node).lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


for _tag, _pattern, _first in (
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)", "tTfF"),
    ("null", r"(?:~|null|Null|NULL|)", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9]{0,17})", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:(?:0|[1-9][0-9]{0,99})(?:\.[0-9]{0,99}(?:[eE][-+]?[0-9]{1,9})?|[eE][-+]?[0-9]{1,9})"
        r"|\.[0-9]{1,99}(?:[eE][-+]?[0-9]{1,9})?|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
):
    for _kind in (_Loader, _Dumper):
        _kind.add_implicit_resolver(
            f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first)
        )
_Loader.add_constructor("tag:yaml.org,2002:int", _number)
_Loader.add_constructor("tag:yaml.org,2002:float", _real)
