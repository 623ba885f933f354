"""A sum-product network over the pixels of a picture: a deep distribution with exact answers.

Source: Poon & Domingos 2011, Sum-product networks: a new deep architecture, UAI, arXiv:1202.3732:
sums and products take turns from small rectangles to the whole picture. Differs: where the paper
has all ways of halving a rectangle, there are `views`, each of which halves in one way only and
which the root mixes; nodes of two regions are joined one by one, not all pairs of them.
Of `spn`, 28x28 pixels in squares of 2x2 that fill a grid of 16x16, 2 views of 16 nodes:

    leaves   2 * 256 * 4 * 16 = 32,768
    sums     2 (256 + 128 + ... + 2) 16 * 16 = 261,120
    root     2 * 16 = 32

293,920 parameters.
"""

from __future__ import annotations

import keras
from keras import layers

from zoo.layers import PixelRegions, ProductNodes, SumNodes


def spn(
    *,
    name: str,
    input_shape: tuple[int, ...],
    units: int = 16,
    block: int = 2,
    views: int = 2,
) -> keras.Model:
    """Returns the network: binary pixels to the logarithm of their probability, in nats.

    `image` (batch, height, width, channels), 0, 1, or negative where a pixel is not known, to
    `log_probability` (batch, 1), that of the known pixels.

    Args:
        name: Name of the model.
        input_shape: (height, width, channels).
        units: Nodes of each region.
        block: Side of the smallest squares, within which a node's pixels are independent.
        views: Ways of halving the picture.
    """
    image = keras.Input(input_shape, name="image")
    x = PixelRegions(units, block=block, views=views, name="pixels")(image)
    while x.shape[1] > views:
        regions = x.shape[1] // views
        x = SumNodes(units, name=f"sum{regions}")(x)
        x = ProductNodes(name=f"product{regions // 2}")(x)
    x = SumNodes(1, whole=True, name="root")(x)  # (batch, 1, 1)
    return keras.Model(image, layers.Flatten(name="log_probability")(x), name=name)
