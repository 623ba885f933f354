"""A step in parts is the step of the whole, and two runs may have to be equal to the bit."""

import pytest

from tests import programs, toy
from tests.toy import difference, feed, settings, small, train
from zoo.recipe import resolve
from zoo.training.run import Run

CLIPPED = {"learning_rate": 0.05, "clip_global_norm": 0.5}


def test_a_step_in_parts_is_the_step_of_the_whole():
    """With a penalty that is no mean over examples, and clipping."""
    whole, parts = small(), small()
    chosen = settings(epochs=2, regularize={"l2": 0.01}, **CLIPPED)
    first = train(whole, chosen)
    second = train(parts, chosen.model_copy(update={"accumulate": 4}))
    assert difference(whole, small()) > 0.05
    assert difference(whole, parts) < 1e-6
    for one, other in zip(first.rows, second.rows, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
        assert one["top1"] == other["top1"]


OTHERS = {
    # Two optimizers.
    "gan": ("gan", ["data.name=digits", "data.limit=128", "settings.dropout=0"]),
    # A mean over tokens, of which some are padding.
    "seq2seq": ("seq2seq_small", ["data.limit=128"]),
    "vae": ("vae", ["data.name=digits", "data.limit=128"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_so_it_is_of_other_kinds(name):
    model, changes = OTHERS[name]
    changes = [
        *changes, "train.epochs=2", "train.batch_size=32", "hardware.precision=float32",
        "train.optimizer={kind: sgd, learning_rate: 0.02, clip_global_norm: 1.0}",
    ]  # fmt: skip
    ends = []
    for parts in (1, 4):
        run = Run(resolve(model, changes=[*changes, f"train.accumulate={parts}"]))
        networks = run.create()
        run.train(networks)
        ends.append(networks)
    assert difference(ends[0], run.create()) > 1e-3
    assert difference(*ends) < 1e-6


def test_what_cannot_be_shared_is_refused_with_what_can():
    for parts, near in ((3, 63), (5, 60)):
        chosen = settings().model_copy(update={"accumulate": parts})
        with pytest.raises(ValueError, match=rf"train\.accumulate: got {parts} with a batch of 64"):
            train(small(), chosen)
        assert near % parts == 0
    with pytest.raises(ValueError, match=r"got 64; expected a multiple of 3, .* e\.g\. 63 or 66\."):
        feed().check_shared(3)
    with pytest.raises(ValueError, match=r"accumulate: got 2 with lbfgs; expected 1"):
        resolve("linear", changes=["train.accumulate=2", "train.optimizer.kind=lbfgs"])


def test_in_parts_a_normalisation_sees_a_part():
    whole, parts = (small(batch_norm=True) for _ in range(2))
    train(whole, settings(epochs=1))
    train(parts, settings(epochs=1).model_copy(update={"accumulate": 2}))
    assert 1e-4 < difference(whole, parts) < 0.5


TWO = """
    import json
    from tests import two
    from tests.toy import feed, settings, small, validation
    from zoo.tasks.labels.classify import Classify

    chosen = settings(epochs=2, learning_rate=0.05, clip_global_norm=0.5)
    chosen = chosen.model_copy(update={"accumulate": 4})
    batches = lambda networks, training=False: feed() if training else validation()
    make = lambda: {"net": small()}
    found, _ = two.trained(make, batches, Classify(), chosen, ("loss", "val_loss"))
    print(json.dumps(found))
"""


@pytest.mark.dist
@pytest.mark.slow
def test_two_devices_take_the_parts_of_one():
    weights, losses, moved = toy.printed(TWO)
    assert moved > 0.01 and weights < 1e-6 and losses < 1e-5


TWICE = """
    import hashlib, json
    import tensorflow as tf
    from zoo.recipe import resolve
    from zoo.training.run import Run

    changes = ["data.name=digits", "data.limit=128", "train.epochs=1", "train.batch_size=32",
               "hardware.deterministic=true"]
    run = Run(resolve("lenet5", changes=changes))
    try:
        tf.random.uniform(())
        free = True
    except RuntimeError:  # there is no seed yet
        free = False
    networks = run.create()
    run.train(networks)
    weights = b"".join(weight.tobytes() for weight in networks["net"].get_weights())
    print(json.dumps([free, hashlib.sha256(weights).hexdigest()]))
"""


@pytest.mark.slow
def test_deterministic_runs_are_equal_to_the_bit():
    first, second = (programs.printed(TWICE) for _ in range(2))
    assert first == second and first[0] is False
