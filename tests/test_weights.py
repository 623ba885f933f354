"""Trained weights in a model: carried over by name, whole or without the head, or refused.

No file of the table is needed here: stand-ins are written for the two torch families, and
`keras.applications` gives its nets with random numbers in place of published weights.
"""

import functools
import hashlib
import re

import keras
import numpy as np
import pytest

import zoo
from tests import torch_file
from tests.golden import vector
from zoo import weights
from zoo.catalog import CATALOG
from zoo.data.preprocessing import Preprocessing
from zoo.weights import KERAS, TABLE, File, keras_applications, transplant
from zoo.weights.torch_names import torch_names

SIDE, PUBLISHED_SIDE = 32, 64


def torch_state(model, names):
    """The weights of a Keras model as a torch state: the way back, written down separately."""
    tensors = {}
    for layer in model.layers:
        values = layer.get_weights()
        if not values:
            continue
        if isinstance(layer, keras.layers.BatchNormalization):
            leaves = ("weight", "bias", "running_mean", "running_var")
        else:
            leaves = ("weight", "bias")
            if isinstance(layer, keras.layers.DepthwiseConv2D):
                values[0] = np.einsum("hwcm->cmhw", values[0])
            elif isinstance(layer, keras.layers.Conv2D):
                values[0] = np.einsum("hwio->oihw", values[0])
            else:
                values[0] = np.einsum("io->oi", values[0])
        place = names[layer.name]
        tensors |= {f"{place}.{leaf}": v for leaf, v in zip(leaves, values, strict=False)}
    return tensors


def save(path, tensors):
    """Writes a torch file without torch."""
    opcodes, raw = {}, {}
    for index, (name, value) in enumerate(tensors.items()):
        value = np.ascontiguousarray(value, "<f4")
        steps = [step // 4 for step in value.strides]
        opcodes[name] = torch_file.tensor(
            key=str(index), length=value.size, size=value.shape, stride=tuple(steps)
        )
        raw[str(index)] = value.tobytes()
    path.write_bytes(torch_file.archive(torch_file.state(opcodes), raw))


@pytest.fixture(scope="module", params=["mobilenet_v2", "efficientnet_lite0"])
def trained(request, tmp_path_factory):
    """A filled net of 1,000 classes, and a row whose file in the cache holds its weights."""
    model = zoo.create(request.param, input_shape=(SIDE, SIDE, 3))
    vector.fill(model)
    home = tmp_path_factory.mktemp("home")
    file = File("stand-in", "1", "stand_in/net.pth", "", 0)
    place = home / "weights" / "stand-in-1" / "net.pth"
    place.parent.mkdir(parents=True)
    save(place, torch_state(model, torch_names(model, request.param)))
    digest = hashlib.sha256(place.read_bytes()).hexdigest()
    row = weights.find_weights(request.param)._replace(file=file._replace(sha256=digest))
    return model, row, home


@pytest.fixture
def cache(trained, monkeypatch):
    """The stand-in row is the table, and its cache the cache."""
    model, row, home = trained
    monkeypatch.setattr(weights, "TABLE", (row,))
    monkeypatch.setenv("ZOO_HOME", str(home))
    return model, row


# create


def test_create_loads_every_weight(cache):
    model, row = cache
    got = zoo.create(row.model, input_shape=(SIDE, SIDE, 3), weights="imagenet")
    for ours, theirs in zip(got.weights, model.weights, strict=True):
        assert ours.path == theirs.path
        np.testing.assert_array_equal(ours, theirs)
    larger = zoo.create(row.model, input_shape=(48, 40, 3), weights="imagenet")
    np.testing.assert_array_equal(larger.get_weights()[-1], model.get_weights()[-1])


def test_another_number_of_classes_has_a_fresh_head(cache):
    model, row = cache
    heads = []
    for seed in (0, 0, 1) if row.model == "mobilenet_v2" else (0,):
        keras.utils.set_random_seed(seed)
        shape = (SIDE, SIDE, 3)
        got = zoo.create(row.model, input_shape=shape, num_classes=37, weights="imagenet")
        assert got.output_shape == (None, 37)
        for ours, theirs in zip(got.weights[:-2], model.weights[:-2], strict=True):
            np.testing.assert_array_equal(ours, theirs)
        heads.append(np.asarray(got.weights[-2]))
    assert np.std(heads[0]) > 0.01
    for again, other in [heads[1:]] if len(heads) > 1 else []:
        np.testing.assert_array_equal(heads[0], again)
        assert np.abs(heads[0] - other).max() > 0.01


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (32, 32, 1)}, "got input_shape (32, 32, 1); expected 3 channels. In a re"),
        ({"weights": "imagenett"}, "unknown weights 'imagenett'. Did you mean 'imagenet'?"),
        ({"width": 0.5}, "'stem_conv' got trained weights"),
        ({"widht": 0.5}, "unknown setting 'widht'. Did you mean 'width'?"),
    ],
)
def test_create_refuses(cache, arguments, message):
    _, row = cache
    values = {"input_shape": (SIDE, SIDE, 3), "weights": "imagenet", **arguments}
    if (row.model, "width" in arguments) == ("efficientnet_lite0", True):
        message = "'stage1_block1_project' got trained weights"  # its stem is not scaled
    with pytest.raises(ValueError, match=re.escape(message)):
        zoo.create(row.model, **values)


