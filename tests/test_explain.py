"""Looking into classifiers: maps of pixels and places, beside captum on the same weights."""

import keras
import numpy as np
import pytest
from keras import layers

from zoo import explain
from zoo.explain.gradients import noises

INPUTS = np.random.RandomState(5).normal(size=(2, 16, 16, 3)).astype("float32")
CLASS = 2
MAPS = ("saliency", "guided_backprop", "deconvnet", "integrated_gradients", "smooth_grad")


def filled(model, scale=0.4):
    for index, weight in enumerate(model.weights):
        weight.assign(np.random.RandomState(index).normal(0, scale, weight.shape))
    return model


def net(*, end="linear", rectifier="relu"):
    """ReLUs in each of their forms: of a convolution, a layer of their own, an operation."""
    image = keras.Input((16, 16, 3), name="image")
    x = layers.Conv2D(6, 3, padding="same", activation=rectifier, name="conv1")(image)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.Conv2D(8, 3, padding="same", name="conv2")(x)
    x = layers.ReLU(name="relu2")(x) if rectifier == "relu" else layers.Activation(rectifier)(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    x = keras.ops.relu(layers.Dense(10, name="hidden")(x))
    x = layers.Dense(5, activation=end, name="logits")(x)
    return filled(keras.Model(image, x, name="toy"))


@pytest.fixture(scope="module")
def toy():
    return explain.Classifier(net())


def nested():
    image, inside = keras.Input((16, 16, 3), name="image"), net()
    body = keras.Model(inside.input, inside.get_layer("relu2").output, name="body")
    x = layers.GlobalAveragePooling2D(name="mean")(body(image))
    x = keras.ops.relu(inside.get_layer("hidden")(x))
    return keras.Model(image, inside.get_layer("logits")(x), name="outer")


def close(one, other):
    return float(np.abs(one - other).max())


class Torch:
    """The same net in torch, and captum."""

    def __init__(self, model):
        torch = pytest.importorskip("torch", reason="pip install -e '.[oracle]'")
        self.captum = pytest.importorskip("captum.attr", reason="pip install captum")
        torch.set_num_threads(1)
        nn = torch.nn

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv1, self.conv2 = (
                    nn.Conv2d(3, 6, 3, padding=1),
                    nn.Conv2d(6, 8, 3, padding=1),
                )
                self.hidden, self.logits = nn.Linear(8, 10), nn.Linear(10, 5)
                self.relu1, self.relu2, self.relu3 = nn.ReLU(), nn.ReLU(), nn.ReLU()
                self.pool = nn.MaxPool2d(2)

            def forward(self, x):
                x = self.relu2(self.conv2(self.pool(self.relu1(self.conv1(x)))))
                return self.logits(self.relu3(self.hidden(x.mean((2, 3)))))

        self.net, self.torch = Net().eval(), torch
        with torch.no_grad():
            for name in ("conv1", "conv2", "hidden", "logits"):
                kernel, bias = model.get_layer(name).get_weights()
                turned = kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
                getattr(self.net, name).weight.copy_(torch.tensor(turned))
                getattr(self.net, name).bias.copy_(torch.tensor(bias))

    def __call__(self, kind, inputs, *arguments, **settings):
        x = self.torch.tensor(inputs.transpose(0, 3, 1, 2), requires_grad=True)
        found = getattr(self.captum, kind)(self.net, *arguments)
        found = found.attribute(x, target=CLASS, **settings)
        return found.detach().numpy().transpose(0, 2, 3, 1)


@pytest.fixture(scope="module")
def torch_net(toy):
    return Torch(toy.model)


@pytest.mark.oracle
def test_maps_are_captums(toy, torch_net):
    assert close(explain.saliency(toy, INPUTS, CLASS), torch_net("Saliency", INPUTS)) < 1e-6
    for ours, theirs in (("guided_backprop", "GuidedBackprop"), ("deconvnet", "Deconvolution")):
        found = getattr(explain, ours)(toy, INPUTS, CLASS)
        assert close(found, torch_net(theirs, INPUTS)) < 1e-6
    theirs = torch_net("IntegratedGradients", INPUTS, n_steps=50, method="riemann_middle")
    assert close(explain.integrated_gradients(toy, INPUTS, CLASS), theirs) < 1e-6
    drawn = noises(INPUTS, 0.15, 8, 3)
    theirs = np.mean([torch_net("Saliency", INPUTS + one, abs=False) for one in drawn], axis=0)
    assert close(explain.smooth_grad(toy, INPUTS, CLASS, samples=8, seed=3), theirs) < 1e-6
    cam = torch_net("LayerGradCam", INPUTS, torch_net.net.relu2, relu_attributions=True)
    assert close(explain.grad_cam(toy, INPUTS, CLASS)[..., None], cam) < 1e-6


@pytest.mark.oracle
@pytest.mark.parametrize(("patch", "stride"), [(4, 4), (4, 2), (5, 3)])
def test_occlusion_is_captums(toy, torch_net, patch, stride):
    theirs = torch_net(
        "Occlusion", INPUTS, sliding_window_shapes=(3, patch, patch), strides=(3, stride, stride),
        baselines=0,
    )  # fmt: skip
    ours = explain.occlusion(toy, INPUTS, CLASS, patch=patch, stride=stride)
    assert close(ours, theirs[..., 0]) < 2e-6


def test_gradients_by_hand(toy):
    """Saliency is a difference quotient; integrated gradients add up to the score."""
    gradient, _, scores = toy.gradient(INPUTS, np.array([CLASS, CLASS]))
    assert close(scores, toy.scores(INPUTS)[:, CLASS]) < 1e-6
    random = np.random.RandomState(0)
    for _ in range(3):
        way = random.normal(size=INPUTS.shape).astype("float32") * 1e-2
        ends = [toy.scores(INPUTS + sign * way)[:, CLASS] for sign in (1, -1)]
        assert close((ends[0] - ends[1]) / 2, (gradient * way).sum((1, 2, 3))) < 2e-3
    whole = explain.integrated_gradients(toy, INPUTS, CLASS, steps=100).sum((1, 2, 3))
    rise = toy.scores(INPUTS)[:, CLASS] - toy.scores(0 * INPUTS)[:, CLASS]
    assert close(whole, rise) < 2e-2 * np.abs(rise).max()
    quiet = explain.smooth_grad(toy, INPUTS, CLASS, noise=0, samples=2)
    assert close(quiet, gradient) < 1e-6


def test_a_softmax_at_the_end_is_left_out(toy):
    shares = explain.Classifier(net(end="softmax"))
    assert close(shares.scores(INPUTS), toy.scores(INPUTS)) < 1e-6
    assert close(explain.saliency(shares, INPUTS), explain.saliency(toy, INPUTS)) < 1e-6
    assert shares.model.layers[-1].activation is keras.activations.softmax


def test_a_softmax_is_left_out_behind_a_compression_too(toy):
    """Rounding to 0..1 stands behind it there, which has no room for logits."""
    import compress

    samples = np.random.RandomState(3).normal(size=(40, 16, 16, 3)).astype("float32")
    small = compress.apply("int8", net(end="softmax"), samples=samples).model
    scores, whole = explain.Classifier(small).scores(samples), toy.scores(samples)
    assert np.abs(scores).max() > 1.5 and close(scores, whole) < 0.1 * np.ptp(whole)
    sides = [explain.Side(one, samples) for one in (net(end="softmax"), small)]
    found = explain.compare(*sides, looked=0, attacked=0)
    assert found.correlation > 0.99 and close(*found.shares) < 0.1
    assert close(found.shares[1], small.predict(samples, verbose=0)) < 0.01
    plain = explain.saliency(toy, samples, 2).ravel()
    assert np.corrcoef(explain.saliency(small, samples, 2).ravel(), plain)[0, 1] > 0.9


@pytest.mark.parametrize("end", ["softmax", "sigmoid"])
def test_means_of_probabilities_have_the_logits_that_give_them(end):
    first, other = net(end=end), net(end=end)
    other.get_layer("logits").bias.assign([1, 0, -1, 0, 1])
    other = keras.Model(other.input, other.output, name="other")
    image = keras.Input((16, 16, 3))
    both = keras.Model(image, layers.Average(name="mean")([first(image), other(image)]))
    seen = explain.Classifier(both)
    assert close(seen.shares(seen.scores(INPUTS)), both.predict(INPUTS, verbose=0)) < 1e-5
    assert explain.saliency(seen, INPUTS, 1).max() > 1e-4


def test_sigmoids_of_several_classes_are_no_softmax(photo):
    from zoo.stages.understand.explain import explain_picture

    model = net(end="sigmoid")
    seen = explain.Classifier(model)
    answers = model.predict(INPUTS, verbose=0)
    assert seen.multi_label and close(seen.shares(seen.scores(INPUTS)), answers) < 1e-6
    assert np.abs(answers.sum(axis=1) - 1).min() > 0.1
    one = explain.Side(model, INPUTS)
    assert close(explain.compare(one, one, looked=0, attacked=0).shares[0], answers) < 1e-6
    made = explain.fooling_images(seen, [1], share=0.9)
    assert made.shares[0] == pytest.approx(model.predict(made.inputs, verbose=0)[0, 1], abs=1e-5)
    found = explain_picture(model, photo, method="saliency", label=3, values="0..1")
    own = model.predict(found.pixels[None] / np.float32(255), verbose=0)[0, 3]
    assert found.probability == pytest.approx(own, abs=1e-5)


def test_a_net_within_a_net_is_seen_as_one(toy):
    outer = explain.Classifier(nested())
    assert outer.last_map() == "body/relu2" and "body/conv1" in explain.layer_names(outer)
    assert outer.find_layer("conv1") == "body/conv1"
    for method in ("guided_backprop", "grad_cam"):
        ours, whole = (getattr(explain, method)(one, INPUTS, CLASS) for one in (outer, toy))
        assert close(ours, whole) < 1e-6
    middle = explain.grad_cam(outer, INPUTS, CLASS, layer="conv1")
    assert close(middle, explain.grad_cam(toy, INPUTS, CLASS, layer="conv1")) < 1e-6


@pytest.mark.parametrize("rectifier", ["relu6", "swish", "elu"])
def test_the_rule_for_other_rectifiers(rectifier):
    """One unit: what comes back times its slope, where it is positive; or without the slope."""
    image = keras.Input((1, 1, 4), name="image")
    x = layers.Flatten()(layers.Activation(rectifier)(image))
    top = layers.Dense(2, use_bias=False, name="logits")
    model = keras.Model(image, top(x))
    top.set_weights([np.array([[1, 0], [1, 0], [-1, 0], [2, 0]], "float32")])
    inputs = np.array([7.0, -0.5, 1.0, 0.5], "float32").reshape(1, 1, 1, 4)
    slopes = np.abs(explain.saliency(model, inputs, 0).ravel()) / [1, 1, 1, 2]
    plain = explain.Classifier(model).gradient(inputs, np.array([0]))[0].ravel()
    guided = explain.guided_backprop(model, inputs, 0).ravel()
    assert close(guided, np.where(np.array([1, 1, -1, 2]) > 0, plain, 0)) < 1e-6
    assert close(explain.deconvnet(model, inputs, 0).ravel(), np.array([1, 1, 0, 2])) < 1e-6
    assert model.layers[1].activation is getattr(keras.activations, rectifier)
    assert rectifier != "relu6" or slopes[0] == 0


@pytest.mark.parametrize("method", ["saliency", "grad_cam"])
def test_other_weights_give_another_map(method):
    """The sanity check of Adebayo et al. 2018, arXiv:1810.03292: its map depends on the net."""
    model = net()
    before = getattr(explain, method)(model, INPUTS, CLASS)
    for layer in ("logits", "hidden", "conv2"):  # from the top, one after another
        for weight in model.get_layer(layer).weights:
            weight.assign(np.random.RandomState(9).normal(0, 0.4, weight.shape))
    after = getattr(explain, method)(model, INPUTS, CLASS)
    from scipy.stats import spearmanr

    ranks = [spearmanr(a.ravel(), b.ravel())[0] for a, b in zip(before, after, strict=True)]
    assert np.max(np.abs(ranks)) < 0.6 and close(before, after) > 1e-3


def test_of_a_batch_and_of_one_alone(toy):
    for method in ("guided_backprop", "grad_cam", "occlusion"):
        look = getattr(explain, method)
        assert close(look(toy, INPUTS)[1:], look(toy, INPUTS[1:])) < 1e-6, method


def test_a_yes_or_no_has_two_classes():
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Conv2D(2, 3, activation="relu", name="conv")(image)
    model = filled(keras.Model(image, layers.Dense(1, "sigmoid", name="yes")(layers.Flatten()(x))))
    inputs = INPUTS[:, :8, :8, :1]
    seen = explain.Classifier(model)
    yes, no = (seen.gradient(inputs, np.full(2, index))[0] for index in (1, 0))
    assert np.abs(yes).max() > 0 and close(yes, -no) == 0
    share = 1 / (1 + np.exp(-2 * seen.scores(inputs)[:, 1]))
    assert close(share, model.predict(inputs, verbose=0)[:, 0]) < 1e-6


def test_what_cannot_be_looked_into_is_refused(toy):
    with pytest.raises(ValueError, match="Did you mean 'conv1'"):
        explain.grad_cam(toy, INPUTS, layer="conv_1")
    with pytest.raises(ValueError, match=r"gives .*10.*expected maps"):
        explain.grad_cam(toy, INPUTS, layer="hidden")
    with pytest.raises(ValueError, match="got 5 to 5; expected 0 to 4"):
        explain.saliency(toy, INPUTS, 5)
    with pytest.raises(ValueError, match="a patch of 1 to 16 pixels"):
        explain.occlusion(toy, INPUTS, patch=17)
    dense = keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(3)])
    with pytest.raises(ValueError, match=r"no convolution.*saliency, guided_backprop"):
        explain.grad_cam(dense, INPUTS[:, :4, :4, :1])
    assert explain.saliency(dense, INPUTS[:, :4, :4, :1]).shape == (2, 4, 4, 1)
    table = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    with pytest.raises(ValueError, match="expected pictures"):
        explain.saliency(table, INPUTS[:, 0, 0])


