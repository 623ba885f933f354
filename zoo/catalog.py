"""The whole zoo on one page: one row for each variant that `zoo.create` builds.

Parameter counts come from the papers or torchvision, or are counted by hand; the tests recount
them. Nothing here imports Keras: the page answers questions about text.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple


class Architecture(NamedTuple):
    """One variant of an architecture, and the facts of its paper.

    Attributes:
        name: What users type.
        title: What people call it.
        parameters: Trainable parameters at `input_shape` and `num_classes`.
        settings: The builder's keyword arguments that make this variant.
        builder: The function that builds it, `module:function`.
        task: The kind of learning, a module of `zoo.tasks`.
        paper: Short citation, with the arXiv number or the journal.
        year: When the paper appeared.
        input_shape: The paper's input, (height, width, channels).
        num_classes: The paper's number of classes.
        smallest: The smallest height and width that work, in pixels.
        recipe: The training recipe, a file of `zoo/recipes` without its ending.
    """

    name: str
    title: str
    parameters: int
    settings: dict[str, Any]
    builder: str
    task: str
    paper: str
    year: int
    input_shape: tuple[int, int, int]
    num_classes: int
    smallest: int
    recipe: str


def find(name: str) -> Architecture:
    """Returns the row called `name`.

    Raises:
        ValueError: There is no such row; the line suggests one.
    """
    if name in CATALOG:
        return CATALOG[name]

    from zoo.settings import nearest

    # Two swapped characters are a likelier slip than a wrong one.
    swapped = [known for known in CATALOG if sorted(known) == sorted(name)]
    raise ValueError(f"unknown model {name!r}. {nearest(name, swapped or CATALOG)}")


# What a family shares is said once; its rows say what makes each one different.
_linear = partial(
    Architecture,
    builder="zoo.models.linear:linear",
    task="classify",
    paper="LeCun et al., Proc. IEEE 86(11)",
    year=1998,
    input_shape=(28, 28, 1),
    num_classes=10,
    smallest=1,
    recipe="linear",
)
_mlp = partial(
    Architecture,
    builder="zoo.models.mlp:mlp",
    task="classify",
    paper="Rumelhart et al., Nature 323",
    year=1986,
    input_shape=(28, 28, 1),
    num_classes=10,
    smallest=1,
    recipe="mlp",
)
_mlp_bn = partial(_mlp, paper="Ioffe & Szegedy, arXiv:1502.03167", year=2015)
_lenet300 = partial(_mlp, paper="LeCun et al., Proc. IEEE 86(11)", year=1998)
_lenet5 = partial(
    _lenet300,
    builder="zoo.models.lenet:lenet5",
    input_shape=(32, 32, 1),
    smallest=16,
    recipe="lenet",
)
_alexnet = partial(
    Architecture,
    builder="zoo.models.alexnet:alexnet",
    task="classify",
    paper="Krizhevsky et al., NIPS 25",
    year=2012,
    input_shape=(227, 227, 3),
    num_classes=1000,
    smallest=67,
    recipe="alexnet",
)
_vgg = partial(
    Architecture,
    builder="zoo.models.vgg:vgg",
    task="classify",
    paper="Simonyan & Zisserman, arXiv:1409.1556",
    year=2014,
    input_shape=(224, 224, 3),
    num_classes=1000,
    smallest=32,
    recipe="vgg",
)

_A, _B, _D, _E = (1, 1, 2, 2, 2), (2, 2, 2, 2, 2), (2, 2, 3, 3, 3), (2, 2, 4, 4, 4)

ROWS = (
    _linear("linear", "Linear classifier", 7_850, {}),
    _mlp("mlp", "MLP 512-512", 669_706, {"units": (512, 512)}),
    _mlp_bn("mlp_bn", "MLP 512-512 + BN", 671_754, {"units": (512, 512), "batch_norm": True}),
    _mlp("mlp256", "MLP 256-256", 269_322, {"units": (256, 256)}),
    _mlp_bn("mlp256_bn", "MLP 256-256 + BN", 270_346, {"units": (256, 256), "batch_norm": True}),
    _lenet300("lenet300", "LeNet-300-100", 266_610, {"units": (300, 100)}),
    _lenet5("lenet5", "LeNet-5", 61_706, {}),
    _alexnet("alexnet", "AlexNet, two towers", 60_965_224, {}),
    _vgg("vgg11", "VGG-11 (A)", 132_863_336, {"convs": _A}),
    _vgg("vgg11_bn", "VGG-11 (A) + BN", 132_868_840, {"convs": _A, "batch_norm": True}),
    _vgg("vgg13", "VGG-13 (B)", 133_047_848, {"convs": _B}),
    _vgg("vgg13_bn", "VGG-13 (B) + BN", 133_053_736, {"convs": _B, "batch_norm": True}),
    _vgg("vgg16", "VGG-16 (D)", 138_357_544, {"convs": _D}),
    _vgg("vgg16_bn", "VGG-16 (D) + BN", 138_365_992, {"convs": _D, "batch_norm": True}),
    _vgg("vgg19", "VGG-19 (E)", 143_667_240, {"convs": _E}),
    _vgg("vgg19_bn", "VGG-19 (E) + BN", 143_678_248, {"convs": _E, "batch_norm": True}),
)

CATALOG: dict[str, Architecture] = {row.name: row for row in ROWS}