def test_a_missing_or_changed_file_is_told_before_anything_is_built(cache, monkeypatch, tmp_path):
    _, row = cache
    monkeypatch.setattr(keras, "Model", None)
    place = row.file.place
    monkeypatch.setenv("ZOO_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"`zoo weights get {row.model}`") as caught:
        zoo.create(row.model, weights="imagenet")
    assert "\n" not in str(caught.value)
    row.file.place.parent.mkdir(parents=True)
    row.file.place.write_bytes(place.read_bytes()[:-1])
    with pytest.raises(RuntimeError, match="its sha256 is not"):
        zoo.create(row.model, weights="imagenet")


def test_a_model_without_weights_says_which_have_some():
    with pytest.raises(ValueError, match=r"vgg11: has no trained weights. Some have: mobilenet"):
        zoo.create("vgg11", weights="imagenet")


# The transplant


def small():
    """A convolution, a normalisation and a head, and the torch state that fits."""
    image = keras.Input((4, 4, 3), name="image")
    x = keras.layers.Conv2D(2, 3, name="conv")(image)
    x = keras.layers.BatchNormalization(name="norm")(x)
    logits = keras.layers.Dense(5, name="logits")(keras.layers.Flatten()(x))
    model = keras.Model(image, logits, name="small")
    names = {"conv": "a.0", "norm": "a.1", "logits": "b"}
    state = {key: value + 1 for key, value in torch_state(model, names).items()}
    return model, names, state | {"a.1.num_batches_tracked": np.array(3)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda names, state: names.pop("norm"), "small: the layer 'norm' has no partner"),
        (lambda names, state: state.pop("a.1.bias"), "'norm' needs 'a.1.bias', which is missing"),
        (lambda names, state: state.update(c=np.zeros(1)), "1 weights are left over, e.g. 'c'"),
        (
            lambda names, state: state.update({"a.0.weight": np.zeros((2, 3, 3, 2))}),
            "'conv' got trained weights [(3, 2, 3, 2), (2,)]; expected [(3, 3, 3, 2), (2,)]",
        ),
        (
            lambda names, state: state.update({"b.weight": np.zeros((4, 8)), "b.bias": 1}),
            "'logits' got trained weights",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(change, message):
    model, names, state = small()
    before = model.get_weights()
    change(names, state)
    with pytest.raises(ValueError, match=re.escape(message)):
        transplant.from_torch(model, state, names)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_skipped_head_may_have_any_shape():
    model, names, state = small()
    before = model.get_layer("logits").get_weights()
    state["b.weight"] = np.zeros((7, 9))
    transplant.from_torch(model, state, names, skip=("logits",))
    for old, new in zip(before, model.get_layer("logits").get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(model.get_layer("conv").bias, state["a.0.bias"])
    np.testing.assert_array_equal(model.get_layer("norm").moving_variance, state["a.1.running_var"])


# keras.applications

OURS = [row for row in TABLE if row.file.package == KERAS]
MODULES = {"vgg": "vgg16", "resnet": "resnet", "resnet_v2": "resnet_v2", "densenet": "densenet"}


def family(row):
    return CATALOG[row.model].builder.partition(":")[2]


@pytest.mark.parametrize("row", OURS, ids=lambda row: row.model)
def test_every_layer_has_a_partner_of_its_shape(row):
    """All sizes of all families, without memory for the weights."""
    with keras.StatelessScope(initialize_variables=False):
        theirs = getattr(keras.applications, keras_applications.APPLICATIONS[row.model])(
            weights=None
        )
        ours = zoo.create(row.model, **row.settings)
    keras.utils.clear_session()
    shapes = {one.name: [w.shape for w in one.weights] for one in theirs.layers if one.weights}
    partners = {
        keras_applications._partner(family(row), one.name): [w.shape for w in one.weights]
        for one in ours.layers
        if one.weights
    }
    assert partners == shapes


@pytest.fixture(scope="module")
def published():
    """Puts random numbers, statistics included, in place of what Keras publishes."""

    @functools.cache
    def theirs(row_name):
        name = keras_applications.APPLICATIONS[row_name]
        shape = (PUBLISHED_SIDE, PUBLISHED_SIDE, 3)
        original = getattr(keras.applications, name)
        model = original(weights=None, classifier_activation=None, input_shape=shape)
        vector.fill(model)

        def build(weights, classifier_activation):
            assert weights == "imagenet" and classifier_activation is None
            return model

        patch.setattr(keras.applications, name, build)
        return model

    with pytest.MonkeyPatch.context() as patch:
        yield theirs
    theirs.cache_clear()


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["vgg16", "resnet50", "resnet50_v2", "densenet121"])
def test_logits_equal_those_of_keras_applications(name, published):
    """The same picture, each net behind its own preprocessing."""
    row, theirs = weights.find_weights(name), published(name)
    side = PUBLISHED_SIDE
    ours = zoo.create(name, input_shape=(side, side, 3), weights="imagenet")
    picture = np.random.RandomState(0).randint(0, 256, (2, side, side, 3)).astype("uint8")
    prepare = getattr(keras.applications, MODULES[family(row)]).preprocess_input
    expected = np.asarray(theirs(prepare(picture.astype("float32")), training=False))
    values = Preprocessing.parse(row.preprocessing(side), "row")
    got = np.asarray(ours(values.apply(picture), training=False))
    scale = np.abs(expected).max()
    assert np.abs(expected[0] - expected[1]).max() > 0.01 * scale
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * scale)


def test_a_new_head_on_a_net_of_keras(published):
    theirs = published("densenet121").get_layer("conv5_block16_2_conv")
    ours = zoo.create("densenet121", input_shape=(40, 40, 3), num_classes=3, weights="imagenet")
    assert ours.output_shape == (None, 3)
    np.testing.assert_array_equal(ours.get_layer("stage4_layer16_conv2").kernel, theirs.kernel)


def test_a_net_with_hidden_dense_layers_needs_the_input_of_the_training(published):
    published("vgg16")
    with pytest.raises(ValueError, match=r"vgg16: 'fc6' got trained weights .* the input, of the"):
        zoo.create("vgg16", input_shape=(32, 32, 3), num_classes=3, weights="imagenet")


def test_keras_without_a_network_is_told_in_one_line(monkeypatch):
    def build(weights, classifier_activation):
        raise Exception("URL fetch failure\non somewhere")

    monkeypatch.setattr(keras.applications, "ResNet50", build)
    with pytest.raises(ConnectionError, match=r"^resnet50: Keras could not load.*resnet50_we.*h5"):
        zoo.create("resnet50", input_shape=(SIDE, SIDE, 3), weights="imagenet")
