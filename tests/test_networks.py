"""Every row of the catalogue that is no classifier: its facts, its goldens, its files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.golden import vector
from zoo.data.feeds.source import noise
from zoo.models import create
from zoo.recipe import resolve
from zoo.tasks.games.gan import GAN
from zoo.tasks.task import Task

GOLDEN = vector.read()


LARGE = 30_000_000  # weights from which on a row of its papers' size takes too long for every run
ROWS = [
    pytest.param(name, marks=pytest.mark.slow) if row.parameters > LARGE else name
    for name, row in vector.OTHERS.items()
]


@pytest.fixture(scope="module", params=ROWS)
def row(request):
    return vector.OTHERS[request.param]


@pytest.fixture(scope="module")
def networks(row):
    return vector.nets(row)


@pytest.mark.parametrize("name", vector.OTHERS)
def test_parameters_are_those_of_the_row(name):
    row = vector.OTHERS[name]
    with keras.StatelessScope(initialize_variables=False):
        made = create(row.name)
    each = [made] if isinstance(made, keras.Model) else made.values()
    # What networks share counts once.
    weights = {id(weight): weight for network in each for weight in network.trainable_weights}
    assert sum(np.prod(w.shape, dtype=int) for w in weights.values()) == row.parameters
    keras.utils.clear_session()  # or Keras makes the weights up later


def test_outputs_are_the_golden_ones(row, networks):
    """Wrong padding, strides, activations or a missing normalisation move the numbers."""
    found, golden = vector.measure_all(networks), GOLDEN[row.name]
    assert list(found) == list(golden)
    for name, known in golden.items():
        assert found[name]["mean_abs"] == pytest.approx(known["mean_abs"], rel=2e-3)
        np.testing.assert_allclose(
            found[name]["logits"], known["logits"], rtol=2e-3, atol=2e-3 * known["mean_abs"]
        )


# How likely the places were that were drawn: without a draw they are the likeliest, in all rows.
# Which place was looked at, one of many: the golden has the first four.
NOTHING = ("net/auxiliary_likelihood", "decoder/place_looked")
# The first region of a C4 is the whole of a picture so small; of all of them the mean tells more.
WHOLE = {"faster_rcnn_c4": "net/regions", "mask_rcnn_c4": "net/regions"}


def test_every_golden_tells_examples_apart():
    """Of all rows, those of the large networks too, which are measured in the slow run alone."""
    for row in vector.OTHERS:
        for name, known in GOLDEN[row].items():
            if name in NOTHING or WHOLE.get(row) == name:
                continue
            first, second, third = map(tuple, known["logits"])
            assert len({first, second, third}) == 3, f"{row}: {name}: examples look alike"
            assert known["mean_abs"] > 0, f"{row}: {name} is nothing but zeros"


def test_networks_are_plain_and_named(row, networks):
    """A name that Keras made up, such as `dense_3`, counts on in the second net."""
    made = create(row.name, input_shape=vector.small(row))
    again = {"net": made} if isinstance(made, keras.Model) else made
    for name, network in networks.items():
        layers = network._flatten_layers(include_self=False)
        assert not any(isinstance(layer, keras.layers.Lambda) for layer in layers)
        assert [x.name for x in network.layers] == [x.name for x in again[name].layers]


def test_files_hold_the_networks(networks, tmp_path):
    for name, network in networks.items():
        network.save(tmp_path / f"{name}.keras")
        again = keras.saving.load_model(tmp_path / f"{name}.keras", compile=False)
        inputs = vector.inputs(network)
        for one, other in zip(
            keras.tree.flatten(network(inputs, training=False)),
            keras.tree.flatten(again(inputs, training=False)),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)


def test_each_network_of_a_task_that_makes_something_is_given_what_it_reads(row, networks):
    """As `zoo export --network` gives it examples."""
    task = resolve(row.name).task
    if len(networks) == 1 or type(task).generate is Task.generate:
        pytest.skip("one network, or nothing is made")
    random = np.random.RandomState(0)
    seen = "image" if len(row.input_shape) == 3 else "features"
    columns = {
        seen: random.uniform(0, 1, (5, *vector.small(row))).astype("float32"),
        "label": np.arange(5) % row.num_classes,
    }
    drawn = noise(task.draws(networks), tf.constant([0, 0]), 5)
    columns |= {name: values.numpy() for name, values in drawn.items()}
    for name, network in networks.items():
        given = task.inputs_of(name, networks, columns)
        read = given if isinstance(given, dict) else {network.inputs[0].name: given}
        shapes = {key: values.shape[1:] for key, values in read.items()}
        assert shapes == {tensor.name: tuple(tensor.shape[1:]) for tensor in network.inputs}
        for values in keras.tree.flatten(network(given, training=False)):
            assert 0 < len(values) <= 5 and np.isfinite(values).all()


def test_too_few_pictures_for_a_packed_discriminator_are_refused():
    networks = create("pacgan_small", input_shape=(8, 8, 1), doublings=1, width=8, latent=4)
    columns = {"image": np.zeros((1, 8, 8, 1), "float32")}
    with pytest.raises(ValueError, match=r"^discriminator: got 1 pictures; expected 2 or more"):
        GAN().inputs_of("discriminator", networks, columns)
