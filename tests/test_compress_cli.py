"""`zoo compress` end to end: what it prints and writes, a budget's search, mistakes, a kill."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from compress import Runtime
from zoo.bundle import Bundle

ROOT = Path(__file__).parents[1]
PACKED = """
passes:
  - {kind: prune, sparsity: 0.8, scope: model, epochs: 1}
  - {kind: share_weights, bits: 4, epochs: 0}
  - {kind: huffman}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """Writes a recipe; gives its path."""
    folder = tmp_path_factory.mktemp("recipes")

    def write(name, content):
        path = folder / f"{name}.yaml"
        path.write_text(content)
        return path

    return write


def test_report_is_measured_on_the_files(bundle, recipe, zoo, tmp_path):
    from zoo.cli.tables import summary
    from zoo.models.saved import load_model

    out = tmp_path / "small"
    report = zoo("compress", bundle.path, recipe("packed", PACKED), "--out", out, "--json")
    before, after = (report["compress"]["passes"][side] for side in ("before", "after"))
    assert after["size"]["packed_bytes"] == (out / "model.packed").stat().st_size
    assert after["size"]["raw_bytes"] == pytest.approx(
        (out / "model.keras").stat().st_size, rel=0.01
    )
    # The file that `zoo export` writes.
    (exported,) = zoo("export", out, "tflite", "--out", tmp_path / "exported", "--json")
    told = exported["size_bytes"] - after["runtimes"]["tflite"]["size_bytes"]
    assert 0 < told < 1000  # its name, labels and normalisation
    assert 0 < after["runtimes"]["tflite"]["seconds"] == after["latency_seconds"] < 1
    assert before["metrics"] == pytest.approx(bundle.report.validation)
    assert after["metrics"] == pytest.approx(report["validation"])
    # What it says of the layers, counted on the saved model.
    model = load_model(out)
    kernel = np.asarray(model.get_layer(after["layers"][0]["path"]).kernel)
    assert after["layers"][0]["distinct"] == np.unique(kernel).size <= 17
    zeros = sum(int(np.sum(np.asarray(weight) == 0)) for weight in model.weights)
    assert after["total"]["sparsity"] == pytest.approx(zeros / model.count_params())
    # Zeros and sharing leave a .tflite file as it is, and the report says so.
    lines = report["compress"]["passes"]["idle"]
    assert re.fullmatch(
        r"prune, \d\d% zeros: tflite stays [\d,]{7} bytes, \d\.\d\dx as fast", lines[0]
    )
    assert [line.split(":")[0] for line in lines[1:]] == ["share_weights", "huffman"]
    shown = summary(Bundle(out))
    assert all(line in shown for line in lines)
    assert re.search(r"^tflite, time +[\d.]+ ms +[\d.]+ ms$", shown, re.MULTILINE)
    assert re.search(r"^test top1 +0\.\d+ +0\.\d+$", shown, re.MULTILINE)


@pytest.fixture
def quick(monkeypatch):
    """Times nothing: a conversion is a process of its own, and takes seconds."""
    from zoo.stages import compress

    def measure(*models, **_):
        return [{"none": Runtime(1, 1, 1e-9 * model.count_params())} for model in models]

    monkeypatch.setattr(compress, "time_models", measure)


SEARCHED = """
passes: [{{kind: prune, sparsity: 0.9, epochs: 0}}, {{kind: huffman}}]
budget: {{max_drop: {drop}, search: 4{more}}}
"""


