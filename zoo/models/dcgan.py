"""DCGAN: a generator and a discriminator of strided convolutions, without pooling.

Source: Radford et al. 2015, arXiv:1511.06434, sections 3 and 4, figure 1: all kernels from N(0,
0.02), batch normalisation but for the generator's output and the discriminator's input, ReLU and a
last tanh in the generator, leaky ReLU of slope 0.2 in the discriminator, which gives a logit here.
Differs: the form of PyTorch's DCGAN example, 4x4 kernels without biases and 64 to 512 channels
(the paper's figure has 1024 to 128).
Of `dcgan` at 64x64x3, with 16 weights in a kernel and 2 for each normalised channel:

    generator      100 * 512 * 16 + 16 (512 * 256 + 256 * 128 + 128 * 64 + 64 * 3) + 2 * 960
    discriminator  16 (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 16 * 512 + 2 * 896

3,576,704 and 2,765,568 parameters. `dcgan_small` doubles twice, from 7x7 to digits of 28x28:
234,176 and 36,544.

A conditional one (Mirza & Osindero 2014, arXiv:1411.1784) is told the class: the generator beside
the noise, the discriminator as a plane of ones for the class, of zeros for each other one, beside
the picture's channels. Of `conditional_gan_small`, 10 classes are 10 more inputs of either first
layer: 265,536 and 41,664. The critic of a Wasserstein GAN (Gulrajani et al. 2017, arXiv:1704.00028)
normalises nothing, for its gradient is bounded example by example, and has biases in its
convolutions: 36,512 in `wgan_gp_small`.

A discriminator that is shown several pictures at once, one behind the other in the channels (Lin et
al. 2018, PacGAN, arXiv:1712.04086), sees how they differ: in `pacgan_small`, a second one makes its
first layer larger by 512 weights.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import layers


def dcgan(
    *,
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int = 1,
    doublings: int = 4,
    width: int = 64,
    latent: int = 100,
    conditional: bool = False,
    critic: bool = False,
    pack: int = 1,
    kernel: int = 4,
) -> dict[str, keras.Model]:
    """Returns the two networks of a GAN.

    `generator`: noise (batch, latent) to an image (batch, height, width, channels) in [-1, 1].
    `discriminator`, or `critic`: such an image to the logit of its being real, or its score (batch,
    1). Conditional ones also read `label`, one-hot (batch, num_classes).

    Args:
        name: Name of the architecture; it opens an error line.
        input_shape: (height, width, channels); sides that `doublings` halvings divide.
        num_classes: Number of classes, of conditional networks.
        doublings: Times that the generator doubles the sides.
        width: Channels of the largest maps; they double with each halving.
        latent: Numbers in the noise.
        conditional: Whether the networks are told the class.
        critic: Whether the generator's opponent is the critic of a Wasserstein GAN.
        pack: Pictures that the discriminator is shown at once, in its channels.
        kernel: Side of the kernels; 4 is a multiple of the stride: every pixel is reached by
            equally many weights; the paper has 5.

    Raises:
        ValueError: The sides cannot be halved so often, or a critic or conditional networks are to
            be shown several pictures at once.
    """
    height, length, channels = input_shape
    times = 2**doublings
    if height % times or length % times:
        near = max(height, times) // times * times
        raise ValueError(
            f"create({name!r}): input_shape got {input_shape}; expected sides that are multiples"
            f" of {times}, for {doublings} doublings. Take data.size={near}."
        )
    if pack < 1 or (pack > 1 and (critic or conditional)):
        raise ValueError(
            f"create({name!r}): pack got {pack}; expected 1 or more, and 1 of a critic and of "
            "conditional networks."
        )
    widths = [width * 2**step for step in range(doublings)]  # of the maps, from the largest on
    first, classes = (height // times, length // times, widths[-1]), num_classes * conditional
    generator = _generator(first, [*widths[-2::-1], channels], latent, classes, kernel)
    other = "critic" if critic else "discriminator"
    shown = (height, length, channels * pack)
    return {"generator": generator, other: _opponent(shown, widths, classes, other, kernel)}


def _generator(
    first: tuple[int, int, int],
    widths: list[int],
    latent: int,
    classes: int,
    kernel: int,
) -> keras.Model:
    """From the first map's shape, by doublings, to the widths given; the last is an image's."""
    given = [keras.Input((latent,), name="noise")]
    x = given[0]
    if classes:
        given.append(keras.Input((classes,), name="label"))
        x = layers.Concatenate(name="noise_and_label")(given)
    units = math.prod(first)
    x = layers.Dense(units, use_bias=False, kernel_initializer=_normal(), name="project")(x)
    x = layers.Reshape(first, name="reshape")(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="project_bn")(x)
    x = layers.ReLU(name="project_relu")(x)
    for step, filters in enumerate(widths, start=1):
        last = step == len(widths)
        x = layers.Conv2DTranspose(
            filters,
            name="image" if last else f"up{step}",
            **_kernel(kernel, "tanh" if last else None),
        )(x)
        if not last:
            x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"up{step}_bn")(x)
            x = layers.ReLU(name=f"up{step}_relu")(x)
    return keras.Model(given if classes else given[0], x, name="generator")


def _opponent(
    input_shape: tuple[int, ...], widths: list[int], classes: int, name: str, kernel: int
) -> keras.Model:
    """A discriminator with batch normalisation, or a critic without."""
    given = [keras.Input(input_shape, name="image")]
    x, critic = given[0], name == "critic"
    if classes:
        given.append(keras.Input((classes,), name="label"))
        height, length, _ = input_shape
        planes = layers.RepeatVector(height * length, name="label_everywhere")(given[1])
        planes = layers.Reshape((height, length, classes), name="label_planes")(planes)
        x = layers.Concatenate(name="image_and_label")([x, planes])
    for step, filters in enumerate(widths, start=1):
        x = layers.Conv2D(
            filters, name=f"down{step}", **_kernel(kernel, None) | {"use_bias": critic}
        )(x)
        if step > 1 and not critic:
            x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"down{step}_bn")(x)
        x = layers.LeakyReLU(0.2, name=f"down{step}_relu")(x)
    x = layers.Flatten(name="flatten")(x)  # PyTorch's last convolution sees all of the map
    logit = layers.Dense(1, use_bias=False, kernel_initializer=_normal(), name="logit")(x)
    return keras.Model(given if classes else given[0], logit, name=name)


def _kernel(kernel: int, activation: str | None) -> dict[str, Any]:
    """What all convolutions share: they halve or double the sides."""
    return {
        "kernel_size": kernel,
        "strides": 2,
        "padding": "same",
        "use_bias": False,
        "kernel_initializer": _normal(),
        "activation": activation,
    }


def _normal() -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=0.02)
