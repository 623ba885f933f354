"""Every command of README and docs/ is run, in order, on LeNet-5 and small data.

Each page runs in a directory of its own, which begins with a trained bundle, a picture of a digit,
folders of pictures and a text. A comment directly above a block changes how it is run:

    <!-- test: PART; PART -->

    file NAME            the block is the text of this file
    add VERB ARGUMENTS   more arguments of the `zoo` commands of one verb, in place of `MORE`'s
    swap OLD=NEW         other words in the commands
    expect CODE ...      exit codes that are right, 0 otherwise
    served DIRECTORY     a server answers the `curl` commands meanwhile
    needs shipped        only parsed as long as no trained model is in the package
    skip REASON          only parsed

What is not run is parsed: the arguments of `zoo` by its own parser, changes of a recipe by
`zoo.recipe`, the targets of `make` by the Makefile.
"""

import contextlib
import importlib.util
import io
import itertools
import re
import shlex
import shutil
import urllib.request
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from compress import pass_names, recipe_names
from export import target_names
from tests import annotated
from zoo import recipe as recipes
from zoo.catalog import TASKS
from zoo.cli import VERBS, _parser, main
from zoo.common.home import shipped
from zoo.data.loading import load

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# In the place of what takes minutes; `--data digits` below.
SMALL = {"vgg16": "lenet5", "resnet18": "lenet5", "mnist5k": "digits", "fashion_mnist": "digits"}
MORE = {  # arguments that make a verb quick, and let it write again
    "train": "--smoke --force",
    "compress": "--force --set data.limit=200",
    "export": "--force",
    "bench": "--rounds 1 --threads 1",
    "check": "--data digits --quick",
    "find-lr": "--data digits --steps 20 --force",
    "tune": "--data digits --trials 2 --set data.limit=100 --set train.epochs=1 --force",
    "baseline": "--data digits --force",
    "ensemble": "--force",
    "generate": "--force",
    "play": "--episodes 2",
}
CODES = {"check": (0, 1), "find-lr": (0, 1)}  # a training this short may be refused
BLOCK = re.compile(r"^(?:<!-- test: (.*?) -->\n)?```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KINDS = ("file", "add", "swap", "expect", "served", "needs", "skip")
PART = re.compile(rf";\s*(?=(?:{'|'.join(KINDS)})\b)")  # a reason may have semicolons

NAMED = re.compile(r"`((?:zoo|compress|export|serving|tests)/[a-z0-9_/.]+)`")


class Block(NamedTuple):
    language: str
    text: str
    parts: dict[str, list[str]]

    @property
    def runs(self):
        return "skip" not in self.parts and not ("needs" in self.parts and not shipped())

    def commands(self):
        """The commands, each as its words."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]

    def verbs(self):
        return {words[1] for words in self.commands() if words[0] == "zoo"}


def blocks(page):
    for comment, language, text in BLOCK.findall(page.read_text()):
        parts = {}
        for part in filter(None, PART.split(comment or "")):
            kind, *rest = part.strip().split(None, 1)
            assert kind in KINDS, part
            parts.setdefault(kind, []).append(rest[0] if rest else "")
        yield Block(language, text, parts)


def test_every_comment_stands_above_a_block():
    for page in PAGES:
        told = page.read_text().count("<!-- test:")
        assert told == sum(bool(block.parts) for block in blocks(page)), page.name


def test_every_block_has_a_language():
    for page in PAGES:
        assert {block.language for block in blocks(page)} <= {"sh", "python", "yaml"}, page.name


def test_commands_parse():
    for page in PAGES:
        for block in blocks(page):
            if block.language == "sh" and "file" not in block.parts:
                for words in block.commands():
                    parse(words[: words.index(">")] if ">" in words else words)


def test_every_verb_and_every_name_is_explained():
    texts = {page.name: page.read_text() for page in PAGES}
    every = [block for page in PAGES for block in blocks(page)]
    shells = [block for block in every if block.language == "sh" and "file" not in block.parts]
    assert set().union(*(block.verbs() for block in shells)) == set(VERBS)
    for name, page in [
        *((name, "export.md") for name in target_names()),
        *((name, "compress.md") for name in (*recipe_names(), *pass_names())),
        *((name, "tasks.md") for name in TASKS),
    ]:
        assert f"`{name}`" in texts[page], f"{page} does not name {name}"
    for page in PAGES:
        for link in re.findall(r"\]\(((?!http)[^)#]+)\)", texts[page.name]):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_file_that_is_named_is_there():
    """`zoo/models/lenet.py`, not one with a placeholder, in README, docs and CONTRIBUTING."""
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for name in NAMED.findall(page.read_text()):
            assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_readme_is_short():
    """What is written by hand: its generated tables grow with the zoo."""
    readme = (ROOT / "README.md").read_text()
    by_hand = re.sub(r"<!-- (\w+): written.*?<!-- end of \1 -->", "", readme, flags=re.DOTALL)
    assert len(by_hand.splitlines()) <= 115


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A directory as a user has it who followed README: a bundle, some pictures and a text."""
    from zoo.training.fitting import fit

    place = tmp_path_factory.mktemp("docs")
    changes = ["data.limit=600", "train.epochs=10"]
    fit("lenet5", data="digits", out=place / "runs" / "lenet5", changes=changes)
    (place / "notes.txt").write_text((ROOT / "CONTRIBUTING.md").read_text())
    pairs = [f"{n}\t{' '.join(str(n))}\n" for n in range(100, 160)]
    (place / "pairs.tsv").write_text("".join(pairs))
    digits = load("digits").test
    Image.fromarray(digits["image"][0, ..., 0]).save(place / "digit.png")
    for number in range(12):
        folder = place / "pets" / ("cats" if number % 2 else "dogs")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digits["image"][number, ..., 0]).save(folder / f"{number}.png")
    random, names = np.random.RandomState(0), ("cat", "dog")
    seen = np.zeros((64, 64), bool)
    seen[10:30, 20:45] = True
    examples = [
        (random.randint(0, 256, (64, 64, 3)).astype(np.uint8), seen.astype(np.uint8) * (n % 2 + 1),
         [(names[n % 2], [10, 20, 30, 45], seen)])
        for n in range(10)
    ]  # fmt: skip
    annotated.coco(place / "things", examples, names)
    annotated.masks(place / "cells", examples, names)
    return place


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page(page, trained, tmp_path, monkeypatch, capsys):
    place = shutil.copytree(trained, tmp_path / "place")
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setattr("zoo.catalog.TASKS", dict(TASKS))
    names = {"__name__": "__main__"}
    for block in blocks(page):
        text = block.text
        for old, new in SMALL.items():
            text = text.replace(old, new)
        block = block._replace(text=text)
        if "file" in block.parts:
            Path(block.parts["file"][0]).write_text(block.text)
        elif not block.runs:
            continue
        elif block.language == "python":
            with contextlib.redirect_stdout(io.StringIO()):
                exec(compile(block.text, f"{page.name}, a block", "exec"), names)
        elif block.language == "sh":
            with served(block.parts.get("served")) as address:
                for words in block.commands():
                    run(words, block.parts, address, capsys)


