"""The adversarial game: a generator makes pictures of noise, a discriminator tells them from real.

Source: Goodfellow et al. 2014, arXiv:1406.2661, algorithm 1, with the generator's loss that does
not saturate (section 3): it maximises log D(G(z)). Two changes of what the discriminator learns,
both off unless asked for:

    smoothing  a real picture is one with a probability of 1 - smoothing (Salimans et al. 2016,
               arXiv:1606.03498: one-sided, of real ones only)
    penalty    gamma / 2 times the squared norm of the gradient of D's logit by a real picture
               (Mescheder et al. 2018, arXiv:1801.04406, R1): D is flat where the real ones are.
               Of one that normalises batches it is the gradient of the batch's summed logits
"""

from __future__ import annotations

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
    from zoo.tasks.task import Batch, Networks


class GAN(Game):
    """The task of a `generator` and a `discriminator`, whose logit says that a picture is real.

    Attributes:
        smoothing: How far from certain the discriminator is to be of real pictures.
        penalty: Gamma, the weight of the penalty.
    """

    opponent: ClassVar[str] = "discriminator"

    kind: Literal["gan"] = "gan"
    smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    penalty: Annotated[float, Field(ge=0)] = 0.0

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`; `real` and `fake` are what the discriminator takes for real, (b,)."""
        from keras import ops

        batch = with_class(networks, batch)

        def logit(pictures: Any) -> Any:
            return self.score(networks, batch, pictures, training=training)

        if self.penalty and self._at_once(networks, batch[seen_of(batch)]) > 1:
            raise ValueError(
                f"task.penalty: got {self.penalty:g} with a discriminator of several pictures at "
                "once; expected 0, or a discriminator of one. Drop it."
            )
        made = self.made(networks, batch, objective, training=training)
        if objective == GENERATOR:
            return Seen(Mean(ops.softplus(-logit(made))))  # -log D(G(z))
        fake, real = logit(made), logit(batch[seen_of(batch)])
        # -(1 - s) log D(x) - s log(1 - D(x)) - log(1 - D(G(z)))
        loss = ops.softplus(-real) + self.smoothing * real + ops.softplus(fake)
        if self.penalty and training:
            slope = norm_of_gradient(logit, batch[seen_of(batch)])
            loss += self.penalty / 2 * ops.square(slope)
        return Seen(Mean(loss), {"real": Mean(ops.sigmoid(real)), "fake": Mean(ops.sigmoid(fake))})
