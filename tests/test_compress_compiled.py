"""`compress.apply(plan, model, data=...)`: a compiled model is trained and measured as it was."""

import dataclasses
import inspect
import logging
import pydoc
import re
import warnings
from typing import ClassVar

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_digits

import compress
import zoo
from compress.graph import leaf_layers
from compress.graph.kernels import find_kernels
from compress.pipeline.compiled import Training
from compress.pipeline.data import Data

IMAGES, LABELS = load_digits(return_X_y=True)
ORDER = np.random.RandomState(0).permutation(len(LABELS))
X, Y = (IMAGES[ORDER] / 16).astype("float32"), LABELS[ORDER]
TRAIN, HELD = (X[:640], Y[:640]), (X[1400:], Y[1400:])
FEW = compress.Data(*TRAIN, batch_size=160)
SEEN = compress.Data(*HELD, batch_size=400)
PRUNE = compress.Prune(sparsity=0.5, epochs=1)


def own_loss(y, logits):
    """A loss that nobody has registered."""
    return keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True)


class Hits(keras.metrics.Metric):
    """A metric of one's own, without settings, of which Keras does not know the better end."""

    def __init__(self, classes, name="hits"):
        super().__init__(name=name)
        self.classes = classes
        self.total = self.add_weight(shape=(), initializer="zeros", name="total")

    def update_state(self, y_true, y_pred, sample_weight=None):
        hit = keras.ops.argmax(y_pred, -1) == keras.ops.cast(y_true, "int32")
        self.total.assign_add(keras.ops.sum(keras.ops.cast(hit, "float32")))

    def result(self):
        return self.total


def dense(**options):
    keras.utils.set_random_seed(1)
    x = keras.Input((64,), name="pixels")
    h = layers.Dense(32, activation="relu", name="hidden", **options)(x)
    return keras.Model(x, layers.Dense(10, name="logits")(h), name="digits")


def compiled(model=None, *, loss=own_loss, epochs=3, **options):
    model = model or dense()
    # So small a net takes its steps in less time than TensorFlow takes to trace them.
    options = {"metrics": ["accuracy"], "run_eagerly": True, **options}
    model.compile(keras.optimizers.Adam(3e-3), loss, **options)
    model.fit(*TRAIN, epochs=epochs, batch_size=32, verbose=0)
    return model


@pytest.fixture(scope="module")
def trained():
    return compiled()


def zeros(model):
    kernels, _ = find_kernels(dict(leaf_layers(model)))
    return [float(np.mean(kernel.variable.numpy() == 0)) for kernel in kernels.values()]


class Unlabelled(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, place):
        return X[:20]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (X[:40], r"data: got no targets, and the loss of 'digits' compares with them; expected"),
        (tf.data.Dataset.from_tensor_slices(X[:40]).batch(8), "got no targets"),
        (Unlabelled(), "got no targets"),
        (compress.Data(lambda: iter([X[:8]]), steps=1), "got no targets"),
        (
            tf.data.Dataset.from_tensor_slices((X[:40], Y[:40])),
            r"data: got elements of single examples, \(64,\); expected batches. .*batch\(32\)",
        ),
        ((X[:40], Y[:20]), r"data: got x of \[40\], y of \[20\] examples; expected equal"),
        ((X[:40], Y[:40] + 7), r"data: got labels from 7 to 16; expected 0 to 9, as 'digits' has"),
        (tf.data.Dataset.from_tensors((X[:0], Y[:0])).take(0), "data: got no examples; expected"),
    ],
)
def test_data_that_does_not_fit_is_told_before_keras_does(data, told):
    model = compiled(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), epochs=0)
    with pytest.raises(ValueError, match=told) as caught:
        compress.apply(PRUNE, model, data=data)
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=told.replace("data:", "validation:")):
        compress.apply(PRUNE, model, data=FEW, validation=data)


