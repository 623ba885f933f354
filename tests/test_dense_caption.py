"""Dense captioning: phrases of scenes, its measure by brute force, boxes that have phrases."""

import colorsys
import itertools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from PIL import Image

import compress
import export
from export.formats.tflite.flatbuffer import parse, schema
from tests import scenes as kit
from tests import toy
from tests.golden.vector import fill
from zoo.bundle import Bundle
from zoo.common.sentences import END, PADDING, START, words
from zoo.data.loading import load
from zoo.data.sets import scene_phrases
from zoo.datasets import DATASETS
from zoo.layers.proposals import Detections
from zoo.metrics.dense_captions import Described, average_precision, meteor_exact
from zoo.models.build import create
from zoo.models.saved import load_model
from zoo.tasks import pictures
from zoo.tasks.places.detect import learnt
from zoo.tasks.words import telling
from zoo.tasks.words.dense_caption import DenseCaption
from zoo.training.fitting import fit
from zoo.training.run import Run

NAME = "densecap_small"
NARROW = {"width": 8, "units": 16, "language": 12}
SMALL = [f"settings.{key}={value}" for key, value in NARROW.items()]
SMALL += ["train.batch_size=16", "hardware.precision=float32"]
QUICK = ["train.epochs=10", "train.optimizer.learning_rate=0.01"]


@pytest.fixture(scope="module", autouse=True)
def _few(tmp_path_factory):
    yield from kit.few(tmp_path_factory)


@pytest.fixture(scope="module")
def data(_few):
    return load(scene_phrases.NAME)


@pytest.fixture(scope="module")
def trained(_few, tmp_path_factory):
    """A narrow net that has begun to find digits and to speak."""
    out = tmp_path_factory.mktemp("runs") / "densecap"
    return fit(NAME, out=out, changes=[*SMALL, *QUICK])


@pytest.fixture(scope="module")
def net():
    keras.utils.set_random_seed(0)
    return create(NAME, **NARROW)


def batch_of(data, count):
    batch = {name: values[:count].copy() for name, values in data.train.columns.items()}
    batch["image"] = batch["image"].astype(np.float32) / 255
    return batch


# -- phrases --------------------------------------------------------------------------------------


