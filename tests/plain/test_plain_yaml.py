"""YAML without surprises, and settings of the kind they look like."""

import math

import pytest
import yaml

import compress
from zoo.common import plain_yaml
from zoo.common.kinds import check_kind
from zoo.recipe import Recipe, changed_further, resolve

# What YAML 1.1 makes of these texts is another thing than what they look like.
TEXTS = (
    *("yes", "no", "on", "off", "y", "N", "Yes", "OFF", "1:30", "190:20:30", "010", "0o10", "0x10"),
    *("0b1", "1_000", "2020-01-01", "2020-01-01 10:00:00", "<<", "=", "1e", "e3", "--1", "+", "-"),
    *(".", "-.", "9" * 19, "tRue", "nULL", "1.2.3", "1e3.5", "0 1"),
)
VALUES = {
    "true": True, "False": False, "1": 1, "-7": -7, "+3": 3, "0": 0, "1e-3": 1e-3, "1E3": 1000.0,
    "1.": 1.0, ".5": 0.5, "-.5e1": -5.0, "3.25": 3.25, "": None, "~": None, "null": None,
    ".inf": math.inf, "-.inf": -math.inf, "[1, no]": [1, "no"], "{a: 1e-4}": {"a": 1e-4},
    "'1'": "1", '"true"': "true", "a: 1\nb: [2]": {"a": 1, "b": [2]},
}  # fmt: skip


@pytest.mark.parametrize("text", [t for t in TEXTS if t not in ("-", "=")])
def test_what_is_no_number_is_text(text):
    assert plain_yaml.parse(text, "x") == text


@pytest.mark.parametrize("text", VALUES)
def test_what_looks_like_a_value_is_one(text):
    found = plain_yaml.parse(text, "x")
    assert found == VALUES[text] and type(found) is type(VALUES[text])


BAD = {
    "[": "not YAML",
    "[" * 5000: "nested too deeply",
    "&a [*a]": "holds itself",
    "a: 1\na: 2": "twice",
    "1: 2": "no text",
    "!!python/object:os.system x": "could not determine a constructor",
    "\x00": "not YAML",
    "a: &a [1,2,3,4,5,6,7,8,9,9]\n"
    + "".join(
        f"{k}: &{k} [{','.join(['*' + j] * 10)}]\n" for j, k in zip("abcde", "bcdef", strict=True)
    ):
        "more than 100,000 values",
}  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_what_is_refused_is_refused_in_a_line(text):
    with pytest.raises(ValueError, match=r"^x: not YAML") as caught:
        plain_yaml.parse(text, "x")
    assert BAD[text] in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [*TEXTS, "true", "1e-3", "null", "", "a: b", 1, 1e-5, True, None])
def test_what_is_written_reads_the_same_here_and_by_yaml_1_1(value):
    text = plain_yaml.dump({"a": value})
    assert plain_yaml.parse(text, "x") == yaml.safe_load(text) == {"a": value}


def test_files(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"a: \xe9")
    with pytest.raises(ValueError, match=r"x\.yaml: not a recipe"):
        plain_yaml.read(path, "a recipe")
    with pytest.raises(FileNotFoundError, match="is a directory; expected a recipe"):
        plain_yaml.read(tmp_path, "a recipe")
    path.write_bytes("\ufeffa: é".encode())
    assert plain_yaml.read(path, "a recipe") == {"a": "é"}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("train.optimizer.learning_rate=yes", "got 'yes'; expected a number"),
        ("train.optimizer.learning_rate=true", "got True; expected a number"),
        ("train.optimizer.learning_rate=.nan", "got nan; expected a finite number"),
        ("train.optimizer.learning_rate=.inf", "got inf; expected a finite number"),
        ("train.optimizer.learning_rate=1e400", "got inf; expected a finite number"),
        ("train.optimizer.learning_rate='0.1'", "got '0.1'; expected a number"),
        ("train.epochs=yes", "got 'yes'; expected a number"),
        ("train.epochs=true", "got True; expected a number"),
        ("train.epochs=010", "got '010'; expected a number"),
        ("train.epochs=1_0", "got '1_0'; expected a number"),
        ("train.epochs=99999999999", "expected less than 2147483648"),
        ("train.epochs=" + "9" * 5000, "expected a number"),
        ("seed=1:30", "got '1:30'; expected a number"),
        ("train.optimizer.nesterov=1", "got 1; expected true or false"),
        ("train.optimizer.nesterov=on", "got 'on'; expected true or false"),
        ("data.stream=1", "expected true or false or a text"),
        ("train.optimizer.milestones=[0.5, yes]", "got [0.5, 'yes']; expected a number"),
        ("data.channels=true", "got True; expected a number"),
        ("model=1", "got 1; expected a text"),
        ("task.loss={kind: huber, delta: .nan}", "expected a number"),
        ("task.kind=[]", "expected a task"),
        ("hardware.devices=100000", "expected less than or equal to 256"),
    ],
)
def test_a_setting_takes_what_it_looks_like(change, told):
    with pytest.raises(ValueError, match="recipe") as caught:
        resolve("mlp", changes=[change])
    assert told in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_numbers_are_read_as_they_are_meant():
    recipe = resolve("mlp", changes=["train.optimizer.learning_rate=1e-3", "train.epochs=1e1"])
    assert recipe.train.optimizer.learning_rate == 1e-3 and recipe.train.epochs == 10


def test_kinds_within_kinds():
    check_kind(dict[str, float] | None, {"a": 1})
    check_kind(tuple[int, ...], [1, 2])
    check_kind("str", 1)  # a name that is not looked up says nothing
    for annotation, value in (
        (dict[str, float], {"a": True}),
        (tuple[float, str], (True, "x")),
        (list[bool], [0]),
        (float | None, "1"),
    ):
        with pytest.raises(ValueError, match=r"^(a number|true or false)$"):
            check_kind(annotation, value)


@pytest.mark.parametrize("value", ["yes", True, "0.5"])
def test_passes_too(value):
    with pytest.raises(ValueError, match=r"Prune\.sparsity: got .*expected a number"):
        compress.Prune(sparsity=value)


@pytest.mark.parametrize(
    "change",
    [
        "model=vgg16", "settings.nope=1", "settings={}", "task.kind=regress",
        "environment.copies=3", "train.epochs=3", "train.transfer.unfreeze=0.5",
        "train.keep=best", "nope=1", "=1",
        "train.optimizer.ema=0.9", "train={epochs: 3}", "train.optimizer={kind: sgd}",
        "train.phases=[]",
    ],
)  # fmt: skip
def test_what_a_compression_does_not_look_at_cannot_be_changed(change):
    recipe = resolve("mlp")
    with pytest.raises(ValueError, match="does not apply to a trained model"):
        changed_further(recipe, [change])


def test_what_it_looks_at_can():
    changes = ["data.limit=9", "train.batch_size=8", "train.optimizer.kind=sgd", "seed=3"]
    recipe: Recipe = changed_further(resolve("mlp"), changes)
    assert (recipe.data.limit, recipe.train.batch_size, recipe.seed) == (9, 8, 3)
