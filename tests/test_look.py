"""Layers of a classifier, their units, pictures made for them, and what fools a classifier."""

import keras
import numpy as np
import pytest
from keras import layers

from tests.test_explain import INPUTS, close, filled, net
from zoo import explain
from zoo.stages.understand.classifiers import open_classifier


@pytest.fixture(scope="module")
def toy():
    return explain.Classifier(net())


@pytest.fixture(scope="module")
def trained():
    return open_classifier("lenet5")


def paths():
    """Strides, padding, dilation, branches, a nested net: whatever moves a receptive field."""
    image = keras.Input((32, 32, 1), name="image")
    x = layers.ZeroPadding2D(((1, 2), (0, 1)), name="pad")(image)
    x = layers.Conv2D(4, 3, strides=2, name="conv1")(x)
    y = layers.Conv2D(4, 3, padding="same", dilation_rate=2, name="wide")(x)
    x = layers.Add(name="add")([x, layers.DepthwiseConv2D(3, padding="same", name="deep")(y)])
    inner = keras.Input(x.shape[1:], name="within")
    body = keras.Model(inner, layers.AveragePooling2D(3, 2, padding="same", name="pool")(inner))
    x = layers.Conv2D(3, 2, name="conv2")(body(x))
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    model = keras.Model(image, layers.Dense(2, name="logits")(x))
    for index, weight in enumerate(model.weights):  # positive: nothing cancels
        weight.assign(np.random.RandomState(index).uniform(0.1, 1, weight.shape))
    return explain.Classifier(model)


