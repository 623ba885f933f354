"""Distillation: the paper's loss, a teacher that stays, a student that is plain; on real digits."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_digits

import compress
from compress.graph import copy_model, leaf_layers
from compress.layers.distillation import Distillation
from tests import toy

DIGITS = load_digits()
ORDER = np.random.RandomState(0).permutation(len(DIGITS.target))
IMAGES, LABELS = (DIGITS.images[ORDER, ..., None] / 16).astype("float32"), DIGITS.target[ORDER]
TRAIN = 1300


def net(name="net", *, width=24, softmax=False, seed=0):
    keras.utils.set_random_seed(seed)
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(width, 3, activation="relu", name="conv")(image)
    x = layers.BatchNormalization(momentum=0.9, name="norm")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(2 * width, activation="relu", name="fc")(x)
    activation = "softmax" if softmax else None
    return keras.Model(image, layers.Dense(10, activation=activation, name="logits")(x), name=name)


def fit(model, *, epochs, callbacks=(), loss=None, rate=1e-3):
    """What a user of Keras alone would write."""
    loss = loss or keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss)
    return model.fit(
        IMAGES[:TRAIN],
        LABELS[:TRAIN],
        batch_size=50,
        epochs=epochs,
        callbacks=list(callbacks),
        verbose=0,
    )


def no_loss(labels, answers):
    """A trainer that leaves everything to the teacher."""
    return keras.ops.sum(0.0 * answers, axis=-1)


def top1(model):
    found = np.argmax(model.predict(IMAGES[TRAIN:], verbose=0), axis=-1)
    return {"top1": float(np.mean(found == LABELS[TRAIN:]))}


def softmax(x, temperature=1.0):
    powers = np.exp((x - x.max(-1, keepdims=True)) / temperature)
    return powers / powers.sum(-1, keepdims=True)


def divergence(student, teacher, temperature):
    """T^2 KL(p || q), as in the paper, mean over the examples; from logits, in NumPy."""
    p, q = (softmax(np.asarray(x, "float64"), temperature) for x in (teacher, student))
    return temperature**2 * np.mean(np.sum(p * np.log(p / q), axis=-1))


@pytest.fixture(scope="module")
def teacher():
    model = net("teacher", seed=1)
    fit(model, epochs=8)
    return model


class Spy:
    """A `fit` that keeps the model it is given; trains it where there are options."""

    def __init__(self, **options):
        self.options = options

    def __call__(self, model, *, epochs, callbacks):
        self.model = model
        if self.options:
            self.history = fit(model, epochs=epochs, callbacks=callbacks, **self.options).history


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("ends", [(False, False), (True, False), (False, True), (True, True)])
def test_the_loss_is_the_papers(temperature, ends):
    student, teacher = (net(softmax=end, seed=seed) for seed, end in enumerate(ends))
    spy = Spy()
    item = compress.Distill(temperature=temperature, weight=0.3, epochs=1)
    item.apply(student, compress.Context(fit=spy, teacher=teacher))
    images, training = IMAGES[:50], spy.model
    training.get_layer("norm").trainable = False  # in training it has the statistics of the batch
    answers = training(images, training=True)
    (loss,) = training.losses
    pair = [
        np.log(answer) if end else np.asarray(answer)
        for answer, end in zip((answers, teacher(images)), ends, strict=True)
    ]
    assert float(loss) == pytest.approx(0.3 * divergence(*pair, temperature), rel=1e-4)
    training(images, training=False)
    assert training.losses == []


def test_a_softmax_is_found_behind_what_keeps_its_shares():
    student = net(softmax=True)
    flat = layers.Flatten()(layers.Reshape((5, 2))(student.output))
    student = keras.Model(student.input, layers.Dropout(0.2)(flat))
    teacher, spy = net(softmax=True, seed=1), Spy()
    compress.Distill(epochs=1).apply(student, compress.Context(fit=spy, teacher=teacher))
    assert spy.model.get_layer("distillation").probabilities == (True, True)


def test_answers_tell_what_the_graph_does_not(caplog):
    x = keras.Input((4,), name="row")
    powers = keras.ops.exp(layers.Dense(3)(x))
    model = keras.Model(x, powers / keras.ops.sum(powers, axis=-1, keepdims=True))
    rows = np.random.RandomState(0).randn(50, 4).astype("float32")
    for samples, found in ((rows, True), (None, False)):
        spy = Spy()
        compress.Distill(epochs=1).apply(model, compress.Context(fit=spy, samples=samples))
        assert spy.model.get_layer("distillation").probabilities == (found, found)
    assert "read as shares: they lie within 0..1 and sum to 1" in caplog.text


def test_gradient_reaches_the_student_only(teacher):
    spy = Spy()
    compress.Distill(epochs=1).apply(net(), compress.Context(fit=spy, teacher=teacher))
    training = spy.model
    names = {variable.path for variable in training.trainable_variables}
    assert names == {variable.path for variable in net().trainable_variables}
    with tf.GradientTape() as tape:
        training(IMAGES[:20], training=True)
        loss = sum(training.losses)
    everything = [variable.value for variable in training.variables if "float" in variable.dtype]
    slopes = tape.gradient(loss, everything)
    own = {id(variable.value) for variable in training.trainable_variables}
    for value, slope in zip(everything, slopes, strict=True):
        assert (slope is not None) == (id(value) in own)


def test_teacher_stays_and_the_student_is_plain(teacher, tmp_path):
    before = [np.array(weight) for weight in teacher.weights]
    trainable = [variable.path for variable in teacher.trainable_variables]
    student = net()
    old = [np.array(weight) for weight in student.weights]
    small, report = compress.Distill(epochs=1).apply(
        student, compress.Context(fit=fit, teacher=teacher)
    )
    for a, b in zip(teacher.weights, before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [variable.path for variable in teacher.trainable_variables] == trainable
    for a, b in zip(student.weights, old, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [path for path, _ in leaf_layers(small)] == [path for path, _ in leaf_layers(student)]
    assert small.count_params() == student.count_params()
    assert report.note == "fine-tuned for 1 epochs with a teacher"
    assert not any(row.changed for row in report.layers)
    small.save(tmp_path / "small.keras")
    loaded = keras.saving.load_model(tmp_path / "small.keras")
    np.testing.assert_array_equal(loaded(IMAGES[:5]), small(IMAGES[:5]))
    assert np.abs(small(IMAGES[:5]) - student(IMAGES[:5])).max() > 0


def test_the_student_comes_to_answer_as_its_teacher(teacher):
    """No label is seen: all that it learns is the teacher's."""
    student = net(width=12, seed=3)
    spy = Spy(loss=no_loss, rate=3e-3)
    context = compress.Context(fit=spy, evaluate=top1, teacher=teacher)
    small = compress.Pipeline([compress.Distill(epochs=6, temperature=2.0)]).apply(student, context)
    images = IMAGES[TRAIN:]
    before, after = (
        divergence(model(images), teacher(images), 2.0) for model in (student, small.model)
    )
    assert after < 0.1 * before
    assert spy.history["loss"][-1] < 0.2 * spy.history["loss"][0]
    # Measured: 0.99 for the teacher, 0.97 to 0.98 for the student.
    assert small.report.after.metrics["top1"] > top1(teacher)["top1"] - 0.04


