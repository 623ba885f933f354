"""Every row of the catalogue, through one battery; then the oracles."""

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import zoo.models
from tests.golden import vector
from zoo.catalog import CATALOG
from zoo.layers import StochasticDepth
from zoo.models import create

GOLDEN = vector.read()


SIZES = {"blocks", "convs", "depth", "growth", "units", "width"}


def _kind(row):
    """What tells the forms of a family apart: its builder, and the settings that are not sizes."""
    return row.builder, tuple(sorted((k, v) for k, v in row.settings.items() if k not in SIZES))


# Rows that differ from an earlier one in sizes only: their battery takes minutes and tells little.
FIRST = {_kind(row): row.name for row in reversed(vector.CLASSIFIERS.values())}
ROWS = [
    name if name in FIRST.values() else pytest.param(name, marks=pytest.mark.slow)
    for name in vector.CLASSIFIERS
]
DRAW = keras.initializers.VarianceScaling.__call__


@pytest.fixture(scope="module", autouse=True)
def _cheap_kernels():
    """Fresh kernels are zeros: every test here fills or copies the weights that it uses."""
    with pytest.MonkeyPatch.context() as patch:
        zeros = keras.initializers.Zeros()
        patch.setattr(
            keras.initializers.VarianceScaling,
            "__call__",
            lambda self, shape, dtype=None: zeros(shape, dtype),
        )
        yield


@pytest.fixture(scope="module", params=ROWS)
def net(request):
    """One filled net for all the tests of a row; they leave its weights alone."""
    return vector.net(CATALOG[request.param])


@pytest.fixture
def sketch():
    """`create` without memory for the weights: shapes are known, values are not."""

    def build(*args, **kwargs):
        with keras.StatelessScope(initialize_variables=False):
            return create(*args, **kwargs)

    yield build
    keras.utils.clear_session()  # or Keras makes the weights up later


# The facts of a row


@pytest.mark.parametrize(
    "name",
    [pytest.param(x, marks=pytest.mark.slow) if "1202" in x else x for x in vector.CLASSIFIERS],
)
def test_facts_of_the_row(name, sketch):
    row = CATALOG[name]
    model = sketch(name)
    assert sum(np.prod(w.shape, dtype=int) for w in model.trainable_weights) == row.parameters
    assert model.input_shape == (None, *row.input_shape)
    assert model.output_shape == (None, row.num_classes)
    assert model.name == name
    side, channels = row.smallest, 2
    small = sketch(name, input_shape=(side, side, channels))
    assert small.output_shape == (None, row.num_classes)
    # A name that Keras made up, such as `conv2d_17`, counts on in the second net.
    # Of a row of features the input is called otherwise.
    assert [x.name for x in small.layers[1:]] == [x.name for x in model.layers[1:]]


@pytest.mark.parametrize("name", vector.CLASSIFIERS)
def test_a_smaller_image_is_refused(name):
    row = CATALOG[name]
    side, channels = row.smallest, 2
    for shape in [(side - 1, side, channels), (side, side - 1, channels)]:
        with pytest.raises(ValueError, match=rf"got {re.escape(str(shape))}; expected .*{side}"):
            create(name, input_shape=shape)
        if side > 1:  # the net itself cannot do it either
            module, function = row.builder.split(":")
            builder = getattr(importlib.import_module(module), function)
            with pytest.raises(ValueError, match=r"negative|empty|zero"):
                builder(name=name, input_shape=shape, num_classes=2, **row.settings)


def test_every_builder_has_a_row_and_every_row_a_golden():
    builders = set()
    for module in pkgutil.iter_modules(zoo.models.__path__, "zoo.models."):
        for name, function in vars(importlib.import_module(module.name)).items():
            if inspect.isfunction(function) and function.__module__ == module.name:
                kinds = {key: p.kind for key, p in inspect.signature(function).parameters.items()}
                # What makes pictures or codes has no classes.
                nouns = [kinds.get(key) for key in ("name", "input_shape", "num_classes")]
                if set(nouns[:2]) == {inspect.Parameter.KEYWORD_ONLY} >= set(filter(None, nouns)):
                    builders.add(f"{module.name}:{name}")
    assert builders == {row.builder for row in CATALOG.values()}
    assert list(GOLDEN) == list(CATALOG)


# The battery


def test_ends_have_names(net):
    name = "image" if len(net.inputs[0].shape) == 4 else "features"
    assert [tensor.name for tensor in net.inputs] == [name]
    assert net.output_names == ["logits"]
    head = net.layers[-1]  # means of the last maps are logits too, where the paper has it so
    averages = isinstance(head, keras.layers.GlobalAveragePooling2D)
    assert averages or head.activation is keras.activations.linear
    assert not any(isinstance(layer, keras.layers.Lambda) for layer in net.layers)