def test_colours_are_those_of_the_hue():
    random = np.random.RandomState(0)
    for colour in random.uniform(0, 255, (2000, 3)):
        hue, lightness, _ = colorsys.rgb_to_hls(*colour / 255)
        if max(colour) - min(colour) < scene_phrases.CHROMA:
            expected = scene_phrases.GREYS[int(lightness * 3)]
        else:  # degrees from -30 to 30 are red, and so on
            expected = scene_phrases.HUES[int((hue * 360 + 30) // 60) % 6]
        assert scene_phrases.colour_name(colour) == expected
    assert [scene_phrases.colour_name([v] * 3) for v in (0, 128, 255)] == ["black", "grey", "white"]
    assert scene_phrases.colour_name([255, 0, 255]) == "purple"


def test_phrases_say_what_the_scene_shows(data):
    assert tuple(column.kind for column in data.columns.values()) == DATASETS[data.name].kinds
    sizes = set()
    for index in range(len(data.train)):
        scene = {name: values[index] for name, values in data.train.columns.items()}
        for place, label in enumerate(scene["classes"]):
            row = scene["phrases"][place]
            if label < 0:
                assert not row.any()
                continue
            said = words(row, scene_phrases.VOCABULARY)
            assert row[0] == START and row[len(said) + 1] == END and not row[len(said) + 2 :].any()
            *size, colour, digit = said
            assert digit == scene_phrases.DIGITS[label]
            y1, x1, y2, x2 = scene["boxes"][place]
            longer = max(y2 - y1, x2 - x1)
            assert size == ["small"] * int(longer < 20) + ["large"] * int(longer > 24)
            pixels = scene["image"][scene["instances"] == place + 1]
            assert scene_phrases.colour_name(np.median(pixels, axis=0)) == colour
            sizes.add(tuple(size))
    assert sizes == {(), ("small",), ("large",)}


def test_other_data_are_refused():
    with pytest.raises(ValueError, match=r"got dense_caption, which learns phrases .*; digit_sc"):
        DenseCaption().check(load("digit_scenes"))


# -- measures -------------------------------------------------------------------------------------


def by_trying(said, true):
    """METEOR by all alignments there are."""
    best = (0, 0)
    places = [[None, *(j for j, other in enumerate(true) if other == word)] for word in said]
    for chosen in itertools.product(*places):
        pairs = [(i, j) for i, j in enumerate(chosen) if j is not None]
        if len({j for _, j in pairs}) < len(pairs):
            continue
        runs = sum(
            before is None or (i, j) != (before[0] + 1, before[1] + 1)
            for before, (i, j) in zip([None, *pairs], pairs, strict=False)
        )
        best = max(best, (len(pairs), -runs))
    matches, runs = best[0], -best[1]
    if not matches:
        return 0.0
    p, r = matches / len(said), matches / len(true)
    return 10 * p * r / (r + 9 * p) * (1 - 0.5 * (runs / matches) ** 3)


def test_meteor_is_the_best_of_all_alignments():
    random = np.random.RandomState(1)
    for _ in range(300):
        said, true = (random.choice(list("abcd"), random.randint(1, 6)) for _ in range(2))
        assert meteor_exact(list(said), list(true)) == pytest.approx(by_trying(said, true))
    cat = ["the", "cat", "sat", "on", "the", "mat"]
    assert meteor_exact(cat, cat) == pytest.approx(0.9977, abs=1e-4)
    assert meteor_exact([*cat[:2], "was", *cat[2:]], cat) == pytest.approx(0.9654, abs=1e-4)
    assert meteor_exact([], cat) == meteor_exact(cat, []) == meteor_exact(["dog"], cat) == 0


def overlap(one, other):
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = np.prod(np.maximum(high - low, 0))
    return shared / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared)


def precision_by_hand(truth, found, least, worth):
    """Average precision at one pair of thresholds, box by box."""
    rows, count = [], sum(len(one.boxes) for one in truth)
    for known, given in zip(truth, found, strict=True):
        taken = set()
        for index in np.argsort(-given.scores):
            shared = [overlap(given.boxes[index], box) for box in known.boxes]
            best = int(np.argmax(shared))
            right = shared[best] >= least and best not in taken
            right = right and by_trying(given.phrases[index], known.phrases[best]) > worth
            if shared[best] > 0:
                taken.add(best)
            rows.append((given.scores[index], right))
    rows = [right for _, right in sorted(rows, key=lambda row: -row[0])]
    total = 0.0
    for recall in range(101):
        reached = [
            sum(rows[: n + 1]) / (n + 1)
            for n in range(len(rows))
            if 100 * sum(rows[: n + 1]) >= recall * count
        ]
        total += max(reached, default=0.0) / 101
    return total


def test_dense_map_is_that_of_brute_force():
    random = np.random.RandomState(2)
    names = ["small", "large", "red", "blue", "one", "two"]

    def phrase():
        return [names[2 * place + random.randint(2)] for place in range(3)]

    truth, found = [], []
    for _ in range(12):
        low = random.uniform(0, 30, (3, 2))
        boxes = np.concatenate([low, low + random.uniform(8, 20, (3, 2))], axis=1)
        truth.append(Described(boxes, [phrase() for _ in boxes]))
        which = random.randint(0, 3, 7)
        moved = boxes[which] + random.uniform(-3, 3, (7, 4))
        said = [truth[-1].phrases[i] if random.randint(2) else phrase() for i in which]
        found.append(Described(moved, said, random.permutation(7) / 7 + random.uniform(0, 0.1, 7)))
    got = average_precision(truth, found)
    each = {
        least: [precision_by_hand(truth, found, least, worth) for worth in
                (-1, 0, 0.05, 0.1, 0.15, 0.2, 0.25)]
        for least in (0.3, 0.4, 0.5, 0.6, 0.7)
    }  # fmt: skip
    assert 0.1 < got["map"] < got["detection_map"] < 0.9
    assert got["map"] == pytest.approx(np.mean([row[1:] for row in each.values()]), abs=1e-9)
    assert got["detection_map"] == pytest.approx(np.mean([row[0] for row in each.values()]))
    assert got["ap50"] == pytest.approx(np.mean(each[0.5][1:]))


def test_dense_map_of_what_is_known():
    """Of two things one is found, whose phrase has one word of two; and one thing that is none."""
    truth = [Described(np.array([[0, 0, 10, 10.0], [20, 20, 30, 30]]), [["red", "one"], ["two"]])]
    boxes = np.array([[0, 0, 10, 10.0], [40, 40, 50, 50]])
    found = [Described(boxes, [["red", "six"], ["two"]], np.array([0.9, 0.8]))]
    got = average_precision(truth, found)
    # METEOR 1/2 * (1 - 1/2) = 0.25, which is above five of six; precision 1 to a recall of 1/2
    assert got["map"] == pytest.approx(5 / 6 * 51 / 101)
    assert got["detection_map"] == pytest.approx(51 / 101)
    assert got["recall50"] == 0.5 and got["exact_match50"] == 0
    none = [Described(np.zeros((0, 4)), [], np.zeros(0))]
    assert set(average_precision(truth, none).values()) == {0.0}
    assert set(average_precision(none, found).values()) == {0.0}


# -- the network ----------------------------------------------------------------------------------


def test_codes_go_with_the_boxes_of_their_region():
    random = np.random.RandomState(3)
    ends = np.sort(random.uniform(0, 64, (2, 12, 2, 2)), axis=2)
    regions = ends.reshape(2, 12, 4).astype("float32")
    logits = random.normal(size=(2, 12, 2)).astype("float32") * 2
    codes = random.normal(size=(2, 12, 5)).astype("float32")
    layer = Detections(side=(64, 64), num=15, iou_threshold=0.3)
    boxes, scores, _, own = map(
        ops.convert_to_numpy, layer([logits, np.zeros((2, 12, 4), "float32"), regions, codes])
    )
    plain = layer([logits, np.zeros((2, 12, 4), "float32"), regions])
    for one, other in zip(plain, (boxes, scores), strict=False):
        np.testing.assert_array_equal(one, other)
    for picture, place in np.ndindex(2, 15):
        if not scores[picture, place]:
            assert not own[picture, place].any()
            continue
        which = np.abs(regions[picture] - boxes[picture, place]).sum(axis=1).argmin()
        np.testing.assert_array_equal(own[picture, place], codes[picture, which])
    assert 2 < (scores > 0).sum() < 24


def test_the_graph_says_the_likeliest_words(net, data):
    """Its decoder, called by itself from what each box saw, says the same."""
    fill(decoder := net.get_layer("decoder"))
    images = batch_of(data, 8)["image"]
    answer = {name: ops.convert_to_numpy(x) for name, x in net(images).items()}
    heads = learnt(net)(images)
    reads = [heads[name] for name in ("logits", "offsets", "regions", "pictures")]
    own = ops.reshape(net.get_layer("detections")(reads)[3], (80, -1))
    known = telling.begin_from(decoder, {"picture": own})
    tokens = np.full(80, START, "int32")
    there = answer["scores"].reshape(80) > 0
    for place in range(4):
        known, found = telling.advance(decoder, known, tokens)
        best = ops.convert_to_numpy(found["logits"]).argmax(axis=1)
        tokens = np.where((tokens == END) | (tokens == PADDING), PADDING, best).astype("int32")
        np.testing.assert_array_equal(answer["phrases"][:, :, place].ravel(), tokens * there)
    assert there.sum() > 20 and len(np.unique(answer["phrases"][answer["scores"] > 0], axis=0)) > 1


def test_words_are_learnt_of_the_regions_of_things(net, data):
    batch = batch_of(data, 12)
    heads = {name: ops.convert_to_numpy(x) for name, x in learnt(net)(batch["image"]).items()}
    seen = DenseCaption().look("loss", {"net": net}, batch, training=False)
    nats, decoder = [], net.get_layer("decoder")
    for picture, region in np.ndindex(12, 10):  # of the ten best
        box = heads["regions"][picture, region]
        things = np.flatnonzero(batch["classes"][picture] >= 0)
        shared = [overlap(box, batch["boxes"][picture, n]) for n in things]
        if max(shared) < 0.5:
            continue
        picture_code = ops.convert_to_tensor(heads["pictures"][picture, region][None])
        known = telling.begin_from(decoder, {"picture": picture_code})
        row = batch["phrases"][picture, things[np.argmax(shared)]]
        for before, token in itertools.pairwise(row):
            known, found = telling.advance(decoder, known, np.array([before]))
            if token == PADDING:
                break
            logits = ops.convert_to_numpy(found["logits"])[0].astype("float64")
            nats.append(np.log(np.exp(logits).sum()) - logits[token])
    mean = seen.measures["caption_loss"]
    values, real = (ops.convert_to_numpy(x) for x in mean)
    assert real.sum() == len(nats) > 10
    assert (values * real).sum() / real.sum() == pytest.approx(np.mean(nats), rel=1e-4)


def test_a_picture_counts_the_same_in_every_batch(net, data):
    task, batch = DenseCaption(), batch_of(data, 6)
    whole = task.look("loss", {"net": net}, batch, training=False)
    parts = [
        task.look("loss", {"net": net}, {k: v[i : i + 1] for k, v in batch.items()}, training=False)
        for i in range(6)
    ]
    assert set(task.weights()) < set(whole.measures)
    np.testing.assert_allclose(
        whole.loss.values, [float(part.loss.values[0]) for part in parts], rtol=1e-4
    )


@pytest.mark.parametrize("empty", [False, True])
def test_every_weight_learns_and_nothing_is_no_number(empty, net, data):
    batch = batch_of(data, 8)
    if empty:
        batch["boxes"][:], batch["classes"][:], batch["phrases"][:] = 0, -1, 0
    with tf.GradientTape() as tape:
        seen = DenseCaption().look("loss", {"net": net}, batch, training=True)
        total = tf.reduce_mean(seen.loss.values)
    grads = tape.gradient(total, net.trainable_variables)
    assert np.isfinite(float(total))
    for weight, grad in zip(net.trainable_variables, grads, strict=True):
        assert grad is not None and np.isfinite(grad := ops.convert_to_numpy(grad)).all()
        assert empty or grad.any(), weight.path


def test_pictures_one_by_one_get_the_answers_of_eight(net, data):
    images = batch_of(data, 8)["image"]
    whole = net(images)
    for index in range(8):
        alone = net(images[index : index + 1])
        for key, values in whole.items():
            np.testing.assert_allclose(values[index], alone[key][0], atol=1e-4, err_msg=key)


@pytest.mark.parametrize("target", ["tflite", "onnx"])
def test_it_is_exported(target, data, tmp_path):
    """The numeric gate raises where the file does not answer as the model does."""
    net = create(NAME, **NARROW)
    fill(net)
    images = batch_of(data, 24)["image"]
    done = export.export(net, target, tmp_path / target, samples=images)
    assert done.manifest.parity.passed and done.manifest.parity.samples == 24
    if target == "tflite":
        (file,) = (tmp_path / target).glob("*.tflite")
        codes = parse(file.read_bytes()).operatorCodes
        found = {max(code.builtinCode, code.deprecatedBuiltinCode) for code in codes}
        assert schema.BuiltinOperator.CUSTOM not in found


# -- bundles --------------------------------------------------------------------------------------


def test_it_learns_and_explains_itself(trained):
    rows = np.genfromtxt(trained.path / "history.csv", delimiter=",", names=True)
    assert rows["caption_loss"][-1] < 0.8 * rows["caption_loss"][0]
    assert rows["anchor_loss"][-1] < rows["anchor_loss"][0]
    card, metrics = trained.card, trained.report.metrics
    assert card.task == "dense_caption" and card.labels == scene_phrases.VOCABULARY
    assert list(card.outputs) == ["boxes", "scores", "phrases"]
    assert {"map", "detection_map", "recall50", "exact_match50"} < set(metrics)
    assert np.asarray(Image.open(trained.path / "phrases.png")).std() > 10


@pytest.mark.slow  # a detector is resumed in tests/test_detect_learning.py
def test_a_resumed_run_equals_a_whole_one(trained, tmp_path):
    toy.check_resumed(trained, tmp_path / "part", changes=[*SMALL, *QUICK], stop_at=20)


TWO_DEVICES = """
    import json, sys
    from tests import two
    from zoo.data.sets import digit_scenes

    digit_scenes.COUNTS = {"train": 64, "validation": 30, "test": 4}  # 30: a batch that is padded
    changes = json.loads(sys.argv[1]) + [
        "train.epochs=2", "train.optimizer={kind: sgd, learning_rate: 0.05, clip_global_norm: 0.5}"
    ]
    print(json.dumps(two.of_recipe("densecap_small", changes, prepare=two.freeze_statistics)))
"""


@pytest.mark.dist
@pytest.mark.slow  # the detector's steps and the captioner's are taken so in their own files
def test_two_devices_take_the_steps_of_one(tmp_path):
    found = toy.printed(TWO_DEVICES, json.dumps(SMALL), ZOO_HOME=str(tmp_path))
    weights, losses, moved = found
    assert moved > 1e-3 and weights < 1e-5 and losses < 1e-4


def losses(run, *models):
    """The mean loss of each model on the test split."""
    batch = run.columns(run.raw("test", 24))
    seen = [run.task.look("loss", {"net": one}, batch, training=False) for one in models]
    return [float(ops.mean(one.loss.values)) for one in seen]


def test_rounded_to_integers_it_says_much_the_same(trained):
    run, model = Run(trained.recipe), load_model(trained.path)
    small = compress.apply("int8", model, samples=run.samples(24)).model
    after, before = losses(run, small, model)
    assert after != before and after < 1.15 * before  # of a net that has hardly begun
    assert [tensor.shape for tensor in keras.tree.flatten(small.output)] == [
        tensor.shape for tensor in keras.tree.flatten(model.output)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["prune50", "int8"])
def test_it_is_compressed_from_the_command_line(recipe, trained, tmp_path, zoo):
    out = tmp_path / recipe
    changes = ["--set", "data.limit=32"]
    zoo("compress", trained.path, recipe, *(changes if recipe == "prune50" else []), "--out", out)
    small = Bundle(out)
    part, known = small.report.compress, trained.report.metrics["map"]
    assert part.parent_metrics["map"] == pytest.approx(known)
    model = load_model(small.path)
    after, before = losses(Run(trained.recipe), model, load_model(trained.path))
    assert after != before and after < 1.15 * before
    if recipe == "prune50":
        kernels = {w.path: w.numpy() for w in model.weights if w.path.endswith("/kernel")}
        del kernels["lstm/kernel"]  # the pass leaves the cells of recurrent layers
        zeros = sum(int((kernel == 0).sum()) for kernel in kernels.values())
        assert zeros / sum(k.size for k in kernels.values()) == pytest.approx(0.5, abs=0.03)
    else:
        assert part.file["metrics"]["map"] > known - 0.02


def test_predict_draws_boxes_with_their_phrases(trained, data, tmp_path, zoo):
    path = tmp_path / "scene.png"
    Image.fromarray(data.test["image"][0]).resize((128, 128)).save(path)
    rows = zoo("predict", trained.path, path, "--json", "--out", tmp_path / "drawn")
    run, model = Run(trained.recipe), load_model(trained.path)
    image = run.preprocessing.apply(run.preprocessing.image(path)[None])
    answer = {name: ops.convert_to_numpy(x)[0] for name, x in model(image).items()}
    real = answer["scores"] > 0
    assert [row["phrase"] for row in rows] == [
        " ".join(words(row, scene_phrases.VOCABULARY)) for row in answer["phrases"][real]
    ]
    sides = [[row[side] for side in ("y1", "x1", "y2", "x2")] for row in rows]
    np.testing.assert_allclose(sides, answer["boxes"][real] * 2, rtol=1e-3, atol=1e-2)
    assert real.any() and Image.open(tmp_path / "drawn" / "scene.png").width == 256


def test_a_long_name_stays_within_the_picture():
    image = np.zeros((40, 140, 3), np.uint8)
    box = np.array([[20, 120, 30, 138]])
    name, ink = "large yellow seven", [(255, 0, 0)]
    drawn = pictures.draw_boxes(image, box, [name], colours=ink)
    text = drawn[:19, :, 0] > 0
    whole = pictures.draw_boxes(image, np.array([[20, 2, 30, 8]]), [name], colours=ink)[:19, :, 0]
    assert text.sum() == (whole > 0).sum() > 100 and text[:, :20].sum() == 0
