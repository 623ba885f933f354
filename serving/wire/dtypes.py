"""The numbers that models take and give, by NumPy's name, as each protocol calls them."""

from __future__ import annotations

from typing import NamedTuple


class Dtype(NamedTuple):
    """Names of a type.

    Attributes:
        tensorflow: In TensorFlow's types.proto.
        number: There.
        field: Of TensorProto, where its values are listed.
        open: In the Open Inference Protocol; Triton's has `TYPE_` before it.
    """

    tensorflow: str
    number: int
    field: str
    open: str


DTYPES = {
    "bool": Dtype("DT_BOOL", 10, "bool_val", "BOOL"),
    "float16": Dtype("DT_HALF", 19, "half_val", "FP16"),
    "float32": Dtype("DT_FLOAT", 1, "float_val", "FP32"),
    "float64": Dtype("DT_DOUBLE", 2, "double_val", "FP64"),
    "int8": Dtype("DT_INT8", 6, "int_val", "INT8"),
    "int16": Dtype("DT_INT16", 5, "int_val", "INT16"),
    "int32": Dtype("DT_INT32", 3, "int_val", "INT32"),
    "int64": Dtype("DT_INT64", 9, "int64_val", "INT64"),
    "uint8": Dtype("DT_UINT8", 4, "int_val", "UINT8"),
    "uint16": Dtype("DT_UINT16", 17, "int_val", "UINT16"),
    "uint32": Dtype("DT_UINT32", 22, "uint32_val", "UINT32"),
    "uint64": Dtype("DT_UINT64", 23, "uint64_val", "UINT64"),
}
