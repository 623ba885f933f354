"""What every pass is: settings, and one pure `apply`.

A pass never changes its input, and it accounts for every leaf layer once: changed, or left as it is
because. Keras is imported only when a pass is applied, so settings are refused at once.
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol, Self

from pydantic import Field

from compress.functions import check_call
from compress.measure.report import Agreement, LayerReport, PassReport, Runtime
from zoo.common.settings import Settings, nearest

if TYPE_CHECKING:
    import keras
    import numpy as np

    from compress.measure.account import LayerRow
    from compress.passes.recovery.problem import Problem


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
        `model`. A loop of one's own calls them by `keras.callbacks.CallbackList(callbacks,
        model=model, epochs=epochs, steps=steps)`. One that does not is made up for, with a warning,
        by more calls.
        """


class Measure(Protocol):
    """How the caller makes and times the files that its runtimes read."""

    def __call__(self, *models: keras.Model) -> Sequence[Mapping[str, Runtime]]:
        """Returns what each model takes, by name of the runtime; the first is the main one.

        The models are timed in turns, so that what slows the machine slows all of them. A runtime
        that cannot run a model is left out.
        """


class Kept(Protocol):
    """Where finished passes are kept, so that a run that was killed can go on.

    `plan` is all passes up to the one that is meant; what it came to is a
    `compress.pipeline.stages.Stage`.
    """

    def find(self, plan: Sequence[Pass]) -> Any:
        """Returns what the last pass of `plan` came to in an earlier run; None: nothing yet."""

    def begin(self, plan: Sequence[Pass]) -> None:
        """Is told that the last pass of `plan` begins."""

    def keep(self, plan: Sequence[Pass], stage: Any) -> None:
        """Keeps what it came to."""


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
        higher: Whether more is better of a metric, by name, where it is known.
        max_bytes: What the packed file may weigh; a pass that can aims at it. A pipeline that
            writes one takes it from its budget.
        progress: Is given a line when a pass has finished, e.g. `print`.
        kept: Where finished passes are kept; without it nothing is.

    Raises:
        TypeError: A function does not take what it will be called with.
    """

    fit: Fit | None = None
    evaluate: Callable[[keras.Model], Mapping[str, float]] | None = None
    gradients: Callable[[keras.Model], Iterable[Sequence[np.ndarray]]] | None = None
    measure: Measure | None = None
    samples: Any = None
    teacher: keras.Model | None = None
    headline: Headline = TOP1
    higher: Mapping[str, bool] = field(default_factory=dict)
    max_bytes: int | None = None
    progress: Callable[[str], None] | None = None
    kept: Kept | None = None

    def __post_init__(self) -> None:
        """Refuses functions that could not be called as they will be."""
        check_call(self.fit, "fit", "model", epochs=1, callbacks=[])
        check_call(self.evaluate, "evaluate", "model")
        check_call(self.gradients, "gradients", "model")
        check_call(self.measure, "measure", "model", "model")
        check_call(self.progress, "progress", "line")

    def headline_of(self, name: str | None, higher: bool | None = None) -> Headline:
        """Returns what a pass or a budget chooses by.

        Args:
            name: The metric that it names; `None`: the context's headline.
            higher: Whether more of it is better; `None`: as far as it is known, else it is, but for
                a loss.
        """
        if name is None or (higher is None and name == self.headline.name):
            return self.headline
        if higher is None:
            higher = self.higher.get(name, not name.endswith("loss"))
        return Headline(name, higher)

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


def by_layer(notes: Mapping[str, Note], layers: Iterable[str]) -> dict[str, Note]:
    """Joins the notes on the kernels of a layer into one.

    Args:
        notes: By the path of a kernel, see `compress.graph.kernels.find_kernels`, or of a layer.
        layers: Paths of the leaf layers.
    """
    joined: dict[str, Note] = {}
    for path in layers:
        parts = {key: note for key, note in notes.items() if key.startswith(f"{path}/")}
        if path in notes:
            joined[path] = notes[path]
        elif parts:
            told = [f"{key.removeprefix(path + '/')}: {note.text}" for key, note in parts.items()]
            joined[path] = Note(any(note.changed for note in parts.values()), "; ".join(told))
    return joined


class Rewrite(NamedTuple):
    """The work of a pass: the new model, a note for each chosen path, and one on the whole.

    `agreement` is with the model before, where the pass has examples and measures it.
    """

    model: keras.Model
    notes: dict[str, Note]
    text: str
    agreement: tuple[Agreement, ...] = ()


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
        moves_statistics: Whether the kernels it leaves make batch normalisations see something
            else. Where nothing is trained and the context has samples, these are then measured
            again, see `compress.passes.recovery`.
        recover: What is done on samples where nothing is trained: `statistics` of batch
            normalisations are measured again; `layers`: kernels are also fitted to what their layer
            gave, one after another; `network`: then everything learns what the network before
            answers, for minutes. Without labels; see `compress.passes.recovery`.
    """

    on_weights: ClassVar[bool] = True
    moves_statistics: ClassVar[bool] = False
    kind: str
    layers: tuple[str, ...] = ("*",)
    skip: tuple[str, ...] = ()
    epochs: int = Field(default=2, ge=0)
    recover: Literal["statistics", "layers", "network"] = "layers"

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

    def settle(
        self, path: str, layer: keras.layers.Layer, kernel: np.ndarray, problem: Problem
    ) -> np.ndarray | None:
        """Returns what a compressed kernel is to be instead, for what its layer gives on samples.

        Args:
            path: Path of the layer.
            layer: The layer of the compressed model.
            kernel: Its kernel, (kernels, inputs, outputs); a depthwise convolution has several.
            problem: What it is to do.

        Returns:
            A kernel that is compressed as much; `None` where it stays. By default one that has
            lost channels is fitted.
        """
        return problem.aim if problem.slim else None

    def prepare(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> keras.Model:
        """Returns the model as the pass trains it, for a loop of the caller's own.

        Its layers compute their kernels anew in each call; `compress.finish` stores these.

        Args:
            model: The input, which stays as it is.
            chosen: The leaf layers of `model` to work on, by path.
            context: What the pass may use beside the model.

        Raises:
            ValueError: The pass has no such form: it rebuilds the model, and trains it as it is.
        """
        raise ValueError(
            f"prepare: {self.kind} has no form of its own to be trained in; expected apply(...), "
            "and the result to be trained further."
        )

    def chosen(self, model: keras.Model) -> tuple[dict[str, keras.layers.Layer], dict[str, str]]:
        """Returns the leaf layers to work on, by path, and why the others are left out.

        Raises:
            TypeError: `model` is subclassed.
            ValueError: `model` is not built, or a pattern matches none of its layers, or none with
                weights.
        """
        from compress.graph import leaf_layers

        layers = dict(leaf_layers(model))
        reasons = self.left_out(layers, also=self.also_named(model))
        if self.on_weights:
            self._check_weights(layers)
        return {path: x for path, x in layers.items() if path not in reasons}, reasons

    def check(self, model: keras.Model, context: Context) -> None:
        """Refuses what the pass could not be applied with; a pipeline asks before its first one.

        Args:
            model: What goes into the pass, or into the pipeline: of the same inputs and outputs.
            context: What the pass may use.

        Raises:
            ValueError, FileNotFoundError, ImportError: Something is missing, or does not fit.
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
        from compress.measure.account import layer_table

        chosen, reasons = self.chosen(model)
        self.check(model, context)
        rows = rows or layer_table(model)  # before a pass trains
        rewrite = self.rewrite(model, chosen, context)
        wanted = context.samples is not None or self.recover == "network"
        if self.moves_statistics and context.fit is None and wanted:
            from compress.passes.recovery.recover import recover

            text = recover(self, rewrite.model, model, context.samples, chosen)
            rewrite = rewrite._replace(text="; ".join(filter(None, (rewrite.text, text))))
        notes = {path: Note(False, reason) for path, reason in reasons.items()} | rewrite.notes
        new = layer_table(rewrite.model)
        report = self._report(rows, new, rewrite.text, notes)
        report = dataclasses.replace(report, agreement=rewrite.agreement)
        return Result(rewrite.model, report), new

    def also_named(self, model: keras.Model) -> tuple[str, ...]:
        """Returns what `skip` may name beside layers; nothing, as a rule."""
        return ()

    def left_out(self, paths: Iterable[str], *, also: Sequence[str] = ()) -> dict[str, str]:
        """Returns the reasons for the paths that the patterns leave out.

        Args:
            paths: Paths of layers.
            also: What `skip` may name too, without an entry in the result.

        Raises:
            ValueError: A pattern matches no path: it is probably misspelt.
        """
        paths = list(paths)
        reasons = dict.fromkeys(paths, "not named by `layers`")
        for pattern in self.layers:
            for path in self._matches(pattern, paths, field="layers"):
                reasons.pop(path, None)
        for pattern in self.skip:
            for path in self._matches(pattern, [*paths, *also], field="skip"):
                if path not in also or path in paths:
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
