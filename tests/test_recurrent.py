"""Recurrent layers: equal to torch's, and in files as one operator each, unrolled or as loops."""

import keras
import numpy as np
import pytest
from keras import layers

import export
from export.formats.tflite import litert
from export.targets import find_target

RANDOM = np.random.RandomState(3)
LINES = RANDOM.randn(128, 9, 6).astype("float32")
LSTM, GRU, SIMPLE = layers.LSTM, layers.GRU, layers.SimpleRNN


def net(*stack, length=9, **settings):
    """Layers on top of one another, and three scores; biases that are not zero."""
    keras.utils.set_random_seed(1)
    x = line = keras.Input((length, 6), name="line")
    for place, layer in enumerate(stack, start=1):
        deeper = place < len(stack)
        x = layer(8, return_sequences=deeper, name=f"layer{place}", **settings)(x)
    return shaken(keras.Model(line, layers.Dense(3, name="scores")(x), name="net"))


def both_ways(units, return_sequences, name, **settings):
    layer = LSTM(units, return_sequences=return_sequences, **settings)
    return layers.Bidirectional(layer, name=name)


def shaken(model):
    for number, weight in enumerate(model.weights):
        if weight.path.endswith("bias"):
            weight.assign(np.random.RandomState(number).uniform(-0.5, 0.5, weight.shape))
    return model


def exported(model, target, path, samples=LINES, **settings):
    target = find_target(target, settings)
    return export.export(model, target, path / target.kind, samples=samples)


def answers(done, examples=LINES):
    session = find_target(done.manifest.target).open(done.path / done.manifest.file)
    return session.run({done.manifest.signature.inputs[0].name: examples})["scores"]


# -- files ----------------------------------------------------------------------------------------


def test_lstms_are_one_operator_each_and_forget_between_examples(tmp_path):
    model = net(both_ways, LSTM)
    done = exported(model, "tflite", tmp_path)
    manifest = done.manifest
    assert manifest.operators["UNIDIRECTIONAL_SEQUENCE_LSTM"] == 3
    assert "WHILE" not in manifest.operators and manifest.size_bytes < 15_000
    assert "reset its variables" in manifest.facts["stateful"]
    assert manifest.parity.relative < 1e-5
    twice = np.concatenate([LINES[:1], LINES[:1]])
    first, second = answers(done, twice)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, np.asarray(model(LINES[:1]))[0], atol=1e-5)


def test_a_server_forgets_between_examples(tmp_path):
    from serving.engines import open_deployable

    model = net(LSTM)
    _, engine = open_deployable(exported(model, "tflite", tmp_path).path, num_threads=1)
    rows = engine.predict({"line": LINES[[0, 0, 1]]})["scores"]
    np.testing.assert_allclose(rows, np.asarray(model(LINES[[0, 0, 1]])), atol=1e-5)


def test_integers_of_an_lstm_whose_output_is_joined_with_another(tmp_path):
    """The converter gives the output the scale of what it is joined to, and the state its own."""
    done = exported(net(both_ways), "tflite-int8", tmp_path)
    manifest = done.manifest
    assert manifest.operators["UNIDIRECTIONAL_SEQUENCE_LSTM"] == 2 and manifest.facts["stateful"]
    assert manifest.parity.relative < 0.1 and manifest.parity.cosine > 0.998
    model = litert.schema.Model.GetRootAs((done.path / manifest.file).read_bytes())
    graph = model.Subgraphs(0)
    scales = []
    for number in range(graph.OperatorsLength()):
        operator = graph.Operators(number)
        if operator.IntermediatesLength():
            places = operator.Inputs(18), operator.Intermediates(4), operator.Outputs(0)
            scales.append({float(graph.Tensors(p).Quantization().Scale(0)) for p in places})
    assert [len(one) for one in scales] == [1, 1]