def test_output_shapes(net):
    classes = CATALOG[net.name].num_classes
    assert net.output_shape == (None, classes)
    for batch in (1, 3):
        assert net(vector.sample(net, batch), training=False).shape == (batch, classes)


def test_every_weight_learns(net, monkeypatch):
    """Finite gradients that are not zero, with dropout on and batch statistics."""
    for layer in net.layers:
        if isinstance(layer, StochasticDepth):  # a dropped branch has no gradient, and should not
            monkeypatch.setattr(layer, "survival", 1.0)
    weights = [tf.identity(weight.value) for weight in net.trainable_variables]
    state = [tf.identity(weight.value) for weight in net.non_trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(weights)
        logits, _ = net.stateless_call(weights, state, vector.sample(net), training=True)
        target = np.random.RandomState(8).normal(size=logits.shape)
        loss = ops.mean(ops.square(logits - target))
    normalised = {layer.name.removesuffix("_bn") for layer in net.layers if "_bn" in layer.name}
    for weight, gradient in zip(net.trainable_variables, tape.gradient(loss, weights), strict=True):
        assert np.isfinite(gradient).all(), weight.path
        place, kind = weight.path.split("/")[-2:]
        if kind == "bias" and place in normalised:  # the batch's mean takes such a bias away
            assert np.abs(gradient).max() < 1e-4, weight.path
        else:
            assert np.abs(gradient).max() > 0, weight.path


@pytest.mark.parametrize("net", ROWS, indirect=True)
def test_golden(net):
    golden, now = GOLDEN[net.name], vector.measure(net)
    logits = np.array(golden["logits"])
    scale = golden["mean_abs"]
    np.testing.assert_allclose(now["logits"], logits, rtol=1e-3, atol=1e-3 * scale)
    np.testing.assert_allclose(now["mean_abs"], scale, rtol=1e-3)
    for other in range(vector.BATCH):  # or the net is saturated and the row proves nothing
        assert np.abs(logits[other] - logits[other - 1]).max() > 1e-4 * scale


def test_round_trip(net, tmp_path):
    path = tmp_path / "net.keras"
    net.save(path)
    again = keras.saving.load_model(path)
    path.unlink()  # up to 170 MB
    image = vector.sample(net)
    np.testing.assert_array_equal(again(image, training=False), net(image, training=False))
    assert [layer.name for layer in again.layers] == [layer.name for layer in net.layers]


def test_bfloat16(net):
    """Half precision moves float32 logits little further than rounding every weight to half."""
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = create(net.name, input_shape=net.input_shape[1:])
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(net.get_weights())
    image = vector.sample(net)
    exact, rough = net(image, training=False), half(image, training=False)
    rounded = [
        [tf.cast(tf.cast(weight.value, tf.bfloat16), weight.dtype) for weight in weights]
        for weights in (net.trainable_variables, net.non_trainable_variables)
    ]
    moved, _ = net.stateless_call(*rounded, image, training=False)
    assert rough.dtype == tf.float32
    limit = 3 * np.abs(moved - exact).max()  # measured: up to 1.7 times
    # Or less than two units of half precision, where weights are signs, as in the RBFs of LeNet-5.
    assert np.abs(rough - exact).max() < max(limit, 2**-7 * np.abs(exact).max())


@pytest.mark.parametrize("name", ["alexnet", "vgg19"])
def test_fresh_kernels_carry_the_signal(name, monkeypatch):
    """He's variance keeps the size of the activations; Keras' default halves their squares."""
    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__", DRAW)
    keras.utils.set_random_seed(0)
    side = CATALOG[name].smallest
    fresh = create(name, input_shape=(side, side, 3), num_classes=10)
    assert 0.1 < np.std(fresh(vector.sample(fresh), training=False)) < 10


EVERYTHING = """
import resource, time, keras
from zoo.catalog import CATALOG
from zoo.models import create
began = time.perf_counter()
for name in CATALOG:
    create(name)
    keras.utils.clear_session()
seconds = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
print(f"{len(CATALOG)} models, {seconds:.0f} s, peak {peak:.2f} GiB")
"""


@pytest.mark.slow
def test_all_rows_are_built_one_after_another_in_6_gb():
    command = [sys.executable, "-c", EVERYTHING]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    sys.stdout.write(done.stdout)  # pytest -rP shows it, with the seconds, which no test judges
    assert float(done.stdout.split()[-2]) * 1.024**3 < 6


# Errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "vgg61"}, "unknown model 'vgg61'. Did you mean 'vgg16'?"),
        ({"name": "vgg16", "dropuot": 0.1}, "unknown setting 'dropuot'. Did you mean 'dropout'?"),
        ({"name": "linear", "units": 3}, "unknown setting 'units'. It has none."),
        ({"name": "vgg16", "convs": (1, 1)}, "convs got (1, 1); expected 5 numbers"),
        ({"name": "mlp", "num_classes": 0}, "num_classes got 0; expected an integer of at least 1"),
        ({"name": "mlp", "num_classes": 2.5}, "num_classes got 2.5; expected an integer"),
        ({"name": "mlp", "input_shape": (28, 28)}, "got (28, 28); expected (height, width, ch"),
        ({"name": "mlp", "input_shape": (0,)}, "got (0,); expected (features,), an integer above"),
        ({"name": "vgg16", "input_shape": (30,)}, "got (30,); expected (height, width, channels)"),
        ({"name": "mlp", "input_shape": (8, 8, 0)}, "got (8, 8, 0); expected (height, width, ch"),
        ({"name": "mlp", "input_shape": (None, 8, 1)}, "three integers above 0"),
    ],
)
def test_create_refuses(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        create(**arguments)


def test_settings_go_before_the_row():
    model = create("mlp", input_shape=[4, 5, 3], num_classes=2, units=[7])
    assert [w.shape for w in model.weights] == [(60, 7), (7,), (7, 2), (2,)]


# Oracles


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("name", "table"),
    [
        ("vgg11", "64 M 128 M 256 256 M 512 512 M 512 512 M"),
        ("vgg13", "64 64 M 128 128 M 256 256 M 512 512 M 512 512 M"),
        ("vgg16", "64 64 M 128 128 M 256 256 256 M 512 512 512 M 512 512 512 M"),
        ("vgg19", "64 64 M 128 128 M 256 256 256 256 M 512 512 512 512 M 512 512 512 512 M"),
    ],
)
def test_vgg_counted_by_hand(name, table):
    """Columns of the paper's table 1; `M` is a max pooling."""
    widths = [int(item) for item in table.split() if item != "M"]
    convs = sum(9 * a * b + b for a, b in zip([3, *widths], widths, strict=False))
    dense = sum(a * b + b for a, b in [(7 * 7 * 512, 4096), (4096, 4096), (4096, 1000)])
    assert CATALOG[name].parameters == convs + dense
    assert CATALOG[f"{name}_bn"].parameters == convs + dense + 2 * sum(widths)


