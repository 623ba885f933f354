"""Hard attention: where to look is learnt by whether the answer was right.

Source: Mnih et al. 2014, arXiv:1406.6247, equations 3 and 4: the class is learnt by its
cross-entropy, the places by REINFORCE with a baseline that is learnt too, its reward 1 for a right
answer. Differs: the weight of that part is a setting (the paper has 1; 0.01 is what learns small
sets), and the reward is the probability of the right class or whether it is the likeliest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from zoo.tasks.labels.classify import Classify
from zoo.tasks.supervised import divided, run
from zoo.tasks.task import Mean, Seen

if TYPE_CHECKING:
    from zoo.tasks.task import Batch, Networks

MEANS, PLACES, EXPECTED = "auxiliary_means", "auxiliary_places", "auxiliary_expected"


class Glimpses(Classify):
    """The task of a classifier that says where it means to look, looks, and what it expects.

    Attributes:
        reward_weight: Weight of the places' part of the loss.
        spread: Deviation of a place from its mean, as the model draws them.
    """

    kind: Literal["glimpses"] = "glimpses"  # type: ignore[assignment]
    reward_weight: Annotated[float, Field(ge=0)] = 0.01
    spread: Annotated[float, Field(gt=0)] = 0.15

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`: cross-entropy, what the places are worth, and what was expected."""
        from keras import ops

        outputs = run(networks["net"], batch, training=training)
        logits = divided(outputs)[0]
        shown = self.loss_of(batch, logits)
        right = ops.cast(ops.argmax(logits, axis=1) == ops.cast(batch["label"], "int32"), "float32")
        expected = ops.cast(outputs[EXPECTED], "float32")  # (b, glimpses - 1)
        away = ops.cast(outputs[PLACES], "float32") - ops.cast(outputs[MEANS], "float32")
        likelihood = -ops.sum(away**2, axis=-1) / (2 * self.spread**2)
        gained = ops.stop_gradient(right[:, None] - expected)
        loss = shown.values - self.reward_weight * ops.sum(likelihood * gained, axis=1)
        loss += ops.sum((expected - right[:, None]) ** 2, axis=1)
        return Seen(
            Mean(loss, shown.weights),
            {"loss": shown, "expected": Mean(ops.mean(expected, axis=1)),
             **self.measures(batch, logits)},
        )  # fmt: skip
