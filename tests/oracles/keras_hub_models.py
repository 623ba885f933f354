"""KerasHub's models through every pass: a table of what goes in, comes out smaller, loads, exports.

    python tests/oracles/keras_hub_models.py --models bert vit --passes prune int8-weights
    python tests/oracles/keras_hub_models.py --files tflite-dynamic

Backbones of a few thousand weights, random, built from their settings: no presets, no downloads.
A cell is how many times smaller the packed file is, or why there is none. Each result is saved,
loaded and compared, packed and unpacked. `--files` exports what each pass made too. It wants
`pip install keras-hub`.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[2]))

import keras
import numpy as np

import compress
import export
from compress.graph import inputs_of

PASSES = {
    "prune": compress.Prune(sparsity=0.75, epochs=0),
    "share_weights": compress.ShareWeights(bits=4, epochs=0),
    "low_rank": compress.LowRank(ratio=0.4, convolutions="spatial", epochs=0),
    "prune_channels": compress.PruneChannels(ratio=0.5, least=2, epochs=0),
    "entropy": compress.Entropy(first_step=0.05, epochs=0),
    "int8-weights": compress.Quantize(activation_bits=None, epochs=0),
    "int8": compress.Quantize(epochs=0),
}
WORDS, PLACES, SIDE, EXAMPLES = 64, 8, 32, 8
TEXT = {"vocabulary_size": WORDS, "num_layers": 2, "num_heads": 2, "hidden_dim": 32}
GROUPED = {
    "vocabulary_size": WORDS, "num_layers": 2, "num_query_heads": 4, "num_key_value_heads": 2,
    "hidden_dim": 32, "intermediate_dim": 64,
}  # fmt: skip
SHAPE = (SIDE, SIDE, 3)
MODELS = {
    "bert": ("BertBackbone", {**TEXT, "intermediate_dim": 64, "max_sequence_length": PLACES}),
    "distil_bert": (
        "DistilBertBackbone", {**TEXT, "intermediate_dim": 64, "max_sequence_length": PLACES},
    ),
    "roberta": ("RobertaBackbone", {**TEXT, "intermediate_dim": 64, "max_sequence_length": PLACES}),
    "albert": (
        "AlbertBackbone",
        {**TEXT, "embedding_dim": 16, "intermediate_dim": 64, "max_sequence_length": PLACES},
    ),
    "gpt2": ("GPT2Backbone", {**TEXT, "intermediate_dim": 64, "max_sequence_length": PLACES}),
    "t5": ("T5Backbone", {**TEXT, "intermediate_dim": 64}),
    "gemma": ("GemmaBackbone", {**GROUPED, "head_dim": 8}),
    "llama": ("LlamaBackbone", GROUPED),
    "whisper": (
        "WhisperBackbone",
        {**TEXT, "intermediate_dim": 64, "num_mels": 8, "max_encoder_sequence_length": PLACES,
         "max_decoder_sequence_length": PLACES},
    ),
    "vit": (
        "ViTBackbone",
        {"image_shape": SHAPE, "patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 32,
         "mlp_dim": 64},
    ),
    "segformer": (
        "MiTBackbone",
        {"layerwise_depths": [1, 1], "num_layers": 2, "layerwise_num_heads": [1, 2],
         "layerwise_sr_ratios": [2, 1], "max_drop_path_rate": 0.0, "layerwise_patch_sizes": [7, 3],
         "layerwise_strides": [4, 2], "image_shape": SHAPE, "hidden_dims": [16, 32]},
    ),
    "resnet": (
        "ResNetBackbone",
        {"input_conv_filters": [64], "input_conv_kernel_sizes": [3],
         "stackwise_num_filters": [64, 64], "stackwise_num_blocks": [1, 1],
         "stackwise_num_strides": [1, 2], "block_type": "basic_block", "image_shape": SHAPE},
    ),
    "mobilenet": (
        "MobileNetBackbone",
        {"stackwise_expansion": [[16, 16], [24, 24]], "stackwise_num_blocks": [2, 2],
         "stackwise_num_filters": [[8, 8], [16, 16]], "stackwise_kernel_size": [[3, 3], [5, 5]],
         "stackwise_num_strides": [[2, 1], [2, 1]],
         "stackwise_se_ratio": [[None, None], [0.25, 0.25]],
         "stackwise_activation": [["relu", "relu"], ["hard_swish", "hard_swish"]],
         "stackwise_padding": [[1, 1], [2, 2]], "output_num_filters": 32, "depthwise_filters": 8,
         "depthwise_stride": 2, "depthwise_residual": False, "last_layer_filter": 32,
         "input_num_filters": 8, "image_shape": SHAPE},
    ),
    "efficientnet": (
        "EfficientNetBackbone",
        {"stackwise_kernel_sizes": [3, 3], "stackwise_num_repeats": [1, 1],
         "stackwise_input_filters": [8, 16], "stackwise_output_filters": [16, 24],
         "stackwise_expansion_ratios": [1, 4], "stackwise_squeeze_and_excite_ratios": [0.0, 0.25],
         "stackwise_strides": [1, 2], "stackwise_block_types": ["fused", "unfused"],
         "stackwise_force_input_filters": [0, 0], "stackwise_nores_option": [False, False],
         "stackwise_width_coefficients": [1.0, 1.0], "stackwise_depth_coefficients": [1.0, 1.0],
         "num_features": 32, "input_shape": SHAPE},
    ),
}  # fmt: skip


def built(name: str) -> keras.Model:
    """Returns a plain graph of a backbone, of random weights."""
    import keras_hub

    kind, settings = MODELS[name]
    keras.utils.set_random_seed(0)
    return compress.functional(getattr(keras_hub.models, kind)(**settings))


def examples(model: keras.Model) -> list[np.ndarray]:
    """Returns a few examples for each input."""
    random, found = np.random.RandomState(0), []
    for tensor in model.inputs:
        shape = [EXAMPLES, *(size or PLACES for size in tensor.shape[1:])]
        name = tensor._keras_history.operation.name
        if "int" not in tensor.dtype:
            values = random.uniform(size=shape)
        elif "mask" in name:
            values = np.ones(shape)
        elif "segment" in name:
            values = np.zeros(shape)
        else:
            values = random.randint(1, WORDS, shape)
        found.append(values.astype(tensor.dtype))
    return found


def answers(model: keras.Model, given: list[np.ndarray]) -> list[np.ndarray]:
    """Returns what a model answers, flat."""
    inputs = keras.tree.pack_sequence_as(inputs_of(model), given)
    return [np.array(one) for one in keras.tree.flatten(model(inputs))]


def tried(model: keras.Model, name: str, files: list[str]) -> str:
    """Puts a model through a pass; returns the cell of the table.

    Raises:
        AssertionError, ValueError, RuntimeError: Something that must hold does not.
    """
    given = examples(model)
    small, report = PASSES[name].apply(model, compress.Context(samples=given))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        small.save(path)
        before = compress.pack(model, Path(folder, "whole.packed"))
        after = compress.pack(small, Path(folder, "model.packed"))
        for again in (
            keras.saving.load_model(path),
            compress.unpack(Path(folder, "model.packed")),
        ):
            for one, two in zip(answers(again, given), answers(small, given), strict=True):
                np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5)
        told = ""
        for target in files:
            made = export.export(small, target, Path(folder, target), samples=given)
            told += f", {target} {next(made.path.glob('model.*')).stat().st_size:,}"
    held = sum(row.before.parameters for row in report.layers if row.changed)
    share = held / max(1, report.before.parameters)
    # A range behind a layer changes nothing in a file of floats.
    if name != "int8" and after >= before:
        told = f" not smaller{told}"
    return f"{before / after:.1f}x of {share:.0%}{told}"


def write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--passes", nargs="+", default=list(PASSES), choices=list(PASSES))
    parser.add_argument("--files", nargs="*", default=[])
    given = parser.parse_args()
    write("| model | " + " | ".join(given.passes) + " |")
    write("| --- |" + " --- |" * len(given.passes))
    for name in given.models:
        cells = []
        for step in given.passes:
            try:
                cells.append(tried(built(name), step, given.files))
            except Exception as error:  # which is what the table is for
                line = str(error).strip().splitlines() or [""]
                cells.append(f"{type(error).__name__}: {line[0][:160]}")
        write(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
