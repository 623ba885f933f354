"""A run goes on with what it began with, or says in a line what is another now."""

import json
import os
import signal

import keras
import numpy as np
import pytest
from PIL import Image

from zoo.common.digests import sha256
from zoo.data.loading import load
from zoo.recipe import Recipe, changed
from zoo.stages import own
from zoo.stages.compress import compress
from zoo.training import loop
from zoo.training.fitting import fit
from zoo.training.unfinished import data_digest

CHANGES = ["settings.units=[8]", "train.epochs=3", "hardware.precision=float32"]
RECIPE = "passes: [{kind: prune, sparsity: 0.8, epochs: 2}]"


class Stop(keras.callbacks.Callback):
    """Ctrl-C in the first epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if batch == 1:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(loop, "SNAPSHOT_SECONDS", 0.0)


def draw(root, seed):
    """Pictures of two classes, of names and sizes that do not tell one seed from another."""
    random = np.random.RandomState(seed)
    for label in ("bright", "dark"):
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(12):
            pixels = random.randint(0, 255, (8, 8), np.uint8)
            Image.fromarray(pixels).save(root / label / f"{number}.bmp")


@pytest.fixture
def pictures(tmp_path):
    draw(tmp_path / "pics", 0)
    return f"folder:{tmp_path / 'pics'}"


@pytest.fixture
def stopped(tmp_path, pictures):
    """A training on pictures that was stopped; what it came to is at `out`."""
    out = tmp_path / "out"
    changes = [*CHANGES, "data.size=8", "train.batch_size=4"]
    bundle = fit("mlp", data=pictures, out=out, changes=changes, callbacks=[Stop()])
    assert bundle.report.status == "interrupted"
    return out


def refused(what, got, expected, call):
    with pytest.raises(ValueError, match="--resume: got") as caught:
        call()
    line = str(caught.value)
    assert f"got {what} {got}" in line and f"; expected {expected}" in line, line
    assert "\n" not in line and "start anew with --force." in line
    return line


def test_a_training_goes_on_with_what_it_began_with(stopped, tmp_path, caplog):
    partial = tmp_path / "out.partial"
    again = {"out": stopped, "resume": True}
    refused("recipe.model", "'linear'", "'mlp'", lambda: fit("linear", **again))
    other = changed(Recipe.read(partial / "recipe.yaml"), ["train.batch_size=7"])
    refused("recipe.train.batch_size", 7, 4, lambda: fit(other, **again))

    mine = tmp_path / "mine.yaml"
    mine.write_text(other.to_yaml())
    refused("recipe.train.batch_size", 7, 4, lambda: fit(str(mine), **again))

    text = (partial / "recipe.yaml").read_text()
    (partial / "recipe.yaml").write_text(other.to_yaml())
    refused("recipe.train.batch_size", 7, 4, lambda: fit("mlp", **again))
    (partial / "recipe.yaml").write_text(text)

    mixed = ["hardware.precision=mixed_bfloat16"]
    line = refused(
        "machine.precision", "'mixed_bfloat16'", "'float32'",
        lambda: fit("mlp", changes=mixed, **again),
    )  # fmt: skip
    assert "Write hardware.precision=float32" in line
    with pytest.raises(ValueError, match=r"got recipe\.\w+.*Repeat its arguments, or none of them"):
        fit("mlp", changes=["seed=2"], **again)

    draw(tmp_path / "pics", 1)
    with pytest.raises(ValueError, match=r"got data '.*Bring its examples back as they were"):
        fit("mlp", **again)
    draw(tmp_path / "pics", 0)

    begun = json.loads((partial / "train.json").read_text())
    begun["made on"]["processor"] = "another"
    (partial / "train.json").write_text(json.dumps(begun))
    with caplog.at_level("WARNING", "zoo"):
        assert fit("mlp", **again).report.status == "complete"
    assert "began with made on.processor another, and goes on with" in caplog.text
    assert not partial.exists()


def test_to_resume_is_not_to_force(stopped, tmp_path):
    """What the run has left, or began over, is replaced; anything else is not."""
    partial, again = tmp_path / "out.partial", {"out": stopped, "resume": True}
    report = stopped / "report.json"
    text = report.read_text()
    report.write_text(text.replace('"interrupted"', '"complete"'))
    with pytest.raises(FileExistsError, match=r"was not there when .* began; --force too"):
        fit("mlp", **again)
    assert '"complete"' in report.read_text()
    begun = json.loads((partial / "train.json").read_text())
    assert begun["replaces"] is None
    # As if it had begun over this one, with --force.
    begun["replaces"] = sha256(report)
    (partial / "train.json").write_text(json.dumps(begun))
    assert fit("mlp", **again).report.epochs == 3


def test_a_folder_of_a_user_s_is_no_unfinished_run(tmp_path):
    mine = tmp_path / "out.partial" / "notes"
    mine.mkdir(parents=True)
    for force in (False, True):
        with pytest.raises(FileExistsError, match="is no unfinished run; move it away"):
            fit("mlp", data="digits", out=tmp_path / "out", changes=CHANGES, force=force)
    assert mine.is_dir() and not (tmp_path / "out").exists()


def test_a_compression_goes_on_with_what_it_began_with(tmp_path):
    changes = [*CHANGES[:2], "data.limit=300", "train.epochs=1", "train.batch_size=50"]
    parent = fit("mlp", data="digits", out=tmp_path / "parent", changes=changes)
    recipe, out = tmp_path / "few.yaml", tmp_path / "small"
    recipe.write_text(RECIPE)
    single = ["hardware.precision=float32"]

    def again(changes=single):
        return compress(parent.path, recipe, out=out, changes=changes, resume=True)

    with pytest.raises(KeyboardInterrupt):
        compress(parent, recipe, out=out, changes=single, callbacks=[Stop()])

    settings = parent.path / "recipe.yaml"
    text = settings.read_text()
    settings.write_text(text.replace("batch_size: 50", "batch_size: 64"))
    refused("recipe.train.batch_size", 64, 50, again)
    settings.write_text(text)

    recipe.write_text(RECIPE.replace("0.8", "0.5"))
    line = refused("pipeline.passes.0.sparsity", 0.5, 0.8, again)
    assert "Bring the passes back" in line
    recipe.write_text(RECIPE)

    mixed = ["hardware.precision=mixed_bfloat16"]
    refused("machine.precision", "'mixed_bfloat16'", "'float32'", lambda: again(mixed))

    weights = parent.model_file.read_bytes()
    model = keras.saving.load_model(parent.model_file)
    model.layers[-1].bias.assign_add([1.0] * 10)
    model.save(parent.model_file)
    assert "Bring the model back" in refused("parent.0", "'", "'", again)
    parent.model_file.write_bytes(weights)

    out.mkdir()
    (out / "card.json").write_text("{}")
    with pytest.raises(FileExistsError, match="--force too replaces it"):
        again()


def test_a_model_of_other_layers_and_the_same_weights_is_another():
    def net(activation, name):
        keras.utils.set_random_seed(0)
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation, name=name)])

    assert own.digest(net("relu", "a")) == own.digest(net("relu", "b"))
    assert own.digest(net("relu", "a")) != own.digest(net("tanh", "a"))


def test_other_pictures_of_the_same_names_are_other_data(tmp_path, pictures):
    found = set()
    for seed in (0, 1, 0):
        draw(tmp_path / "pics", seed)
        data = [load(pictures, size=8, stream=stream) for stream in (True, False)]
        assert data[0].digest == data[1].digest
        found |= {(seed, data_digest(one)) for one in data}
    assert len(found) == 4
