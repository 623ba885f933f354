"""A fresh optimizer of equal settings, those among them that its `get_config` leaves out.

It leaves out what is excluded from weight decay, and it has a schedule, or a function, of the
learning rate as data, from which one that is not registered cannot be made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops

from compress.graph import leaf_layers
from compress.layers.parametrized import Parametrized
from zoo.common.reading import one_line


class RatedSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A share of another schedule.

    Args:
        schedule: From step to learning rate.
        rate: Share of it.
    """

    def __init__(self, schedule: Callable[[Any], Any], rate: float) -> None:
        self._schedule, self._rate = schedule, rate

    def __call__(self, step: Any) -> Any:
        """Returns the learning rate of a step."""
        return self._schedule(step) * self._rate

    def get_config(self) -> dict[str, Any]:
        """The arguments that make it again."""
        return {"schedule": self._schedule, "rate": self._rate}


def fresh_optimizer(
    optimizer: keras.optimizers.Optimizer, rate: float, models: tuple[keras.Model, keras.Model]
) -> keras.optimizers.Optimizer:
    """Returns an optimizer of equal settings that has seen no step.

    Args:
        optimizer: Stays as it is.
        rate: Share of its learning rate.
        models: The one that it trains, and the one to be trained.

    Raises:
        ValueError: It is of a class of the user's own that cannot be made from its settings.
    """
    inner = getattr(optimizer, "inner_optimizer", None)  # of the scaling that half precision has
    if inner is not None:
        fresh = fresh_optimizer(inner, rate, models)
        return keras.optimizers.LossScaleOptimizer(
            fresh,
            initial_scale=optimizer.initial_scale,
            dynamic_growth_steps=optimizer.dynamic_growth_steps,
            name=optimizer.name,
        )
    fresh, kept = _made(optimizer), optimizer._learning_rate  # the public name gives a number
    if rate != 1:
        if isinstance(kept, keras.optimizers.schedules.LearningRateSchedule):
            fresh._learning_rate = RatedSchedule(kept, rate)
        elif _is_own(kept):
            fresh._learning_rate = lambda: kept() * rate
        else:
            fresh.learning_rate = float(ops.convert_to_numpy(optimizer.learning_rate)) * rate
    _exclude(optimizer, fresh, *models)
    return fresh


def _made(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """An optimizer of equal settings, with the very schedule of the learning rate."""
    kept = optimizer._learning_rate
    try:
        if _is_own(kept):
            optimizer._learning_rate = None  # or it would be asked for its settings
        config = optimizer.get_config()
        return type(optimizer).from_config(
            {**config, "learning_rate": kept} if _is_own(kept) else config
        )
    except Exception as error:  # of the user's own code
        raise ValueError(
            f"optimizer: {type(optimizer).__name__} cannot be made from its own settings: "
            f"{one_line(error)}; expected a `get_config` that gives all that `__init__` takes."
        ) from None
    finally:
        optimizer._learning_rate = kept


def _is_own(rate: Any) -> bool:
    """Whether a learning rate is a schedule or a function."""
    return callable(rate) and not isinstance(rate, keras.Variable)


def _exclude(
    old: keras.optimizers.Optimizer,
    new: keras.optimizers.Optimizer,
    model: keras.Model,
    trained: keras.Model,
) -> None:
    """Excludes from weight decay what is excluded: by a part of its name, or by itself."""
    pattern = getattr(old, "_exclude_from_weight_decay_pattern", None)  # no public name has it
    single = getattr(old, "_exclude_from_weight_decay", None) or set()
    if not (pattern or single):
        return
    gone = {place for place, x in _variables(model) if old._var_key(x) in single}
    names = [pattern.pattern] if pattern else None
    found = [
        x
        for place, x in _variables(trained)
        if place in gone or (pattern and pattern.search(place[1]))
    ]
    new.exclude_from_weight_decay(var_list=found, var_names=names)


def _variables(model: keras.Model) -> Iterator[tuple[tuple[str, str], keras.Variable]]:
    """The variables that are trained, with the path of the layer and the name in it.

    What a computed kernel is made of goes by the name of the one that it replaces.
    """
    for path, layer in leaf_layers(model):
        made: dict[int, str] = {}
        for part, of in layer.pairs() if isinstance(layer, Parametrized) else []:
            made |= dict.fromkeys(map(id, part.trainable_variables), layer.stored(of).name)
        for x in layer.trainable_variables:
            yield (path, made.get(id(x), x.name)), x