def test_a_pipeline_hands_its_input_on(teacher):
    """After channels went, the original teaches; channels stay away."""
    spy = Spy(loss=no_loss)
    plan = compress.Pipeline(
        [compress.PruneChannels(ratio=0.5, epochs=0), compress.Distill(epochs=6)]
    )
    small = compress.apply(plan, teacher, fit=spy, evaluate=top1)
    at_once = small.report.passes[0].metrics["top1"]
    before, after = (small.report.before.metrics["top1"], small.report.after.metrics["top1"])
    assert at_once < before - 0.02, "nothing to repair"
    assert after > max(at_once, before - 0.03)
    assert small.report.after.counts.macs < 0.6 * small.report.before.counts.macs
    inside = spy.model.get_layer("distillation").teacher
    np.testing.assert_array_equal(inside(IMAGES[:5]), teacher(IMAGES[:5]))


def test_a_teacher_is_no_worse_than_labels(teacher):
    """Measured with three seeds: 0.952 with labels alone, 0.975 with the teacher beside them."""

    def train(model, *, epochs, callbacks):
        keras.utils.set_random_seed(0)
        fit(model, epochs=epochs, callbacks=callbacks, rate=3e-3)

    alone = compress.PruneChannels(ratio=0.75, epochs=8)
    taught = [compress.PruneChannels(ratio=0.75, epochs=0), compress.Distill(epochs=8)]
    labels, both = (
        compress.apply(plan, teacher, fit=train, evaluate=top1).report.after.metrics["top1"]
        for plan in (alone, compress.Pipeline(taught))
    )
    assert both > 0.93
    assert both >= labels - 0.01


def test_zeros_and_sharing_hold(teacher):
    plan = [
        compress.Prune(sparsity=0.8, epochs=0),
        compress.ShareWeights(bits=3, epochs=0),
        compress.Distill(epochs=2),
    ]
    small = compress.apply(compress.Pipeline(plan), teacher, fit=fit).model
    at_once = compress.apply(compress.Pipeline(plan[:2]), teacher).model
    for path in ("conv", "fc", "logits"):
        new, old = (np.asarray(m.get_layer(path).kernel.value) for m in (small, at_once))
        np.testing.assert_array_equal(new == 0, old == 0)
        assert np.unique(new).size <= np.unique(old).size <= 9
        assert np.abs(new - old).max() > 0


