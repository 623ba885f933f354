"""Inside a SavedModel: the model's signature, one that reads pictures, requests to warm up."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from export.recurrent import Writer
from export.source import run_keras, serving_function, tables
from export.target import SIGNATURE, Source
from zoo.common.preprocessing import Preprocessing

CLASSIFY = "classify_bytes"
BEST = 5  # labels that `classify_bytes` returns
PYTHON = ("PyFunc", "PyFuncStateless", "EagerPyFunc")
WARMUP = "assets.extra/tf_serving_warmup_requests"


def save(
    source: Source,
    path: Path,
    *,
    batch: int | None,
    classify: bool = False,
    writer: Writer | None = None,
) -> None:
    """Writes a SavedModel.

    Args:
        source: The model.
        path: The folder, to be made.
        batch: Number of examples that its signature takes; `None` for any.
        classify: Whether to add `classify_bytes` where it can be.
        writer: How recurrent layers are written, see `export.recurrent`.
    """
    module = tf.Module()
    # The variables, not the model: to save a tracked Keras model TensorFlow traces its own
    # `serving_default`, where augmentation is live.
    module.variables_to_save = [variable.value for variable in source.net.variables]
    module.tables = tables(source.net)
    serve = serving_function(source.net, source.signature, batch=batch, writer=writer)
    signatures = {SIGNATURE: serve}
    with tempfile.TemporaryDirectory() as scratch:
        if classify and source.about.labels:
            labels = Path(scratch, "labels.txt")
            labels.write_text("\n".join(source.about.labels) + "\n")
            module.labels = tf.saved_model.Asset(str(labels))
        if classify and classifies(source):
            signatures[CLASSIFY] = _classify_function(source)
        tf.saved_model.save(module, str(path), signatures=signatures)
    _refuse_python(path)


def _refuse_python(path: Path) -> None:
    """Refuses a graph that calls Python: it runs in this process and in no other."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved = SavedModel()
    saved.ParseFromString((path / "saved_model.pb").read_bytes())
    for graph in saved.meta_graphs:
        for function in graph.graph_def.library.function:
            for node in function.node_def:
                if node.op in PYTHON:
                    raise RuntimeError(
                        f"export: {node.name} calls Python ({node.op}), which no file holds. Write"
                        " the layer in operations of keras.ops."
                    )


def classifies(source: Source) -> bool:
    """Whether it is one picture in and the scores of as many classes as there are labels out."""
    known, signature = source.about.preprocessing, source.signature
    if known is None or known.size is None or known.channels not in (1, 3):
        return False
    shapes = [spec.shape for spec in (*signature.inputs, *signature.outputs)]
    classes = len(source.about.labels)
    picture = (None, known.size, known.size, known.channels)
    return classes > 1 and shapes == [picture, (None, classes)]


def _classify_function(source: Source) -> Any:
    known = source.about.preprocessing
    if known is None:
        raise ValueError("classify_bytes: no preprocessing")
    (image,), (scores,) = source.signature.inputs, source.signature.outputs
    labels = tf.constant(source.about.labels)  # (classes,)
    num = min(BEST, len(source.about.labels))

    def classify(pictures: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = tf.map_fn(
            lambda data: decode(data, known), pictures, fn_output_signature=tf.float32
        )  # (n, size, size, channels)
        inputs = (pixels * known.scale - tf.constant(known.mean)) / tf.constant(known.std)
        outputs = source.net([tf.cast(inputs, image.dtype)], training=False)
        values, places = tf.math.top_k(outputs[scores.name], k=num)
        return {"labels": tf.gather(labels, places), "scores": values}  # (n, num) both

    spec = tf.TensorSpec((None,), tf.string, name="pictures")
    return tf.function(classify, input_signature=[spec], autograph=False)


def decode(data: tf.Tensor, known: Preprocessing) -> tf.Tensor:
    """Decodes a PNG or JPEG picture to pixels (size, size, channels), float32 of 0 to 255.

    Grey is ITU-R 601 luma, rounded as Pillow does. Transparency is dropped. A picture up to `pad`
    pixels smaller is padded with zeros; any other is resized bilinearly, with averaging.
    """
    size = known.size
    pixels = tf.io.decode_image(data, channels=3, expand_animations=False)
    pixels.set_shape((None, None, 3))
    if known.channels == 1:
        weights = tf.constant([19595, 38470, 7471])
        luma = tf.reduce_sum(tf.cast(pixels, tf.int32) * weights, axis=-1, keepdims=True)
        pixels = tf.cast((luma + 0x8000) // 65536, tf.uint8)
    height, width = tf.unstack(tf.shape(pixels)[:2])
    spare = tf.stack([size - height, size - width])
    fits = tf.reduce_all((spare >= 0) & (spare <= known.pad))

    def padded() -> tf.Tensor:
        top, left = spare[0] // 2, spare[1] // 2
        sides = [[top, spare[0] - top], [left, spare[1] - left], [0, 0]]
        return tf.cast(tf.pad(pixels, sides), tf.float32)

    def resized() -> tf.Tensor:
        return tf.round(tf.image.resize(pixels, (size, size), antialias=True))

    found = tf.cond(fits, padded, resized)
    return tf.ensure_shape(found, (size, size, known.channels))


def check_classify(source: Source, path: Path) -> None:
    """Compares `classify_bytes` of the saved folder with the model, on pictures of noise."""
    known = source.about.preprocessing
    if known is None or known.size is None or known.channels is None:
        return
    shape = (4, known.size, known.size, known.channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    loaded = tf.saved_model.load(str(path))
    with tf.device("/CPU:0"):
        pictures = tf.stack([tf.io.encode_png(image) for image in pixels])
        got = loaded.signatures[CLASSIFY](pictures=pictures)
    inputs = (pixels * known.scale - np.array(known.mean)) / np.array(known.std)
    name = source.signature.inputs[0].name
    (want,) = run_keras(source.net, source.signature, {name: inputs.astype("float32")}).values()
    best = np.sort(want, axis=1)[:, ::-1][:, : got["scores"].shape[1]]
    error = float(np.abs(got["scores"].numpy() - best).max() / np.abs(want).max())
    if not error <= 1e-3:
        raise RuntimeError(
            f"export to saved_model: {CLASSIFY} differs from the model by {error:.2g} of its"
            " largest score."
        )


def warm_up(source: Source, path: Path, name: str) -> None:
    """Writes one request of zeros, as TF Serving's own log would have it."""
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = SIGNATURE
    for spec in source.signature.inputs:
        shape = [size or 1 for size in spec.shape]
        zeros = tf.zeros(shape, spec.dtype) if spec.dtype != "string" else tf.fill(shape, "")
        request.inputs[spec.name].CopyFrom(tf.make_tensor_proto(zeros))
    log = prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )
    (path / WARMUP).parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path / WARMUP)) as file:
        file.write(log.SerializeToString())
