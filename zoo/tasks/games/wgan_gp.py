"""The Wasserstein game: a critic whose gradient is bounded tells how far made pictures are.

Source: Gulrajani et al. 2017, arXiv:1704.00028, algorithm 1: the critic maximises the mean of its
scores of real pictures less that of made ones, while the norm of its gradient by a picture is held
at 1 on lines between real and made ones, by a penalty of 10 times the square of its difference; it
takes five turns for each of the generator's. Each of its turns sees real pictures and noise of its
own, a fifth of the step's batch; that of the generator sees as much noise, and no real picture.
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
from zoo.tasks.task import Mean, Objective, Seen

if TYPE_CHECKING:
    from zoo.data.feeds.source import Draw
    from zoo.tasks.task import Batch, Networks


class WGANGP(Game):
    """The task of a `generator` and a `critic`, which gives a picture's score.

    Attributes:
        turns: Turns of the critic in a step; they, and that of the generator, see one of so many
            parts of the batch.
        penalty: Weight of the penalty.
    """

    opponent: ClassVar[str] = "critic"

    kind: Literal["wgan_gp"] = "wgan_gp"
    turns: Annotated[int, Field(ge=1)] = 5
    penalty: Annotated[float, Field(ge=0)] = 10.0

    def objectives(self) -> tuple[Objective, ...]:
        """See `Task.objectives`."""
        return (
            Objective(self.opponent, (self.opponent,), self.turns, parts=self.turns),
            Objective(GENERATOR, (GENERATOR,), parts=self.turns),
        )

    def draws(self, networks: Networks) -> Mapping[str, Draw]:
        """See `Task.draws`; `between` says where on its line a picture lies."""
        from zoo.data.feeds.source import Draw

        return {**super().draws(networks), "between": Draw("uniform", ())} if networks else {}

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`; `distance` is what the critic finds, `slope` its gradient's norm."""
        from keras import ops

        batch = with_class(networks, batch)
        made = self.made(networks, batch, objective, training=training)
        fake = self.score(networks, batch, made, training=training)
        if objective == GENERATOR:
            return Seen(Mean(-fake))
        seen = batch[seen_of(batch)]
        distance = self.score(networks, batch, seen, training=training) - fake
        share = ops.reshape(batch["between"], (-1, *[1] * (len(seen.shape) - 1)))

        def score(pictures: Any) -> Any:
            return self.score(networks, batch, pictures, training=training)

        slope = norm_of_gradient(score, share * seen + (1 - share) * made)
        loss = self.penalty * ops.square(slope - 1) - distance
        return Seen(Mean(loss), {"distance": Mean(distance), "slope": Mean(slope)})
