"""`zoo export` and `zoo bench` as a user types them: options, files of others, what is refused."""

import json
import re
import resource
import shutil
import signal
import zipfile

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers
from PIL import Image

import export
from export import benchmark
from zoo import results
from zoo.models.saved import load_model

RANDOM = np.random.RandomState(2)


@pytest.fixture(scope="module")
def anybodys(tmp_path_factory):
    """A `.keras` file that no bundle knows, and examples for it."""
    folder = tmp_path_factory.mktemp("anybody")
    x = keras.Input((6,), name="facts")
    y = layers.Dense(16, activation="relu", name="fc")(x)
    keras.Model(x, layers.Dense(3, name="scores")(y), name="theirs").save(folder / "theirs.keras")
    np.save(folder / "facts.npy", RANDOM.randn(64, 6))
    np.savez(folder / "facts.npz", facts=RANDOM.randn(64, 6))
    return folder


def test_a_bundle_is_scored_on_its_labels(bundle, zoo, tmp_path):
    (done,) = zoo("export", bundle.path, "tflite-int8", "--out", tmp_path, "--json")
    assert done["score"]["examples"] > 200
    assert done["score"]["model"]["top1"] > 0.8
    assert abs(done["score"]["file"]["top1"] - done["score"]["model"]["top1"]) <= 0.02
    found = zoo("evaluate", bundle.path, "--file", done["path"], "--json")["metrics"]
    if done["score"]["examples"] < 1000:  # then it is the whole test split
        assert found["top1"] == pytest.approx(done["score"]["file"]["top1"])


def test_pixels_go_in_as_they_are(bundle, zoo, tmp_path):
    done = zoo("export", bundle.path, "tflite", "onnx", "--pixels", "--out", tmp_path, "--json")
    plain = zoo("export", bundle.path, "tflite", "--out", tmp_path / "plain", "--json")
    for one in done:
        assert [spec["dtype"] for spec in one["signature"]["inputs"]] == ["uint8"]
        assert one["score"]["file"]["top1"] == plain[0]["score"]["file"]["top1"]
        assert one["preprocessing"]["scale"] == 1


def test_integers_tell_their_distance_from_the_float_model(bundle, zoo, tmp_path):
    shown = zoo("export", bundle.path, "tflite-int8", "--out", tmp_path)
    told = re.search(
        r"^tflite-int8: Distance from the float model \(the model given\) on 128 examples: .*"
        r", ([\d.]+) dB over the noise, cosine 0\.9\d+, same top-1 [01]\.\d+\.$",
        shown,
        re.MULTILINE,
    )
    assert told and float(told[1]) > 20


def test_a_compressed_bundle_tells_its_distance_from_the_one_it_was_made_from(
    bundle, zoo, tmp_path
):
    small = bundle.path.with_name("rounded")
    shutil.copytree(bundle.path, small)
    try:
        model = load_model(bundle.path)
        for weight in model.weights:
            weight.assign(np.round(np.asarray(weight) * 16) / 16)
        model.save(small / "model.keras")
        card = json.loads((small / "card.json").read_text())
        (small / "card.json").write_text(json.dumps({**card, "parent": bundle.sha256}))
        report = json.loads((small / "report.json").read_text())
        made = {"passes": {}, "recipe": "round", "parent_name": bundle.path.name}
        (small / "report.json").write_text(json.dumps({**report, "compress": made}))

        for more in ((), ("--pixels",)):
            out = tmp_path / f"beside{len(more)}"
            (done,) = zoo("export", small, "onnx", *more, "--out", out, "--json")
            assert done["distance"]["of"] == model.name
            assert done["distance"]["relative"] > 100 * done["parity"]["relative"]
            assert 10 < done["distance"]["sqnr_db"] < 60
        moved = small.rename(tmp_path / "alone")
        (alone,) = zoo("export", moved, "onnx", "--out", tmp_path / "file", "--json")
        assert alone["distance"] is None
    finally:
        shutil.rmtree(small, ignore_errors=True)


def test_pixels_that_do_not_answer_as_inputs_are_refused(bundle, zoo, tmp_path, monkeypatch):
    def doubled(model, known):
        pixels = keras.Input(known.shape, dtype="uint8", name="pixels")
        return keras.Model(pixels, model(layers.Rescaling(2.0)(pixels)), name=model.name)

    monkeypatch.setattr("zoo.stages.export.take_pixels", doubled)
    shown = zoo("export", bundle.path, "onnx", "--pixels", "--out", tmp_path / "out", expect=1)
    assert "--pixels: the model in the form that is written does not answer as yours" in shown
    assert not (tmp_path / "out").exists()


