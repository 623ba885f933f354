"""KerasHub's models go in, come out smaller, save and load: see `keras_hub_models.py`."""

import pytest

from tests.oracles.keras_hub_models import MODELS, PASSES, built, tried

pytest.importorskip("keras_hub")
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("step", [one for one in PASSES if one != "prune_channels"])
def test_a_model_comes_out_smaller_and_loads(name, step):
    assert "not smaller" not in tried(built(name), step, [])


@pytest.mark.parametrize("name", ["resnet", "mobilenet", "efficientnet"])
def test_channels_go(name):
    assert "not smaller" not in tried(built(name), "prune_channels", [])


@pytest.mark.parametrize("name", ["bert", "gemma", "vit", "resnet"])
def test_files_are_proved(name):
    assert "tflite-dynamic" in tried(built(name), "int8-weights", ["tflite-dynamic"])
