"""Keras to ONNX with the large weights kept out of the way.

tf2onnx copies the whole graph before each of its optimisers. With the weights of VGG-16 inside,
that takes half a minute, and at 224x224 more than 22 GB. So the graph is traced with its large
weights as inputs, converted while it is thin, and the arrays are attached at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import onnx
import onnxslim
import tensorflow as tf
import tf2onnx
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tf2onnx.optimizer.transpose_optimizer import TransposeOptimizer

from export.formats.onnx.mending import mend_transposed, silent
from export.manifest import Signature
from export.recurrent import MARK, Cells, marked, written_as
from export.source import is_compressed
from export.tracing import inlined, plain_winners

LARGEST = 1_900_000_000  # bytes; a protobuf ends at 2^31
_WEIGHT = "zoo_large_weight_"  # of a name that no input has
_LARGE = 16384  # elements; smaller weights become constants, which tf2onnx folds into neighbours


def to_onnx(
    net: keras.Model, signature: Signature, *, opset: int, nchw: Sequence[str] = ()
) -> onnx.ModelProto:
    """Converts a model that `export.source.prepare` returned.

    The batch is free and called `batch`; batch normalisation is folded into the convolutions.

    Args:
        net: What `prepare` returned.
        signature: Likewise.
        opset: Version of the operators, 13 to 18.
        nchw: Names of the inputs that the file takes with their channels first.
    """
    large = {f"{_WEIGHT}{i}": variable for i, variable in enumerate(_large(net))}
    cells: list[Cells] = []
    frozen, output_names = _trace(net, signature, large, cells)
    input_names = [spec.name for spec in signature.inputs] + list(large)
    thin = _convert(frozen, input_names, output_names, opset=opset, nchw=nchw, cells=cells)
    mend_transposed(thin)
    arrays = _turned(thin, {name: variable.numpy() for name, variable in large.items()})
    # onnxslim copies the model several times, and cannot beyond the 2 GB of a protobuf. It needs
    # the kernels of convolutions, for the batch normalisation to fold; dense ones stay outside.
    used = {name for node in thin.graph.node if node.op_type != "MatMul" for name in node.input}
    _attach(thin, {name: array for name, array in arrays.items() if name in used})
    model: onnx.ModelProto = onnxslim.slim(thin) if thin.ByteSize() < LARGEST else thin
    _attach(model, {name: array for name, array in arrays.items() if name not in used})
    _part(model)
    there = {value.name for value in model.graph.input}
    for spec in signature.inputs:  # one that no output depends on is taken all the same
        if spec.name not in there:
            kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype))
            entry = onnx.helper.make_tensor_value_info(spec.name, kind, spec.shape)
            model.graph.input.append(entry)
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    return model


def _large(net: keras.Model) -> list[Any]:
    # tf2onnx rounds to ranges that are constant alone: those of a quantised model come of its
    # kernels. The weights of a recurrent layer are turned here, as constants.
    layers = list(net._flatten_layers())
    if any(is_compressed(layer) for layer in layers):
        return []
    recurrent = {id(v) for one in layers if isinstance(one, keras.layers.RNN) for v in one.weights}
    own = [v for v in net.variables if id(v) not in recurrent]
    return [v for v in own if np.prod(v.shape) >= _LARGE and v.dtype == "float32"]


def _trace(
    net: keras.Model, signature: Signature, large: dict[str, Any], cells: list[Cells]
) -> tuple[Any, list[str]]:
    """Traces inference as a function of the inputs and of the large weights.

    Args:
        net: The model.
        signature: Its signature.
        large: Weights that become inputs, by name.
        cells: Takes the recurrent layers that become an operator each.

    Returns:
        The frozen function, and the names of its outputs in order.
    """
    specs = [tf.TensorSpec(spec.shape, spec.dtype, name=spec.name) for spec in signature.inputs]
    specs += [tf.TensorSpec(v.shape, v.dtype, name=name) for name, v in large.items()]
    names = {id(variable): name for name, variable in large.items()}
    small = {id(v): v.numpy() for v in net.variables if id(v) not in names}

    def infer(*tensors: tf.Tensor) -> Any:
        inputs = list(tensors[: len(signature.inputs)])
        traced = dict(zip(large, tensors[len(inputs) :], strict=True))

        def value(variable: Any) -> tf.Tensor:
            key = id(variable)
            return traced[names[key]] if key in names else tf.constant(small[key])

        trainable = [value(variable) for variable in net.trainable_variables]
        fixed = [value(variable) for variable in net.non_trainable_variables]
        with plain_winners(), written_as(marked(cells)):
            outputs, _ = net.stateless_call(trainable, fixed, inputs, training=False)
        return outputs

    with inlined():
        concrete = tf.function(
            infer, input_signature=specs, autograph=False
        ).get_concrete_function()
    # Also turns captured arrays (the mean of a Normalization layer) from inputs into constants.
    frozen = convert_variables_to_constants_v2(
        concrete, lower_control_flow=False, aggressive_inlining=True
    )
    return frozen, sorted(concrete.structured_outputs)


def _convert(
    frozen: Any,
    input_names: list[str],
    output_names: list[str],
    *,
    opset: int,
    nchw: Sequence[str],
    cells: list[Cells],
) -> onnx.ModelProto:
    """Runs tf2onnx on a frozen function, and gives its ends our names."""
    inputs = [tensor.name for tensor in frozen.inputs]
    outputs = [tensor.name for tensor in frozen.outputs]
    graph = tf2onnx.tf_loader.fix_freezing_errors_part2(frozen.graph.as_graph_def(add_shapes=True))
    with tf.Graph().as_default():
        tf.import_graph_def(graph, name="")
        graph = tf2onnx.tf_loader.tf_optimize(inputs, outputs, graph)
    tf2onnx.optimizer._optimizers["optimize_transpose"] = _Transposes
    model: onnx.ModelProto
    with silent():  # what it lacks is raised
        model, _ = tf2onnx.convert._convert_common(
            graph,
            name="keras",
            continue_on_error=False,
            opset=opset,
            custom_op_handlers={"Erfc": (_erfc, []), MARK: (partial(_recurrent, cells), [])},
            input_names=inputs,
            inputs_as_nchw=list(nchw),
            output_names=outputs,
            tensors_to_rename=dict(zip(inputs + outputs, input_names + output_names, strict=True)),
        )
    return model


class _Transposes(TransposeOptimizer):
    """tf2onnx's optimiser of transposes, without two faults."""

    def post_optimize_action(self) -> None:
        """Leaves transposes of 1 x 1 maps; it would reshape them, by shapes from before it began.

        onnxslim does the same, by the shapes of now.
        """

    def _add_handler(self, trans: Any, node: Any) -> Any:
        """Takes a constant without dimensions too, where it stopped with an error, in silence."""
        constant = node.inputs[1].is_const()
        if constant and not np.shape(node.inputs[1].get_tensor_value(as_list=False)):
            return self._handle_node_having_branches(trans, node)
        return super()._add_handler(trans, node)


