"""What `keras.Model.quantize` of this Keras does, beside `int8-weights`: a table, no tests.

    python tests/oracles/keras_quantizers.py

For each mode and net: which layers stayed in floats, how far the answers moved, how much smaller
the `.keras` file is, whether it loads, and whether it becomes a TFLite and an ONNX file.
"""

import os
import sys
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[2]))

import keras
import numpy as np
from keras import layers

import compress
import export

X = np.random.RandomState(0).normal(size=(64, 12, 64)).astype("float32")
NETS = {
    "dense": lambda x: layers.EinsumDense("abc,cde->abde", (12, 4, 64), name="einsum")(
        layers.Dense(64, activation="relu", name="hidden")(x)
    ),
    "attention": lambda x: layers.MultiHeadAttention(2, 32, name="attention")(x, x),
    "recurrent": lambda x: layers.LSTM(64, name="lstm")(x),
    "convolution": lambda x: layers.Conv1D(64, 3, name="conv")(x),
}
MODES = ("int8", "int4", "float8", "gptq", "awq", "int8-weights")


def net(name: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    signal = keras.Input((12, 64), name="signal")
    x = layers.Flatten()(NETS[name](signal))
    return keras.Model(signal, layers.Dense(10, name="logits")(x))


def quantised(model: keras.Model, mode: str) -> keras.Model:
    if mode == "int8-weights":
        return compress.Quantize(activation_bits=None, epochs=0).apply(model).model
    if mode in ("gptq", "awq"):
        blocks = [layer for layer in model.layers[1:] if layer.weights]
        kind = {"gptq": keras.quantizers.GPTQConfig, "awq": keras.quantizers.AWQConfig}[mode]
        config = kind(
            dataset=[x[None] for x in X[:16]],
            tokenizer=None,
            num_samples=16,
            sequence_length=12,
            group_size=32,
            quantization_layer_structure={"pre_block_layers": [], "sequential_blocks": blocks},
        )
        model.quantize(mode, config=config)
    else:
        model.quantize(mode)
    return model


def told(work) -> str:
    try:
        return str(work())
    except Exception as error:  # which is what the table is for
        lines = [
            line for line in str(error).splitlines() if "expected" in line or "requires" in line
        ]
        return f"{type(error).__name__}: {(lines or str(error).splitlines() or [''])[0][:110]}"


def row(name: str, mode: str) -> list[str]:
    model, before = net(name), np.array(net(name)(X))
    new = quantised(model, mode)
    moved = np.abs(np.array(new(X)) - before).max() / np.abs(before).max()
    plain = [one.name for one in new.layers if one.weights and not _is_quantised(one)]
    with tempfile.TemporaryDirectory() as folder:
        whole, path = Path(folder, "whole.keras"), Path(folder, "new.keras")
        net(name).save(whole)
        new.save(path)
        ratio = whole.stat().st_size / path.stat().st_size

        def loads() -> bool:
            again = keras.saving.load_model(path)
            return bool(np.allclose(again(X), new(X), atol=1e-5))

        def exported(target: str) -> str:
            made = export.export(new, target, Path(folder, target), samples=X)
            size = next(Path(made.path).glob("model.*")).stat().st_size
            return f"{size:,} bytes"

        floats = "-" if mode == "int8-weights" else " ".join(plain) or "none"
        return [
            floats, f"{moved:.4f}", f"{ratio:.1f}x", told(loads),
            told(lambda: exported("tflite-dynamic")), told(lambda: exported("onnx")),
        ]  # fmt: skip


def _is_quantised(layer: layers.Layer) -> bool:
    return any(getattr(one, "quantization_mode", None) for one in layer._flatten_layers())


def main() -> None:
    warnings.simplefilter("ignore")
    heads = ("net", "mode", "in floats", "moved", "smaller", "loads", "tflite-dynamic", "onnx")
    sys.stdout.write(f"| {' | '.join(heads)} |\n|{' --- |' * len(heads)}\n")
    for name in NETS:
        for mode in MODES:
            try:
                cells = row(name, mode)
            except Exception as error:
                cells = [f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"]
            sys.stdout.write(f"| {' | '.join([name, mode, *cells])} |\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