def test_budget_is_searched_and_drawn(quick, bundle, recipe, zoo, tmp_path):
    out = tmp_path / "small"
    path = recipe("searched", SEARCHED.format(drop=0.03, more=""))
    shown = zoo("compress", bundle.path, path, "--out", out)
    found = Bundle(out).report.compress.passes
    trials = found["search"]["trials"]
    best = trials[found["search"]["best"]]
    assert len(trials) == 4 and best["kept"] and found["passed"]
    assert best["least_bytes"] == (out / "model.packed").stat().st_size
    assert best["least_bytes"] == min(each["least_bytes"] for each in trials if each["kept"])
    assert all(each["latency_seconds"] > 0 for each in trials)
    # The card tells the settings that were found, not those that the recipe began with.
    sparsity = best["strengths"]["0.prune.sparsity"]
    assert (
        Bundle(out).card.passes[0]["sparsity"]
        == sparsity
        == found["passes"][0]["settings"]["sparsity"]
    )
    assert (out / "pareto.png").read_bytes().startswith(b"\x89PNG")
    assert re.search(rf"^{found['search']['best'] + 1}\* +{sparsity:g} ", shown, re.MULTILINE)


def test_budget_that_cannot_be_met_exits_with_1_and_keeps_the_best(
    quick, bundle, recipe, zoo, tmp_path
):
    out = tmp_path / "small"
    path = recipe("tight", SEARCHED.format(drop=0.03, more=", max_bytes: 2000"))
    shown = zoo("compress", bundle.path, path, "--out", out, expect=1)
    size = (out / "model.packed").stat().st_size
    line = f"over budget: bytes of the packed file {size:,}, {size - 2000:,} too many"
    assert line in shown and Bundle(out).report.compress.passes["passed"] is False


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        ("passes: [{kind: prune, sparsity: 90}]", "got 90; expected a fraction in [0, 1). For 90"),
        ("passes: [{kind: share_weights, bits: 0}]", "passes.0.bits: got 0; expected greater than"),
        (
            "passes: [{kind: prune, sparsity: 0.5, layers: [flatten*]}]",
            "only layers without weights",
        ),
        (
            "passes: [{kind: prune, sparsity: 0.5}]\nbudget: {metric: top9}",
            "Budget.metric: got 'top9', but `evaluate` returns",
        ),
        (
            "passes: [{kind: huffman}]\nbudget: {max_drop: null, max_macs: 9, search: 3}",
            "expected max_drop, which a search goes up to",
        ),
    ],
)
def test_mistakes_get_a_line(bundle, recipe, zoo, tmp_path, content, hint):
    out = tmp_path / "small"
    shown = zoo("compress", bundle.path, recipe("wrong", content), "--out", out, expect=2)
    told = [line for line in shown.splitlines() if line.startswith("zoo compress:")]
    assert len(told) == 1 and hint in told[0] and "Traceback" not in shown
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_are_named(bundle, zoo, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(bundle.path, broken)
    model = keras.saving.load_model(broken / "model.keras")
    layer = next(layer for layer in model.layers if layer.weights)
    layer.bias.assign(np.full(layer.bias.shape, np.nan))
    model.save(broken / "model.keras")
    shown = zoo("compress", broken, "prune50", "--out", tmp_path / "small", expect=2)
    assert f"{layer.name}/bias: holds values that are not finite" in shown
    assert not (tmp_path / "small").exists()


def content_of(path):
    return {each.name: each.read_bytes() for each in path.iterdir()}


def test_a_kill_while_it_writes_leaves_the_old_bundle(quick, bundle, recipe, zoo, tmp_path):
    out = tmp_path / "small"
    path = recipe("quick", "passes: [{kind: prune, sparsity: 0.6, epochs: 0}]")
    shutil.copytree(bundle.path, out)
    before = content_of(out)
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; from zoo.cli import main; sys.exit(main(sys.argv[1:]))",
         "compress", str(bundle.path), str(path), "--out", str(out), "--force"],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None and not list(tmp_path.glob(".small.*/new/model.keras")):
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert content_of(out) == before
    # What is left of the new one lies hidden beside it, and no part of it is a bundle.
    (left,) = tmp_path.glob(".small.*/new")
    with pytest.raises(FileNotFoundError, match="not a bundle"):
        Bundle(left)
    assert Bundle(out).sha256 == bundle.sha256
    zoo("compress", bundle.path, path, "--out", out, "--force")
    assert Bundle(out).card.passes[0]["sparsity"] == 0.6
    assert [each.name for each in tmp_path.iterdir()] == ["small"]  # swept