def test_data_of_unknown_length_is_not_begun_more_often_than_read():
    begun = []

    def batches():
        begun.append(1)
        for start in range(0, 640, 160):
            yield X[start : start + 160], Y[start : start + 160]

    spec = tf.TensorSpec((None, 64)), tf.TensorSpec((None,), Y.dtype)
    data = tf.data.Dataset.from_generator(batches, output_signature=spec)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # as Keras' of data that runs out
        compress.apply(PRUNE, compiled(epochs=0), data=data)
    # To count, to calibrate on, three measurements, the training; the loop may begin one ahead.
    assert len(begun) <= 7


def test_a_compiled_model_needs_data_alone(trained):
    before = [weight.numpy() for weight in trained.variables]
    steps = int(trained.optimizer.iterations.numpy())
    small = compress.apply(
        compress.Prune(sparsity=0.8), trained, data=FEW, validation=SEEN, epochs=4
    )
    assert zeros(small.model) == pytest.approx([0.8, 0.8], abs=0.01)
    assert small.report.passes[0].note == "fine-tuned for 4 epochs"
    assert small.report.notes == ()
    expected = trained.evaluate(*HELD, verbose=0, return_dict=True)
    assert small.report.before.metrics == pytest.approx(expected, abs=1e-6)
    assert list(expected) == ["accuracy", "loss"]
    # It comes back compiled alike: what the report says can be measured at once.
    again = small.model.evaluate(*HELD, verbose=0, return_dict=True)
    assert small.report.after.metrics == pytest.approx(again, abs=1e-6)
    untrained = compiled(compress.Prune(sparsity=0.8).apply(trained).model, epochs=0)
    assert again["accuracy"] > untrained.evaluate(*HELD, verbose=0, return_dict=True)["accuracy"]
    assert small.model.loss is own_loss
    assert small.model.optimizer is not trained.optimizer
    assert small.model.optimizer.get_config() == trained.optimizer.get_config()
    assert int(small.model.optimizer.iterations.numpy()) == 0
    # The model that went in, its optimizer and its metrics are as they were.
    assert int(trained.optimizer.iterations.numpy()) == steps
    for weight, value in zip(trained.variables, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 10

    def __getitem__(self, index):
        rows = slice(64 * index, 64 * index + 64)
        return TRAIN[0][rows], TRAIN[1][rows]


def make():
    for index in range(10):
        yield Batches()[index]


def data_set():
    return tf.data.Dataset.from_tensor_slices(TRAIN).batch(64)


FORMS = {
    "arrays": lambda: Data(*TRAIN, batch_size=64),
    "data_set": data_set,
    "unknown_length": lambda: data_set().filter(lambda x, y: True),
    "py_data_set": Batches,
    "function": lambda: Data(make, steps=10),
    "without_end": lambda: Data(lambda: iter(data_set().repeat()), steps=10),
}


@pytest.mark.parametrize("form", FORMS)
def test_data_comes_in_many_forms(trained, form):
    data = FORMS[form]()
    training = Training(trained, data, data)
    seen = []
    spy = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: seen.append(spy.params))
    model = compress.graph.copy_model(trained)
    training.fit(model, epochs=1, callbacks=[spy])
    assert seen[0]["steps"] == 10 and seen[0]["epochs"] == 1
    assert not model.compiled
    assert training.evaluate(trained) == pytest.approx(
        trained.evaluate(*TRAIN, batch_size=64, verbose=0, return_dict=True), abs=1e-6
    )
    np.testing.assert_array_equal(training.samples(640)["pixels"], TRAIN[0])
    assert training.samples(50)["pixels"].shape == (50, 64)
    assert len(list(training.gradients(trained, batches=3))) == 3
    # The order of examples is Keras' own; in this one all forms give the same batches.
    if form not in ("arrays", "py_data_set"):
        twin = compress.graph.copy_model(trained)
        Training(trained, data_set()).fit(twin, epochs=1, callbacks=[])
        for one, other in zip(model.weights, twin.weights, strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"data": make()}, "data: got a generator, which can be read once; expected a function"),
        ({"data": make}, "does not say how long an epoch is; expected compress.Data"),
        ({"data": data_set().repeat()}, "a dataset without end, which does not say how long"),
        ({"data": Data(lambda: iter(()), steps=2)}, "data: got no examples; expected batches of"),
        ({"data": "train"}, "data: got 'train'; expected arrays, a tf.data.Dataset"),
        ({"data": (1, 2, 3, 4)}, r"data: got 4 parts; expected \(x, y\)"),
        ({"data": TRAIN, "fit": print}, "got both data and fit; expected one of them"),
        ({"validation": HELD, "evaluate": print}, "got both validation and evaluate"),
        ({"data": TRAIN, "headline": "acuracy"}, "Did you mean 'accuracy'"),
        ({"data": TRAIN, "evalute": print}, "unknown argument 'evalute'. Did you mean 'evaluate'"),
        ({"data": TRAIN, "epochs": -1}, "Prune.epochs: got -1"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(trained, arguments, words):
    with pytest.raises((ValueError, TypeError), match=words) as caught:
        compress.apply(PRUNE, trained, **arguments)
    assert "\n" not in str(caught.value)


def test_a_model_that_is_not_compiled_and_a_plan_that_does_not_train_are_refused(trained):
    with pytest.raises(ValueError, match=r"'digits', that is not compiled; expected model.compile"):
        compress.apply(PRUNE, dense(), data=TRAIN)
    with pytest.raises(ValueError, match=r"epochs: got 3, and all passes \(quantize\) have 0"):
        compress.apply("int8", trained, data=TRAIN, epochs=3)


def test_without_validation_a_warning_says_what_is_measured(trained, caplog):
    with caplog.at_level(logging.WARNING, "compress"):
        small = compress.apply(PRUNE, trained, data=FEW)
    assert "measured on the data that it was trained on" in caplog.text
    assert "measured on the data that it was trained on" in str(small.report)
    assert small.report.before.metrics["accuracy"] == pytest.approx(
        trained.evaluate(*TRAIN, verbose=0, return_dict=True)["accuracy"]
    )


def test_samples_are_the_inputs_of_the_data(trained):
    small = compress.apply("int8", trained, data=FEW, validation=SEEN)
    given = compress.apply("int8", trained, samples=Training(trained, TRAIN).samples())
    for one, other in zip(small.model.weights, given.model.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert small.report.after.metrics["accuracy"] > 0.8


class Rates(keras.callbacks.Callback):
    """Notes the learning rate of the first step, and what was given to train with."""

    found: ClassVar = []

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 0:
            type(self).found.append(
                float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
            )


@pytest.mark.parametrize(
    ("make_optimizer", "rate"),
    [
        (lambda: keras.optimizers.SGD(0.1, momentum=0.9, clipnorm=1.0), 0.1),
        (lambda: keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.2, 50)), 0.2),
        (lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.AdamW(0.3)), 0.3),
    ],
    ids=["sgd", "schedule", "scaled"],
)
def test_the_optimizer_is_fresh_and_its_rate_is_a_share(trained, make_optimizer, rate):
    model = compress.graph.copy_model(trained)
    model.compile(make_optimizer(), own_loss)
    model.fit(*TRAIN, epochs=1, verbose=0, batch_size=64)
    settings = model.optimizer.get_config()
    training = Training(model, Data(*TRAIN, batch_size=64))
    for share in (1.0, 0.01):
        Rates.found = []
        training.fit(compress.graph.copy_model(model), epochs=1, callbacks=[Rates()], rate=share)
        assert Rates.found == [pytest.approx(rate * share, rel=1e-5)]
    assert model.optimizer.get_config() == settings


