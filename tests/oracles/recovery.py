"""How near compressed nets come to ImageNet's, without labels: `python tests/oracles/recovery.py`.

Passes get 256 random crops of photographs that packages ship, and nothing else. What they leave is
judged on 208 other crops of the same photographs, and on 208 of photographs that nothing was fitted
to: correlation of logits with those of the float net, and how often both name the same class.
ResNet-20 for Fashion-MNIST, whose test split has labels, tells what of that is accuracy.

    python tests/oracles/recovery.py                             everything, in an hour on two cores
    python tests/oracles/recovery.py mobilenet_v2 --cases w4 --recover network
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from PIL import Image

import compress
import zoo
from compress.measure.samples import answers
from zoo.data.preprocessing import Preprocessing
from zoo.data.sets import photographs
from zoo.weights import find_shipped, find_weights

SEEN = ("chelsea", "coffee", "motorcycle", "rocket", "ihc", "hubble", "flower", "brick", "moon")
OTHER = ("astronaut", "china", "grace_hopper", "camera", "coins")
CASES = {
    "w8": (compress.Quantize(calibration="mse"), 0.995),
    "w4": (compress.Quantize(bits=4, calibration="mse"), 0.95),
    "share4": (compress.ShareWeights(bits=4), 0.95),
    "prune50": (compress.Prune(sparsity=0.5), 0.93),
    "2:4": (compress.Prune(n_of_m=(2, 4)), 0.92),
    "channels10": (compress.PruneChannels(ratio=0.1), 0.92),
}
LABELLED = {"w4": 0.003, "2:4": 0.005}  # what may be lost, as fractions
MODES = ("statistics", "layers", "network")


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def crops(names, count, seed, net):
    """Random squares of photographs, half of them mirrored, as the net takes them."""
    row, side = find_weights(net.name), net.input_shape[1]
    random, found = np.random.default_rng(seed), []
    pictures = [photographs.read(name, channels=3) for name in names]
    for number in range(count):
        picture = pictures[number % len(pictures)]
        size = int(random.integers(side // 2, min(picture.shape[:2]) + 1))
        top, left = (int(random.integers(0, length - size + 1)) for length in picture.shape[:2])
        image = Image.fromarray(picture[top : top + size, left : left + size])
        image = image.resize((side, side), Image.Resampling.BILINEAR)
        mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        found.append(np.asarray(mirrored if random.random() < 0.5 else image))
    return Preprocessing.parse(row.preprocessing(side), "row").apply(np.stack(found))


def of_photographs(name, cases, modes, count):
    """Prints a row for each case and each way to recover."""
    net = zoo.create(name, weights="imagenet")
    samples = crops(SEEN, count, 0, net)
    sets = [crops(SEEN, 208, 1, net), crops(OTHER, 208, 2, net)]
    wanted = [answers(net, [one])[0] for one in sets]
    failed = []
    for case in cases:
        step, least = CASES[case]
        for mode in modes:
            began = time.perf_counter()
            small = step.changed(recover=mode).apply(net, compress.Context(samples=samples)).model
            seconds, told = time.perf_counter() - began, []
            for one, want in zip(sets, wanted, strict=True):
                got = answers(small, [one])[0]
                correlation = np.corrcoef(got.ravel(), want.ravel())[0, 1]
                told.append((correlation, np.mean(got.argmax(1) == want.argmax(1))))
            cells = " | ".join(f"{c:.4f}, {same:.1%}" for c, same in told)
            say(f"| {name} | {case} | {mode} | {cells} | {seconds:.0f} s |")
        if told[0][0] < least:
            failed.append(f"{name} {case}: {told[0][0]:.4f} < {least}")
    return failed


def of_clothes(cases, modes, count):
    """Likewise in points of accuracy."""
    from zoo.data.sets import fashion_mnist

    name = "resnet20"
    net = zoo.create(name, weights="fashion_mnist")
    card = json.loads((find_shipped(name, "fashion_mnist") / "card.json").read_text())
    ready = Preprocessing.parse(card["preprocessing"], "card")
    data = fashion_mnist.load()
    frame = ((0, 0), (2, 2), (2, 2), (0, 0))
    samples, images = (
        ready.apply(np.pad(split.columns["image"][:most], frame))
        for split, most in ((data.train, count), (data.test, None))
    )
    labels = data.test.columns["label"]

    def top1(model):
        return float(np.mean(answers(model, [images])[0].argmax(1) == labels))

    whole, failed = top1(net), []
    for case in [case for case in cases if case in LABELLED]:
        for mode in modes:
            began = time.perf_counter()
            step = CASES[case][0].changed(recover=mode)
            small = step.apply(net, compress.Context(samples=samples)).model
            seconds, found = time.perf_counter() - began, top1(small)
            say(f"| {name} | {case} | {mode} | {whole:.2%} | {found:.2%} | {seconds:.0f} s |")
        if whole - found > LABELLED[case]:
            failed.append(f"{name} {case}: lost {whole - found:.2%}")
    return failed


def main():
    """Prints the table; ends with 1 where the last way to recover misses its aim."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    nets = ["mobilenet_v2", "efficientnet_lite0", "resnet20"]
    parser.add_argument("nets", nargs="*", default=nets)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=CASES)
    parser.add_argument("--recover", nargs="+", default=MODES, choices=MODES)
    parser.add_argument("--samples", type=int, default=256)
    given = parser.parse_args()
    say("| net | case | recover | other crops | other photographs | |\n|-|-|-|-|-|-|")
    failed = []
    for name in given.nets:
        if name == "resnet20":
            failed += of_clothes(given.cases, given.recover, given.samples)
        else:
            failed += of_photographs(name, given.cases, given.recover, given.samples)
    say("\n".join(failed))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
