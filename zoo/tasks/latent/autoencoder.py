"""The autoencoder: an encoder makes a code of a picture, a decoder makes the picture of the code.

Sources, each a setting: denoising, Vincent et al. 2008, ICML 25: the encoder sees a corrupted
picture, the loss the clean one; sparse, by the divergence of each unit's mean activation from a
target (Ng's lecture notes CS294A, section 3) or by the sum of magnitudes; contractive, Rifai et al.
2011, ICML 28: the squared Frobenius norm of the encoder's Jacobian, in the closed form of one
logistic layer, sum_j (h_j (1 - h_j))^2 sum_i W_ij^2. The figures of Hinton & Salakhutdinov 2006,
Science 313, are squared errors, summed over the pixels of a picture and averaged over the pictures,
as here.

Networks with tied weights share their layers. In a bundle `model.keras`, one flat graph, holds such
a layer once; the files in `networks/` have a copy each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from zoo.tasks.latent.bounds import log_likelihood
from zoo.tasks.task import Mean, Metric, Objective, Seen
from zoo.tasks.unsupervised import Unsupervised

if TYPE_CHECKING:
    import keras

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.data.feeds.source import Draw
    from zoo.tasks.latent.reconstructed import Reconstructed
    from zoo.tasks.task import Batch, Networks

TINY = 1e-6  # a rate of activation is at least this, and at most 1 less this
CODE, ANSWER = "code", "reconstruction"  # layers of the deployed model


class Autoencoder(Unsupervised):
    """The task of an `encoder` and a `decoder`; what is deployed is both.

    Attributes:
        reconstruction: What a picture is compared by, summed over its pixels: the cross-entropy of
            intensities, or the squared error.
        pixels: How the decoder's numbers become intensities: by the logistic function, or as they
            are.
        corruption: What is done to a picture that the encoder sees: pixels become black with the
            probability `level`, or get noise of the deviation `level`; white is 1.
        level: How much.
        sparsity: What keeps the code small: `kl`, the divergence of each unit's mean activation
            over the batch from `rate`, summed over the units; `l1`, the sum of magnitudes.
        sparsity_weight: Weight of that in the loss.
        rate: Mean activation that `kl` asks for, in (0, 1).
        contraction: Weight of the contractive penalty, of an encoder of one logistic layer.
        labels: Labelled training pictures that a linear classifier of codes, and one of pixels,
            learn from in an evaluation; 0 measures neither.
    """

    headline: ClassVar[Metric] = Metric("squared_error", higher=False)
    measured_by: ClassVar[tuple[str, ...]] = ("level", "labels")

    kind: Literal["autoencoder"] = "autoencoder"
    reconstruction: Literal["cross_entropy", "squared_error"] = "cross_entropy"
    pixels: Literal["logistic", "linear"] = "logistic"
    corruption: Literal["none", "masking", "gaussian"] = "none"
    level: Annotated[float, Field(ge=0)] = 0.0
    sparsity: Literal["none", "kl", "l1"] = "none"
    sparsity_weight: Annotated[float, Field(ge=0)] = 0.0
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.05
    contraction: Annotated[float, Field(ge=0)] = 0.0
    labels: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.reconstruction == "cross_entropy" and self.pixels == "linear":
            raise ValueError(
                "reconstruction: got cross_entropy with pixels linear, which are no probabilities; "
                "expected squared_error, or pixels logistic."
            )
        if (self.corruption == "none") != (self.level == 0):
            raise ValueError(
                f"level: got {self.level:g} with corruption {self.corruption}; expected a level "
                "above 0 with masking or gaussian, and 0 with none."
            )
        if self.corruption == "masking" and self.level >= 1:
            raise ValueError(f"level: got {self.level:g}; expected a share of pixels below 1.")
        return self

    def objectives(self) -> tuple[Objective, ...]:
        """See `Task.objectives`: one, for both networks."""
        return (Objective(learns=("encoder", "decoder")),)

    def draws(self, networks: Networks) -> Mapping[str, Draw]:
        """See `Task.draws`: `corruption`, a number for each pixel."""
        from zoo.data.feeds.source import Draw

        if not networks or self.corruption == "none":
            return {}
        kind: Any = "uniform" if self.corruption == "masking" else "normal"
        return {"corruption": Draw(kind, networks["encoder"].input.shape[1:])}

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`; `error` is the reconstruction's, (b,)."""
        from zoo.tasks.latent import penalties

        image, encoder = batch["image"], networks["encoder"]
        code = encoder(self.seen(batch), training=training)
        error = self.error(image, networks["decoder"](code, training=training))
        loss, measures = error, {"error": Mean(error)}
        if self.sparsity != "none":
            if self.sparsity == "kl":
                penalties.check_logistic(encoder, "task.sparsity: got kl")
                value = penalties.rate_divergence(code, batch["weight"], rate=self.rate, tiny=TINY)
            else:
                value = penalties.magnitude(code)
            loss, measures["sparsity"] = loss + self.sparsity_weight * value, Mean(value)
        if self.contraction:
            value = penalties.contraction(encoder, code)
            loss, measures["contraction"] = loss + self.contraction * value, Mean(value)
        return Seen(Mean(loss), measures)

    def answer(self, networks: Networks, batch: Batch) -> dict[str, Any]:
        """See `Task.answer`: the codes, and pictures made of clean and of corrupted ones."""
        encoder, decoder, image = networks["encoder"], networks["decoder"], batch["image"]
        code = encoder(image, training=False)
        numbers = decoder(code, training=False)
        found = {"reconstructed": self.intensities(numbers), "code": code}
        if self.pixels == "logistic":
            found["cross_entropy"] = -log_likelihood(image, numbers)
        if self.corruption != "none":
            noisy = self.seen(batch)
            again = decoder(encoder(noisy, training=False), training=False)
            found |= {"noisy": noisy, "denoised": self.intensities(again)}
        return found

    def meter(self, columns: Mapping[str, Column]) -> Reconstructed:
        """See `Task.meter`: without the data set there is nothing to compare with."""
        from zoo.tasks.latent.reconstructed import Reconstructed

        return Reconstructed(labels=0)

    def meter_with(self, data: DataSet, networks: Networks) -> Reconstructed:
        """See `Task.meter_with`."""
        from zoo.tasks.latent.reconstructed import Reconstructed

        return Reconstructed(data, networks["encoder"], labels=self.labels)

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`."""
        return {"reconstruction": data.columns[data.input]}

    def deployed(self, networks: Networks) -> keras.Model:
        """See `Task.deployed`: an image to its intensities, by way of its code; one flat graph."""
        import keras

        from zoo.layers import TiedDense
        from zoo.models.flat import run

        encoder = networks["encoder"]
        # Of a file, each network has its own copy of a tied layer.
        tied = {layer.name: layer for layer in encoder.layers if isinstance(layer, TiedDense)}
        image = keras.Input(encoder.input.shape[1:], name="image")
        numbers = run(networks["decoder"], run(encoder, image), instead=tied)
        kind = "sigmoid" if self.pixels == "logistic" else "linear"
        answer = keras.layers.Activation(kind, name=ANSWER)(numbers)
        return keras.Model(image, answer, name="autoencoder")

    def replaced(self, networks: Networks, model: keras.Model) -> dict[str, keras.Model]:
        """See `Task.replaced`: the parts of the deployed model before its code, and behind it."""
        import keras

        from zoo.models.flat import divided

        found = {layer.name: layer for layer in model.layers}
        last = found.get(f"{ANSWER}_inner", found.get(ANSWER))  # a pass may put something behind
        if CODE not in found or not isinstance(last, keras.layers.Activation):
            raise ValueError(
                f"{model.name}: has no layers {CODE} and {ANSWER}; expected them, as a bundle's "
                "model.keras has."
            )
        names = ("encoder", "decoder", CODE)
        parts = divided(model, found[CODE], last, names=names)
        return {**networks, **dict(zip(names, parts, strict=False))}

    def seen(self, batch: Batch) -> Any:
        """Returns the pictures that the encoder sees, (b, height, width, channels)."""
        if self.corruption == "none":
            return batch["image"]
        return corrupted(batch["image"], batch["corruption"], self.corruption, self.level)

    def intensities(self, numbers: Any) -> Any:
        """Returns what the decoder's numbers stand for, of the same shape."""
        from keras import ops

        return ops.sigmoid(numbers) if self.pixels == "logistic" else numbers

    def error(self, image: Any, numbers: Any) -> Any:
        """Returns the reconstruction's error of each picture, (b,)."""
        from keras import ops

        if self.reconstruction == "cross_entropy":
            return -log_likelihood(image, numbers)
        square = ops.square(self.intensities(numbers) - image)
        return ops.sum(square, axis=(1, 2, 3))


def corrupted(image: Any, noise: Any, kind: str, level: float) -> Any:
    """Returns corrupted pictures.

    Args:
        image: Intensities, (b, height, width, channels).
        noise: Uniform in [0, 1) for `masking`, from N(0, 1) for `gaussian`, of the same shape.
        kind: `masking` or `gaussian`.
        level: Share of the pixels that become black, or deviation of what is added.
    """
    from keras import ops

    if kind == "masking":
        return image * ops.cast(noise >= level, image.dtype)
    return image + level * noise
