"""The loop against Keras' own, one device against two, a stopped run against a whole one."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import log_loss, top_k_accuracy_score

from tests import toy
from tests.golden.vector import CLASSIFIERS
from tests.toy import DATA, SCALE, difference, feed, settings, small, train
from zoo.bundle import Bundle
from zoo.data.feeds.feed import Feed
from zoo.data.loading import load
from zoo.data.preprocessing import Preprocessing
from zoo.models.build import create
from zoo.models.saved import load_model
from zoo.recipe import Hardware, Optimizer, Train, resolve
from zoo.tasks.labels.classify import Classify
from zoo.training import loop, signals, strategy
from zoo.training import optimizer as optimizers
from zoo.training.evaluation import evaluate
from zoo.training.fitting import fit
from zoo.training.history import DivergedError
from zoo.training.run import Run
from zoo.training.trainer import Trainer
from zoo.training.twin import FusedBatchNormalization, make_twin

ROOT = Path(__file__).parents[1]


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_equals_keras_fit(kind):
    """Keras' `fit` on one device, without clipping, is right: the loop must take the same steps."""
    ours, theirs = small(batch_norm=True), small(batch_norm=True)
    chosen = settings(kind=kind, learning_rate=0.002, weight_decay=0.01)
    history = train(ours, chosen)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    theirs.compile(optimizers.build(chosen.optimizer, steps=20), loss, jit_compile=False)
    for epoch in range(2):
        batches = feed().dataset(epoch).map(lambda batch: (batch["image"], batch["label"]))
        theirs.fit(batches, epochs=1, verbose=0, shuffle=False)
    assert difference(ours, small(batch_norm=True)) > 1e-3
    assert difference(ours, theirs) < 1e-5
    assert history.epochs == 2 and not history.interrupted


def test_clips_the_norm_of_the_whole_gradient():
    before, after = small(), small()
    one_step = Train(epochs=1, batch_size=640, optimizer=Optimizer(
        kind="sgd", learning_rate=1.0, momentum=0.0, schedule="constant", clip_global_norm=0.1
    ))  # fmt: skip
    machine = strategy.choose_machine(Hardware(precision="float32", strategy="one"))
    Trainer(after, Classify(), one_step, machine).fit(feed(640))
    step = [a - b for a, b in zip(after.get_weights(), before.get_weights(), strict=True)]
    assert np.sqrt(sum((part**2).sum() for part in step)) == pytest.approx(0.1, rel=1e-4)


def test_weight_decay_spares_biases():
    model = small()
    for layer in model.layers:
        if layer.weights:
            layer.bias.assign(np.ones(layer.bias.shape))
    chosen = Optimizer(kind="adamw", learning_rate=0.1, weight_decay=0.5, schedule="constant")
    optimizer = optimizers.build(chosen, steps=1)
    kernel = model.get_layer("logits").kernel.numpy()
    optimizer.apply([np.zeros(v.shape, "float32") for v in model.trainable_variables],
                    model.trainable_variables)  # fmt: skip
    np.testing.assert_allclose(model.get_layer("logits").kernel, kernel * 0.95, rtol=1e-6)
    np.testing.assert_array_equal(model.get_layer("logits").bias, 1)


def test_schedule_warms_up_and_falls_to_zero():
    rate = optimizers.build(Optimizer(learning_rate=0.4, warmup=0.1), steps=100)._learning_rate
    values = [float(rate(step)) for step in (0, 5, 10, 55, 100)]
    np.testing.assert_allclose(values, [0, 0.2, 0.4, 0.2, 0], atol=1e-6)
    flat = optimizers.build(
        Optimizer(learning_rate=0.4, warmup=0.1, schedule="constant"), steps=100
    )._learning_rate
    np.testing.assert_allclose([float(flat(step)) for step in (5, 10, 100)], [0.2, 0.4, 0.4])