@pytest.mark.parametrize(("kind", "operator"), [(GRU, "GRU"), (LSTM, "LSTM"), (SIMPLE, "RNN")])
def test_recurrent_layers_are_nodes_of_onnx(kind, operator, tmp_path):
    manifest = exported(net(kind, kind), "onnx", tmp_path).manifest
    assert manifest.operators[operator] == 2 and "Loop" not in manifest.operators
    assert manifest.parity.relative < 1e-5


def test_what_is_too_long_to_be_unrolled_is_told_in_one_line(tmp_path):
    long = np.zeros((2, 600, 6), "float32")
    with pytest.raises(RuntimeError) as told:
        exported(net(GRU, length=600), "tflite-int8", tmp_path, samples=long)
    assert str(told.value).startswith(
        "export to tflite-int8: recurrent layer 'layer1' has to be unrolled here, and reads 600 "
        "places; expected 512 at most."
    )
    assert "\n" not in str(told.value)


def unusual():
    line = keras.Input((9, 6), name="line")
    state = LSTM(8, return_state=True, name="first")(line)[1:]
    again = LSTM(8, name="second")(line, initial_state=state)
    cells = layers.RNN([layers.LSTMCell(5), layers.GRUCell(4)], name="cells")(line)
    hard = LSTM(4, recurrent_activation="hard_sigmoid", name="hard")(line)
    plain = GRU(4, reset_after=False, use_bias=False, name="plain")(line)
    relu = SIMPLE(4, activation="relu", go_backwards=True, name="relu")(line)
    x = layers.Concatenate()([again, cells, hard, plain, relu])
    return shaken(keras.Model(line, layers.Dense(3, name="scores")(x), name="net"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "limit"),
    [("tflite", 1e-5), ("tflite-dynamic", 0.05), ("tflite-float16", 5e-3), ("onnx", 1e-5),
     ("tflite-int8", 0.15), ("tflite-int16x8", 0.1)],
)  # fmt: skip
def test_states_that_are_given_cells_and_other_activations(target, limit, tmp_path):
    keras.utils.set_random_seed(1)
    manifest = exported(unusual(), target, tmp_path).manifest
    assert manifest.parity.relative < limit
    if target == "onnx":
        counts = manifest.operators
        assert (counts["LSTM"], counts["GRU"], counts["RNN"], counts["Loop"]) == (2, 1, 1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["tflite", "tflite-int8", "onnx"])
def test_masked_places_change_nothing(target, tmp_path):
    keras.utils.set_random_seed(1)
    tokens = keras.Input((9,), dtype="int32", name="tokens")
    x = layers.Embedding(20, 6, mask_zero=True, name="embedding")(tokens)
    x = layers.Bidirectional(GRU(8), name="both")(x)
    model = shaken(keras.Model(tokens, layers.Dense(3, name="scores")(x), name="net"))
    samples = RANDOM.randint(1, 20, (64, 9)).astype("int32")
    for row, length in enumerate(RANDOM.randint(1, 10, 64)):
        samples[row, length:] = 0
    parity = exported(model, target, tmp_path, samples=samples).manifest.parity
    assert parity.relative < (0.1 if "int8" in target else 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["tflm", "onnx-int8"])
def test_other_runtimes_compute_the_integers(target, tmp_path):
    pytest.importorskip("tflite_micro")
    facts = exported(net(LSTM), target, tmp_path).manifest.facts
    assert facts["steps_from_tflite"] <= 1
    assert ("stateful" in facts) == (target == "tflm")  # unrolled elsewhere


@pytest.mark.slow
def test_a_free_batch_and_a_file_without_states(tmp_path):
    free = exported(net(LSTM), "tflite", tmp_path / "a", batch=None).manifest
    assert free.signature.inputs[0].shape == (None, 9, 6)
    assert "stateful" not in free.facts and "WHILE" not in free.operators
    plain = exported(net(LSTM), "tflite-int8", tmp_path / "b", fused=False).manifest
    assert "stateful" not in plain.facts and "FULLY_CONNECTED" in plain.operators


# -- layers beside torch --------------------------------------------------------------------------


