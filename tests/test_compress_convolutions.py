"""Convolutions as smaller ones: closed forms, and the layers against the products of the parts."""

import keras
import numpy as np
import pytest
from keras import layers

import compress
from compress.passes.low_rank import convolutions, vbmf

RANDOM = np.random.RandomState(3)


def low_rank_kernel(form):
    """A kernel that the form holds exactly, with its ranks."""
    if form == "tucker":
        core, inward, outward = RANDOM.randn(3, 3, 2, 4), RANDOM.randn(6, 2), RANDOM.randn(9, 4)
        return np.einsum("hwab,na,mb->hwnm", core, inward, outward).astype("float32"), (2, 4)
    if form == "cp":
        factors = [RANDOM.randn(size, 2) for size in (3, 3, 6, 9)]
        return np.einsum("hr,wr,nr,mr->hwnm", *factors).astype("float32"), (2,)
    down, across = RANDOM.randn(3, 6, 3), RANDOM.randn(3, 3, 9)
    return np.einsum("hnr,wrm->hwnm", down, across).astype("float32"), (3,)


@pytest.mark.parametrize("form", convolutions.FORMS)
def test_a_kernel_of_low_rank_comes_back(form):
    kernel, ranks = low_rank_kernel(form)
    found = convolutions.parts(form, kernel, ranks)
    scale = np.abs(kernel).max()
    np.testing.assert_allclose(convolutions.product(form, found), kernel, atol=2e-3 * scale)
    size = sum(part.kernel.size for part in found)
    assert size == convolutions.num_weights(form, kernel.shape, ranks)


@pytest.mark.parametrize("form", convolutions.FORMS)
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("strides", [1, 2])
def test_the_layers_convolve_with_the_product(form, padding, strides):
    options = {"strides": strides, "padding": padding, "activation": "relu", "name": "conv"}
    model = keras.Sequential([keras.Input((11, 12, 6)), layers.Conv2D(9, 3, **options)])
    conv = model.layers[0]
    conv.bias.assign(RANDOM.randn(9))
    item = compress.LowRank(ratio=0.5, convolutions=form)
    small, report = item.apply(model)
    assert report.layers[0].changed and report.layers[0].note.startswith(f"{form}, rank ")
    assert report.after.parameters <= 0.5 * (conv.count_params() - 9) + 9
    assert report.after.macs < report.before.macs
    assert [layer.name for layer in small.layers][-1] == "conv"
    ranks = [int(r) for r in report.layers[0].note.split(":")[0].split("rank ")[1].split(" x ")]
    kernel = np.asarray(conv.kernel.value)
    product = convolutions.product(form, convolutions.parts(form, kernel, ranks))
    exact = keras.models.clone_model(model)
    exact.set_weights([product, conv.bias.value])
    x = RANDOM.randn(2, 11, 12, 6).astype("float32")
    np.testing.assert_allclose(small(x), exact(x), atol=2e-4)


@pytest.mark.parametrize("form", convolutions.FORMS)
@pytest.mark.parametrize("strides", [1, 2])
def test_a_kernel_of_one_place_becomes_two_by_its_singular_values(form, strides):
    options = {"strides": strides, "padding": "same", "name": "point"}
    model = keras.Sequential([keras.Input((7, 8, 12)), layers.Conv2D(9, 1, **options)])
    point = model.layers[0]
    point.bias.assign(RANDOM.randn(9))
    small, report = compress.LowRank(rank=3, convolutions=form).apply(model)
    assert report.layers[0].note.startswith("spatial, rank 3: 63 weights for 108")
    assert report.after.macs == 63 * (56 if strides == 1 else 16)
    u, s, vt = np.linalg.svd(np.asarray(point.kernel.value)[0, 0])
    closest = (u[:, :3] * s[:3]) @ vt[:3]
    x = RANDOM.randn(2, 7, 8, 12).astype("float32")
    expected = x[:, ::strides, ::strides] @ closest + np.asarray(point.bias.value)
    np.testing.assert_allclose(small(x), expected, atol=1e-5)


def test_spatial_is_the_closest_of_its_rank():
    kernel = RANDOM.randn(3, 3, 5, 7).astype("float32")
    found = convolutions.parts("spatial", kernel, [4])
    (matrix,) = convolutions.unfoldings("spatial", kernel)
    singular = np.linalg.svd(matrix, compute_uv=False)
    error = np.linalg.norm(convolutions.product("spatial", found) - kernel)
    assert error == pytest.approx(np.sqrt(np.sum(singular[4:] ** 2)), rel=1e-4)


def test_tucker_by_hand():
    """Kim et al., section 3.1: S T + D D R3 R4 + ... for 256 -> 512 channels at ranks 64 and 96."""
    assert convolutions.num_weights("tucker", (3, 3, 256, 512), (64, 96)) == (
        256 * 64 + 9 * 64 * 96 + 96 * 512
    )
    for ratio in (0.1, 0.33, 0.9):
        for form in convolutions.FORMS:
            ranks = convolutions.ranks_of_ratio(form, (3, 3, 256, 512), ratio)
            size = convolutions.num_weights(form, (3, 3, 256, 512), ranks)
            assert 0.97 * ratio < size / (9 * 256 * 512) <= ratio


def test_which_convolutions_stay():
    image = keras.Input((8, 8, 4), name="image")
    x = layers.Conv2D(8, 3, groups=4, name="groups")(image)
    x = layers.Conv2D(8, 2, dilation_rate=2, name="dilated")(x)
    x = layers.DepthwiseConv2D(2, name="depthwise")(x)
    x = layers.Conv2D(8, 2, padding="same", name="plain")(x)
    model = keras.Model(image, x)
    item = compress.LowRank(rank=1, convolutions="tucker")
    small, report = item.apply(model)
    assert {row.path: row.note for row in report.layers if not row.changed} == {
        "groups": "its channels are in groups",
        "dilated": "it is dilated",
        "depthwise": "depthwise: its few weights are all that each channel has",
    }
    assert [layer.name for layer in small.layers][-3:] == ["plain_a", "plain_b", "plain"]
    report = item.apply(small).report
    assert not any(row.changed for row in report.layers)
    assert report.layers[-1].note == "is a factor already"


@pytest.mark.parametrize("rank", [3, 10, 40])
@pytest.mark.parametrize("shape", [(100, 400), (300, 120), (150, 150)])
def test_vbmf_finds_the_rank_below_the_noise(rank, shape):
    random = np.random.RandomState(rank)
    signal = random.randn(shape[0], rank) @ random.randn(rank, shape[1])
    assert vbmf.rank(signal + random.randn(*shape)) == rank
    assert vbmf.rank(random.randn(*shape)) <= 2


def test_vbmf_chooses_ranks_in_a_pass():
    kernel = np.einsum(
        "na,hwab,mb->hwnm", *(RANDOM.randn(*s) for s in [(64, 5), (3, 3, 5, 8), (96, 8)])
    )
    model = keras.Sequential([keras.Input((8, 8, 64)), layers.Conv2D(96, 3, name="conv")])
    model.layers[0].kernel.assign(kernel + 0.5 * RANDOM.randn(*kernel.shape))
    report = compress.LowRank(vbmf=True, convolutions="tucker").apply(model).report
    assert report.layers[0].note.startswith("tucker, rank 5 x 8: ")