def test_keras_callbacks_work_unchanged(tmp_path):
    model, calls = small(batch_norm=True), keras.callbacks
    seen = []
    given = [
        calls.ModelCheckpoint(tmp_path / "{epoch}.keras"),
        calls.CSVLogger(tmp_path / "log.csv"),
        calls.ReduceLROnPlateau(monitor="val_loss", factor=0.5, patience=1, min_delta=100),
        calls.EarlyStopping(
            monitor="val_loss", patience=3, min_delta=100, restore_best_weights=True
        ),
        calls.TerminateOnNaN(),
        calls.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(logs["loss"])),
    ]
    validation = Feed(DATA.validation, {"image": SCALE}, batch_size=32)
    history = train(model, settings(epochs=9), validation=validation, callbacks=given)
    assert history.epochs == 4 and not history.interrupted  # the first is best, patience 3
    assert len(seen) == 4 * 10
    rates = [row["learning_rate"] for row in history.rows]
    assert rates[0] == pytest.approx(0.05) and rates[-1] < 0.05
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 5
    first = keras.saving.load_model(tmp_path / "1.keras", compile=False)
    assert difference(first, model) == 0.0
    assert {"loss", "top1", "top5", "val_loss", "val_top1"} <= set(history.rows[0])


@pytest.mark.parametrize("stop_at", [3, 10, 14])
def test_resumed_run_equals_a_whole_one(tmp_path, stop_at):
    """Dropout, batch normalisation and momentum all have state; a stop may fall anywhere."""
    snapshot, steps = tmp_path / "snapshot.npz", []

    def interrupt(batch, logs):
        steps.append(batch)
        if len(steps) == stop_at:
            os.kill(os.getpid(), signal.SIGINT)

    options = {"dropout": 0.5, "batch_norm": True}
    whole = small(**options)
    reference = train(whole, settings(epochs=3))
    stopped = small(**options)
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=interrupt)
    first = train(stopped, settings(epochs=3), callbacks=[callback], snapshot=snapshot)
    assert first.interrupted and len(steps) == stop_at and difference(whole, stopped) > 0
    resumed = small(**options, seed=7)  # nothing of the new model may survive
    second = train(resumed, settings(epochs=3), snapshot=snapshot, resume=True)
    assert difference(whole, resumed) == 0.0
    assert [row["loss"] for row in second.rows] == [row["loss"] for row in reference.rows]


@pytest.mark.parametrize("at", ["the last step", "validation"])
def test_sigterm_does_not_wait_for_the_end_of_an_epoch(tmp_path, at):
    """Its end, with the averages of the weights, belongs to the run that goes on."""
    snapshot, chosen = tmp_path / "snapshot.npz", settings(epochs=3, ema=0.9)

    class Stops(Feed):
        stop = False

        def batches(self, *arguments, **options):
            for number, batch in enumerate(super().batches(*arguments, **options)):
                if self.stop and number == 1:
                    os.kill(os.getpid(), signal.SIGTERM)
                yield batch

    def validation(stop=False):
        found = Stops(DATA.validation, {"image": SCALE}, batch_size=50)
        found.stop = stop
        return found

    def interrupt(batch, logs):
        if at == "the last step" and batch == 9:
            os.kill(os.getpid(), signal.SIGTERM)

    whole, resumed, seen = small(), small(seed=7), []
    reference = train(whole, chosen, validation=validation())
    calls = keras.callbacks.LambdaCallback(
        on_train_batch_end=interrupt, on_epoch_end=lambda epoch, logs: seen.append(epoch)
    )
    with pytest.raises(signals.Terminated):
        train(
            small(), chosen, validation=validation(at == "validation"), callbacks=[calls],
            snapshot=snapshot,
        )  # fmt: skip
    assert not seen
    again = train(resumed, chosen, validation=validation(), snapshot=snapshot, resume=True)
    assert difference(whole, resumed) == 0.0
    for one, other in zip(again.rows, reference.rows, strict=True):
        assert (one["val_loss"], one["loss"]) == (other["val_loss"], other["loss"])


