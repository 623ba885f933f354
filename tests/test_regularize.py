"""Elastic net and max-norm, against their formulas."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.toy import descend, difference, settings, small, train
from zoo.layers.connection_table import TableConv2D
from zoo.layers.locally_connected import LocallyConnected2D
from zoo.models import create
from zoo.recipe import Regularize
from zoo.tasks.latent.autoencoder import Autoencoder
from zoo.training.regularize import regularize
from zoo.training.steps import loss

KERAS = keras.optimizers


def test_elastic_net_has_the_gradient_of_its_formula():
    l1, l2 = 0.002, 0.003
    ours = small(batch_norm=True)
    history = train(ours, settings(regularize={"l1": l1, "l2": l2}))

    def change(model):
        def add(gradients):
            pairs = zip(gradients, model.trainable_variables, strict=True)
            return [
                g + (l1 * np.sign(w) + 2 * l2 * w.numpy() if w.name == "kernel" else 0)
                for g, w in pairs
            ]

        return add

    theirs = small(batch_norm=True)
    descend(theirs, KERAS.SGD(0.05, momentum=0.9), change=change(theirs))
    assert difference(ours, theirs) < 1e-5
    free = small(batch_norm=True)
    plain = train(free, settings())
    assert difference(ours, free) > 1e-3
    # The loss that is told is the data's; on the first step both have the same weights.
    assert history.rows[0]["loss"] == pytest.approx(plain.rows[0]["loss"], rel=0.1)
    for layer in ours.layers:
        for weight in layer.weights:
            assert weight.regularizer is None and weight.constraint is None


def test_max_norm_holds_after_training():
    chosen = settings(learning_rate=0.3, regularize={"max_norm": 0.4}, ema=0.5)
    bound, free = small(), small()
    train(bound, chosen)
    train(free, settings(learning_rate=0.3, ema=0.5))
    for name, axes in (("conv", (0, 1, 2)), ("logits", (0,))):
        norms, others = (
            np.sqrt((model.get_layer(name).kernel.numpy() ** 2).sum(axis=axes))
            for model in (bound, free)
        )
        assert norms.max() < 0.4 + 1e-5 and others.max() > 0.5, name
        assert norms.max() > 0.39, name  # it is a bound, not a value for all


@pytest.mark.parametrize(
    ("layer", "axes"),
    [
        (keras.layers.Dense(5), (0,)),
        (keras.layers.Conv2D(5, 3), (0, 1, 2)),
        (keras.layers.Conv2D(6, 3, groups=2), (0, 1, 2)),
        (keras.layers.DepthwiseConv2D(3, depth_multiplier=2), (0, 1)),
        (keras.layers.Conv2DTranspose(5, 3), (0, 1, 3)),
        (LocallyConnected2D(2, 3), (0, 1, 2)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_bound_is_that_of_the_weights_into_one_unit(layer, axes):
    """What one output depends on: the weights that have a gradient there."""
    model = keras.Sequential([keras.Input((7, 7, 4)), layer])
    regularize(model, Regularize(max_norm=1.0))
    random = np.random.RandomState(0)
    layer.kernel.assign(random.normal(size=layer.kernel.shape) + 3.0)
    layer.kernel.assign(layer.kernel.constraint(layer.kernel))
    norms = np.sqrt((layer.kernel.numpy() ** 2).sum(axis=axes))
    np.testing.assert_allclose(norms, 1.0, rtol=1e-4)
    images = tf.constant(random.normal(size=(1, 7, 7, 4)), "float32")
    with tf.GradientTape() as tape:
        unit = layer(images)[0, 2, 2, 1]
    used = tape.gradient(unit, layer.kernel.value).numpy() != 0
    others = tuple(axis for axis in range(used.ndim) if axis not in axes)
    whole = used.all(axis=axes) == used.any(axis=axes)  # all or none of a unit's weights
    assert whole.all() and used.any(axis=axes).sum() == 1 and len(others) >= 1


def test_bound_of_weights_that_no_axis_holds_is_refused():
    model = keras.Sequential([keras.Input((7, 7, 2)), TableConv2D([[0], [0, 1]], 3, name="c3")])
    regularize(model, Regularize(l2=0.1))
    assert len(model.losses) == 1
    with pytest.raises(ValueError, match=r"'c3'.*l1 or l2"):
        regularize(model, Regularize(max_norm=1.0))


@pytest.mark.parametrize("tied", [True, False])
def test_a_kernel_that_networks_share_is_penalised_once(tied):
    """Of a tied autoencoder the penalty is that of its one kernel, of another one of both."""
    networks = create("autoencoder", input_shape=(8, 8, 1), units=(6,), tied=tied)
    task, weight = Autoencoder(), 0.01
    for network in networks.values():
        regularize(network, Regularize(l2=weight))
    images = tf.constant(np.random.RandomState(0).rand(4, 8, 8, 1), "float32")
    (objective,) = task.objectives()
    total, seen = loss(task, objective, networks, {"image": images, "weight": tf.ones(4)})
    weights = {id(w): w.numpy() for network in networks.values() for w in network.weights}
    kernels = [values for values in weights.values() if values.ndim == 2]
    assert len(kernels) == (1 if tied else 2)
    exact = weight * sum(np.square(kernel).sum() for kernel in kernels)
    assert float(total - tf.reduce_mean(seen.loss.values)) == pytest.approx(exact, rel=1e-3)
