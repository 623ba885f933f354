"""The command line: its reports, and what it says to a user's mistakes; see also test_docs."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo.data.loading import load

ROOT = Path(__file__).parents[1]


def test_the_server_starts_answers_and_stops(bundle, zoo, tmp_path):
    zoo("export", bundle.path, "tflite", "--out", tmp_path)
    assert serve(tmp_path / "lenet5-tflite") == "lenet5"


def serve(directory):
    """Starts the real server as a user does, asks it one thing, and stops it."""
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; from zoo.cli import main; sys.exit(main())",
         "serve", directory, "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        line = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert address, line + process.stdout.read()
        manifest = json.loads((Path(directory) / "manifest.json").read_text())
        name, shape = manifest["name"], manifest["signature"]["inputs"][0]["shape"][1:]
        body = json.dumps({"instances": np.zeros([2, *shape]).tolist()}).encode()
        url = f"{address[0]}/v1/models/{name}:predict"
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=30) as answer:
            assert np.shape(json.load(answer)["predictions"]) == (2, 10)
    finally:
        process.terminate()
    assert process.wait(timeout=20) == 0
    return name


def test_reports_as_json(bundle, zoo, tmp_path):
    rows = zoo("list", "--json")
    assert {row["name"]: row["parameters"] for row in rows}["vgg16"] == 138_357_544
    layers = zoo("show", "lenet5", "--layers", "--json")["layers"]
    assert sum(layer["parameters"] for layer in layers) == 61_706
    # LeNet-5's multiply-accumulates, by hand: 5x5 kernels over 28x28 and 10x10 maps, then three
    # products.
    macs = 28 * 28 * 25 * 6 + 10 * 10 * 25 * 6 * 16 + 400 * 120 + 120 * 84 + 84 * 10
    assert sum(layer["macs"] for layer in layers) == macs
    table = zoo("show", "mlp", "--layers", "--input", "30", "--classes", "2", "--json")["layers"]
    assert sum(layer["macs"] for layer in table) == 30 * 512 + 512 * 512 + 512 * 2
    assert "32x32x1, or 30" in zoo("show", "mlp", "--layers", "--input", "30x2", expect=2)
    found = zoo("evaluate", bundle.path, "--json")
    assert found["metrics"] == pytest.approx(bundle.report.metrics)
    assert zoo("train", "vgg16", "--dry-run", "--json")["model"] == "vgg16"
    picture = tmp_path / "picture.png"
    Image.fromarray(load("digits").test["image"][0, ..., 0]).save(picture)
    best = zoo("predict", bundle.path, picture, "--json")
    assert len(best) == 3 and best[0]["probability"] >= best[1]["probability"]


def test_results_are_those_of_the_bundle(bundle, tmp_path, monkeypatch):
    from zoo import results

    monkeypatch.setattr(results, "HERE", tmp_path)
    assert results.record(bundle.path) == results.record(bundle.path) == "train"
    (row,) = results.read_rows("train")
    assert float(row["top1"]) == pytest.approx(bundle.report.metrics["top1"], abs=1e-4)
    shown = (
        f"| `lenet5` | digits | 1,257 | 360 | {100 * float(row['top1']):.2f} % | MNIST 99.05 % |"
    )
    assert shown not in results.tables()  # there is no papers.csv here
    (tmp_path / "papers.csv").write_text("name,published\nlenet5,MNIST 99.05 %\n")
    assert shown in results.tables() and "| 61,706 |" in results.tables()
    changed = bundle.report.model_copy(update={"commit": f"{'0' * 40}{results.CHANGED}"})
    monkeypatch.setattr("zoo.bundle.Record.report", changed)
    with pytest.raises(ValueError, match="source tree with changes"):
        results.record(bundle.path)


def test_low_rank_from_the_command_line(bundle, zoo, tmp_path, monkeypatch):
    from zoo import results
    from zoo.bundle import Bundle

    out, recipe = tmp_path / "small", tmp_path / "dense.yaml"
    recipe.write_text("passes: [{kind: low_rank, energy: 0.8, epochs: 4}]")
    change = "train.batch_size=50"
    report = zoo("compress", bundle.path, recipe, "--set", change, "--out", out, "--json")
    assert report["metrics"]["top1"] > 0.85
    assert Bundle(out).recipe.train.batch_size == 50
    monkeypatch.setattr(results, "HERE", tmp_path)
    assert results.record(out) == results.record(out) == "compress"
    (row,) = results.read_rows("compress")
    top1 = bundle.report.metrics["top1"], report["metrics"]["top1"]
    assert float(row["drop"]) == pytest.approx(100 * (top1[0] - top1[1]), abs=0.01)
    assert int(row["bytes_before"]) == 4 * 61_706
    # Floats do not deflate much: the gzipped file is the smallest, by a little.
    assert row["container"] == "gzip" and float(row["speedup"]) > 0
    assert int(row["bytes_after"]) < (out / "model.keras").stat().st_size
    assert row["command"] == f"zoo compress runs/{bundle.path.name} dense --set {change}"
    assert f"| `{bundle.path.name} dense --set {change}` | digits | 0 |" in results.tables()
    assert json.loads((out / "card.json").read_text())["parameters"] < 61_706
    assert len(zoo("export", out, "tflite-int8", "--out", tmp_path / "exported", "--json")) == 1


MISTAKES = {
    "unknown command": (["trian", "vgg16"], "Did you mean 'train'?"),
    "unknown model": (["train", "vgg61"], "Did you mean 'vgg16'?"),
    "unknown model to show": (["show", "lenet"], "Did you mean"),
    "unknown data": (["train", "vgg16", "--data", "mnist5"], "Did you mean 'mnist5k'?"),
    "missing folder": (["train", "vgg16", "--data", "folder:nowhere"], "folder:nowhere"),
    "unknown key": (["train", "vgg16", "--set", "train.epoch=5"], "Did you mean 'epochs'?"),
    "unknown group": (["train", "vgg16", "--set", "trian.epochs=5"], "Did you mean 'train'?"),
    "wrong value": (["train", "vgg16", "--set", "train.epochs=-1"], "got -1; expected greater"),
    "wrong type": (["train", "vgg16", "--set", "train.epochs=many"], "got 'many'; expected"),
    "wrong choice": (
        ["train", "vgg16", "--set", "train.optimizer.kind=adm"],
        "got 'adm'; expected",
    ),
    "no value": (["train", "vgg16", "--set", "train.epochs"], "expected key=value"),
    "nothing to resume": (["train", "vgg16", "--resume"], "no unfinished run"),
    "no bundle": (["evaluate", "nowhere"], "no such directory"),
    "not a bundle": (["evaluate", "."], "not a bundle"),
    "no deployable": (["serve", "nowhere"], "manifest.json"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_line(mistake, tmp_path, monkeypatch, zoo):
    monkeypatch.chdir(tmp_path)
    arguments, hint = MISTAKES[mistake]
    line = zoo(*arguments, expect=2)
    assert hint in line and "Traceback" not in line
    assert len(line.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_mistakes_with_a_bundle(bundle, zoo, tmp_path):
    assert "Did you mean 'prune90'?" in zoo("compress", bundle.path, "prune9", expect=2)
    assert "Did you mean 'tflite'?" in zoo("export", bundle.path, "tflit", expect=2)
    assert "--force" in zoo("compress", bundle.path, "prune90", "--out", bundle.path, expect=2)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not a picture")
    assert str(broken) in zoo("predict", bundle.path, broken, expect=2)
    assert "missing.png" in zoo("predict", bundle.path, "missing.png", expect=2)


def test_ctrl_c_leaves_a_usable_bundle(zoo, tmp_path, monkeypatch):
    from zoo.training.callbacks.progress import ProgressBar

    def interrupt(self, epoch, logs=None):
        if epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)

    out = tmp_path / "runs" / "lenet5"
    with monkeypatch.context() as patch:
        patch.setattr(ProgressBar, "on_epoch_end", interrupt)
        train = ["train", "lenet5", "--data", "digits", "--set", "train.epochs=5", "--out", out]
        told = zoo(*train, expect=130)
        assert f"`zoo train lenet5 --out {out} --resume` continues this run" in told
    report = json.loads((out / "report.json").read_text())
    assert report["status"] == "interrupted" and report["epochs"] == 3
    found = zoo("evaluate", out, "--json")
    assert found["metrics"] == pytest.approx(report["metrics"])
    others = [*train, "--set", "train.epochs=4", "--resume"]
    assert "got recipe.train.epochs 4; expected 5" in zoo(*others, expect=2)
    whole = zoo(*train, "--resume", "--json")  # or without --data and --set
    assert whole["status"] == "complete" and whole["epochs"] == 5
    assert [path.name for path in out.parent.iterdir()] == ["lenet5"]


def test_failed_parity_fails_the_command(bundle, zoo, tmp_path, monkeypatch):
    import export.targets.onnx as target

    write = target.ONNX.write

    def spoiled(self, source, directory):
        for variable in source.net.trainable_variables[-1:]:
            variable.assign(variable + 1.0)
        try:
            return write(self, source, directory)
        finally:
            variable.assign(variable - 1.0)

    monkeypatch.setattr(target.ONNX, "write", spoiled)
    line = zoo("export", bundle.path, "onnx", "--out", tmp_path, expect=1)
    assert "onnx" in line and "rejected" in line and "Traceback" not in line
    assert not (tmp_path / "lenet5-onnx").exists() and (tmp_path / "lenet5-onnx.rejected").is_dir()


def test_noise_is_replayed_when_a_command_fails():
    """A defect keeps its traceback and what the libraries had written; a good run shows neither."""
    code = (
        "import os, sys\nfrom zoo.cli import main, text\n"
        "def fail(*_):\n    os.write(2, b'NOISE\\n')\n    {}['defect']\n"
        "if sys.argv[1] == 'fail': text.table = fail\n"
        "sys.exit(main(['list']))"
    )
    run = [sys.executable, "-c", code]
    good = subprocess.run([*run, "work"], capture_output=True, text=True, cwd=ROOT)
    bad = subprocess.run([*run, "fail"], capture_output=True, text=True, cwd=ROOT)
    assert good.returncode == 0 and good.stderr == ""
    assert bad.returncode == 1 and "NOISE" in bad.stderr and "KeyError: 'defect'" in bad.stderr
