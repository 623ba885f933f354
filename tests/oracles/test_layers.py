"""The layers beside PyTorch, TensorFlow, SciPy and loops."""

import itertools

import keras
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from tests.oracles import torch_side
from zoo.layers import (
    BedOfNails2D,
    CeilMaxPooling2D,
    ChannelLPPooling,
    DropConnect,
    FractionalMaxPooling2D,
    LocallyConnected1D,
    LocallyConnected2D,
    LocalResponseNormalization,
    LPPooling2D,
    Maxout,
    MaxPoolingWithIndices2D,
    MaxUnpooling2D,
    RBFOutput,
    ScaledTanh,
    Subsampling2D,
    SubtractiveNormalization2D,
    TableConv2D,
)

pytestmark = pytest.mark.oracle


@pytest.fixture
def torch():
    return torch_side.module("torch")


def normal(*shape, seed=0):
    return np.random.RandomState(seed).normal(size=shape).astype("float32")


def fill(layer):
    for index, weight in enumerate(layer.trainable_weights, start=1):
        weight.assign(normal(*weight.shape, seed=index))


def first(torch, x):
    """(batch, height, width, channels) to a tensor with the channels first."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(np.asarray(x), -1, 1)))


def last(tensor):
    return np.moveaxis(tensor.numpy(), 1, -1)


def near(ours, theirs, tolerance=1e-5):
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape and np.abs(theirs).max() > 0
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()


@pytest.mark.parametrize("channels", [1, 3, 4, 7, 12])
@pytest.mark.parametrize("beta", [0.75, 0.5])
def test_lrn_equals_tensorflow(channels, beta):
    x = 3 * normal(2, 4, 5, channels)
    ours = LocalResponseNormalization(size=5, k=2.0, alpha=0.1, beta=beta)(x)
    theirs = tf.nn.local_response_normalization(x, 2, bias=2.0, alpha=0.1, beta=beta)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_lrn_equals_torch(torch):
    x = 3 * normal(2, 4, 5, 7)
    ours = LocalResponseNormalization(size=3, k=1.0, alpha=0.1 / 3, beta=0.6)(x)
    theirs = torch.nn.LocalResponseNorm(3, alpha=0.1, beta=0.6, k=1.0)(first(torch, x))
    near(ours, last(theirs))


def test_maxout_by_hand():
    x = normal(3, 4, 5, 12)
    expected = np.stack([x[..., i : i + 3].max(-1) for i in range(0, 12, 3)], axis=-1)
    np.testing.assert_array_equal(Maxout(3)(x), expected)


@pytest.mark.parametrize("filters", [1, 3])
@pytest.mark.parametrize(("size", "stride"), [((3, 3), (1, 1)), ((4, 2), (2, 3)), ((5, 6), (1, 2))])
def test_locally_connected_equals_unfold(torch, filters, size, stride):
    """Every window as a column, times the matrix of its place."""
    x = normal(2, 9, 8, 3)
    ours = LocallyConnected2D(filters, size, strides=stride)
    y = ours(x)
    fill(ours)
    y = ours(x)
    rows, columns = y.shape[1:3]
    kernel = np.array(ours.kernel).reshape(*size, 3, rows * columns, filters)
    kernel = kernel.transpose(2, 0, 1, 3, 4).reshape(-1, rows * columns, filters)
    unfolded = torch.nn.functional.unfold(first(torch, x), size, stride=stride)
    theirs = torch.einsum("bip,ipf->bfp", unfolded, torch.from_numpy(kernel))
    theirs = last(theirs.reshape(2, filters, rows, columns))
    near(y, theirs + np.array(ours.bias).reshape(rows, columns, filters))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_locally_connected_with_equal_filters_is_a_convolution(padding, stride):
    x = normal(2, 9, 8, 3)
    kernel, bias = normal(4, 3, 3, 5, seed=1), normal(5, seed=2)
    ours = LocallyConnected2D(5, (4, 3), strides=stride, padding=padding)
    conv = keras.layers.Conv2D(5, (4, 3), strides=stride, padding=padding)
    places = np.prod(ours(x).shape[1:3])
    ours.set_weights([np.tile(kernel, (1, 1, 1, places)), np.tile(bias, places)])
    conv.build(x.shape)
    conv.set_weights([kernel, bias])
    near(ours(x), conv(x))
    line, steps = LocallyConnected1D(5, 4, strides=stride, padding=padding), x[:, :, 0]
    places = line(steps).shape[1]
    line.set_weights([np.tile(kernel[:, 0], (1, 1, places)), np.tile(bias, places)])
    conv1d = keras.layers.Conv1D(5, 4, strides=stride, padding=padding)
    conv1d.build(steps.shape)
    conv1d.set_weights([kernel[:, 0], bias])
    near(line(steps), conv1d(steps))


def test_locally_connected_by_loops():
    x = normal(2, 6, 5, 2)
    ours = LocallyConnected2D(3, (3, 2), strides=(2, 1), padding="same")
    ours(x)
    fill(ours)
    kernel = np.array(ours.kernel).reshape(3, 2, 2, 3, 5, 3)
    padded = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))  # all that these sizes need
    expected = np.array(ours.bias).reshape(3, 5, 3) + np.zeros((2, 1, 1, 1))
    for row, column in itertools.product(range(3), range(5)):
        window = padded[:, 2 * row : 2 * row + 3, column : column + 2]
        expected[:, row, column] += np.einsum("bijc,ijcf->bf", window, kernel[..., row, column, :])
    near(ours(x), expected)


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), ((3, 2), (1, 3)), (5, 3)])
@pytest.mark.parametrize("p", [1, 2, 3, 4, 2.5])
def test_lp_pooling_equals_torch(torch, p, size, stride):
    x = np.abs(normal(2, 11, 9, 3))  # torch takes odd powers without the magnitude
    ours = LPPooling2D(size, p, strides=stride)(x)
    near(ours, last(torch.nn.LPPool2d(p, size, stride=stride)(first(torch, x))))


def test_lp_pooling_takes_magnitudes(torch):
    x = normal(2, 10, 9, 3)
    near(LPPooling2D(3, 3)(x), last(torch.nn.LPPool2d(3, 3)(first(torch, np.abs(x)))))
    channels = ChannelLPPooling(2, 4)(x[..., [0, 1, 2, 0]])
    expected = np.stack([x[..., [0, 1]], x[..., [2, 0]]], axis=-2)
    near(channels, (expected.astype("float64") ** 4).sum(-1) ** 0.25)


def test_lp_pooling_with_a_gaussian_by_loops():
    x = normal(2, 8, 9, 3)
    across = np.exp(-np.square((np.arange(5) - 2) / 1.25))
    weights = np.outer(across, across) / across.sum() ** 2
    expected = np.zeros((2, 2, 2, 3))
    for row, column in itertools.product(range(2), range(2)):
        window = x[:, 3 * row : 3 * row + 5, 3 * column : 3 * column + 5].astype("float64")
        expected[:, row, column] = np.einsum("bijc,ij->bc", window**4, weights) ** 0.25
    near(LPPooling2D(5, 4, strides=3, weighting="gaussian")(x), expected)


@pytest.mark.parametrize("size", [7, 10, 25, 28, 33])
@pytest.mark.parametrize("ratio", [0.5, 0.6, 0.7, 0.75, 0.9])
def test_fractional_sizes_are_torchs(torch, size, ratio):
    theirs = torch.nn.FractionalMaxPool2d(2, output_ratio=ratio)(torch.zeros(1, 1, size, size))
    ours = FractionalMaxPooling2D(1 / ratio).compute_output_shape((None, size, size, 1))
    assert ours[1:3] == theirs.shape[2:]


@pytest.mark.parametrize("pseudo_random", [True, False])
@pytest.mark.parametrize("overlapping", [True, False])
@pytest.mark.parametrize("ratio", [1.44, 1.73, 2.6])
def test_fractional_windows_equal_tensorflows(ratio, pseudo_random, overlapping):
    """The bounds that TensorFlow drew give TensorFlow's maxima; ours obey the same rules."""
    x = normal(2, 21, 17, 3)
    theirs, *sequences = tf.nn.fractional_max_pool(
        x, [1.0, ratio, ratio, 1.0], pseudo_random, overlapping, seed=5
    )
    ours = FractionalMaxPooling2D(ratio, pseudo_random=pseudo_random, overlapping=overlapping)
    y = tf.constant(x)
    for axis, bounds in enumerate(sequences, start=1):
        size, windows = x.shape[axis], theirs.shape[axis]
        bounds = tf.cast(bounds, "int32")
        y = ours._pool(y, bounds, size // windows + 1, axis)
        draw = ours._drawn_offset if pseudo_random else ours._drawn_order
        for drawn in (bounds, draw(size, windows)):
            assert set(np.diff(drawn)) <= {size // windows, size // windows + 1}
            assert (drawn[0], drawn[-1], len(drawn)) == (0, size, windows + 1)
    np.testing.assert_array_equal(y, theirs)
    assert ours(x).shape == theirs.shape


@pytest.mark.parametrize(
    ("size", "stride", "padding"),
    [(2, 2, "valid"), (3, 2, "valid"), (3, 2, "same"), (2, 3, "valid"), (5, 1, "same")],
)
def test_places_equal_tensorflow(size, stride, padding):
    x = normal(2, 9, 8, 3)
    x[0, :4] = 0.5  # equal values
    values, places = MaxPoolingWithIndices2D(size, strides=stride, padding=padding)(x)
    theirs, flat = tf.nn.max_pool_with_argmax(x, size, stride, padding.upper())
    np.testing.assert_array_equal(values, theirs)
    np.testing.assert_array_equal(places, flat // 3)  # theirs count the channels in


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 3), ((3, 2), (3, 4))])
def test_pooling_and_unpooling_equal_torch(torch, size, stride):
    x = normal(2, 10, 9, 3)
    pooling = torch.nn.MaxPool2d(size, stride, return_indices=True)
    theirs, their_places = pooling(first(torch, x))
    values, places = MaxPoolingWithIndices2D(size, strides=stride)(x)
    np.testing.assert_array_equal(values, last(theirs))
    np.testing.assert_array_equal(places, last(their_places))
    back = torch.nn.MaxUnpool2d(size, stride)(theirs, their_places, output_size=(10, 9))
    ours = MaxUnpooling2D(size, strides=stride, output_size=(10, 9))([values, places])
    np.testing.assert_array_equal(ours, last(back))


