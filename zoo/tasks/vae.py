"""The variational autoencoder: an encoder that guesses a code, a decoder that draws from it.

Source: Kingma & Welling 2013, arXiv:1312.6114: the bound of equation 10 with the analytic KL of
appendix B and one sample of the code for each image. The importance-weighted bound and the count of
active units are those of Burda et al. 2015, arXiv:1509.00519, equation 8 and section 5.2.

All bounds are in nats per image, and of binary pixels. How a grey image becomes binary decides the
figure, so the papers' are to be compared with care:

    dynamic  each pixel is 1 with the probability of its intensity, drawn anew in each step of the
             training, and once for all for validation and test
    none     the network sees intensities. Their cross-entropy is the mean over all such drawings,
             so this is a bound on the same quantity, by an encoder that is not shown the drawing;
             it is always measured too, as `elbo_grey`
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from zoo.tasks.task import Evaluation, Mean, Metric, Objective, Seen
from zoo.tasks.unsupervised import Unsupervised

if TYPE_CHECKING:
    import keras
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.data.source import Draw
    from zoo.tasks.task import Batch, Networks

ACTIVE = 0.01  # variance of a code's mean over the images, from which on the unit carries something


class VAE(Unsupervised):
    """The task of an `encoder` and a `decoder`.

    The encoder reads an image and gives the `mean` and the `log_variance` of its code, the decoder
    reads a code and gives the logits of the pixels. What is deployed is both, at the mean.

    Attributes:
        binarization: How intensities become pixels of 0 and 1, see above.
        importance_samples: Codes drawn for each image in an evaluation, for the tighter bound.
    """

    headline: ClassVar[Metric] = Metric("elbo")

    kind: Literal["vae"] = "vae"
    binarization: Literal["dynamic", "none"] = "dynamic"
    importance_samples: Annotated[int, Field(ge=1)] = 500

    def objectives(self) -> tuple[Objective, ...]:
        """See `Task.objectives`: one, for both networks."""
        return (Objective(learns=("encoder", "decoder")),)

    def draws(self, networks: Networks) -> Mapping[str, Draw]:
        """See `Task.draws`: `noise` of the code, and `threshold` of each pixel."""
        from zoo.data.source import Draw

        if not networks:
            return {}
        drawn = {"noise": Draw("normal", networks["decoder"].input.shape[1:])}
        if self.binarization == "dynamic":
            drawn["threshold"] = Draw("uniform", networks["encoder"].input.shape[1:])
        return drawn

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`: `elbo` is `reconstruction` less `kl`, each (b,), in nats."""
        pixels = self._pixels(batch)
        found = bound(networks, pixels, batch["noise"], training=training)
        return Seen(Mean(-found["elbo"]), {name: Mean(value) for name, value in found.items()})

    def answer(self, networks: Networks, batch: Batch) -> dict[str, Any]:
        """See `Task.answer`: the bounds (b,), the codes' means, and pictures (b, ...)."""
        from keras import ops

        pixels, grey = self._pixels(batch), batch["image"]
        found = bound(networks, pixels, batch["noise"])
        decoder = networks["decoder"]
        mean = networks["encoder"](grey, training=False)["mean"]
        return found | {
            "elbo_grey": bound(networks, grey, batch["noise"])["elbo"],
            "importance_bound": importance_bound(networks, pixels, samples=self.importance_samples),
            "mean": mean,
            "reconstructed": ops.sigmoid(decoder(mean, training=False)),
            "sample": ops.sigmoid(decoder(batch["noise"], training=False)),
        }

    def meter(self, columns: Mapping[str, Column]) -> Bounds:
        """See `Task.meter`."""
        return Bounds()

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`."""
        return {"reconstruction": data.columns[data.input]}

    def deployed(self, networks: Networks) -> keras.Model:
        """See `Task.deployed`: an image to the probabilities of its pixels, at the code's mean."""
        import keras

        encoder, decoder = networks["encoder"], networks["decoder"]
        image = keras.Input(encoder.input.shape[1:], name="image")
        logits = decoder(encoder(image)["mean"])
        answer = keras.layers.Activation("sigmoid", name="reconstruction")(logits)
        return keras.Model(image, answer, name="autoencoder")

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
        **options: Any,
    ) -> np.ndarray:
        """See `Task.generate`: the probabilities of the pixels, of codes from the prior."""
        from zoo.tasks.made import made, to_pixels

        def draw(noise: Any) -> Any:
            from keras import ops

            return ops.sigmoid(networks["decoder"](noise, training=False))

        return to_pixels(made(self, networks, draw, count=count, seed=seed, **options), low=0.0)

    def _pixels(self, batch: Batch) -> Any:
        """The pixels (b, ...): 0 or 1, or the intensities in [0, 1] as they are."""
        from keras import ops

        if self.binarization == "none":
            return batch["image"]
        return ops.cast(batch["threshold"] < batch["image"], batch["image"].dtype)


def bound(networks: Networks, pixels: Any, noise: Any, *, training: bool = False) -> dict[str, Any]:
    """Returns the bound on the log-likelihood, by one code for each image, and its two parts.

    Args:
        networks: `encoder` and `decoder`.
        pixels: In [0, 1], (b, height, width, channels).
        noise: Noise of the code, from N(0, 1), (b, latent).
        training: Whether to run as in training.

    Returns:
        `elbo`, `reconstruction` and `kl`, each (b,), in nats.
    """
    from keras import ops

    code = networks["encoder"](pixels, training=training)
    mean, log_variance = code["mean"], code["log_variance"]
    logits = networks["decoder"](mean + ops.exp(log_variance / 2) * noise, training=training)
    reconstruction = log_likelihood(pixels, logits)
    # KL(q(z|x), N(0, I)) = 1/2 sum (variance + mean^2 - 1 - log variance)
    kl = 0.5 * ops.sum(ops.exp(log_variance) + mean**2 - 1 - log_variance, axis=-1)
    return {"elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}


def importance_bound(networks: Networks, pixels: Any, *, samples: int, seed: int = 0) -> Any:
    """Returns the importance-weighted bound of each image (b,), in nats.

    It is log 1/k sum p(x, z) / q(z|x) over k codes z from q(z|x); with one code it is the ELBO with
    a sampled KL, and it grows with k towards log p(x).

    Args:
        networks: `encoder` and `decoder`.
        pixels: In [0, 1], (b, height, width, channels).
        samples: Codes for each image, decoded one after another.
        seed: Seed of the codes: the same seed gives the same bound.
    """
    import keras
    from keras import ops

    code = networks["encoder"](pixels, training=False)
    mean, log_variance = code["mean"], code["log_variance"]
    shape = (samples, ops.shape(mean)[0], mean.shape[-1])
    noise = keras.random.normal(shape, seed=seed)

    def add(index: Any, total: Any) -> Any:
        drawn = noise[index]  # (b, latent)
        z = mean + ops.exp(log_variance / 2) * drawn
        # log p(z) - log q(z|x), whose constants cancel out
        ratio = 0.5 * ops.sum(drawn**2 + log_variance - z**2, axis=-1)
        weight = log_likelihood(pixels, networks["decoder"](z, training=False)) + ratio
        return ops.logaddexp(total, weight)

    nothing = ops.full_like(mean[:, 0], -1e30)
    return ops.fori_loop(0, samples, add, nothing) - ops.log(float(samples))


def log_likelihood(pixels: Any, logits: Any) -> Any:
    """Returns the log-probability of each image's pixels (b,), in nats.

    Args:
        pixels: In [0, 1], (b, height, width, channels).
        logits: Log-odds that a pixel is 1, of the same shape.
    """
    from keras import ops

    each = ops.binary_crossentropy(pixels, logits, from_logits=True)
    return -ops.sum(each, axis=tuple(range(1, len(each.shape))))


class Bounds:
    """Averages the bounds of a split, and keeps a few pictures.

    A file only reconstructs: the squared error alone is measured.
    """

    def __init__(self) -> None:
        self._parts: list[dict[str, np.ndarray]] = []

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`; `outputs` may be the reconstructed images alone."""
        import numpy as np

        found = dict(outputs) if isinstance(outputs, Mapping) else {"reconstructed": outputs}
        error = np.square(found["reconstructed"] - batch["image"])
        self._parts.append({**found, "image": batch["image"], "mse": error.mean(axis=(1, 2, 3))})

    def result(self) -> Evaluation:
        """Measures the bounds, `active_units`, and `mse` of the reconstruction at the mean."""
        import numpy as np

        from zoo.tasks import made as pictures

        whole = {
            name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]
        }
        names = ("elbo", "importance_bound", "elbo_grey", "reconstruction", "kl", "mse")
        metrics = {name: float(whole[name].mean(dtype="f8")) for name in names if name in whole}
        if "mean" in whole:
            metrics["active_units"] = float((whole["mean"].var(axis=0) > ACTIVE).sum())
        pairs = [whole[name][: pictures.SHOWN // 2] for name in ("image", "reconstructed")]
        shown = {"reconstructions": np.stack(pairs, axis=1).reshape(-1, *pairs[0].shape[1:])}
        if "sample" in whole:
            shown["samples"] = whole["sample"][: pictures.SHOWN]
        return Evaluation(
            metrics,
            pictures={
                name: partial(pictures.save, pictures.to_pixels(values, low=0.0))
                for name, values in shown.items()
            },
        )
