"""Pixels in two scales: a small picture first, then the whole one, given the small one.

Source: van den Oord, Kalchbrenner & Kavukcuoglu 2016, arXiv:1601.06759, section 3.6. The small
picture is every second pixel of the whole one, so that the nats of both are those of the whole, or
more: the second net may also expect pictures whose second pixels are others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from zoo.tasks.pixel_nets.autoregressive import COARSE, Autoregressive
from zoo.tasks.task import Objective

if TYPE_CHECKING:
    import keras

    from zoo.common.columns import Column
    from zoo.tasks.task import Batch, Networks


class MultiScale(Autoregressive):
    """The task of two nets: `coarse` of every second pixel, and `net`, which is given those."""

    deployed_answers: ClassVar[bool] = False

    kind: Literal["multi_scale"] = "multi_scale"  # type: ignore[assignment]

    def objectives(self) -> tuple[Objective, ...]:
        """See `Task.objectives`: one, for both networks."""
        return (Objective(learns=(COARSE, "net")),)

    def logits(self, networks: Networks, batch: Batch, levels: Any, *, training: bool) -> Any:
        """See `Autoregressive.logits`: of both nets, by name."""
        small = self._read(networks[COARSE], batch, levels[:, ::2, ::2])
        whole = super().logits(networks, batch, levels, training=training)
        return {COARSE: networks[COARSE](small, training=training), "logits": whole}

    def inputs_of(self, name: str, networks: Networks, columns: Mapping[str, Any]) -> Any:
        """See `Task.inputs_of`: `coarse` reads every second pixel."""
        levels = self.levels_of(columns)
        given = levels[:, ::2, ::2] if name == COARSE else levels
        return self._arrays(networks[name], columns, given)

    def nats_of(self, outputs: Any, levels: Any) -> Any:
        """See `Autoregressive.nats_of`: the sum of both."""
        small = self.nats(outputs[COARSE], levels[:, ::2, ::2])
        return small + self.nats(outputs["logits"], levels)

    def states(self, networks: Networks) -> dict[str, Column]:
        """See `Task.states`: the small picture, which the first net draws."""
        from zoo.common.columns import Column

        if not networks:
            return {}
        return {COARSE: Column("image", tuple(networks[COARSE].input.shape[1:]))}

    def deployed(self, networks: Networks) -> keras.Model:
        """See `Task.deployed`: the net of the whole picture."""
        return networks["net"]

    def replaced(self, networks: Networks, model: keras.Model) -> dict[str, keras.Model]:
        """See `Task.replaced`."""
        return {**networks, "net": model}