@pytest.mark.oracle
@pytest.mark.parametrize(("name", "oracle"), [("vgg16", "VGG16"), ("vgg19", "VGG19")])
def test_vgg_equals_keras_applications(name, oracle):
    theirs = getattr(keras.applications, oracle)(
        weights=None, input_shape=(32, 32, 3), classes=10, classifier_activation=None
    )
    vector.fill(theirs)
    ours = create(name, input_shape=(32, 32, 3), num_classes=10)
    ours.set_weights(theirs.get_weights())
    image = vector.sample(ours)
    expected = theirs(image, training=False)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(ours(image, training=False), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.oracle
def test_alexnet_equals_plain_tensorflow():
    """Grouped convolutions and the paper's order; pixels up to 255 let the normalisation bite."""
    ours = create("alexnet", input_shape=(67, 67, 3), num_classes=10)
    vector.fill(ours)
    image = 255 * vector.sample(ours)
    weights = [ops.convert_to_numpy(weight) for weight in ours.weights]

    @tf.function(jit_compile=True)  # a CPU runs grouped convolutions in XLA only
    def theirs(x):
        values = iter(weights)
        for stage in range(1, 6):
            kernel, bias = next(values), next(values)
            if stage in (2, 4, 5):
                kernel = tf.concat([kernel, next(values)], -1)
                bias = tf.concat([bias, next(values)], -1)
            stride, padding = (4, "VALID") if stage == 1 else (1, "SAME")
            x = tf.nn.relu(tf.nn.conv2d(x, kernel, stride, padding) + bias)
            if stage in (1, 2):
                x = tf.nn.local_response_normalization(x, 2, 2.0, 1e-4, 0.75)
            if stage in (1, 2, 5):
                x = tf.nn.max_pool2d(x, 3, 2, "VALID")
        x = tf.reshape(x, (len(x), -1))
        for activation in (tf.nn.relu, tf.nn.relu, tf.identity):
            x = activation(x @ next(values) + next(values))
        return x

    expected = theirs(image)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(ours(image, training=False), expected, rtol=1e-3, atol=1e-3)
