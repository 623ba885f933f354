"""Captions: their scenes, BLEU, both networks against NumPy, beams, files of a step."""

import base64
import itertools
import json

import keras
import numpy as np
import pytest
from PIL import Image
from scipy.special import expit, log_softmax, softmax

import compress
import export
import serving
import zoo as package
from tests import toy
from tests.serving.kit import call
from zoo.common.preprocessing import Preprocessing
from zoo.common.sentences import END, MARKS, PADDING, START, words
from zoo.common.vocabulary import Vocabulary
from zoo.data.sets import digit_captions
from zoo.metrics.bleu import bleu
from zoo.models import step
from zoo.models.build import create
from zoo.models.saved import load_model, load_networks
from zoo.tasks.words import captions, telling
from zoo.tasks.words.caption import Caption
from zoo.tasks.words.hard import Hard
from zoo.training import steps
from zoo.training.fitting import fit
from zoo.training.run import Run

COUNTS = {"train": 96, "validation": 24, "test": 24}
TELL, ATTEND = "show_and_tell_small", "show_attend_tell_small"
HARD = "show_attend_tell_hard_small"
BOTH = pytest.mark.parametrize("name", [TELL, ATTEND])
# What takes long is done of the one with more parts; of the other in the slow run.
ONE = pytest.mark.parametrize("name", [pytest.param(TELL, marks=pytest.mark.slow), ATTEND])
SMALL = ["train.batch_size=16", "hardware.precision=float32", "settings.units=12"]
NARROW = {TELL: {"units": 12}, ATTEND: {"units": 12, "embedding": 6}}


@pytest.fixture(scope="module", autouse=True)
def _few(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setattr(digit_captions, "COUNTS", COUNTS)
        yield


@pytest.fixture(scope="module")
def data(_few):
    return digit_captions.load()


@pytest.fixture(scope="module")
def bundles(_few, tmp_path_factory):
    """A bundle of each kind that has begun to learn; made when it is asked for."""
    root = tmp_path_factory.mktemp("runs")
    return Made(lambda name: fit(name, out=root / name, changes=[*SMALL, "train.epochs=8"]))


@pytest.fixture(scope="module")
def runs(bundles):
    return Made(lambda name: Run(bundles[name].recipe, networks=load_networks(bundles[name].path)))


class Made(dict):
    """Makes what is asked for, once."""

    def __init__(self, make):
        super().__init__()
        self._make = make

    def __missing__(self, name):
        self[name] = self._make(name)
        return self[name]


def shaken(name, classes=9):
    """Fresh networks whose weights behind the convolutions are drawn, biases too."""
    keras.utils.set_random_seed(5)
    networks = create(name, input_shape=(16, 16, 3), num_classes=classes, **NARROW[name])
    random = np.random.RandomState(3)
    for network in networks.values():
        for weight in network.weights:
            if "conv" not in weight.path:
                weight.assign(random.uniform(-0.5, 0.5, weight.shape))
    return networks


def some(batch=3, time=5, classes=9):
    random = np.random.RandomState(1)
    images = random.normal(size=(batch, 16, 16, 3)).astype("float32")
    tokens = random.randint(3, classes, (batch, time)).astype("int32")
    tokens[:, 0] = START
    return images, tokens


# -- scenes ---------------------------------------------------------------------------------------


def test_scenes_are_what_their_sentences_say(data):
    """Colours and places, read off the pixels of a scene without noise or background."""
    random = np.random.RandomState(0)
    ink = np.zeros((28, 28), np.uint8)
    ink[4:24, 9:19] = 255  # as tall as a digit of MNIST
    black = [np.zeros((80, 80, 3), np.uint8)]
    seen = set()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digit_captions, "NOISE", 0.0)
        patch.setattr(digit_captions, "background", lambda *_: np.zeros((64, 64, 3)))
        for _ in range(60):
            image, said = digit_captions._scene(random, [ink[None]] * 10, black)
            parts = said.split()
            things = [parts[:4]] if len(parts) == 4 else [parts[:4], parts[-4:]]
            relation = " ".join(parts[4:-4]) if len(things) > 1 else ""
            middles = []
            for _, size, colour, _ in things:
                wanted = np.array(digit_captions.COLOURS[colour])
                mine = abs(image.astype(float) - wanted).max(axis=-1) <= 13
                if len(things) == 2 and things[0][2] == things[1][2]:
                    break  # of one colour: not told apart so
                rows, columns = np.nonzero(mine)
                middles.append((rows.mean(), columns.mean()))
                assert (np.ptp(rows) > 19) == (size == "large"), said
            else:
                if relation:
                    (y1, x1), (y2, x2) = middles
                    down, right = y1 - y2, x1 - x2
                    steep = abs(down) > abs(right)
                    told = ("below" if down > 0 else "above") if steep else (
                        "right of" if right > 0 else "left of"
                    )  # fmt: skip
                    assert told == relation, said
                    if things[0][1] == things[1][1]:
                        assert relation in ("left of", "above")
                    else:
                        assert things[0][1] == "large"
                    seen.add(relation)
    assert seen == set(digit_captions.RELATIONS)
    assert data.columns["tokens"].names[:3] == ("<padding>", "<start>", "<end>")


