"""How fast a language model's file writes, beside the loops that people write with Keras.

    zoo train char_lstm
    python tests/oracles/writing_time.py runs/char_lstm [--tokens 1000]

The file of one step, in TFLite and in ONNX, writes greedily by `serving.write`, without TensorFlow
in the loop. Beside it: `predict` of Keras on one step with its states, and `predict` on the whole
window of what is written so far, which needs no step. They take turns; the texts are the same.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

import serving
import zoo
from zoo.bundle import find_bundle
from zoo.common.tensors import LOGITS, NEXT, TOKENS
from zoo.models.saved import load_model, load_networks

PROMPT, KERAS_TOKENS, ROUNDS = "The ", 60, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("--tokens", type=int, default=1000)
    chosen = parser.parse_args()
    bundle = find_bundle(chosen.bundle)
    labels, networks = list(bundle.card.labels), load_networks(bundle.path)
    net, step = networks["net"], load_model(bundle.path)
    start = [labels.index(character) for character in PROMPT]

    def stepping(count: int) -> str:
        names = [one.name for one in step.inputs if one.name != TOKENS]
        states = {
            one.name: np.zeros((1, *one.shape[1:]), "float32")
            for one in step.inputs
            if one.name != TOKENS
        }
        written, token = [], start[0]
        for place in range(len(start) - 1 + count):
            found = step.predict({TOKENS: np.array([[token]]), **states}, verbose=0)
            states = {name: found[NEXT + name] for name in names}
            token = int(found[LOGITS].reshape(-1).argmax())
            if place + 1 < len(start):
                token = start[place + 1]
            else:
                written.append(token)
        return "".join(labels[one] for one in written)

    def whole(count: int) -> str:
        tokens = list(start)
        for _ in range(count):
            logits = net.predict(np.array([tokens]), verbose=0)
            logits = logits if isinstance(logits, np.ndarray) else logits[LOGITS]
            tokens.append(int(logits[0, -1].argmax()))
        return "".join(labels[one] for one in tokens[len(start) :])

    with tempfile.TemporaryDirectory() as folder:
        made = zoo.export(chosen.bundle, "tflite", "onnx", out=folder)
        ways = {
            f"file, {one.manifest.target}": (
                chosen.tokens,
                lambda count, path=one.path: serving.write(path, prompt=PROMPT, tokens=count,
                                                           temperature=0)[0][len(PROMPT):],
            )
            for one in made
        }  # fmt: skip
        ways |= {
            "Keras, predict of a step": (KERAS_TOKENS, stepping),
            "Keras, predict of all so far": (KERAS_TOKENS, whole),
        }
        texts, seconds = {}, {name: [] for name in ways}
        for turn in range(ROUNDS + 1):
            for name, (count, write) in ways.items():
                began = time.perf_counter()
                texts[name] = write(count)
                if turn:  # the first warms up
                    seconds[name].append((time.perf_counter() - began) / count)
    sys.stdout.write(f"{bundle.card.architecture}, greedy, median of {ROUNDS} turns\n")
    base = statistics.median(seconds["Keras, predict of a step"])
    for name, times in seconds.items():
        each = statistics.median(times)
        same = texts[name][:KERAS_TOKENS] == texts["file, tflite"][:KERAS_TOKENS]
        sys.stdout.write(
            f"{name:30} {1 / each:9,.0f} tokens/s  {base / each:7.1f}x  same text: {same}\n"
        )


if __name__ == "__main__":
    main()