@pytest.fixture
def photo(tmp_path):
    """Grey, and neither square nor of a model's size."""
    from PIL import Image

    place = tmp_path / "photo.png"
    Image.fromarray(np.random.RandomState(0).randint(0, 255, (20, 31)).astype(np.uint8)).save(place)
    return place


def test_zoo_explain_of_a_bundle(zoo, bundle, photo, tmp_path, capsys):
    (row,) = zoo("explain", bundle.path, photo, "--all", "--out", tmp_path / "all.png", "--json")
    assert row["methods"].split() == [*MAPS[:3], "grad_cam", *MAPS[3:], "occlusion"]
    assert row["layer"] and row["class"] in bundle.card.labels and (tmp_path / "all.png").is_file()
    (asked,) = zoo(
        "explain", bundle.path, photo, "--class", "7", "--out", tmp_path / "7.png", "--json"
    )
    assert asked["class"] == "7" and 0 <= asked["probability"] <= row["probability"]
    again = zoo("explain", bundle.path, photo, "--out", tmp_path / "7.png", expect=2)
    assert "exists; choose another name" in again
    told = zoo(
        "explain", bundle.path, photo, "--class", "eight", "--out", tmp_path / "8.png", expect=2
    )
    assert "class 'eight'" in told and "Some: 0, 1" in told
    told = zoo(
        "explain", bundle.path, photo, "--layer", "c33", "--out", tmp_path / "8.png", expect=2
    )
    assert "layer 'c33'" in told and "brought to the" in told
    told = zoo(
        "explain", bundle.path, photo, "--method", "gradcam", "--out", tmp_path / "8.png", expect=2
    )
    assert "Did you mean 'grad_cam'" in told