@pytest.mark.parametrize("size", [96, 128])
def test_larger_scenes_have_larger_digits(data, size):
    large = digit_captions.load(size=size)
    assert large.columns["image"].shape == (size, size, 3) and len(large.test) == len(data.test)
    inks = [np.ptp(np.nonzero(digit_captions._share(
        np.random.RandomState(3), [np.full((1, 28, 28), 255.0)] * 10,
        digit_captions.Thing("large", "red", "one"), scale,
    ) > 0.5)[0]) for scale in (1, size / 64)]  # fmt: skip
    assert inks[1] / inks[0] == pytest.approx(size / 64, rel=0.1)
    with pytest.raises(ValueError, match="size: got 48; digit scenes have sides of 64 to 256"):
        digit_captions.load(size=48)


def test_tokens_say_the_words():
    said = "a large red seven left of a small blue two"
    row = digit_captions.tokens(said)
    assert (
        row[0] == START
        and row[-1] == END
        and " ".join(words(row, digit_captions.VOCABULARY)) == said
    )
    short = digit_captions.tokens("a small white one")
    assert short.tolist()[5:] == [END] + [PADDING] * 6
    with pytest.raises(ValueError, match="got 'a huge dog'; expected at most 10 words of a, large"):
        digit_captions.tokens("a huge dog")


def test_scenes_are_the_same_every_time(data):
    """A digest of the first scenes: another generator has another `VERSION`, and another cache."""
    images, tokens = data.train["image"], data.train["tokens"]
    assert images.shape == (96, 64, 64, 3) and tokens.shape == (96, 12)
    again = digit_captions._make()
    np.testing.assert_array_equal(again["train/image"], images)
    np.testing.assert_array_equal(again["train/tokens"], tokens)
    lengths = (tokens > 0).sum(axis=1)
    assert set(lengths) == {6, 11, 12} and 0.5 < (lengths > 6).mean() < 0.85
    firsts = {image.tobytes() for image in images}
    assert not firsts & {image.tobytes() for image in data.test["image"]}


# -- BLEU -----------------------------------------------------------------------------------------


def test_bleu_by_hand():
    """Papineni et al. 2002, section 2.1: clipped counts; and the brevity penalty."""
    the = ["the"] * 7
    references = [
        ["the", "cat", "is", "on", "the", "mat"],
        ["there", "is", "a", "cat", "on", "the", "mat"],
    ]
    assert bleu([the], [references], most=1) == pytest.approx(2 / 7)
    text = ["it", "is", "a", "guide", "to", "action"]
    known = ["it", "is", "a", "guide", "to", "action", "that", "ensures"]
    assert bleu([text], [[known]]) == pytest.approx(np.exp(1 - 8 / 6))
    assert bleu([known], [[known]]) == 1.0
    assert bleu([["a", "b"]], [[["a", "b"]]]) == 0.0  # there is no run of four words
    with pytest.raises(ValueError, match="got 1 texts and 0 lists"):
        bleu([["a"]], [])


@pytest.mark.oracle
def test_bleu_equals_nltk():
    score = pytest.importorskip("nltk.translate.bleu_score")
    random = np.random.RandomState(0)
    found = [["abcd"[k] for k in random.randint(0, 4, random.randint(4, 12))] for _ in range(40)]
    known = [
        [["abcd"[k] for k in random.randint(0, 4, random.randint(4, 12))] for _ in range(3)]
        for _ in found
    ]
    for most in range(1, 5):
        weights = [1 / most] * most
        expected = score.corpus_bleu(known, found, weights=weights)
        assert bleu(found, known, most=most) == pytest.approx(expected, rel=1e-9)


