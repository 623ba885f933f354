"""A recipe without training, on a model of which no data is at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

import compress as passes
from zoo.common import claims, renames, staging
from zoo.stages.own import Model, opened


def compress_alone(
    model: Model,
    recipe: str | Path,
    *,
    out: str | Path | None = None,
    samples: Any = None,
    force: bool = False,
) -> passes.Compressed:
    """Applies a recipe without training to a model of which no data is at hand.

    Args:
        model: A Keras model, or a file of one.
        recipe: A name of `compress.recipe_names()`, or a YAML file.
        out: The new `.keras` file; beside a file `NAME-RECIPE.keras` when `None`, and for a Keras
            model none. The report stands beside it as `.json`, a packed file as `.packed`.
        samples: Examples to calibrate on, as the model takes them (see `compress.apply`).
        force: Whether to replace what is at `out`.

    Raises:
        FileExistsError: There is something at `out`.
        ValueError: A pass trains, which takes data; or it calibrates, and there are no samples.
    """
    pipeline, name = passes.load_recipe(recipe), Path(recipe).stem
    place = Path(out) if out else None
    if place is None and not isinstance(model, keras.Model):
        place = Path(model).with_name(f"{Path(model).stem}-{name}.keras")
    place = None if place is None else claims.place_of(place)
    if place is not None and place.suffix != ".keras":
        raise ValueError(f"{place}: got a name for a model; expected one that ends in .keras.")
    files = [place.with_suffix(end) for end in (".keras", ".json", ".packed")] if place else []
    if not isinstance(model, keras.Model):
        for file in files:
            staging.check_apart(file, Path(model))
    if any(step.epochs and step.kind != "huffman" for step in pipeline.passes):
        raise ValueError(
            f"{name}: trains, and no data was given; expected --data folder:PATH (`data=`), or a "
            "recipe without training, e.g. int8."
        )
    context = passes.Context(samples=samples)
    if place is None:
        return pipeline.apply(opened(model).model, context)
    with claims.claim(place), claims.scratch(place) as holder:
        for file in files:
            staging.check_file(file, force=force)
        small = pipeline.apply(opened(model).model, context)
        stage = holder / place.name
        small.model.save(stage)
        stage.with_suffix(".json").write_text(small.report.to_json() + "\n")
        if small.report.after.size.packed_bytes is not None:
            passes.pack(small.model, stage.with_suffix(".packed"))
        for file in files:
            if (made := holder / file.name).exists():
                renames.put(made, file)
            else:
                file.unlink(missing_ok=True)  # of what is replaced
    return small
