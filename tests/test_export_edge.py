"""Microcontrollers: the C++ of TFLite-Micro on its interpreter, and what Vela makes for Ethos-U."""

import csv
import json
import re
import shutil
import subprocess
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers

import export
from export.formats.micro import arena
from export.formats.tflite.flatbuffer import parse
from export.source import prepare
from export.target import About, Source
from export.targets import ethos_u, tflm
from export.targets.tflite import TFLiteInt8

pytest.importorskip("tflite_micro", reason="needs tflite-micro")
pytest.importorskip("ethosu.vela", reason="needs ethos-u-vela")

LABELS = tuple("0123456789")

# The methods of TFLite-Micro's `MicroMutableOpResolver` for operators of the TFLite schema.
ADDERS = """
Abs Add AddN ArgMax ArgMin AssignVariable AveragePool2D BatchMatMul BatchToSpaceNd BroadcastArgs
BroadcastTo CallOnce Cast Ceil Concatenation Conv2D Cos CumSum DepthToSpace DepthwiseConv2D
Dequantize Div DynamicUpdateSlice Elu EmbeddingLookup Equal Exp ExpandDims Fill Floor FloorDiv
FloorMod FullyConnected Gather GatherNd Greater GreaterEqual HardSwish If L2Normalization L2Pool2D
LeakyRelu Less LessEqual Log LogSoftmax LogicalAnd LogicalNot LogicalOr Logistic MaxPool2D Maximum
Mean Minimum MirrorPad Mul Neg NotEqual Pack Pad PadV2 Prelu Quantize ReadVariable ReduceAll
ReduceMax ReduceMin Relu Relu6 Reshape ResizeBilinear ResizeNearestNeighbor ReverseV2 Round Rsqrt
SelectV2 Shape Sin Slice Softmax SpaceToBatchNd SpaceToDepth Split SplitV Sqrt Square
SquaredDifference Squeeze StridedSlice Sub Sum Svdf Tanh Transpose TransposeConv
UnidirectionalSequenceLSTM Unpack VarHandle While ZerosLike
"""


@pytest.fixture(scope="module")
def mnist():
    """Digits (n, 28, 28, 1) in [0, 1] and their classes: training and test."""
    from zoo.data.sets.mnist5k import load

    data = load()
    return [
        (split["image"].astype("float32") / 255, split["label"])
        for split in (data.train, data.test)
    ]