# -- networks -------------------------------------------------------------------------------------


def weights_of(layer):
    return [np.asarray(weight, "float64") for weight in layer.get_weights()]


def cell(layer, x, h, c):
    """One step of an LSTM (Hochreiter & Schmidhuber 1997) with a forget gate, in NumPy."""
    kernel, recurrent, bias = weights_of(layer)
    i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4, axis=1)
    c = expit(f) * c + expit(i) * np.tanh(g)
    return expit(o) * np.tanh(c), c


def dense(layer, x):
    kernel, *bias = weights_of(layer)
    return x @ kernel + (bias[0] if bias else 0)


@pytest.mark.oracle
def test_show_and_tell_equals_numpy():
    """The picture at t = -1 alone, then the words (equations 10 to 12)."""
    networks = shaken(TELL)
    images, tokens = some()
    found = telling.told(networks, images, tokens, training=False)["logits"]
    get = networks["decoder"].get_layer
    picture = np.asarray(networks["encoder"](images)["picture"], "float64")
    h = c = np.zeros((3, 12))
    h, c = cell(get("lstm"), picture, h, c)
    (table,) = weights_of(get("embedding"))
    for place in range(tokens.shape[1]):
        h, c = cell(get("lstm"), table[tokens[:, place]], h, c)
        np.testing.assert_allclose(found[:, place], dense(get("logits"), h), atol=2e-5)


@pytest.mark.oracle
def test_show_attend_tell_equals_numpy():
    networks = shaken(ATTEND)
    images, tokens = some()
    found = telling.told(networks, images, tokens, training=False)
    get, seen = networks["decoder"].get_layer, networks["encoder"](images)
    places = np.asarray(seen["annotations"], "float64")  # (batch, places, maps)
    mean = places.mean(axis=1)
    h, c = (np.tanh(dense(networks["encoder"].get_layer(n), mean)) for n in ("lstm_h", "lstm_c"))
    keys = dense(networks["encoder"].get_layer("keys"), places)
    (table,) = weights_of(get("embedding"))
    for place in range(tokens.shape[1]):
        word = table[tokens[:, place]]
        energy = dense(get("energy"), np.tanh(keys + dense(get("query"), h)[:, None]))[..., 0]
        share = softmax(energy, axis=1)
        context = expit(dense(get("gate"), h)) * np.einsum("bp,bpm->bm", share, places)
        h, c = cell(get("lstm"), np.concatenate([word, context], axis=1), h, c)
        out = word + dense(get("state_out"), h) + dense(get("context_out"), context)
        logits = dense(get("logits"), np.tanh(out))
        np.testing.assert_allclose(found["logits"][:, place], logits, atol=2e-5)
        np.testing.assert_allclose(found["place_weights"][:, place], share, atol=1e-5)
    np.testing.assert_allclose(np.sum(found["place_weights"], axis=-1), 1, atol=1e-5)


