"""KerasHub's models go in, come out smaller, save and load: see `keras_hub_models.py`."""

import pytest

from tests.oracles.keras_hub_models import built, tried

pytest.importorskip("keras_hub")
pytestmark = pytest.mark.slow
CASES = [
    *((name, "int8-weights") for name in ("vit", "resnet", "mobilenet", "efficientnet")),
    *((name, step) for name in ("bert", "gemma") for step in ("int8-weights", "low_rank", "prune")),
]


@pytest.mark.parametrize(("name", "step"), CASES)
def test_a_model_comes_out_smaller_and_loads(name, step):
    assert "not smaller" not in tried(built(name), step, [])
