"""What tasks that learn pictures without labels share: intensities go in as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from zoo.common.tensors import LABEL
from zoo.tasks.task import Task, columns_of

if TYPE_CHECKING:
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.data.preprocessing import Preprocessing
    from zoo.tasks.task import Networks


class Unsupervised(Task):
    """A task whose networks learn square pictures.

    Attributes:
        black: What a black pixel becomes, 0 or -1; a white one becomes 1.
    """

    black: ClassVar[float] = 0.0

    kind: str

    def check(self, data: DataSet) -> None:
        """See `Task.check`."""
        column = data.columns[data.input]
        if column.kind != "image":
            raise ValueError(
                f"task.kind: got {self.kind}, which learns images; {data.name} has {data.input} "
                f"({column.kind}). Take another data set, or another task.kind."
            )

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`."""
        return {"input_shape": data.columns[data.input].shape}

    def preprocessing(self, column: Column) -> Preprocessing | None:
        """See `Task.preprocessing`: intensities from `black` to 1."""
        from zoo.tasks.made import scaled

        span = 1 - self.black
        return scaled(column, mean=-self.black / span, std=1 / span)

    def states(self, networks: Networks) -> dict[str, Column]:
        """See `Task.states`: a class that networks are told is read as shares that sum to 1."""
        from zoo.common.columns import Column
        from zoo.tasks.classes import num_classes

        classes = max(map(num_classes, networks.values()), default=0)
        return {LABEL: Column("features", (classes,))} if classes else {}

    def inputs(self, networks: Networks, columns: Mapping[str, np.ndarray]) -> Any:
        """See `Task.inputs`: a `label` is one-hot."""
        from zoo.tasks.classes import beside

        model = self.deployed(networks) if networks else None
        return columns_of(model, beside(model, columns) if model else columns)

    def inputs_of(self, name: str, networks: Networks, columns: Mapping[str, Any]) -> Any:
        """See `Task.inputs_of`: a `code` is the encoder's of a picture, a `label` is one-hot."""
        from zoo.tasks.classes import beside

        known = beside(networks[name], columns)
        wanted = {tensor.name for tensor in networks[name].inputs}
        if "code" in wanted and "code" not in known and "encoder" in networks:
            given = self.inputs_of("encoder", networks, columns)
            found = networks["encoder"].predict(given, verbose=0)
            known["code"] = found["mean"] if isinstance(found, Mapping) else found
        return columns_of(networks[name], known)
