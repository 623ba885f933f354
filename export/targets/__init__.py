"""The catalogue of targets: one row per kind of file that `export` can write.

To add a target, write one file with a `Target` subclass and add its row here.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from zoo.common.settings import nearest

if TYPE_CHECKING:
    from export.target import Target


class _Catalogue(Mapping[str, "type[Target]"]):
    """Names and their classes; a class is imported when it is asked for."""

    def __init__(self, rows: dict[str, str]):
        self._rows = rows

    def __getitem__(self, name: str) -> type[Target]:
        module, _, attribute = self._rows[name].partition(":")
        target: type[Target] = getattr(importlib.import_module(module), attribute)
        return target

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


TARGETS: Mapping[str, type[Target]] = _Catalogue(
    {
        "saved_model": "export.targets.saved_model:SavedModel",
        "tflite": "export.targets.tflite:TFLite",
        "tflite-float16": "export.targets.tflite:TFLiteFloat16",
        "tflite-dynamic": "export.targets.tflite:TFLiteDynamic",
        "tflite-int8": "export.targets.tflite:TFLiteInt8",
        "tflite-int16x8": "export.targets.tflite:TFLiteInt16x8",
        "tflite-int4": "export.targets.tflite:TFLiteInt4",
        "onnx": "export.targets.onnx:ONNX",
        "onnx-int8": "export.targets.onnx_int8:ONNXInt8",
        "openvino": "export.targets.openvino:OpenVINO",
        "openvino-int8": "export.targets.openvino:OpenVINOInt8",
        "tflm": "export.targets.tflm:TFLM",
        "ethos-u": "export.targets.ethos_u:EthosU",
        "onnx-web": "export.targets.onnx_web:ONNXWeb",
        "tfjs": "export.targets.tfjs:TFJS",
        "coreml": "export.targets.coreml:CoreML",
    }
)


def target_names() -> tuple[str, ...]:
    """Returns the names of all targets, without importing any of them."""
    return tuple(TARGETS)


def find_target(target: str | Target, options: Mapping[str, Any] | None = None) -> Target:
    """Returns the target of that name; a target is returned as it is.

    Args:
        target: A name in `TARGETS`, or a target.
        options: Settings of a target that is named.

    Raises:
        ValueError: No target has this name, or it has no such option.
    """
    if not isinstance(target, str):
        return target
    if target not in TARGETS:
        raise ValueError(f"export: unknown target {target!r}. {nearest(target, TARGETS)}")
    return TARGETS[target](**(options or {}))
