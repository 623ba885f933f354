"""How pictures are made with a network, and what is usual; nothing is imported for it.

What is said here is what verbs tell of their options, and what functions take where nothing is
said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

if TYPE_CHECKING:
    from zoo.models.perception import Perception

Optimizer = Literal["lbfgs", "adam", "gradient"]
OPTIMIZERS: tuple[str, ...] = get_args(Optimizer)
SIZE = 256  # pixels of the longer side


class Descent(NamedTuple):
    """How a picture is optimised.

    Attributes:
        steps: Steps in each octave, 1 or more.
        optimizer: `lbfgs`; `adam`; or `gradient`, whose step is the gradient over its mean size.
        rate: Length of a step of `adam` and `gradient`, in intensities.
        octaves: Sizes that the picture is optimised in, from small to its own; 1 or more.
        shrink: How many times smaller the next octave is, above 1.
        jitter: By how many pixels the picture is moved at most before each step, and back; not of
            `lbfgs`, which needs the same loss at every step.
        seed: Seed of the jitter.
    """

    steps: int = 100
    optimizer: Optimizer = "lbfgs"
    rate: float = 0.02
    octaves: int = 1
    shrink: float = 2.0
    jitter: int = 0
    seed: int = 0


class Blend(NamedTuple):
    """What a styled picture is judged by.

    Attributes:
        content: Weight of the content's error.
        style: Weight of the Gram matrices' mean error.
        variation: Weight of the total variation.
        style_layers: Those that give maps; none for the usual ones, see `Perception.usual`.
        content_layer: Likewise.
        pooling: `average`, as Gatys et al. have it, takes means where the network takes maxima.
    """

    content: float = 1.0
    style: float = 10.0
    variation: float = 1.0
    style_layers: Sequence[str] = ()
    content_layer: str | None = None
    pooling: Literal["max", "average"] = "average"

    def paths(self, eyes: Perception) -> tuple[tuple[str, ...], str]:
        """Returns the paths of the layers of a network: of the style, and of the content."""
        style, content = tuple(self.style_layers), self.content_layer
        if not style or content is None:
            usual = eyes.usual()
            style, content = style or usual[0], content or usual[1]
        return tuple(map(eyes.find_layer, style)), eyes.find_layer(content)


STYLE, TEXTURE = Descent(steps=100, octaves=2), Descent(steps=100, octaves=3)
DREAM = Descent(steps=10, optimizer="gradient", rate=0.004, octaves=4, shrink=1.4, jitter=32)
INVERT = Descent(steps=200)
ALIKE = Blend(style=1.0, variation=0.0)  # of a texture
