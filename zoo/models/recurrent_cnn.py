"""A recurrent convolutional network for scene labelling.

Source: Pinheiro & Collobert 2014, Recurrent convolutional neural networks for scene labeling, ICML,
PMLR 32(1):82-90, section 3: one network, with the same weights each time, is given the rescaled
picture and its own last labels. Differs: instances go from coarse to fine, each at twice the side
of the one before; convolutions pad and do not pool, so an instance answers for each of its pixels;
ReLU and normalisation (of each instance's own) in place of tanh.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import KerasTensor, layers, ops

from zoo.models.parts import norm


def recurrent_cnn(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    instances: int = 2,
    filters: Sequence[int] = (25, 50, 50),
    window: int = 5,
) -> keras.Model:
    """Returns a recurrent network: (batch, height, width, channels) to logits of each pixel.

    Args:
        name: Name of the model.
        input_shape: (height, width, channels); sides that are multiples of 2**(instances - 1).
        num_classes: Number of classes of a pixel.
        instances: How often the network is applied.
        filters: Maps of each hidden convolution.
        window: Side of each hidden convolution.

    Returns:
        A model whose output is the last instance's, (batch, height, width, classes); with several
        instances a mapping, in which `auxiliary1` ... are the earlier ones', in the picture's size.

    Raises:
        ValueError: The sides do not fit.
    """
    coarsest = 2 ** (instances - 1)
    if instances < 1 or any(side % coarsest for side in input_shape[:2]):
        raise ValueError(
            f"recurrent_cnn: got {instances} instances for {input_shape[0]}x{input_shape[1]} "
            f"pixels; expected 1 or more, and sides that are multiples of {coarsest}."
        )
    convs = [
        layers.Conv2D(
            maps,
            window,
            padding="same",
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"conv{place}",
        )
        for place, maps in enumerate(filters, start=1)
    ]
    score = layers.Conv2D(num_classes, 1, name="score")
    image = keras.Input(input_shape, name="image")
    labels, outputs = None, []
    for index in range(1, instances + 1):
        times = 2 ** (instances - index)
        x = layers.AveragePooling2D(times, name=f"image{index}")(image) if times > 1 else image
        if labels is None:  # nothing is known yet
            labels = ops.zeros_like(x[..., :1]) * ops.ones((num_classes,))
        else:
            labels = _up(labels, 2, f"labels{index}_up")
        x = layers.Concatenate(name=f"given{index}")([x, labels])
        for place, conv in enumerate(convs, start=1):
            own = f"instance{index}"
            x = norm(conv(x), name=f"{own}_bn{place}", relu=f"{own}_relu{place}")
        scores = score(x)
        labels = layers.Softmax(name=f"labels{index}")(scores)
        outputs.append(_up(scores, times, f"scores{index}_up"))
    heads = [*(f"auxiliary{index}" for index in range(1, instances)), "logits"]
    exact = {
        head: layers.Activation("linear", dtype="float32", name=head)(scores)
        for head, scores in zip(heads, outputs, strict=True)
    }
    return keras.Model(image, exact if instances > 1 else exact["logits"], name=name)


def _up(x: KerasTensor, times: int, name: str) -> KerasTensor:
    if times == 1:
        return x
    return layers.UpSampling2D(times, interpolation="bilinear", name=name)(x)