class Halving(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that nobody has registered, and that has no settings."""

    def __call__(self, step):
        return 0.5 ** (1 + keras.ops.cast(step, "float32"))


@pytest.mark.parametrize("learning_rate", [Halving(), lambda: 0.5], ids=["schedule", "function"])
def test_a_rate_of_the_users_own_need_not_be_registered(trained, learning_rate):
    model = compress.graph.copy_model(trained)
    model.compile(keras.optimizers.SGD(learning_rate), own_loss)
    training = Training(model, Data(*TRAIN, batch_size=640))
    for share in (1.0, 0.25):
        Rates.found = []
        training.fit(compress.graph.copy_model(model), epochs=1, callbacks=[Rates()], rate=share)
        assert Rates.found == [0.5 * share]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("plan", [PRUNE, compress.ShareWeights(bits=4)], ids=["prune", "share"])
def test_what_is_excluded_from_weight_decay_stays_excluded(trained, plan, scaled):
    model = compress.graph.copy_model(trained)
    optimizer = keras.optimizers.AdamW(1e-9, weight_decay=1e8)  # it takes a tenth, and learns none
    decayed, spared = model.get_layer("hidden").kernel, model.get_layer("logits").kernel
    optimizer.exclude_from_weight_decay(var_list=[spared], var_names=["bias"])
    model.compile(keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer, own_loss)
    model.get_layer("hidden").bias.assign(np.ones(32))
    one_step = Data(X[:64], Y[:64], batch_size=64)
    expected, got = (
        compress.apply(plan, model, data=one_step, validation=one_step, epochs=epochs).model
        for epochs in (0, 1)
    )
    if plan is PRUNE:  # the zeros are found before and after the step
        expected = compress.graph.copy_model(expected)
    for name, kept in (("hidden", 0.9), ("logits", 1.0)):
        old, new = expected.get_layer(name), got.get_layer(name)
        np.testing.assert_allclose(new.kernel, np.asarray(old.kernel) * kept, atol=1e-5)
        np.testing.assert_allclose(new.bias, old.bias, atol=1e-5)
    assert decayed is not spared


def test_an_optimizer_that_cannot_be_made_again_is_said(trained):
    class Short(keras.optimizers.SGD):
        def __init__(self, needed):
            super().__init__(needed)

    model = compress.graph.copy_model(trained)
    model.compile(Short(0.1), own_loss)
    with pytest.raises(ValueError, match="optimizer: Short cannot be made from its own settings"):
        compress.apply(PRUNE, model, data=FEW, validation=SEEN)


def test_weights_of_examples_and_classes_count(trained):
    """A class whose weight is 0 is not learnt; by examples, by classes, and by a generator."""
    weights = np.where(TRAIN[1] == 3, 0.0, 1.0)
    plain = Training(trained, Data(*TRAIN, weights, batch_size=64))
    slopes = list(plain.gradients(trained))
    only = {label: float(label != 3) for label in range(10)}
    for data in (
        Data(*TRAIN, batch_size=64, class_weight=only),
        Data(make, steps=10, class_weight=only),
        Data(data_set(), class_weight=only),
    ):
        other = Training(trained, data)
        for one, two in zip(slopes, other.gradients(trained), strict=True):
            for a, b in zip(one, two, strict=True):
                np.testing.assert_allclose(a, b, atol=1e-6)
        model = compress.graph.copy_model(trained)
        model.layers[-1].bias.assign(np.where(np.arange(10) == 3, -20.0, 0.0))
        other.fit(model, epochs=1, callbacks=[])
        assert not (model.predict(HELD[0], verbose=0).argmax(-1) == 3).any()
    measured = Training(trained, TRAIN, (*HELD, HELD[1] == 3)).evaluate(trained)
    expected = trained.evaluate(*HELD, sample_weight=HELD[1] == 3, verbose=0, return_dict=True)
    assert measured == pytest.approx(expected, abs=1e-6)


def test_settings_of_compile_are_kept(trained):
    model = compress.graph.copy_model(trained)
    model.compile(
        "sgd",
        own_loss,
        metrics=[Hits(10), "accuracy"],
        weighted_metrics=[keras.metrics.SparseCategoricalAccuracy(name="weighed")],
        steps_per_execution=2,
    )
    training = Training(model, FEW, SEEN)
    for options in ({"jit_compile": True, "steps_per_execution": 5}, {"run_eagerly": True}):
        other, twin = (compress.graph.copy_model(model) for _ in range(2))
        other.compile("sgd", own_loss, **options)
        Training(other, FEW).compile(twin)
        assert {name: getattr(twin, name) for name in options} == options
    assert training.higher == {"loss": False, "accuracy": True, "weighed": True}
    assert training.headline() == compress.Headline("accuracy")
    with pytest.raises(ValueError, match=r"compress.Headline\('hits', higher=True\)"):
        training.headline("hits")
    small = compress.apply(
        compress.Quantize(epochs=1), model, data=FEW, validation=SEEN,
        headline=compress.Headline("hits"),
    )  # fmt: skip
    assert "hits" in small.report.passes[0].note
    hits = round(small.report.after.metrics["accuracy"] * len(HELD[1]))
    assert small.report.after.metrics["hits"] == pytest.approx(hits)


def test_ranges_stop_halfway_when_a_call_stands_for_several_steps(trained):
    """With `steps_per_execution` the callback of `freeze` sees a call for several steps."""
    model = compress.graph.copy_model(trained)
    model.compile(keras.optimizers.SGD(1e-4), own_loss, steps_per_execution=4)
    observing = []

    class Spy(compress.Quantize):
        def _train(self, quantised, context):
            found = super()._train(quantised, context)
            ranges = [
                x for _, x in leaf_layers(quantised) if hasattr(x, "observing") and not x.ends
            ]
            observing.extend(float(x.observing.numpy()) for x in ranges)
            return found

    # 4 steps of an epoch in one call: halfway, 4 steps, is the call after the first epoch's.
    context = Training(model, FEW).context()
    Spy(epochs=2).apply(model, dataclasses.replace(context, evaluate=None))
    assert observing and not any(observing)


def two_outputs():
    keras.utils.set_random_seed(2)
    one, other = keras.Input((64,), name="left"), keras.Input((64,), name="right")
    h = layers.Dense(24, activation="relu", name="hidden")
    both = layers.Concatenate(name="both")([h(one), h(other)])
    logits, total = layers.Dense(10, name="digit")(both), layers.Dense(1, name="total")(both)
    return keras.Model({"left": one, "right": other}, {"digit": logits, "total": total})


def test_several_inputs_and_outputs_with_losses_of_their_own():
    model = two_outputs()
    model.compile(
        "adam",
        {"digit": own_loss, "total": "mse"},
        loss_weights={"digit": 1.0, "total": 0.1},
        metrics={"digit": ["accuracy"], "total": ["mae"]},
        run_eagerly=True,
    )

    def columns(x, y):
        total = x.sum(-1, keepdims=True) / 64
        return {"left": x, "right": x[:, ::-1]}, {"digit": y, "total": total}

    model.fit(*columns(*TRAIN), epochs=3, batch_size=64, verbose=0)
    data = Data(*columns(*TRAIN), batch_size=160)
    small = compress.apply(
        compress.Quantize(epochs=1, metric="total_mae"),
        model,
        data=data,
        validation=Data(*columns(*HELD), batch_size=400),
    )
    expected = model.evaluate(*columns(*HELD), verbose=0, return_dict=True)
    assert small.report.before.metrics == pytest.approx(expected, abs=1e-5)
    assert set(expected) >= {"digit_accuracy", "total_mae", "digit_loss", "total_loss"}
    # Of an error less is better, and the pass knows it.
    kept = small.report.passes[0].note.split(": ")[1].replace(",", "").split()
    calibrated, taught = float(kept[1]), float(kept[3])
    assert kept[0] == "total_mae"
    assert ("dropped" in small.report.passes[0].note) == (taught > calibrated)
    after = small.report.after.metrics["total_mae"]
    assert after == pytest.approx(min(calibrated, taught), abs=1e-4)


def test_half_precision_stays():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = compiled(dense(), epochs=2)
    finally:
        keras.config.set_dtype_policy("float32")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    small = compress.apply(PRUNE, model, data=FEW, validation=SEEN)
    assert isinstance(small.model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert small.model.get_layer("hidden").compute_dtype == "float16"
    assert small.report.after.metrics["accuracy"] > 0.4  # a fresh scale drops its first steps


def test_frozen_layers_stay():
    model = dense()
    model.get_layer("hidden").trainable = False
    compiled(model, epochs=2)
    before = model.get_layer("hidden").bias.numpy()
    small = compress.apply(PRUNE, model, data=FEW, validation=SEEN)
    assert not small.model.get_layer("hidden").trainable
    np.testing.assert_array_equal(small.model.get_layer("hidden").bias.numpy(), before)


@pytest.mark.parametrize(
    ("limits", "headline", "line"),
    [
        ({}, None, "accuracy .* may fall by 0.02"),
        ({}, "val_loss", "loss .* may rise by 0.02"),
        ({"metric": "loss"}, None, "loss .* may rise by 0.02"),
    ],
)
def test_a_budget_limits_a_metric_of_the_model(trained, limits, headline, line):
    plan = compress.Pipeline([PRUNE], compress.Budget(max_drop=0.02, **limits))
    small = compress.apply(plan, trained, validation=SEEN, headline=headline)
    assert re.match(line, small.report.budget.lines[0])


def test_channels_are_ranked_by_the_loss_of_the_model(trained):
    """`gradients` of the compiled model are those of Keras' own step."""
    training = Training(trained, Data(*TRAIN, batch_size=640))
    (slopes,) = training.gradients(trained)
    rate, twin = 0.5, compress.graph.copy_model(trained)
    twin.compile(keras.optimizers.SGD(rate), own_loss)
    twin.train_on_batch(*TRAIN)
    for old, new, slope in zip(trained.weights, twin.weights, slopes, strict=True):
        np.testing.assert_allclose((old.numpy() - new.numpy()) / rate, slope, atol=2e-6)
    slim = compress.PruneChannels(ratio=0.25, criterion="taylor", epochs=1)
    small = compress.apply(slim, trained, data=FEW, validation=SEEN)
    assert small.model.count_params() < trained.count_params()


def test_deep_compression_of_a_model_with_a_loss_of_its_own(trained, tmp_path):
    """Distillation, sharing and a packed file, at the end of which nothing is unknown."""
    plan = compress.Pipeline(
        [
            compress.Prune(sparsity=0.6, epochs=1),
            compress.Distill(epochs=1),
            compress.ShareWeights(bits=4, epochs=1),
            compress.Huffman(),
        ]
    )
    lines = []
    small = compress.apply(plan, trained, data=FEW, validation=SEEN, progress=lines.append)
    assert [line.split(":")[0] for line in lines] == [step.kind for step in plan.passes]
    assert small.report.after.size.packed_bytes < small.report.after.size.gzip_bytes
    assert small.report.after.metrics["accuracy"] > 0.7


@pytest.mark.parametrize(
    ("function", "name"),
    [(compress.apply, "gradients"), (zoo.compress, "samples"), (zoo.evaluate, "values"),
     (zoo.predict, "values")],
)  # fmt: skip
def test_help_shows_every_argument(function, name):
    parameters = inspect.signature(function).parameters
    assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
    assert not any(x.kind is inspect.Parameter.VAR_KEYWORD for x in parameters.values())
    assert f"{name}: " in pydoc.render_doc(function, renderer=pydoc.plaintext).splitlines()[2]
