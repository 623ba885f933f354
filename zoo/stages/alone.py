"""A recipe without training, on a model of which no data is at hand."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras

import compress as passes
from compress.measure.packed import is_packed
from zoo.common import claims, renames, staging
from zoo.stages.own import Model, opened


def compress_alone(
    model: Model,
    recipe: str | Path,
    *,
    out: str | Path | None = None,
    changes: Iterable[str] = (),
    samples: Any = None,
    force: bool = False,
) -> passes.Compressed:
    """Applies a recipe without training to a model of which no data is at hand.

    Args:
        model: A Keras model, or a file of one.
        recipe: A name of `compress.recipe_names()`, or a YAML file.
        out: The new `.keras` file; beside a file `NAME-RECIPE.keras` when `None`, and for a Keras
            model none. The report stands beside it as `.json`, a packed file as `.packed`.
        changes: Of its passes, see `compress.load_recipe`.
        samples: Examples to calibrate on, as the model takes them (see `compress.apply`).
        force: Whether to replace what is at `out`; never what only has the name of such a file.

    Raises:
        FileExistsError: There is something at `out`.
        ValueError: A pass trains, which takes data; or it calibrates, and there are no samples.
    """
    pipeline, name = passes.load_recipe(recipe, changes), Path(recipe).stem
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
    model_file, report, packed = files
    with claims.claim(place) as claim, claim.scratch() as holder:
        for file in files:
            staging.check_file(file, force=force)
            _check_ours(file)
        small = pipeline.apply(opened(model).model, context)
        stage = holder / place.name
        small.model.save(stage)
        if small.report.after.size.packed_bytes is not None:
            passes.pack(small.model, holder / packed.name)
        (holder / report.name).write_text(small.report.to_json() + "\n")
        # The old report goes first and the new one comes last: whenever this is cut short, what
        # stands there is of one compression, and without a report it is not finished.
        report.unlink(missing_ok=True)
        packed.unlink(missing_ok=True)
        for file in (model_file, packed, report):
            if (made := holder / file.name).exists():
                renames.put(made, file)
    return small


def _check_ours(file: Path) -> None:
    """Refuses to replace what only has the name of what `compress_alone` writes.

    Raises:
        FileExistsError: It is something else.
    """
    if not file.exists():
        return
    if file.suffix == ".json":
        kind, ours = "a report of a compression", _is_report(file)
    elif file.suffix == ".packed":
        kind, ours = "a packed model", is_packed(file)
    else:
        kind, ours = "a model", zipfile.is_zipfile(file)
    if not ours:
        raise FileExistsError(f"{file}: exists and is not {kind}; choose another --out.")


def _is_report(file: Path) -> bool:
    try:
        found = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return False
    keys = {field.name for field in dataclasses.fields(passes.Report)}
    return isinstance(found, dict) and keys <= found.keys()
