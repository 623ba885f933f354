"""A Keras 3 model in, a verified deployable directory out.

    import export
    export.export(model, "onnx", "exported/lenet")  # writes, runs the file, compares; or raises

Importing this package loads neither TensorFlow nor NumPy; a name is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.common import lazy

if TYPE_CHECKING:
    from export.deploy import Deployable, export
    from export.manifest import Manifest
    from export.parity import ParityError
    from export.source import functional
    from export.target import About, Labelled, Target, Tolerance
    from export.targets import TARGETS, target_names
    from zoo.common.preprocessing import Preprocessing

__all__ = [
    "TARGETS",
    "About",
    "Deployable",
    "Labelled",
    "Manifest",
    "ParityError",
    "Preprocessing",
    "Target",
    "Tolerance",
    "export",
    "functional",
    "target_names",
]

_HOMES = {
    "About": "export.target",
    "Deployable": "export.deploy",
    "Labelled": "export.target",
    "Manifest": "export.manifest",
    "ParityError": "export.parity",
    "Preprocessing": "zoo.common.preprocessing",
    "TARGETS": "export.targets",
    "Target": "export.target",
    "Tolerance": "export.target",
    "export": "export.deploy",
    "functional": "export.source",
    "target_names": "export.targets",
}

__getattr__, __dir__, _ = lazy.attach(__name__, _HOMES)
