"""Knowledge distillation: the compressed model learns from the answers of the original.

Source: Hinton, Vinyals & Dean 2015, arXiv:1503.02531; formula and differences:
`compress.layers.distillation`. It repairs what another pass cost, so it comes after one.

Measured on scikit-learn's digits, top-1 in percent, mean of three seeds: 97.7 for a small
convolutional net; then three quarters of its channels go, and Adam trains the rest:

    5 epochs at 0.001     labels alone 87.9    with a teacher, T = 1: 88.1    T = 2: 85.4    4: 83.9
    15 epochs at 0.003                 95.2                           97.5           96.5       96.4

A high temperature asks for more than labels do, and a short training does not get there.

What does not classify, e.g. a generator of pictures, learns the values themselves: the loss is the
mean squared difference from the teacher's (Aguinaldo et al. 2019, arXiv:1902.00159, of generators,
beside the adversarial loss too).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, model_validator

from compress.base import Context, Note, Pass, Rewrite

if TYPE_CHECKING:
    import keras

LOG = logging.getLogger("compress")
NUM_ASKED = 32  # samples whose answers are looked at


class Distill(Pass):
    """Trains the model on its teacher's answers, beside the labels of the trainer.

    The teacher is the model that went into the pipeline; where there is none, the model as it is.
    The graph stays; zeros stay zeros and shared weights stay shared. `layers` do not matter. Both
    models classify: one output, (batch, classes), of logits or of a softmax; which, is found out by
    `compress.graph.shares`. Of values they have one output of any shape.

    Attributes:
        of: What is learnt: `classes`, by the divergence, or `values`, by the squared difference.
        teacher: Path of a `.keras` file with another teacher.
        temperature: What both models' logits are divided by, above 0; values are compared as they
            are.
        weight: Weight of the teacher's loss; that of the trainer counts 1.
    """

    kind: Literal["distill"] = "distill"
    of: Literal["classes", "values"] = "classes"
    teacher: str | None = None
    temperature: float = Field(default=1.0, gt=0)
    weight: float = Field(default=1.0, gt=0)
    epochs: int = Field(default=4, ge=0)

    @model_validator(mode="after")
    def _has_logits(self) -> Self:
        if self.of == "values" and self.temperature != 1:
            raise ValueError("no temperature with of: values, which are no logits")
        return self

    def check(self, model: keras.Model, context: Context) -> None:
        """Asks whether the model classifies, and for the teacher's file; see `Pass.check`."""
        if context.fit is None or self.epochs == 0:
            return
        self._check(model)
        if self.teacher is not None and not Path(self.teacher).is_file():
            raise FileNotFoundError(
                f"Distill.teacher: {self.teacher}: not found; expected a .keras file."
            )

    def rewrite(
        self, model: keras.Model, chosen: Mapping[str, keras.layers.Layer], context: Context
    ) -> Rewrite:
        """Trains a copy of `model`; see `Pass.rewrite`.

        Raises:
            ValueError: A model does not classify, or the two do not fit each other.
            FileNotFoundError: There is no such teacher.
        """
        from compress.graph import copy_model

        notes = {
            path: Note(False, "learns from the teacher" if layer.weights else "has no weights")
            for path, layer in chosen.items()
        }
        small = copy_model(model)
        if context.fit is None or self.epochs == 0:
            return Rewrite(small, notes, context.fine_tune(small, epochs=self.epochs))
        text = context.fine_tune(self._taught(small, model, context), epochs=self.epochs)
        # The copy drops the training graph, and the teacher with it.
        return Rewrite(copy_model(small), notes, f"{text} with a teacher")

    def _taught(self, student: keras.Model, model: keras.Model, context: Context) -> keras.Model:
        """A model over the layers of the student, a copy of `model`, with the teacher's loss."""
        import keras

        from compress.graph import inputs_of
        from compress.layers.distillation import Distillation

        given = context.teacher or model
        teacher = given if self.teacher is None else _load(self.teacher)
        self._check(teacher)
        for name in ("inputs", "outputs"):
            one, other = ([tuple(x.shape) for x in getattr(m, name)] for m in (student, teacher))
            if one != other:
                raise ValueError(
                    f"Distill.teacher: its {name} are {other}; expected {one}, the student's."
                )
        # A copy is not compiled, and answers in the form of what it was made of.
        loss = getattr(given, "loss", None)
        samples, shares = context.samples, (False, False)
        if self.of == "classes":
            taught = loss if teacher is given else None
            first = _gives_shares(student, samples, loss)
            shares = first, _gives_shares(teacher, samples, taught)
        inputs = inputs_of(student)
        layer = Distillation(
            teacher,
            temperature=self.temperature,
            weight=self.weight,
            probabilities=shares,
            of=self.of,
            name="distillation",
        )
        return keras.Model(inputs, layer(student.outputs[0], inputs), name=student.name)

    def _check(self, model: keras.Model) -> None:
        """Refuses what does not answer with what is learnt.

        Raises:
            ValueError: It does not.
        """
        if self.of == "classes":
            _check_classes(model)
        elif len(model.outputs) != 1:
            raise ValueError(
                f"Distill: {model.name!r} has {len(model.outputs)} outputs; expected one."
            )


def _check_classes(model: keras.Model) -> None:
    """Refuses what is no model of classes.

    Raises:
        ValueError: It is none.
    """
    from compress.graph.shares import last_function

    shapes = [tuple(tensor.shape) for tensor in model.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 2 or (shapes[0][1] or 0) < 2:
        raise ValueError(
            f"Distill: {model.name!r} has outputs {shapes}; expected one, (batch, classes)."
        )
    if (function := last_function(model)) in ("sigmoid", "hard_sigmoid"):
        raise ValueError(
            f"Distill: {model.name!r} ends in a {function}; expected logits, or a softmax, of "
            "classes."
        )


def _gives_shares(model: keras.Model, samples: Any, loss: Any) -> bool:
    """Whether a model returns the shares of a softmax rather than logits.

    Args:
        model: Of classes.
        samples: Examples to look at its answers to; `None` where there are none.
        loss: What it was compiled with.
    """
    import keras

    from compress.graph import inputs_of
    from compress.graph.shares import find_shares
    from zoo.common.examples import gather

    answers = None
    if samples is not None:
        found = gather(samples, model.inputs, where="Distill: samples", most=NUM_ASKED)
        given = [array[:NUM_ASKED] for array in found.values()]
        packed = keras.tree.pack_sequence_as(inputs_of(model), given)
        answers = keras.ops.convert_to_numpy(keras.tree.flatten(model(packed, training=False))[0])
    shares, told = find_shares(model, answers, loss=loss)
    if told:
        LOG.warning("Distill: %s: %s", model.name, told)
    return shares


def _load(path: str) -> keras.Model:
    import keras

    from compress.layers import register

    if not Path(path).is_file():
        raise FileNotFoundError(f"Distill.teacher: {path}: not found; expected a .keras file.")
    register()
    return keras.saving.load_model(path, compile=False)
