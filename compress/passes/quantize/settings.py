"""Quantisation-aware training, and calibration without it: a model of integers, still in Keras.

Sources: Jacob et al. 2018, arXiv:1712.05877 (training with rounded values); `calibration.py` for
the ranges, `grids.py` for where they stand. The result computes what integer kernels will: `export`
turns its ranges into those of a TFLite file, and does not calibrate again.
Differs: normalisations are folded before the training, not within it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from compress.base import Context, Headline, Ladder, Note, Pass, Rewrite
from zoo.common.settings import FractionAboveZero

if TYPE_CHECKING:
    import keras
    import numpy as np


class Quantize(Pass):
    """Rounds kernels, and what flows between them, to integers.

    Without `fit`, or with `epochs=0`, the ranges are those of the calibration.

    Attributes:
        bits: Width of the kernels, 4 or 8.
        mean_bits: Mixes kernels of 4 and of 8 bits, so that a weight has at most so many on
            average; the layers that move the outputs least have 4. `None`: all have `bits`.
        activation_bits: Bits of what flows between the kernels, 8 or 16; 16 costs LiteRT time.
        calibration: How the ends of a range are found: `minmax`, `percentile`, `mse`, `entropy`.
        percentile: How many of the values, in percent, lie within the range, for `percentile`.
        equalize: Whether to scale the channels between two layers, so that both round well.
        bias_correction: Whether to take the mean error of rounding out of the biases.
        freeze: Fraction of the training after which the ranges stay.
        rate: Share of the learning rate of `fit` to train with. Folded, a net has no normalisation
            that tames a large one: ResNet-20 collapses at 0.01, a tenth of its recipe's.
        metric: What tells whether the training did better than the calibration alone; the better
            of the two is kept, where the context has `evaluate`; None: the context's headline.
    """

    on_weights: ClassVar[bool] = False
    kind: Literal["quantize"] = "quantize"
    bits: Literal[4, 8] = 8
    mean_bits: float | None = Field(default=None, ge=4, le=8)
    activation_bits: Literal[8, 16] = 8
    calibration: Literal["minmax", "percentile", "mse", "entropy"] = "minmax"
    percentile: float = Field(default=99.99, gt=50, le=100)
    equalize: bool = False
    bias_correction: bool = False
    freeze: FractionAboveZero = 0.5
    rate: float = Field(default=0.01, gt=0)
    metric: str | None = None

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
        from compress.graph import leaf_layers
        from compress.passes.quantize import grids, integers
        from compress.passes.quantize.calibration import check_samples
        from compress.passes.quantize.equalisation import equalised

        samples = check_samples(context.samples, model.inputs)
        ready = grids.prepared(model)
        told = []
        if self.equalize:
            ready, scaled = equalised(ready)
            told.append(f"{len(scaled)} pairs of layers equalised")
        paths = list(dict(leaf_layers(ready)))
        bits = self._bits(ready, [p for p in paths if _origin(p, chosen)], samples)
        quantised = integers.assemble(ready, bits, activation_bits=self.activation_bits)
        integers.calibrate(quantised, samples, method=self.calibration, percentile=self.percentile)
        if self.bias_correction:
            told.append(f"{len(integers.correct_biases(quantised, samples))} biases corrected")
        quantised, text = self._train(quantised, context)
        return Rewrite(quantised, _notes(quantised, chosen), "; ".join([text, *told]))

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

    def _train(self, quantised: keras.Model, context: Context) -> tuple[keras.Model, str]:
        """Trains, and returns the better of the two models, and a line that says which."""
        from compress.passes.quantize import integers

        calibrated = integers.settle(quantised)
        if context.fit is None or self.epochs == 0:
            return calibrated, f"calibrated; {context.train(quantised, epochs=self.epochs)}"
        headline = context.headline if self.metric is None else Headline(self.metric)
        name = headline.name
        before = context.metrics(calibrated).get(name)
        text = context.train(
            quantised, epochs=self.epochs, callbacks=[_freeze(self.freeze)], rate=self.rate
        )
        trained = integers.settle(quantised)
        after = context.metrics(trained).get(name)
        if before is None or after is None:
            return trained, f"{text}; not compared with the calibration alone: no {name!r}"
        compared = f"{name} {before:.4f} calibrated, {after:.4f} trained"
        if not headline.fall(before, after) <= 0:  # NaN is no better
            return calibrated, f"{text}, which did worse and is dropped: {compared}"
        return trained, f"{text}: {compared}"


def _freeze(share: float) -> keras.callbacks.Callback:
    """A callback that stops the ranges of the model it sees after a share of the training."""
    import keras

    from compress.passes.quantize.integers import learning

    class Freeze(keras.callbacks.Callback):
        """Counts steps."""

        def on_train_begin(self, logs: Any = None) -> None:
            """Finds the ranges."""
            self.ranges, self.step = learning(self.model), 0

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            """Stops the ranges, once."""
            self.step += 1
            if self.step == max(1, round(share * self.params["steps"] * self.params["epochs"])):
                for layer in self.ranges:
                    layer.observing.assign(0.0)

    return Freeze()


def _notes(quantised: keras.Model, chosen: Mapping[str, keras.layers.Layer]) -> dict[str, Note]:
    """What became of each layer that was chosen."""
    from compress.graph import leaf_layers
    from compress.layers.parametrized import Parametrized
    from compress.layers.quantized import Floats, Range
    from compress.passes.quantize.grids import FLOAT_IN_FILES

    found = dict(leaf_layers(quantised))
    into: dict[str, list[str]] = {path: [] for path in chosen}
    origins = [_origin(path, chosen) for path in found]
    origin = next(filter(None, origins), "")
    for path, own in zip(found, origins, strict=True):
        origin = own or origin  # ranges of inputs, and of plain operations, go with a neighbour
        into[origin].append(path)
    notes = {}
    for path, layer in chosen.items():
        parts = [found[p] for p in into[path]]
        kernels = [part for part in parts if isinstance(part, Parametrized)]
        told = [f"kernel of {part.chain[-1].bits} bits" for part in kernels]
        ranges = [part for part in parts if isinstance(part, Range)]
        told += [f"{part.bits} bits in [{_end(part.lo)}, {_end(part.hi)}]" for part in ranges]
        if any(isinstance(part, Floats) for part in parts):
            told.insert(0, "computes in floats")
        elif isinstance(layer, FLOAT_IN_FILES):
            told.insert(0, "computes in floats in a TFLite file")
        elif layer.weights and not kernels:
            same = type(parts[0]) is type(layer)
            told.insert(0, "stays in floats" if same else "folded into the layer before it")
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
