"""A picture is answered alike alone and among seven others, by what every dense task deploys."""

from importlib import import_module

import keras
import numpy as np
import pytest

from tests.golden.vector import nets
from zoo.catalog import CATALOG, TASKS

NAMES = {
    "detect": ("faster_rcnn_small", "fast_rcnn_small", "mask_rcnn_small"),
    "segment": ("unet_small", "fcn8s_small", "segnet_small", "recurrent_cnn2"),
    "caption": ("show_and_tell_small", "show_attend_tell_small"),
    "pose": ("deeppose_small3", "heat_maps"),
    "ellipse": ("ellipse_net",),
    "localise": ("locator",),
    "dense_caption": ("densecap_small",),
}
CASES = [(task, name) for task, names in NAMES.items() for name in names]


def given(model, num):
    """What a model reads, each example another."""
    random, found = np.random.RandomState(3), {}
    for tensor in model.inputs:
        shape = (num, *tensor.shape[1:])
        if tensor.dtype == "int32":
            found[tensor.name] = random.randint(3, 9, shape).astype("int32")
        elif tensor.name == "regions":
            side = model.inputs[0].shape[1]
            ends = np.sort(random.uniform(0, side, (*shape[:2], 2, 2)), axis=2)
            found[tensor.name] = ends.reshape(shape).astype("float32")
        else:
            found[tensor.name] = random.uniform(-1, 1, shape).astype("float32")
    return found


def answers(model, values):
    """Its outputs by name, as arrays."""
    arrays = [values[tensor.name] for tensor in model.inputs]
    packed = keras.tree.pack_sequence_as(model._inputs_struct, arrays)
    outputs = model(packed, training=False)
    outputs = outputs if isinstance(outputs, dict) else {"answer": outputs}
    return {name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()}


@pytest.mark.parametrize(("task", "name"), CASES)
def test_a_picture_is_answered_alike_in_every_batch(task, name):
    row = CATALOG[name]
    assert row.task == task
    module, kind = TASKS[task].split(":")
    model = getattr(import_module(module), kind)().deployed(nets(row))
    values = given(model, 8)
    whole = answers(model, values)
    for index in range(8):
        alone = answers(model, {key: x[index : index + 1] for key, x in values.items()})
        for key, expected in whole.items():
            atol = 1e-5 * max(1, float(np.abs(expected).max()))
            np.testing.assert_allclose(alone[key][0], expected[index], atol=atol, err_msg=key)
    if task == "detect":  # there is something to compare, of several classes
        assert (whole["scores"] > 0).sum() > 8 and len(np.unique(whole["classes"])) > 1
    for key, expected in whole.items():
        assert key == "classes" or np.ptp(expected, axis=0).max() > 1e-3, key


def test_no_dense_task_is_left_out():
    dense = {row.task for row in CATALOG.values()} & {
        "detect", "segment", "caption", "pose", "ellipse", "localise", "dense_caption"
    }  # fmt: skip
    assert dense == set(NAMES)