@pytest.fixture(scope="module")
def convnet(mnist):
    """Three convolutions, trained in seconds; 15,930 parameters."""
    keras.utils.set_random_seed(0)
    x = image = keras.Input((28, 28, 1), name="image")
    for number, filters in enumerate((16, 24, 32), 1):
        x = layers.Conv2D(filters, 3, 2, "same", use_bias=False, name=f"conv{number}")(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    logits = layers.Dense(10, name="logits")(layers.Flatten()(x))
    model = keras.Model(image, logits, name="digits")
    inputs, targets = mnist[0]
    rate = keras.optimizers.schedules.CosineDecay(5e-3, 8 * len(inputs) // 64)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss)
    model.fit(inputs, targets, batch_size=64, epochs=8, verbose=0)
    return model


@pytest.fixture(scope="module")
def deployed(convnet, mnist, tmp_path_factory):
    """Exports the trained net to a target, once."""
    done = {}
    x, y = mnist[1]
    labelled = export.Labelled(x, lambda out: {"top1": accuracy(out["logits"], y)})

    def get(name):
        if name not in done:
            out = tmp_path_factory.mktemp("edge") / name
            done[name] = export.export(
                convnet, name, out, samples=mnist[0][0][:256], labelled=labelled,
                about=About(labels=LABELS),
            )  # fmt: skip
        return done[name]

    return get


@pytest.fixture(scope="module")
def signs():
    """A model of one operator that no edge runtime has, and its int8 file."""
    image = keras.Input((8, 8, 1), name="image")
    model = keras.Model(image, keras.ops.sign(image))
    net, signature = prepare(model)
    drawn = np.random.default_rng(0).standard_normal((32, 8, 8, 1), np.float32)
    source = Source(net=net, signature=signature, about=About(), calibration={"image": drawn})
    return model, drawn, TFLiteInt8(io="int8").content(source)


def accuracy(scores, classes):
    return float(np.mean(scores.argmax(1) == classes))


# TFLite-Micro


def run_alone(path, inputs, arena_bytes):
    """Runs a `.tflite` file of one int8 input and output with none of our code."""
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_file(str(path), arena_size=arena_bytes)
    ends = (interpreter.get_input_details(0), interpreter.get_output_details(0))
    (scale, zero), (out_scale, out_zero) = (
        (end["quantization_parameters"]["scales"], end["quantization_parameters"]["zero_points"])
        for end in ends
    )
    outputs = []
    for row in inputs:
        steps = np.clip(np.round(row[None] / scale) + zero, -128, 127).astype(np.int8)
        interpreter.set_input(steps, 0)
        interpreter.invoke()
        outputs.append(out_scale * (interpreter.get_output(0).astype(np.float32) - out_zero))
    return np.concatenate(outputs)


def test_digits_fit_a_microcontroller_and_keep_their_accuracy(deployed, convnet, mnist):
    done = deployed("tflm")
    facts = done.manifest.facts
    assert facts["flash_bytes"] < 25_000
    assert facts["arena_bytes"] < 8_000
    assert facts["flash_bytes"] == done.manifest.size_bytes
    assert facts["flash_bytes"] == (done.path / "model.tflite").stat().st_size
    assert facts["steps_from_reference"] <= 1

    x, y = mnist[1]
    scores = run_alone(done.path / "model.tflite", x, facts["arena_bytes"])
    before, after = accuracy(convnet.predict(x, verbose=0), y), accuracy(scores, y)
    assert after > 0.94
    assert abs(before - after) <= 0.01
    score = done.manifest.score
    assert (score.model["top1"], score.file["top1"]) == (pytest.approx(before), after)


def test_the_manifest_of_a_microcontroller(deployed):
    manifest = deployed("tflm").manifest
    assert (manifest.file, manifest.precision, manifest.proof) == ("model.cc", "int8", "numeric")
    assert manifest.parity.passed and manifest.parity.samples == 128
    assert manifest.operators == {"CONV_2D": 3, "FULLY_CONNECTED": 1, "RESHAPE": 1}
    (image,), (logits,) = manifest.signature.inputs, manifest.signature.outputs
    assert (image.name, image.shape, image.dtype) == ("image", (1, 28, 28, 1), "int8")
    assert (logits.name, logits.shape, logits.dtype) == ("logits", (1, 10), "int8")


def test_the_arena_is_the_smallest(deployed):
    done = deployed("tflm")
    content = (done.path / "model.tflite").read_bytes()
    least = done.manifest.facts["arena_bytes"]
    assert least % arena.STEP == 0
    assert arena.smallest(content, least) == least
    with pytest.raises(arena.RefusedError, match=r"Failed to \w+"):
        arena.smallest(content, least - arena.STEP)
    with pytest.raises(arena.RefusedError):  # where the process ends in a segmentation fault
        arena.smallest(content, arena.STEP)
    with pytest.raises(RuntimeError, match=r"TFLite-Micro took more than 0\.01 s\. Raise"):
        arena.smallest(content, least, seconds=0.01)


@pytest.mark.parametrize(("needed", "deadly"), [(40, 0), (40, 39), (300, 120), (1, 0), (1000, 999)])
def test_the_search_survives_the_death_of_its_process(needed, deadly, monkeypatch):
    """The process of `arena` with an interpreter that needs so many steps, and dies below some."""

    class DiedError(Exception):
        pass

    def outputs(content, size):
        if size // arena.STEP <= deadly:
            raise DiedError
        return [b"same"] if size >= needed * arena.STEP else None

    def run(module, path, low, high, **_):
        lines = []
        monkeypatch.setattr(arena, "_say", lines.append)
        try:
            arena._try_sizes(b"", int(low), int(high))
            code = 0
        except DiedError:
            code = -11
        return SimpleNamespace(stdout="\n".join(lines), stderr="", returncode=code)

    monkeypatch.setattr(arena, "_outputs", outputs)
    monkeypatch.setattr(arena.processes, "run", run)
    assert arena.smallest(b"", 1000 * arena.STEP) == needed * arena.STEP
    if needed > 1:
        with pytest.raises(arena.RefusedError):
            arena.smallest(b"", (needed - 1) * arena.STEP)


def compile_and_run(folder, code, *files):
    """Compiles C++ with every warning an error, and returns what the program prints."""
    if not (compiler := shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("no C++ compiler here")
    (folder / "main.cc").write_text(code)
    strict = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{folder}"]
    subprocess.run(
        [compiler, *strict, "main.cc", *map(str, files), "-o", "main"], cwd=folder, check=True
    )
    return subprocess.run([str(folder / "main")], capture_output=True, check=True).stdout


def test_the_array_compiles_and_is_the_file(deployed, tmp_path):
    path = deployed("tflm").path
    code = f"""
        #include <cstdint>
        #include <cstdio>
        #include "{path / "model.h"}"
        int main() {{
            if (reinterpret_cast<std::uintptr_t>(digits_model::kModel) % 16) return 1;
            return std::fwrite(digits_model::kModel, 1, digits_model::kModelBytes, stdout)
                != digits_model::kModelBytes;
        }}"""
    content = (path / "model.tflite").read_bytes()
    assert compile_and_run(tmp_path, code, path / "model.cc") == content
    assert tflm.read_array(path / "model.cc") == content


def test_the_registration_compiles_and_names_each_operator(deployed, tmp_path):
    """With a stand-in for TFLite-Micro's header: the methods by name, and room for so many."""
    header = tmp_path / "tensorflow/lite/micro/micro_mutable_op_resolver.h"
    header.parent.mkdir(parents=True)
    methods = "\n".join(
        f'TfLiteStatus Add{name}() {{ return Take("{name}"); }}' for name in ADDERS.split()
    )
    header.write_text(f"""
        #pragma once
        #include <cstdio>
        enum TfLiteStatus {{ kTfLiteOk, kTfLiteError }};
        namespace tflite {{
        template <unsigned int room> struct MicroMutableOpResolver {{
            unsigned int taken = 0;
            TfLiteStatus Take(const char* name) {{
                std::puts(name);
                return ++taken > room ? kTfLiteError : kTfLiteOk;
            }}
            {methods}
        }};
        }}""")
    done = deployed("tflm")
    code = f"""
        #include "{done.path / "model_ops.h"}"
        int main() {{
            digits_model::Resolver resolver;
            std::printf("%zu\\n", digits_model::kArenaBytes);
            return digits_model::RegisterOperators(resolver) != kTfLiteOk;
        }}"""
    printed = compile_and_run(tmp_path, code).decode().split()
    least = done.manifest.facts["arena_bytes"]
    assert printed == [str(least), "Conv2D", "FullyConnected", "Reshape"]
    assert "MicroMutableOpResolver<3>" in (done.path / "model_ops.h").read_text()


def test_operators_have_the_names_of_the_resolver():
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    names = {tflm.registration_name(name) for name in vars(BuiltinOperator) if name[0] != "_"}
    assert {f"Add{name}" for name in ADDERS.split()} <= names


def without_a_kernel(content):
    """The same file, with zeros for its largest kernel."""
    buffers = [buffer.data for buffer in parse(content).buffers if buffer.data is not None]
    kernel = max(buffers, key=len).tobytes()
    assert content.count(kernel) == 1
    return content.replace(kernel, bytes(len(kernel)))


def test_what_runs_is_the_array(deployed, mnist, tmp_path):
    path = shutil.copytree(deployed("tflm").path, tmp_path / "copy")
    target, few = tflm.TFLM(), {"image": mnist[1][0][:4]}
    before = target.open(path / "model.cc").run(few)["logits"]
    content = without_a_kernel(tflm.read_array(path / "model.cc"))
    (path / "model.cc").write_text(tflm._code(content, "digits_model"))
    after = target.open(path / "model.cc").run(few)["logits"]
    assert not np.array_equal(before, after)


def test_an_array_that_differs_from_the_tflite_file_is_refused(
    deployed, convnet, mnist, tmp_path, monkeypatch
):
    content = (deployed("tflm").path / "model.tflite").read_bytes()
    monkeypatch.setattr(TFLiteInt8, "content", lambda *_: content)
    monkeypatch.setattr(tflm, "_bare", without_a_kernel)
    net, signature = prepare(convnet)
    examples = {"image": mnist[0][0][:4]}
    source = Source(net=net, signature=signature, about=About(), calibration=examples)
    with pytest.raises(RuntimeError, match=r"an output is \d+ steps of int8 from"):
        tflm.TFLM().write(source, tmp_path)


def test_ends_keep_their_names(tmp_path):
    image, extra = keras.Input((4, 4, 2), name="image"), keras.Input((3,), name="extra")
    x = layers.Concatenate()([layers.Flatten()(image), extra])
    outputs = {"wide": layers.Dense(5, name="a")(x), "narrow": layers.Dense(5, name="b")(x)}
    model = keras.Model({"image": image, "extra": extra}, outputs, name="net")
    rng = np.random.default_rng(0)
    samples = {
        "image": rng.standard_normal((64, 4, 4, 2), np.float32),
        "extra": rng.standard_normal((64, 3), np.float32),
    }
    about = About(name="1 two-ended net")
    done = export.export(model, "tflm", tmp_path / "out", samples=samples, about=about)
    assert done.manifest.parity.passed
    header = (tmp_path / "out" / "model.h").read_text()
    ends = re.findall(r"// (\w+)\((\d)\): (\w+), shape (\(.*?\)), value = \S+ \* \(q -", header)
    assert sorted((kind, name, shape) for kind, _, name, shape in ends) == [
        ("input", "extra", "(1, 3)"),
        ("input", "image", "(1, 4, 4, 2)"),
        ("output", "narrow", "(1, 5)"),
        ("output", "wide", "(1, 5)"),
    ]
    assert "namespace m_1_two_ended_net_model {" in header


def test_an_operator_that_the_runtime_lacks_is_named(signs, tmp_path, monkeypatch):
    model, drawn, content = signs
    monkeypatch.setattr(TFLiteInt8, "content", lambda *_: content)
    with pytest.raises(RuntimeError, match=r"^export to tflm: .*no operator SIGN\.$"):
        export.export(model, "tflm", tmp_path / "out", samples=drawn)
    assert not list(tmp_path.iterdir())


# Ethos-U


def test_digits_on_ethos_u(deployed):
    done = deployed("ethos-u")
    manifest, facts = done.manifest, done.manifest.facts
    assert (manifest.file, manifest.proof, manifest.parity) == (
        "model_vela.tflite",
        "compile",
        None,
    )
    assert manifest.operators == {"ethos-u": 1}
    assert (facts["npu_operators"], facts["cpu_operators"], facts["npu_share"]) == (4, 0, 1.0)
    assert 16 * 14 * 14 <= facts["sram_bytes"] < 16_384  # at least the widest activation
    assert 15_930 / 2 < facts["flash_bytes"] < 25_000
    assert manifest.signature.inputs[0].dtype == "int8"

    with (done.path / "layers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    convolutions = [row for row in rows if row["NNG Operator"] == "Conv2D"]
    assert len(convolutions) == 3 and all(row["Target"] == "NPU" for row in rows)
    cycles = sum(int(row["Op Cycles"]) for row in rows)
    assert cycles == facts["cycles"]
    assert facts["inferences_per_second"] == pytest.approx(
        facts["clock_mhz"] * 1e6 / cycles, rel=1e-3
    )
    macs = 16 * 14**2 * 9 + 24 * 7**2 * 9 * 16 + 32 * 4**2 * 9 * 24 + 512 * 10
    assert sum(int(row["MAC Count"]) for row in rows) == pytest.approx(macs, rel=0.05)


def test_a_larger_processor_is_faster(deployed, tmp_path, monkeypatch):
    made = deployed("tflm")
    content = (made.path / "model.tflite").read_bytes()
    source = SimpleNamespace(signature=made.manifest.signature)
    monkeypatch.setattr(TFLiteInt8, "content", lambda *_: content)
    rates = []
    for name in ("ethos-u55-32", "ethos-u85-256"):
        target = ethos_u.EthosU(accelerator=name)
        facts = target.write(source, tmp_path).facts
        assert facts["accelerator"].lower().replace("_", "-") == name
        rates.append(facts["inferences_per_second"])
    assert rates[1] > 1.5 * rates[0]


def test_nothing_on_the_processor_is_a_fault(signs, tmp_path, monkeypatch):
    model, drawn, content = signs
    monkeypatch.setattr(TFLiteInt8, "content", lambda *_: content)
    with pytest.raises(export.ParityError, match=r"no operator was placed .*: .*SIGN \(1\)"):
        export.export(model, "ethos-u", tmp_path / "out", samples=drawn)
    written = json.loads((tmp_path / "out.rejected" / "manifest.json").read_text())
    assert (written["facts"]["npu_operators"], written["facts"]["cpu_operators"]) == (0, 3)
    assert written["facts"]["inferences_per_second"] is None


def test_vela_that_fails_has_the_last_word(tmp_path):
    (tmp_path / "model.tflite").write_bytes(b"no model")
    with pytest.raises(
        RuntimeError, match=r"^export to ethos-u: Vela failed: Compilation"
    ) as caught:
        ethos_u.EthosU()._compile(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_processors_are_those_that_vela_knows():
    from ethosu.vela.architecture_features import Accelerator

    known = ethos_u.EthosU.model_fields["accelerator"].annotation.__args__
    assert sorted(known) == sorted(Accelerator.member_list())


def test_an_unknown_processor_is_refused():
    with pytest.raises(ValueError, match=r"accelerator: got 'ethos-u99'; expected 'ethos"):
        ethos_u.EthosU(accelerator="ethos-u99")
    with pytest.raises(ValueError, match=r"Did you mean 'accelerator'\?"):
        ethos_u.EthosU(acelerator="ethos-u55-64")
