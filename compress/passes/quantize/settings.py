"""Quantisation-aware training, and calibration without it: a model of integers, still in Keras.

Sources: Jacob et al. 2018, arXiv:1712.05877 (training with rounded values); `calibration.py` for
the ranges, `grids.py` for where they stand. The result computes what integer kernels will: `export`
turns its ranges into those of a TFLite file, and does not calibrate again.
Differs: normalisations are folded before the training, not within it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from compress.base import Context, Ladder, Note, Pass, Rewrite, by_layer
from compress.functions import check_call
from zoo.common.settings import FractionAboveZero

if TYPE_CHECKING:
    import keras
    import numpy as np

    from compress.measure.report import Agreement
    from compress.passes.recovery.problem import Problem


_ADVICE = (
    "Calibrate on more, or on real, examples; leave layers or inputs in floats (`skip`), or take "
    "`activation_bits: 16`, or train (`epochs`, with a `fit`)."
)


class Quantize(Pass):
    """Rounds kernels, and what flows between them, to integers.

    Without `fit`, or with `epochs=0`, the ranges are those of the calibration. `skip` may name
    inputs too: such a one has no range, and what reads it computes in floats. Where columns of an
    input differ much in size, and the model first makes them alike, that is done in floats without
    being asked (see `entries.py`). The report has the agreement with the model before, on the
    samples; where it is poor, a warning is logged.

    Attributes:
        bits: Width of the kernels, 4 or 8.
        mean_bits: Mixes kernels of 4 and of 8 bits, so that a weight has at most so many on
            average; the layers that move the outputs least have 4. `None`: all have `bits`.
        activation_bits: Bits of what flows between the kernels, 8 or 16; 16 costs LiteRT time.
            `None`: it stays in floats, and the kernels of every kind of layer are rounded, without
            samples (see `weights.py`); of the other settings `bits`, `rate`, `metric` and `higher`
            count.
        calibration: How the ends of a range are found: `minmax`, `percentile`, `mse`, `entropy`.
        percentile: How many of the values, in percent, lie within the range, for `percentile`.
        equalize: Whether to scale the channels between two layers, so that both round well.
        bias_correction: Whether to take the mean error of rounding out of the biases.
        freeze: Fraction of the training after which the ranges stay.
        rate: Share of the learning rate of `fit` to train with. Folded, a net has no normalisation
            that tames a large one: ResNet-20 collapses at 0.01, a tenth of its recipe's.
        recover: `layers`: kernels are rounded row by row, and later rows and the biases make up for
            it; `network`: then everything learns, for minutes. See `Pass`.
        metric: What tells whether the training did better than the calibration alone; the better
            of the two is kept, where the context has `evaluate`; None: the context's headline.
        higher: Whether more of the metric is better; None: as far as the context knows it, else it
            is, but for a loss.
    """

    on_weights: ClassVar[bool] = False
    kind: Literal["quantize"] = "quantize"
    bits: Literal[4, 8] = 8
    mean_bits: float | None = Field(default=None, ge=4, le=8)
    activation_bits: Literal[8, 16] | None = 8
    calibration: Literal["minmax", "percentile", "mse", "entropy"] = "minmax"
    percentile: float = Field(default=99.99, gt=50, le=100)
    equalize: bool = False
    bias_correction: bool = False
    freeze: FractionAboveZero = 0.5
    rate: float = Field(default=0.01, gt=0)
    recover: Literal["statistics", "layers", "network"] = "statistics"
    metric: str | None = None
    higher: bool | None = None

    @model_validator(mode="after")
    def _rounds_what_it_says(self) -> Self:
        of_ranges = {
            "mean_bits": None,
            "equalize": False,
            "bias_correction": False,
            "recover": "statistics",
        }
        given = [name for name, usual in of_ranges.items() if getattr(self, name) != usual]
        if self.activation_bits is None and given:
            raise ValueError(f"{given[0]} wants ranges: activation_bits of 8 or 16")
        return self

    def ladder(self) -> Ladder:
        """See `Pass.ladder`."""
        return Ladder("bits", (8, 4))

    def rewrite(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> Rewrite:
        """Quantises a copy of `model`; see `Pass.rewrite`.

        Raises:
            ValueError: The context has no samples, or some that do not fit or are not finite.
        """
        from compress.measure.agreement import agreements, warn_if_poor
        from compress.measure.agreement import told as agreement_told
        from compress.measure.samples import answers
        from compress.passes.quantize import entries

        if self.activation_bits is None:
            return self._weights(model, chosen, context)
        quantised, samples, bare, told = self._assembled(model, chosen, context)
        quantised, text, judged = self._train(quantised, context)
        names = [tensor._keras_history.operation.name for tensor in model.outputs]
        old, new = (answers(one, samples) for one in (model, quantised))
        agreement = agreements(names, old, new)
        if not judged:
            warn_if_poor("quantize", agreement, _ADVICE)
        inside = entries.paths(model, bare)
        notes = _notes(quantised, chosen, _into(model), inside)
        told.append(agreement_told(agreement))
        return Rewrite(quantised, notes, "; ".join(filter(None, [text, *told])), agreement)

    def _weights(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> Rewrite:
        """Quantises kernels alone; of a training the better of its two ends is kept."""
        from compress.measure.agreement import agreements, warn_if_poor
        from compress.measure.agreement import told as agreement_told
        from compress.measure.samples import answers, check_samples
        from compress.passes.quantize import weights

        rounding, notes = weights.on_grids(model, list(chosen), self.bits)
        new, text, judged = self._better(rounding, context, weights.settled)
        told: tuple[Agreement, ...] = ()
        if context.samples is not None:
            samples = check_samples(context.samples, model, who="quantize")
            names = [tensor._keras_history.operation.name for tensor in model.outputs]
            told = agreements(names, *(answers(one, samples) for one in (model, new)))
            if not judged:
                warn_if_poor("quantize", told, _ADVICE)
            text += f"; {agreement_told(told)}"
        return Rewrite(new, by_layer(notes, chosen), text, told)

    def prepare(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> keras.Model:
        """Returns the model with rounded kernels and ranges that follow what they see.

        The ranges are those of the calibration at first. See `Pass.prepare`.
        """
        from compress.graph.holding import hold
        from compress.passes.quantize import weights

        if self.activation_bits is None:
            return weights.on_grids(model, list(chosen), self.bits)[0]
        return hold(self._assembled(model, chosen, context)[0], computed=False)

    def callback(self) -> keras.callbacks.Callback:
        """Returns a callback that stops the ranges of a prepared model, as `freeze` says.

        model.fit(x, y, epochs=4, callbacks=[compress.Quantize().callback()])
        """
        return _freeze(self.freeze)

    def _assembled(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> tuple[keras.Model, list[np.ndarray], set[int], list[str]]:
        """The calibrated model, its samples, the inputs without a range, and what was done."""
        from compress.graph import leaf_layers
        from compress.measure.samples import check_samples
        from compress.passes.quantize import entries, grids, integers
        from compress.passes.quantize.equalisation import equalised

        samples = check_samples(context.samples, model, who="quantize")
        bare = {
            *self._skipped(model),
            *entries.bare(model, samples, bits=self.activation_bits or 8),
        }
        ready = grids.made_ready(model, bare=bare)
        told = []
        if bare:
            inputs = ", ".join(self.also_named(model)[place] for place in sorted(bare))
            told.append(f"no range at {inputs}, but behind what reads it first")
        if self.equalize:
            ready, scaled = equalised(ready)
            told.append(f"{len(scaled)} pairs of layers equalised")
        paths = list(dict(leaf_layers(ready)))
        bits = self._bits(ready, [p for p in paths if _origin(p, chosen)], samples)
        fits = self.recover != "statistics" and not (context.fit and self.epochs)
        form: dict[str, Any] = {
            "activation_bits": self.activation_bits or 8,
            "bare": bare,
            "shared": not fits,
        }
        quantised = integers.assemble(ready, bits, **form)
        # The ranges of rough kernels are not those that fitted ones have.
        wide = integers.assemble(ready, dict.fromkeys(bits, 8), **form) if fits else quantised
        integers.calibrate(wide, samples, method=self.calibration, percentile=self.percentile)
        integers.copy_ranges(quantised, wide)
        if fits:
            told.append(self._recovered(quantised, ready, samples, chosen))
        if self.bias_correction:
            told.append(f"{len(integers.correct_biases(quantised, samples))} biases corrected")
        return quantised, samples, bare, told

    def settle(
        self, path: str, layer: Any, kernel: np.ndarray, problem: Problem
    ) -> np.ndarray | None:
        """Rounds a kernel so that later weights make up for earlier ones; see `Pass.settle`."""
        from compress.passes.quantize.fitting import on_grid

        return on_grid(layer, kernel, problem)

    def _recovered(
        self,
        quantised: keras.Model,
        ready: keras.Model,
        samples: list[np.ndarray],
        chosen: Mapping[str, Any],
    ) -> str:
        """Fits and teaches the model with ranges, in place; returns a line on it."""
        from compress.graph import leaf_layers
        from compress.passes.recovery.recover import bring_nearer

        found = dict(leaf_layers(ready))
        paths = {path: path if path in found else path.removesuffix("_inner")
                 for path, _ in leaf_layers(quantised)}  # fmt: skip
        own = {path for path, old in paths.items() if _origin(old, chosen)}
        return bring_nearer(self, quantised, ready, samples, own, origin=paths)

    def check(self, model: keras.Model, context: Context) -> None:
        """Looks at the samples, and whether `fit` takes a `rate`; see `Pass.check`."""
        from compress.measure.samples import check_samples

        if self.epochs and self.rate != 1:
            settings = {"epochs": 1, "callbacks": [], "rate": self.rate}
            check_call(context.fit, "fit", "model", **settings)
        if self.activation_bits is not None or context.samples is not None:
            check_samples(context.samples, model, who="quantize")

    def also_named(self, model: keras.Model) -> tuple[str, ...]:
        """The inputs: one that `skip` names gets no range; what reads it computes in floats."""
        return tuple(tensor._keras_history.operation.name for tensor in model.inputs)

    def _skipped(self, model: keras.Model) -> list[int]:
        """The places of the inputs that `skip` names."""
        names = enumerate(self.also_named(model))
        return [at for at, name in names if any(fnmatchcase(name, one) for one in self.skip)]

    def _bits(
        self, ready: keras.Model, paths: list[str], samples: list[np.ndarray]
    ) -> dict[str, int]:
        """The bits of each layer; with `mean_bits`, first those that move the outputs least."""
        from compress.graph import leaf_layers
        from compress.graph.kernels import kernel_of
        from compress.passes.quantize import grids, integers

        bits: dict[str, int] = dict.fromkeys(paths, self.bits)
        if self.mean_bits is None:
            return bits
        found = dict(leaf_layers(ready))
        kernels = {p: kernel_of(found[p]) for p in paths if grids.is_kernel(found[p])}
        sizes = {path: kernel.value.shape.num_elements() for path, kernel in kernels.items()}
        moved = integers.errors(ready, samples, 4)
        bits |= dict.fromkeys(kernels, 8)
        left = (8 - self.mean_bits) * sum(sizes.values())  # bits to save
        for path in sorted(kernels, key=lambda path: moved[path] / sizes[path]):
            if left <= 0:
                break
            bits[path] = 4
            left -= 4 * sizes[path]
        return bits

    def _train(self, quantised: keras.Model, context: Context) -> tuple[keras.Model, str, bool]:
        """As `_better`; the ranges of the model stop on the way."""
        from compress.graph.holding import hold
        from compress.passes.quantize.integers import settle

        if context.fit is None or self.epochs == 0:
            return self._better(quantised, context, settle)
        freeze = _freeze(self.freeze)
        held = hold(quantised, computed=False)
        return self._better(held, context, settle, freeze)

    def _better(
        self,
        quantised: keras.Model,
        context: Context,
        settle: Callable[[keras.Model], keras.Model],
        freeze: Any = None,
    ) -> tuple[keras.Model, str, bool]:
        """Trains; returns the better model, a line that says which, and whether it was judged.

        A model that has learnt, by a metric, need not agree with the one before.
        """
        before = settle(quantised)
        ranged = self.activation_bits is not None
        word, alone = ("calibrated", "calibration") if ranged else ("rounded", "rounding")
        if context.fit is None or self.epochs == 0:
            return before, f"{word}; {context.train(quantised, epochs=self.epochs)}", False
        headline = context.headline_of(self.metric, self.higher)
        name = headline.name
        old = context.metrics(before).get(name)
        callbacks = [freeze] if freeze else []
        text = context.train(quantised, epochs=self.epochs, callbacks=callbacks, rate=self.rate)
        if freeze and not freeze.frozen:
            text += ", its ranges to the end (`fit` did not call the callback that stops them)"
        trained = settle(quantised)
        new = context.metrics(trained).get(name)
        if old is None or new is None:
            return trained, f"{text}; not compared with the {alone} alone: no {name!r}", False
        compared = f"{name} {old:.4f} {word}, {new:.4f} trained"
        if not headline.fall(old, new) <= 0:  # NaN is no better
            return before, f"{text}, which did worse and is dropped: {compared}", False
        return trained, f"{text}: {compared}", True


def _freeze(share: float) -> Any:
    """A callback that stops the ranges of the model it sees after a share of the training.

    Its `frozen` tells whether that came about.
    """
    import keras

    from compress.passes.quantize.integers import learning

    class Freeze(keras.callbacks.Callback):
        """Counts steps."""

        ranges: Sequence[Any] = ()
        epoch, frozen = 0, False

        def on_train_begin(self, logs: Any = None) -> None:
            """Finds the ranges."""
            self.ranges, self.epoch = learning(self.model), 0

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            """Notes the epoch, to count steps from it: a call may stand for several."""
            self.epoch = epoch

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            """Stops the ranges, once."""
            params = self.params or {}
            steps, epochs = params.get("steps") or 0, params.get("epochs") or 0
            last = max(1, round(share * steps * epochs))
            if steps and self.epoch * steps + batch + 1 >= last:
                self.frozen = True
                for layer in self.ranges:
                    layer.observing.assign(0.0)
                self.ranges = []

        def saved_state(self) -> dict[str, Any]:
            """Returns what a training that is resumed must know."""
            return {"frozen": self.frozen}

        def restore_state(self, state: Mapping[str, Any]) -> None:
            """Goes on from a `saved_state`."""
            self.frozen = bool(state["frozen"])
            self.ranges = [] if self.frozen else self.ranges

    return Freeze()


def _into(model: keras.Model) -> dict[str, str]:
    """The layer that each batch normalisation is folded into, by path."""
    from compress.graph import folding

    return {path: before for path, (before, _) in folding.pairs(model).items() if before}


def _notes(
    quantised: keras.Model,
    chosen: Mapping[str, keras.layers.Layer],
    folded: Mapping[str, str],
    inside: Collection[str],
) -> dict[str, Note]:
    """What became of each layer that was chosen.

    Args:
        quantised: The result.
        chosen: The layers, by path.
        folded: The layer that another one was folded into, by path.
        inside: Paths of layers before the first range.
    """
    from compress.graph import leaf_layers
    from compress.layers.quantized import Floats, Range, kernel_bits
    from compress.passes.quantize.grids import FLOAT_IN_FILES

    found = dict(leaf_layers(quantised))
    into: dict[str, list[str]] = {path: [] for path in chosen}
    origins = [_origin(path, chosen) for path in found]
    origin = next(filter(None, origins), "")
    for path, own in zip(found, origins, strict=True):
        origin = own or origin  # ranges of inputs, and of plain operations, go with a neighbour
        if origin:
            into[origin].append(path)
    notes = {}
    for path, layer in chosen.items():
        parts = [found[p] for p in into[path]]
        kernels = [bits for bits in map(kernel_bits, parts) if bits]
        told = [f"kernel of {bits} bits" for bits in kernels]
        ranges = [part for part in parts if isinstance(part, Range)]
        told += [f"{part.bits} bits in [{_end(part.lo)}, {_end(part.hi)}]" for part in ranges]
        if any(isinstance(part, Floats) for part in parts):
            told.insert(0, "computes in floats")
        elif isinstance(layer, FLOAT_IN_FILES):
            told.insert(0, "computes in floats in a TFLite file")
        elif path in folded:
            told.insert(0, f"folded into {folded[path]}")
        elif (layer.weights and not kernels) or path in inside:
            told.insert(0, "stays in floats")
        changed = bool(ranges or kernels)
        notes[path] = Note(
            changed, ", ".join(told) or "keeps the grid of its input", tuple(into[path])
        )
    return notes


def _origin(path: str, chosen: Mapping[str, Any]) -> str:
    """The layer that a layer of the quantised model comes from; empty for that of an input."""
    for part in ("_range", "_inner", "_end", "_floats", "_linear", "_depthwise"):
        if path not in chosen:
            path = path.removesuffix(part)
    return path if path in chosen else ""


def _end(variable: keras.Variable) -> str:
    return f"{float(variable.numpy()):.4g}"
