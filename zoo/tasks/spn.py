"""A sum-product network learns the probability of binary pictures, and completes them exactly.

Source: Poon & Domingos 2011, UAI, arXiv:1202.3732. What is minimised is the mean of -log p(x), by
its gradient. One pass up gives the probability of what is known, whichever pixels these are; one
pass down gives the probability that each other pixel is 1, or draws all of them from what they are
given the known ones.

Figures are in nats per image. How a grey image becomes binary decides them:

    dynamic  each pixel is 1 with the probability of its intensity, drawn anew in each step of the
             training, and once for all for validation and test, as `zoo.tasks.latent.vae` does
    half     a pixel is 1 where its intensity is at least a half
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from zoo.common.settings import shown
from zoo.tasks.task import Evaluation, Mean, Metric, Seen
from zoo.tasks.unsupervised import Unsupervised

if TYPE_CHECKING:
    import keras
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.data.feeds.source import Draw
    from zoo.tasks.task import Batch, Networks

HALVES = ("lower", "upper", "left", "right")
COMPLETED = 32  # pictures of a batch that are completed, in an evaluation
UNKNOWN = -1.0  # a pixel that is not known


class SumProduct(Unsupervised):
    """The task of a network of `zoo.models.spn`, which is deployed as it is.

    Attributes:
        binarization: How intensities become pixels of 0 and 1, see above.
    """

    headline: ClassVar[Metric] = Metric("log_likelihood")
    filmed: ClassVar[bool] = True

    kind: Literal["sum_product"] = "sum_product"
    binarization: Literal["dynamic", "half"] = "dynamic"

    def draws(self, networks: Networks) -> Mapping[str, Draw]:
        """See `Task.draws`: `threshold` of each pixel."""
        from zoo.data.feeds.source import Draw

        if not networks or self.binarization == "half":
            return {}
        return {"threshold": Draw("uniform", _net(networks).input.shape[1:])}

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`: `log_likelihood` (b,), in nats."""
        found = _net(networks)(self._pixels(batch), training=training)[:, 0]
        return Seen(Mean(-found), {"log_likelihood": Mean(found)})

    def answer(self, networks: Networks, batch: Batch) -> dict[str, Any]:
        """See `Task.answer`: log-probabilities (b,) of the pixels and of their upper half.

        `completed` has, of the first pictures of the batch, the probabilities of the lower half's
        pixels given the upper half; zeros of the others.
        """
        from keras import ops

        net, pixels = _net(networks), self._pixels(batch)
        upper = hidden(pixels, "lower")
        first = completed(net, upper[:COMPLETED])
        rest = ops.shape(pixels)[0] - ops.shape(first)[0]
        shown = ops.concatenate([first, ops.zeros((rest, *pixels.shape[1:]))], axis=0)
        return {
            "log_likelihood": net(pixels, training=False)[:, 0],
            "upper": net(upper, training=False)[:, 0],
            "pixels": pixels,
            "completed": shown,
        }

    def inputs(self, networks: Networks, columns: Mapping[str, np.ndarray]) -> Any:
        """See `Task.inputs`: binary pixels."""
        import numpy as np

        return np.asarray(self._pixels(columns)) if networks else columns["image"]

    def meter(self, columns: Mapping[str, Column]) -> Likelihoods:
        """See `Task.meter`."""
        return Likelihoods()

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`."""
        from zoo.common.columns import Column

        return {"log_probability": Column("features", (1,))}

    def generate(
        self,
        networks: Networks,
        *,
        columns: Mapping[str, Column],
        count: int,
        seed: int,
        start: np.ndarray | None = None,
        hide: str | None = None,
        mean: bool = False,
        **options: Any,
    ) -> np.ndarray:
        """See `Task.generate`: new pictures, or halves that are drawn anew given the other half.

        Args:
            networks: Trained, by name.
            columns: What the deployed model reads and answers with.
            count: Number of pictures.
            seed: Seed of the draws.
            start: Pictures that are completed, in turn, (n, height, width, channels), uint8; `None`
                makes whole pictures.
            hide: Which half of `start` is made anew: lower, upper, left or right; `None` is
                the lower.
            mean: Whether a pixel is shown as its probability, in place of one that is drawn.
            **options: None are known.
        """
        import numpy as np

        from zoo.tasks.made import begun_with, refuse_options, to_pixels

        refuse_options(self, options)
        if hide is not None and start is None:
            raise ValueError(
                f"task {self.kind}: got hide {shown(hide)} and no picture to complete; expected "
                "one, --from. Drop hide, or give one."
            )
        if not isinstance(mean, bool):
            raise ValueError(f"task {self.kind}: got mean {shown(mean)}; expected true or false.")
        net = _net(networks)
        shape = net.input.shape[1:]
        if start is None:
            given = np.full((count, *shape), UNKNOWN, np.float32)
        else:
            binary = (begun_with(start, shape, count) >= 128).astype(np.float32)
            given = np.asarray(hidden(binary, "lower" if hide is None else hide))
        random = np.random.RandomState(seed)
        parts = []
        for first in range(0, count, 64):
            part = given[first : first + 64]
            parts.append(np.asarray(completed(net, part)) if mean else drawn(net, part, random))
        return to_pixels(np.concatenate(parts), low=0.0)

    def _pixels(self, batch: Mapping[str, Any]) -> Any:
        """The pixels (b, ...), 0 or 1."""
        from keras import ops

        if self.binarization == "half":
            return ops.cast(batch["image"] >= 0.5, "float32")
        return ops.cast(batch["threshold"] < batch["image"], "float32")


def hidden(pixels: Any, half: str) -> Any:
    """Returns pictures (n, height, width, channels) of which nobody knows a half.

    Args:
        pixels: 0 or 1.
        half: The one of `HALVES` that is not known.

    Raises:
        ValueError: There is no such half.
    """
    import numpy as np
    from keras import ops

    if half not in HALVES:
        raise ValueError(f"hide: got {half!r}; expected one of {', '.join(HALVES)}.")
    height, width = pixels.shape[1:3]
    known = np.ones((1, height, width, 1), np.float32)
    if half in ("lower", "upper"):
        middle = height // 2
        known[:, middle:] = half == "upper"
        known[:, :middle] = half == "lower"
    else:
        middle = width // 2
        known[:, :, middle:] = half == "left"
        known[:, :, :middle] = half == "right"
    return ops.where(ops.convert_to_tensor(known) > 0, pixels, UNKNOWN)


def completed(net: keras.Model, pixels: Any) -> Any:
    """Returns the probability that each pixel is 1 given the known ones, which stay.

    Args:
        net: A network of `zoo.models.spn`.
        pixels: 0 or 1, negative where not known, (n, height, width, channels).
    """
    from keras import ops

    levels = _levels(net, pixels)
    _, top = levels[-1]
    shares = ops.ones_like(top)
    for (_, below), (layer, above) in zip(levels[-2::-1], levels[:0:-1], strict=True):
        sums = hasattr(layer, "whole")
        shares = layer.down(below, above, shares) if sums else layer.down(shares)
    found = ops.reshape(levels[0][0].expected(shares), (-1, *net.input.shape[1:]))
    return ops.where(pixels >= 0, pixels, found)


def drawn(net: keras.Model, pixels: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """Draws the pixels that are not known from what they are given the others.

    From the root down, each sum chooses one of its nodes, as likely as the node made what is known.

    Args:
        net: A network of `zoo.models.spn`.
        pixels: 0 or 1, negative where not known, (n, height, width, channels).
        random: Where all numbers come from.
    """
    import numpy as np
    from keras import ops

    levels = [(layer, ops.convert_to_numpy(x)) for layer, x in _levels(net, pixels)]
    num = len(pixels)
    row = np.arange(num)[:, None]
    regions = nodes = np.zeros((num, 1), int)  # that are chosen, of each picture
    for (_, below), (layer, _) in zip(levels[-2::-1], levels[:0:-1], strict=True):
        if not hasattr(layer, "whole"):  # a product: both regions, the same node
            regions = np.stack([2 * regions, 2 * regions + 1], axis=2).reshape(num, -1)
            nodes = np.repeat(nodes, 2, axis=1)
            continue
        logits = ops.convert_to_numpy(layer.log_weights())
        x = below.reshape(num, 1, -1) if layer.whole else below
        logs = x[row, regions] + logits[regions, :, nodes]  # (n, chosen, nodes below)
        shares = np.exp(logs - logs.max(axis=2, keepdims=True)).cumsum(axis=2)
        level = random.random_sample((*regions.shape, 1)) * shares[..., -1:]
        nodes = (shares <= level).sum(axis=2).clip(0, shares.shape[2] - 1)
        if layer.whole:
            regions, nodes = nodes // below.shape[2], nodes % below.shape[2]
    leaves = levels[0][0]
    odds = ops.convert_to_numpy(ops.sigmoid(leaves.log_odds))
    chosen = odds[regions, :, nodes].reshape(num, -1)
    places = leaves.order[regions].reshape(num, -1)
    flat = np.zeros((num, int(np.prod(pixels.shape[1:])) + 1))  # the last is no pixel
    np.put_along_axis(flat, places, chosen, axis=1)
    likely = flat[:, :-1].reshape(pixels.shape)
    made = random.random_sample(pixels.shape) < likely
    return np.where(pixels >= 0, pixels, made).astype(np.float32)


def _levels(net: keras.Model, pixels: Any) -> list[tuple[Any, Any]]:
    """The layers from the leaves to the root, each with what it answers."""
    import keras

    own = [layer for layer in net.layers if hasattr(layer, "down") or hasattr(layer, "expected")]
    values = keras.Model(net.input, [layer.output for layer in own])(pixels, training=False)
    return list(zip(own, values, strict=True))


def _net(networks: Networks) -> Any:
    return next(iter(networks.values()))


class Likelihoods:
    """Averages the log-likelihoods of a split, and keeps a few completed pictures."""

    def __init__(self) -> None:
        self._parts: list[dict[str, np.ndarray]] = []
        self._shown: np.ndarray | None = None

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`; a file gives the log-probabilities (b, 1) alone."""
        import numpy as np

        if not isinstance(outputs, Mapping):
            self._parts.append({"log_likelihood": outputs[:, 0]})
            return
        if self._shown is None:
            pairs = [outputs[name][:COMPLETED] for name in ("pixels", "completed")]
            self._shown = np.stack(pairs, axis=1).reshape(-1, *pairs[0].shape[1:])
        self._parts.append({name: outputs[name] for name in ("log_likelihood", "upper")})

    def result(self) -> Evaluation:
        """Measures `log_likelihood`, and `lower_half`, that of the lower half given the upper.

        The picture `completed` has binary pictures, each beside its completion.
        """
        import numpy as np

        from zoo.tasks import made as pictures

        whole = {
            name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]
        }
        metrics = {"log_likelihood": float(whole["log_likelihood"].mean(dtype="f8"))}
        if "upper" in whole:
            lower = whole["log_likelihood"] - whole["upper"]
            metrics["lower_half"] = float(lower.mean(dtype="f8"))
        if self._shown is None:
            return Evaluation(metrics)
        shown = pictures.to_pixels(self._shown, low=0.0)
        return Evaluation(metrics, pictures={"completed": partial(pictures.save, shown)})
