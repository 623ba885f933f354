"""Hard attention: where to look is learnt by whether the answer was right.

Source: Mnih et al. 2014, arXiv:1406.6247, equations 3 and 4: the class is learnt by its
cross-entropy, the places by REINFORCE with a baseline that is learnt too, its reward 1 for a right
answer. Differs: the weight of that part is a setting (the paper has 1; 0.01 is what learns small
sets).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from zoo.tasks.labels.classify import Classify
from zoo.tasks.supervised import Collected, divided, run
from zoo.tasks.task import Mean, Seen

if TYPE_CHECKING:
    import numpy as np

    from zoo.common.columns import Column
    from zoo.tasks.task import Batch, Networks

LIKELIHOOD, EXPECTED = "auxiliary_likelihood", "auxiliary_expected"
SHOWN = 8  # pictures whose glimpses are drawn
TIMES = 6  # how many times larger they are drawn


class Glimpses(Classify):
    """The task of a classifier that says where it means to look, looks, and what it expects.

    Attributes:
        reward_weight: Weight of the places' part of the loss.
    """

    kind: Literal["glimpses"] = "glimpses"  # type: ignore[assignment]
    reward_weight: Annotated[float, Field(ge=0)] = 0.01

    @model_validator(mode="before")
    @classmethod
    def _without_spread(cls, values: Any) -> Any:
        """Leaves out what recipes of earlier bundles said here too: the model knows it."""
        if isinstance(values, Mapping):
            return {key: value for key, value in values.items() if key != "spread"}
        return values

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`: cross-entropy, what the places are worth, and what was expected."""
        from keras import ops

        outputs = run(networks["net"], batch, training=training)
        logits = divided(outputs)[0]
        shown = self.loss_of(batch, logits)
        right = ops.cast(ops.argmax(logits, axis=1) == ops.cast(batch["label"], "int32"), "float32")
        expected = ops.cast(outputs[EXPECTED], "float32")  # (b, glimpses - 1)
        likelihood = ops.cast(outputs[LIKELIHOOD], "float32")
        gained = ops.stop_gradient(right[:, None] - expected)
        loss = shown.values - self.reward_weight * ops.sum(likelihood * gained, axis=1)
        loss += ops.sum((expected - right[:, None]) ** 2, axis=1)
        return Seen(
            Mean(loss, shown.weights),
            {"loss": shown, "expected": Mean(ops.mean(expected, axis=1)),
             **self.measures(batch, logits)},
        )  # fmt: skip

    def meter(self, columns: Mapping[str, Column]) -> Watched:
        """See `Task.meter`."""
        return Watched(self, columns)

    def pictures(
        self, networks: Networks, meter: Any, columns: Mapping[str, Column]
    ) -> dict[str, Callable[[Path], None]]:
        """See `Task.pictures`: `glimpses`, the path of the looks over the first pictures."""
        from zoo.models.ram import looks

        places_of = looks(networks["net"])
        if places_of is None or not isinstance(meter, Watched):
            return {}
        return {"glimpses": partial(draw, meter.images, places_of)}


class Watched(Collected):
    """A meter that keeps the first pictures too.

    Attributes:
        images: (n, height, width, 1), as the network reads them.
    """

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`."""
        if not self._targets:
            self.images = batch[next(iter(self._columns))][:SHOWN].copy()
        super().add(batch, outputs)


def draw(images: np.ndarray, places_of: Callable[[Any], np.ndarray], path: Path) -> None:
    """Draws pictures, each with a numbered line from look to look.

    Args:
        images: (n, height, width, 1).
        places_of: Tells where it looks, see `zoo.models.ram.looks`.
        path: The PNG to write.
    """
    import numpy as np

    from zoo.tasks import pictures

    last = np.array(images.shape[1:3]) - 1
    drawn = []
    for image, places in zip(images, places_of(images), strict=True):
        points = (places + 1) / 2 * last + 0.5  # pixels, of their middles
        drawn.append(pictures.draw_path(pictures.shown(image), points, times=TIMES))
    half = -(-len(drawn) // 2)
    pictures.grid([drawn[:half], drawn[half:]] if len(drawn) > 1 else [drawn], path)
