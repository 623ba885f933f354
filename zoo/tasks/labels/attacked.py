"""Adversarial training: what is learnt are pictures that were changed, within a bound, to mislead.

Sources: Madry et al. 2018, arXiv:1706.06083, equation 2.1 and section 2.1 (PGD from a random
place); one step of it is FGSM (Goodfellow et al. 2014, arXiv:1412.6572, section 6) in the form of
Wong et al. 2020, arXiv:2001.03994, algorithm 3: from a random place, by 1.25 epsilon. Differs:
while a picture is changed the net runs as at inference, so that statistics of batches and dropout
see the changed pictures alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from zoo.common.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

START = "attack_start"  # a column of noise: where a change begins
LONGEST = 1.25  # of a step, in epsilons


class Adversarial(Settings):
    """How pictures are changed before they are learnt. Their values run from 0 to 1.

    Attributes:
        epsilon: The most that a value changes, of a span of 1: 0.1 are 25.5 of 255 levels.
        steps: Steps along the sign of the loss's gradient, each of 2.5 epsilon / steps, and 1.25
            epsilon at most; each costs about as much as a step of training.
        share: Share of the changed pictures in the loss; the rest is of the pictures as they are.
    """

    epsilon: Annotated[float, Field(gt=0, lt=1)]
    steps: Annotated[int, Field(ge=1)] = 1
    share: Annotated[float, Field(gt=0, le=1)] = 1.0

    def changed(self, loss: Callable[[Any], Any], images: Any, start: Any) -> Any:
        """Returns pictures within epsilon of the given ones whose loss is higher.

        Args:
            loss: From pictures to the loss of each, (b,).
            images: In [0, 1], (b, height, width, channels).
            start: Uniform in [0, 1), of their shape.
        """
        import tensorflow as tf
        from keras import ops

        images = ops.cast(images, "float32")
        low = ops.maximum(images - self.epsilon, 0.0)
        high = ops.minimum(images + self.epsilon, 1.0)
        there = ops.clip(images + self.epsilon * (2 * start - 1), low, high)
        rate = min(2.5 / self.steps, LONGEST) * self.epsilon
        for _ in range(self.steps):
            with tf.GradientTape() as tape:
                tape.watch(there)
                total = ops.sum(loss(there))
            there = ops.clip(there + rate * ops.sign(tape.gradient(total, there)), low, high)
        return ops.stop_gradient(there)
