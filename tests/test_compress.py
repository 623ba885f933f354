"""Compression: what every pass promises, on graphs of every form; and pipelines of passes."""

import hashlib
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers, ops

import compress
from compress.graph import leaf_layers

# One row for each pass: settings that change every model below, and what they promise.
EXAMPLES = {
    "prune": compress.Prune(sparsity=0.8),
    # As far as it goes: the second time there is nothing left.
    "prune_channels": compress.PruneChannels(ratio=0.9, least=4),
    "low_rank": compress.LowRank(rank=2),
    "share_weights": compress.ShareWeights(bits=1),
    "quantize": compress.Quantize(),
    "binarize": compress.Binarize(ends=True),
    "ternarize": compress.Ternarize(ends=True),
    "winograd": compress.Winograd(sparsity=0.5),
    "fold_batch_norm": compress.FoldBatchNorm(),
    "entropy": compress.Entropy(),
    "distill": compress.Distill(),
    "huffman": compress.Huffman(),
}
SAME_ANSWERS = {"distill", "huffman", "fold_batch_norm"}  # to six digits
OUR_LAYERS = {"binarize", "quantize", "winograd"}  # what stays in the model is not all Keras'
# Where a pass finds nothing to do.
IDLE = {
    *(("winograd", name) for name in ("sequential", "nested", "shared", "dictionaries")),
    *(("fold_batch_norm", name) for name in ("residual", "shared", "dictionaries")),
}


