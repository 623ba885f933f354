"""TF Serving's messages, as many as this server reads and writes, without TensorFlow.

Field numbers and types are facts of TensorFlow's published .proto files (tensor.proto,
tensor_shape.proto, meta_graph.proto; TF Serving's apis/*.proto). Differs: enumerations are whole
numbers, which are the same bytes; what is not listed is skipped. The messages live in a pool of
their own, so that a process may use TensorFlow's beside them.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

FIELD = descriptor_pb2.FieldDescriptorProto
PACKAGE = "tensorflow.serving"
_PACKAGES = ("tensorflow", PACKAGE)
_MAP = "map "  # of a string to what follows
_MANY = "many "

# Of each message: the fields, with number and type; a type with a dot is a message.
MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "tensorflow.Dim": {"size": (1, "int64"), "name": (2, "string")},
    "tensorflow.TensorShapeProto": {
        "dim": (2, "many tensorflow.Dim"), "unknown_rank": (3, "bool"),
    },
    "tensorflow.TensorProto": {
        "dtype": (1, "int32"), "tensor_shape": (2, "tensorflow.TensorShapeProto"),
        "tensor_content": (4, "bytes"), "half_val": (13, "many int32"),
        "float_val": (5, "many float"), "double_val": (6, "many double"),
        "int_val": (7, "many int32"), "string_val": (8, "many bytes"),
        "int64_val": (10, "many int64"), "bool_val": (11, "many bool"),
        "uint32_val": (16, "many uint32"), "uint64_val": (17, "many uint64"),
    },
    "tensorflow.TensorInfo": {
        "name": (1, "string"), "dtype": (2, "int32"),
        "tensor_shape": (3, "tensorflow.TensorShapeProto"),
    },
    "tensorflow.SignatureDef": {
        "inputs": (1, "map tensorflow.TensorInfo"), "outputs": (2, "map tensorflow.TensorInfo"),
        "method_name": (3, "string"),
    },
    "tensorflow.serving.SignatureDefMap": {
        "signature_def": (1, "map tensorflow.SignatureDef"),
    },
    "tensorflow.serving.ModelSpec": {
        "name": (1, "string"), "version": (2, "google.protobuf.Int64Value"),
        "version_label": (4, "string"), "signature_name": (3, "string"),
    },
    "tensorflow.serving.PredictRequest": {
        "model_spec": (1, "tensorflow.serving.ModelSpec"),
        "inputs": (2, "map tensorflow.TensorProto"), "output_filter": (3, "many string"),
    },
    "tensorflow.serving.PredictResponse": {
        "outputs": (1, "map tensorflow.TensorProto"),
        "model_spec": (2, "tensorflow.serving.ModelSpec"),
    },
    "tensorflow.serving.GetModelMetadataRequest": {
        "model_spec": (1, "tensorflow.serving.ModelSpec"), "metadata_field": (2, "many string"),
    },
    "tensorflow.serving.GetModelMetadataResponse": {
        "model_spec": (1, "tensorflow.serving.ModelSpec"),
        "metadata": (2, "map google.protobuf.Any"),
    },
    "tensorflow.serving.GetModelStatusRequest": {
        "model_spec": (1, "tensorflow.serving.ModelSpec"),
    },
    "tensorflow.serving.StatusProto": {
        "error_code": (1, "int32"), "error_message": (2, "string"),
    },
    "tensorflow.serving.ModelVersionStatus": {
        "version": (1, "int64"), "state": (2, "int32"),
        "status": (3, "tensorflow.serving.StatusProto"),
    },
    "tensorflow.serving.GetModelStatusResponse": {
        "model_version_status": (1, "many tensorflow.serving.ModelVersionStatus"),
    },
    "tensorflow.BytesList": {"value": (1, "many bytes")},
    "tensorflow.FloatList": {"value": (1, "many float")},
    "tensorflow.Int64List": {"value": (1, "many int64")},
    "tensorflow.Feature": {
        "bytes_list": (1, "tensorflow.BytesList"), "float_list": (2, "tensorflow.FloatList"),
        "int64_list": (3, "tensorflow.Int64List"),
    },
    "tensorflow.Features": {"feature": (1, "map tensorflow.Feature")},
    "tensorflow.Example": {"features": (1, "tensorflow.Features")},
    "tensorflow.serving.ExampleList": {"examples": (1, "many tensorflow.Example")},
    "tensorflow.serving.ExampleListWithContext": {
        "examples": (1, "many tensorflow.Example"), "context": (2, "tensorflow.Example"),
    },
    "tensorflow.serving.Input": {
        "example_list": (1, "tensorflow.serving.ExampleList"),
        "example_list_with_context": (2, "tensorflow.serving.ExampleListWithContext"),
    },
    "tensorflow.serving.Class": {"label": (1, "string"), "score": (2, "float")},
    "tensorflow.serving.Classifications": {"classes": (1, "many tensorflow.serving.Class")},
    "tensorflow.serving.ClassificationResult": {
        "classifications": (1, "many tensorflow.serving.Classifications"),
    },
    "tensorflow.serving.ClassificationRequest": {
        "model_spec": (1, "tensorflow.serving.ModelSpec"), "input": (2, "tensorflow.serving.Input"),
    },
    "tensorflow.serving.ClassificationResponse": {
        "result": (1, "tensorflow.serving.ClassificationResult"),
        "model_spec": (2, "tensorflow.serving.ModelSpec"),
    },
    "tensorflow.serving.Regression": {"value": (1, "float")},
    "tensorflow.serving.RegressionResult": {
        "regressions": (1, "many tensorflow.serving.Regression"),
    },
    "tensorflow.serving.RegressionRequest": {
        "model_spec": (1, "tensorflow.serving.ModelSpec"), "input": (2, "tensorflow.serving.Input"),
    },
    "tensorflow.serving.RegressionResponse": {
        "result": (1, "tensorflow.serving.RegressionResult"),
        "model_spec": (2, "tensorflow.serving.ModelSpec"),
    },
}  # fmt: skip


def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    known = []
    for module in (any_pb2, wrappers_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
        known.append(module.DESCRIPTOR.name)
    for package in _PACKAGES:
        file = descriptor_pb2.FileDescriptorProto(
            name=f"{package}.proto", package=package, syntax="proto3", dependency=known
        )
        for name, fields in MESSAGES.items():
            if name.rpartition(".")[0] == package:
                _describe(file.message_type.add(), name, fields)
        pool.Add(file)
        known.append(file.name)
    return pool


def _describe(message: Any, whole: str, fields: dict[str, tuple[int, str]]) -> None:
    message.name = whole.rpartition(".")[2]
    for name, (number, kind) in fields.items():
        field = message.field.add(name=name, number=number, label=FIELD.LABEL_OPTIONAL)
        if kind.startswith((_MAP, _MANY)):
            field.label = FIELD.LABEL_REPEATED
        if kind.startswith(_MAP):
            entry = message.nested_type.add(
                name="".join(part.title() for part in name.split("_")) + "Entry"
            )
            entry.options.map_entry = True
            entry.field.add(
                name="key", number=1, label=FIELD.LABEL_OPTIONAL, type=FIELD.TYPE_STRING
            )
            _type(
                entry.field.add(name="value", number=2, label=FIELD.LABEL_OPTIONAL),
                kind.removeprefix(_MAP),
            )
            _type(field, f"{whole}.{entry.name}")
        else:
            _type(field, kind.removeprefix(_MANY))


def _type(field: Any, kind: str) -> None:
    if "." in kind:
        field.type, field.type_name = FIELD.TYPE_MESSAGE, f".{kind}"
    else:
        field.type = getattr(FIELD, f"TYPE_{kind.upper()}")


_POOL = _pool()


def message(name: str) -> Any:
    """Returns the class of a message, by its whole name."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(name))


TensorProto = message("tensorflow.TensorProto")
PredictRequest = message(f"{PACKAGE}.PredictRequest")
PredictResponse = message(f"{PACKAGE}.PredictResponse")
MetadataRequest = message(f"{PACKAGE}.GetModelMetadataRequest")
MetadataResponse = message(f"{PACKAGE}.GetModelMetadataResponse")
StatusRequest = message(f"{PACKAGE}.GetModelStatusRequest")
StatusResponse = message(f"{PACKAGE}.GetModelStatusResponse")
ClassifyRequest = message(f"{PACKAGE}.ClassificationRequest")
RegressRequest = message(f"{PACKAGE}.RegressionRequest")
SignatureDefMap = message(f"{PACKAGE}.SignatureDefMap")
ClassifyResponse = message(f"{PACKAGE}.ClassificationResponse")
RegressResponse = message(f"{PACKAGE}.RegressionResponse")