@pytest.mark.parametrize("layer", ["conv1", "wide", "add", "pool", "conv2"])
def test_receptive_fields_are_those_of_the_gradient(layer):
    import tensorflow as tf

    seen = paths()
    field, path = explain.receptive_field(seen, layer), seen.find_layer(layer)
    height, width = seen.shape(path)[1:3]
    picture = tf.constant(np.random.RandomState(1).normal(size=(1, 32, 32, 1)).astype("float32"))
    for row, column in [(0, 0), (height // 2, width // 2), (height - 1, width - 2)]:
        with tf.GradientTape() as tape:
            tape.watch(picture)
            value = tf.reduce_sum(seen.run(picture, layer=path)[1][0, row, column])
        rows, columns = np.nonzero(tape.gradient(value, picture).numpy()[0, ..., 0])
        found = [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
        box = field.box(row, column).tolist()
        if layer == "wide" and row == height - 1:  # its last tap is outside, the one before is not
            assert box[:2] == found[:2] and box[2] >= found[2] and box[3] >= found[3]
        else:
            assert box == found


def test_filters_and_maps(toy):
    found = explain.filters(toy)
    kernel = toy.model.get_layer("conv1").get_weights()[0]
    assert found.shape == (6, 3, 3, 3) and close(found[2], kernel[..., 2]) == 0
    whole = keras.Model(toy.model.input, toy.model.get_layer("conv2").output)
    assert close(explain.activations(toy, INPUTS, "conv2"), whole(INPUTS)) < 1e-6
    means = explain.features(toy, INPUTS, "conv2")
    assert close(means, np.asarray(whole(INPUTS)).mean(axis=(1, 2))) < 1e-6
    with pytest.raises(ValueError, match="has no filters; expected one of conv1, conv2"):
        explain.filters(toy, "hidden")


def test_maximal_patches_are_where_the_maps_are_largest(toy):
    inputs = np.random.RandomState(3).normal(size=(12, 16, 16, 3)).astype("float32")
    found = explain.maximal_patches(toy, inputs, "conv2", unit=4, count=5)
    maps = explain.activations(toy, inputs, "conv2")[..., 4]
    assert found.values == pytest.approx(np.sort(maps.max(axis=(1, 2)))[::-1][:5])
    for value, index, box in zip(*found, strict=True):
        alone = np.zeros_like(inputs[:1])
        y1, x1, y2, x2 = box
        alone[0, y1:y2, x1:x2] = inputs[index, y1:y2, x1:x2]
        assert np.abs(explain.activations(toy, alone, "conv2")[..., 4] - value).min() < 1e-5
    with pytest.raises(ValueError, match="unit 8: layer 'conv2' has 8"):
        explain.maximal_patches(toy, inputs, "conv2", unit=8)


def test_hidden_units_are_counted_as_numpy_does():
    random = np.random.RandomState(0)
    answers = np.maximum(random.normal(size=(50, 6)), 0)
    answers[:, 1], answers[:, 3], answers[:, 4] = 2 * answers[:, 0] + 1, 0, np.eye(50)[7]
    found = explain.hidden_units(answers)
    assert found.dead == [3] and found.duplicates == [(0, 1)]
    live = [0, 1, 2, 4, 5]
    assert close(found.correlation[np.ix_(live, live)], np.corrcoef(answers[:, live].T)) < 1e-9
    assert found.selective[4] == pytest.approx(1) and found.active[4] == pytest.approx(1 / 50)
    assert explain.hidden_units(np.eye(4)).sparse == pytest.approx(1)
    assert explain.hidden_units(np.arange(4)[:, None] + np.ones((4, 3))).sparse < 1e-9
    with pytest.raises(ValueError, match="two of each"):
        explain.hidden_units(answers[:1])


def test_planes_and_neighbours():
    random = np.random.RandomState(0)
    groups = np.concatenate([random.normal(at, 0.1, (12, 8)) for at in (0, 3)])
    near = explain.neighbours(groups, groups[:2], count=3)
    apart = np.linalg.norm(groups[:2, None] - groups, axis=2)
    assert (near.indices == np.argsort(apart, axis=1)[:, :3]).all()
    assert close(near.distances, np.sort(apart, axis=1)[:, :3]) < 1e-6
    centred = groups - groups.mean(axis=0)
    parts = np.linalg.svd(centred, full_matrices=False)
    ours = np.abs(explain.pca(groups))
    assert close(ours, np.abs(parts[0][:, :2] * parts[1][:2])) < 1e-5
    plane = explain.tsne(groups)
    gap = np.linalg.norm(plane[:12].mean(axis=0) - plane[12:].mean(axis=0))
    assert gap > 2 * plane[:12].std() and close(plane, explain.tsne(groups)) == 0


def test_climbed_pictures_are_answered_with_ten_times_as_much():
    model = net()
    for layer in model.layers:  # a grey picture is then answered with next to nothing
        if layer.weights:
            layer.bias.assign(np.zeros(layer.bias.shape))
    toy = explain.Classifier(model)
    how = explain.Ascent(steps=60, bounds=(-1.0, 1.0))
    for made in (explain.class_image(toy, 3, how), explain.neuron(toy, "conv2", unit=2, how=how)):
        assert made.end > 10 * abs(made.start) and made.gain > 10, made[1:4]
        assert np.abs(made.picture).max() <= 1 and len(made.answers) == 60
    again = explain.neuron(toy, "conv2", unit=2, how=how)
    assert close(again.picture, made.picture) == 0
    other = explain.neuron(toy, "conv2", unit=2, how=how._replace(seed=1))
    assert close(other.picture, made.picture) > 1e-3
    for index, one in enumerate(explain.class_images(toy, [1, 3], how)):  # at once as alone
        alone = explain.class_image(toy, (1, 3)[index], how)
        assert one.start == pytest.approx(alone.start, rel=1e-4)
        assert one.end == pytest.approx(alone.end, rel=0.05)
    rough, smooth = (
        np.abs(np.diff(explain.class_image(toy, 3, how._replace(**one)).picture, axis=0)).mean()
        for one in ({"variation": 0.0, "blur": 0.0}, {"variation": 1.0, "blur": 1.0})
    )
    assert smooth < rough
    with pytest.raises(ValueError, match="bounds that rise"):
        explain.class_image(toy, 3, how._replace(bounds=(1.0, 1.0)))


@pytest.mark.parametrize(
    "name",
    ["lenet5", *(pytest.param(one, marks=pytest.mark.slow) for one in ("resnet20", "vgg16"))],
)
def test_every_class_of_a_trained_net_rises_ten_times_as_far_as_noise_moves_it(name, trained):
    """And further than any of the test pictures, whose logits say what a high answer is."""
    opened = trained if name == "lenet5" else open_classifier(name)
    seen, how = opened.unit().seen, explain.Ascent()
    made = explain.class_images(seen, range(10), how)
    pixels = opened.examples(None, 100).pixels
    real = opened.seen.scores(opened.known.apply(pixels)).max(axis=0)
    assert all(one.gain > 10 for one in made), [one.gain for one in made]
    assert all(one.end > top for one, top in zip(made, real, strict=True)), real
    named = seen.scores(np.stack([one.picture for one in made])).argmax(axis=1)
    assert named.tolist() == list(range(10))


def linear(seed=0):
    """Two classes, whose border is a plane: everything is known in closed form."""
    image = keras.Input((4, 4, 1), name="image")
    dense = layers.Dense(2, name="logits")
    model = keras.Model(image, dense(layers.Flatten(name="flat")(image)))
    random = np.random.RandomState(seed)
    dense.set_weights([random.normal(size=(16, 2)).astype("float32"), np.zeros(2, "float32")])
    return explain.Classifier(model), dense.get_weights()[0]


WIDE = (-100.0, 100.0)


def test_attacks_on_a_plane_are_the_closed_forms():
    seen, kernel = linear()
    inputs = np.random.RandomState(2).normal(size=(5, 4, 4, 1)).astype("float32")
    labels = seen.scores(inputs).argmax(axis=1)
    way = (kernel[:, 1] - kernel[:, 0]) * np.where(labels == 0, 1, -1)[:, None]  # (5, 16)
    gap = np.abs(np.diff(seen.scores(inputs), axis=1)[:, 0])
    for made in (
        explain.fgsm(seen, inputs, labels, epsilon=0.1, bounds=WIDE),
        explain.iterative(seen, inputs, labels, epsilon=0.1, bounds=WIDE),
        explain.pgd(seen, inputs, labels, epsilon=0.1, bounds=WIDE),
    ):
        assert close((made - inputs).reshape(5, 16), 0.1 * np.sign(way)) < 1e-5
        lost = gap - np.abs(np.diff(seen.scores(made), axis=1)[:, 0]) * np.where(
            seen.scores(made).argmax(axis=1) == labels, 1, -1
        )
        assert lost == pytest.approx(0.1 * np.abs(way).sum(axis=1), rel=1e-4)  # eps * norm1(w)
    nearest = gap / np.linalg.norm(way, axis=1)
    found = explain.deepfool(seen, inputs, labels, bounds=WIDE)
    assert found.fooled.all() and found.distance == pytest.approx(1.02 * nearest, rel=1e-4)
    found = explain.carlini_wagner(
        seen, inputs, labels, constant=50, steps=400, rate=0.02, bounds=(-4.0, 4.0)
    )
    assert found.fooled.all() and (found.distance >= 0.999 * nearest).all()
    assert found.distance == pytest.approx(nearest, rel=0.1)
    kept = explain.deepfool(seen, inputs, 1 - labels, bounds=WIDE)  # named otherwise already
    assert kept.fooled.all() and not kept.distance.any()


def test_one_change_fools_many_and_tables_say_so():
    seen, _ = linear()
    inputs = np.random.RandomState(2).uniform(0.2, 0.8, (24, 4, 4, 1)).astype("float32")
    named = seen.scores(inputs).argmax(axis=1)
    some = inputs[named == np.bincount(named).argmax()]  # of one class: one way out
    change = explain.universal_perturbation(seen, some, epsilon=0.5, goal=0.7)
    assert np.abs(change).max() <= 0.5
    after = seen.scores((some + change).clip(0, 1)).argmax(axis=1)
    assert np.mean(after != seen.scores(some).argmax(axis=1)) >= 0.7
    other, _ = linear(1)
    rows = explain.robustness({"a": seen, "b": other}, inputs, named, epsilons=[0.0, 0.05, 0.3])
    assert rows[0]["a"] == 1 and rows[0]["b, by a"] == rows[0]["b"]
    falls = [row["a"] for row in rows]
    assert falls == sorted(falls, reverse=True) and falls[-1] < 0.5
    made = {"a": explain.fgsm(seen, inputs, named, epsilon=0.3)}
    (row,) = explain.transfer({"a": seen, "b": other}, made, named)
    assert row["made with"] == "a" and row["a"] == rows[-1]["a"]
    with pytest.raises(ValueError, match="epsilon -1"):
        explain.fgsm(seen, inputs, named, epsilon=-1)


def test_noise_is_taken_for_any_class(trained):
    seen = trained.unit().seen
    made = explain.fooling_images(seen, range(10))
    assert (made.shares >= 0.99).all() and made.inputs.min() >= 0
    assert seen.scores(made.inputs).argmax(axis=1).tolist() == list(range(10))
    far = np.sqrt(np.mean((made.inputs - made.start) ** 2, axis=(1, 2, 3)))
    assert np.median(far) < 0.7 * made.start.std(), far  # most of it is the noise yet
    real = trained.examples(None, 100).pixels.reshape(100, -1) / 255
    alike = np.corrcoef(made.inputs.reshape(10, -1), real)[:10, 10:]
    assert alike.max() < 0.6  # and no digit
    one, again = (explain.fooling_images(seen, [3]).inputs for _ in range(2))
    assert close(one, again) == 0
    with pytest.raises(ValueError, match="share 1"):
        explain.fooling_images(seen, [0], share=1)


def test_umap_says_what_it_needs(monkeypatch):
    import sys

    groups = np.concatenate([np.random.RandomState(0).normal(at, 0.1, (15, 8)) for at in (0, 3)])
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'keras-model-zoo\[umap\]'"):
        explain.umap(groups)


@pytest.mark.slow
def test_umap_keeps_groups_apart():
    pytest.importorskip("umap", reason="pip install umap-learn")
    groups = np.concatenate([np.random.RandomState(0).normal(at, 0.1, (15, 8)) for at in (0, 3)])
    plane = explain.umap(groups, neighbours=5)
    gap = np.linalg.norm(plane[:15].mean(axis=0) - plane[15:].mean(axis=0))
    assert (
        gap > 2 * plane[:15].std(axis=0).max()
        and close(plane, explain.umap(groups, neighbours=5)) == 0
    )


@pytest.mark.oracle
def test_attacks_are_those_of_torchattacks(toy):
    from tests.test_explain import Torch

    attacks = pytest.importorskip("torchattacks", reason="pip install torchattacks")
    twin = Torch(toy.model)
    random = np.random.RandomState(0)
    inputs = random.uniform(0.2, 0.8, (6, 16, 16, 3)).astype("float32")
    labels = toy.scores(inputs).argmax(axis=1)
    images = twin.torch.tensor(inputs.transpose(0, 3, 1, 2))

    def theirs(attack):
        return attack(images, twin.torch.tensor(labels)).numpy().transpose(0, 2, 3, 1)

    def same(ours, other):  # a sign may flip where the gradient is 0 but for rounding
        return np.mean(np.abs(ours - other) < 1e-5)

    made = theirs(attacks.FGSM(twin.net, eps=0.03))
    assert same(explain.fgsm(toy, inputs, labels, epsilon=0.03), made) > 0.999
    made = theirs(attacks.BIM(twin.net, eps=0.03, alpha=0.01, steps=5))
    ours = explain.iterative(toy, inputs, labels, epsilon=0.03, rate=0.01, steps=5)
    assert same(ours, made) > 0.99
    made = theirs(attacks.PGD(twin.net, eps=0.03, alpha=0.03 / 8, steps=20))  # from other places
    ours = explain.pgd(toy, inputs, labels, epsilon=0.03)
    lost = [np.take_along_axis(toy.scores(x), labels[:, None], 1) for x in (ours, made)]
    assert close(*lost) < 0.05 * np.ptp(toy.scores(inputs)), lost
    assert np.abs(made - inputs).max() == pytest.approx(np.abs(ours - inputs).max(), abs=1e-5)
    made = theirs(attacks.DeepFool(twin.net, steps=20, overshoot=0.02))
    found = explain.deepfool(toy, inputs, labels, steps=20)
    norms = np.sqrt(((made - inputs) ** 2).sum(axis=(1, 2, 3)))
    fooled = toy.scores(made).argmax(axis=1) != labels
    assert (found.fooled == fooled).all()
    assert found.distance == pytest.approx(norms, rel=0.02)
    made = theirs(attacks.CW(twin.net, c=10, kappa=0, steps=40, lr=0.02))
    ours = explain.carlini_wagner(toy, inputs, labels, constant=10, steps=40, rate=0.02)
    norms = np.sqrt(((made - inputs) ** 2).sum(axis=(1, 2, 3)))  # theirs ends early
    assert ours.fooled.all() and (ours.distance <= 1.001 * norms).all()
    best = _carlini_wagner(twin, images, labels)
    assert ours.distance == pytest.approx(best, rel=1e-3)


def _carlini_wagner(twin, images, labels):
    """The paper's objective under torch's own Adam: the least distance that was met."""
    torch = twin.torch
    w = torch.atanh((2 * images - 1).clip(-1 + 1e-6, 1 - 1e-6)).requires_grad_()
    adam, best = torch.optim.Adam([w], lr=0.02), np.full(len(images), np.inf)
    for _ in range(40):
        x = (torch.tanh(w) + 1) / 2
        scores, squared = twin.net(x), ((x - images) ** 2).sum((1, 2, 3))
        own = scores[range(len(labels)), labels]
        other = scores.clone()
        other[range(len(labels)), labels] = -np.inf
        named = scores.argmax(1).numpy() != labels
        best = np.where(named, np.minimum(best, squared.detach().numpy()), best)
        loss = (squared + 10 * (own - other.max(1).values).clip(min=0)).sum()
        adam.zero_grad()
        loss.backward()
        adam.step()
    return np.sqrt(best)


@pytest.fixture
def photo(tmp_path):
    from PIL import Image

    place = tmp_path / "photo.png"
    Image.fromarray(np.random.RandomState(0).randint(0, 255, (32, 32)).astype(np.uint8)).save(place)
    return place


def test_zoo_explain_looks_at_layers(zoo, bundle, photo, tmp_path):
    few = ("--examples", 40, "--json")
    for method, more in {
        "filters": (),
        "maximal_patches": ("--unit", 1, *few[:2]),
        "neighbours": few[:2],
        "pca": few[:2],
        "hidden_units": few[:2],
        "neuron": ("--unit", 0),
        "fooling_image": ("--class", 3),
        "universal": ("--examples", 20),
        "robustness": ("--examples", 20, "--beside", bundle.path, "--beside", bundle.path),
        "transfer": ("--examples", 20, "--beside", bundle.path),
    }.items():
        out = tmp_path / f"{method}.png"
        rows = zoo("explain", bundle.path, "--method", method, *more, "--out", out, "--json")
        assert rows and out.is_file(), method
        if method == "robustness":  # two of three are called lenet5
            name = bundle.path.name
            assert list(rows[0]) == [
                "epsilon", f"{name} (1)", f"{name} (2)", f"{name} (3)",
                f"{name} (2), by {name} (1)", f"{name} (3), by {name} (1)",
                "pictures",
            ]  # fmt: skip
            assert rows[0]["epsilon"] == 0 and rows[-1][f"{name} (1)"] < rows[0][f"{name} (1)"]
        if method == "transfer":
            assert len(rows) == 3 and len(rows[0]) == 4 and rows[0]["pictures"] == 20
    for method in ("activations", "fgsm", "deepfool"):
        out = tmp_path / f"{method}.png"
        rows = zoo("explain", bundle.path, photo, "--method", method, "--out", out, "--json")
        assert rows and out.is_file(), method
    told = zoo("explain", bundle.path, "--method", "fgsm", expect=2)
    assert "got no picture" in told
    told = zoo("explain", bundle.path, "--method", "pcaa", expect=2)
    assert "Did you mean 'pca'" in told
    told = zoo("explain", bundle.path, "--method", "neuron", "--unit", 9999, expect=2)
    assert "unit 9999" in told


@pytest.mark.parametrize(
    ("method", "arguments", "line"),
    [
        ("saliency", ["--beside", "lenet5"], "--beside: got ['lenet5'] for saliency"),
        ("grad_cam", ["--unit", 1], "--unit: got 1 for grad_cam, which does not take it; expected"),
        ("smooth_grad", ["--data", "digits"], "--data: got digits for smooth_grad"),
        ("occlusion", ["--examples", 9], "--examples: got 9 for occlusion"),
        ("deepfool", ["--epsilon", 8], "--epsilon: got 8.0 for deepfool"),
        ("fgsm", ["--seed", 0], "--seed: got 0 for fgsm"),
        ("filters", [], "for filters, which does not take it; expected --layer"),
        ("tsne", [], "for tsne, which does not take it; expected --layer, --data"),
        ("robustness", [], "for robustness, which does not take it; expected --data"),
    ],
)
def test_what_a_method_does_not_take_is_refused(zoo, photo, method, arguments, line):
    told = zoo("explain", "lenet5", photo, "--method", method, *arguments, expect=2)
    assert line in told


def test_a_class_of_a_table_is_refused(zoo):
    told = zoo("explain", "lenet5", "--method", "robustness", "--class", 3, expect=2)
    assert "--class: got 3 for robustness" in told


def test_arrays_are_written(zoo, bundle, photo, tmp_path):
    out = ("--out", tmp_path / "a.png", "--arrays", tmp_path / "a.npz", "--force")
    zoo("explain", bundle.path, photo, "--all", *out)
    with np.load(tmp_path / "a.npz") as found:
        assert found["pixels"].dtype == np.uint8 and found["saliency"].shape[:2] == (32, 32)
        assert {"grad_cam", "occlusion", "smooth_grad"} <= set(found)
    zoo("explain", bundle.path, "--method", "filters", *out)
    with np.load(tmp_path / "a.npz") as found:
        np.testing.assert_array_equal(
            found["filters"], explain.filters(open_classifier(bundle).seen)
        )
    told = zoo("explain", bundle.path, "--method", "filters", "--arrays", photo, expect=2)
    assert "expected a file that ends in .npz" in told


def test_nets_that_read_other_ranges_are_put_beside_one_another(bundle):
    from zoo.stages.ranges import as_range
    from zoo.stages.understand.asked import Asked
    from zoo.stages.understand.look import look

    opened = open_classifier(bundle)
    side, _, channels = opened.known.shape
    image = keras.Input((side, side, channels))
    unit = as_range(side, channels, "0..1")
    scale = opened.known.affine[0] / unit.affine[0]
    shift = opened.known.affine[1] - unit.affine[1] * scale
    same = keras.layers.Rescaling(scale.tolist(), shift.tolist())(image)
    twin = explain.Classifier(keras.Model(image, opened.seen.model(same)))
    beside = [opened._replace(name="twin", seen=twin, known=unit)]
    rows = look(opened, Asked("robustness", examples=20, beside=beside)).rows
    for row in rows:
        assert row["twin"] == pytest.approx(row[opened.name], abs=0.06)
        assert row[f"twin, by {opened.name}"] == pytest.approx(row[opened.name], abs=0.06)
    small = as_range(side // 2, channels, "0..1")
    with pytest.raises(ValueError, match="reads pictures of"):
        look(opened, Asked("robustness", examples=20, beside=[beside[0]._replace(known=small)]))


def colours():
    """A net of RGB whose channels are scaled by ImageNet's deviations."""
    from zoo.stages.ranges import as_range
    from zoo.stages.understand.classifiers import Opened

    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    model = filled(keras.Model(image, layers.Dense(3, name="end")(layers.Flatten()(x))))
    return Opened("colours", explain.Classifier(model), as_range(8, 3, "torch"), tuple("abc"))


def test_a_level_is_a_level_in_each_channel(tmp_path):
    """Whatever the channels are scaled by: nothing leaves 0 to 255, nothing moves further."""
    from PIL import Image

    from zoo.stages.understand.asked import Asked
    from zoo.stages.understand.look import look

    opened, place = colours(), tmp_path / "colours.png"
    pixels = np.random.RandomState(0).randint(0, 256, (8, 8, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(place)
    low, high = opened.known.span()
    assert low == pytest.approx(opened.known.apply(np.zeros((1, 8, 8, 3), np.uint8))[0, 0, 0])
    assert high == pytest.approx(opened.known.apply(np.full((1, 8, 8, 3), 255, "u1"))[0, 0, 0])
    for method in ("fgsm", "iterative", "pgd"):
        found = look(opened, Asked(method, picture=place, epsilon=6.0))
        made = 255 * found.arrays[method]
        away = np.abs(made - pixels).max(axis=(0, 1))
        assert away == pytest.approx([6, 6, 6], abs=1e-3) and 0 <= made.min() <= made.max() <= 255
        assert found.rows[1]["most levels changed"] == pytest.approx(6, abs=1e-3)
    for method in ("deepfool", "carlini_wagner", "class_image", "fooling_image"):
        asked = Asked(method, picture=place if "_image" not in method else None)
        for made in look(opened, asked).arrays.values():
            assert made.min() >= 0 and made.max() <= 1, method
    unit = opened.unit()
    assert unit.seen.last_map() == opened.seen.last_map() == "conv"
    given = [unit.known.apply(pixels[None]), opened.known.apply(pixels[None])]
    assert close(unit.seen.scores(given[0]), opened.seen.scores(given[1])) < 1e-4


def test_examples_are_of_the_model_s_classes_by_name():
    from zoo.stages.understand.asked import Asked
    from zoo.stages.understand.classifiers import Examples
    from zoo.stages.understand.look import look

    opened, pixels = colours(), np.zeros((3, 8, 8, 3), np.uint8)

    def given(*names, labels=(0, 1, 1)):
        return Examples("mine", pixels, np.array(labels), names)

    assert opened.classes_of(given("c", "A")).tolist() == [2, 0, 0]  # a part of them, by name
    assert opened.classes_of(given("a", "b", "c")).tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match=r"mine: has examples of 'dog'; expected one class of col"):
        opened.classes_of(given("c", "dog"))
    assert opened.classes_of(given("c", "a", "dog")).tolist() == [2, 0, 0]  # none is of it
    several = opened._replace(names=("tabby, tabby cat", "crane", "crane"))
    assert several.classes_of(given("tabby cat", "TABBY")).tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="'crane'; expected one class"):
        several.classes_of(given("tabby", "crane"))
    with pytest.raises(ValueError, match="has 2 of that name; expected a number: 1, 2"):
        several.find_class("crane")
    nameless = opened._replace(names=())
    assert nameless.labels == ("0", "1", "2") and nameless.find_class("2") == 2
    assert nameless.classes_of(given("x", "y", "z")).tolist() == [0, 1, 1]
    with pytest.raises(ValueError, match="has 2 classes, colours 3; expected as many"):
        nameless.classes_of(given("x", "y"))
    other = opened._replace(name="other", names=("a", "c", "b"))
    with pytest.raises(ValueError, match=r"colours has 3 classes \(a, b, c, ...\), other 3"):
        look(opened, Asked("robustness", data="digits", examples=4, beside=[other]))
    digits = opened._replace(names=tuple("012"))  # numbers are names as any others
    with pytest.raises(ValueError, match="expected the same ones, in the same order"):
        look(opened, Asked("transfer", data="digits", examples=4, beside=[digits]))


def test_an_example_that_is_there_twice_is_its_own_neighbour():
    from zoo.stages.understand.look import without_themselves

    points = np.array([[0.0], [5.0], [5.0], [5.0], [9.0]])
    near = without_themselves(explain.neighbours(points, points[:4], count=4))
    for query, found in enumerate(near.indices):
        assert query not in found and len(found) == 3
    assert near.distances[1:, :2].max() == 0 and near.distances[0, 0] == 5


def test_filters_of_a_transposed_convolution_are_those_of_what_it_gives():
    image = keras.Input((4, 4, 2), name="image")
    up = layers.Conv2DTranspose(5, 3, name="up")
    model = filled(keras.Model(image, layers.Dense(2)(layers.Flatten()(up(image)))))
    found = explain.filters(model, "up")
    assert found.shape == (5, 3, 3, 2)
    one = np.zeros((1, 4, 4, 2), "float32")
    one[0, 0, 0] = [1, 2]  # what a filter writes of a place is itself
    given = np.asarray(up(one))[0, :3, :3] - up.bias.numpy()
    assert close(given, np.einsum("fhwc,c->hwf", found, [1, 2])) < 1e-5


def test_a_layer_whose_field_is_not_known_is_named():
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(2, 3, name="conv")(layers.UpSampling2D(2, name="up")(image))
    model = filled(keras.Model(image, layers.Dense(2)(layers.Flatten()(x))))
    with pytest.raises(ValueError, match=r"layer 'up' .UpSampling2D.: which pixels it sees"):
        explain.receptive_field(model, "conv")


def test_a_compressed_net_is_looked_into_as_well(toy):
    """Rounding is passed by, so that maps of integers and of zeros are near those of floats."""
    import compress

    inputs = np.random.RandomState(3).normal(size=(20, 16, 16, 3)).astype("float32")
    whole = explain.saliency(toy, inputs, 2)
    small = compress.apply("int8", toy.model, samples=inputs).model
    found = explain.saliency(small, inputs, 2)
    assert np.corrcoef(whole.ravel(), found.ravel())[0, 1] > 0.9
    assert explain.Classifier(small).last_map() and explain.filters(small).shape == (6, 3, 3, 3)
