"""What tasks that learn pictures without labels share: intensities go in as they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from zoo.tasks.task import Task, columns_of

if TYPE_CHECKING:
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

    def inputs_of(self, name: str, networks: Networks, columns: Mapping[str, Any]) -> Any:
        """See `Task.inputs_of`: a `code` is the encoder's of a picture, a `label` is one-hot."""
        import numpy as np

        known = dict(columns)
        for tensor in networks[name].inputs:
            if tensor.name == "label" and len(tensor.shape) == 2 and "label" in known:
                known["label"] = np.eye(tensor.shape[1], dtype="float32")[known["label"]]
        wanted = {tensor.name for tensor in networks[name].inputs}
        if "code" in wanted and "code" not in known and "encoder" in networks:
            given = self.inputs_of("encoder", networks, columns)
            found = networks["encoder"].predict(given, verbose=0)
            known["code"] = found["mean"] if isinstance(found, Mapping) else found
        return columns_of(networks[name], known)