def test_a_damaged_snapshot_falls_back_to_the_one_before(tmp_path, monkeypatch, caplog):
    snapshot, steps = tmp_path / "snapshot.npz", []
    monkeypatch.setattr(loop, "SNAPSHOT_SECONDS", 0.0)

    def interrupt(batch, logs):
        steps.append(batch)
        if len(steps) == 14:
            os.kill(os.getpid(), signal.SIGINT)

    def damage(path):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    whole = small(dropout=0.5)
    train(whole, settings(epochs=3))
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=interrupt)
    train(small(dropout=0.5), settings(epochs=3), callbacks=[callback], snapshot=snapshot)
    damage(snapshot)
    resumed = small(dropout=0.5, seed=7)
    with caplog.at_level("WARNING", "zoo"):
        train(resumed, settings(epochs=3), snapshot=snapshot, resume=True)
    assert difference(whole, resumed) == 0.0
    (line,) = (record.getMessage() for record in caplog.records)
    assert line.startswith(f"{snapshot}: ") and line.endswith("goes on from the snapshot before it")
    for path in (snapshot, snapshot.with_name("snapshot.before.npz")):
        damage(path)
    with pytest.raises(ValueError, match=r"snapshot\.npz: .*start anew with --force"):
        train(resumed, settings(epochs=3), snapshot=snapshot, resume=True)


def test_snapshot_of_another_model_is_refused(tmp_path):
    snapshot = tmp_path / "snapshot.npz"

    def interrupt(batch, logs):
        os.kill(os.getpid(), signal.SIGINT)

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=interrupt)
    train(small(), settings(), callbacks=[callback], snapshot=snapshot)
    with pytest.raises(ValueError, match="another model or optimizer"):
        train(small(batch_norm=True), settings(), snapshot=snapshot, resume=True)


@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_divergence_is_told(monkeypatch, seconds):
    """At the end of an epoch, and within one that takes long."""
    monkeypatch.setattr(loop, "LOOK_SECONDS", seconds)
    steps = []
    callback = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: steps.append(batch)
    )
    with pytest.raises(DivergedError, match="learning_rate"):
        train(small(), settings(learning_rate=1e30), callbacks=[callback])
    assert len(steps) == 10 if seconds else len(steps) < 10


def test_the_layer_where_numbers_end_is_named():
    """The weights are as they were: a step whose loss is no number is not taken."""
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Flatten(name="flatten")(image)
    x = keras.layers.Dense(8, name="early")(x)
    x = keras.layers.Rescaling(3e38, name="boom")(x)
    model = keras.Model(image, keras.layers.Dense(10, name="late")(x))
    before, seen = model.get_weights(), []
    callback = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(callback.model.get_weights())
    )
    with pytest.raises(DivergedError, match=r"is nan; .*outputs are not finite: boom\.$"):
        train(model, settings(), callbacks=[callback])
    for one, other in zip(seen[-1], before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.oracle
def test_fused_batch_normalisation_equals_keras():
    plain = small(batch_norm=True)
    twin = make_twin(plain, "float32", replicas=1)
    layer = twin.get_layer("conv_bn")
    assert isinstance(layer, FusedBatchNormalization)
    images = tf.constant(SCALE.apply(DATA.train["image"][:64]))
    results = []
    for model in (plain, twin):
        with tf.GradientTape() as tape:
            outputs = model(images, training=True)
            loss = tf.reduce_mean(outputs**2)
        results.append(
            [outputs, *tape.gradient(loss, [v.value for v in model.trainable_variables])]
        )
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)
    for moved, still in zip(
        twin.non_trainable_variables, plain.non_trainable_variables, strict=True
    ):
        np.testing.assert_allclose(moved, still, rtol=1e-5, atol=1e-6)
    assert difference(twin, plain) < 1e-5
    np.testing.assert_allclose(twin(images), plain(images), rtol=1e-5, atol=1e-5)


def test_twin_computes_in_bfloat16_and_gives_float32():
    twin = make_twin(small(batch_norm=True), "mixed_bfloat16", replicas=1)
    assert twin.get_layer("conv").compute_dtype == "bfloat16"
    assert twin.get_layer("conv").kernel.dtype == "float32"
    assert twin.output.dtype == "float32"


BUILDERS = {row.builder: row.name for row in reversed(CLASSIFIERS.values())}.values()
# densenet121 takes 19 s, the others 9; the blocks of densenet40, resnet18 and mobilenet are alike.
SLOW = ("densenet121", "resnet50_v2", "mobilenet_v2")


