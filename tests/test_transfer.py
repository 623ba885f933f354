"""Frozen layers, auxiliary heads, and the models of the cycles."""

import keras
import numpy as np
import pytest

from compress.graph import leaf_layers
from tests.toy import DATA, SCALE, difference, feed, interrupt, settings, small, train, validation
from zoo import weights as trained
from zoo.bundle import Bundle
from zoo.data.preprocessing import Preprocessing
from zoo.models.build import create
from zoo.models.saved import load_model
from zoo.recipe import resolve
from zoo.tasks.labels.classify import Classify
from zoo.tasks.supervised import without_auxiliary
from zoo.training import cycles, fitting, origins, run
from zoo.training.transfer import freeze, thaw

FROZEN = {"weights": "imagenet", "frozen_epochs": 2, "head_learning_rate": 0.02}


def net(**options):
    """Two blocks with all that behaves otherwise in training."""
    keras.utils.set_random_seed(options.pop("seed", 0))
    x = image = keras.Input((8, 8, 1), name="image")
    for block in ("one", "two"):
        x = keras.layers.Conv2D(6, 3, padding="same", name=f"{block}_conv")(x)
        x = keras.layers.BatchNormalization(momentum=0.5, name=f"{block}_bn")(x)
        x = keras.layers.ReLU(name=f"{block}_relu")(x)
        x = keras.layers.Dropout(0.4, name=f"{block}_drop")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    return keras.Model(image, keras.layers.Dense(10, name="logits")(x), name="net")


def weights(model, place):
    return np.concatenate([np.ravel(w) for w in model.get_layer(place).get_weights()])


def moved(before, after):
    return {
        layer.name: bool(np.any(weights(before, layer.name) != weights(after, layer.name)))
        for layer in before.layers
        if layer.weights
    }


@pytest.mark.parametrize(
    ("unfreeze", "learning", "dropping"),
    [
        (0.0, {"logits"}, {"two_drop"}),
        (0.2, {"logits"}, {"two_drop"}),
        (0.4, {"logits", "two_bn"}, {"two_drop"}),
        (0.6, {"logits", "two_bn", "two_conv"}, {"one_drop", "two_drop"}),
        (1.0, {"logits", "two_bn", "two_conv", "one_bn", "one_conv"}, {"one_drop", "two_drop"}),
    ],
)
def test_share_of_the_layers_that_learn(unfreeze, learning, dropping):
    model = net()
    frozen = freeze(model, unfreeze)
    assert {layer.name for _, layer in leaf_layers(model) if layer.trainable_weights} == learning
    images = np.ones((4, 6), "float32")
    acts = {name for name in ("one_drop", "two_drop") if drops(model.get_layer(name), images)}
    assert acts == dropping
    thaw(frozen)
    assert all(layer.trainable for layer in model.layers)
    assert all(drops(model.get_layer(name), images) for name in ("one_drop", "two_drop"))


def drops(layer, images):
    return bool(np.any(layer(images, training=True) == 0))


def test_first_the_head_then_the_top(tmp_path):
    """Batch normalisation below keeps its statistics too; the model is whole again afterwards."""
    chosen = {"transfer": FROZEN | {"unfreeze": 0.6}, "warmup": 0.5, "schedule": "cosine"}
    seen = {}

    def note(epoch, logs):
        copy = keras.models.clone_model(net())
        copy.set_weights(spy.model.get_weights())
        seen[epoch] = copy

    spy = keras.callbacks.LambdaCallback(on_epoch_end=note)
    model = net()
    history = train(model, settings(epochs=4, **chosen), callbacks=[spy])
    assert moved(net(), seen[1]) == {
        "one_conv": False, "one_bn": False, "two_conv": False, "two_bn": False, "logits": True,
    }  # fmt: skip
    assert moved(seen[1], model) == {
        "one_conv": False, "one_bn": False, "two_conv": True, "two_bn": True, "logits": True,
    }  # fmt: skip
    assert len(model.trainable_variables) == 10
    assert [row["epoch"] for row in history.rows] == [1, 2, 3, 4]
    # Each phase warms up over half of its 20 steps; then the head stays, the rest falls to 0.
    rates = [row["learning_rate"] for row in history.rows]
    cosine = 0.05 * (1 + np.cos(np.pi * 0.9)) / 2
    np.testing.assert_allclose(rates, [0.02 * 9 / 10, 0.02, 0.05 * 9 / 10, cosine], rtol=1e-4)


