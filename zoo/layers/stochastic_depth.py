"""Stochastic depth: training leaves out a residual branch at random; inference scales it.

Source: Huang, Sun, Liu, Sedra & Weinberger 2016, Deep networks with stochastic depth,
arXiv:1603.09382, equations 2 and 5. As in the paper, a branch that is kept is left unscaled, and
inference multiplies it by the probability that it is kept. Others (torchvision, timm) divide by it
in training instead. Differs: a dropped branch is computed and then multiplied by 0.
"""

from __future__ import annotations

import sys
from typing import Any

import keras
from keras import KerasTensor, layers, ops

MODES = ("batch", "row")

# Keras walks a graph by recursion, one frame a layer, wherever it builds, clones or loads a model
# (`_build_map_helper` in keras/src/ops/function.py). Python's limit of 1,000 frames ends at about
# 120 blocks; ResNet-1202 has 600, in 4,800 layers.
sys.setrecursionlimit(max(sys.getrecursionlimit(), 10_000))


@keras.saving.register_keras_serializable(package="zoo")
class StochasticDepth(layers.Layer):
    """Multiplies by a draw of 0 or 1 in training, and by the expectation at inference.

    Shapes: any (batch, ...) to the same. Under `tf.distribute`'s mirrored strategy all replicas
    draw the same numbers. In the mode `batch` that is the paper's: the whole global batch skips the
    same branches. In the mode `row` the first image of each replica shares its draw, and so on.

    Args:
        survival: Probability that the branch is kept, in (0, 1].
        mode: `batch` draws once for all images of a step, as in the paper; `row` for each image.
        seed: Seed of the draws; `None` takes one from the global generator.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: `survival` is not in (0, 1], or `mode` is unknown.
    """

    def __init__(
        self, survival: float, *, mode: str = "batch", seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if not 0 < survival <= 1:
            raise ValueError(
                f"StochasticDepth: survival got {survival}; expected a number in (0, 1]. "
                "At 0, leave the branch out of the graph."
            )
        if mode not in MODES:
            raise ValueError(f"StochasticDepth: mode got {mode!r}; expected one of {MODES}.")
        self.survival = survival
        self.mode = mode
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.supports_masking = True

    def call(self, inputs: KerasTensor, training: bool = False) -> KerasTensor:
        """Returns the branch (batch, ...): kept or dropped in training, scaled at inference."""
        if self.survival == 1:
            return inputs
        if not training:
            return inputs * ops.cast(self.survival, inputs.dtype)
        shape = (1,) * len(inputs.shape)
        if self.mode == "row":
            shape = (ops.shape(inputs)[0], *shape[1:])
        # In float32: bfloat16 has 256 numbers between 0.5 and 1.
        draw = keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)
        return inputs * ops.cast(draw < self.survival, inputs.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {
            **super().get_config(),
            "survival": self.survival,
            "mode": self.mode,
            "seed": self.seed,
        }