def test_zoo_explain_of_a_file_and_of_a_model(zoo, photo, tmp_path):
    from zoo.stages.understand.explain import explain_picture

    nested().save(tmp_path / "mine.keras")
    (row,) = zoo(
        "explain", tmp_path / "mine.keras", photo, "--values", "0..1", "--labels", "a,b,c,d,e",
        "--class", "c", "--out", tmp_path / "c.png", "--json",
    )  # fmt: skip
    assert row["class"] == "c" and row["layer"] == "body/relu2"
    seen = explain_picture(nested(), photo, method="grad_cam", label=2, values="0..1")
    assert seen.maps["grad_cam"].shape == (8, 8) and seen.probability == pytest.approx(
        row["probability"], rel=1e-4
    )
    dense = keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(3)])
    dense.save(tmp_path / "dense.keras")
    told = zoo("explain", tmp_path / "dense.keras", photo, "--out", tmp_path / "d.png", expect=2)
    assert "has no convolution" in told and "occlusion" in told


def test_what_is_changed_of_a_picture_is_told(photo, tmp_path, capsys):
    from zoo.cli import main

    nested().save(tmp_path / "mine.keras")
    asked = ["explain", tmp_path / "mine.keras", photo, "--values", "0..1"]
    assert main([str(one) for one in (*asked, "--out", tmp_path / "c.png")]) == 0
    told = capsys.readouterr().err
    assert "31 x 20 pixels, brought to the 16 x 16" in told
    assert "is grey; red, green and blue are alike" in told


@pytest.mark.slow
def test_nets_of_keras():
    """Of `keras.applications`: what Grad-CAM looks at is the last map, behind its activation."""
    model = keras.applications.MobileNetV2(weights=None, input_shape=(64, 64, 3), alpha=0.35)
    seen = explain.Classifier(model)
    assert seen.last_map() == "out_relu"
    inputs = np.random.RandomState(0).uniform(-1, 1, (1, 64, 64, 3)).astype("float32")
    shares = np.exp(seen.scores(inputs)) / np.exp(seen.scores(inputs)).sum()
    assert close(shares, model.predict(inputs, verbose=0)) < 1e-5
    assert explain.grad_cam(seen, inputs).shape == (1, 2, 2)
    assert explain.guided_backprop(seen, inputs).shape == inputs.shape
