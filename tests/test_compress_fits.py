"""A `fit` of the user's own: without callbacks, with weights brought back, with own losses."""

import functools
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_digits

import compress
from compress.graph import leaf_layers
from compress.graph.kernels import find_kernels
from compress.layers import Range

DIGITS = load_digits()
IMAGES, LABELS = (DIGITS.data / 16).astype("float32"), DIGITS.target
TRAIN, TEST = slice(0, 1400), slice(1400, None)


def loss(labels, logits):
    return keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def loop(model, *, epochs, callbacks=(), rate=1.0, driven=False, **params):
    """A loop with a tape; `driven` calls the callbacks."""
    keras.utils.set_random_seed(3)
    optimizer = keras.optimizers.Adam(2e-3)
    optimizer.build(model.trainable_variables)
    order = np.random.RandomState(0).permutation(1400)
    batches = [order[i : i + 50] for i in range(0, 1400, 50)]

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(loss(y, model(x, training=True)))
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(value, variables), variables, strict=True))

    listed = keras.callbacks.CallbackList(
        list(callbacks) if driven else [], model=model, **{"epochs": epochs, "steps": 28, **params}
    )
    listed.on_train_begin()
    for epoch in range(epochs):
        listed.on_epoch_begin(epoch)
        for number, some in enumerate(batches):
            step(IMAGES[some], LABELS[some])
            listed.on_train_batch_end(number)
        listed.on_epoch_end(epoch)
    listed.on_train_end()


def driven(model, **settings):
    loop(model, driven=True, **settings)


def of_unknown_length(model, **settings):
    loop(model, driven=True, steps=None, **settings)