def test_a_teacher_from_a_file(teacher, tmp_path):
    teacher.save(tmp_path / "teacher.keras")
    spy = Spy()
    item = compress.Distill(teacher=str(tmp_path / "teacher.keras"), epochs=1)
    compress.apply(item, net(), fit=spy)
    inside = spy.model.get_layer("distillation").teacher
    np.testing.assert_array_equal(inside(IMAGES[:5]), teacher(IMAGES[:5]))
    missing = compress.Distill(teacher=str(tmp_path / "none.keras"))
    with pytest.raises(FileNotFoundError, match=r"Distill.teacher: .*none.keras: not found"):
        compress.apply(missing, net(), fit=fit)


def test_the_training_model_saves_and_loads(teacher, tmp_path):
    """A callback of the trainer may write it."""
    spy = Spy()
    compress.Distill(epochs=1).apply(net(), compress.Context(fit=spy, teacher=teacher))
    spy.model.save(tmp_path / "training.keras")
    loaded = keras.saving.load_model(tmp_path / "training.keras")
    assert isinstance(loaded.layers[-1], Distillation)
    losses = []
    for model in (spy.model, loaded):
        model.get_layer("norm").trainable = False
        model(IMAGES[:9], training=True)
        losses.append(float(sum(model.losses)))
    assert losses[0] > 0
    assert losses[1] == pytest.approx(losses[0])
    for training in (spy.model, loaded):
        assert not training.get_layer("distillation").teacher.trainable_variables


@pytest.mark.parametrize("form", ["two inputs", "dictionary", "sequential"])
def test_inputs_of_any_form(form):
    keras.utils.set_random_seed(0)
    if form == "sequential":
        model = keras.Sequential([keras.Input((4,)), layers.Dense(6), layers.Dense(3)])
        x = np.ones((8, 4), "float32")
    else:
        left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
        logits = layers.Dense(3, name="logits")(layers.Concatenate()([left, right]))
        named = {"left": left, "right": right}
        model = keras.Model(named if form == "dictionary" else [left, right], logits)
        x = {name: np.full((8, 4), value, "float32") for name, value in [("left", 1), ("right", 2)]}
        x = x if form == "dictionary" else list(x.values())
    teacher = copy_model(model)
    teacher.weights[-1].assign([1.0, -1.0, 2.0])

    def train(net, *, epochs, callbacks):
        net.compile("sgd", no_loss)
        net.fit(x, np.zeros((8, 3)), epochs=epochs, verbose=0)

    small = (
        compress.Distill(temperature=4.0, epochs=20)
        .apply(model, compress.Context(fit=train, teacher=teacher))
        .model
    )
    assert type(small) is type(model)
    before, after = (divergence(each(x), teacher(x), 4.0) for each in (model, small))
    assert 0 < after < 0.5 * before


def test_zoos_own_loop_adds_the_teachers_loss():
    """Against a plain loop: cross entropy plus the teacher's loss, step for step."""
    student, teacher = toy.small(seed=0), toy.small(seed=5)

    def train(model, *, epochs, callbacks):
        toy.train(model, toy.settings(epochs=epochs), callbacks=callbacks)

    small = (
        compress.Distill(epochs=1, temperature=3.0, weight=0.5)
        .apply(student, compress.Context(fit=train, teacher=teacher))
        .model
    )
    expected = toy.small(seed=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(0.05, momentum=0.9)
    for batch in toy.feed().dataset(0):
        images, labels = batch["image"], batch["label"]
        with tf.GradientTape() as tape:
            logits = expected(images, training=True)
            p, q = (tf.nn.log_softmax(x / 3.0) for x in (teacher(images), logits))
            divergence = tf.reduce_mean(tf.reduce_sum(tf.exp(p) * (p - q), axis=-1))
            total = loss(labels, logits) + 0.5 * 9.0 * divergence
        weights = [variable.value for variable in expected.trainable_variables]
        optimizer.apply(tape.gradient(total, weights), expected.trainable_variables)
    assert toy.difference(small, student) > 1e-3
    assert toy.difference(small, expected) < 1e-5


def regression():
    image = keras.Input((4,), name="image")
    return keras.Model(image, layers.Dense(1)(image), name="regression")


def two_heads():
    image = keras.Input((4,), name="image")
    return keras.Model(image, [layers.Dense(3)(image), layers.Dense(3)(image)], name="two_heads")


def sigmoid():
    image = keras.Input((4,), name="image")
    return keras.Model(image, layers.Dense(3, activation="sigmoid")(image), name="sigmoid")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (regression, r"'regression' has outputs \[\(None, 1\)\]; expected one, \(batch, classes\)"),
        (two_heads, r"'two_heads' has outputs .*; expected one"),
        (sigmoid, r"'sigmoid' ends in a sigmoid; expected logits, or a softmax"),
    ],
)
def test_a_model_without_classes_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        compress.apply(compress.Distill(), build(), fit=fit)


def test_a_teacher_of_other_classes_is_refused(teacher):
    image = keras.Input((8, 8, 1), name="image")
    other = keras.Model(image, layers.Dense(7)(layers.Flatten()(image)))
    with pytest.raises(ValueError, match=r"its outputs are \[\(None, 10\)\]; expected \[\(None, 7"):
        compress.Distill().apply(other, compress.Context(fit=fit, teacher=teacher))
