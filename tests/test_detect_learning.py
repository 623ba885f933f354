"""Detectors answer for a picture alike, whatever stands beside it in a batch."""

import keras
import numpy as np
import pytest

from tests import scenes as kit
from zoo.data.loading import load
from zoo.models.build import create

NAMES = ("faster_rcnn_small", "mask_rcnn_small")


@pytest.fixture(scope="module", autouse=True)
def _few(tmp_path_factory):
    yield from kit.few(tmp_path_factory)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_answered_alike_in_every_batch(name):
    keras.utils.set_random_seed(1)
    net = create(name, width=8, units=16)
    images = load("digit_scenes").test["image"][:8].astype(np.float32) / 255
    whole = net(images)
    for index in range(8):
        alone = net(images[index : index + 1])
        for key, values in whole.items():
            np.testing.assert_allclose(values[index], alone[key][0], atol=1e-4, err_msg=key)
