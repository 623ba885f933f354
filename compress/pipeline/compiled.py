"""A compiled model says how it is trained and measured; all that is missing is data.

What is rewritten is trained with the loss, the metrics and the kind of optimizer of the model that
came in, as `model.fit` does it. The optimizer is fresh, of equal settings: what the trained one
remembers belongs to weights that are no more. A schedule of the learning rate begins anew; a rate
that a callback has lowered is the one to begin with.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import ops

from compress.base import Context, Headline
from compress.graph import inputs_of
from compress.graph.tables import check_indices
from compress.measure.table import in_notebook
from compress.pipeline.data import Data, check_data, of_classes
from compress.pipeline.optimizer import fresh_optimizer
from zoo.common.examples import gather
from zoo.common.settings import nearest

SAMPLES = 512  # examples to calibrate on, where no others are given


class Training:
    """Trains and measures what is made of a compiled model, as that was compiled.

    Args:
        model: Compiled, with a loss.
        data: What it learns from; `None`: nothing is trained.
        validation: What it is measured on; `None`: `data`.

    Raises:
        ValueError: The model is not compiled, or some data cannot be read more than once.
    """

    def __init__(self, model: keras.Model, data: Any = None, validation: Any = None) -> None:
        if not model.compiled:
            raise ValueError(
                f"data: got a model, {model.name!r}, that is not compiled; expected "
                "model.compile(optimizer, loss, ...) before, or `fit` and `evaluate` in the place "
                "of `data` and `validation`."
            )
        self._model = model
        # What was passed to `compile`: Keras has it as objects under this name only, and what is
        # not registered, such as a loss of one's own, cannot be had by its config.
        self._config = dict(model._compile_config.config)
        self.data = None if data is None else Data.of(data)
        self.validation = None if validation is None else Data.of(validation, name="validation")
        self.measured = self.validation or self.data
        if self.data is not None:
            check_data(self.data, model)
        if self.validation is not None:
            check_data(self.validation, model, name="validation")

    def context(self, *, samples: Any = None) -> Context:
        """Returns what passes may use of the model and the data.

        Args:
            samples: Examples to calibrate on; `None` takes inputs of the data.
        """
        return Context(
            fit=self.fit if self.data else None,
            evaluate=self.evaluate,
            gradients=self.gradients if self.data else None,
            samples=self.samples() if samples is None else samples,
            higher=self.higher,
        )

    def compile(self, model: keras.Model, *, rate: float = 1.0) -> None:
        """Compiles another model alike, with a fresh optimizer and fresh metrics.

        Args:
            model: With the outputs of the one that was given.
            rate: Share of its learning rate.
        """
        config = dict(self._config)
        if len(model.outputs) == 1:  # what holds one output may be named otherwise in a new graph
            config["loss"] = _only(config["loss"])
        for name in ("metrics", "weighted_metrics"):
            config[name] = keras.tree.map_structure(_fresh_metric, config[name])
        optimizer = self._model.optimizer  # with the scaling of losses that half precision has
        config["run_eagerly"] = self._model.run_eagerly  # it may have been set since
        if optimizer:
            config["optimizer"] = fresh_optimizer(optimizer, rate, (self._model, model))
        model.compile(**config, auto_scale_loss=False)

    def fit(
        self,
        model: keras.Model,
        *,
        epochs: int,
        callbacks: list[keras.callbacks.Callback],
        rate: float = 1.0,
    ) -> None:
        """Trains a model in place, see `compress.base.Fit`; it is not compiled afterwards."""
        data, trained = self.data, _beside(model)
        if data is None:
            raise RuntimeError("fit: got no data.")
        self.compile(trained, rate=rate)
        with _without_retracing_advice():
            trained.fit(
                **data.arguments(training=True),
                epochs=epochs,
                callbacks=callbacks,
                verbose=int(bool(in_notebook())) if data.verbose is None else data.verbose,
            )

    def evaluate(self, model: keras.Model) -> dict[str, float]:
        """Returns the metrics of a model by Keras' names, its loss among them."""
        data, measured = self.measured, _beside(model)
        if data is None:
            return {}
        self.compile(measured)
        with _without_retracing_advice():
            found = measured.evaluate(**data.arguments(training=False), verbose=0, return_dict=True)
        return {name: float(value) for name, value in found.items()}

    def gradients(self, model: keras.Model, *, batches: int = 8) -> Iterator[list[np.ndarray]]:
        """Gives the gradients of the loss for some batches of the data, see `Context.gradients`."""
        import tensorflow as tf

        if self.data is None:
            return
        other = _beside(model)
        self.compile(other)
        variables, weights = model.trainable_variables, self.data.class_weight
        for x, y, sample_weight in itertools.islice(self.data.batches(), batches):
            if weights and sample_weight is None:
                sample_weight = of_classes(y, weights)
            with tf.GradientTape() as tape:
                outputs = other(x, training=False)
                loss = other.compute_loss(x, y, outputs, sample_weight, training=False)
            # Of a variable that several devices have, the one that is read here.
            here = tf.distribute.get_strategy().experimental_local_results
            slopes = tape.gradient(loss, [here(variable.value)[0] for variable in variables])
            yield [
                np.zeros(variable.shape, "float32")
                if slope is None
                else ops.convert_to_numpy(slope)
                for variable, slope in zip(variables, slopes, strict=True)
            ]

    def samples(self, count: int = SAMPLES) -> dict[str, np.ndarray] | None:
        """Returns at most `count` inputs of the data (n, ...) by input's name, to calibrate on."""
        data, known = self.data or self.measured, inputs_of(self._model)
        if data is None:
            return None
        names = {key: x.name for key, x in known.items()} if isinstance(known, Mapping) else {}
        examples = data.examples(count)
        found = gather(examples, self._model.inputs, where="data", most=count, also=names)
        check_indices(self._model, list(found.values()), where="data")
        return found

    @cached_property
    def higher(self) -> dict[str, bool]:
        """Whether more is better, of each metric that `evaluate` returns and Keras knows it of."""
        if self.measured is None:
            return {}
        model = _beside(self._model)
        self.compile(model)
        model.run_eagerly = True  # for one batch nothing is to be compiled
        batch = self.measured.first if self.measured.gives_batches else None  # of arrays all of it
        x, y, sample_weight = batch or next(self.measured.batches())
        model.test_on_batch(x, y, sample_weight)
        known = {name: False for name in model.get_metrics_result() if name.endswith("loss")}
        for group in model.metrics:
            if isinstance(found := getattr(group, "metrics", None), Sequence):  # those of `compile`
                for name, metric in zip(group.result(), found, strict=True):
                    if hasattr(metric, "_direction"):  # as for EarlyStopping(mode="auto")
                        known[name] = metric._direction == "up"
        return known

    def headline(self, asked: Headline | str | None = None) -> Headline:
        """Returns the metric to choose by.

        Args:
            asked: A metric, or its name; `None`: the first one that Keras knows the better end of,
                and the loss where there is none.

        Raises:
            ValueError: There is no such metric, or it is not known whether more of it is better.
        """
        if isinstance(asked, Headline):
            return asked
        if asked is None:
            found = [name for name in self.higher if not name.endswith("loss")]
            asked = found[0] if found else "loss"
        asked = asked.removeprefix("val_")
        if asked not in self.higher:
            raise ValueError(
                f"headline: got {asked!r}, which is no metric of the compiled model, or one of "
                f"which Keras does not know whether more is better. {nearest(asked, self.higher)} "
                f"For a metric of your own: compress.Headline({asked!r}, higher=True)."
            )
        return Headline(asked, self.higher[asked])


def _fresh_metric(metric: Any) -> Any:
    """A metric of equal settings; itself, where it is none or cannot be made from its settings."""
    if not isinstance(metric, keras.metrics.Metric):
        return metric
    try:
        return type(metric).from_config(metric.get_config())
    except (TypeError, NotImplementedError, ValueError):
        metric.reset_state()  # Keras does not before the first use in a model
        return metric


def _beside(model: keras.Model) -> keras.Model:
    """A model over the same layers, to be compiled in the place of the given one."""
    outputs = model.outputs[0] if isinstance(model, keras.Sequential) else model.output
    return keras.Model(inputs_of(model), outputs, name=model.name)


def _only(values: Any) -> Any:
    """What a mapping with one entry holds; anything else as it is."""
    return (
        next(iter(values.values())) if isinstance(values, Mapping) and len(values) == 1 else values
    )


@contextlib.contextmanager
def _without_retracing_advice() -> Iterator[None]:
    """Each model is compiled once, so that what TensorFlow says of loops is not meant for it."""
    log = logging.getLogger("tensorflow")

    def others(record: logging.LogRecord) -> bool:
        return "retracing" not in record.getMessage()

    log.addFilter(others)
    try:
        yield
    finally:
        log.removeFilter(others)