@pytest.mark.parametrize("size", [(2, 2), (3, 1), (1, 4)])
def test_bed_of_nails_equals_torch(torch, size):
    """A transposed convolution with a one in the corner of its filter."""
    x = normal(2, 4, 5, 3)
    corner = torch.zeros(3, 1, *size)
    corner[:, :, 0, 0] = 1
    theirs = torch.nn.functional.conv_transpose2d(first(torch, x), corner, stride=size, groups=3)
    np.testing.assert_array_equal(BedOfNails2D(size)(x), last(theirs))


@pytest.mark.parametrize("shape", [(33, 15), (15, 9), (9, 4), (7, 8)])
@pytest.mark.parametrize(("size", "stride"), [(4, 2), (3, 2), (2, 2), ((3, 4), (3, 1))])
def test_ceil_pooling_equals_torch(torch, shape, size, stride):
    x = normal(2, *shape, 3) - 5  # zeros around would show
    theirs = torch.nn.MaxPool2d(size, stride, ceil_mode=True)(first(torch, x))
    np.testing.assert_array_equal(CeilMaxPooling2D(size, strides=stride)(x), last(theirs))


def test_table_equals_torch(torch):
    """One convolution for each output map, of the maps it sees."""
    table = [[2, 0], [1], [0, 1, 2, 3], [3, 1, 2]]
    x = normal(2, 9, 8, 5)
    ours = TableConv2D(table, (5, 3))
    ours(x)
    fill(ours)
    kernel, start, maps = np.array(ours.kernel), 0, []
    for row, bias in zip(table, np.array(ours.bias), strict=True):
        part = kernel[..., start : start + len(row)].transpose(2, 0, 1)[None]
        start += len(row)
        inputs = first(torch, x)[:, row]
        conv = torch.nn.functional.conv2d(inputs, torch.from_numpy(np.ascontiguousarray(part)))
        maps.append(conv.numpy() + bias)
    near(ours(x), np.moveaxis(np.concatenate(maps, axis=1), 1, -1))


