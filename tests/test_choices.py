"""XLA is tried before a long training, and what was found is kept; nothing else changes by it."""

import json

import pytest

from tests.toy import difference, interrupt
from zoo.models.saved import load_model
from zoo.training import choices
from zoo.training.fitting import fit

CHANGES = ["settings.units=[16]", "train.epochs=2", "data.limit=256", "train.batch_size=32"]


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """Where choices are kept; every training is worth a try."""
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(choices, "WORTH_STEPS", 0)
    monkeypatch.setattr(choices, "WORTH", 0.0)
    monkeypatch.setattr(choices, "STEPS", 3)
    return tmp_path / "home" / "choices"


@pytest.mark.slow
def test_the_choice_is_tried_once_and_kept(kept, tmp_path, caplog):
    caplog.set_level("INFO", "zoo")
    plain = fit(
        "mlp", data="digits", out=tmp_path / "plain", changes=[*CHANGES, "hardware.jit=false"]
    )
    assert not kept.exists()
    tried = fit("mlp", data="digits", out=tmp_path / "tried", changes=CHANGES)
    (path,) = kept.iterdir()
    found = json.loads(path.read_text())
    assert found["ms"] > 0 and found["xla_ms"] > 0 and f"({path})" in caplog.text
    if not tried.report.hardware["jit"]:  # the try drew no random number, and moved no weight
        assert difference(load_model(plain.path), load_model(tried.path)) == 0.0
    # What is kept decides, and a run goes on as it began, whatever is kept by then.
    path.write_text(json.dumps({"ms": 2.0, "xla_ms": 1.0}))
    whole = fit("mlp", data="digits", out=tmp_path / "whole", changes=CHANGES)
    assert whole.report.hardware["jit"] and "; XLA for" in whole.report.hardware["reason"]
    out = tmp_path / "out"
    assert fit("mlp", data="digits", out=out, changes=CHANGES, callbacks=[interrupt(11)]
               ).report.status == "interrupted"  # fmt: skip
    path.write_text(json.dumps({"ms": 1.0, "xla_ms": 2.0}))
    again = fit("mlp", out=out, resume=True)
    assert again.report.hardware["jit"]
    assert difference(load_model(whole.path), load_model(again.path)) == 0.0
    path.write_text("damaged")
    fit("mlp", data="digits", out=tmp_path / "anew", changes=CHANGES)
    assert json.loads(path.read_text())["ms"] > 0


def test_what_is_not_tried(kept, tmp_path, monkeypatch):
    convolutions = ["train.epochs=1", "data.limit=100"]
    fit("lenet5", data="digits", out=tmp_path / "lenet5", changes=convolutions)
    monkeypatch.setattr(choices, "WORTH", 1e9)  # a training of less than a million tries
    fit("mlp", data="digits", out=tmp_path / "mlp", changes=CHANGES)
    monkeypatch.setattr(choices, "WORTH_STEPS", 17)  # it has 16
    monkeypatch.setattr(choices, "WORTH", 0.0)
    fit("mlp", data="digits", out=tmp_path / "short", changes=CHANGES)
    assert not kept.exists()
