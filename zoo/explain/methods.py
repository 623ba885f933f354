"""What `zoo explain` can do, by name; plain text, for which nothing is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

ALL = "all"


class Method(NamedTuple):
    """One way to look into a classifier.

    Attributes:
        told: What is drawn.
        reads: `picture`: one picture, `data`: a data set, `model`: nothing but the model.
        layer: Whether a layer is chosen.
        unit: Whether a unit of it is.
    """

    told: str
    reads: str = "picture"
    layer: bool = False
    unit: bool = False


MAPS: Mapping[str, Method] = {
    "saliency": Method("how strongly each pixel moves the score"),
    "guided_backprop": Method("the same, through what is positive alone"),
    "deconvnet": Method("what the deconvnet makes of the score"),
    "grad_cam": Method("which places of a layer speak for the class", layer=True),
    "integrated_gradients": Method("what each pixel adds on the way from black"),
    "smooth_grad": Method("the gradient, mean over noisy copies"),
    "occlusion": Method("by how much the score falls where a patch is covered"),
}
ATTACKS: Mapping[str, Method] = {
    "fgsm": Method("the picture after one step that fools, and what it is taken for"),
    "iterative": Method("... after ten small steps"),
    "pgd": Method("... after twenty, from a random place"),
    "deepfool": Method("the least change that fools, step by step to the border"),
    "carlini_wagner": Method("the least change that fools, by descent"),
}
LAYERS: Mapping[str, Method] = {
    "activations": Method("the maps of a layer", layer=True),
    "filters": Method("the kernels of a convolution", "model", layer=True),
    "class_image": Method("a picture that is climbed to, for a class", "model"),
    "neuron": Method("... for a unit", "model", layer=True, unit=True),
    "fooling_image": Method("noise that is taken for a class", "model"),
    "maximal_patches": Method(
        "the patches that a unit answers to most strongly", "data", layer=True, unit=True
    ),
    "neighbours": Method("the examples nearest to a picture, or to a few", "data", layer=True),
    "pca": Method("the examples along two principal components", "data", layer=True),
    "tsne": Method("the examples in t-SNE's plane", "data", layer=True),
    "umap": Method("the examples in UMAP's plane", "data", layer=True),
    "hidden_units": Method("how sparsely and how alike the units answer", "data", layer=True),
    "robustness": Method("accuracy against the most that a pixel may change", "data"),
    "transfer": Method("accuracy of each net on what was made to fool another", "data"),
    "universal": Method("one change that makes most pictures named otherwise", "data"),
}
METHODS: Mapping[str, Method] = {**MAPS, **ATTACKS, **LAYERS}
