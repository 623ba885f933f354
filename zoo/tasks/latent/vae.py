"""The variational autoencoder: an encoder that guesses a code, a decoder that draws from it.

Source: Kingma & Welling 2013, arXiv:1312.6114: the bound of equation 10 with the analytic KL of
appendix B and one sample of the code for each image. The importance-weighted bound and the count of
active units are those of Burda et al. 2015, arXiv:1509.00519, equation 8 and section 5.2. `beta`
weighs the KL in what is minimised, as in the beta-VAE of Higgins et al. 2017 (ICLR); what is
measured is the bound itself, whatever beta is. Networks that also read the class (`label`, one-hot)
give the bound on log p(image | class), as in Sohn et al. 2015 (NIPS 28).

All bounds are in nats per image, and of binary pixels. How a grey image becomes binary decides the
figure, so the papers' are to be compared with care:

    dynamic  each pixel is 1 with the probability of its intensity, drawn anew in each step of the
             training, and once for all for validation and test
    none     the network sees intensities. Their cross-entropy is the mean over all such drawings,
             so this is a bound on the same quantity, by an encoder that is not shown the drawing;
             it is always measured too, as `elbo_grey`
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from zoo.common.columns import Column
from zoo.common.tensors import LABEL
from zoo.tasks.classes import num_classes, one_hot, told
from zoo.tasks.latent.bounds import (
    Bounds,
    bound,
    decode,
    encode,
    importance_bound,
)
from zoo.tasks.task import Mean, Metric, Objective, Seen
from zoo.tasks.unsupervised import Unsupervised

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    import numpy as np

    from zoo.data.dataset import DataSet
    from zoo.data.feeds.source import Draw
    from zoo.tasks.made import Start
    from zoo.tasks.task import Batch, Networks


class VAE(Unsupervised):
    """The task of an `encoder` and a `decoder`.

    The encoder reads an image and gives the `mean` and the `log_variance` of its code, the decoder
    reads a code and gives the logits of the pixels; both may read the class, `label`, too. What is
    deployed is both, at the mean.

    Attributes:
        binarization: How intensities become pixels of 0 and 1, see above.
        beta: Weight of the KL in the loss; 1 is the bound.
        importance_samples: Codes drawn for each image in an evaluation, for the tighter bound.
    """

    headline: ClassVar[Metric] = Metric("elbo")
    filmed: ClassVar[bool] = True
    measured_by: ClassVar[tuple[str, ...]] = ("importance_samples",)

    kind: Literal["vae"] = "vae"
    binarization: Literal["dynamic", "none"] = "dynamic"
    beta: Annotated[float, Field(gt=0)] = 1.0
    importance_samples: Annotated[int, Field(ge=1)] = 500

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`: conditional networks must know how many classes there are."""
        label = data.columns.get(LABEL)
        classes = len(label.names) if label is not None and label.kind == "class" else 1
        return super().sizes(data) | {"num_classes": classes}

    def objectives(self) -> tuple[Objective, ...]:
        """See `Task.objectives`: one, for both networks."""
        return (Objective(learns=("encoder", "decoder")),)

    def draws(self, networks: Networks) -> Mapping[str, Draw]:
        """See `Task.draws`: `noise` of the code, and `threshold` of each pixel."""
        from zoo.data.feeds.source import Draw

        if not networks:
            return {}
        drawn = {"noise": Draw("normal", networks["decoder"].inputs[0].shape[1:])}
        if self.binarization == "dynamic":
            drawn["threshold"] = Draw("uniform", networks["encoder"].inputs[0].shape[1:])
        return drawn

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`: `elbo` is `reconstruction` less `kl`, each (b,), in nats."""
        pixels, label = self._pixels(batch), told(networks["decoder"], batch)
        found = bound(networks, pixels, batch["noise"], label=label, training=training)
        loss = self.beta * found["kl"] - found["reconstruction"]
        return Seen(Mean(loss), {name: Mean(value) for name, value in found.items()})

    def answer(self, networks: Networks, batch: Batch) -> dict[str, Any]:
        """See `Task.answer`: the bounds (b,), the codes' means, and pictures (b, ...)."""
        from keras import ops

        pixels, grey, label = self._pixels(batch), batch["image"], told(networks["decoder"], batch)
        found = bound(networks, pixels, batch["noise"], label=label)
        mean = encode(networks, grey, label)["mean"]
        return found | {
            "elbo_grey": bound(networks, grey, batch["noise"], label=label)["elbo"],
            "importance_bound": importance_bound(
                networks, pixels, label=label, samples=self.importance_samples
            ),
            "mean": mean,
            "reconstructed": ops.sigmoid(decode(networks, mean, label)),
            "sample": ops.sigmoid(decode(networks, batch["noise"], label)),
        }

    def meter(self, columns: Mapping[str, Column]) -> Bounds:
        """See `Task.meter`."""
        return Bounds()

    def pictures(
        self, networks: Networks, meter: Any, columns: Mapping[str, Column]
    ) -> dict[str, Callable[[Path], None]]:
        """See `Task.pictures`: a `walk` between codes, and what a class is in them.

        That is, of networks that read the class, `classes`: the same codes in rows, drawn as each
        class; of others `arithmetic`: mean codes of classes a, b, c, and of a - b + c, in rows.
        """
        from zoo.tasks import made as pictures

        def save(make: Callable[[], np.ndarray], wide: int, path: Path) -> None:
            pictures.save(make(), path, columns=wide)

        def make(**options: Any) -> np.ndarray:
            return self.generate(networks, columns=columns, seed=0, **options)

        walk = partial(make, count=pictures.SHOWN, walk=True)
        found: dict[str, Callable[[Path], None]] = {"walk": partial(save, walk, 8)}
        label = columns.get(LABEL)
        if label is None or not label.names:
            return found
        classes = len(label.names)
        if num_classes(networks["decoder"]):
            found["classes"] = partial(save, partial(self._styles, networks, classes), classes)
        elif (rows := meter.sums(classes)) is not None and len(rows):
            found["arithmetic"] = partial(save, partial(self._drawn, networks, rows), 4)
        return found

    def _drawn(self, networks: Networks, rows: np.ndarray) -> np.ndarray:
        """Codes (rows, columns, latent) as pictures, row by row."""
        return _to_pixels(decode(networks, rows.reshape(-1, rows.shape[-1])))

    def _styles(self, networks: Networks, classes: int) -> np.ndarray:
        """A few codes, each drawn as every class."""
        from zoo.tasks import codes

        shape = networks["decoder"].inputs[0].shape[1:]
        return _to_pixels(decode(networks, *codes.styles(shape, classes)))

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`."""
        return {"reconstruction": data.columns[data.input]}

    def deployed(self, networks: Networks) -> keras.Model:
        """See `Task.deployed`: an image to the probabilities of its pixels, at the code's mean."""
        import keras

        encoder = networks["encoder"]
        given = [keras.Input(tensor.shape[1:], name=tensor.name) for tensor in encoder.inputs]
        logits = decode(networks, encode(networks, *given)["mean"], *given[1:])
        answer = keras.layers.Activation("sigmoid", name="reconstruction")(logits)
        return keras.Model(given if len(given) > 1 else given[0], answer, name="autoencoder")

    def replaced(self, networks: Networks, model: keras.Model) -> dict[str, keras.Model]:
        """See `Task.replaced`: the models of these names in the deployed one."""
        found = {layer.name: layer for layer in model.layers}
        missing = [name for name in ("encoder", "decoder") if name not in found]
        if missing:
            raise ValueError(
                f"{model.name}: has no {' and no '.join(missing)}; expected the nested models "
                "encoder and decoder, as a bundle's model.keras has them."
            )
        return {**networks, "encoder": found["encoder"], "decoder": found["decoder"]}

    def generate(
        self,
        networks: Networks,
        *,
        columns: Mapping[str, Column],
        count: int,
        seed: int,
        label: int | None = None,
        walk: bool = False,
        start: np.ndarray | None = None,
        **options: Any,
    ) -> np.ndarray:
        """See `Task.generate`: the probabilities of the pixels, of codes from the prior.

        Pictures to begin with are encoded; without a walk, codes are drawn from what the encoder
        guesses of each in turn. Conditional networks take such a picture for the class that makes
        its bound the largest, and draw it as that class, or as `label`.

        Args:
            networks: The task's networks, by name.
            columns: What the deployed model reads and answers with.
            count: Number of pictures.
            seed: Seed of the codes.
            label: Index of the class; without one, conditional networks take the classes in turn.
            walk: Whether the codes lie on a path between random ones, or those of `start`.
            start: Pixels (n, height, width, channels), uint8.
            **options: None are known.
        """
        from zoo.tasks.made import made, refuse_options

        refuse_options(self, options)
        return made(
            self,
            networks,
            lambda *given: _to_pixels(decode(networks, *given)),
            count=count,
            seed=seed,
            walk=walk,
            label=label,
            num_classes=num_classes(networks["decoder"]),
            begin=None if start is None else _start(networks, start),
        )

    def _pixels(self, batch: Batch) -> Any:
        """The pixels (b, ...): 0 or 1, or the intensities in [0, 1] as they are."""
        from keras import ops

        if self.binarization == "none":
            return batch["image"]
        return ops.cast(batch["threshold"] < batch["image"], batch["image"].dtype)


