"""Hard attention of a captioner: each word looks at one place, which is learnt by REINFORCE.

Source: Xu et al. 2015, Show, attend and tell, arXiv:1502.03044, section 4.1: a place is drawn from
the attention; how well the words went, less a moving average of that, makes the places that were
looked at likelier; the attention's entropy is kept up; and one picture in two is looked at softly
in training, with all places by their weights. Differs: what counts for a look is the mean
log-likelihood of the words from there on, not that of the whole sentence. What is deployed looks at
the likeliest place, with nothing drawn.

The moving average is a network of one weight, `baseline`, whose objective is half the squared
error: a step of SGD at a rate of 0.1 is b = 0.9 b + 0.1 mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from zoo.common.settings import Settings
from zoo.common.tensors import LOOKED, NOISE, SOFT, WEIGHTS
from zoo.tasks.task import Mean, Objective, Seen

if TYPE_CHECKING:
    from zoo.data.feeds.source import Draw
    from zoo.tasks.task import Batch, Networks

BASELINE = "baseline"
SMALLEST = 1e-7  # of a number whose logarithm is taken
PARTS = 4  # of a batch, of which the moving average sees one


class Hard(Settings):
    """How places are learnt.

    Attributes:
        reward: Weight of what the words are worth to the places.
        entropy: Weight of the attention's entropy, in nats.
        soft: Share of the pictures that are looked at softly in training.
        words: Longest sentence, the end among its words.
    """

    reward: Annotated[float, Field(ge=0)] = 1.0
    entropy: Annotated[float, Field(ge=0)] = 0.01
    soft: Annotated[float, Field(ge=0, le=1)] = 0.5
    words: Annotated[int, Field(ge=1)] = 32

    def objectives(self) -> tuple[Objective, ...]:
        """Returns that of the words, and that of the moving average, which sees a part."""
        words = Objective("words", ("encoder", "decoder"))
        return words, Objective(BASELINE, (BASELINE,), parts=PARTS)

    def draws(self, networks: Networks) -> Mapping[str, Draw]:
        """Returns what places, and which pictures, are drawn by."""
        from zoo.data.feeds.source import Draw

        given = {tensor.name: tensor for tensor in networks["decoder"].inputs}
        if NOISE not in given:
            raise ValueError(
                "task.hard: the decoder looks at all places at once; expected one that looks at "
                "one of them, e.g. show_attend_tell_hard_small."
            )
        places = given[NOISE].shape[-1]
        return {NOISE: Draw("uniform", (self.words, places)), SOFT: Draw("uniform", (1,))}

    def drawn(self, batch: Batch, time: int) -> dict[str, Any]:
        """Returns what the decoder reads of it in each step: Gumbel noise, and 1 for a soft look.

        Args:
            batch: Has the columns of `draws`.
            time: Number of steps.
        """
        from keras import ops

        uniform = ops.clip(batch[NOISE][:, :time], SMALLEST, 1 - SMALLEST)
        soft = ops.cast(batch[SOFT] < self.soft, "float32")  # (b, 1)
        return {
            NOISE: -ops.log(-ops.log(uniform)),  # (b, time, places)
            SOFT: ops.repeat(soft[:, None], time, axis=1),  # (b, time, 1)
        }

    def worth(self, nats: Any, real: Any) -> Any:
        """Returns the mean log-likelihood of the words from each one on, (b, time)."""
        from keras import ops

        def later(values: Any) -> Any:
            return ops.flip(ops.cumsum(ops.flip(values, axis=1), axis=1), axis=1)

        return -later(nats * real) / ops.maximum(later(real), 1.0)

    def look(self, networks: Networks, batch: Batch, found: Any, *, nats: Any, real: Any) -> Any:
        """Returns what the looks add to the loss of each word, (b, time), and what is shown.

        Args:
            networks: With the `baseline`.
            batch: Has the columns of `draws`.
            found: What the decoder told in each step.
            nats: Of each true word, (b, time).
            real: 1 for a word, 0 behind the end, (b, time).
        """
        from keras import ops

        shares = ops.cast(found[WEIGHTS], "float32")  # (b, time, places)
        looked = ops.stop_gradient(ops.cast(found[LOOKED], "float32"))
        logs = ops.log(ops.sum(shares * looked, axis=-1) + SMALLEST)
        entropy = -ops.sum(shares * ops.log(shares + SMALLEST), axis=-1)
        hard = ops.cast(batch[SOFT] >= self.soft, "float32")  # (b, 1)
        gained = ops.stop_gradient(self.worth(nats, real) - average(networks, batch))
        added = -self.reward * hard * gained * logs - self.entropy * entropy
        return added, {"entropy": Mean(entropy, real)}

    def follow(self, networks: Networks, batch: Batch, *, nats: Any, real: Any) -> Seen:
        """Returns the loss of the moving average."""
        from keras import ops

        worth = ops.stop_gradient(self.worth(nats, real))
        return Seen(Mean(0.5 * (average(networks, batch) - worth) ** 2, real))


def average(networks: Networks, batch: Batch) -> Any:
    """Returns what the words were worth of late, (b, 1)."""
    from keras import ops

    return networks[BASELINE](ops.ones_like(batch["weight"])[:, None])
