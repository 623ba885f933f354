"""A Keras 3 model zoo: define and train models by name.

    import zoo
    model = zoo.create("vgg16", input_shape=(32, 32, 1), num_classes=10)
    bundle = zoo.fit("vgg16", data="mnist5k", out="runs/vgg16")

Importing this package is instant; TensorFlow is imported when something is built.
"""

from __future__ import annotations

from zoo.common import lazy

_EXPORTS = {
    "CATALOG": "zoo.catalog",
    "Architecture": "zoo.catalog",
    "Bundle": "zoo.bundle",
    "Recipe": "zoo.recipe",
    "baseline": "zoo.baselines.run",
    "bench": "zoo.stages.bench",
    "compare": "zoo.stages.understand.compare",
    "compress": "zoo.stages.compress",
    "convolutionalize": "zoo.models.convolutional",
    "create": "zoo.models.build",
    "denoise": "zoo.stages.denoise",
    "dream": "zoo.stages.understand.painting",
    "enhance": "zoo.stages.enhance",
    "ensemble": "zoo.training.ensemble",
    "evaluate": "zoo.stages.evaluate",
    "export": "zoo.stages.export",
    "fit": "zoo.training.fitting",
    "generate": "zoo.stages.generate",
    "invert": "zoo.stages.understand.painting",
    "list_models": "zoo.models.listing",
    "load": "zoo.models.saved:load_model",
    "play": "zoo.stages.play",
    "predict": "zoo.stages.predict",
    "show": "zoo.models.listing",
    "style": "zoo.stages.understand.painting",
    "texture": "zoo.stages.understand.painting",
}

__getattr__, __dir__, __all__ = lazy.attach(__name__, _EXPORTS)
