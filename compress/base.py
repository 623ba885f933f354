"""What every pass is: settings, and one pure `apply`.

A pass never changes its input, and it accounts for every leaf layer once: changed, or left as it is
because. Keras is imported only when a pass is applied, so settings are refused at once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self

from pydantic import Field

from compress.measure.report import LayerReport, PassReport, Runtime
from zoo.common.settings import Settings, nearest

if TYPE_CHECKING:
    import keras
    import numpy as np

    from compress.measure.account import LayerRow


class Fit(Protocol):
    """How the caller trains a model: with which data, loss and optimizer."""

    def __call__(
        self,
        model: keras.Model,
        *,
        epochs: int,
        callbacks: list[keras.callbacks.Callback],
        rate: float = 1.0,
    ) -> None:
        """Trains `model` in place.

        `rate` is the share of the usual learning rate to train with; few passes give one.

        The callbacks are called as Keras calls them: `params` holds `epochs` and `steps`; epochs
        and batches count from 0. The model that they see may be a copy, whose weights end up in
        `model`.
        """


class Measure(Protocol):
    """How the caller makes and times the files that its runtimes read."""

    def __call__(self, *models: keras.Model) -> Sequence[Mapping[str, Runtime]]:
        """Returns what each model takes, by name of the runtime; the first is the main one.

        The models are timed in turns, so that what slows the machine slows all of them. A runtime
        that cannot run a model is left out.
        """


class Headline(NamedTuple):
    """The metric that tells how good a model is.

    Attributes:
        name: A name that `evaluate` returns.
        higher: Whether more is better.
    """

    name: str = "top1"
    higher: bool = True

    def fall(self, before: float, after: float) -> float:
        """Returns by how much it has become worse; below 0 where it has become better."""
        return before - after if self.higher else after - before


TOP1 = Headline()


@dataclass(frozen=True)
class Context:
    """What a pass may use beside the model.

    Attributes:
        fit: Trains a model in place. Without it nothing is fine-tuned.
        evaluate: Returns the metrics of a model by name, e.g. `{"top1": 0.98}`.
        gradients: Returns the gradients of the loss for some batches: for each batch an array for
            each trainable variable of the model.
        measure: Makes and times the files that runtimes read (see `Measure`).
        samples: Examples as the model takes them, to calibrate on: an array (n, ...), or a mapping
            from input name to array. Some hundred are enough.
        teacher: What a model may learn from; a pipeline gives the one that it is applied to.
        headline: What budgets limit and passes choose by, where they name no metric.
    """

    fit: Fit | None = None
    evaluate: Callable[[keras.Model], Mapping[str, float]] | None = None
    gradients: Callable[[keras.Model], Iterable[Sequence[np.ndarray]]] | None = None
    measure: Measure | None = None
    samples: Any = None
    teacher: keras.Model | None = None
    headline: Headline = TOP1

    def seconds(self, model: keras.Model) -> float | None:
        """Returns the latency of `model` in the main runtime; None where none measures it."""
        found = self.measure(model)[0] if self.measure else {}
        return next(iter(found.values())).seconds if found else None

    def metrics(self, model: keras.Model) -> dict[str, float]:
        """Returns the metrics of `model` as plain floats; none without `evaluate`."""
        if self.evaluate is None:
            return {}
        return {name: float(value) for name, value in self.evaluate(model).items()}

    def fine_tune(
        self,
        model: keras.Model,
        *,
        epochs: int,
        callbacks: Iterable[keras.callbacks.Callback] = (),
    ) -> str:
        """Trains `model` in place where there is a `fit`; returns a line that says so.

        Zeros stay zeros and shared weights stay shared, see `compress.graph.holding`.
        """
        if self.fit is None or epochs == 0:
            return self.train(model, epochs=epochs)
        from compress.graph.holding import bake, hold

        held = hold(model)
        text = self.train(held, epochs=epochs, callbacks=callbacks)
        for weight, value in zip(model.variables, bake(held, like=model).variables, strict=True):
            weight.assign(value)
        return text

    def train(
        self,
        model: keras.Model,
        *,
        epochs: int,
        callbacks: Iterable[keras.callbacks.Callback] = (),
        rate: float = 1.0,
    ) -> str:
        """As `fine_tune`, but all weights may change."""
        if self.fit is None or epochs == 0:
            return "not fine-tuned: " + ("no `fit`" if self.fit is None else "`epochs` is 0")
        rated = {} if rate == 1 else {"rate": rate}
        self.fit(model, epochs=epochs, callbacks=list(callbacks), **rated)
        return f"fine-tuned for {epochs} epochs"


class Note(NamedTuple):
    """What a pass did to a leaf layer, or why nothing; `into` are the paths that take its place."""

    changed: bool
    text: str
    into: tuple[str, ...] = ()


class Rewrite(NamedTuple):
    """The work of a pass: the new model, a note for each chosen path, and one on the whole."""

    model: keras.Model
    notes: dict[str, Note]
    text: str


class Result(NamedTuple):
    """A model, and the report of the pass that made it."""

    model: keras.Model
    report: PassReport


class Ladder(NamedTuple):
    """The setting that says how strongly a pass compresses, and values for it, weak to strong."""

    field: str
    rungs: tuple[float, ...]


class Pass(Settings):
    """One technique of compression; a new one defines `kind` and `rewrite`.

    Attributes:
        kind: Name of the technique in the catalogue.
        layers: Patterns of the layers to work on; `fnmatch` on a layer's path or name.
        skip: Patterns of layers to leave as they are.
        epochs: Epochs of fine-tuning, where the context has a `fit`.
        on_weights: Whether the pass works on weights alone, so that naming a layer without any is a
            mistake.
    """

    on_weights: ClassVar[bool] = True
    kind: str
    layers: tuple[str, ...] = ("*",)
    skip: tuple[str, ...] = ()
    epochs: int = Field(default=2, ge=0)

    @abstractmethod
    def rewrite(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> Rewrite:
        """Returns a new model, with the `chosen` leaf layers compressed where that is possible.

        Args:
            model: The input, which stays as it is.
            chosen: The leaf layers of `model` to work on, by path.
            context: What the pass may use beside the model.
        """

    def ladder(self) -> Ladder | None:
        """Returns what a budget's search may vary; None where the pass has no strength."""
        return None

    def on_layer(self, path: str) -> Self:
        """Returns the pass on one layer, without fine-tuning: a search asks what that costs."""
        return self.changed(layers=(path,), skip=(), epochs=0)

    def changed(self, **settings: Any) -> Self:
        """Returns the pass with other settings, checked as at construction."""
        return type(self)(**{**self.model_dump(), **settings})

    def apply(self, model: keras.Model, context: Context | None = None) -> Result:
        """Returns a compressed copy of the model, and a report with one row for each leaf layer.

        Raises:
            TypeError: `model` is subclassed.
            ValueError: `model` is not built, or a pattern matches none of its layers, or none with
                weights.
        """
        return self.step(model, context or Context())[0]

    def step(
        self, model: keras.Model, context: Context, rows: Sequence[LayerRow] = ()
    ) -> tuple[Result, list[LayerRow]]:
        """As `apply`; takes the input's table where it is known, and gives the output's too.

        Args:
            model: A built model.
            context: What the pass may use beside the model.
            rows: Table of the input, as `layer_table` counts it; empty: it is counted here.
        """
        from compress.graph import leaf_layers
        from compress.measure.account import layer_table

        layers = dict(leaf_layers(model))
        reasons = self.left_out(layers)
        if self.on_weights:
            self._check_weights(layers)
        chosen = {path: layer for path, layer in layers.items() if path not in reasons}
        rows = rows or layer_table(model)  # before a pass trains
        rewrite = self.rewrite(model, chosen, context)
        notes = {path: Note(False, reason) for path, reason in reasons.items()} | rewrite.notes
        new = layer_table(rewrite.model)
        return Result(rewrite.model, self._report(rows, new, rewrite.text, notes)), new

    def left_out(self, paths: Iterable[str]) -> dict[str, str]:
        """Returns the reasons for the paths that the patterns leave out.

        Raises:
            ValueError: A pattern matches no path: it is probably misspelt.
        """
        paths = list(paths)
        reasons = dict.fromkeys(paths, "not named by `layers`")
        for pattern in self.layers:
            for path in self._matches(pattern, paths, field="layers"):
                reasons.pop(path, None)
        for pattern in self.skip:
            for path in self._matches(pattern, paths, field="skip"):
                reasons[path] = f"named by `skip`: {pattern}"
        return reasons

    def _check_weights(self, layers: Mapping[str, keras.layers.Layer]) -> None:
        for pattern in self.layers:
            found = self._matches(pattern, list(layers), field="layers") if pattern != "*" else ()
            if found and not any(layers[path].weights for path in found):
                with_weights = ", ".join(path for path, layer in layers.items() if layer.weights)
                raise ValueError(
                    f"{type(self).__name__}.layers: {pattern!r} matches only layers without "
                    f"weights. With weights: {with_weights or 'none'}."
                )

    def _matches(self, pattern: str, paths: list[str], *, field: str) -> list[str]:
        found = [p for p in paths if any(fnmatchcase(x, pattern) for x in (p, p.split("/")[-1]))]
        if not found:
            name = type(self).__name__
            raise ValueError(
                f"{name}.{field}: {pattern!r} matches no layer. {nearest(pattern, paths)}"
            )
        return found

    def _report(
        self,
        old: Sequence[LayerRow],
        new: Sequence[LayerRow],
        text: str,
        notes: Mapping[str, Note],
    ) -> PassReport:
        """Sets the layers of both models side by side."""
        from compress.measure.account import total

        of = {row.path: row for row in new}
        layers = []
        for row in old:
            changed, note, into = notes[row.path]
            after = total(of[path] for path in into or (row.path,))
            layers.append(LayerReport(row.path, row.kind, changed, note, total([row]), after))
        return PassReport(
            settings=self.model_dump(mode="json"),
            note=text,
            layers=tuple(layers),
            before=total(old),
            after=total(new),
        )