def test_frozen_features_are_those_of_inference():
    """The head learns as it would on features that were computed once."""
    model, body = net(), net()
    model.get_layer("two_drop").rate = 0.0
    train(model, settings(epochs=3, transfer=FROZEN | {"unfreeze": 0.01}))
    features = keras.Model(body.input, body.get_layer("flatten").output)
    head = body.get_layer("logits")
    for phase, epochs in ((0.02, (0, 1)), (0.05, (2,))):
        optimizer = keras.optimizers.SGD(phase, momentum=0.9)
        top = keras.Sequential([keras.Input(features.output_shape[1:]), head])
        top.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        for epoch in epochs:
            for batch in feed().dataset(epoch):
                top.train_on_batch(features(batch["image"], training=False), batch["label"])
    assert np.abs(weights(model, "logits") - weights(body, "logits")).max() < 1e-5
    assert moved(net(), model)["logits"]


@pytest.mark.parametrize("stop_at", [7, 20, 26])
def test_resumes_exactly_across_the_phases(tmp_path, stop_at):
    snapshot = tmp_path / "snapshot.npz"
    chosen = settings(epochs=3, transfer=FROZEN | {"unfreeze": 0.6}, ema=0.5, warmup=0.2)
    whole = net()
    reference = train(whole, chosen, validation=validation())
    stopped = net()
    first = train(stopped, chosen, callbacks=[interrupt(stop_at)], snapshot=snapshot)
    assert first.interrupted and difference(whole, stopped) > 0
    resumed = net(seed=5)
    second = train(resumed, chosen, validation=validation(), snapshot=snapshot, resume=True)
    assert difference(whole, resumed) == 0.0
    assert [row["loss"] for row in second.rows] == [row["loss"] for row in reference.rows]


def test_run_takes_weights_and_preprocessing_of_the_name(monkeypatch, tmp_path):
    """A stand-in for trained weights: what `create` and `zoo.weights` promise."""
    row = trained.TABLE[0]
    asked = {}

    def fake(name, *, weights=None, **options):
        asked.update(name=name, weights=weights)
        return create(name, **options)

    monkeypatch.setattr(run, "create", fake)
    monkeypatch.setattr(origins.weights, "find_weights", lambda model, name: row)
    changes = [
        "data.channels=3", "data.limit=100", "train.epochs=2", "train.batch_size=50",
        "train.transfer.weights=imagenet", "train.transfer.frozen_epochs=1",
    ]  # fmt: skip
    bundle = fitting.fit("lenet5", data="digits", out=tmp_path / "out", changes=changes)
    assert asked == {"name": "lenet5", "weights": "imagenet"}
    found = Preprocessing.model_validate(bundle.card.preprocessing)
    assert (found.scale, found.mean, found.std) == (row.scale, row.mean, row.std)
    assert (found.size, found.channels) == (32, 3)
    assert all(layer.trainable for layer in load_model(bundle.path).layers)


# Auxiliary heads


def test_auxiliary_head_adds_its_share_to_the_gradient():
    share, chosen = 0.4, settings(epochs=1)
    ours, theirs = small(auxiliary=True), small(auxiliary=True)
    history = train(ours, chosen, task=Classify(auxiliary_weight=share), validation=validation())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    theirs.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        {"logits": loss, "auxiliary": loss},
        loss_weights={"logits": 1.0, "auxiliary": share},
    )
    for batch in feed().dataset(0):
        label = batch["label"]
        theirs.train_on_batch(batch["image"], {"logits": label, "auxiliary": label})
    assert difference(ours, theirs) < 1e-5
    alone = small(auxiliary=True)
    train(alone, chosen, task=Classify(auxiliary_weight=0.0))
    assert np.any(weights(alone, "conv") != weights(ours, "conv"))
    assert not moved(small(auxiliary=True), alone)["side_logits"]
    # What is measured is the answer.
    logits = ours.predict(SCALE.apply(DATA.validation["image"]), verbose=0)["logits"]
    right = np.mean(logits.argmax(axis=1) == DATA.validation["label"])
    assert history.rows[-1]["val_top1"] == pytest.approx(right)


def test_bundle_has_no_auxiliary_head(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "create", lambda name, **options: small(auxiliary=True))
    changes = ["data.size=8", "data.limit=100", "train.epochs=2", "train.batch_size=50"]
    changes += ["train.optimizer.schedule=cyclic", "train.optimizer.cycles=2"]
    bundle = fitting.fit("linear", data="digits", out=tmp_path / "out", changes=changes)
    for path in (bundle.path, *cycles.files(bundle.path)):
        model = load_model(path)
        assert model.name == "small" and model.output_names == ["logits"]
        assert not any(layer.name.startswith("side") for layer in model.layers)
    assert bundle.card.parameters == 80 + 5130


