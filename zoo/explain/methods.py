"""What `zoo explain` can do, by name, and what may be said of it; no framework is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from zoo.common.settings import nearest

ALL = "all"


class Method(NamedTuple):
    """One way to look into a classifier.

    Attributes:
        told: What is drawn.
        reads: `picture`: one picture, `data`: a data set, `model`: nothing but the model.
        takes: What else may be said of it, keys of `OPTIONS`.
    """

    told: str
    reads: str = "picture"
    takes: tuple[str, ...] = ("label",)


OPTIONS: Mapping[str, str] = {
    "picture": "a picture", "label": "--class", "layer": "--layer", "unit": "--unit",
    "data": "--data", "examples": "--examples", "epsilon": "--epsilon", "beside": "--beside",
    "seed": "--seed",
}  # fmt: skip
"""What may be said, and how it is called on the command line."""
EXAMPLES = 500  # of a test split, where nothing is said
EPSILON = 8.0  # levels of 255
COMPARED = 1000  # examples that `zoo compare` takes
_DATA = ("data", "examples")
_LAYER = ("layer", *_DATA)
_NETS = (*_DATA, "beside")
MAPS: Mapping[str, Method] = {
    "saliency": Method("how strongly each pixel moves the score"),
    "guided_backprop": Method("the same, through what is positive alone"),
    "deconvnet": Method("what the deconvnet makes of the score"),
    "grad_cam": Method("which places of a layer speak for the class", takes=("label", "layer")),
    "integrated_gradients": Method("what each pixel adds on the way from black"),
    "smooth_grad": Method("the gradient, mean over noisy copies"),
    "occlusion": Method("by how much the score falls where a patch is covered"),
}
_BOUND = ("label", "epsilon")
ATTACKS: Mapping[str, Method] = {
    "fgsm": Method("the picture after one step that fools, and its class then", takes=_BOUND),
    "iterative": Method("... after ten small steps", takes=_BOUND),
    "pgd": Method("... after twenty, from a random place", takes=(*_BOUND, "seed")),
    "deepfool": Method("the least change that fools, step by step to the border"),
    "carlini_wagner": Method("the least change that fools, by descent"),
}
LAYERS: Mapping[str, Method] = {
    "activations": Method("the maps of a layer", takes=("layer",)),
    "filters": Method("the kernels of a convolution", "model", ("layer",)),
    "class_image": Method("a picture that is climbed to, for a class", "model", ("label", "seed")),
    "neuron": Method("... for a unit", "model", ("layer", "unit", "seed")),
    "fooling_image": Method("noise that is taken for a class", "model", ("label", "seed")),
    "maximal_patches": Method(
        "the patches that a unit answers to most strongly", "data", (*_LAYER, "unit")
    ),
    "neighbours": Method(
        "the examples nearest to a picture, or to a few", "data", (*_LAYER, "picture")
    ),
    "pca": Method("the examples along two principal components", "data", _LAYER),
    "tsne": Method("the examples in t-SNE's plane", "data", (*_LAYER, "seed")),
    "umap": Method("the examples in UMAP's plane", "data", (*_LAYER, "seed")),
    "hidden_units": Method("how sparsely and how alike the units answer", "data", _LAYER),
    "robustness": Method("accuracy against the most that a pixel may change", "data", _NETS),
    "transfer": Method(
        "accuracy of each net on what was made to fool another", "data", (*_NETS, "epsilon")
    ),
    "universal": Method(
        "one change that makes most pictures named otherwise", "data", (*_DATA, "epsilon")
    ),
}
METHODS: Mapping[str, Method] = {**MAPS, **ATTACKS, **LAYERS}


def check_said(method: str, said: Mapping[str, Any]) -> None:
    """Refuses what a method does not take, and asks for what it lacks.

    Args:
        method: A key of `METHODS`, or `ALL`.
        said: By the keys of `OPTIONS`; `None` and what is empty was not said.

    Raises:
        ValueError: There is no such method, something is said that it does not take, or there is no
            picture where it reads one.
    """
    if method not in (*METHODS, ALL):
        raise ValueError(f"method {method!r}: unknown. {nearest(method, (*METHODS, ALL))}")
    asked = METHODS.get(method, Method("all maps", takes=("label", "layer")))
    picture = said.get("picture")
    if asked.reads == "picture" and picture is None:
        raise ValueError(f"{method}: got no picture; expected a picture file behind the model.")
    takes = (*asked.takes, *(["picture"] if asked.reads == "picture" else []))
    for name, value in said.items():
        if value in (None, (), []) or name in takes:
            continue
        known = ", ".join(OPTIONS[one] for one in takes if one != "picture")
        raise ValueError(
            f"{OPTIONS[name]}: got {value} for {method}, which does not take it; expected "
            f"{known or 'nothing else'}."
        )
