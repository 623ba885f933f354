"""The architectures, one file for each family.

A family's file holds builders: functions that return a plain Functional `keras.Model` of logits.
The rows of `zoo.catalog` name them; `create` builds a row.
"""

from __future__ import annotations

from zoo.common import lazy

__getattr__, __dir__, __all__ = lazy.attach(__name__, {"create": "zoo.models.build"})
