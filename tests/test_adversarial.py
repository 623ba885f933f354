"""Adversarial training: what is learnt are pictures that were changed to mislead."""

import json

import keras
import numpy as np
import pytest

from tests import toy
from tests.programs import printed
from zoo.data.feeds.feed import Feed
from zoo.data.preprocessing import Preprocessing
from zoo.tasks.labels.attacked import Adversarial
from zoo.tasks.labels.classify import Classify

UNIT = Preprocessing(size=8, channels=1, mean=(0.0,), std=(1.0,))
TASK = Classify(adversarial={"epsilon": 0.1, "steps": 2})
SMALL = [
    "train.epochs=2",
    "data.limit=120",
    "train.batch_size=20",
    "task.adversarial={epsilon: .1}",
]


def feed(batch_size=64):
    draws = TASK.draws({"net": toy.small()})
    return Feed(
        toy.DATA.train, {"image": UNIT}, batch_size=batch_size, training=True, draws=draws
    )  # fmt: skip


def linear():
    image = keras.Input((4, 4, 1), name="image")
    dense = keras.layers.Dense(2, name="logits")
    model = keras.Model(image, dense(keras.layers.Flatten()(image)))
    random = np.random.RandomState(0)
    dense.set_weights([random.normal(size=(16, 2)).astype("float32"), np.zeros(2, "float32")])
    return model, dense.get_weights()[0]


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_changed_pictures_of_a_plane_are_the_closed_form(steps):
    """Whatever the place it begins at: the loss rises along the sign of one vector."""
    model, kernel = linear()
    random = np.random.RandomState(1)
    images = random.uniform(size=(5, 4, 4, 1)).astype("float32")
    labels = np.array([0, 1, 0, 1, 1])
    way = (kernel[:, 1] - kernel[:, 0]) * np.where(labels == 0, 1, -1)[:, None]
    how = Adversarial(epsilon=0.1, steps=steps)
    start = (
        np.full(images.shape, 0.5, "float32") if steps < 3 else random.uniform(size=images.shape)
    )
    loss = lambda x: Classify().loss_of({"label": labels}, model(x)).values  # noqa: E731
    found = np.asarray(how.changed(loss, images, start.astype("float32")))
    wanted = (images + 0.1 * np.sign(way).reshape(images.shape)).clip(0, 1)
    assert np.abs(found - wanted).max() < 1e-6


def test_the_loss_of_training_is_that_of_changed_pictures():
    net = toy.small()
    batch = {"image": UNIT.apply(toy.DATA.train["image"][:32])}
    batch |= {"label": toy.DATA.train["label"][:32], "weight": np.ones(32, "float32")}
    batch["attack_start"] = np.random.RandomState(0).uniform(size=batch["image"].shape)
    batch["attack_start"] = batch["attack_start"].astype("float32")
    plain, hard, half = (
        np.asarray(task.look("loss", {"net": net}, batch, training=True).loss.values)
        for task in (
            Classify(), TASK, Classify(adversarial={"epsilon": 0.1, "steps": 2, "share": 0.5})
        )
    )  # fmt: skip
    assert (hard > plain).mean() > 0.9
    assert half == pytest.approx((hard + plain) / 2, rel=1e-5)
    same = TASK.look("loss", {"net": net}, batch, training=False).loss.values
    assert np.asarray(same) == pytest.approx(plain, rel=1e-5)


def test_resumes_exactly(tmp_path):
    def make(seed):
        return toy.small(seed=seed, dropout=0.3, batch_norm=True)

    def train(model, **options):
        return toy.train(model, toy.settings(), task=TASK, batches=feed(), **options)

    toy.resumed(make, train, tmp_path / "snapshot", step=5)


TWO_DEVICES = """
    import json
    from tests import two

    changes = ["data.limit=160", "train.epochs=2", "train.batch_size=20",
               "train.optimizer={kind: sgd, learning_rate: 0.05}",
               "task.adversarial={epsilon: 0.1, steps: 2}"]
    print(json.dumps(two.of_recipe("lenet5", changes, data="digits")))
"""


@pytest.mark.slow
@pytest.mark.dist
def test_two_devices_are_one():
    apart, histories, moved = printed(TWO_DEVICES)
    assert apart < 1e-5 and histories < 1e-4 and moved > 1e-3


def test_what_is_learnt_is_harder_to_fool():
    from zoo import explain

    found = {}
    test = toy.DATA.test
    inputs, labels = UNIT.apply(test["image"]), test["label"].astype("int32")
    for name, task in {"plain": Classify(), "hardened": TASK}.items():
        model = toy.small()
        toy.train(
            model, toy.settings(12, kind="adam", learning_rate=0.01), task=task, batches=feed()
        )
        attacked = explain.pgd(model, inputs, labels, epsilon=0.1, steps=10)
        found[name] = [explain.accuracy(model, one, labels) for one in (inputs, attacked)]
    assert found["hardened"][0] > 0.8, found
    assert found["hardened"][1] > found["plain"][1] + 0.1, found


def test_a_bundle_of_it_reads_pixels_of_0_to_1(zoo, tmp_path):
    changes = [part for one in SMALL for part in ("--set", one)]
    zoo("train", "lenet5", "--data", "digits", *changes, "--out", tmp_path / "run")
    card = json.loads((tmp_path / "run/card.json").read_text())
    assert card["preprocessing"]["mean"] == [0.0] and card["preprocessing"]["std"] == [1.0]
    assert "epsilon: 0.1" in (tmp_path / "run/recipe.yaml").read_text()
    told = zoo(
        "train",
        "linear",
        "--data",
        "breast_cancer",
        *changes[-2:],
        "--out",
        tmp_path / "b",
        expect=2,
    )
    assert "expected classify, and image" in told
    wrong = ("--set", "task.adversarial={epsilon: 3}")
    told = zoo("train", "lenet5", "--data", "digits", *wrong, "--dry-run", expect=2)
    assert "adversarial.epsilon" in told