def test_subsampling_and_squashing_by_hand():
    x = normal(2, 7, 6, 3)
    layer = Subsampling2D(2)
    near(layer(x), keras.layers.AveragePooling2D(2)(x))
    fill(layer)
    sums = x[:, :6].reshape(2, 3, 2, 3, 2, 3).sum((2, 4))
    near(layer(x), sums * np.array(layer.coefficient) + np.array(layer.bias))
    near(ScaledTanh()(x), 1.7159 * np.tanh(2 * x / 3))


@pytest.mark.parametrize("size", [3, 5, (7, 3)])
def test_subtractive_normalisation_equals_scipy(size):
    x = normal(2, 9, 8, 4)
    height, width = (size, size) if isinstance(size, int) else size
    down = np.exp(-np.square(np.arange(height) - height // 2) / height)
    across = np.exp(-np.square(np.arange(width) - width // 2) / width)
    bell = np.outer(down, across)[None, :, :, None] / (down.sum() * across.sum())
    means = scipy.ndimage.correlate(x.mean(-1, keepdims=True), bell, mode="constant")
    near(SubtractiveNormalization2D(size)(x), x - means)


def test_rbf_by_hand():
    layer, x = RBFOutput(6), normal(4, 9)
    outputs = layer(x)
    near(outputs, [[-np.square(row - code).sum() for code in layer._codes] for row in x])


@pytest.mark.parametrize("j", [0.5, 10.0, 40.0])
def test_rbf_and_cross_entropy_make_equation_9(j):
    layer, x = RBFOutput(6, rubbish=j), normal(4, 9)
    outputs = layer(x, training=True)
    labels = np.array([0, 3, 5, 2])
    loss = keras.losses.sparse_categorical_crossentropy(labels, outputs, from_logits=True)
    penalties = -np.asarray(outputs, "float64")
    competitors = np.log(np.exp(-j) + np.exp(-penalties).sum(1))
    near(np.mean(loss) + sum(layer.losses), np.mean(penalties[range(4), labels] + competitors))
    layer(x)
    assert not layer.losses


def test_drop_connect_at_inference_equals_torch(torch):
    x = normal(4, 9)
    layer = DropConnect(5, activation="relu")
    layer(x)
    fill(layer)
    dense = torch.nn.functional.linear(
        torch.from_numpy(x),
        torch.from_numpy(np.array(layer.kernel).T),
        torch.from_numpy(np.array(layer.bias)),
    )
    near(layer(x), torch.relu(dense).numpy())
