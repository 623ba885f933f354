"""Four generations of detectors on the same scenes: how good, and how long for one picture.

    zoo train fast_rcnn_small; zoo train faster_rcnn_small
    python -m zoo.results.generations runs/fast_rcnn_small runs/faster_rcnn_small

fits the sliding window and R-CNN (`zoo.baselines`), takes the two networks from their bundles, and
measures all on the test split of `digit_scenes_regions`. Each picture goes to all four in turn, one
at a time, from pixels to boxes; what finds the regions counts. The rows go into
`zoo/results/generations.csv`, from which `python -m zoo.results` makes a table of docs/numbers.md.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tensorflow as tf

from zoo.baselines.crops import Detector
from zoo.baselines.rcnn import rcnn
from zoo.baselines.sliding_window import sliding_window
from zoo.bundle import Bundle
from zoo.data.dataset import DataSet
from zoo.data.loading import load
from zoo.data.preprocessing import Preprocessing
from zoo.data.sets import regions
from zoo.metrics.detection import Things, average_precision
from zoo.models.saved import load_model
from zoo.results import merge
from zoo.tasks.places.detections import things
from zoo.training import provenance

DATA = "digit_scenes_regions"
WARM = 3  # pictures that are not timed
LOG = logging.getLogger("zoo")
PAPERS = {  # mean average precision, and seconds for a picture, as the papers have them
    "sliding_window": ("ILSVRC13 24.3 (OverFeat)", ""),
    "rcnn": ("VOC07 66.0 (VGG-16)", "47.0, without regions"),
    "fast_rcnn": ("VOC07 66.9 (VGG-16)", "0.32, without regions"),
    "faster_rcnn": ("VOC07 69.9 (VGG-16)", "0.198"),
}


def network(path: Path) -> Detector:
    """Returns a bundle's detector as a function of a picture; regions are found where it asks."""
    bundle = Bundle(path)
    model = load_model(bundle.path)
    known = Preprocessing.parse(bundle.card.preprocessing, where=str(path))
    given = next((x.shape[1] for x in model.inputs if x.name == "regions"), None)
    ask = tf.function(lambda inputs: model(inputs, training=False))

    def detect(image: np.ndarray) -> Things:
        inputs = [known.apply(image[None])]
        if given:
            inputs.append(regions.propose(image, given)[None])
        outputs = ask(inputs if given else inputs[0])
        return things({name: x.numpy() for name, x in outputs.items()}, 0, image.shape[:2])

    return detect


def measure(detectors: Mapping[str, Detector], data: DataSet, count: int) -> list[dict[str, Any]]:
    """Returns a row for each detector: `map`, `ap50` and `ap75`, and seconds for one picture.

    Args:
        detectors: By name.
        data: Scenes with boxes; the test split is looked at.
        count: Number of its pictures.
    """
    images = data.test["image"][:count]
    found: dict[str, list[Things]] = {name: [] for name in detectors}
    times: dict[str, list[float]] = {name: [] for name in [*detectors, "regions"]}
    for image in images:
        for name, detect in detectors.items():
            times[name].append(_timed(lambda: found[name].append(detect(image))))  # noqa: B023
        times["regions"].append(_timed(lambda: regions.propose(image, regions.NUM)))  # noqa: B023
    truth = [
        Things(boxes[kinds >= 0], kinds[kinds >= 0])
        for boxes, kinds in zip(data.test["boxes"][:count], data.test["classes"], strict=False)
    ]
    rows = []
    for name in detectors:
        metrics, _ = average_precision(truth, found[name], data.columns["classes"].names)
        precision, seconds = PAPERS[name]
        rows.append(
            {
                "name": name,
                **{key: round(metrics[key], 4) for key in ("map", "ap50", "ap75")},
                "seconds": f"{median(times[name][WARM:]):.3g}",
                "regions_seconds": f"{median(times['regions'][WARM:]):.3g}"
                if name in ("rcnn", "fast_rcnn")
                else "",
                "paper_map": precision,
                "paper_seconds": seconds,
                "pictures": len(images),
                "processor": provenance.processor(),
                "cores": provenance.cores(),
                "commit": provenance.commit(),
            }
        )
    return rows


def _timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> None:
    """Fits, measures and records."""
    parser = argparse.ArgumentParser(prog="python -m zoo.results.generations", description=__doc__)
    parser.add_argument("fast", type=Path, help="bundle of fast_rcnn_small")
    parser.add_argument("faster", type=Path, help="bundle of faster_rcnn_small")
    parser.add_argument("--epochs", type=int, default=4, help="of the classifiers of crops")
    parser.add_argument("--scenes", type=int, default=3000, help="that these learn from")
    parser.add_argument("--pictures", type=int, default=300, help="of the test split")
    arguments = parser.parse_args()
    data = load(DATA)
    classes = len(data.columns["classes"].names)
    train = data.train[: arguments.scenes]
    fitted = {
        "sliding_window": sliding_window(train, classes, epochs=arguments.epochs),
        "rcnn": rcnn(train, classes, epochs=arguments.epochs),
    }
    networks = {"fast_rcnn": network(arguments.fast), "faster_rcnn": network(arguments.faster)}
    rows = measure({**fitted, **networks}, data, arguments.pictures)
    merge("generations", rows)
    for row in rows:
        print(row)  # noqa: T201


if __name__ == "__main__":
    main()
