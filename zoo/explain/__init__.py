"""Understanding networks: what a classifier looks at, what its units answer to; pictures made so.

Any Functional or Sequential Keras 3 classifier of pictures, ours or not, with others nested within
it. Functions take the model and what it reads, and return arrays:

    from zoo import explain

    maps = explain.grad_cam(model, inputs)        # (n, h, w)
    explain.layer_names(model)                    # what `layer` may be
"""

from __future__ import annotations

from zoo.common import lazy

_EXPORTS = {
    "Ascent": "zoo.explain.ascent",
    "Blend": "zoo.explain.pictures.ways",
    "Classifier": "zoo.explain.classifier",
    "Descent": "zoo.explain.pictures.ways",
    "accuracy": "zoo.explain.robust",
    "activations": "zoo.explain.units",
    "carlini_wagner": "zoo.explain.minimal",
    "Side": "zoo.explain.differences",
    "class_image": "zoo.explain.ascent",
    "class_images": "zoo.explain.ascent",
    "compare": "zoo.explain.differences",
    "deconvnet": "zoo.explain.gradients",
    "deepfool": "zoo.explain.minimal",
    "dream": "zoo.explain.pictures.dreams",
    "features": "zoo.explain.units",
    "fgsm": "zoo.explain.attacks",
    "filters": "zoo.explain.units",
    "fooling_images": "zoo.explain.attacks",
    "grad_cam": "zoo.explain.maps",
    "guided_backprop": "zoo.explain.gradients",
    "hidden_units": "zoo.explain.units",
    "integrated_gradients": "zoo.explain.gradients",
    "invert": "zoo.explain.pictures.inversion",
    "iterative": "zoo.explain.attacks",
    "last_map": "zoo.explain.classifier",
    "layer_names": "zoo.explain.classifier",
    "maximal_patches": "zoo.explain.units",
    "neighbours": "zoo.explain.spaces",
    "neuron": "zoo.explain.ascent",
    "neurons": "zoo.explain.ascent",
    "occlusion": "zoo.explain.maps",
    "pca": "zoo.explain.spaces",
    "pgd": "zoo.explain.attacks",
    "receptive_field": "zoo.explain.fields",
    "robustness": "zoo.explain.robust",
    "saliency": "zoo.explain.gradients",
    "smooth_grad": "zoo.explain.gradients",
    "style": "zoo.explain.pictures.styles",
    "texture": "zoo.explain.pictures.styles",
    "transfer": "zoo.explain.robust",
    "tsne": "zoo.explain.spaces",
    "umap": "zoo.explain.spaces",
    "universal_perturbation": "zoo.explain.attacks",
}

__getattr__, __dir__, __all__ = lazy.attach(__name__, _EXPORTS)
