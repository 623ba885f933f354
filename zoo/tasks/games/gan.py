"""The adversarial game: a generator makes pictures of noise, a discriminator tells them from real.

Source: Goodfellow et al. 2014, arXiv:1406.2661, algorithm 1, with the generator's loss that does
not saturate (section 3): it maximises log D(G(z)). Three changes of what the discriminator learns,
all off unless asked for:

    smoothing  a real picture is one with a probability of 1 - smoothing (Salimans et al. 2016,
               arXiv:1606.03498: one-sided, of real ones only)
    shift      every picture, real or made, moves by up to so many whole pixels on its way to the
               discriminator, and the gradient goes back that way (Zhao et al. 2020,
               arXiv:2006.10738, their translation alone), so that few real pictures last longer
    penalty    gamma / 2 times the squared norm of the gradient of D's logit by a real picture
               (Mescheder et al. 2018, arXiv:1801.04406, R1): D is flat where the real ones are
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from zoo.tasks.games.adversarial import (
    GENERATOR,
    Game,
    norm_of_gradient,
    seen_of,
    with_class,
)
from zoo.tasks.task import Mean, Seen

if TYPE_CHECKING:
    from zoo.data.dataset import DataSet
    from zoo.data.source import Draw
    from zoo.tasks.task import Batch, Networks

MOTIONS = ("motion", "motion_fake", "motion_real")  # of the generator's turn, of the other's


class GAN(Game):
    """The task of a `generator` and a `discriminator`, whose logit says that a picture is real.

    Attributes:
        smoothing: How far from certain the discriminator is to be of real pictures.
        shift: Pixels that pictures move by, at most, on their way to the discriminator.
        penalty: Gamma, the weight of the penalty.
    """

    opponent: ClassVar[str] = "discriminator"

    kind: Literal["gan"] = "gan"
    smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    shift: Annotated[int, Field(ge=0)] = 0
    penalty: Annotated[float, Field(ge=0)] = 0.0

    def check(self, data: DataSet) -> None:
        """See `Task.check`."""
        super().check(data)
        column = data.columns[data.input]
        if self.shift and (column.kind != "image" or self.shift >= (column.shape[0] or 0)):
            raise ValueError(
                f"task.shift: got {self.shift} for {data.name}, {column.kind} of shape "
                f"{column.shape}; expected 0, or of pictures fewer pixels than their side."
            )

    def draws(self, networks: Networks) -> Mapping[str, Draw]:
        """See `Task.draws`."""
        from zoo.data.source import Draw

        motions = {name: Draw("uniform", (2,)) for name in MOTIONS if self.shift}
        return {**super().draws(networks), **motions} if networks else {}

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`; `real` and `fake` are what the discriminator takes for real, (b,)."""
        from keras import ops

        batch = with_class(networks, batch)

        def logit(pictures: Any, motion: str) -> Any:
            if training and self.shift:
                pictures = moved(pictures, batch[motion], most=self.shift, ground=self.black)
            return self.score(networks, batch, pictures, training=training)

        made = self.made(networks, batch, objective, training=training)
        if objective == GENERATOR:
            return Seen(Mean(ops.softplus(-logit(made, MOTIONS[0]))))  # -log D(G(z))
        fake, real = logit(made, MOTIONS[1]), logit(batch[seen_of(batch)], MOTIONS[2])
        # -(1 - s) log D(x) - s log(1 - D(x)) - log(1 - D(G(z)))
        loss = ops.softplus(-real) + self.smoothing * real + ops.softplus(fake)
        if self.penalty and training:
            slope = norm_of_gradient(
                lambda pictures: logit(pictures, MOTIONS[2]), batch[seen_of(batch)]
            )
            loss += self.penalty / 2 * ops.square(slope)
        return Seen(Mean(loss), {"real": Mean(ops.sigmoid(real)), "fake": Mean(ops.sigmoid(fake))})


def moved(pictures: Any, motion: Any, *, most: int, ground: float) -> Any:
    """Returns pictures that moved by whole pixels; the gradient goes back the same way.

    Args:
        pictures: (b, height, width, channels).
        motion: In [0, 1), (b, 2): how far down and to the right, from -most to most.
        most: Pixels.
        ground: What comes in at the edge.
    """
    from keras import ops

    steps = ops.floor(motion * (2 * most + 1)) - most  # (b, 2)
    x = pictures - ground
    for axis, formula in ((0, "bij,bjkc->bikc"), (1, "bij,bkjc->bkic")):
        places = ops.arange(x.shape[1 + axis], dtype=steps.dtype)
        # For each picture a matrix: what comes to row i is what was in row i - step.
        source = places[None, :, None] - steps[:, axis, None, None]  # (b, side, 1)
        chosen = ops.cast(source == places[None, None, :], x.dtype)  # (b, side, side)
        x = ops.einsum(formula, chosen, x)
    return x + ground
