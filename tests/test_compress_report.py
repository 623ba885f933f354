"""The report: what layers take, by hand; what is evaluated and timed; what saves nothing."""

import json
import warnings
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from keras import layers

import compress
from compress.graph import leaf_layers
from compress.measure import costs, packed, weights
from compress.measure.report import Counts, PassReport, Runtime
from compress.pipeline import stages
from zoo.common import claims

PICO = 1e-12


def net():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6, 6, 1), name="image"),
            layers.Conv2D(4, 3, name="conv"),
            layers.ReLU(name="relu"),
            layers.Flatten(name="flat"),
            layers.Dense(5, name="logits"),
        ]
    )


def fill(layer, kernel):
    layer.kernel.assign(np.resize(np.asarray(kernel, "float32"), layer.kernel.shape))


def measure(*models):
    """A runtime whose file and time follow the parameters, zero or not."""
    found = []
    for model in models:
        count = model.count_params()
        found.append({"flat": Runtime(4 * count, 3 * count, 1e-6 * count)})
    return found


def test_costs_are_those_of_the_tables_by_hand():
    model = net()
    fill(model.get_layer("conv"), [0, 0, 0, 1])  # three of four are zero
    whole, (conv, relu, _, logits) = costs.layer_costs(model)
    # 4 x 4 positions of 4 filters of 9 weights; 36 weights and 4 biases; 64 outputs.
    assert conv.macs == 16 * 36
    read, moved = 40 * 640, 2 * 64 * 5
    assert conv.joules == pytest.approx(PICO * (576 * (3.7 + 0.9) + read + moved))
    assert conv.sparse_joules == pytest.approx(PICO * (576 / 4 * (3.7 + 0.9) + read + moved))
    assert conv.sparsity == pytest.approx((27 + 4) / 40)  # the biases are zeros too
    assert conv.distinct == 2
    assert relu.joules == pytest.approx(PICO * moved)
    assert (relu.parameters, relu.book_bits, relu.distinct) == (0, 0.0, 0)
    # A bit for each kernel weight and a book of 2; of the four equal biases, the book.
    assert conv.book_bits == pytest.approx((36 * 1 + 2 * 32 + 32) / 40)
    assert (logits.distinct, conv.packed_bytes, conv.packed_bits) == (320, None, None)
    parts = (conv, relu, logits)
    for field in ("parameters", "distinct", "macs", "sparse_joules"):
        # `flat` moves 64 outputs, and has nothing else.
        rest = PICO * moved if "joules" in field else 0
        total = sum(getattr(part, field) or 0 for part in parts) + rest
        assert getattr(whole, field) == pytest.approx(total)


@pytest.mark.parametrize(
    ("values", "bits"),
    [
        ([1.0] * 100, 32),  # no number, one value
        ([1.0, 2.0] * 50, 100 + 64),
        ([0.0, 1.0, 2.0, 3.0, 4.0] * 20, 300 + 160),
        (np.arange(100.0), 3200),  # as they are: a book would only add numbers
        ([], 0),
    ],
)
def test_code_book_bits(values, bits):
    assert costs.book_bits(np.asarray(values, "float32")) == bits


def test_arithmetic_costs_what_the_layer_computes_in():
    half = layers.Dense(3, dtype="mixed_float16")
    assert costs.operand(layers.Dense(3)) == "float32"
    assert (
        costs.operand(half) == costs.operand(layers.Dense(3, dtype="mixed_bfloat16")) == "float16"
    )
    whole = keras.Sequential([keras.Input((8,)), layers.Dense(8, name="fc")])
    with warnings.catch_warnings(action="ignore"):  # the input has nothing to quantise
        whole.quantize("int8")
    assert costs.operand(whole.layers[0]) == "int8"


