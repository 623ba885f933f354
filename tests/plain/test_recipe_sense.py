"""Settings that do not go together are refused, and what training on leaves out."""

import pytest

from zoo.recipe import Optimizer, Recipe, Train, resolve


@pytest.mark.parametrize(
    ("group", "values", "match"),
    [
        (Optimizer, {"clip_value": 1, "clip_norm": 1}, r"\.clip_norm: .*beside clip_value"),
        (Optimizer, {"nesterov": True}, r"\.nesterov: .*sgd"),
        (Optimizer, {"schedule": "cyclic", "warmup": 0.3}, r"\.warmup: .*less than 0\.2"),
        (Optimizer, {"kind": "lbfgs", "weight_decay": 0.1}, r"\.weight_decay: .*l2"),
        (Optimizer, {"kind": "lbfgs", "ema": 0.9}, r"\.ema: .*expected none"),
        (Train, {"epochs": 7, "optimizer": {"schedule": "cyclic"}}, r"\.cycles: got 5 in 7"),
        (Train, {"transfer": {"frozen_epochs": 2}}, r"\.transfer: .*without weights"),
        (Train, {"transfer": {"frozen_epochs": 10, "weights": "imagenet"}}, "less than"),
        (Train, {"optimizer": {"kind": "lbfgs"}, "regularize": {"l1": 0.1}}, r"\.l1: .*gradient"),
        (
            Recipe,
            {"train": {"optimizer": {"kind": "lbfgs"}}, "data": {"augment": {"shift": 1}}},
            r"\.data\.augment: .*one fixed function",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(group, values, match):
    with pytest.raises(ValueError, match=match):
        group(**values | ({"model": "linear"} if group is Recipe else {}))


def test_training_on_drops_what_belongs_to_a_fresh_start():
    chosen = Train(
        epochs=6,
        optimizer={"schedule": "cyclic", "cycles": 3, "ema": 0.9},
        transfer={"weights": "imagenet", "frozen_epochs": 3},
    ).further(2)
    assert Train(**chosen.model_dump()) == chosen
    assert (chosen.epochs, chosen.optimizer.schedule, chosen.optimizer.ema) == (2, "cosine", None)
    assert chosen.transfer.frozen_epochs == 0 and chosen.transfer.weights is None
    assert Train(optimizer={"kind": "lbfgs"}).further(2).optimizer.kind == "adamw"


def test_training_on_takes_the_turns_of_the_last_phase():
    phases = [{"epochs": 4, "objectives": ["layer1"]}, {"epochs": 2, "objectives": ["classify"]}]
    (phase,) = Train(epochs=6, phases=phases).further(3).phases
    assert (phase.epochs, phase.objectives, phase.optimizer) == (3, ("classify",), {})
    assert Train(epochs=2, phases=[{"epochs": 2}]).further(3).phases == ()


@pytest.mark.parametrize(("name", "kind", "rate"), [("dbn", "adam", 5e-4), ("cdbn", "adamw", 3e-3)])
def test_training_on_takes_the_optimizer_of_the_last_phase(name, kind, rate):
    """The fine-tuning by labels is no pretraining of a machine."""
    train = resolve(name).train
    chosen = train.further(3, rate=0.1)
    assert Train(**chosen.model_dump()) == chosen
    assert chosen.optimizer.kind == kind != train.optimizer.kind
    assert chosen.optimizer.learning_rate == pytest.approx(0.1 * rate)
    assert chosen.optimizer.momentum == train.optimizer.momentum  # what the phase leaves stays


def test_a_last_phase_without_objectives_has_an_optimizer_too():
    phases = [{"epochs": 2}, {"epochs": 1, "optimizer": {"learning_rate": 0.5, "ema": 0.9}}]
    single = {"critic": {"learning_rate": 4.0, "beta_1": 0.5}}
    chosen = Train(epochs=3, phases=phases, optimizers=single).further(2, rate=0.1)
    assert chosen.phases == () and chosen.optimizer.ema is None
    # The phase's changes count before those of an objective, as in the training.
    assert chosen.optimizer_of("critic").learning_rate == pytest.approx(0.05)
    assert chosen.optimizer_of("critic").beta_1 == 0.5
