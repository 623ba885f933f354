"""The one door to tensorflow-model-optimization (tfmot), 0.8.1, which knows Keras 2 only.

What works on Keras 3 variables is its mathematics: the schedules, and the look-ups of
`ClusteringAlgorithm`. Its wrappers of whole models do not: `prune_low_magnitude` and
`quantize_model` raise, `cluster_weights` returns None. Hence `compress` prunes, shares and
quantises by itself; here a tfmot schedule becomes ours, and tfmot is imported without harm.
"""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType
from typing import Any

from compress.passes.prune.schedule import Schedule
from compress.passes.prune.settings import Prune

_SWITCH = "TF_USE_LEGACY_KERAS"


def import_tfmot() -> ModuleType:
    """Imports tfmot, and leaves `tf.keras` and the environment as they are.

    A bare `import tensorflow_model_optimization` sets TF_USE_LEGACY_KERAS, which child processes
    inherit, and turns a `tf.keras` that nobody has touched yet to Keras 2.

    Raises:
        ImportError: tfmot is not installed, or lacks `distutils`.
    """
    before = os.environ.get(_SWITCH)
    try:
        keras = import_module("tensorflow").keras
        _ = keras.__name__  # `tf.keras` is lazy: this decides which Keras it is
        return import_module("tensorflow_model_optimization")
    except ModuleNotFoundError as error:
        raise ImportError(
            f"compress.tfmot: {error}; expected tensorflow-model-optimization 0.8.1 and, from "
            "Python 3.12 on, setuptools, which brings back distutils."
        ) from error
    finally:
        if before is None:
            os.environ.pop(_SWITCH, None)
        else:
            os.environ[_SWITCH] = before


def prune(schedule: Any, *, num_steps: int, **settings: Any) -> Prune:
    """Returns the `Prune` of a tfmot schedule, with equal sparsity at each of its turns.

    Differs: tfmot counts the step that it is in, from 1, we the steps done, so that our masks come
    one step later. Ours are renewed at the end too where `frequency` does not divide the time
    between begin and end; there tfmot stays short of the final sparsity.

    Args:
        schedule: `tfmot.sparsity.keras.PolynomialDecay` or `ConstantSparsity`.
        num_steps: Number of steps of the whole training; our schedules are fractions of it.
        **settings: The other settings of `Prune`.

    Raises:
        TypeError: `schedule` is of another class.
        ValueError: It ends after the training, or has no duration.
    """
    theirs = import_tfmot().sparsity.keras
    constant = isinstance(schedule, theirs.ConstantSparsity)
    if not constant and not isinstance(schedule, theirs.PolynomialDecay):
        raise TypeError(
            f"schedule: got {type(schedule).__name__}; expected tfmot's PolynomialDecay or "
            "ConstantSparsity."
        )
    begin, end = schedule.begin_step, schedule.end_step
    end = num_steps if end == -1 else end
    if not begin < end <= num_steps:
        raise ValueError(
            f"schedule: got steps {begin} to {end}; expected begin < end <= num_steps = "
            f"{num_steps}."
        )
    shape: dict[str, Any] = {"shape": "constant"}
    if not constant:
        shape = {"initial": schedule.initial_sparsity, "power": schedule.power}
    return Prune(
        sparsity=schedule.target_sparsity if constant else schedule.final_sparsity,
        schedule=Schedule(
            begin=begin / num_steps, end=end / num_steps, every=schedule.frequency, **shape
        ),
        **settings,
    )