def _erfc(context: Any, node: Any, _name: str, _arguments: list[Any]) -> None:
    """erfc(x) = 1 - erf(x), for exact GELU; tf2onnx has no rule of its own."""
    one = context.make_const(tf2onnx.utils.make_name("one"), np.ones((), np.float32))
    shapes, dtypes = node.output_shapes, node.output_dtypes
    erf = context.make_node("Erf", node.input, shapes=shapes, dtypes=dtypes)
    outputs = node.output
    context.remove_node(node.name)
    context.make_node(
        "Sub", [one.output[0], erf.output[0]], outputs=outputs, shapes=shapes, dtypes=dtypes
    )


def _recurrent(
    marks: Sequence[Cells], context: Any, node: Any, _name: str, _arguments: list[Any]
) -> None:
    """A recurrent layer that was marked (`export.recurrent`) as ONNX's operator.

    Its outputs are those of the mark: all places (time, batch, units), then the last states (1,
    batch, units).
    """
    cells = marks[node.get_attr_int("seed")]
    weights = [
        context.make_const(tf2onnx.utils.make_name(f"{cells.operator}_{name}"), array).output[0]
        for name, array in zip("WRBP", cells.arrays, strict=False)
    ]
    inputs = [node.input[0], *weights[:3]]
    count = 2 if cells.operator == "LSTM" else 1  # states
    if cells.states:
        inputs += ["", *node.input[1 : 1 + count]]
    if weights[3:]:  # behind the lengths and the states
        inputs += [""] * (7 - len(inputs)) + weights[3:]
    shapes, dtypes, outputs = node.output_shapes, node.output_dtypes, node.output
    context.remove_node(node.name)
    time, batch, units = shapes[0] or (-1, -1, cells.attributes["hidden_size"])
    made = context.make_node(
        cells.operator,
        inputs,
        attr=dict(cells.attributes),
        output_count=1 + count,
        shapes=[[time, 1, batch, units], *shapes[1 : 1 + count]],
        dtypes=dtypes[: 1 + count],
    )
    axes = context.make_const(tf2onnx.utils.make_name("axes"), np.array([1])).output[0]
    context.make_node(
        "Squeeze", [made.output[0], axes], outputs=outputs[:1], shapes=shapes[:1], dtypes=dtypes[:1]
    )
    for place in range(count):
        context.make_node(
            "Identity",
            [made.output[1 + place]],
            outputs=[outputs[1 + place]],
            shapes=[shapes[1 + place]],
            dtypes=[dtypes[1 + place]],
        )


