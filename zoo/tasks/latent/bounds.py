"""The bounds of a variational autoencoder on the log-likelihood of pixels, and their meter.

An `encoder` reads an image and gives the `mean` and the `log_variance` of its code, a `decoder`
reads a code and gives the logits of the pixels. Both may read the class too, one-hot, as `label`:
then the likelihood is that of the pixels, given the class. Sources: see `zoo.tasks.latent.vae`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from zoo.common.tensors import LABEL
from zoo.tasks.task import Evaluation

if TYPE_CHECKING:
    import numpy as np

    from zoo.tasks.task import Networks

ACTIVE = 0.01  # variance of a code's mean over the images, from which on the unit carries something


def encode(networks: Networks, pixels: Any, label: Any = None, *, training: bool = False) -> Any:
    """Returns the `mean` and the `log_variance` of the code, each (b, latent).

    Args:
        networks: `encoder`.
        pixels: In [0, 1], (b, height, width, channels).
        label: Classes (b, classes), of networks that read them.
        training: Whether to run as in training.
    """
    return networks["encoder"](_beside(pixels, label), training=training)


def decode(networks: Networks, code: Any, label: Any = None, *, training: bool = False) -> Any:
    """Returns the logits of the pixels (b, height, width, channels); see `encode`."""
    return networks["decoder"](_beside(code, label), training=training)


def _beside(given: Any, label: Any) -> Any:
    """What a network reads, tensors both: Keras takes no mixture with arrays."""
    from keras import ops

    if label is None:
        return given
    return [
        one if hasattr(one, "_keras_history") else ops.convert_to_tensor(one)
        for one in (given, label)
    ]


def bound(
    networks: Networks, pixels: Any, noise: Any, *, label: Any = None, training: bool = False
) -> dict[str, Any]:
    """Returns the bound on the log-likelihood, by one code for each image, and its two parts.

    Args:
        networks: `encoder` and `decoder`.
        pixels: In [0, 1], (b, height, width, channels).
        noise: Noise of the code, from N(0, 1), (b, latent).
        label: Classes (b, classes), of networks that read them: the likelihood is that of the
            pixels, given the class.
        training: Whether to run as in training.

    Returns:
        `elbo`, `reconstruction` and `kl`, each (b,), in nats.
    """
    from keras import ops

    code = encode(networks, pixels, label, training=training)
    mean, log_variance = code["mean"], code["log_variance"]
    drawn = mean + ops.exp(log_variance / 2) * noise
    reconstruction = log_likelihood(pixels, decode(networks, drawn, label, training=training))
    # KL(q(z|x), N(0, I)) = 1/2 sum (variance + mean^2 - 1 - log variance)
    kl = 0.5 * ops.sum(ops.exp(log_variance) + mean**2 - 1 - log_variance, axis=-1)
    return {"elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}


def importance_bound(
    networks: Networks, pixels: Any, *, samples: int, label: Any = None, seed: int = 0
) -> Any:
    """Returns the importance-weighted bound of each image (b,), in nats.

    It is log 1/k sum p(x, z) / q(z|x) over k codes z from q(z|x); with one code it is the ELBO with
    a sampled KL, and it grows with k towards log p(x).

    Args:
        networks: `encoder` and `decoder`.
        pixels: In [0, 1], (b, height, width, channels).
        samples: Codes for each image, decoded one after another.
        label: Classes (b, classes), of networks that read them.
        seed: Seed of the codes: the same seed gives the same bound.
    """
    import keras
    from keras import ops

    code = encode(networks, pixels, label)
    mean, log_variance = code["mean"], code["log_variance"]
    shape = (samples, ops.shape(mean)[0], mean.shape[-1])
    noise = keras.random.normal(shape, seed=seed)

    def add(index: Any, total: Any) -> Any:
        drawn = noise[index]  # (b, latent)
        z = mean + ops.exp(log_variance / 2) * drawn
        # log p(z) - log q(z|x), whose constants cancel out
        ratio = 0.5 * ops.sum(drawn**2 + log_variance - z**2, axis=-1)
        weight = log_likelihood(pixels, decode(networks, z, label)) + ratio
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
        kept = {name: batch[name] for name in ("image", LABEL) if name in batch}
        self._parts.append({**found, **kept, "mse": error.mean(axis=(1, 2, 3))})

    def sums(self, num_classes: int) -> np.ndarray | None:
        """Returns mean codes of classes and their sums, see `zoo.tasks.codes.sums`.

        Args:
            num_classes: Number of classes.

        Returns:
            `None` where no code was seen, or no class.
        """
        from zoo.tasks import codes

        if not {"mean", LABEL} <= set(self._parts[0]):
            return None
        whole = self._whole()
        return codes.sums(codes.class_means(whole["mean"], whole[LABEL], num_classes))

    def _whole(self) -> dict[str, np.ndarray]:
        import numpy as np

        names = self._parts[0]
        return {name: np.concatenate([part[name] for part in self._parts]) for name in names}

    def result(self) -> Evaluation:
        """Measures the bounds, `active_units`, and `mse` of the reconstruction at the mean."""
        import numpy as np

        from zoo.tasks import made as pictures

        whole = self._whole()
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
