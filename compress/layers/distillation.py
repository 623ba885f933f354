"""What a student model passes its answers through while it learns from a teacher.

Source: Hinton, Vinyals & Dean 2015, Distilling the knowledge in a neural network, arXiv:1503.02531,
section 2. With v the logits of the teacher, z those of the student, and a temperature T:

    loss    that of the trainer + weight T^2 KL(softmax(v / T) || softmax(z / T))

T^2 makes up for gradients that shrink by it. Of values, which no softmax follows, the loss is the
mean squared difference from the teacher's. Differs: the paper weights both losses, here the
trainer's counts 1; KL stands for the cross entropy, whose gradient in z is the same.

The divergence is Keras' own `LogitsDistillation`. Its default, the text `kl_divergence`, becomes a
function that it takes of the bare logits (Keras 3.15.1); given the class, it does what it says.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from compress.graph import copy_model


@keras.saving.register_keras_serializable(package="compress")
class Distillation(layers.Layer):
    """Returns its first argument; in training, adds the loss of distillation.

    Shapes: (batch, classes), and the inputs of the teacher.

    Args:
        teacher: Functional or Sequential; a frozen copy of it is kept.
        temperature: T, above 0.
        weight: Weight of the loss, above 0.
        probabilities: Whether the student, and whether the teacher, ends in a softmax.
        of: `classes`; or `values`, (batch, ...), whose mean squared difference is the loss.
        **kwargs: Keyword arguments of `keras.layers.Layer`.
    """

    def __init__(
        self,
        teacher: keras.Model,
        *,
        temperature: float,
        weight: float,
        probabilities: tuple[bool, bool] = (False, False),
        of: str = "classes",
        **kwargs: Any,
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.teacher = copy_model(teacher)
        self.teacher.trainable = False
        self.temperature = temperature
        self.weight = weight
        self.probabilities = tuple(probabilities)
        self.of = of

    def build(self, logits_shape: Any, inputs_shape: Any = None) -> None:
        """Makes nothing; the teacher is built."""

    def call(self, logits: Any, inputs: Any, training: bool = False) -> Any:
        """Compares the student's answers with the teacher's to the same inputs."""
        if training:
            taught = ops.stop_gradient(self.teacher(inputs, training=False))
            if self.of == "values":
                apart = ops.cast(logits, "float32") - ops.cast(taught, "float32")
                self.add_loss(self.weight * ops.mean(ops.square(apart)))
                return logits
            pair = zip((logits, taught), self.probabilities, strict=True)
            student, teacher = (_logits(x, probabilities=flag) for x, flag in pair)
            loss = keras.distillation.LogitsDistillation(
                self.temperature, loss=keras.losses.KLDivergence()
            )
            self.add_loss(self.weight * loss.compute_loss(teacher, student))
        return logits

    def compute_output_shape(self, logits_shape: Any, inputs_shape: Any = None) -> Any:
        """The shape of the answers."""
        return logits_shape

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask of the answers."""
        return previous_mask[0] if isinstance(previous_mask, (list, tuple)) else previous_mask

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again; the teacher is the model itself."""
        return {
            **super().get_config(),
            "teacher": self.teacher,
            "temperature": self.temperature,
            "weight": self.weight,
            "probabilities": self.probabilities,
            "of": self.of,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Distillation:
        """Builds the layer; in a file, the teacher is a dictionary."""
        teacher = config["teacher"]
        if isinstance(teacher, dict):
            teacher = keras.saving.deserialize_keras_object(teacher)
        return cls(**{**config, "teacher": teacher})


def _logits(x: Any, *, probabilities: bool) -> Any:
    x = ops.cast(x, "float32")
    # Logits count up to a sum: the logarithms of their softmax are as good.
    return ops.log(ops.maximum(x, keras.config.epsilon())) if probabilities else x
