"""Names of several origins: what is read, what counts and networks make of them, what is kept."""

import math
import re
import sys

import keras
import numpy as np
import pytest

import export
import zoo as package
from tests.toy import check_resumed, printed
from zoo.baselines.ngram_bayes import ngram_bayes
from zoo.data.dataset import Split
from zoo.data.loading import load
from zoo.data.sets import names
from zoo.data.texts import text
from zoo.models import create
from zoo.models.saved import load_model
from zoo.training.fitting import fit
from zoo.training.run import Run

SMALL = [
    "settings={units: [16], embedding: 8, dropout: 0.0}",
    "train.epochs=4",
    "train.batch_size=32",
    "train.optimizer.learning_rate=0.02",
    "hardware.strategy=one",
]


def made(count, seed=0):
    """Names of two classes that their ends tell apart."""
    random = np.random.RandomState(seed)
    lines = {}
    while len(lines) < count:
        middle = "".join(random.choice(list("abdeginor"), random.randint(2, 7)))
        kind = len(lines) % 2
        lines[f"{middle}{('sson', 'elli')[kind]}"] = ("North", "South")[kind]
    return list(lines.items())


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("names") / "names.tsv"
    path.write_text("".join(f"{one}\t{kind}\n" for one, kind in made(400)), encoding="utf-8")
    return f"named:{path}"


@pytest.fixture(scope="module")
def bundle(file, tmp_path_factory):
    return fit("name_lstm", data=file, changes=SMALL, out=tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def faker(tmp_path, monkeypatch):
    """A package of names that lies where Python looks for it, and must not be run."""
    for origin, places in names.ORIGINS.items():
        for locale, attribute in places:
            module = tmp_path / "faker" / names.FILE.format(locale)
            module.parent.mkdir(parents=True, exist_ok=True)
            own = [f"Ó {origin}{letter * 2}" for letter in "abcdefghij"]
            # One differs from another in accents and case alone.
            values = f"({', '.join(map(repr, [*own, 'Same', f'ó́ {origin}AA']))},)"
            if origin == "English":  # told with how often each is borne
                values = f"OrderedDict(({', '.join(f'({one!r}, 0.5)' for one in [*own, 'Same'])},))"
            before = module.read_text(encoding="utf-8") if module.exists() else "import nowhere\n"
            module.write_text(f"{before}class P{attribute}:\n    {attribute} = {values}\n",
                              encoding="utf-8")  # fmt: skip
    (tmp_path / "faker" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "faker", raising=False)
    return tmp_path / "faker"


# -- data -----------------------------------------------------------------------------------------


def test_names_are_read_and_not_run_and_shared_ones_are_left_out(faker):
    data = load("names")
    assert data.labels == tuple(names.ORIGINS) and len(data.labels) == 12
    assert [len(part) for part in (data.train, data.validation, data.test)] == [102, 6, 12]
    known = data.columns["tokens"].names
    assert known[0] == "" and " " in known and "Ó" in known
    rows = np.concatenate([part["tokens"] for part in (data.train, data.validation, data.test)])
    told = {"".join(known[token] for token in row) for row in rows}
    assert len(told) == 120 and "Ó Irishaa" in told and "Same" not in told
    again = load("names")
    np.testing.assert_array_equal(data.test["tokens"], again.test["tokens"])
    assert re.search(r"sha256 [0-9a-f]{16}: 120 texts of 12 classes", data.source)
    lines = text.whole("name_lines").splitlines()
    assert len(lines) == len(set(lines)) == 120 and "Irish: Ó Irishaa" in lines


def test_a_package_without_its_list_or_not_there(faker, monkeypatch):
    module = faker / names.FILE.format("hr_HR")
    module.write_text("class Provider:\n    other = ('Horvat',)\n")
    with pytest.raises(ValueError, match=r"^names: .* has no list last_names; expected that of"):
        load("names")
    monkeypatch.setattr("zoo.data.sets.carried.find_spec", lambda name: None)
    for name in ("names", "name_lines"):
        with pytest.raises(ModuleNotFoundError, match="carries the data; run: pip install faker"):
            load(name)


def test_a_file_of_ones_own(file, tmp_path):
    data = load(file)
    assert data.labels == ("North", "South") and len(data.test) == 40
    parts = [{row.tobytes() for row in part["tokens"]}
             for part in (data.train, data.validation, data.test)]  # fmt: skip
    assert len(set.union(*parts)) == sum(map(len, parts)) == 400
    path = tmp_path / "bad.tsv"
    for told, lines in (
        ("line 2: got 1 of them; expected 2 cells with a tab between: what is read, and its class",
         "a\tb\nonly\n"),
        ("got 25 different texts of 1 classes; expected at least 20 of 2",
         "".join(f"name{n}\tone\n" for n in range(25))),
        ("got 2 different texts of 20 classes; expected at least 20 of 2",
         "".join(f"{n % 2}\tclass{n}\n" for n in range(20))),
        ("line 1: has bytes of zero; expected text in UTF-8", "a\0\tb\0\n" * 30),
    ):  # fmt: skip
        path.write_text(lines)
        with pytest.raises(ValueError, match=re.escape(told)):
            load(f"named:{path}")
    with pytest.raises(FileNotFoundError, match="no such file"):
        load(f"named:{tmp_path / 'none.tsv'}")


# -- counts ---------------------------------------------------------------------------------------


def test_naive_bayes_is_that_of_a_loop():
    """Witten & Bell's shares, one letter at a time, from lists of all histories."""
    words = [([1, 2], 0), ([1, 1, 2], 0), ([2, 2], 0), ([2, 1], 1), ([2, 1, 1], 1)]
    tokens = np.zeros((5, 3), np.int32)
    for row, (word, _) in enumerate(words):
        tokens[row, : len(word)] = word
    split = Split({"tokens": tokens, "label": np.array([kind for _, kind in words], np.int32)})
    fitted = ngram_bayes(split, split, 2, vocabulary=4)
    order = fitted.settings["order"]

    def grams(length, kind):
        for word, own in words:
            framed = [0] * (order - 1) + word + [0]
            for end in range(order - 1, len(framed)):
                if own == kind:
                    yield tuple(framed[end - length + 1 : end + 1])

    def share(history, token, kind):
        below = share(history[1:], token, kind) if history else 1 / 4
        found = [gram[-1] for gram in grams(len(history) + 1, kind) if gram[:-1] == history]
        if not found:
            return below
        kinds = len(set(found))
        return (found.count(token) + kinds * below) / (len(found) + kinds)

    scores = fitted.score(np.array([[2, 1, 0], [1, 2, 3]]))
    for row, word in enumerate(([2, 1], [1, 2, 3])):
        framed = [0] * (order - 1) + word + [0]
        for kind, prior in ((0, 3 / 5), (1, 2 / 5)):
            expected = math.log(prior)
            for end in range(order - 1, len(framed)):
                history = tuple(framed[end - order + 1 : end])
                expected += math.log(share(history, framed[end], kind))
            assert scores[row, kind] == pytest.approx(expected, abs=1e-9)


def test_naive_bayes_learns_ends_and_is_written(file, tmp_path, zoo):
    out = tmp_path / "bayes"
    record = package.baseline("ngram_bayes", data=file, out=out)
    assert record.report.metrics["top1"] > 0.9 and record.card.inputs["tokens"].names[0] == ""
    assert "is not short texts with classes" in zoo(
        "baseline", "ngram_bayes", "--data", "digits", expect=2
    )


# -- networks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"embedding": 5, "both_ways": True},
                                      {"recurrent": "peephole", "embedding": 3}])  # fmt: skip
