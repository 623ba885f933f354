"""Commands with --force over an old bundle, killed at random moments: the old or the new stands.

What a killed training or compression goes on to is bit for bit what nobody killed. `KILLS` kills
take about half a minute each where two cores are busy: `ZOO_KILLS=20 pytest -m slow` runs fewer.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from export import Manifest
from tests import programs
from zoo.bundle import Bundle
from zoo.models.saved import load_model

ROOT = Path(__file__).parents[1]
KILLS = int(os.environ.get("ZOO_KILLS", "100"))
KINDS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM)
CHILD = """
import sys
from zoo.stages import compress, export
from zoo.training import fitting, loop
loop.SNAPSHOT_SECONDS = 0.02
from zoo.cli import main
print("ready", flush=True)
sys.exit(main(sys.argv[1:]))
"""
TRAIN = ["--data", "digits", "--set", "settings.units=[32]", "--set", "train.epochs=8"]
RECIPE = (
    "passes: [{kind: prune, sparsity: 0.7, epochs: 4}, {kind: share_weights, bits: 4, epochs: 3}]"
)


def content(path):
    return {p.relative_to(path): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def weights(path):
    return [weight.numpy() for weight in load_model(path).weights]


def whole_file(path):
    """The model file of a deployable, which its manifest vouches for."""
    manifest, file = Manifest.of_file(path)
    assert manifest.parity.passed and not manifest.rejected
    return file.read_bytes()


def start(arguments):
    run = [sys.executable, "-c", CHILD, *map(str, arguments)]
    process = subprocess.Popen(
        run, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["train", "compress", "export"])
def test_kills(verb, tmp_path, zoo):
    parent, recipe, out = tmp_path / "parent", tmp_path / "two.yaml", tmp_path / "out"
    recipe.write_text(RECIPE)
    zoo("train", "mlp", *TRAIN[:4], "--smoke", "--out", parent, "--json")
    arguments = {
        "train": ["train", "mlp", *TRAIN, "--out", out],
        "compress": ["compress", parent, recipe, "--set", "data.limit=256", "--out", out],
        "export": ["export", parent, "onnx", "--out", out],
    }[verb]
    place = out / "parent-onnx" if verb == "export" else out
    whole = start([*arguments, "--force"])
    began = time.monotonic()
    assert whole.wait() == 0
    seconds = time.monotonic() - began
    expected = whole_file(place) if verb == "export" else weights(place)
    rng, seen = random.Random(verb), {"old": 0, "new": 0, "resumed": 0}
    for _ in range(-(-KILLS // 3)):
        old = content(place)
        process = start([*arguments, "--force"])
        time.sleep(rng.uniform(0, 1.1 * seconds))
        process.send_signal(rng.choice(KINDS))
        process.wait()
        new = content(place)
        seen["old" if new == old else "new"] += 1
        if verb == "export":
            assert set(new) == set(old)
            assert whole_file(place) == expected
            continue
        if new != old:
            assert Bundle(place).report.status == "complete"  # SIGTERM writes none either
            assert all(map(np.array_equal, weights(place), expected))
        partial = out.with_name("out.partial")
        if (partial / "snapshot.npz").is_file() or (partial / "compress.json").is_file():
            resumed = ["train", "mlp", "--out", out] if verb == "train" else arguments
            zoo(*resumed, "--resume", "--json")
            assert all(map(np.array_equal, weights(place), expected))
            seen["resumed"] += 1
        shutil.rmtree(partial, ignore_errors=True)  # killed before its first snapshot
    zoo(*arguments, "--force", "--json")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"parent", "two.yaml", "out"}
    assert verb == "export" or seen["resumed"] > 0, seen
    print(verb, seen)  # noqa: T201  for who runs it


def test_the_process_that_forks_tells_how_it_ended(monkeypatch):
    """That of `tests.programs`, not that '' is no number."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    dead = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"], **pipes)
    monkeypatch.setattr(programs, "_parents", [dead])
    with pytest.raises(RuntimeError, match="the process that forks ended with 3 "):
        programs.run("print(1)")
    dead.stdout.close()
