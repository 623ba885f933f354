"""Data that are not held in memory: pictures on the disk, and streams of the user's own."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import zoo
from zoo.bundle import Bundle
from zoo.data import DataSet, Feed, Preprocessing, Split, Stream, load
from zoo.data.feeds.pictures import Pictures

DIGITS = load("digits")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root, random = tmp_path_factory.mktemp("pets"), np.random.RandomState(0)
    for name in ("cats", "dogs"):
        (root / name).mkdir()
        for number in range(20):
            pixels = random.randint(0, 256, (30, 40, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.png")
    (root / "cats" / "broken.png").write_text("no picture")
    return root


def batches(feed, epoch=0, **where):
    return [{k: v.numpy() for k, v in batch.items()} for batch in feed.dataset(epoch, **where)]


def assert_equal(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        assert set(one) == set(other)
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("channels", [None, 1])
def test_pictures_on_the_disk_give_the_batches_of_those_in_memory(folder, channels):
    held = load(f"folder:{folder}", size=24, channels=channels)
    read = load(f"folder:{folder}", size=24, channels=channels, stream=True)
    assert isinstance(read.train["image"], Pictures) and len(read.problems) == 1
    assert held.columns == read.columns and held.problems == read.problems
    scale = Preprocessing.measure(held.train["image"])
    assert Preprocessing.measure(read.train["image"]) == scale
    feeds = [
        Feed(data.train, {"image": scale}, batch_size=16, training=True, seed=3)
        for data in (held, read)
    ]
    assert_equal(*(batches(feed, 2) for feed in feeds))
    assert_equal(*(batches(feed, 2, start=1) for feed in feeds))


def test_a_picture_that_goes_while_training_is_named(folder, tmp_path):
    pictures = Pictures([tmp_path / "gone.png"], size=8, channels=3)
    with pytest.raises(FileNotFoundError, match=r"gone\.png: no such file"):
        np.asarray(pictures)


def test_only_folders_stay_on_the_disk():
    with pytest.raises(ValueError, match="stream: got true for digits, which is held in memory"):
        load("digits", stream=True)


def stream(split, *, generator, buffer=200):
    def rows():
        return ({name: split[name][i] for name in split} for i in range(len(split)))

    def dataset():
        return tf.data.Dataset.from_tensor_slices(dict(split.columns))

    return Stream(DIGITS.columns, rows if generator else dataset, len(split), buffer=buffer)


@pytest.mark.parametrize("generator", [True, False])
def test_a_stream_gives_what_memory_gives(generator):
    scale = {"image": Preprocessing.measure(DIGITS.train["image"])}
    held = Feed(DIGITS.validation, scale, batch_size=50)
    read = Feed(stream(DIGITS.validation, generator=generator), scale, batch_size=50)
    assert held.steps == read.steps
    assert_equal(batches(held, replicas=2), batches(read, replicas=2))


def test_the_order_of_a_stream_is_a_function_of_seed_and_epoch():
    split = stream(DIGITS.train, generator=False)
    scale = {"image": Preprocessing.measure(DIGITS.train["image"])}
    feed = Feed(split, scale, batch_size=50, training=True)
    again = Feed(stream(DIGITS.train, generator=True), scale, batch_size=50, training=True)
    tf.random.set_seed(99)  # the global seed has no say
    whole = batches(feed, 1)
    assert_equal(whole, batches(again, 1))
    assert_equal(whole[5:], batches(again, 1, start=5))
    other = batches(feed, 2)
    assert any((a["label"] != b["label"]).any() for a, b in zip(whole, other, strict=True))
    seen = np.sort(np.concatenate([batch["image"].sum((1, 2, 3)) for batch in whole]))
    held = Feed(DIGITS.train, scale, batch_size=len(DIGITS.train), training=True)
    everything = np.sort(batches(held)[0]["image"].sum((1, 2, 3)))
    assert np.isin(np.round(seen, 3), np.round(everything, 3)).all()  # no example is made up
    # And none comes twice: all but the remainder are there.
    assert len(np.unique(seen)) >= len(np.unique(everything)) - (len(everything) - len(seen))


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize(("replicas", "workers"), [(2, 2), (4, 2), (5, 5)])
def test_workers_share_the_very_same_batches(streamed, replicas, workers):
    """None sees what another one sees, and together they see it in the order of one device."""
    scale = {"image": Preprocessing.measure(DIGITS.train["image"])}
    train = stream(DIGITS.train, generator=False) if streamed else DIGITS.train
    feed = Feed(train, scale, batch_size=100, training=True, seed=3)
    whole = batches(feed, 2, start=1)
    assert len(whole) == feed.steps - 1
    shares = [
        batches(feed, 2, start=1, replicas=replicas, worker=worker, workers=workers)
        for worker in range(workers)
    ]
    own = replicas // workers
    together = [
        {
            name: np.concatenate([part[name] for share in shares for part in share[k : k + own]])
            for name in whole[0]
        }
        for k in range(0, len(shares[0]), own)
    ]
    assert len(together) == len(whole)
    assert_equal(together, whole)


def test_a_data_set_of_ones_own_trains_and_is_remembered_by_its_samples(tmp_path):
    parts = [stream(getattr(DIGITS, name), generator=False)
             for name in ("train", "validation", "test")]  # fmt: skip
    mine = DataSet("mine", "digits of mine", DIGITS.columns, *parts)
    changes = ["train.epochs=6", "data.augment={}"]
    bundle = zoo.fit("mlp", data=mine, out=tmp_path / "run", changes=changes)
    assert bundle.report.metrics["top1"] > 0.9 and bundle.card.data == "mine"
    found = zoo.evaluate(bundle.path).evaluation  # "mine" is no name that can be loaded
    assert sum(map(sum, found.tables["confusion"])) == 32
    assert Bundle(bundle.path).card.columns == DIGITS.columns
    (made,) = zoo.export(bundle.path, "tflite-int8", out=tmp_path)
    assert made.manifest.parity.passed and made.manifest.score.examples == 32


def test_errors_of_streams_are_one_line():
    with pytest.raises(ValueError, match="Stream: got 0 examples"):
        Stream(DIGITS.columns, list, 0)
    with pytest.raises(TypeError, match="expected \\[:count\\], the first examples"):
        stream(DIGITS.test, generator=False)[3:]
    with pytest.raises(ValueError, match="columns of lengths"):
        zoo.data.Split({"a": np.zeros(3), "b": np.zeros(2)})


FEWER = r"^Stream: got fewer examples than num, 12; expected at least as many\."


def rows(number, **changes):
    one = {"image": np.full((8, 8, 1), 3, np.uint8), "label": np.int64(1)} | changes
    return [one] * number


def mine(examples, num, *, generator):
    if generator:
        return Stream(DIGITS.columns, lambda: iter(examples), num, buffer=2)
    columns = {name: np.stack([row[name] for row in examples]) for name in DIGITS.columns}
    return Stream(
        DIGITS.columns, lambda: tf.data.Dataset.from_tensor_slices(columns), num, buffer=2
    )


@pytest.mark.parametrize("generator", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_a_stream_that_ends_early_is_refused_where_it_ends(generator, training):
    """It would begin anew, and count examples twice."""
    split = mine(rows(9), 12, generator=generator)
    feed = Feed(split, {}, batch_size=4, training=training)
    given = feed.batches(tf.distribute.get_strategy())
    assert len(next(given)["label"]) == 4
    with pytest.raises(ValueError, match=FEWER):
        list(given)
    with pytest.raises(ValueError, match=FEWER):
        split[:10]
    more = Feed(mine(rows(9), 8, generator=generator), {}, batch_size=4)
    assert sum(batch["weight"].sum() for batch in batches(more)) == 8


@pytest.mark.parametrize("generator", [True, False])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image", np.full((8, 8, 1), 0.7, np.float32)),  # would be black
        ("image", np.full((8, 8, 1), 300)),  # would be 44
        ("image", np.full((8, 8, 1), -1)),
        ("label", np.float32(1.0)),
        ("label", np.int64(2**40 + 1)),  # would be 1
    ],
)
def test_a_value_that_a_cast_would_change_is_refused(generator, name, value):
    with pytest.raises(ValueError, match=f"^Stream: {name}: got .*; expected "):
        mine(rows(3, **{name: value}), 3, generator=generator)[:2]


@pytest.mark.parametrize("generator", [True, False])
@pytest.mark.parametrize("label", [10, -1, 255])
def test_a_class_that_has_no_name_is_refused(generator, label):
    examples = rows(3, label=np.int64(label))
    with pytest.raises(ValueError, match=r"^Stream: label: got .*0 to 9"):
        mine(examples, 3, generator=generator)[:2]
    split = Split({name: np.stack([row[name] for row in examples]) for name in DIGITS.columns})
    split = split.replace(label=split["label"].astype("int32"))
    good = DIGITS.test
    with pytest.raises(ValueError, match=rf"^mine: train\['label'\]: got {label}; expected 0 to 9"):
        DataSet("mine", "of mine", DIGITS.columns, split, good, good)


def test_what_is_no_example_is_told_in_one_line():
    def of(make):
        return Stream(DIGITS.columns, make, 3)

    image, label = rows(1)[0].values()
    pairs = tf.data.Dataset.from_tensors((image, label))
    whole = tf.data.Dataset.from_tensors(rows(1)[0])
    for make, line in (
        (lambda: iter([(image, label)] * 3), "got an example that is a tuple; expected a mapping"),
        (lambda: pairs, "got an example that is a tuple; expected a mapping of image, label"),
        (lambda: iter([{"image": image}] * 3), "got an example of image; expected image, label"),
        (lambda: iter(rows(3, image=image[:4])), r"image: got the shape \(4, 8, 1\); expected"),
        (lambda: whole.batch(2), r"image: got the shape \(None, 8, 8, 1\).* Take `.unbatch\(\)`"),
    ):
        with pytest.raises(ValueError, match=f"^Stream: {line}"):
            of(make)[:1]
    with pytest.raises(TypeError, match="make: got _TensorDataset; expected a function"):
        Stream(DIGITS.columns, whole, 3)
    with pytest.raises(ValueError, match="mine: test has no examples; expected 1 or more"):
        DataSet("mine", "of mine", DIGITS.columns, DIGITS.train, DIGITS.test, DIGITS.test[:0])


def test_fit_says_what_it_takes():
    model = object()
    with pytest.raises(TypeError, match=r"^fit: recipe: got object; expected the name of an arch"):
        zoo.fit(model)
    with pytest.raises(TypeError, match=r"^fit: data: got object; expected a name, or a zoo\.data"):
        zoo.fit("mlp", data=model)
    with pytest.raises(TypeError, match=r"^fit: changes: got 'a=1'; expected a list of them"):
        zoo.fit("mlp", changes="a=1")
    columns = {"features": zoo.data.Column("features", (2,)), "value": zoo.data.Column("number")}
    bad = {"features": np.array([[0, np.nan]], "float32"), "value": np.zeros(1, "float32")}
    with pytest.raises(ValueError, match=r"^t: train\['features'\]: got NaN or infinite values"):
        DataSet("t", "of mine", columns, *[Split(bad)] * 3)