def test_padding_is_not_read(settings):
    """A batch of one is a batch of many with padding."""
    keras.utils.set_random_seed(0)
    usual = {"recurrent": "elman", "embedding": None, "both_ways": False, "dropout": 0.0}
    known = {"units": (6, 5), "vocabulary": 9, "num_classes": 3, **usual, **settings}
    net = create("name_lstm", input_shape=(8,), **known)
    tokens = np.zeros((3, 8), np.int32)
    for row, length in enumerate((3, 8, 5)):
        tokens[row, :length] = np.random.RandomState(row).randint(1, 9, length)
    together = np.asarray(net(tokens))
    assert np.abs(together[0] - together[1]).max() > 1e-3
    for row, length in enumerate((3, 8, 5)):
        alone = create("name_lstm", input_shape=(length,), **known)
        alone.set_weights(net.get_weights())
        found = alone(tokens[row : row + 1, :length])
        np.testing.assert_allclose(found, together[row : row + 1], atol=1e-6)


def test_a_network_learns_and_is_asked(bundle, zoo):
    assert bundle.report.metrics["top1"] > 0.9
    rows = package.predict(bundle, texts=["anderisson", "bodelli"], top=2)
    assert [row["text"] for row in rows] == ["anderisson"] * 2 + ["bodelli"] * 2
    assert [row["label"] for row in rows[::2]] == ["North", "South"]
    assert rows[0]["probability"] + rows[1]["probability"] == pytest.approx(1)
    assert "South" in zoo("predict", bundle.path, "--text", "bodelli", "--top", "1")
    line = zoo("predict", bundle.path, "--text", "Zorro", expect=2)
    assert "got 'Z', 'r' in 'Zorro'" in line or "got 'Z'" in line
    assert "which has no beam" in zoo(
        "predict", bundle.path, "--text", "bodelli", "--beam", "3", expect=2
    )


@pytest.mark.slow
@pytest.mark.parametrize("target", ["tflite", "onnx", "tflite-int8"])
def test_what_is_deployed_goes_through_the_gate(target, bundle, tmp_path):
    run = Run(bundle.recipe, networks={"net": load_model(bundle.path)})
    samples = run.samples(64)
    done = export.export(load_model(bundle.path), target, tmp_path / "x", samples=samples)
    assert done.manifest.parity.passed


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["int8", "prune50"])
def test_a_compressed_network_reads_on(recipe, bundle, tmp_path):
    made = package.compress(bundle, recipe, out=tmp_path / "x")
    assert made.report.metrics["top1"] > 0.85


@pytest.mark.slow
def test_a_resumed_run_equals_a_whole_one(file, tmp_path):
    changes = [*SMALL, "train.epochs=3", "train.batch_size=16", "train.keep=last"]
    whole = fit("name_elman", data=file, out=tmp_path / "a", changes=changes)
    check_resumed(whole, tmp_path / "b", changes=changes, stop_at=30, data=file)


TWO_DEVICES = """
    import json, sys
    from tests import two

    changes = ["settings={units: [6], embedding: 4, dropout: 0.0}", "train.epochs=2",
               "train.batch_size=32", "train.keep=last",
               "train.optimizer={kind: sgd, learning_rate: 0.5, clip_global_norm: 0.1}"]
    print(json.dumps(two.of_recipe("name_lstm", changes, data=sys.argv[1])))
"""


@pytest.mark.dist
@pytest.mark.slow
def test_two_devices_take_the_steps_of_one(file):
    weights, history, moved = printed(TWO_DEVICES, file)
    assert moved > 0.01 and weights < 1e-6 and history < 1e-5
