"""A classifier of the catalogue without its head, for networks that answer for places of a picture.

Sources: Long et al. 2015, arXiv:1411.4038, section 4.1 (classifiers become nets for pixels); Ren et
al. 2015, arXiv:1506.01497, section 3 (and for boxes). The layers keep their names, so that what a
row has learnt finds its place. Of each stride the last stage's maps are read; of VGG those before
its poolings, and the last pooling's.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import keras
from keras import KerasTensor

from compress.graph import leaf_layers
from zoo.catalog import find_architecture
from zoo.models.vgg import stages

LOG = logging.getLogger("zoo")
VGG = "zoo.models.vgg:vgg"
BUILDERS = (
    VGG,
    "zoo.models.resnet:resnet",
    "zoo.models.resnet_v2:resnet_v2",
    "zoo.models.resnet_cifar:resnet_cifar",
    "zoo.models.mobilenet_v2:mobilenet_v2",
    "zoo.models.efficientnet_lite:efficientnet_lite",
)
LAYER = re.compile(r"(stem|stage\d+|final)_.*")  # what the layers of a trunk are called
DENSE = ("fc6", "fc7")  # VGG's, which become convolutions


def trunk_maps(
    name: str, input_shape: tuple[int, ...], settings: Mapping[str, Any] | None = None
) -> tuple[KerasTensor, dict[int, KerasTensor]]:
    """Returns a picture and the maps that a classifier makes of it, by their stride.

    Args:
        name: A row of the catalogue, e.g. `mobilenet_v2`.
        input_shape: (height, width, channels).
        settings: Of the row's builder, e.g. `{"width": 0.5}`; they go before the row's.

    Raises:
        ValueError: There is no such row, it is no trunk, or a setting is unknown.
    """
    row, settings = find_architecture(name), dict(settings or {})
    if row.builder not in BUILDERS:
        families = ", ".join(builder.partition(":")[2] for builder in BUILDERS)
        raise ValueError(f"trunk: got {name!r}; expected a row of {families}.")
    if is_vgg(name):
        chosen = {**row.settings, **settings}
        image = keras.Input(input_shape, name="image")
        kept = {key: chosen[key] for key in ("convs", "batch_norm") if key in chosen}
        net = keras.Model(image, stages(image, **kept))
    else:
        module, function = row.builder.split(":")
        build = getattr(import_module(module), function)
        chosen = {**row.settings, **settings}
        net = build(name="trunk", input_shape=input_shape, num_classes=1, **chosen)
    lasts: dict[str, KerasTensor] = {}
    for layer in net.layers:
        if stage := re.match(r"stage\d+_|final_", layer.name):
            pools = is_vgg(name) and layer.name.endswith("_pool")
            lasts["pool" if pools else stage[0]] = layer.output
    found: dict[int, KerasTensor] = {}
    for maps in lasts.values():
        stride = 1
        while input_shape[0] // stride > maps.shape[1]:  # whichever way a half is rounded
            stride *= 2
        found[stride] = maps
    return net.inputs[0], found


def is_vgg(name: str) -> bool:
    """Returns whether a row of the catalogue is a VGG net."""
    return find_architecture(name).builder == VGG


def fill_trunk(model: keras.Model, source: keras.Model, named: str) -> None:
    """Sets the weights of a trunk to those of a trained classifier.

    VGG's dense layers are set too where the network has them as convolutions of as many weights;
    the log says which layers are set.

    Args:
        model: Built on the classifier's row.
        source: The trained classifier.
        named: What the weights are called, for what is refused.

    Raises:
        ValueError: They do not fit.
    """
    mine, theirs = ({x.name: x for _, x in leaf_layers(n) if x.weights} for n in (model, source))
    plan = []
    for name, layer in mine.items():
        dense = name in DENSE and name in theirs
        if not dense and not LAYER.fullmatch(name):
            continue
        if name not in theirs:
            raise ValueError(f"{named}: has no layer {name!r}; expected the trunk's own weights.")
        values = theirs[name].get_weights()
        wanted = [tuple(weight.shape) for weight in layer.weights]
        if dense and values[0].size == math.prod(wanted[0]):  # (h * w * in, out)
            values[0] = values[0].reshape(wanted[0])
        if [value.shape for value in values] == wanted:
            plan.append((layer, values))
        elif not dense:
            raise ValueError(
                f"{named}: {name!r} has trained weights {[value.shape for value in values]}; "
                f"expected {wanted}. Build the trunk with the settings of their training."
            )
    LOG.info("%s: set %d layers, %s the last", named, len(plan), plan[-1][0].name)
    for layer, values in plan:
        layer.set_weights(values)
