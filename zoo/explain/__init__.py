"""Understanding networks: what a classifier looks at, what its units answer to.

Any Functional or Sequential Keras 3 classifier of pictures, ours or not, with others nested within
it. Functions take the model and what it reads, and return arrays:

    from zoo import explain

    maps = explain.grad_cam(model, inputs)        # (n, h, w)
    explain.layer_names(model)                    # what `layer` may be
"""

from __future__ import annotations

from zoo.common import lazy

_EXPORTS = {
    "Classifier": "zoo.explain.classifier",
    "deconvnet": "zoo.explain.gradients",
    "grad_cam": "zoo.explain.maps",
    "guided_backprop": "zoo.explain.gradients",
    "integrated_gradients": "zoo.explain.gradients",
    "last_map": "zoo.explain.classifier",
    "layer_names": "zoo.explain.classifier",
    "occlusion": "zoo.explain.maps",
    "saliency": "zoo.explain.gradients",
    "smooth_grad": "zoo.explain.gradients",
}

__getattr__, __dir__, __all__ = lazy.attach(__name__, _EXPORTS)