def sequential():
    return keras.Sequential(
        [
            keras.Input((8, 8, 2), name="image"),
            layers.Conv2D(6, 3, strides=2, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(name="relu"),
            layers.Dropout(0.5, name="drop"),
            layers.Flatten(name="flat"),
            layers.Dense(12, activation="tanh", name="fc"),
            layers.Dense(5, name="logits"),
        ],
        name="sequential",
    )


def residual():
    """Branches joined by a layer and by plain operations, and every kind of convolution."""
    image = keras.Input((8, 8, 2), name="image")
    x = layers.Conv2D(6, 3, padding="same", name="stem")(image)
    y = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    y = layers.SeparableConv2D(6, 3, padding="same", name="separable")(y)
    x = ops.relu(x + y) * 0.5
    x = layers.Concatenate(name="concat")([x, layers.Conv2DTranspose(3, 1, name="transpose")(y)])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(10, activation="relu", name="fc")(x)
    return keras.Model(image, layers.Dense(5, name="logits")(x), name="residual")


def nested():
    """A Sequential within a Functional within a Functional, called twice."""
    core = keras.Sequential(
        [
            keras.Input((6,)),
            layers.Dense(8, name="fc1"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(6, name="fc2"),
        ],
        name="core",
    )
    inside = keras.Input((6,), name="inside")
    block = keras.Model(inside, layers.Add(name="add")([inside, core(inside)]), name="block")
    vector = keras.Input((6,), name="vector")
    x = block(ops.tanh(block(vector)))
    return keras.Model(vector, layers.Dense(5, name="logits")(x), name="nested")


def shared():
    left, right = keras.Input((7,), name="left"), keras.Input((7,), name="right")
    fc = layers.Dense(9, activation="relu", name="fc")
    x = layers.Subtract(name="difference")([fc(left), fc(right)])
    return keras.Model([left, right], layers.Dense(5, name="logits")(x), name="shared")


def dictionaries():
    """Dictionaries of inputs and outputs, and an axis of varying length."""
    words, image = keras.Input((None,), dtype="int32", name="words"), keras.Input((6,), name="b")
    x = layers.Embedding(11, 8, name="embedding")(words)
    x = layers.Dense(8, activation="relu", name="each")(x)
    x = layers.GlobalMaxPooling1D(name="pool")(x)
    y = layers.Dense(8, name="fc")(layers.Dense(7, name="hidden")(image))
    outputs = {
        "sum": layers.Dense(5, name="head")(layers.Add(name="add")([x, y])),
        "probability": layers.Softmax(name="softmax")(y),
    }
    return keras.Model({"words": words, "b": image}, outputs, name="dictionaries")


def stages():
    """A VGG in its own names, for a recipe that goes by them."""
    x = image = keras.Input((8, 8, 2), name="image")
    for stage in range(1, 6):
        x = layers.Conv2D(6, 3, padding="same", activation="relu", name=f"stage{stage}_conv1")(x)
    x = layers.Dense(10, activation="relu", name="fc6")(layers.Flatten(name="flatten")(x))
    return keras.Model(image, layers.Dense(5, name="logits")(x), name="stages")


MODELS = {build.__name__: build for build in (sequential, residual, nested, shared, dictionaries)}
IDLE |= {("distill", name) for name in MODELS}  # training alone is no change


def example(tensor):
    """Three examples for an input, of the same values each time."""
    shape = [3, *(size or 4 for size in tensor.shape[1:])]
    random = np.random.RandomState(len(shape) + len(tensor.name))
    if "int" in tensor.dtype:
        return random.randint(0, 11, shape).astype(tensor.dtype)
    return random.randn(*shape).astype(tensor.dtype)


def outputs(model):
    """The model's outputs on the examples, by position."""
    inputs = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    values = model(keras.tree.map_structure(example, inputs), training=False)
    return [np.asarray(value) for value in keras.tree.flatten(values)]


def digest(model):
    """Hash of everything a model holds: graph, names, weights, random states."""
    state = hashlib.sha256(json.dumps(model.get_config(), sort_keys=True, default=str).encode())
    for variable in model.variables:
        state.update(variable.path.encode() + np.asarray(variable).tobytes())
    return state.hexdigest()


@pytest.fixture(scope="module", params=MODELS)
def model(request):
    keras.utils.set_random_seed(3)
    built = MODELS[request.param]()
    for variable in built.weights:  # no zeros, and statistics that matter
        values = np.random.RandomState(sum(variable.shape)).uniform(0.1, 1.0, variable.shape)
        variable.assign(values * np.sign(np.sin(np.arange(values.size) + 1)).reshape(values.shape))
        if "variance" in variable.path:
            variable.assign(values)
    return built


@pytest.fixture(params=compress.pass_names())
def step(request):
    return EXAMPLES[request.param]


def context(model):
    """Examples to calibrate on; nothing to train with."""
    return compress.Context(samples={tensor.name: example(tensor) for tensor in model.inputs})


def test_every_pass_has_an_example():
    assert list(EXAMPLES) == compress.pass_names()


def test_pass_leaves_its_input_alone_and_keeps_names(model, step):
    before, expected = digest(model), outputs(model)
    new = step.apply(model, context(model)).model
    assert digest(model) == before
    np.testing.assert_array_equal(outputs(model)[0], expected[0])
    assert type(new) is type(model)
    assert new.name == model.name
    assert getattr(new, "output_names", None) == getattr(model, "output_names", None)
    assert [x.name for x in new.inputs] == [x.name for x in model.inputs]
    if not isinstance(model, keras.Sequential):
        keras.tree.assert_same_structure(new.input, model.input)
        keras.tree.assert_same_structure(new.output, model.output)
    assert not {id(v) for v in new.variables} & {id(v) for v in model.variables}
    pairs = zip(outputs(new), expected, strict=True)
    same = all(np.allclose(a, b, rtol=1e-5, atol=1e-5) for a, b in pairs)
    assert same == (step.kind in SAME_ANSWERS or (step.kind, model.name) in IDLE)


def test_pass_reports_each_leaf_once(model, step):
    new, report = step.apply(model, context(model))
    assert [row.path for row in report.layers] == [path for path, _ in leaf_layers(model)]
    assert all(row.note for row in report.layers)
    assert any(row.changed for row in report.layers) != ((step.kind, model.name) in IDLE)
    assert not all(row.changed for row in report.layers) or step.kind == "quantize"
    for field in ("parameters", "nonzero", "macs", "num_uncounted"):
        for side in ("before", "after"):
            rows = sum(getattr(getattr(row, side), field) for row in report.layers)
            assert rows == getattr(getattr(report, side), field), (side, field)
    assert report.before.parameters == model.count_params()
    assert report.after.parameters == new.count_params()
    assert report.after.nonzero == sum(np.count_nonzero(np.asarray(w)) for w in new.weights)
    assert report.settings == step.model_dump(mode="json")
    json.dumps(report.settings)


def test_pass_changes_nothing_the_second_time(model, step):
    once = step.apply(model, context(model)).model
    twice = step.apply(once, context(model)).model
    for a, b in zip(once.weights, twice.weights, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-6)  # a mean, once more


def test_result_saves_and_loads(model, step, tmp_path):
    new = step.apply(model, context(model)).model
    new.save(tmp_path / "new.keras")
    loaded = keras.saving.load_model(tmp_path / "new.keras")
    for a, b in zip(outputs(new), outputs(loaded), strict=True):
        np.testing.assert_array_equal(a, b)
    kinds = {type(layer).__module__.split(".")[0] for _, layer in leaf_layers(loaded)}
    assert kinds <= ({"keras", "compress"} if step.kind in OUR_LAYERS else {"keras"})


def test_result_converts_to_tflite(model, step, tmp_path):
    new = step.apply(model, context(model)).model
    new.export(tmp_path / "saved", verbose=False)
    content = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved")).convert()
    runner = Interpreter(model_content=content).get_signature_runner()
    found = runner(**{tensor.name: example(tensor) for tensor in new.inputs})
    for (_, a), b in zip(sorted(found.items()), outputs(new), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


# --- pipelines ---


@pytest.mark.parametrize("name", compress.recipe_names())
def test_recipe_applies(name):
    model = stages() if name in ("low-rank-vgg", "share7", "prune90-share6") else residual()
    before = digest(model)
    samples = context(model).samples
    small = compress.apply(name, model, evaluate=lambda model: {"top1": 0.9}, samples=samples)
    assert digest(model) == before
    assert all(any(row.changed for row in one.layers) for one in small.report.passes)
    assert len(small.report.passes) == len(compress.load_recipe(name).passes)


def test_pipeline_report_is_measured_and_plain():
    model = sequential()
    steps = [compress.LowRank(rank=2, layers=("fc",)), compress.Prune(sparsity=0.5)]
    seen = []

    def count(model):
        seen.append(model)
        return {"top1": float(model.count_params())}

    small = compress.apply(compress.Pipeline(steps), model, evaluate=count)
    report = small.report
    assert len(seen) == 4  # before and after from a file, and after each pass
    assert all(each is not model and each is not small.model for each in (seen[0], seen[-1]))
    assert report.before.metrics == {"top1": model.count_params()}
    assert report.passes[1].metrics == report.after.metrics == {"top1": small.model.count_params()}
    assert report.passes[0].after == report.passes[1].before
    assert report.before.counts == report.passes[0].before
    assert report.after.counts == report.passes[1].after
    assert [row.path for row in report.passes[1].layers][-3:] == ["fc_u", "fc", "logits"]
    assert report.passed
    values = json.loads(json.dumps(report.to_dict()))
    assert values["passes"][0]["layers"][0]["path"] == "conv"
    assert values["passed"] is True


def test_budget_is_checked_on_the_result():
    model = sequential()

    def evaluate(model):
        return {"top1": np.float32(0.9 - 0.1 * ("fc_u" in [layer.name for layer in model.layers]))}

    def apply(**limits):
        plan = compress.Pipeline([compress.LowRank(rank=2)], compress.Budget(**limits))
        return compress.apply(plan, model, evaluate=evaluate).report

    report = apply()
    assert not report.passed
    assert report.budget.lines == ("top1 0.9000 -> 0.8000, may fall by 0.005",)
    assert report.budget.over == ("top1 fell by 0.1000, 0.0950 too much",)
    assert apply(max_drop=0.2).passed
    size = report.after.size.gzip_bytes
    assert apply(max_drop=None, max_bytes=size + 100).passed
    assert not apply(max_drop=None, max_bytes=size - 100).passed
    with pytest.raises(ValueError, match="there is no `evaluate`"):
        compress.apply(compress.Pipeline([EXAMPLES["prune"]], compress.Budget()), model)


def test_apply_takes_a_pass_and_a_path(tmp_path):
    path = tmp_path / "half.yaml"
    path.write_text("passes: [{kind: prune, sparsity: 0.5}]")
    by_path = compress.apply(path, sequential()).report
    by_pass = compress.apply(compress.Prune(sparsity=0.5), sequential()).report
    assert by_path.passes[0].settings == by_pass.passes[0].settings
    assert by_path.passes[0].after.nonzero < by_path.passes[0].before.nonzero
