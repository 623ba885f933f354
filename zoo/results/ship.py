"""Takes trained bundles into the wheel, packed: `python -m zoo.results.ship runs/lenet5 ...`.

What is taken is the model in one packed file, its card, recipe, report and some of its samples. One
whose headline, a fraction, is more than 0.3 points below its parent's is refused.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np

from zoo.bundle import CARD, MODEL, NETWORKS, PACKED, RECIPE, REPORT, SAMPLES, Bundle
from zoo.common.home import SHIPPED

MOST_LOST = 0.003
SAMPLE_BYTES = 2**17  # of the raw examples of each split
LEAST_SAMPLES = 8


def ship(path: str | Path) -> Path:
    """Copies a bundle to where the wheel takes it from; returns its new directory.

    Raises:
        ValueError: It lost too much by its compression.
    """
    from compress import pack
    from zoo.models.saved import load_model

    bundle = Bundle(path)
    part, metrics = bundle.report.compress, bundle.report.metrics
    headline = bundle.recipe.task.headline  # type: ignore[attr-defined]
    if part and headline.fraction:
        lost = part.parent_metrics[headline.name] - metrics[headline.name]
        lost = lost if headline.higher else -lost
        if lost > MOST_LOST:
            raise ValueError(
                f"{path}: lost {lost:.4f} of its {headline.name}; expected at most {MOST_LOST}."
            )
    place = SHIPPED / f"{bundle.card.architecture}-{bundle.card.data}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    if (bundle.path / PACKED).is_file():
        shutil.copy(bundle.path / PACKED, place)
    else:
        pack(load_model(bundle.path / MODEL), place / PACKED)
    for network in bundle.card.networks:
        (place / NETWORKS).mkdir(exist_ok=True)
        model = load_model(bundle.path / NETWORKS / f"{network}.keras")
        pack(model, place / NETWORKS / f"{network}.packed", beside=place / PACKED)
    for name in (CARD, RECIPE):
        shutil.copy(bundle.path / name, place)
    _thin(bundle.path / SAMPLES, place / SAMPLES)
    # The commit is that of a working tree, which need not be the one that is packaged.
    report = bundle.report.model_copy(update={"commit": ""})
    (place / REPORT).write_text(report.model_dump_json() + "\n")
    return place


def _thin(source: Path, target: Path) -> None:
    """Copies the first examples of each split, as many as weigh `SAMPLE_BYTES`."""
    with np.load(source) as arrays:
        columns = dict(arrays)
    weights: dict[str, int] = {}
    for name, values in columns.items():
        split = name.split("/")[0]
        weights[split] = weights.get(split, 0) + values[:1].nbytes
    kept = {
        name: values[: max(LEAST_SAMPLES, SAMPLE_BYTES // weights[name.split("/")[0]])]
        for name, values in columns.items()
    }
    np.savez_compressed(target, allow_pickle=False, **kept)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        made = ship(argument)
        total = sum(file.stat().st_size for file in made.rglob("*") if file.is_file())
        print(f"{made.name}: {total:,} bytes")  # noqa: T201
