"""Settings that do not go together are refused, and what training on leaves out."""

import pytest

from zoo.recipe import Optimizer, Recipe, Train


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
