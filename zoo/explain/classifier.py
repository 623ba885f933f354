"""A classifier that can be looked into: its graph, run step by step.

The score of a class is its logit: a softmax or a sigmoid at the end of the graph is left out, since
a probability also rises when the scores of the other classes fall (Simonyan et al. 2013,
arXiv:1312.6034, section 3). Where there is none to leave out, as with the mean of two softmaxes, it
is the logit of the probability.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Self, TypeAlias

import keras
import numpy as np
import tensorflow as tf
from scipy.special import expit, softmax

from compress.graph.graph import Call, infer, inputs_of, is_graph, output_names, replay, trace
from compress.graph.plain import functional
from compress.graph.shares import SHARES, find_ending
from zoo.explain import layers
from zoo.explain.backward import Rule, is_rectifier, ruled, within
from zoo.models.paths import find_path, refuse_channels_first

BATCH = 32  # pictures that are computed at once
SIGMOIDS = ("sigmoid", "hard_sigmoid")
LEAST = 1e-7  # of a probability whose logarithm is taken


class Classifier:
    """A classifier of pictures that can be looked into. It shares its weights with the model.

    Args:
        model: Functional or Sequential, or with such a graph: pictures (batch, height, width,
            channels) in, (batch, classes) out, or (batch, 1) of a yes or no. Of several outputs,
            the one called `logits` counts.

    Attributes:
        model: The model.
        names: Paths of the layers, in the order of the graph; `encoder/conv1` is a layer of the
            nested model `encoder`.
        multi_label: Whether each of several outputs is a yes or no of its own, of a sigmoid.

    Raises:
        TypeError: The model has no graph.
        ValueError: It is no classifier of pictures, or computes with channels first.
    """

    def __init__(self, model: keras.Model):
        self.model = functional(model)
        graph = trace(self.model)
        shapes = [tuple(x.shape) for x in self.model.outputs]
        named = output_names(self.model)
        self._output = named.index("logits") if len(shapes) > 1 and "logits" in named else 0
        read = [tuple(x.shape) for x in self.model.inputs]
        if len(read) != 1 or len(read[0]) != 4 or "float" not in str(self.model.inputs[0].dtype):
            raise ValueError(
                f"{model.name}: reads {', '.join(map(str, read))}, {self.model.inputs[0].dtype}; "
                "expected pictures (batch, height, width, channels) alone, of floats."
            )
        if len(shapes[self._output]) != 2 or (len(shapes) > 1 and "logits" not in named):
            raise ValueError(
                f"{model.name}: answers {', '.join(map(str, shapes))}; expected a classifier: one "
                "output (batch, classes), or one that is called `logits`."
            )
        refuse_channels_first(self.model)
        self.num_outputs = int(shapes[self._output][1])
        self.calls: list[Call] = graph.calls
        self.names = list(dict.fromkeys(call.path for call in self.calls if call.path))
        ending = find_ending(graph, self._output)
        self.multi_label = ending.function in SIGMOIDS and self.num_outputs > 1
        shares = ending.function in SHARES
        left_out = shares and ending.step is not None and ending.function in ("softmax", "sigmoid")
        self._last, self._behind = (ending.step, ending.behind) if left_out else (None, frozenset())
        self._shares = ending.function if shares and not left_out else ""
        self._traced: dict[Any, Any] = {}

    @classmethod
    def of(cls, model: keras.Model | Self) -> Self:
        """Returns a model as a classifier; one that is one already as it is."""
        return model if isinstance(model, cls) else cls(model)

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """(height, width, channels) of what it reads."""
        return tuple(self.model.inputs[0].shape[1:])

    @property
    def sides(self) -> tuple[int, ...]:
        """The same, where all of it is known.

        Raises:
            ValueError: It is not.
        """
        known = tuple(side for side in self.input_shape if side is not None)
        if len(known) != len(self.input_shape):
            raise ValueError(
                f"{self.model.name}: reads {self.input_shape}; expected pictures of a known size."
            )
        return known

    @property
    def num_classes(self) -> int:
        """How many classes it tells apart; 2 of a yes or no, whose second class is the yes."""
        return max(self.num_outputs, 2)

    def find_layer(self, name: str, *, maps: bool = False) -> str:
        """Returns the path of a layer.

        Args:
            name: Its path, or the end of it, where no other layer ends so.
            maps: Whether it has to give maps (batch, height, width, channels).

        Raises:
            ValueError: There is no such layer, or several, or it gives no maps.
        """
        shapes = {one: self.shape(one) for one in self.names}
        return find_path(shapes, name, of=self.model.name, maps=maps)

    def shape(self, path: str) -> tuple[int | None, ...]:
        """Returns the shape of what a layer gives, in its last call, with the batch."""
        return tuple(self.calls[self._step(path)].outputs[0].shape)

    def last_map(self) -> str:
        """Returns the layer behind the last convolution, what Grad-CAM looks at by default.

        It is the last convolution whose map has more than one place, or the last layer right
        behind it that keeps the map's height and width: its normalisation, activation, addition.

        Raises:
            ValueError: The model has no convolutions.
        """
        return layers.last_map(self.calls, model=self.model.name)

    def scores(self, inputs: Any) -> np.ndarray:
        """Returns the logits (n, classes); of a yes or no (n, 2), minus and plus half the logit.

        Args:
            inputs: What the model reads, (n, height, width, channels).
        """
        return self._in_batches(inputs, None)

    def shares(self, scores: np.ndarray) -> np.ndarray:
        """Returns the probabilities of scores, (n, classes): where `multi_label`, of each alone."""
        found: np.ndarray = (expit if self.multi_label else partial(softmax, axis=1))(scores)
        return found

    def features(self, inputs: Any, layer: str) -> np.ndarray:
        """Returns what a layer gives for each picture, (n, ...).

        Args:
            inputs: What the model reads.
            layer: Path of the layer.
        """
        return self._in_batches(inputs, self._step(layer))

    def classes(self, inputs: Any, classes: int | Sequence[int] | np.ndarray | None) -> np.ndarray:
        """Returns the class that is asked about for each picture, (n,).

        Args:
            inputs: What the model reads.
            classes: One for all, or one for each; `None`: the one that is predicted.

        Raises:
            ValueError: There is no such class, or not one for each picture.
        """
        if classes is None:
            return self.scores(inputs).argmax(axis=1).astype(np.int32)
        given = np.asarray(classes)
        if given.shape not in ((), (len(inputs),)):
            raise ValueError(
                f"classes: got {given.shape} for {len(inputs)} pictures; expected one class, or one"
                " for each."
            )
        if given.dtype.kind not in "biuf" or (given != np.floor(given)).any():
            raise ValueError(f"classes: got {classes}; expected whole numbers.")
        found = np.broadcast_to(given.astype(np.int32), (len(inputs),))
        if found.size and (found.min() < 0 or found.max() >= self.num_classes):
            raise ValueError(
                f"classes: got {found.min()} to {found.max()}; expected 0 to "
                f"{self.num_classes - 1}, an index of one of {self.num_classes} classes."
            )
        return found

    def reads(self, inputs: Any) -> np.ndarray:
        """Returns pictures as the model reads them, (n, height, width, channels), float32.

        Raises:
            ValueError: They are of another shape, or none, or a value is not finite.
        """
        found: np.ndarray = np.asarray(inputs, np.float32)
        sides = found.shape[1:]
        fits = len(sides) == 3 and all(
            side in (None, got) for side, got in zip(self.input_shape, sides, strict=True)
        )
        if not fits or not len(found):
            known = ", ".join("any" if side is None else str(side) for side in self.input_shape)
            one = " Of one picture, write x[None]." if found.ndim == 3 else ""
            raise ValueError(
                f"{self.model.name}: got inputs {found.shape}; expected pictures (n, {known}), one "
                f"or more.{one}"
            )
        if not np.isfinite(found).all():
            lost = np.flatnonzero(~np.isfinite(found).all(axis=(1, 2, 3)))
            raise ValueError(
                f"{self.model.name}: got a value that is not finite in picture {lost[0]} of "
                f"{len(found)}; expected finite ones."
            )
        return found

    def gradient(
        self, inputs: Any, classes: np.ndarray, *, rule: Rule = "gradient", layer: str | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns the gradient of the scores of some classes.

        Args:
            inputs: What the model reads, (n, height, width, channels).
            classes: One for each picture, (n,).
            rule: How rectifiers are gone back through, see `zoo.explain.backward`.
            layer: Path of the layer by whose values is derived; `None`: by the inputs.

        Returns:
            The gradient, the values that it is taken by, both (n, ...), and the scores (n,).
        """
        step = None if layer is None else self._step(layer)
        function = self.traced((rule, step), lambda: self._derive(rule, step))
        inputs = self.reads(inputs)
        found = [
            function(tf.constant(inputs[part]), tf.constant(classes[part]))
            for part in batches(len(inputs))
        ]
        parts = [[one.numpy() for one in triple] for triple in found]
        gradient, values, scores = (np.concatenate(one) for one in zip(*parts, strict=True))
        return gradient, values, scores

    def run(self, inputs: Any, rule: Rule = "gradient", layer: str | None = None) -> Any:
        """Returns scores (n, classes) and a layer's values as tensors; within a tape of one's own.

        Args:
            inputs: A tensor that the model reads.
            rule: How rectifiers are gone back through.
            layer: Path of a layer; `None`: the values are the inputs.
        """
        answer, values = self._run(inputs, rule, None if layer is None else self._step(layer))
        return self._scores(answer), values

    def traced(self, key: Any, make: Callable[[], Any]) -> Any:
        """Returns what `make` gave for this key first: a graph is traced once.

        Args:
            key: What tells it from others.
            make: Gives a `tf.function`.
        """
        if key not in self._traced:
            self._traced[key] = make()
        return self._traced[key]

    def _derive(self, rule: Rule, step: int | None) -> Any:
        @tf.function(autograph=False, reduce_retracing=True)
        def derive(inputs: Any, classes: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                answer, values = self._run(inputs, rule, step)
                scores = tf.gather(self._scores(answer), classes, batch_dims=1)
            gradient = tape.gradient(scores, values, unconnected_gradients="zero")
            return tuple(tf.cast(x, tf.float32) for x in (gradient, values, scores))

        return derive

    def _run(self, inputs: Any, rule: Rule, step: int | None = None) -> tuple[Any, Any]:
        """The answer before its softmax, and what a step gives, or the inputs."""
        count = iter(range(len(self.calls)))
        kept = inputs

        def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal kept
            place = next(count)
            if is_graph(operation):
                return replay(operation, args[0], call)
            if place == self._last:
                outputs = layers.without_share(operation, *args, **kwargs)
            elif place in self._behind:
                outputs = args[0]  # a range of 0 to 1, say, has no room for logits
            elif rule != "gradient" and is_rectifier(operation):
                outputs = ruled(operation, rule)(*args)
            else:
                with within(operation, rule):
                    outputs = infer(operation, *args, **kwargs)
            if place == step:
                kept = keras.tree.flatten(outputs)[0]
            return outputs

        structure = inputs_of(self.model)
        outputs = replay(self.model, keras.tree.pack_sequence_as(structure, [inputs]), call)
        return keras.tree.flatten(outputs)[self._output], kept

    def _scores(self, answer: Any) -> Any:
        answer = tf.cast(answer, tf.float32)
        if self._shares:
            answer = tf.clip_by_value(answer, LEAST, 1 - LEAST)
            no = tf.math.log1p(-answer) if self._shares in SIGMOIDS else 0.0
            answer = tf.math.log(answer) - no
        # sigmoid(s) is the second share of the softmax of -s / 2 and s / 2.
        return tf.concat([-answer, answer], 1) / 2 if self.num_outputs == 1 else answer

    def _in_batches(self, inputs: Any, step: int | None) -> np.ndarray:
        """The scores of all inputs, or what a step gives."""

        def make() -> Any:
            @tf.function(autograph=False, reduce_retracing=True)
            def forward(inputs: Any) -> Any:
                answer, values = self._run(inputs, "gradient", step)
                return self._scores(answer) if step is None else values

            return forward

        inputs, function = self.reads(inputs), self.traced(("forward", step), make)
        parts = batches(len(inputs))
        return np.concatenate([function(tf.constant(inputs[part])).numpy() for part in parts])

    def _step(self, path: str) -> int:
        return layers.find_step(self.calls, path, model=self.model.name)


Model: TypeAlias = keras.Model | Classifier


def layer_names(model: Model, *, maps: bool = False) -> list[str]:
    """Returns the paths of a model's layers, in the order of the graph.

    Args:
        model: A classifier of pictures.
        maps: Whether only those count that give maps (batch, height, width, channels).
    """
    seen = Classifier.of(model)
    return [one for one in seen.names if not maps or len(seen.shape(one)) == 4]


def last_map(model: Model) -> str:
    """Returns the layer that Grad-CAM looks at by default, see `Classifier.last_map`."""
    return Classifier.of(model).last_map()


def batches(num: int) -> Iterator[slice]:
    """Gives the parts that so many pictures are computed in."""
    for start in range(0, num, BATCH):
        yield slice(start, start + BATCH)
