"""How long pictures take that are drawn pixel by pixel: kept steps against the plain loop.

    python tests/oracles/sampling_time.py NAME [--count 64] [--loop 28]

NAME is a row of the catalogue; its weights are random ones, which cost what trained ones do. The
plain loop runs the whole net for each pixel: `--loop` of them are timed, and the rest is counted
from those. Both draw by the same numbers: the largest difference of their logits is printed.
"""

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from tests.golden import vector
from zoo.catalog import CATALOG
from zoo.tasks.pixel_nets.autoregressive import Autoregressive
from zoo.tasks.pixel_nets.rasters import Kept, Whole


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--loop", type=int, default=28, help="pixels of the plain loop")
    chosen = parser.parse_args()
    net = vector.net(CATALOG[chosen.name])
    _, height, width, _ = net.inputs[0].shape
    given = {"image": np.zeros((chosen.count, height, width, 1), "float32")}
    if len(net.inputs) > 1:
        classes = net.inputs[1].shape[-1]
        given["label"] = np.eye(classes, dtype="float32")[np.arange(chosen.count) % classes]
    task = Autoregressive()
    uniforms = np.random.RandomState(0).rand(chosen.count, height, width)
    began = time.perf_counter()
    levels = task.draw(net, given, uniforms)
    kept = time.perf_counter() - began

    plain, steps = Whole(net, given), Kept(net, given)
    places = list(np.ndindex(height, width))
    plain.logits(0, 0)  # the graph is traced
    seconds, apart, largest = 0.0, 0.0, 0.0
    timed = set(np.linspace(0, len(places) - 1, chosen.loop, dtype=int).tolist())
    for number, (row, column) in enumerate(places):
        ours = steps.logits(row, column)
        if number in timed:
            began = time.perf_counter()
            theirs = plain.logits(row, column)
            seconds += time.perf_counter() - began
            apart = max(apart, float(np.abs(ours - theirs).max()))
            largest = max(largest, float(np.abs(theirs).max()))
        for each in (plain, steps):
            each.put(row, column, levels[:, row, column].astype("float32"))
    whole = seconds / len(timed) * len(places)
    sys.stdout.write(
        f"{chosen.name}: {chosen.count} pictures of {height}x{width}: {kept:.1f} s; plain loop "
        f"{whole:.0f} s ({len(timed)} of {len(places)} pixels timed), {whole / kept:.0f} times as "
        f"long; logits differ by {apart:.1e} at most, of {largest:.1f}\n"
    )


if __name__ == "__main__":
    main()
