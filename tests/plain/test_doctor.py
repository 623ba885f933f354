"""`zoo doctor` finds what is wrong: real packages, programs and settings that are broken here."""

import compileall
import json
import sys

import pytest

from zoo.cli import main
from zoo.stages import doctor


@pytest.fixture
def found(capsys, monkeypatch):
    """The findings by name, and the exit code."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)

    def run(*arguments):
        status = main(["doctor", "--json", *arguments])
        findings = json.loads(capsys.readouterr().out)["findings"]
        assert status == any(one["verdict"] == "FAIL" for one in findings)
        return {one["name"]: one for one in findings}

    return run


def test_what_is_here(found, capsys):
    here = found("--quick")
    assert here["packages"]["verdict"] == here["processor"]["verdict"] == "ok"
    assert here["packages"]["values"]["keras"] in here["packages"]["measured"]
    assert here["memory"]["values"]["total_bytes"] > here["memory"]["values"]["free_bytes"] > 0
    assert here["gpu"]["values"]["wanted"]["cuda_version"].startswith("12.")
    assert "tensorflow" not in here and "backend" not in here
    main(["doctor", "--quick"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(here) and all(
        name in text for name, text in zip(here, lines, strict=True)
    )


def test_a_package_that_is_missing_or_too_old(found, tmp_path, monkeypatch):
    place = tmp_path / "keras_model_zoo-9.0.dist-info"
    place.mkdir()
    (place / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: keras-model-zoo\nVersion: 9.0\nProvides-Extra: rl\n"
        "Requires-Dist: nowhere-to-be-found>=1\nRequires-Dist: numpy>=99\n"
        "Requires-Dist: keras>=3\nRequires-Dist: nobody-has-it; extra == 'rl'\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    here = found("--quick")
    assert here["packages"]["verdict"] == "FAIL"
    assert "'nowhere-to-be-found>=1' 'numpy>=99'" in here["packages"]["remedy"]
    assert "keras>=3" not in here["packages"]["remedy"]
    assert here["[rl]"]["verdict"] == "ok" and "without nobody-has-it" in here["[rl]"]["measured"]
    assert "keras-model-zoo[rl]" in here["[rl]"]["remedy"]


def test_settings_that_break_or_slow_down(found, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert found("--quick")["backend"]["verdict"] == "FAIL"
    monkeypatch.delenv("KERAS_BACKEND")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert found("--quick")["oneDNN"]["verdict"] == "warn"


def test_bytecode(found, tmp_path, monkeypatch):
    package = tmp_path / "slow_to_start"
    package.mkdir()
    for name in ("__init__", "one", "two"):
        (package / f"{name}.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(doctor, "HEAVY", ("slow_to_start",))
    here = found("--quick")["bytecode"]
    assert here["verdict"] == "warn"
    assert here["remedy"] == f"{sys.executable} -m compileall -q -j 0 {package}"
    compileall.compile_dir(package, quiet=2)
    assert found("--quick")["bytecode"]["verdict"] == "ok"


def test_a_gpu_without_its_libraries(found, tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA Thing, 81559 MiB, 570.1, 9.0'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    here = found("--quick")["gpu"]
    assert here["values"]["gpus"] == ["NVIDIA Thing, 81559 MiB, 570.1, 9.0"]
    if not here["values"]["found"]["nvidia-cudnn-cu12"]:
        assert here["verdict"] == "warn" and "keras-model-zoo[cuda]" in here["remedy"]


def test_a_tensorflow_that_does_not_start(found, tmp_path, monkeypatch):
    (tmp_path / "keras.py").write_text("raise ImportError('libsomething.so.1: not found')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    here = found()["tensorflow"]
    assert here["verdict"] == "FAIL" and "libsomething.so.1: not found" in here["measured"]
    assert "pip install --force-reinstall tensorflow==" in here["remedy"]


@pytest.mark.slow
def test_the_tensorflow_that_is_here(found):
    here = found()["tensorflow"]
    assert here["verdict"] != "FAIL" and "CPU" in here["values"]["devices"]