def test_answer_alone_computes_what_it_did():
    model = small(auxiliary=True)
    images = SCALE.apply(DATA.test["image"][:5])
    alone = without_auxiliary(model)
    np.testing.assert_array_equal(alone(images), model(images)["logits"])
    assert without_auxiliary(alone) is alone


@pytest.mark.parametrize("name", ["googlenet", "googlenet_bn"])
def test_googlenet_without_its_heads_is_the_plain_one(name):
    shape = {"input_shape": (32, 32, 1), "num_classes": 10}
    model, plain = create(name, **shape, auxiliary=True), create(name, **shape)
    alone = without_auxiliary(model)
    assert len(model.outputs) == 3 and alone.name == name
    assert [layer.name for layer in alone.layers] == [layer.name for layer in plain.layers]
    plain.set_weights(alone.get_weights())
    images = np.random.RandomState(0).normal(size=(2, 32, 32, 1)).astype("float32")
    np.testing.assert_array_equal(alone(images), plain(images))


# Cycles


def test_cyclic_keeps_the_model_of_every_cycle(tmp_path):
    snapshot = tmp_path / "snapshot.npz"
    chosen = settings(epochs=4, schedule="cyclic", cycles=2, learning_rate=0.1)
    seen = {}

    def note(epoch, logs):
        seen[epoch] = [w.copy() for w in spy.model.get_weights()]

    spy = keras.callbacks.LambdaCallback(on_epoch_end=note)
    train(small(), chosen, callbacks=[spy], snapshot=snapshot)
    paths = cycles.files(tmp_path)
    assert [path.name for path in paths] == ["01.keras", "02.keras"]
    for path, epoch in zip(paths, (1, 3), strict=True):
        for found, expected in zip(load_model(path).get_weights(), seen[epoch], strict=True):
            np.testing.assert_array_equal(found, expected)


def test_cycles_survive_a_stop_and_end_in_the_bundle(tmp_path):
    changes = [
        "data.limit=100", "train.batch_size=50", "train.epochs=6",
        "train.optimizer.schedule=cyclic", "train.optimizer.cycles=3",
    ]  # fmt: skip
    out = tmp_path / "out"
    first = fitting.fit("linear", data="digits", out=out, changes=changes, callbacks=[interrupt(7)])
    assert first.report.status == "interrupted" and len(cycles.files(out)) == 1
    bundle = fitting.fit("linear", out=out, resume=True)
    assert bundle.report.status == "complete"
    last = load_model(cycles.files(out)[2])
    assert difference(last, load_model(out)) == 0.0 and len(cycles.files(out)) == 3
    assert not out.with_name("out.partial").exists()
    with pytest.raises(FileNotFoundError, match="schedule=cyclic"):
        cycles.files(tmp_path)


def test_smoke_is_a_recipe_of_its_own(tmp_path, zoo):
    smoke = resolve("linear", smoke=True)
    assert zoo("train", "linear", "--smoke", "--dry-run") == smoke.to_yaml()
    assert smoke != resolve("linear") and smoke.train.epochs < resolve("linear").train.epochs
    bundle = fitting.fit("linear", smoke=True, out=tmp_path / "out")
    assert Bundle(bundle.path).recipe == smoke
    with pytest.raises(FileNotFoundError, match="no unfinished run"):
        fitting.fit("linear", smoke=True, resume=True, out=tmp_path / "out")


@pytest.mark.parametrize(
    "changes",
    [
        ("train.optimizer.schedule=cyclic", "train.optimizer.cycles=2", "train.optimizer.ema=0.9"),
        ("train.optimizer.kind=lbfgs",),
    ],
    ids=lambda changes: changes[0].split("=")[1],
)
def test_any_bundle_trains_on_for_compression(changes, tmp_path):
    """What `zoo compress` does: another number of epochs, callbacks in every step."""
    plain = ("data.limit=100", "train.batch_size=50", "train.epochs=2")
    bundle = fitting.fit("linear", data="digits", out=tmp_path / "out", changes=(*plain, *changes))
    seen = []
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=lambda b, logs: seen.append(b))
    history = run.Run(bundle.recipe).train(
        load_model(bundle.path), settings=bundle.recipe.train.further(3), callbacks=[callback]
    )
    assert history.epochs == 3 and seen == [0, 1] * 3
