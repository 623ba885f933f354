"""The output of LeNet-5: how near the units of F6 are to a code of each class.

Source: LeCun, Bottou, Bengio & Haffner 1998, Proc. IEEE 86(11), section II-B, equation 7, fig. 3;
section II-C, equation 9. Differs: the output is minus the paper's, so that the nearest class has
the largest one. The softmax cross-entropy of these logits lacks the paper's constant j, a class of
rubbish; the layer adds what is missing. The digits are drawn by us on the paper's grid of 7x12:
single bits of the figure cannot be read off with certainty, so ours differ from its shapes.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, layers, ops

from zoo.layers import checks

WIDTH, HEIGHT = 7, 12
FEATURES = WIDTH * HEIGHT


@keras.saving.register_keras_serializable(package="zoo")
class RBFOutput(layers.Layer):
    """Minus the squared distance to a fixed code of -1 and +1 for each class.

    Shapes: (batch, ..., features) to (batch, ..., units). There are no weights; equation 7's are
    the codes.

    Args:
        units: Number of classes, at least 1.
        codes: `digits` draws 0 to 9 on 7x12 places, for 10 classes and 84 features; `random` is a
            frozen stream of signs, equal on every machine, as the paper suggests for classes that
            have no picture.
        rubbish: The paper's j, above 0: the distance of a class to which no example belongs. In
            training the layer then adds the mean of softplus(-j - logsumexp(output)) to the
            model's losses; with the cross-entropy that makes equation 9. Without it small outputs
            of F6 are enough, and the units stay where tanh is a straight line. `None` adds nothing.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: `units` is below 1, `codes` is unknown, `rubbish` is not above 0, or `digits` do
            not fit the shape.
    """

    def __init__(
        self, units: int, *, codes: str = "random", rubbish: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if codes not in ("digits", "random"):
            raise ValueError(f"RBFOutput: codes got {codes!r}; expected 'digits' or 'random'.")
        if codes == "digits" and units != 10:
            raise ValueError(
                f"RBFOutput: units got {units} with codes 'digits'; expected 10. Use 'random'."
            )
        self.units = checks.whole(units, "RBFOutput: units")
        if rubbish is not None and not 0 < rubbish < math.inf:
            raise ValueError(f"RBFOutput: rubbish got {rubbish!r}; expected a number above 0.")
        self.codes = codes
        self.rubbish = rubbish
        self.activation = keras.activations.linear  # as a dense layer says that it gives logits

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Looks the codes up."""
        features = self._features(input_shape)
        self._codes = digit_codes() if self.codes == "digits" else signs(self.units, features)

    def call(self, inputs: KerasTensor, training: bool = False) -> KerasTensor:
        """Maps (batch, ..., features) to (batch, ..., units)."""
        codes = ops.cast(self._codes, inputs.dtype)  # (units, features)
        outputs = -ops.sum(ops.square(inputs[..., None, :] - codes), axis=-1)
        if training and self.rubbish is not None:
            excess = -self.rubbish - ops.logsumexp(outputs, axis=-1)  # (batch, ...)
            self.add_loss(ops.mean(ops.softplus(excess)))
        return outputs

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """(batch, ..., units)."""
        self._features(input_shape)
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {
            **super().get_config(),
            "units": self.units,
            "codes": self.codes,
            "rubbish": self.rubbish,
        }

    def _features(self, shape: tuple[int | None, ...]) -> int:
        features = shape[-1]
        if len(shape) < 2 or features is None:
            raise ValueError(
                f"RBFOutput: got the shape {tuple(shape)}; expected (batch, ..., features)."
            )
        if self.codes == "digits" and features != FEATURES:
            raise ValueError(
                f"RBFOutput: got {features} features; codes 'digits' have {FEATURES}. Use 'random'."
            )
        return features


def signs(units: int, features: int) -> np.ndarray:
    """Returns frozen random signs, (units, features); never two equal rows where that is possible.

    Two codes differ in about half of their places.
    """
    random = np.random.RandomState(units)
    codes = random.choice([-1.0, 1.0], size=(units, features))
    while units <= 2**features and len(np.unique(codes, axis=0)) < units:
        codes = random.choice([-1.0, 1.0], size=(units, features))
    return codes


def digit_codes() -> np.ndarray:
    """Returns the digits as codes, (10, 84): +1 for ink, row by row."""
    lines = [line.split() for line in _DIGITS.strip().splitlines()]  # 5 digits beside each other
    blocks = lines[:HEIGHT], lines[HEIGHT:]
    bitmaps = ["".join(line[i] for line in block) for block in blocks for i in range(5)]
    return np.array([[1.0 if bit == "#" else -1.0 for bit in bitmap] for bitmap in bitmaps])


_DIGITS = """
.......  .......  .......  .......  .......
..###..  ...#...  .#####.  .#####.  ....##.
.##.##.  ..##...  ##...##  ##...##  ...###.
##...##  .###...  .....##  .....##  ..####.
##...##  ...#...  .....##  .....##  .##.##.
##...##  ...#...  ....##.  ..####.  ##..##.
##...##  ...#...  ...##..  .....##  #######
##...##  ...#...  ..##...  .....##  ....##.
##...##  ...#...  .##....  .....##  ....##.
.##.##.  ...#...  ##.....  ##...##  ....##.
..###..  .#####.  #######  .#####.  ....##.
.......  .......  .......  .......  .......
.......  .......  .......  .......  .......
#######  ..####.  #######  .#####.  .#####.
##.....  .##....  ##...##  ##...##  ##...##
##.....  ##.....  .....##  ##...##  ##...##
##.....  ##.....  ....##.  .##.##.  ##...##
######.  ##.###.  ....##.  ..###..  .######
.....##  ###..##  ...##..  .##.##.  .....##
.....##  ##...##  ...##..  ##...##  .....##
.....##  ##...##  ..##...  ##...##  .....##
##...##  .##..##  ..##...  ##...##  ....##.
.#####.  ..####.  ..##...  .#####.  .####..
.......  .......  .......  .......  .......
"""