def test_a_folder_of_pictures_as_samples(bundle, anybodys, zoo, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(6):
        grey = RANDOM.randint(0, 256, (28, 28)).astype(np.uint8)
        Image.fromarray(grey).save(pictures / f"{number}.png")
    arguments = ("onnx", "--samples", pictures, "--out", tmp_path / "out", "--json")
    (done,) = zoo("export", bundle.path, *arguments)
    assert (done["parity"]["inputs"], done["parity"]["samples"]) == ("given", 6)
    shown = zoo("export", anybodys / "theirs.keras", *arguments[:-1], expect=2)
    assert "expected arrays, as the inputs {'facts': (None, 6)} are not one picture" in shown


def test_options_reach_the_target(bundle, zoo, tmp_path):
    arguments = ("--set", "io=uint8", "--out", tmp_path, "--json")
    (done,) = zoo("export", bundle.path, "tflite-int8", *arguments)
    assert done["options"] == {"io": "uint8"}
    details = Interpreter(str(tmp_path / "lenet5-tflite-int8" / "model.tflite")).get_input_details()
    assert details[0]["dtype"] == np.uint8


@pytest.mark.parametrize("file", ["facts.npy", "facts.npz"])
def test_a_keras_file_of_anybody(anybodys, zoo, tmp_path, file):
    model, samples = anybodys / "theirs.keras", anybodys / file
    targets = ("onnx", "tflite-int8")
    done = zoo("export", model, *targets, "--samples", samples, "--out", tmp_path, "--json")
    assert [one["parity"]["inputs"] for one in done] == ["given", "given"]
    assert all(len(one["source_sha256"]) == 64 and one["score"] is None for one in done)
    (done,) = zoo("export", model, "onnx", "--out", tmp_path / "drawn", "--json")
    assert done["parity"]["inputs"] == "random"


def corrupt(folder):
    whole = (folder / "theirs.keras").read_bytes()
    (folder / "cut.keras").write_bytes(whole[: len(whole) // 2])
    return "cut.keras", "cut.keras: not a .keras file"


def hollow(folder):
    with zipfile.ZipFile(folder / "hollow.keras", "w") as archive:
        archive.writestr("notes.txt", "nothing")
    return "hollow.keras", "hollow.keras: not a whole .keras file"


def with_code(folder):
    x = keras.Input((4,))
    keras.Model(x, layers.Lambda(lambda x: x + 1)(x)).save(folder / "code.keras")
    return "code.keras", "has a Lambda layer, code of its own that would run here. Load it with --"


def with_nan(folder):
    model = keras.saving.load_model(folder / "theirs.keras")
    model.get_layer("fc").bias.assign(np.full(16, np.nan))
    model.save(folder / "nan.keras")
    return "nan.keras", "the weight 'fc/bias' has NaN or infinite values"


@pytest.mark.parametrize("make", [corrupt, hollow, with_code, with_nan])
def test_files_that_are_refused(anybodys, zoo, tmp_path, make):
    name, part = make(anybodys)
    told = zoo("export", anybodys / name, "onnx", "--out", tmp_path / "out", expect=2)
    assert part in told and "Traceback" not in told and told.count("\n") <= 2
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_lambda_layer_loads_when_it_is_trusted(anybodys, zoo, tmp_path):
    name, _ = with_code(anybodys)
    assert zoo("export", anybodys / name, "onnx", "--unsafe", "--out", tmp_path, "--json")


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        (
            ["tflite-int8"],
            1,
            "no examples to calibrate with; pass `samples`, or --samples FILE.npy",
        ),
        (["onnx", "--samples", "wide.npy"], 2, "got shape (64, 7); expected ('n', 6)"),
        (["onnx", "--samples", "gone.npy"], 2, "gone.npy: no such file"),
        (
            ["onnx", "--samples", "theirs.keras"],
            2,
            "its name ends in '.keras'; expected examples as .npy or .npz",
        ),
        (["onnx", "--set", "opset"], 2, "--set: got 'opset'; expected KEY=VALUE"),
        (["onnx", "--set", "opset=22"], 2, "onnx.opset: got 22; expected less than or equal"),
        (
            ["onnx", "tflite", "--set", "opset=17"],
            2,
            "tflite.opset: unknown key. Known: batch, fus",
        ),
        (["onyx"], 2, "unknown target 'onyx'. Did you mean 'onnx'?"),
        (["onnx", "--pixels"], 2, "got --pixels; a .keras file does not say how pixels become"),
    ],
)
def test_what_is_refused(anybodys, zoo, tmp_path, monkeypatch, arguments, status, part):
    np.save(anybodys / "wide.npy", np.zeros((64, 7)))
    monkeypatch.chdir(anybodys)
    told = zoo("export", "theirs.keras", *arguments, "--out", tmp_path / "out", expect=status)
    assert part in told and "Traceback" not in told


def test_a_full_disk_leaves_nothing(anybodys, zoo, tmp_path):
    """The real error of the operating system: a file may not grow beyond some bytes here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        told = zoo("export", anybodys / "theirs.keras", "onnx", "--out", tmp_path / "x", expect=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert "File too large. Nothing is left there; make room" in told and "Traceback" not in told
    assert not list((tmp_path / "x").iterdir())


# --- zoo bench ---


@pytest.fixture(scope="module")
def exported(anybodys, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    model = keras.saving.load_model(anybodys / "theirs.keras")
    samples = np.load(anybodys / "facts.npy")
    for target in ("tflite", "onnx", "openvino"):
        export.export(model, target, folder / target, samples=samples)
    return folder


def test_files_take_turns(exported, zoo, tmp_path, monkeypatch):
    arguments = ("--rounds", 3, "--layers", "--picture", tmp_path / "p.png")
    found = zoo("bench", exported, *arguments, "--json")
    rows = found["files"]
    keys = {(row["target"], row["threads"]) for row in rows}
    assert keys == {(name, n) for name in ("tflite", "onnx", "openvino") for n in (1, 2)}
    for row in rows:
        assert 0 < row["least_seconds"] <= row["p50_seconds"] <= row["p95_seconds"] < 1
        assert row["calls"] >= 30 and not row["error"]
        assert row["peak_bytes"] > row["memory_bytes"] >= 0
    peak = {row["target"]: row["peak_bytes"] for row in rows}
    assert peak["tflite"] < 200e6  # TensorFlow is not in it
    assert [row["p50_seconds"] for row in rows] == sorted(row["p50_seconds"] for row in rows)
    assert sorted(found["layers"]) == ["onnx", "openvino"]
    assert all(one["seconds"] > 0 for one in found["layers"]["onnx"])
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"
    assert "p.png: exists; choose another name" in zoo("bench", exported, *arguments, expect=2)
    assert "fastest on this machine: " in zoo("bench", exported / "tflite", "--rounds", 1)
    (tmp_path / "times.json").write_text(json.dumps(found))
    monkeypatch.setattr(results, "HERE", tmp_path)
    for _ in range(2):  # the second time in place of the first
        assert results.record(tmp_path / "times.json") == "bench"
    assert len(results.read_rows("bench")) == 6
    (line,) = (one for one in results.tables().splitlines() if f"`{exported.name}/tflite`" in one)
    medians = {(row["target"], row["threads"]): 1e3 * row["p50_seconds"] for row in rows}
    assert f"| {medians['tflite', 1]:.3g} | {medians['tflite', 2]:.3g} |" in line


def test_a_file_that_changed_is_not_timed(exported, zoo, tmp_path):
    with pytest.raises(FileNotFoundError, match="no deployable in it"):
        benchmark.find_deployables(tmp_path)
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("manifest.json", "model.onnx"):
        (copy / name).write_bytes((exported / "onnx" / name).read_bytes())
    (copy / "model.onnx").write_bytes(b"something else")
    told = zoo("bench", copy, expect=2)
    assert "not complete yet, or changed after the export" in told


def test_a_file_that_does_not_load_is_told_and_the_others_run(exported, zoo, tmp_path):
    manifest = json.loads((exported / "onnx" / "manifest.json").read_text())
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "model.onnx").write_bytes(b"no model")
    manifest["sha256"] = export.manifest.digest(broken / "model.onnx")
    (broken / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "tflite").symlink_to(exported / "tflite")
    rows = zoo("bench", tmp_path, "--threads", 1, "--rounds", 1, "--json")["files"]
    assert [row["target"] for row in rows] == ["tflite", "onnx"]
    assert rows[1]["error"] and rows[1]["p50_seconds"] is None
