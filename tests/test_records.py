"""Packs: shards of TFRecords that are the data set to the last bit, or a line that says why not.

TensorFlow's own reader and writer of TFRecords are the oracle of the files.
"""

import json
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests import annotated, programs, toy
from zoo.cli import main
from zoo.common import packs
from zoo.craft import folds
from zoo.data import Column, DataSet, Feed, Split, Stream, load, pack
from zoo.data.feeds.on_disk import blocks
from zoo.data.records import columns, writing
from zoo.data.records.crc32c import masked
from zoo.models.saved import load_model
from zoo.recipe import Data, Text, resolve
from zoo.training.fitting import fit
from zoo.training.origins import FromData

ROOT = Path(__file__).parents[1]
SPLITS = packs.SPLITS


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """Two classes of thirty pictures, in several formats and sizes, one of which is broken."""
    root = tmp_path_factory.mktemp("pets")
    annotated.pets(root, 30)
    (root / "dogs" / "cut.png").write_bytes(b"\x89PNG")
    return root


@pytest.fixture(scope="module")
def packed(pets, tmp_path_factory):
    out = tmp_path_factory.mktemp("packs") / "pets"
    pack(f"folder:{pets}", out, shards=4)
    return out


@pytest.fixture
def own(packed, tmp_path):
    """A copy to damage."""
    return Path(shutil.copytree(packed, tmp_path / "own"))


def same(one, other):
    """Whether two data sets have the same examples in the same order."""
    assert dict(one.columns) == dict(other.columns)
    for split in SPLITS:
        first, second = getattr(one, split), getattr(other, split)
        assert list(first) == list(second)
        for name in first:
            values, others = np.asarray(first[name]), np.asarray(second[name])
            assert values.dtype == others.dtype
            np.testing.assert_array_equal(values, others)


# -- what is written ------------------------------------------------------------------------------


@pytest.mark.oracle
def test_tensorflow_reads_what_is_written(pets, packed):
    """In the order of the split; pictures are the bytes of their files."""
    known, data = packs.read(packed), load(f"folder:{pets}", stream=True)
    features = {name: tf.io.FixedLenFeature((), tf.string) for name in ("image", "label")}
    for split in SPLITS:
        examples = getattr(data, split)
        files = [str(packed / shard.file) for shard in known.splits[split].shards]
        assert files == sorted(map(str, packed.glob(f"{split}-*-of-*.tfrecord")))
        read = [
            tf.io.parse_single_example(record, features)
            for record in tf.data.TFRecordDataset(files)
        ]
        assert len(read) == len(examples)
        for example, path, label in zip(
            read, examples["image"].paths, examples["label"], strict=True
        ):
            assert example["image"].numpy() == Path(path).read_bytes()
            assert tf.io.decode_raw(example["label"], tf.int32, little_endian=True) == [label]
    counts = [shard.examples for shard in known.splits["train"].shards]
    assert sum(counts) == len(data.train) == 48 and set(counts) == {12}


