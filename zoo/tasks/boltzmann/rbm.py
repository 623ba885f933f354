"""The restricted Boltzmann machine: pixels and hidden units that only see the other side.

Sources: Hinton 2002, Neural Computation 14(8) (contrastive divergence, CD-k); Tieleman 2008, ICML
(persistent chains, PCD); Hinton 2010, A practical guide to training restricted Boltzmann machines,
section 11 (sparsity: a decaying mean of each unit's activity is drawn towards a target). Momentum
and weight decay are the optimizer's.

The log-probability of an image is -F(v) - log Z, in nats. F is exact; log Z is estimated by
annealed importance sampling (`zoo.tasks.boltzmann.partition`), with its standard error beside it,
and of 16 hidden units at most it is summed too. Of binary pixels the figure hangs on how a grey
image becomes binary:

    dynamic  each pixel is 1 with the probability of its intensity, drawn anew in each step of the
             training, and once for all for validation and test
    none     the machine learns from intensities as if they were probabilities

Gaussian pixels are intensities less 0.5, in units of 0.25; their figure is that of a density.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from zoo.tasks.task import Evaluation, Mean, Metric, Objective, Seen
from zoo.tasks.unsupervised import Unsupervised

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.data.feeds.source import Draw
    from zoo.data.preprocessing import Preprocessing
    from zoo.tasks.boltzmann.energy import Energy
    from zoo.tasks.task import Batch, Networks

NETWORKS = ("recognition", "generative", "chains")
RUNS = 100  # of annealed importance sampling, for each batch of an evaluation
MEMORY = 0.9  # share of a unit's activity that is remembered from step to step
GREY, SPREAD = 0.5, 0.25  # Gaussian pixels: intensity of 0, and of 1 more


class RBM(Unsupervised):
    """The task of a machine, see `zoo.models.rbm.rbm`; what is deployed is the way up.

    Attributes:
        visible: Whether pixels are 0 or 1, or Gaussian.
        binarization: How intensities become pixels of 0 and 1, see above; without effect on
            Gaussian ones.
        persistent: Whether chains go on from step to step (PCD), or begin at the examples (CD).
        steps: Steps of Gibbs sampling, k.
        sparsity: Activity that each hidden unit is drawn to, in (0, 1).
        sparsity_cost: How strongly; 0 lets the units be.
        temperatures: Steps of the annealing in an evaluation.
    """

    headline: ClassVar[Metric] = Metric("log_probability")
    measured_by: ClassVar[tuple[str, ...]] = ("temperatures",)

    kind: Literal["rbm"] = "rbm"
    visible: Literal["binary", "gaussian"] = "binary"
    binarization: Literal["dynamic", "none"] = "dynamic"
    persistent: bool = True
    steps: Annotated[int, Field(ge=1)] = 1
    sparsity: Annotated[float, Field(gt=0, lt=1)] = 0.1
    sparsity_cost: Annotated[float, Field(ge=0)] = 0.0
    temperatures: Annotated[int, Field(ge=3)] = 3000

    def objectives(self) -> tuple[Objective, ...]:
        """See `Task.objectives`: one; the chains do not learn."""
        return (Objective(learns=NETWORKS[:2]),)

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`."""
        return {**super().sizes(data), "visible": self.visible}

    def preprocessing(self, column: Column) -> Preprocessing | None:
        """See `Task.preprocessing`."""
        from zoo.tasks.made import scaled

        if self.visible == "binary":
            return super().preprocessing(column)
        return scaled(column, mean=GREY, std=SPREAD)

    def draws(self, networks: Networks) -> Mapping[str, Draw]:
        """See `Task.draws`: what pixels and units are drawn by, and which chain is whose."""
        from zoo.data.feeds.source import Draw

        if not networks:
            return {}
        hidden, pixels = networks["generative"].input.shape[1:], _pixels(networks)
        gaussian = self.visible == "gaussian"
        found = {
            "hidden_noise": Draw("uniform", (self.steps + 1, *hidden)),
            "visible_noise": Draw("normal" if gaussian else "uniform", (self.steps, *pixels)),
            "place": Draw("place", networks["chains"].input.shape[1:]),
            "annealing": Draw("uniform", (1,)),
        }
        if not gaussian and self.binarization == "dynamic":
            found["threshold"] = Draw("uniform", pixels)
        return found

    def inputs_of(self, name: str, networks: Networks, columns: Mapping[str, Any]) -> Any:
        """See `Task.inputs_of`: a `code` is the hidden units' of a picture."""
        from keras import ops

        from zoo.tasks.boltzmann.energy import coded
        from zoo.tasks.task import columns_of

        known = dict(columns)
        if name == "generative":
            known["code"] = ops.convert_to_numpy(coded(networks, known["image"]))
        return columns_of(networks[name], known)

    def deployed(self, networks: Networks) -> keras.Model:
        """See `Task.deployed`: the way up.

        The way down gets its kernel as it is now: in a step it is tied before the kernel moves. It
        keeps its own where the way up has none of that shape any more, e.g. once compressed.
        """
        from zoo.tasks.boltzmann.energy import tie

        up = super().deployed(networks)
        if "generative" in networks:
            with contextlib.suppress(ValueError):  # of one that was compressed to other layers
                tie(networks, self._energy(networks))
        return up

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`: `free_energy` of the examples and `mse` of one step, each (b,).

        The loss is F(v) - F(v'), of no meaning by itself: its gradient is that of the chains.
        """
        from keras import ops

        from zoo.tasks.boltzmann.energy import gibbs, tie

        energy, visible = self._energy(networks), self._visible(batch)
        uniform, persistent = batch["hidden_noise"], self.persistent and training
        start = (
            networks["chains"](batch["place"], training=False)
            if persistent
            else energy.drawn(visible, uniform[:, 0])
        )
        made, state = gibbs(energy, start, uniform[:, 1:], batch["visible_noise"])
        free = energy.free_energy(visible)
        loss = free - energy.free_energy(made)
        if self.sparsity_cost:
            activity = networks["chains"].get_layer("chains").activity
            # The gradient of a cross-entropy by what a unit is sent: activity less target.
            excess = ops.stop_gradient(ops.convert_to_tensor(activity) - self.sparsity)
            loss += self.sparsity_cost * ops.sum(excess * energy.sent(visible), axis=1)
        pictures = self._pictures(networks, visible)
        probabilities = networks["recognition"](pictures, training=training)
        if training:
            tie(networks, energy)
            self._remember(networks, batch["place"], state, probabilities)
        error = ops.mean(ops.square(energy.means(probabilities) - visible), axis=1)
        return Seen(Mean(loss), {"free_energy": Mean(free), "mse": Mean(error)})

    def answer(self, networks: Networks, batch: Batch) -> dict[str, Any]:
        """See `Task.answer`: the terms of the log-probability (b,), and pictures (b, ...).

        Beyond `RUNS` the examples have no run of the annealing: their weight is not a number.
        """
        import tensorflow as tf
        from keras import ops

        from zoo.tasks.boltzmann import partition

        energy, visible = self._energy(networks), self._visible(batch)
        count, (_, hidden) = int(visible.shape[0]), energy.kernel.shape
        base = ops.mean(visible, axis=0) if energy.gaussian else partition.base_rates(visible)
        seed = tf.cast(batch["annealing"][0, 0] * 2.0**30, tf.int32)
        weights = partition.log_weights(
            energy,
            base,
            chains=min(count, RUNS),
            steps=self.temperatures,
            seed=tf.stack([seed, tf.constant(0)]),
        )
        rest = tf.fill((count - min(count, RUNS),), tf.constant(float("nan")))
        probabilities = networks["recognition"](batch["image"], training=False)
        means = energy.means(energy.pooled(visible))
        found = {
            "free_energy": energy.free_energy(visible),
            "log_weight": ops.concatenate([weights, rest], axis=0),
            "mse": ops.mean(ops.square(means - visible), axis=1),
            "hidden": probabilities,
            "image": batch["image"],
            "reconstructed": self._pictures(networks, means),
        }
        if hidden <= partition.EXACT:
            exact = partition.exact_log_z(energy)
            found["log_z_exact"] = ops.broadcast_to(exact, (count,))
        return found

    def pictures(
        self, networks: Networks, meter: Any, columns: Mapping[str, Column]
    ) -> dict[str, Callable[[Path], None]]:
        """See `Task.pictures`: what hidden units see, and the chains, or samples."""
        from zoo.tasks import made as pictures
        from zoo.tasks.boltzmann import energy as energies

        return {
            "filters": partial(energies.save_filters, self._energy(networks), _pixels(networks)),
            "samples": lambda path: pictures.save(
                self.generate(networks, columns=columns, count=pictures.SHOWN, seed=0), path
            ),
        }

    def meter(self, columns: Mapping[str, Column]) -> Energies:
        """See `Task.meter`."""
        return Energies(self)

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`: none that a data set knows."""
        return {}

    def generate(
        self,
        networks: Networks,
        *,
        columns: Mapping[str, Column],
        count: int,
        seed: int,
        steps: int = 1000,
        start: np.ndarray | None = None,
        **options: Any,
    ) -> np.ndarray:
        """See `Task.generate`: the means of the pixels after Gibbs sampling.

        It begins at the chains of the training, where there are some, else at units of chance.

        Args:
            networks: Trained, by name.
            columns: Not asked.
            count: Number of pictures.
            seed: Seed of the sampling.
            steps: Steps of Gibbs sampling, 1 or more.
            start: Pictures to begin at in their place (n, height, width, channels), uint8.
            **options: None are known.

        Raises:
            ValueError: There is another option, or no such number.
        """
        from keras import ops

        from zoo.tasks.boltzmann import energy as energies
        from zoo.tasks.made import refuse_options

        refuse_options(self, options)
        energies.check_steps(self, steps, count)
        energy = self._energy(networks)
        if start is None:
            states = ops.convert_to_numpy(networks["chains"].get_layer("chains").states)
            hidden = begun(states, count, energy.kernel.shape[1], seed)
        else:
            hidden = energy.pooled(self._begin(networks, start, count))
        hidden = energies.run(energy, hidden, steps=steps, seed=seed)
        return self._shown(self._pictures(networks, energy.means(hidden)))

    def _begin(self, networks: Networks, start: np.ndarray, count: int) -> Any:
        """Pictures as the machine sees them, repeated (count, ...)."""
        from zoo.tasks.made import begun_with

        shares = begun_with(start, _pixels(networks), count).astype("float32") / 255
        return shares if self.visible == "binary" else (shares - GREY) / SPREAD

    def _energy(self, networks: Networks) -> Energy:
        from typing import cast

        from zoo.tasks.boltzmann.energy import energies

        return cast("Energy", energies(networks)[0])

    def _visible(self, batch: Batch) -> Any:
        """The visible units (b, pixels)."""
        from keras import ops

        image = batch["image"]
        if "threshold" in batch:
            image = ops.cast(batch["threshold"] < image, image.dtype)
        return ops.reshape(image, (image.shape[0] or -1, math.prod(image.shape[1:])))

    def _remember(self, networks: Networks, place: Any, state: Any, probabilities: Any) -> None:
        """Keeps what the next step goes on from."""
        from keras import ops

        memory = networks["chains"].get_layer("chains")
        if self.persistent:
            memory.states.assign(ops.matmul(ops.transpose(place), state))
        if self.sparsity_cost:
            now = ops.mean(ops.stop_gradient(probabilities), axis=0)
            memory.activity.assign(MEMORY * memory.activity + (1 - MEMORY) * now)

    def _pictures(self, networks: Networks, visible: Any) -> Any:
        """(b, pixels) to (b, height, width, channels)."""
        from keras import ops

        return ops.reshape(visible, (-1, *_pixels(networks)))

    def _shown(self, values: Any) -> np.ndarray:
        """Values of pixels as uint8."""
        import numpy as np

        from zoo.tasks.made import to_pixels

        shares = np.asarray(values)
        if self.visible == "gaussian":
            shares = shares * SPREAD + GREY
        return to_pixels(shares, low=0.0)


def begun(states: np.ndarray, count: int, units: int, seed: int) -> np.ndarray:
    """Returns states of hidden units to begin with, (count, units), float32.

    Args:
        states: Of chains, (chains, units); all zeros of those that never ran.
        count: Number of states; beyond that of the chains that ran they repeat.
        units: Number of hidden units.
        seed: Of the choice.
    """
    import numpy as np

    random = np.random.default_rng(seed)
    ran = states[states.any(axis=1)]
    if not len(ran):
        return (random.random((count, units)) < 0.5).astype("float32")
    order = random.permutation(len(ran))
    return ran[np.resize(order, count)].astype("float32")


def _pixels(networks: Networks) -> tuple[int, ...]:
    return tuple(networks["recognition"].input.shape[1:])


class Energies:
    """Puts the log-probability of a split together, and keeps a few pictures.

    A file gives the hidden units alone: how active they are is all that is measured.

    Args:
        task: Knows what pixels look like.
    """

    def __init__(self, task: RBM):
        self._task = task
        self._parts: list[dict[str, np.ndarray]] = []

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`; `outputs` may be the hidden units alone."""
        self._parts.append(dict(outputs) if isinstance(outputs, Mapping) else {"hidden": outputs})

    def result(self) -> Evaluation:
        """Measures `log_probability`, its `standard_error`, `log_z`, `mse` and `activity`."""
        import numpy as np

        from zoo.tasks import made as pictures
        from zoo.tasks.boltzmann import partition

        whole = {
            name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]
        }
        metrics = {"activity": float(whole["hidden"].mean(dtype="f8"))}
        if "log_weight" not in whole:
            return Evaluation(metrics)
        weights = whole["log_weight"]
        log_z = partition.estimated(weights[np.isfinite(weights)])
        free = float(whole["free_energy"].mean(dtype="f8"))
        metrics = {
            "log_probability": -free - log_z.value,
            "standard_error": log_z.error,
            "log_z": log_z.value,
            "mse": float(whole["mse"].mean(dtype="f8")),
            **metrics,
        }
        if "log_z_exact" in whole:
            exact = float(whole["log_z_exact"][0])
            metrics |= {"log_probability_exact": -free - exact, "log_z_exact": exact}
        half = pictures.SHOWN // 2
        pairs = [self._task._shown(whole[name][:half]) for name in ("image", "reconstructed")]
        shown = {
            "reconstructions": np.stack(pairs, axis=1).reshape(-1, *pairs[0].shape[1:]),
        }
        return Evaluation(
            metrics,
            pictures={name: partial(pictures.save, values) for name, values in shown.items()},
        )