def restoring(first):
    """A `fit` that ends with the weights of its first epoch, before or after the callbacks end."""

    def fit(model, *, epochs, callbacks, rate=1.0):
        class Restore(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                if epoch == 0:
                    self.early = self.model.get_weights()

            def on_train_end(self, logs=None):
                self.model.set_weights(self.early)

        listed = [Restore(), *callbacks] if first else [*callbacks, Restore()]
        loop(model, epochs=epochs, callbacks=listed, driven=True)

    return fit


def stopping(model, *, epochs, callbacks, rate=1.0):
    """Stops after the first epoch, with a third of the zeros that are wanted."""
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    data = (IMAGES[TRAIN], LABELS[TRAIN])
    model.fit(*data, epochs=epochs, callbacks=[*callbacks, Stop()], verbose=0)


def top1(model):
    return float(np.mean(np.asarray(model(IMAGES[TEST])).argmax(1) == LABELS[TEST]))


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(0)
    chain = [layers.Dense(64, activation="relu", name=name) for name in ("fc1", "fc2")]
    model = keras.Sequential([keras.Input((64,)), *chain, layers.Dense(10, name="logits")])
    loop(model, epochs=8)
    return model


def zeros(model):
    found, _ = find_kernels(dict(leaf_layers(model)))
    return [float(np.mean(kernel.variable.numpy() == 0)) for kernel in found.values()]


FITS = {
    "no callbacks": loop,
    "unknown length": of_unknown_length,
    "restored before": restoring(first=True),
    "restored after": restoring(first=False),
    "stopped": stopping,
}


@pytest.mark.parametrize("name", FITS)
def test_sparsity_is_reached_and_held_whatever_fit_does(name, trained, caplog):
    step = compress.Prune(sparsity=0.9, epochs=4)
    with caplog.at_level(logging.WARNING, logger="compress"):
        best = top1(step.apply(trained, compress.Context(fit=driven)).model)
        assert not caplog.records
        new, report = step.apply(trained, compress.Context(fit=FITS[name]))
    assert all(abs(share - 0.9) < 0.01 for share in zeros(new))
    assert top1(new) > best - 0.05
    (record,) = caplog.records
    assert "CallbackList" in record.getMessage()
    assert "pruned between trainings to" in report.note


def test_ranges_learn_without_callbacks(trained):
    for fit, told in ((loop, True), (driven, False), (of_unknown_length, True)):
        context = compress.Context(fit=fit, samples=IMAGES[:200])
        new, report = compress.Quantize(epochs=1).apply(trained, context)
        ranges = [layer for _, layer in leaf_layers(new) if isinstance(layer, Range)]
        assert not any(float(layer.observing.numpy()) for layer in ranges)
        assert ("did not call the callback" in report.note) == told
        assert top1(new) > top1(trained) - 0.05


@pytest.mark.parametrize(
    "step", [compress.ShareWeights(bits=3, epochs=1), compress.Ternarize(epochs=1, ends=True)]
)
@pytest.mark.parametrize("fit", [loop, restoring(first=False)], ids=["loop", "restoring"])
def test_few_values_need_no_callbacks(step, fit, trained):
    new = step.apply(trained, compress.Context(fit=fit)).model
    found, _ = find_kernels(dict(leaf_layers(new)))
    assert all(np.unique(kernel.variable.numpy()).size <= 9 for kernel in found.values())


# --- losses of one's own, and what a pipeline needs at its end ---


def compiled(model):
    model.compile("adam", lambda a, b: loss(a, b), metrics=[lambda a, b: keras.ops.mean(b)])
    return model


def fit(model, *, epochs, callbacks, rate=1.0):
    compiled(model).fit(IMAGES[:100], LABELS[:100], epochs=epochs, callbacks=callbacks, verbose=0)


def evaluate(model):
    return {"top1": -compiled(model).evaluate(IMAGES[:100], LABELS[:100], verbose=0)[0]}


def test_how_a_model_is_compiled_is_not_packed(trained, tmp_path):
    inside = compiled(keras.Sequential([keras.Input((64,)), layers.Dense(10, name="in")]))
    x = keras.Input((64,))
    for model in (compiled(compress.apply(compress.Huffman(), trained).model),
                  compiled(keras.Model(x, layers.ReLU()(inside(x))))):  # fmt: skip
        compress.pack(model, tmp_path / "small.packed")
        again = compress.unpack(tmp_path / "small.packed")
        np.testing.assert_array_equal(again(IMAGES[:9]), model(IMAGES[:9]))
        assert not again.compiled and model.compiled


def test_a_pipeline_with_own_losses_reaches_its_end(trained):
    plan = compress.Pipeline([compress.Prune(sparsity=0.5, epochs=1), compress.Huffman()])
    new = compress.apply(plan, trained, fit=fit, evaluate=evaluate)
    assert new.report.after.size.packed_bytes < new.report.before.size.raw_bytes
    assert not new.model.compiled


class Unknown(layers.Layer):
    def call(self, inputs):
        return inputs * 2.0


def unknown(inputs):
    return inputs * 2.0


UNREADABLE = {
    r"layer 'own' \(Unknown\).*there is no class 'Unknown'.*register_keras": Unknown(name="own"),
    r"layer 'fc' \(Dense\).*there is no function 'unknown'": layers.Dense(
        5, activation=unknown, name="fc"
    ),
    r"layer 'code' \(Lambda\).*a layer of your own": layers.Lambda(lambda x: x * 2, name="code"),
}


@pytest.mark.parametrize("message", UNREADABLE)
def test_what_no_file_gives_back_is_refused_before_training(message, tmp_path):
    model = keras.Sequential([keras.Input((64,)), UNREADABLE[message], layers.Dense(10)])

    def never(model, *, epochs, callbacks, rate=1.0):
        raise AssertionError("it trained")

    plan = compress.Pipeline([compress.Prune(sparsity=0.5, epochs=1), compress.Huffman()])
    with pytest.raises(ValueError, match=message) as error:
        compress.apply(plan, model, fit=never)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=message):
        compress.pack(model, tmp_path / "small.packed")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (compress.Quantize(), "samples: got none"),
        (compress.Prune(sparsity=0.6, rewind="nowhere.keras"), r"nowhere.keras: not found"),
        (compress.Distill(teacher="nowhere.keras"), r"nowhere.keras: not found"),
        (compress.PruneChannels(ratio=0.5, criterion="taylor"), "taylor needs"),
        (compress.PruneChannels(seconds=0.5), "does not measure latency"),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_what_the_last_pass_needs_is_asked_for_before_the_first(last, message, trained):
    def never(model, *, epochs, callbacks, rate=1.0):
        raise AssertionError("it trained")

    plan = compress.Pipeline([compress.Prune(sparsity=0.5, epochs=1), last])
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        compress.apply(plan, trained, fit=never)


@pytest.mark.parametrize(
    ("functions", "words"),
    [
        ({"fit": lambda model, *, epochs, callbacks: None}, "fit.*rate=.*'rate'"),
        ({"fit": lambda model, epochs: None}, "fit.*epochs=, callbacks="),
        ({"fit": 3}, "fit: got a int"),
        ({"evaluate": lambda: {}}, r"evaluate.*evaluate\(model\)"),
        ({"gradients": lambda model, data: ()}, "gradients"),
        ({"measure": lambda model: ()}, r"measure.*measure\(model, model\)"),
        ({"progress": lambda: None}, "progress"),
    ],
)
def test_functions_that_cannot_be_called_are_refused_before_anything_trains(functions, words):
    trainings = []

    def fit(model, *, epochs, callbacks, rate=1.0):
        trainings.append(epochs)

    if callable(functions.get("fit")):
        own = functions["fit"]
        functions = {"fit": keeping_signature(own, trainings)}
    plan = compress.Pipeline([compress.Prune(sparsity=0.5, epochs=2), compress.Quantize(epochs=1)])
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    with pytest.raises(TypeError, match=words):
        compress.apply(plan, model, samples=np.ones((8, 4)), **{"fit": fit, **functions})
    assert not trainings


def keeping_signature(function, calls):
    @functools.wraps(function)
    def counted(*args, **named):
        calls.append(named)
        return function(*args, **named)

    return counted
