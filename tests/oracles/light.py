"""ONNX' own test models as oracles: published nets without their weights.

The onnx wheel carries a graph for each, whose weights are constants of 0.02. Here they are inputs,
fed with those of our model; a shape that differs from the published one is an error.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


class Light:
    """A published graph, to be changed where its conversion lost something, and run."""

    def __init__(self, name):
        self.model = onnx.load(FOLDER / f"light_{name}.onnx")
        self.model.ir_version = 8  # before 4, every constant is an input too
        graph = self.model.graph
        kept = [node for node in graph.node if node.op_type not in ("ConstantOfShape", "Softmax")]
        softmax = next(node for node in graph.node if node.op_type == "Softmax")
        self.image, self.logits = kept[0].input[0], softmax.input[0]
        used = {name for node in kept for name in node.input}
        values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.shapes = {
            node.output[0]: tuple(values[node.input[0]])
            for node in graph.node
            if node.op_type == "ConstantOfShape"
        }
        # Short vectors are stored as they are.
        self.shapes |= {n: v.shape for n, v in values.items() if v.dtype == np.float32}
        # ZFNet's graph also has a number that nothing reads.
        self.shapes = {name: shape for name, shape in self.shapes.items() if name in used}
        self.num_weights = sum(int(np.prod(shape)) for shape in self.shapes.values())
        constants = [t for t in graph.initializer if t.name in used - set(self.shapes)]
        del graph.node[:], graph.initializer[:], graph.input[:], graph.output[:]
        graph.node.extend(kept)
        graph.initializer.extend(constants)

    def nodes(self, kind, **attributes):
        """The nodes of a kind that have these attributes, in the order of the graph."""
        for node in self.model.graph.node:
            found = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == kind and attributes.items() <= found.items():
                yield node

    def change(self, kind, where=None, **attributes):
        """Sets attributes of all nodes of a kind, or of those with the attributes `where`."""
        for node in self.nodes(kind, **(where or {})):
            kept = [item for item in node.attribute if item.name not in attributes]
            del node.attribute[:]
            node.attribute.extend(kept)
            for key, value in attributes.items():
                node.attribute.append(onnx.helper.make_attribute(key, value))

    def run(self, weights, images, extra=()):
        """The logits, and the tensors called `extra`, on images (batch, height, width, channels).

        The graphs are made for one image at a time.
        """
        assert {name: value.shape for name, value in weights.items()} == self.shapes
        graph = self.model.graph
        images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
        feed = {self.image: images[:1], **weights}
        kind = onnx.TensorProto.FLOAT
        names = [self.logits, *extra]
        del graph.input[:], graph.output[:]
        graph.input.extend(
            onnx.helper.make_tensor_value_info(name, kind, value.shape)
            for name, value in feed.items()
        )
        graph.output.extend(onnx.helper.make_tensor_value_info(n, kind, None) for n in names)
        session = onnxruntime.InferenceSession(self.model.SerializeToString())
        runs = [session.run(names, feed | {self.image: image[None]}) for image in images]
        return [np.concatenate(tensors) for tensors in zip(*runs, strict=True)]


def convolution(layer):
    """(height, width, in, out) to ONNX' (out, in, height, width); the bias as it is."""
    kernel, bias = layer.get_weights()
    return np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)), bias


def dense(layer, maps=None):
    """(in, out) to (out, in); `maps` is the (height, width, channels) that was flattened."""
    kernel, bias = layer.get_weights()
    if maps is not None:  # ONNX flattens (channels, height, width)
        kernel = kernel.reshape(*maps, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
    return np.ascontiguousarray(kernel.T), bias