@pytest.mark.oracle
def test_frames_are_those_of_tensorflow(tmp_path):
    random = np.random.RandomState(0)
    sizes = [4, 5, 63, 64, 65, 200, 4096, 100_000, 2**23 + 1, 17]
    messages = [random.bytes(size) for size in sizes]
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for message in messages:
            writer.write(message)
    assert writing._framed(messages) == (tmp_path / "theirs").read_bytes()
    crc = int(masked([b"123456789"])[0])  # the check value of RFC 3720's CRC, 0xe3069283, masked
    assert crc == (((0xE3069283 >> 15) | (0xE3069283 << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    assert masked([]).shape == (0,)


def test_a_pack_is_the_same_every_time(pets, packed, tmp_path):
    pack(f"folder:{pets}", tmp_path / "again", shards=4)
    names = sorted(path.name for path in packed.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "again").iterdir())
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (packed / name).read_bytes()


def test_the_manifest_says_what_is_packed(pets, packed):
    known = packs.read(packed)
    assert known.columns["label"].names == ("cats", "dogs")
    assert known.name == f"folder:{pets}" and len(known.problems) == 1
    assert {split: part.examples for split, part in known.splits.items()} == {
        "train": 48, "validation": 6, "test": 6,
    }  # fmt: skip
    assert [len(part.shards) for part in known.splits.values()] == [4, 1, 1]
    assert writing.check(packed) == known


# -- what is read ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("asked", [{}, {"size": 16}, {"size": 40, "channels": 1}], ids=str)
def test_a_packed_folder_is_the_folder(pets, packed, stream, asked):
    """Any size can be asked for, as the pictures are there as they were."""
    folder = load(f"folder:{pets}", stream=stream, **asked)
    data = load(f"records:{packed}", stream=stream, **asked)
    same(data, folder)
    assert isinstance(data.train["image"], columns.Packed) == stream
    assert isinstance(data.train["label"], np.ndarray)
    assert data.problems == folder.problems and data.mirror == folder.mirror
    told = ", read from the disk" if stream else ""
    assert data.source == f"{packed}: 60 examples of folder:{pets} in 6 shards{told}"


def a_detector():
    """A data set of pictures with boxes, whose splits differ in how many there may be."""
    random = np.random.RandomState(0)

    def split(num, most):
        boxes, classes = np.zeros((num, most, 4), np.float32), np.full((num, most), -1, np.int32)
        boxes[:, 0], classes[:, 0] = [1, 2, 5, 7.5], np.arange(num) % 3
        return Split({
            "image": random.randint(0, 256, (num, 8, 8, 3)).astype(np.uint8),
            "boxes": boxes, "classes": classes, "count": np.ones(num, np.int32),
        })  # fmt: skip

    known = {
        "image": Column("image", (8, 8, 3)), "boxes": Column("boxes", (None, 4)),
        "classes": Column("classes", (None,), ("a", "b", "c")), "count": Column("count"),
    }  # fmt: skip
    return DataSet("mine", "boxes", known, split(33, 4), split(3, 2), split(2, 2), motions={})


SOURCES = {
    "digits": lambda _: "digits",
    "a table": lambda _: "diabetes",
    "signals": lambda _: "waveforms",
    "texts": lambda root: Data(name=f"text:{root / 'text'}", size=20),
    "words": lambda root: Data(name=f"text:{root / 'text'}", size=20, text=Text(unit="word")),
    "a stream": lambda root: Data(name=f"text:{root / 'text'}", stream=True),
    "boxes": lambda _: a_detector(),
}


@pytest.mark.parametrize("source", SOURCES)
def test_whatever_a_row_is_made_of(source, tmp_path, monkeypatch):
    (tmp_path / "text").write_text((ROOT / "CONTRIBUTING.md").read_text())
    monkeypatch.setattr(writing, "NARROW_BYTES", 150 * 4)  # some columns are in the index
    given = SOURCES[source](tmp_path)
    asked = given if isinstance(given, Data) else Data(name="digits")
    known = pack(given, tmp_path / "out", shards=3)
    data = given
    if not isinstance(given, DataSet):
        name = given if isinstance(given, str) else given.name
        data = load(name, size=asked.size, stream=asked.stream, text=asked.text)
    if source == "a stream":
        parts = {split: getattr(data, split)[:10_000] for split in SPLITS}
        data = DataSet(data.name, data.source, data.columns, **parts)
    for stream in (True, False):
        back = load(f"records:{tmp_path / 'out'}", size=asked.size, stream=stream, text=asked.text)
        same(back, data)
        assert dict(back.motions) == dict(data.motions)
        kinds = {type(values) for values in back.train.columns.values()}
        assert (columns.Packed in kinds) == stream
    assert writing.check(tmp_path / "out") == known


@pytest.mark.parametrize("layout", [annotated.coco, annotated.masks])
@pytest.mark.parametrize("stream", [True, False])
def test_a_packed_folder_of_things_is_the_folder(layout, stream, tmp_path, monkeypatch):
    """Pictures as files, with boxes and outlines, or masks, at the size of the pack."""
    random, examples = np.random.RandomState(0), []
    for number in range(12):
        seen = np.zeros((20, 24), bool)
        seen[2 : 9 + number % 3, 4:15] = True
        thing = ("ab"[number % 2], [2.0, 4.0, 9.0 + number % 3, 15.0], seen)
        image = random.randint(0, 256, (20, 24, 3)).astype(np.uint8)
        examples.append((image, (1 + number % 2) * seen.astype(np.uint8), [thing]))
    layout(tmp_path / "things", examples, ("a", "b"))
    monkeypatch.setattr(writing, "NARROW_BYTES", 500)  # some columns are in the index
    pack(Data(name=f"folder:{tmp_path / 'things'}", size=32), tmp_path / "out", shards=3)
    data = load(f"records:{tmp_path / 'out'}", size=32, stream=stream)
    same(data, load(f"folder:{tmp_path / 'things'}", size=32))
    assert isinstance(data.train["image"], columns.Packed) == stream
    with pytest.raises(ValueError, match=r"got 16; .* has images of \(32, 32\) pixels only"):
        load(f"records:{tmp_path / 'out'}", size=16)


def test_a_text_is_read_as_it_was_packed(tmp_path):
    (tmp_path / "text").write_text((ROOT / "CONTRIBUTING.md").read_text())
    pack(Data(name=f"text:{tmp_path / 'text'}"), tmp_path / "out")
    name = f"records:{tmp_path / 'out'}"
    assert len(load(name, size=100, text=Text()).train["tokens"][0]) == 101
    with pytest.raises(ValueError, match=r"data\.size: got 50 for .*, which was packed with None"):
        load(name, size=50)
    with pytest.raises(ValueError, match=r"data\.text: got .*'word'.* packed with .*'char"):
        load(name, text=Text(unit="word"))
    pack("digits", tmp_path / "digits")
    with pytest.raises(ValueError, match=r"data\.text: got .*'word'.* packed with"):
        load(f"records:{tmp_path / 'digits'}", text=Text(unit="word"))


def test_a_pack_is_packed_anew_as_it_was(packed, tmp_path):
    pack(f"records:{packed}", tmp_path / "two", shards=7)
    same(load(f"records:{tmp_path / 'two'}"), load(f"records:{packed}"))
    with pytest.raises(ValueError, match="got 49 for 48 training examples"):
        pack(f"records:{packed}", tmp_path / "three", shards=49)


# -- what is damaged ------------------------------------------------------------------------------


def record(own, number):
    """The offset of a record of the second shard, and of the next one, by TensorFlow's framing."""
    data, at = (own / "train-00001-of-00004.tfrecord").read_bytes(), [0]
    while at[-1] < len(data):
        at.append(at[-1] + int.from_bytes(data[at[-1] : at[-1] + 8], "little") + 16)
    return at[number], at[number + 1]


def test_a_shard_that_is_cut_short_is_named_with_its_place(own, capsys):
    shard = own / "train-00001-of-00004.tfrecord"
    start, stop = record(own, 5)
    whole = shard.read_bytes()
    for size in (start, start + 7, stop - 1):
        shard.write_bytes(whole[:size])
        place = rf"It ends within record 5 at byte {start}\."
        with pytest.raises(ValueError, match=rf"{shard.name}: got {size:,} bytes; .*{place}"):
            load(f"records:{own}")
    assert main(["train", "mlp", "--data", f"records:{own}", "--out", str(own / "run")]) == 2
    assert f"{shard}: got {stop - 1:,} bytes; expected" in capsys.readouterr().err
    shard.write_bytes(whole + b"\0")
    with pytest.raises(ValueError, match=rf"{shard.name}: got .* bytes; expected [\d,]+; pack it"):
        load(f"records:{own}")
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=rf"{shard.name}: no such file; expected a shard"):
        load(f"records:{own}")


@pytest.mark.parametrize("place", [0, 9, 12, "middle", -5, -1])
def test_a_flipped_bit_is_named_with_its_place(own, place):
    """In the length, its checksum, the record, its checksum; in memory, or when it is needed."""
    shard = own / "train-00001-of-00004.tfrecord"
    start, stop = record(own, 5)
    middle = (start + stop) // 2
    at = middle if place == "middle" else place + (start if place >= 0 else stop)
    data = bytearray(shard.read_bytes())
    data[at] ^= 0x10
    shard.write_bytes(data)
    line = rf"{shard.name}: record 5 at byte {start}: got bytes of another checksum; pack it again"
    for look in (lambda: load(f"records:{own}", stream=False), lambda: writing.check(own)):
        with pytest.raises(ValueError, match=line):
            look()
    train = load(f"records:{own}", stream=True, size=8).train
    np.asarray(train["image"][:12])  # of the first shard
    with pytest.raises(ValueError, match=line):
        np.asarray(train["image"])
    scale = {"image": toy.Preprocessing(size=8, channels=3, mean=(0,) * 3, std=(1,) * 3)}
    with pytest.raises(ValueError, match=line):  # out of TensorFlow's graph
        list(Feed(train, scale, batch_size=8, training=True).batches(tf.distribute.get_strategy()))


def test_files_that_do_not_belong_together(own, packed, tmp_path, capsys):
    pack("digits", tmp_path / "digits")
    shutil.copy(tmp_path / "digits" / packs.INDEX, own)
    with pytest.raises(ValueError, match=r"index\.npz: got bytes of another sha256 than records"):
        load(f"records:{own}")
    (own / packs.INDEX).unlink()
    with pytest.raises(FileNotFoundError, match=r"index\.npz: no such file; expected the index"):
        load(f"records:{own}")
    shutil.copy(packed / packs.INDEX, own)
    first, second = (own / f"train-0000{k}-of-00004.tfrecord" for k in (0, 1))
    shutil.copy(packed / first.name, second)
    with pytest.raises(ValueError, match=r"00001-of-00004\.tfrecord: got [\d,]+ bytes; expected"):
        load(f"records:{own}")
    manifest = own / packs.MANIFEST
    for wrong, told in (
        ("", "not JSON"),
        ("[]", "got list; expected keys and values"),
        ("{}", "columns: missing"),
        (manifest.read_text().replace('"kind": "class"', '"kind": "clas"'), "Did you mean 'class'"),
        (manifest.read_text().replace('"train-00000', '"../train-00000'), "got '../train-00000"),
    ):
        manifest.write_text(wrong)
        assert main(["train", "mlp", "--data", f"records:{own}", "--out", str(own / "run")]) == 2
        line = capsys.readouterr().err
        assert str(manifest) in line and told in line and "Traceback" not in line
    manifest.unlink()
    assert main(["data", "check", str(own)]) == 2
    assert (
        "records.json: not found; expected a pack that `zoo data pack`" in capsys.readouterr().err
    )


def test_records_that_have_changed_places_take_no_others_label(tmp_path):
    """Each is whole, and of the same size; of those with equal labels the digest of the shard."""
    out = tmp_path / "out"
    pack("digits", out, shards=1)
    shard, labels = out / "train-00000-of-00001.tfrecord", load("digits").train["label"]
    data = shard.read_bytes()
    length = int.from_bytes(data[:8], "little") + 16
    parts = [data[at : at + length] for at in range(0, len(data), length)]
    for other in (labels != labels[0], labels == labels[0]):
        mixed, place = list(parts), np.flatnonzero(other)[-1]
        mixed[0], mixed[place] = parts[place], parts[0]
        shard.write_bytes(b"".join(mixed))
        if labels[place] != labels[0]:
            line = r"00000-of-00001\.tfrecord: record 0 at byte 0: differs from index\.npz"
            for stream in (True, False):
                with pytest.raises(ValueError, match=line):
                    np.asarray(load(f"records:{out}", stream=stream).train["image"])
        else:
            line = r"00000-of-00001\.tfrecord: got another sha256 than records\.json has"
        with pytest.raises(ValueError, match=line):
            writing.check(out)


# -- what is written over, and what is left -------------------------------------------------------


def test_nothing_is_written_over_without_force(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["data", "pack", "digits", str(out), "--shards", "3"]) == 0
    assert f"--data records:{out}" in capsys.readouterr().out
    assert main(["data", "pack", "digits", str(out)]) == 2
    assert "exists; choose another --out, or --force" in capsys.readouterr().err
    before = packs.read(out)
    arguments = ["--force", "--json", "--shards", "2", "--set", "data.limit=50"]
    assert main(["data", "pack", "digits", str(out), *arguments]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["splits"]["train"]["shards"][1]["examples"] == 25
    assert packs.read(out) != before and len(list(out.glob("train-*"))) == 2
    own = tmp_path / "own"
    own.mkdir()
    (own / "diary.txt").write_text("mine")
    assert main(["data", "pack", "digits", str(own), "--force"]) == 2
    assert "exists and is not a pack" in capsys.readouterr().err
    assert (own / "diary.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["pack", "digits"], "pack: expected a directory to be"),
        (["pack", "digitz", "out"], "Did you mean 'digits'?"),
        (["pack", "digits", "out", "--shards", "0"], "shards: got 0"),
        (["pack", "digits", "out", "--set", "train.epochs=1"], "expected data.KEY=VALUE"),
        (["pack", "digits", "out", "--set", "data.sice=1"], "Did you mean 'size'?"),
        (["check", "digits", "out"], "check: expected the directory of a pack and nothing else"),
    ],
)
def test_misuse_is_one_line(arguments, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["data", *arguments]) == 2
    line = capsys.readouterr().err
    assert told in line and len(line.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_what_fails_on_the_way_leaves_nothing(tmp_path):
    digits = load("digits")

    def rows():
        for number in range(100):
            if number == 60:
                raise ValueError("row 60 is not there any more")
            yield {name: digits.train[name][number] for name in digits.train}

    broken = Stream(digits.columns, rows, num=100)
    data = DataSet("mine", "rows", digits.columns, broken, digits.validation, digits.test)
    with pytest.raises(ValueError, match="row 60 is not there any more"):
        pack(data, tmp_path / "out", shards=10)
    assert not list(tmp_path.iterdir())
    pack("digits", tmp_path / "out")
    before = packs.read(tmp_path / "out")
    with pytest.raises(ValueError, match="row 60"):
        pack(data, tmp_path / "out", force=True)
    assert writing.check(tmp_path / "out") == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


SLOWLY = """
    import sys, time
    from zoo.data import DataSet, Stream, load, pack

    digits = load("digits")

    def rows():
        for number in range(400):
            if number == 260:
                print("half", flush=True)
                time.sleep(5)
            yield {name: digits.train[name][number] for name in digits.train}

    stream = Stream(digits.columns, rows, num=400)
    data = DataSet("mine", "rows", digits.columns, stream, digits.validation, digits.test)
    pack(data, sys.argv[1], shards=10)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_pack_is_none(tmp_path, kind):
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SLOWLY), out],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    assert process.stdout.readline() == "half\n"
    time.sleep(0.2)
    process.send_signal(kind)
    process.wait(timeout=300)
    assert not out.exists()
    with pytest.raises(FileNotFoundError, match=r"records\.json: not found; expected a pack"):
        load(f"records:{out}")
    pack("digits", out)  # and sweeps what was left
    assert writing.check(out) and [path.name for path in tmp_path.iterdir()] == ["out"]


# -- what is learnt -------------------------------------------------------------------------------

CHANGES = [
    "settings.units=[16]", "data.size=12", "data.channels=1", "data.stream=true", "train.epochs=3",
    "train.batch_size=10", "data.augment={shift: 1}", "hardware.precision=float32",
]  # fmt: skip


def trained(name, out, *changes):
    return fit("mlp", data=name, out=out, changes=[*CHANGES, *changes])


@pytest.fixture(scope="module")
def whole(packed, tmp_path_factory):
    return trained(f"records:{packed}", tmp_path_factory.mktemp("runs") / "whole")


def test_a_pack_trains_to_the_weights_of_its_folder(pets, whole, tmp_path):
    """The order of an epoch is that of the folder: the difference is none."""
    folder = trained(f"folder:{pets}", tmp_path / "run")
    assert toy.difference(load_model(folder.path), load_model(whole.path)) == 0.0
    assert folder.report.metrics == whole.report.metrics
    assert folder.card.preprocessing == whole.card.preprocessing


def on_disk(packed, **options):
    """Batches of ten of the 48 pictures, from the disk."""
    train = load(f"records:{packed}", size=8, channels=1, stream=True).train
    train.buffer = options.pop("buffer", None)
    scale = {"image": toy.Preprocessing(size=8, channels=1, mean=(0.5,), std=(0.2,))}
    return Feed(train, scale, batch_size=10, training=True, **options)


@pytest.mark.parametrize("buffer", [None, 16])
def test_a_stopped_run_goes_on_exactly(packed, tmp_path, buffer):
    def make(seed):
        return toy.small(batch_norm=True, seed=seed)

    def train(model, **options):
        batches = on_disk(packed, buffer=buffer)
        return toy.train(model, toy.settings(epochs=3), batches=batches, **options)

    toy.resumed(make, train, tmp_path / "snapshot.npz", step=6)


def test_what_was_measured_is_not_measured_again(packed, own):
    """At the size of the pack; at another size, or of fewer examples, it is."""

    def measured(data):
        recipe = resolve("mlp", data="digits", changes=["data.augment={}"])
        return FromData(recipe, data, replicas=1).preprocessing

    exact = toy.Preprocessing.measure(load(f"records:{packed}").train["image"])
    manifest = own / packs.MANIFEST
    known = json.loads(manifest.read_text())
    assert toy.Preprocessing(**known["preprocessing"]) == exact
    known["preprocessing"]["mean"] = [0.25, 0.5, 0.75]
    manifest.write_text(json.dumps(known))
    assert measured(load(f"records:{own}")).mean == (0.25, 0.5, 0.75)
    assert measured(load(f"records:{own}", size=64, limit=48)).mean == (0.25, 0.5, 0.75)
    others = [{"size": 16}, {"channels": 1}, {"limit": 20}]
    for data in [load(f"records:{own}", **asked) for asked in others]:
        assert measured(data) == toy.Preprocessing.measure(data.train["image"])
    for data in folds.split(load(f"records:{own}"), 2, seed=0):
        assert measured(data) == toy.Preprocessing.measure(data.train["image"])


def test_a_table_is_measured_block_by_block(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.data.feeds.on_disk.BLOCK_BYTES", 1000)
    pack("breast_cancer", tmp_path / "out")
    rows = load(f"records:{tmp_path / 'out'}", stream=True).train["features"]
    assert len(list(blocks(rows))) > 10
    found, known = (toy.Preprocessing.measure(one) for one in (rows, np.asarray(rows)))
    np.testing.assert_allclose(found.mean, known.mean, rtol=1e-12)
    np.testing.assert_allclose(found.std, known.std, rtol=1e-12)


# -- who reads what -------------------------------------------------------------------------------


class Counted(columns.Packed):
    """A column that keeps which records it reads."""

    def read(self, chosen):
        self.seen = [*getattr(self, "seen", []), *self.rows[chosen].tolist()]
        return super().read(chosen)


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("start", [0, 2])
def test_workers_read_their_own_and_nothing_else(packed, workers, training, start):
    """More workers than shards, too: an example is read by one of them, once in an epoch."""
    scale = {"image": toy.Preprocessing(size=8, channels=3, mean=(0,) * 3, std=(1,) * 3)}
    whole, seen, elements = None, [], []
    for worker in range(workers):
        split = load(f"records:{packed}", size=8, stream=True).train
        split["image"].__class__ = Counted
        feed = Feed(split, scale, batch_size=10, training=training)
        share = feed.dataset(3, start=start, replicas=workers, worker=worker, workers=workers)
        elements.append(list(share.as_numpy_iterator()))
        seen.append(split["image"].seen)
        whole = whole or list(feed.dataset(3, start=start).as_numpy_iterator())
    assert len(whole) == (4 if training else 5) - start
    for step, expected in enumerate(whole):
        for name, values in expected.items():
            got = np.concatenate([own[step][name] for own in elements])
            np.testing.assert_array_equal(got, values)
    read = sorted(number for own in seen for number in own)
    if training:
        assert len(read) == len(set(read)) == 10 * len(whole)
    else:  # the last step is filled with the first examples, of weight 0
        assert read == sorted([*range(10 * start, 48), 0, 1])
        assert sum(batch["weight"].sum() for batch in whole) == 48 - 10 * start


def test_a_buffer_shuffles_neighbours(packed):
    """Within a block; the blocks come in random order, and begin elsewhere in every epoch."""

    def orders(seed, buffer):
        feed = on_disk(packed, buffer=buffer, seed=seed)
        return [feed._order(epoch).numpy() for epoch in range(20)]

    def in_blocks(order, first):
        """Whether each block, of which the first has so many, comes in one piece."""
        block = (order + 16 - first) // 16
        return np.count_nonzero(np.diff(block)) == len(set(block)) - 1

    found = orders(0, 16)
    assert all(sorted(order) == list(range(48)) for order in found)
    begun = [[first for first in range(1, 17) if in_blocks(order, first)] for order in found]
    assert all(map(len, begun)) and len({tuple(one) for one in begun}) > 5
    assert len({tuple(order) for order in found}) == 20
    assert len({order[0] // 16 for order in found}) == 3  # any part of the set may come first
    mixed = orders(0, None)
    assert not any(in_blocks(order, first) for order in mixed for first in range(1, 17))
    assert all(map(np.array_equal, found, orders(0, 16)))
    assert not any(map(np.array_equal, found, orders(1, 16)))
    assert all(map(np.array_equal, orders(0, 48), mixed))


def test_a_recipe_says_the_buffer():
    """Of a split and of a stream, which stay as they are."""
    changes = ["data.buffer=7", "data.augment={}", "train.batch_size=10"]
    recipe, data = resolve("mlp", data="digits", changes=changes), load("digits")
    source = tf.data.Dataset.from_tensor_slices(dict(data.train.columns))
    stream = Stream(data.columns, lambda: source, num=len(data.train))
    for train in (data.train, stream):
        kept = train.buffer
        feed = FromData(recipe, replace(data, train=train), replicas=1).experience(recipe.train, {})
        assert feed._buffer == 7 and train.buffer == kept
    assert feed._stream.buffer == 7


OTHERS = """
    import sys
    from zoo.recipe import Hardware
    from zoo.training import workers
    from zoo.training.fitting import fit

    mine = sys.argv[1 + workers.of(Hardware()).number]
    changes = ["data.size=8", "train.epochs=1", "train.batch_size=8", "hardware.wait_seconds=120"]
    try:
        fit("mlp", data=f"records:{mine}", out=sys.argv[3], changes=changes)
    except RuntimeError as error:
        print(error)
"""


@pytest.mark.dist
@pytest.mark.slow
def test_workers_with_other_examples_are_refused(pets, packed, tmp_path):
    """E.g. a copy of an earlier pack on one of the hosts."""
    shutil.copytree(pets, tmp_path / "pets")
    (tmp_path / "pets" / "cats" / "00.png").unlink()
    pack(f"folder:{tmp_path / 'pets'}", tmp_path / "earlier", shards=4)
    found = programs.run_workers(OTHERS, packed, tmp_path / "earlier", tmp_path / "run")
    for done, own in zip(found, (packed, tmp_path / "earlier"), strict=True):
        assert done.returncode == 0, done.stderr[-3000:]
        assert f"records:{own}: got other examples than another worker has" in done.stdout


# -- beyond memory --------------------------------------------------------------------------------

PEAK = """
    import json, resource, signal, sys
    signal.alarm(3000)

    def peak():
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
"""
NOISE = (
    PEAK
    + """
    import tensorflow as tf
    from zoo.data import Column, DataSet, Stream, pack

    side = 256
    columns = {
        "image": Column("image", (side, side, 3)), "label": Column("class", (), ("dark", "light")),
    }

    def split(num, seed):
        def row(number):
            label = number % 2
            low, shape, own = 40 * label, (side, side, 3), [seed, number]
            pixels = tf.random.stateless_uniform(shape, own, low, low + 216, tf.int64)
            return {"image": tf.cast(pixels, tf.uint8), "label": tf.cast(label, tf.int32)}

        return Stream(columns, lambda: tf.data.Dataset.range(num).map(row), num)

    data = DataSet("noise", "drawn", columns, split(16400, 0), split(128, 1), split(128, 2))
    known = pack(data, sys.argv[1])
    size = sum(shard.size_bytes for part in known.splits.values() for shard in part.shards)
    print(json.dumps([size, len(known.splits["train"].shards), peak()]))
"""
)
LEARN = (
    PEAK
    + """
    from zoo.training.fitting import fit

    changes = [
        "settings.units=[8]", "data.size=256", "data.channels=3", "data.augment={}",
        "train.epochs=1", "train.batch_size=64", "train.optimizer={kind: sgd, learning_rate: 1e-3}",
        "hardware.precision=float32", "hardware.wait_seconds=300", *sys.argv[3:],
    ]
    bundle = fit("mlp", data=f"records:{sys.argv[1]}", out=sys.argv[2], changes=changes)
    print(json.dumps([peak(), bundle.report.metrics["top1"]]))
"""
)


@pytest.mark.dist
@pytest.mark.slow
def test_three_gigabytes_take_less_than_two_and_a_half_of_memory(tmp_path, record_property):
    """Packed, then one epoch of 256 steps, on one process and on two that share the steps."""
    size, shards, packing = programs.printed(NOISE, tmp_path / "noise")
    assert size > 3e9 and shards == 25 and packing < 2.5e9
    alone, top1 = programs.printed(LEARN, tmp_path / "noise", tmp_path / "one")
    assert top1 > 0.9
    near, _ = programs.printed(LEARN, tmp_path / "noise", tmp_path / "near", "data.buffer=1024")
    pair = programs.printed_by_workers(LEARN, tmp_path / "noise", tmp_path / "two")
    record_property("peaks", f"packing {packing:,}, alone {alone:,}, near {near:,}, pair {pair}")
    assert max(alone, near, *(one for one, _ in pair)) < 2.5e9
    one, two = (load_model(tmp_path / name) for name in ("one", "two"))
    assert toy.difference(one, two) < 1e-5
    assert pair[0][1] == pair[1][1] == top1
    shutil.rmtree(tmp_path / "noise")