def _to_pixels(logits: Any) -> np.ndarray:
    """Probabilities of pixels as pixels, uint8."""
    from keras import ops

    from zoo.tasks.made import to_pixels

    return to_pixels(ops.convert_to_numpy(ops.sigmoid(logits)), low=0.0)


def _start(networks: Networks, pixels: np.ndarray) -> Start:
    """What the encoder guesses of pictures (n, ...), uint8; of a class, by the largest bound."""
    import numpy as np
    from keras import ops

    from zoo.tasks.made import Start

    grey = np.asarray(pixels, np.float32) / 255
    label, chosen = None, None
    if classes := num_classes(networks["decoder"]):
        latent = networks["decoder"].inputs[0].shape[-1]
        still = np.zeros((len(grey), latent), np.float32)
        rows = one_hot(np.arange(classes), classes)[:, None].repeat(len(grey), axis=1)
        bounds = [bound(networks, grey, still, label=row)["elbo"] for row in rows]
        chosen = np.argmax([ops.convert_to_numpy(one) for one in bounds], axis=0)
        label = one_hot(chosen, classes)
    found = encode(networks, grey, label)
    mean, log_variance = (ops.convert_to_numpy(found[key]) for key in ("mean", "log_variance"))
    return Start(mean, np.exp(log_variance / 2), chosen)