@pytest.mark.parametrize("name", [
    pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in BUILDERS
])  # fmt: skip
def test_every_builder_has_a_twin_that_trains(name):
    row = CLASSIFIERS[name]
    side = max(row.smallest, 8)
    model = create(name, input_shape=(side, side, 1), num_classes=10)
    data = load("digits", size=side, limit=64)
    scale = Preprocessing.measure(data.train["image"])
    images = Feed(data.train, {"image": scale}, batch_size=64, training=True)
    twin = make_twin(model, "mixed_bfloat16", replicas=2)
    inputs = next(iter(images.dataset()))["image"]
    expected = model(inputs).numpy()
    assert np.abs(twin(inputs).numpy() - expected).max() < 0.1 * np.abs(expected).max()
    machine = strategy.choose_machine(Hardware(precision="mixed_bfloat16", strategy="one"))
    history = Trainer(model, Classify(), settings(epochs=1), machine).fit(images)
    assert history.epochs == 1
    assert np.abs(model(inputs).numpy() - expected).max() > 0


@pytest.mark.oracle
def test_measures_equal_scikit_learn():
    random = np.random.RandomState(0)
    logits, labels = random.normal(size=(200, 10)).astype("float32"), random.randint(0, 10, 200)
    task, batch = Classify(), {"label": labels}
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ours = float(np.mean(task.loss_of(batch, logits).values))
    assert ours == pytest.approx(log_loss(labels, shares))
    for name, k in (("top1", 1), ("top5", 5)):
        ours = float(np.mean(task.measures(batch, logits)[name].values))
        assert ours == pytest.approx(top_k_accuracy_score(labels, logits, k=k))
    smooth = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    theirs = smooth(keras.ops.one_hot(labels, 10), logits)
    ours = float(np.mean(Classify(label_smoothing=0.1).loss_of(batch, logits).values))
    assert ours == pytest.approx(float(theirs))


def test_evaluation_counts_every_image_once(bundle):
    data = load("digits", size=32)
    scale = Preprocessing.model_validate(bundle.card.preprocessing)
    model = load_model(bundle.path)
    source = Feed(data.test, {"image": scale}, batch_size=250)
    found = evaluate(Classify(), {"net": model}, source, data.columns)
    logits = model.predict(scale.apply(data.test["image"]), verbose=0)
    assert found.metrics["top1"] == pytest.approx(np.mean(logits.argmax(1) == data.test["label"]))
    assert np.sum(found.tables["confusion"]) == len(data.test)
    assert sum(row["support"] for row in found.tables["per_class"]) == len(data.test)


@pytest.mark.parametrize(("batch", "evaluated"), [(2, 8), (32, 128), (128, 250)])
def test_an_evaluation_fits_where_a_step_does(batch, evaluated):
    recipe = resolve("lenet5", data="digits", changes=[f"train.batch_size={batch}"])
    assert Run(recipe).origin.source("test", {}, None).batch_size == evaluated


def test_bundle_explains_itself(bundle):
    card, report = bundle.card, bundle.report
    assert report.status == "complete" and report.epochs == 6 and report.seed == 0
    assert report.metrics["top1"] > 0.9 and report.metrics["top5"] > report.metrics["top1"]
    assert card.input_shape == (32, 32, 1) and card.labels == tuple("0123456789")
    assert card.parameters == 61_706 and card.parent is None and card.custom_layers == ()
    assert {"top1", "top5", "loss", "ece"} == set(report.metrics)
    assert bundle.recipe.data.name == "digits" and bundle.recipe.train.epochs == 6
    for name in ("curves.png", "confusion.png"):
        assert (bundle.path / name).read_bytes().startswith(b"\x89PNG")
    assert len((bundle.path / "history.csv").read_text().splitlines()) == 7
    assert not bundle.path.with_name("lenet5.partial").exists()
    kinds = {type(layer).__module__.split(".")[0] for layer in load_model(bundle.path).layers}
    assert kinds == {"keras"}


def test_fit_refuses_to_overwrite(bundle):
    before = bundle.sha256
    with pytest.raises(FileExistsError, match="--force"):
        fit("lenet5", data="digits", out=bundle.path)
    assert Bundle(bundle.path).sha256 == before


def test_precision_follows_the_processor(monkeypatch):
    for flags, precision in (({"amx_bf16"}, "mixed_bfloat16"), ({"avx2"}, "float32")):
        monkeypatch.setattr(strategy, "_cpu_flags", lambda flags=flags: flags)
        machine = strategy.choose_machine(Hardware())
        assert machine.precision == precision and not machine.jit and precision in machine.reason
    assert (
        strategy.choose_machine(Hardware(precision="mixed_bfloat16")).precision == "mixed_bfloat16"
    )


