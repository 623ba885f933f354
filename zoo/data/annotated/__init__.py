"""A user's own pictures with boxes, outlines or masks, in the layouts that the field's tools write.

`load` reads a folder; `zoo.common.layouts` tells which layout it has. One file for each:
`coco`, `voc`, `yolo` and `labelme` give pictures with things (`things`), `mask_files` has a class
for each pixel. What is wrong with an annotation is said in one line that names it.
"""

from __future__ import annotations

from zoo.common import lazy

_EXPORTS = {"load": "zoo.data.annotated.loaded"}

__getattr__, __dir__, __all__ = lazy.attach(__name__, _EXPORTS)