def test_a_step_is_keras_own_loop():
    networks = shaken(TELL)
    images, tokens = some()
    decoder = networks["decoder"]
    loop = keras.layers.LSTM(12, return_sequences=True)
    first = networks["encoder"](images)["picture"][:, None]
    read = np.concatenate([first, decoder.get_layer("embedding")(tokens)], axis=1)
    loop.build(read.shape)
    loop.set_weights(decoder.get_layer("lstm").get_weights())
    expected = decoder.get_layer("logits")(loop(read)[:, 1:])
    found = telling.told(networks, images, tokens, training=False)["logits"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


@BOTH
def test_a_step_from_the_picture_is_both_networks(name):
    networks = shaken(name)
    images, _ = some()
    model = telling.whole(networks)
    order = [tensor.name for tensor in model.inputs]
    assert order == ["image", "tokens", "lstm_h", "lstm_c"]

    def call(given):
        found = model([given[key] for key in order], training=False)
        return {key: np.asarray(value) for key, value in found.items()}

    found = telling.asked(call, networks, images, 6)
    np.testing.assert_array_equal(found, telling.greedy(networks, images, 6)["captions"])


@BOTH
def test_one_picture_is_told_as_eight(name):
    networks = shaken(name)
    images, _ = some(8)
    eight = telling.greedy(networks, images, 6)
    for index in range(8):
        one = telling.greedy(networks, images[index : index + 1], 6)
        for key, values in one.items():
            np.testing.assert_allclose(values[0], eight[key][index], atol=1e-5)


@BOTH
def test_a_wide_beam_finds_the_likeliest_of_all_sentences(name):
    classes, length = 5, 3
    networks = shaken(name, classes)
    images, _ = some(1, classes=classes)
    # Padding and starts are never said.
    rows = np.array(list(itertools.product(range(END, classes), repeat=length)), "int32")
    read = np.concatenate([np.full((len(rows), 1), START), rows], axis=1).astype("int32")
    same = np.repeat(images, len(rows), axis=0)
    logits = telling.told(networks, same, read[:, :-1], training=False)["logits"]
    logs = log_softmax(np.asarray(logits, "float64"), axis=-1)
    every = {}
    for row, log in zip(rows.tolist(), logs, strict=True):
        end = next((at for at, token in enumerate(row) if token == END), length - 1)
        every[tuple(row[: end + 1])] = sum(log[at, row[at]] for at in range(end + 1))
    best = sorted(every, key=every.get, reverse=True)
    found = telling.beam(networks, images[0], length, width=classes**length)
    assert len({one.tokens for one in found}) == len(found) == len(every)
    assert [one.tokens for one in found[:10]] == best[:10]
    for one in found[:10]:
        assert one.log_probability == pytest.approx(every[one.tokens], abs=1e-4)
    (greedy,) = telling.beam(networks, images[0], length, width=1)
    likeliest = telling.greedy(networks, images, length)["captions"][0]
    assert list(greedy.tokens) == np.asarray(likeliest)[: len(greedy.tokens)].tolist()


# -- the task -------------------------------------------------------------------------------------


def seen_of(task, networks, tokens, images):
    batch = {"image": images, "tokens": tokens, "weight": np.ones(len(tokens), "float32")}
    batch = {name: keras.ops.convert_to_tensor(values) for name, values in batch.items()}
    seen = task.look("loss", networks, batch, training=False)
    sums = steps.sums({"learnt": seen.loss, **seen.measures}, batch)
    return {name: float(pair[0] / pair[1]) for name, pair in sums.items()}, batch


@BOTH
def test_padding_does_not_count(name):
    networks, task = shaken(name), Caption()
    images, tokens = some(3, 6)
    tokens[0, 4:], tokens[1, 3:] = PADDING, PADDING
    got, batch = seen_of(task, networks, tokens, images)
    logits = np.asarray(telling.told(networks, images, tokens[:, :-1], training=False)["logits"])
    logs = log_softmax(logits.astype("float64"), axis=-1)
    targets = tokens[:, 1:]
    nats = [-logs[r, t, targets[r, t]] for r, t in np.argwhere(targets != PADDING)]
    assert len(nats) == 3 + 2 + 5
    assert got["loss"] == got["learnt"] == pytest.approx(np.mean(nats), rel=1e-5)
    meter = task.meter({"image": None, "tokens": digit_captions.load().columns["tokens"]})
    meter.add({"image": images, "tokens": tokens}, {
        key: np.asarray(values) for key, values in task.answer(networks, batch).items()
    })  # fmt: skip
    found = meter.result().metrics
    assert found["loss"] == pytest.approx(got["loss"], rel=1e-5)
    assert found["top1"] == pytest.approx(got["top1"], rel=1e-5)


@pytest.mark.oracle
def test_the_penalty_asks_for_a_look_at_every_place():
    networks = shaken(ATTEND)
    images, tokens = some(2, 6)
    tokens[0, 4:] = PADDING
    plain, _ = seen_of(Caption(), networks, tokens, images)
    got, _ = seen_of(Caption(attention_penalty=0.5), networks, tokens, images)
    found = telling.told(networks, images, tokens[:, :-1], training=False)
    weights = np.asarray(found["place_weights"], "float64")
    real = (tokens[:, 1:] != PADDING).astype(float)
    total = 0.5 * ((1 - (weights * real[..., None]).sum(axis=1)) ** 2).sum()  # of both pictures
    assert got["learnt"] - plain["learnt"] == pytest.approx(total / real.sum(), rel=1e-4)
    assert got["loss"] == plain["loss"]


def test_the_meter_counts_whole_sentences(tmp_path):
    columns = digit_captions.load().columns
    said = ["a large red one", "a small blue two", "a large red seven left of a small blue two"]
    tokens = np.stack([digit_captions.tokens(one) for one in said])
    answered = tokens[:, 1:].copy()
    answered[1, 3] = digit_captions.VOCABULARY.index("three")
    weights = np.full((3, 11, 4), 0.25, "float32")
    meter = captions.Captions(columns)
    images = np.random.RandomState(0).randint(0, 255, (3, 64, 64, 3)).astype("uint8")
    meter.add({"image": images, "tokens": tokens}, {"captions": answered, "place_weights": weights})
    found = meter.result()
    assert found.metrics["exact_match"] == pytest.approx(2 / 3)
    assert found.metrics["bleu1"] == pytest.approx(17 / 18)
    assert found.tables["by_words"] == [
        {"words": 4, "exact_match": 0.5, "support": 2},
        {"words": 10, "exact_match": 1.0, "support": 1},
    ]
    for name, draw in found.pictures.items():
        draw(tmp_path / f"{name}.png")
        assert np.asarray(Image.open(tmp_path / f"{name}.png")).std() > 10
    assert set(found.pictures) == {"captions", "attention", "worst"}
    (worst,) = found.tables["worst"]
    assert worst["example"] == 1 and worst["error"] == pytest.approx(1 / 4)


def test_light_falls_where_it_is_looked():
    image = np.full((8, 16, 3), 200, "uint8")
    weights = np.zeros(8)
    weights[5] = 1.0  # of 2 x 4 places: the second row, the second column
    found = captions.lit(image, weights)
    assert np.unravel_index(found[..., 0].argmax(), (8, 16))[0] >= 4
    assert found[6, 5, 0] > 150 and found[1, 14, 0] == 40


def test_other_data_are_refused():
    with pytest.raises(
        ValueError, match=r"got caption, which learns pictures and tokens .* digits"
    ):
        Caption().check(package.data.load("digits"))


# -- bundles --------------------------------------------------------------------------------------


@ONE
def test_it_learns_and_explains_itself(name, bundles):
    card, report = bundles[name].card, bundles[name].report
    rows = np.genfromtxt(bundles[name].path / "history.csv", delimiter=",", names=True)
    # Eight epochs of a few scenes: a beginning. What it comes to is the figure of the recipe.
    assert rows["loss"][-1] < 0.95 * rows["loss"][0]
    assert report.metrics["loss"] < 0.95 * np.log(27)
    assert set(report.metrics) == {
        "exact_match",
        "bleu1",
        "bleu2",
        "bleu3",
        "bleu4",
        "loss",
        "top1",
    }
    assert card.task == "caption" and card.networks == ("encoder", "decoder")
    assert list(card.inputs) == ["image", "tokens", "lstm_h", "lstm_c"]
    assert card.labels == digit_captions.VOCABULARY and not card.custom_layers
    assert (bundles[name].path / "captions.png").is_file()
    assert (bundles[name].path / "attention.png").is_file() == (name == ATTEND)


@pytest.mark.slow  # tests/test_dense_caption.py resumes one that is taught words alike
@BOTH
def test_resumed_run_equals_a_whole_one(name, tmp_path):
    changes = [*SMALL, "train.epochs=2", "data.limit=48"]
    changes += ["settings.dropout=0.3"] if name == TELL else []
    whole = fit(name, out=tmp_path / "a", changes=changes)
    toy.check_resumed(whole, tmp_path / "b", changes=changes, stop_at=4)


TWO_DEVICES = """
    import json, sys
    from tests import two
    from zoo.data.sets import digit_captions

    digit_captions.COUNTS = {"train": 48, "validation": 18, "test": 4}
    changes = ["settings.units=12", "train.epochs=2", "train.batch_size=16",
               "train.optimizer={kind: sgd, learning_rate: 0.05, clip_global_norm: 0.5}"]
    print(json.dumps(two.of_recipe(sys.argv[1], changes, prepare=two.freeze_statistics)))
"""


@pytest.mark.slow
@pytest.mark.dist
@ONE
def test_two_devices_take_the_steps_of_one(name, tmp_path):
    weights, losses, moved = toy.printed(TWO_DEVICES, name, ZOO_HOME=str(tmp_path))
    assert moved > 1e-3 and weights < 1e-5 and losses < 1e-5


@ONE
def test_samples_meet_the_states_of_a_run(name, runs):
    run = runs[name]
    raw, found = run.raw("train", 40), run.samples(40)
    tokens, decoder = raw["tokens"], run.networks["decoder"]
    leads = list(telling.leads(decoder))
    images = run.preprocessing.apply(raw["image"])
    kinds = set()
    for row, line in enumerate(tokens):
        read = leads + [t for t in line[:-1] if t != PADDING]
        place = line.sum() % len(read)
        kinds.add(place)
        assert found["tokens"][row] == read[place]
        states = {n: np.zeros((1, 12), "float32") for n in step.states(decoder)}
        model = telling.whole(run.networks)
        for token in read[:place]:
            given = [images[row : row + 1], np.array([[token]], "int32"), *states.values()]
            after = model(given, training=False)
            states = {n: np.asarray(after[f"next_{n}"]) for n in states}
        for state, values in states.items():
            np.testing.assert_allclose(found[state][row], values[0], atol=1e-5)
    assert len(kinds) > 6


@ONE
@pytest.mark.parametrize("target", ["tflite", "onnx", "tflite-int8"])
def test_exported_step_passes_the_gate(name, target, runs, bundles, tmp_path):
    step = load_model(bundles[name].path)
    made = export.export(step, target, tmp_path / "x", samples=runs[name].samples(64))
    assert made.manifest.parity.passed


@BOTH
def test_an_exported_captioner_says_what_the_model_says_of_a_picture(name, tmp_path):
    """By the file alone, in Python, by the command and by the server."""
    networks = shaken(name)
    random = np.random.RandomState(2)
    colours = random.randint(0, 2, (6, 1, 1, 3)) * 128  # noise alone is all alike
    pixels = (colours + random.randint(0, 128, (6, 16, 16, 3))).astype(np.uint8)
    std = 5 if name == TELL else 60  # so that not all are told alike
    known = Preprocessing(size=16, channels=3, mean=(120, 130, 140), std=(std, std, std))
    images = known.apply(pixels)
    labels = (*MARKS, *"abcdef")
    net = telling.whole(networks)
    given = {
        tensor.name: random.uniform(-1, 1, (6, *tensor.shape[1:])).astype("float32")
        for tensor in net.inputs
    } | {"image": images, "tokens": random.randint(1, 9, (6, 1)).astype("int32")}  # fmt: skip
    about = export.About(
        name="c", task="caption", labels=labels, units={"tokens": "word"}, preprocessing=known
    )
    export.export(net, "tflite", tmp_path / "c", samples=given, about=about)
    options = {"temperature": 0, "tokens": 5}
    said = np.asarray(telling.greedy(networks, images, 5)["captions"])
    expected = [Vocabulary.of_names(labels, "word").decode(row) for row in said]
    assert len(set(expected)) > 1 and all(expected)
    files = [tmp_path / f"{number}.png" for number in range(6)]
    for file, picture, text in zip(files, pixels, expected, strict=True):
        Image.fromarray(picture).save(file)
        assert serving.write(tmp_path / "c", picture=file, count=2, **options) == [text] * 2
    with serving.Server(tmp_path / "c", port=0) as server:
        coded = {"picture": {"b64": base64.b64encode(files[1].read_bytes()).decode()}}
        assert call(f"{server.url}:generate", coded | options)[1] == {"texts": [expected[1]]}
        for wrong, told in (
            ({}, "picture: got none for a model of caption; expected one"),
            (coded | {"prompt": "a"}, "generate.prompt: got one beside a picture; drop it"),
            ({"picture": "x"}, "picture: expected {"),
            ({"picture": {"b64": "AAAA"}}, "picture"),
        ):
            status, payload = call(f"{server.url}:generate", wrong)
            assert status == 400 and told in payload["error"], payload
        document = call(f"{server.root}/openapi.json")[1]["components"]["schemas"]
        assert document["c.generate"]["required"] == ["picture"]
    with pytest.raises(ValueError, match="expected one file of a picture"):
        package.generate(tmp_path / "c", start=files)
    assert package.generate(tmp_path / "c", start=files[2], **options) == [expected[2]]
    kept = files[2].read_bytes()
    with pytest.raises(FileExistsError):  # never what is read, whatever is said
        package.generate(tmp_path / "c", start=files[2], out=files[2], force=True, **options)
    assert files[2].read_bytes() == kept


def test_an_exported_file_is_measured(bundles, zoo, tmp_path):
    path = bundles[ATTEND].path
    zoo("export", path, "onnx", "--out", tmp_path)
    found = zoo("evaluate", path, "--file", tmp_path / f"{ATTEND}-onnx", "--json")
    ours = bundles[ATTEND].report.metrics
    for key in ("exact_match", "bleu1", "bleu2"):
        assert found["metrics"][key] == pytest.approx(ours[key], abs=1e-6), key


@ONE
def test_networks_are_exported_apart(name, bundles, zoo, tmp_path):
    for part in ("encoder", "decoder"):
        file = bundles[name].path / "networks" / f"{part}.keras"
        zoo("export", file, "tflite", "onnx", "--out", tmp_path)
        for target in ("tflite", "onnx"):
            manifest = json.loads((tmp_path / f"{part}-{target}" / "manifest.json").read_text())
            assert manifest["parity"]["passed"]


@ONE
@pytest.mark.parametrize("recipe", [pytest.param("prune50", marks=pytest.mark.slow), "int8"])
def test_compressed_captioner_is_measured_itself(name, recipe, runs, bundles):
    run = runs[name]
    model = load_model(bundles[name].path)

    def tune(network, *, epochs, callbacks, rate=1.0):
        run.train(network, settings=run.recipe.train.further(1, rate=rate))

    small = compress.apply(recipe, model, samples=run.samples(64), fit=tune)
    before, after = (run.evaluate(one, "test").metrics["loss"] for one in (model, small.model))
    assert after != before and after < before + 0.4


def test_predict_says_what_is_there(bundles, zoo, tmp_path, data):
    paths = [tmp_path / f"{index}.png" for index in range(2)]
    for path, image in zip(paths, data.test["image"], strict=False):
        Image.fromarray(image).save(path)
    path = bundles[ATTEND].path
    rows = zoo("predict", path, *paths, "--json", "--out", tmp_path / "drawn")
    assert [row["image"] for row in rows] == [str(p) for p in paths]
    run = Run(bundles[ATTEND].recipe, networks=load_networks(path))
    images = run.preprocessing.apply(data.test["image"][:2])
    told = telling.greedy(run.networks, images, 11)["captions"]
    expected = [" ".join(words(row, digit_captions.VOCABULARY)) for row in np.asarray(told)]
    assert [row["caption"] for row in rows] == expected
    assert Image.open(tmp_path / "drawn" / "0.png").width == 192
    wide = zoo("predict", path, paths[0], "--beam", 4, "--top", 2, "--json")
    assert len(wide) == 2
    assert wide[0]["log_probability"] >= max(
        wide[1]["log_probability"], rows[0]["log_probability"] - 1e-4
    )
    told = zoo("predict", path, paths[0], "--beam", 0, expect=2)
    assert "beam" in told


# -- hard attention -------------------------------------------------------------------------------


def hard_ones(classes=9, **settings):
    """Networks of hard attention, and a batch with what is drawn."""
    keras.utils.set_random_seed(5)
    options = {"units": 12, "embedding": 6, "hard": True}
    networks = create(HARD, input_shape=(16, 16, 3), num_classes=classes, **options)
    random = np.random.RandomState(3)
    for weight in networks["decoder"].weights:
        weight.assign(random.uniform(-0.5, 0.5, weight.shape))
    networks["baseline"].set_weights([np.array([[-1.5]], "float32")])
    images, tokens = some(6)
    tokens[1, 3:] = PADDING
    task = Caption(hard=Hard(words=8, **settings))
    batch = {"image": images, "tokens": tokens, "weight": np.ones(6, "float32")}
    for name, (_, shape) in task.draws(networks).items():
        batch[name] = random.uniform(size=(6, *shape)).astype("float32")
    return task, networks, {name: keras.ops.convert_to_tensor(v) for name, v in batch.items()}


@pytest.mark.oracle
def test_the_loss_of_hard_attention_is_its_equations():
    """Word by word; the gradient of the places is REINFORCE's alone, of the words none of it."""
    task, networks, batch = hard_ones(reward=0.7, entropy=0.05)
    found = telling.told(
        networks, batch["image"], batch["tokens"][:, :-1], training=True,
        drawn=task.hard.drawn(batch, 4),
    )  # fmt: skip
    targets = np.asarray(batch["tokens"])[:, 1:]
    logs = log_softmax(np.asarray(found["logits"], "float64"), axis=-1)
    shares, looked = (np.asarray(found[n], "float64") for n in ("place_weights", "place_looked"))
    assert (looked.sum(axis=-1) == 1).all() and set(np.unique(looked)) == {0.0, 1.0}
    seen = task.look("words", networks, batch, training=True)
    slow = task.look("baseline", networks, batch, training=True)
    for n in range(6):
        words = [t for t in range(4) if targets[n, t] != PADDING]
        told = [logs[n, t, targets[n, t]] for t in range(4)]
        for t in words:
            worth = np.mean([told[later] for later in words if later >= t])
            place = looked[n, t].argmax()
            entropy = -(shares[n, t] * np.log(shares[n, t])).sum()
            loss = -told[t] - 0.05 * entropy
            if float(batch["soft_look"][n, 0]) >= 0.5:
                loss -= 0.7 * (worth + 1.5) * np.log(shares[n, t, place])
            assert float(seen.loss.values[n, t]) == pytest.approx(loss, abs=1e-4)
            follows = 0.5 * (worth + 1.5) ** 2
            assert float(slow.loss.values[n, t]) == pytest.approx(follows, abs=1e-4)
    np.testing.assert_array_equal(seen.loss.weights, targets != PADDING)


@pytest.mark.oracle
def test_places_are_drawn_by_their_weights_and_the_average_moves():
    """The share of draws that look at a place; a step of SGD at 0.1 is 0.9 b + 0.1 mean."""
    task, networks, batch = hard_ones(soft=0.0)
    count, random = 3000, np.random.RandomState(0)
    same = {name: np.repeat(np.asarray(batch[name])[:1], count, axis=0) for name in batch}
    same["place_noise"] = random.uniform(size=same["place_noise"].shape).astype("float32")
    same = {name: keras.ops.convert_to_tensor(values) for name, values in same.items()}
    found = telling.told(
        networks, same["image"], same["tokens"][:, :1], training=True,
        drawn=task.hard.drawn(same, 1),
    )  # fmt: skip
    shares = np.asarray(found["place_weights"])[0, 0]
    drawn = np.asarray(found["place_looked"])[:, 0].mean(axis=0)
    np.testing.assert_allclose(drawn, shares, atol=4 * np.sqrt(shares.max() / count))
    objective = task.objectives()[1]
    (weight,) = networks["baseline"].trainable_variables
    _, (slope,), seen = steps.gradient(task, objective, networks, batch, variables=[weight])
    found = telling.told(
        networks, batch["image"], batch["tokens"][:, :-1], training=True,
        drawn=task.hard.drawn(batch, 4),
    )  # fmt: skip
    targets, real = np.asarray(batch["tokens"])[:, 1:], np.asarray(seen.loss.weights)
    logs = log_softmax(np.asarray(found["logits"], "float64"), axis=-1)
    nats = -np.take_along_axis(logs, targets[..., None], axis=-1)[..., 0].astype("float32")
    mean = (np.asarray(task.hard.worth(nats, real)) * real).sum() / real.sum()
    moved = -1.5 - 0.1 * float(slope[0, 0])
    assert moved == pytest.approx(0.9 * -1.5 + 0.1 * mean, abs=1e-5)


def test_hard_attention_looks_at_the_likeliest_place_when_it_is_deployed():
    task, networks, batch = hard_ones()
    model = telling.whole(networks)
    assert [tensor.name for tensor in model.inputs] == ["image", "tokens", "lstm_h", "lstm_c"]
    found = telling.told(networks, batch["image"], batch["tokens"][:, :-1], training=False)
    looked, shares = (np.asarray(found[name]) for name in ("place_looked", "place_weights"))
    np.testing.assert_array_equal(looked.argmax(axis=-1), shares.argmax(axis=-1))
    with pytest.raises(ValueError, match=r"^task\.hard: the decoder looks at all places at once"):
        task.draws(shaken(ATTEND))


@pytest.mark.slow
def test_a_resumed_run_of_hard_attention_equals_a_whole_one(tmp_path):
    changes = [*SMALL, "train.epochs=2"]
    bundle = fit(HARD, out=tmp_path / "whole", changes=changes)
    toy.check_resumed(bundle, tmp_path / "part", changes=changes, stop_at=3)
    samples = Run(bundle.recipe, networks=load_networks(bundle.path)).samples(16)
    files = package.export(bundle, "tflite", "onnx", out=tmp_path / "exported", samples=samples)
    assert all(one.manifest.parity for one in files)
    small = package.compress(bundle.path, "int8", out=tmp_path / "int8")
    assert package.export(small, "tflite-int8", out=tmp_path / "exported")