def test_report_of_a_pipeline(tmp_path):
    model, seen = net(), []

    def evaluate(model):
        seen.append(model)
        return {"top1": 0.5}

    plan = compress.Pipeline(
        [compress.Prune(sparsity=0.8), compress.ShareWeights(bits=2), compress.Huffman()]
    )
    small = compress.apply(plan, model, evaluate=evaluate, measure=measure)
    before, after = small.report.before, small.report.after
    assert seen[0] is not model and seen[-1] is not small.model
    assert {id(v) for v in seen[0].variables}.isdisjoint(id(v) for v in model.variables)
    for new, old in zip(seen[-1].weights, small.model.weights, strict=True):
        np.testing.assert_array_equal(new, old)  # from the packed file
    # The rows are those of the models, and add up to the packed file but for its header.
    paths = [path for path, _ in leaf_layers(small.model)]
    assert [row.path for row in before.layers] == [row.path for row in after.layers] == paths
    written = packed.pack(small.model, tmp_path / "m")
    assert after.size.packed_bytes == written
    streams = sum(row.packed_bytes for row in after.layers)
    assert 0 < streams == after.total.packed_bytes < written
    assert after.total.packed_bits == pytest.approx(8 * streams / model.count_params())
    conv, *_, logits = after.layers
    for row, layer in ((conv, small.model.layers[0]), (logits, small.model.layers[-1])):
        assert row.distinct == len(set(np.ravel(layer.kernel).tolist())) <= 5  # one is zero
    assert logits.sparsity == pytest.approx((0.8 * 320 + 5) / 325)
    assert before.total.packed_bytes is None
    assert after.total.joules == pytest.approx(before.total.joules)
    assert after.total.sparse_joules < 0.4 * before.total.sparse_joules
    # Nothing here saves this runtime anything.
    assert before.runtimes == after.runtimes == {"flat": Runtime(1460, 1095, 0.000365)}
    assert [step.runtimes for step in small.report.passes] == [before.runtimes] * 3
    assert small.report.idle == (
        "prune, 81% zeros: flat stays 1,460 bytes, 1.00x as fast",
        "share_weights: flat stays 1,460 bytes, 1.00x as fast",
        "huffman: flat stays 1,460 bytes, 1.00x as fast",
    )
    values = json.loads(json.dumps(small.report.to_dict()))
    assert values["after"]["layers"][0]["path"] == "conv" and values["search"] is None


def step(kind, size, seconds, nonzero=10):
    def counts(nonzero):
        return Counts(10, nonzero, 0, 0, 0)

    found = {"tflite": Runtime(size, size, seconds)}
    return PassReport({"kind": kind}, "", (), counts(10), counts(nonzero), runtimes=found)


@pytest.mark.parametrize(
    ("after", "line"),
    [
        (step("low_rank", 500, 0.5), None),
        (step("low_rank", 979, 0.949), None),
        (step("prune", 1000, 0.99, 2), "prune, 80% zeros: tflite stays 1,000 bytes, 1.01x as fast"),
        (step("low_rank", 500, 0.96), "low_rank: tflite 1,000 -> 500 bytes, 1.04x as fast"),
        (step("slim", 985, 0.5), "slim: tflite stays 985 bytes, 2.00x as fast"),
        (step("big", 2000, 2.0), "big: tflite 1,000 -> 2,000 bytes, 0.50x as fast"),
    ],
)
def test_what_saves_nothing_is_said(after, line):
    before = {"tflite": Runtime(1000, 900, 1.0)}
    assert stages.idle(before, [after]) == (() if line is None else (line,))
    assert stages.idle({}, [after]) == ()


def test_each_step_is_compared_with_the_one_before():
    steps = [step("slim", 500, 0.5), step("prune", 500, 0.5, 2)]
    lines = stages.idle({"tflite": Runtime(1000, 900, 1.0)}, steps)
    assert lines == ("prune, 80% zeros: tflite stays 500 bytes, 1.00x as fast",)


def test_result_of_a_fit_that_compiles_is_not_compiled():
    def fit(model, *, epochs, callbacks):
        model.compile("adam", "mse")

    small = compress.apply(compress.Prune(sparsity=0.5), net(), fit=fit)
    assert not small.model.compiled


# --- bad input: one line each ---


def test_weights_that_are_not_finite_are_named_before_anything_runs():
    model = net()
    fill(model.get_layer("logits"), [1.0, float("nan")])

    def evaluate(model):
        raise AssertionError("evaluated")

    with pytest.raises(
        ValueError, match=r"^sequential\w*/logits/kernel: .*not finite\.$|^logits/k"
    ):
        compress.apply(compress.Prune(sparsity=0.5), model, evaluate=evaluate)


@pytest.mark.parametrize(
    "item",
    [
        compress.Prune(sparsity=0.5, layers=("relu",)),
        compress.ShareWeights(layers=("logits", "*a*r*elu")),
    ],
)
def test_a_layer_without_weights_that_is_named(item):
    model = net()
    model.layers[1].name = "a_relu" if "a" in item.layers[-1] else "relu"
    with pytest.raises(ValueError, match=r"matches only layers without weights\. With weights: c"):
        item.apply(model)


class Own(keras.Model):
    def call(self, inputs):
        return inputs


