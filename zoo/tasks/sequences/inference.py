"""Inference: whether a sentence follows from another, contradicts it, or neither.

Source: Bowman et al. 2015, arXiv:1508.05326. A linear machine of words, and of pairs of words of
the two sentences, is measured beside the network, and so is the commonest class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from zoo.common.tensors import TOKENS
from zoo.tasks.sequences.worded import Worded


class Inference(Worded):
    """The task of a network that reads two sentences."""

    reads: ClassVar[Mapping[str, str]] = {TOKENS: "tokens", "hypothesis": "tokens"}

    kind: Literal["inference"] = "inference"  # type: ignore[assignment]