def run(words, parts, address, capsys):
    for swap in parts.get("swap", ()):
        old, new = swap.split("=")
        words = [word.replace(old, new) for word in words]
    if words[0] == "curl":
        curl(words[1:], address)
    if words[0] != "zoo" or words[1] == "serve":
        return
    verb = words[1]
    added = [add.split(None, 1)[1] for add in parts.get("add", ()) if add.split()[0] == verb]
    more = " ".join(added) if added else MORE.get(verb, "")
    if added and "--dry-run" not in more and "--force" in MORE.get(verb, ""):
        more += " --force"
    if verb == "train" and {"--dry-run", "--smoke"} & set(words):
        more = more.replace("--smoke", "").replace("--force", "")
    codes = tuple(map(int, parts["expect"][0].split())) if "expect" in parts else CODES.get(verb)
    capsys.readouterr()
    status = main([*words[1:], *shlex.split(more)])
    out, err = capsys.readouterr()
    assert status in (codes or (0,)), f"{' '.join(words)} {more}: exit {status}\n{out}\n{err}"
    assert out, f"{' '.join(words)}: said nothing"


def parse(words):
    """Refuses a command that could not run; a model, a data set and changes must be known."""
    if words[0] == "make":
        targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert words[1] in targets, words
    elif words[0] == "zoo":
        arguments = _parser().parse_args(words[1:])  # exits with 2 where a word is wrong
        if words[1] in ("train", "check", "find-lr", "tune"):
            # A recipe of one's own is what an earlier command of the page wrote.
            model = SMALL["vgg16"] if arguments.model.endswith(".yaml") else arguments.model
            recipes.resolve(model, data=arguments.data, changes=arguments.changes)
    elif words[:2] == ["python", "-m"]:
        assert importlib.util.find_spec(words[2]), words
    else:
        assert words[0] == "curl", f"{words}: no rule for this command"


@contextlib.contextmanager
def served(directories):
    """Serves a directory on a free port; gives its address."""
    if not directories:
        yield ""
        return
    import serving

    with serving.Server(directories[0].replace("vgg16", "lenet5"), port=0) as server:
        yield server.url.partition("/v1/")[0]


def curl(words, address):
    given = dict(itertools.pairwise(words))  # what follows an option
    data = given.get("-d", given.get("--data-binary"))
    body = None if data is None else Path(data[1:]).read_bytes()
    headers = dict([given["-H"].split(": ")]) if "-H" in given else {}
    url = re.sub(r"^http://127\.0\.0\.1:8501", address, words[-1])
    assert url.startswith(address), words
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=60) as answer:
        assert answer.status == 200


def test_the_picture_is_small_and_is_what_the_command_draws(tmp_path):
    from zoo import results
    from zoo.results import picture

    kept = ROOT / "docs" / "size-accuracy-time.png"
    assert kept.stat().st_size < 100_000
    picture.draw(results.read_rows, tmp_path / "drawn.png")
    files = kept, tmp_path / "drawn.png"
    both = [np.asarray(Image.open(path).convert("L"), float) for path in files]
    assert both[0].shape == both[1].shape, "run `python -m zoo.results --picture`"
    assert np.abs(both[0] - both[1]).mean() < 2, "run `python -m zoo.results --picture`"