def torch_layer(torch, layer, *, units, features):
    """torch's layer with the weights of one of Keras', or of a bidirectional one."""
    parts = [layer]
    if isinstance(layer, layers.Bidirectional):
        parts = [layer.forward_layer, layer.backward_layer]
    kind = {LSTM: torch.nn.LSTM, GRU: torch.nn.GRU, SIMPLE: torch.nn.RNN}[type(parts[0])]
    theirs = kind(features, units, batch_first=True, bidirectional=len(parts) == 2)
    for part, ending in zip(parts, ("", "_reverse"), strict=False):
        kernel, recurrent, bias = part.get_weights()
        biases = bias if bias.ndim == 2 else [bias, np.zeros_like(bias)]

        def turned(array, part=part):
            if type(part) is GRU:  # z r h of Keras, r z h of torch
                z, r, h = np.split(array, 3, axis=-1)
                array = np.concatenate([r, z, h], axis=-1)
            return torch.tensor(array.T)

        with torch.no_grad():
            getattr(theirs, f"weight_ih_l0{ending}").copy_(turned(kernel))
            getattr(theirs, f"weight_hh_l0{ending}").copy_(turned(recurrent))
            getattr(theirs, f"bias_ih_l0{ending}").copy_(turned(biases[0]))
            getattr(theirs, f"bias_hh_l0{ending}").copy_(turned(biases[1]))
    return theirs


@pytest.mark.oracle
@pytest.mark.parametrize("twice", [False, True])
@pytest.mark.parametrize("kind", [SIMPLE, LSTM, GRU])
def test_layers_equal_torch_with_packed_lengths(kind, twice):
    """Outputs, and gradients by the inputs and by each weight; ragged rows as torch packs them."""
    torch = pytest.importorskip("torch")
    import tensorflow as tf

    torch.set_num_threads(1)
    keras.utils.set_random_seed(2)
    layer = kind(5, return_sequences=True)
    if twice:
        layer = layers.Bidirectional(layer)
    x = np.random.RandomState(4).randn(4, 7, 6).astype("float32")
    lengths = np.array([7, 5, 2, 1])
    mask = np.arange(7)[None] < lengths[:, None]  # (batch, time)
    layer.build(x.shape)
    for number, weight in enumerate(layer.weights):
        value = np.random.RandomState(number).normal(scale=0.6, size=weight.shape)
        weight.assign(value.astype("float32"))
    theirs = torch_layer(torch, layer, units=5, features=6)
    scales = np.random.RandomState(5).randn(4, 7, 10 if twice else 5).astype("float32")
    scales = scales * mask[..., None]  # what stands behind the end counts for nothing

    given = torch.tensor(x, requires_grad=True)
    packed = torch.nn.utils.rnn.pack_padded_sequence(given, lengths, batch_first=True)
    expected = torch.nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)[0]
    (expected * torch.tensor(scales)).sum().backward()

    inputs = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        found = layer(inputs, mask=tf.constant(mask))
        total = tf.reduce_sum(found * scales)
    slopes = tape.gradient(total, [inputs, *[w.value for w in layer.trainable_weights]])
    found = np.asarray(found) * mask[..., None]
    assert np.abs(found).max() > 0.3
    np.testing.assert_allclose(found, expected.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(slopes[0], given.grad.numpy(), atol=2e-5)
    norms = sorted(float(tf.norm(slope)) for slope in slopes[1:] if len(slope.shape) == 2)
    named = dict(theirs.named_parameters())
    kernels = sorted(float(p.grad.norm()) for name, p in named.items() if name.startswith("weight"))
    if kind is GRU:  # whose two biases are one matrix here
        kernels = sorted(
            kernels
            + [
                float((named[f"bias_ih_l0{end}"].grad.norm() ** 2
                       + named[f"bias_hh_l0{end}"].grad.norm() ** 2) ** 0.5)
                for end in (("", "_reverse") if twice else ("",))
            ]
        )  # fmt: skip
    np.testing.assert_allclose(norms, kernels, rtol=1e-4)