@pytest.mark.parametrize(
    ("model", "error", "hint"),
    [
        (Own(), TypeError, r"got Own, a class of its own; .*compress\.functional"),
        (keras.Sequential([layers.Dense(2)]), ValueError, "is not built; give it a keras.Input"),
    ],
)
def test_models_that_cannot_be_walked(model, error, hint):
    with pytest.raises(error, match=hint) as caught:
        compress.apply("prune90", model)
    assert len(str(caught.value).splitlines()) == 1


def test_each_weight_is_coded_once_for_report_and_file(monkeypatch, tmp_path):
    model = net()
    monkeypatch.setattr(weights, "_CODED", {})
    coded, code = [], weights._coded
    monkeypatch.setattr(
        weights, "_coded", lambda array, name: coded.append(name) or code(array, name)
    )
    small = compress.apply(
        compress.Pipeline([compress.Prune(sparsity=0.5, epochs=0), compress.Huffman()]), model
    )
    size = compress.pack(small.model, tmp_path / "model.packed")
    assert size == small.report.after.size.packed_bytes
    different = {(w.numpy().tobytes(), tuple(w.shape)) for w in small.model.weights}
    assert len(coded) == len(different) == 4


def test_streams_kept_have_a_bound(monkeypatch):
    monkeypatch.setattr(weights, "_CODED", {})
    monkeypatch.setattr(weights, "MOST_HELD_BYTES", 3000)
    draw = np.random.RandomState(0)
    arrays = [draw.standard_normal(300).astype("float32") for _ in range(6)]
    first = [weights.encode(array, "") for array in arrays]
    assert sum(map(weights.num_bytes, weights._CODED.values())) <= 3000
    assert [weights.encode(array, "") for array in arrays] == first


@pytest.fixture(scope="module")
def small():
    plan = compress.Pipeline([compress.Prune(sparsity=0.5), compress.ShareWeights(bits=2)])
    return compress.apply(plan, net(), evaluate=lambda model: {"top1": 0.5}, measure=measure)


def test_a_report_is_printed_as_tables(small):
    text = str(small.report)
    rows = {line.split("  ")[0]: line.split() for line in text.splitlines() if line}
    before, after = small.report.before.counts, small.report.after.counts
    assert rows["non-zero"][1:] == [f"{before.nonzero:,}", f"{after.nonzero:,}"]
    assert rows["top1"][1:] == ["0.5000", "0.5000"]
    assert rows["prune"][1:3] == ["2", "4"]  # layers changed, of so many
    assert "share_weights" in rows and max(map(len, text.splitlines())) < 200


def test_a_report_as_markdown_has_every_layer(small):
    text = small.report.to_markdown()
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    for block in tables:
        assert len({line.count(" | ") for line in block.splitlines()}) == 1, block
    for one in small.report.passes:
        assert f"## {one.settings['kind']}: each layer" in text
        for row in one.layers:
            if row.before.parameters:
                assert f"| {row.path} | {row.kind} |" in text and row.note in text


def test_a_report_as_json_is_its_plain_data(small):
    assert json.loads(small.report.to_json()) == json.loads(json.dumps(small.report.to_dict()))


def test_a_notebook_shows_tables_and_lines(small, monkeypatch, capsys):
    from xml.etree import ElementTree

    page = ElementTree.fromstring(small.report._repr_html_())
    cells = [cell.text for cell in page.iter("td")]
    assert "conv" in cells and f"{small.report.after.counts.nonzero:,}" in cells
    assert len(page.findall("details")) == 3  # each pass, and what the layers take
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setattr("builtins.get_ipython", lambda: shell, raising=False)
    compress.apply(compress.Prune(sparsity=0.5, epochs=0), net())
    told = capsys.readouterr().out
    assert told.startswith("prune: ") and "non-zero weights" in told
    monkeypatch.setattr("builtins.get_ipython", lambda: object(), raising=False)
    compress.apply(compress.Prune(sparsity=0.5, epochs=0), net())
    assert capsys.readouterr().out == ""


def test_a_packed_file_is_written_as_all_files_are(tmp_path):
    """Aside and renamed; by one at a time; what another program has beside it stays."""
    place, other = tmp_path / "small.packed", tmp_path / "small.packed.partial"
    other.write_text("another program's")
    compress.pack(net(), place)
    before = place.read_bytes()
    with claims.claim(place), ThreadPoolExecutor() as pool:
        second = pool.submit(compress.pack, net(), place)
        with pytest.raises(BlockingIOError, match="writes there"):
            second.result()
    assert place.read_bytes() == before and other.read_text() == "another program's"
    assert {path.name for path in tmp_path.iterdir()} == {place.name, other.name}
