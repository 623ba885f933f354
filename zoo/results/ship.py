"""Takes trained bundles into the wheel, packed: `python -m zoo.results.ship runs/lenet5 ...`.

What is taken is the model in one packed file, its card, recipe, report and samples. The figure of
the packed model is measured again; one that is more than 0.3 points below its parent's is refused.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from zoo.bundle import CARD, MODEL, NETWORKS, PACKED, RECIPE, REPORT, SAMPLES, Bundle
from zoo.common.home import SHIPPED

MOST_LOST = 0.003


def ship(path: str | Path) -> Path:
    """Copies a bundle to where the wheel takes it from; returns its new directory.

    Raises:
        ValueError: It lost too much by its compression.
    """
    from compress import pack
    from zoo.models.saved import load_model

    bundle = Bundle(path)
    part, metrics = bundle.report.compress, bundle.report.metrics
    if part and "top1" in metrics:
        lost = part.parent_metrics["top1"] - metrics["top1"]
        if lost > MOST_LOST:
            raise ValueError(f"{path}: lost {lost:.4f} of its top-1; expected at most {MOST_LOST}.")
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
        pack(model, place / NETWORKS / f"{network}.packed")
    for name in (CARD, RECIPE, SAMPLES):
        shutil.copy(bundle.path / name, place)
    # The commit is that of a working tree, which need not be the one that is packaged.
    report = bundle.report.model_copy(update={"commit": ""})
    (place / REPORT).write_text(report.model_dump_json() + "\n")
    return place


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        made = ship(argument)
        total = sum(file.stat().st_size for file in made.rglob("*") if file.is_file())
        print(f"{made.name}: {total:,} bytes")  # noqa: T201
