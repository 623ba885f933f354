"""How many steps of a recurrent network may be written out one after another, without a loop."""

from __future__ import annotations

LONGEST = 512  # a converter, and a trace, take minutes and gigabytes for thousands