def test_jit_takes_the_same_steps():
    plain, compiled = small(batch_norm=True), small(batch_norm=True)
    train(plain, settings(epochs=1))
    train(compiled, settings(epochs=1), hardware=Hardware(precision="float32", jit=True))
    assert difference(plain, compiled) < 1e-3


TWO_DEVICES = """
    import json, sys
    import keras, numpy as np, tensorflow as tf
    from zoo.data.loading import load
    from zoo.data.feeds.feed import Feed
    from zoo.data.preprocessing import Preprocessing
    from zoo.models.build import create
    from zoo.recipe import Augment, Hardware, Optimizer, Train
    from zoo.tasks.labels.classify import Classify
    from zoo.training.strategy import choose_machine
    from zoo.training.trainer import Trainer
    from zoo.training.twin import ReplicaDropout

    two = choose_machine(Hardware(strategy="mirrored", devices=2, precision="float32"))
    one = choose_machine(Hardware(strategy="one", precision="float32"))
    data = load("digits", size=32, limit=640)
    scale = {"image": Preprocessing.measure(data.train["image"])}
    found = {}
    for kind, clip in (("sgd", None), ("sgd", 0.5), ("adamw", 1.0)):
        weights, losses = [], []
        for machine in (one, two):
            keras.utils.set_random_seed(0)
            model = create("lenet5", input_shape=(32, 32, 1), num_classes=10)
            rate = 0.01 if kind == "sgd" else 0.001
            chosen = Optimizer(kind=kind, learning_rate=rate, clip_norm=clip, weight_decay=0.01)
            feed = Feed(data.train, scale, batch_size=64, training=True,
                        augment=Augment(shift=2, mirror=False))
            settings = Train(epochs=2, batch_size=64, optimizer=chosen)
            validation = Feed(data.validation, scale, batch_size=50)
            history = Trainer(model, Classify(), settings, machine).fit(feed, validation)
            weights.append(model.get_weights())
            names = ("loss", "val_loss", "val_top1")
            losses.append([row[name] for row in history.rows for name in names])
        found[f"{kind} clip {clip}"] = [
            max(float(np.abs(a - b).max()) for a, b in zip(*weights)),
            float(np.abs(np.subtract(*losses)).max()),
        ]
    with two.strategy.scope():
        drop = ReplicaDropout(0.5)
        drop.build((None, 1000))
    masks = two.strategy.experimental_local_results(
        two.strategy.run(lambda: drop(tf.ones((1, 1000)), training=True)))
    same = [float(np.mean((a > 0) == (b > 0))) for a in masks[:1] for b in masks[1:]]
    found["replicas"], found["same mask"] = len(masks), same[0]
    print(json.dumps(found))
"""


@pytest.mark.dist
def test_two_devices_take_the_steps_of_one():
    """In a process of its own: TensorFlow splits the CPU only before its first operation."""
    found = toy.printed(TWO_DEVICES)
    assert found.pop("replicas") == 2
    assert 0.4 < found.pop("same mask") < 0.6  # independent fair coins agree half of the time
    for case, (weights, losses) in found.items():
        assert weights < 1e-6, f"{case}: {weights}"
        assert losses < 1e-5, f"{case}: {losses}"


KILLED = """
    import sys
    from zoo.training import loop
    from zoo.training.fitting import fit
    loop.SNAPSHOT_SECONDS = 0.0
    fit("lenet5", data="digits", out=sys.argv[1], changes=["train.epochs=20"])
"""


def test_sigkill_leaves_no_half_bundle_and_resume_ends_the_run(tmp_path):
    out = tmp_path / "runs" / "lenet5"
    snapshot = out.with_name("lenet5.partial") / "snapshot.npz"
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(out)],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not snapshot.exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists() and snapshot.exists()
    with pytest.raises(FileExistsError, match="--resume"):
        fit("lenet5", data="digits", out=out)
    bundle = fit("lenet5", out=out, resume=True)
    assert bundle.report.status == "complete" and bundle.report.epochs == 20
    assert not snapshot.parent.exists()
