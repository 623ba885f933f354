"""Opens the run of a bundle again: its data, preprocessing and machine."""

from __future__ import annotations

from zoo.bundle import Bundle
from zoo.data.preprocessing import Preprocessing
from zoo.training.run import Run


def reopen(bundle: Bundle) -> Run:
    """Returns the run that a bundle came from.

    Raises:
        ValueError: The data set no longer has the classes that the model knows.
    """
    run = Run(bundle.recipe, Preprocessing.model_validate(bundle.card.preprocessing))
    if tuple(run.data.labels) != bundle.card.labels:
        raise ValueError(
            f"{bundle.path}: the data set {run.data.name} has the classes {run.data.labels}; "
            f"expected {bundle.card.labels}, which the model was trained on."
        )
    return run
