"""The deep belief network: machines that learn one upon the other, then a classifier on top.

Sources: Hinton, Osindero & Teh 2006, Neural Computation 18(7), section 4: each layer is a
restricted Boltzmann machine that learns from the probabilities of the units below it, by
contrastive divergence. Lee, Grosse, Ranganath & Ng 2009, ICML: the same with convolutions and
pools, whose probabilities a linear support vector machine then tells apart. Differs: the
fine-tuning is by the labels, backwards through the layers (Hinton & Salakhutdinov 2006, Science
313), in place of the up-down algorithm.

A layer is an objective, `layer1`, `layer2` ..., and so is `classify`: the phases of a recipe say
whose turn it is. The way down keeps the kernels that the machines had learnt; `zoo generate` draws
from the uppermost machine and goes down by them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from zoo.tasks.labels.classify import Classify
from zoo.tasks.task import Mean, Objective, Seen, named

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.data.feeds.source import Draw
    from zoo.data.preprocessing import Preprocessing
    from zoo.tasks.task import Batch, Networks

CLASSIFY = "classify"
TUNED = {"all": ("recognition", "head"), "head": ("head",)}


class DBN(Classify):
    """The task of a deep belief network, see `zoo.models.rbm`; what is deployed classifies.

    Attributes:
        layers: Number of its machines.
        steps: Steps of Gibbs sampling of a machine that learns, k.
        sparsity: Share of its units that a machine's biases draw to be on, in (0, 1).
        sparsity_cost: How strongly; 0 lets the biases be.
        tune: Whether all layers learn by the labels, or the uppermost alone.
    """

    kind: Literal["dbn"] = "dbn"  # type: ignore[assignment]
    layers: Annotated[int, Field(ge=1)] = 3
    steps: Annotated[int, Field(ge=1)] = 1
    sparsity: Annotated[float, Field(gt=0, lt=1)] = 0.02
    sparsity_cost: Annotated[float, Field(ge=0)] = 0.0
    tune: Literal["all", "head"] = "all"

    def check(self, data: DataSet) -> None:
        """See `Task.check`."""
        super().check(data)
        column = data.columns[data.input]
        if column.kind != "image":
            raise ValueError(
                f"task.kind: got {self.kind}, which learns images; {data.name} has {data.input} "
                f"({column.kind}). Take another data set, or another task.kind."
            )

    def preprocessing(self, column: Column) -> Preprocessing:
        """See `Task.preprocessing`: intensities, which are taken for probabilities."""
        from zoo.tasks.made import scaled

        return scaled(column, mean=0.0, std=1.0)

    def objectives(self) -> tuple[Objective, ...]:
        """See `Task.objectives`: one for each machine, which moves no other; then `classify`."""
        machines = [
            Objective(f"layer{number}", ("recognition", "generative"), layers=_layers(number))
            for number in range(1, self.layers + 1)
        ]
        return (*machines, Objective(CLASSIFY, TUNED[self.tune]))

    def draws(self, networks: Networks) -> Mapping[str, Draw]:
        """See `Task.draws`: what the units of each machine are drawn by."""
        from zoo.data.feeds.source import Draw

        if not networks:
            return {}
        up = {layer.name: layer for layer in networks["recognition"].layers}
        found, below = {}, tuple(networks["recognition"].input.shape[1:])
        for number in range(1, self.layers + 1):
            layer = up.get(f"hidden{number}")
            if layer is None:  # of a network that was compressed to other layers
                break
            hidden = tuple(layer.output.shape[1:])
            found[f"hidden{number}_noise"] = Draw("uniform", (self.steps + 1, *hidden))
            found[f"visible{number}_noise"] = Draw("uniform", (self.steps, *below))
            below = hidden
        return found

    def inputs_of(self, name: str, networks: Networks, columns: Mapping[str, Any]) -> Any:
        """See `Task.inputs_of`: a `code` is the uppermost units' of a picture."""
        from keras import ops

        from zoo.tasks.boltzmann.energy import coded
        from zoo.tasks.task import columns_of

        known = dict(columns)
        if name == "generative":
            known["code"] = ops.convert_to_numpy(coded(networks, known["image"]))
        if name == "head":
            known["features"] = networks["recognition"].predict(known["image"], verbose=0)
        return columns_of(networks[name], known)

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`; a machine's loss is F(v) - F(v'), and its `mse` that of one step."""
        if objective == CLASSIFY:
            features = networks["recognition"](batch["image"], training=training)
            return self.judge(batch, networks["head"](features, training=training))
        from keras import ops

        from zoo.tasks.boltzmann.energy import energies, gibbs, tie

        number = int(objective.removeprefix("layer"))
        machines = energies(networks)
        if number > len(machines):
            raise ValueError(
                f"task.layers: got {self.layers} for a network of {len(machines)} machines; "
                f"expected {len(machines)}."
            )
        visible, energy = batch["image"], machines[number - 1]
        for below in machines[: number - 1]:
            visible = below.pooled(visible)
        visible = ops.stop_gradient(visible)
        uniform = batch[f"hidden{number}_noise"]
        start = energy.drawn(visible, uniform[:, 0])
        made, _ = gibbs(energy, start, uniform[:, 1:], batch[f"visible{number}_noise"])
        if training:
            tie(networks, energy, number)
        again = ops.reshape(energy.means(start), (-1, *visible.shape[1:]))
        axes = tuple(range(1, len(visible.shape)))
        error = ops.mean(ops.square(again - visible), axis=axes)
        loss = energy.free_energy(visible) - energy.free_energy(made)
        units = _units(energy, visible)  # that share a bias
        on = ops.stop_gradient(energy.activity(visible)) / units
        if self.sparsity_cost:  # the step of a bias is target less activity, Lee et al., section 3
            drawn = ops.sum((on - self.sparsity) * energy.hidden_bias, axis=1)
            loss += self.sparsity_cost * units * drawn
        return Seen(Mean(loss), {"mse": Mean(error), "on": Mean(ops.mean(on, axis=1))})

    def watch(self, networks: Networks, batch: Batch) -> dict[str, Mean]:
        """See `Task.watch`: how well it classifies, whoever learns."""
        return named(self.look(CLASSIFY, networks, batch, training=False), CLASSIFY)

    def answer(self, networks: Networks, batch: Batch) -> Any:
        """See `Task.answer`: the logits, (b, classes)."""
        features = networks["recognition"](batch["image"], training=False)
        return networks["head"](features, training=False)

    def pictures(
        self, networks: Networks, meter: Any, columns: Mapping[str, Column]
    ) -> dict[str, Callable[[Path], None]]:
        """See `Task.pictures`: what units of the first layer see, and samples."""
        from zoo.tasks import made as pictures
        from zoo.tasks.boltzmann import energy as energies

        found = {
            "samples": lambda path: pictures.save(
                self.generate(networks, columns=columns, count=pictures.SHOWN, seed=0), path
            )
        }
        try:
            first = energies.energies(networks)[0]
        except ValueError:  # of a network that was compressed to other layers
            return found
        shape = networks["recognition"].input.shape[1:]
        return {**found, "filters": partial(energies.save_filters, first, shape)}

    def deployed(self, networks: Networks) -> keras.Model:
        """See `Task.deployed`: a picture to the logits of its classes."""
        import keras

        up, head = networks["recognition"], networks["head"]
        image = keras.Input(up.input.shape[1:], name="image")
        return keras.Model(image, head(up(image)), name="classifier")

    def replaced(self, networks: Networks, model: keras.Model) -> dict[str, keras.Model]:
        """See `Task.replaced`: the models of these names in the deployed one."""
        found = {layer.name: layer for layer in model.layers}
        missing = [name for name in TUNED["all"] if name not in found]
        if missing:
            raise ValueError(
                f"{model.name}: has no {' and no '.join(missing)}; expected the nested models "
                "recognition and head, as a bundle's model.keras has them."
            )
        return {**networks, **{name: found[name] for name in TUNED["all"]}}

    def generate(
        self,
        networks: Networks,
        *,
        columns: Mapping[str, Column],
        count: int,
        seed: int,
        steps: int = 1000,
        **options: Any,
    ) -> np.ndarray:
        """See `Task.generate`: Gibbs sampling of the uppermost machine, then the way down.

        Args:
            networks: Trained, by name.
            columns: Not asked.
            count: Number of pictures.
            seed: Seed of the sampling.
            steps: Steps of Gibbs sampling, 1 or more.
            **options: None are known.

        Raises:
            ValueError: There is another option, or no such number.
        """
        import numpy as np

        from zoo.tasks.boltzmann import energy as energies
        from zoo.tasks.made import refuse_options, to_pixels

        refuse_options(self, options)
        energies.check_steps(self, steps, count)
        machine = energies.uppermost(networks)
        shape = (count, *networks["generative"].input.shape[1:])
        pool = getattr(machine, "pool", 1)
        start = np.random.default_rng(seed).random(shape) < 0.5 / pool**2
        states = energies.run(machine, start.astype("float32"), steps=steps, seed=seed)
        return to_pixels(networks["generative"](states, training=False), low=0.0)


def _layers(number: int) -> tuple[str, ...]:
    """Names that the layers of a machine may have, see `zoo.tasks.boltzmann.energy.energies`."""
    names = ("detect{}", "hidden{}", "hidden{}_linear", "visible{}")
    return tuple(name.format(number) for name in names)


def _units(energy: Any, visible: Any) -> int:
    """Number of hidden units that share a bias."""
    if len(energy.kernel.shape) == 2:
        return 1
    _, rows, columns, _ = energy.sent(visible).shape
    return int(rows * columns)