def _part(model: onnx.ModelProto) -> None:
    """Keeps ONNX Runtime from fusing a padding with the maximum pooling behind it.

    It takes the zeros of the padding for the pooling's own, which never win, whatever is in the
    map. A number next to zero it leaves alone.
    """
    pooled = {node.input[0] for node in model.graph.node if node.op_type == "MaxPool"}
    constants = {one.name: one for one in model.graph.initializer}
    for node in [n for n in model.graph.node if n.op_type == "Pad" and n.output[0] in pooled]:
        modes = [one.s for one in node.attribute if one.name == "mode"]
        value = node.input[2] if len(node.input) > 2 else ""
        if modes in ([], [b"constant"]) and (
            not value or (value in constants and not onnx.numpy_helper.to_array(constants[value]))
        ):
            name = f"{node.output[0]}_next_to_zero"
            least = np.array(np.finfo(np.float32).tiny)
            model.graph.initializer.append(onnx.numpy_helper.from_array(least, name))
            node.input[:] = [*node.input[:2], name]


def _turned(model: onnx.ModelProto, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the arrays that stand for weights as the graph uses them: transposed before it runs.

    tf2onnx transposes a kernel (h, w, in, out) at run time: it took the weight for an activation.
    """
    turned = dict(arrays)
    for node in [n for n in model.graph.node if n.op_type == "Transpose" and n.input[0] in arrays]:
        order = onnx.helper.get_node_attr_value(node, "perm")
        turned[node.output[0]] = np.ascontiguousarray(arrays[node.input[0]].transpose(order))
        model.graph.node.remove(node)
    return turned


def _attach(model: onnx.ModelProto, arrays: dict[str, np.ndarray]) -> None:
    """Makes the arrays initialisers, in the place of the graph inputs of their names."""
    graph = model.graph
    inputs = [value for value in graph.input if value.name not in arrays]
    del graph.input[:]
    graph.input.extend(inputs)
    used = {name for node in graph.node for name in node.input}
    for name in sorted(used & set(arrays)):
        graph.initializer.append(onnx.numpy_helper.from_array(arrays[name], name))
