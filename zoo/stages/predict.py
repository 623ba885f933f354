"""Asks a bundle about files, what is on a picture, what a row or signal is; or about texts."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import keras
import numpy as np
from PIL import Image

from compress.graph.shares import find_shares, takes_logits
from zoo.bundle import CARD, Bundle, Card, find_bundle
from zoo.common import reading, staging
from zoo.common.answers import MEANINGS, answers
from zoo.common.picture_files import read_image
from zoo.common.placed import placed
from zoo.common.signatures import spelled_out
from zoo.data.preprocessing import Preprocessing
from zoo.data.sets.regions import propose_all
from zoo.models.saved import load_model
from zoo.stages import own, read_columns, read_lines
from zoo.stages.describe import drawn as describe
from zoo.stages.describe import sentences
from zoo.stages.enhance import KIND
from zoo.stages.places import WRITTEN, coco
from zoo.stages.ranges import taken
from zoo.stages.say import ANSWERS, said
from zoo.stages.understand.styled import KIND as STYLED
from zoo.tasks import pictures
from zoo.tasks.labels.binary import Binary
from zoo.tasks.labels.classify import Classify
from zoo.tasks.places.detections import things
from zoo.tasks.places.ellipse import in_pixels
from zoo.tasks.task import Task


class Brought(TypedDict, total=False):
    """What belongs to a model that is no bundle.

    Attributes:
        labels: Names of the classes; their numbers where there are none.
        values: Range of the pixels that it takes, a key of `zoo.stages.ranges.RANGES`.
    """

    labels: Sequence[str]
    values: str | None


LOG = logging.getLogger("zoo")
TIMES = 4  # how many times larger a picture is drawn


@spelled_out(Brought)
def predict(
    bundle: Bundle | keras.Model | str | Path,
    files: str | Path | Sequence[str | Path] = (),
    *,
    texts: str | Sequence[str] = (),
    top: int = 3,
    out: str | Path | None = None,
    coco_file: str | Path | None = None,
    force: bool = False,
    beam: int | None = None,
    **brought: Unpack[Brought],
) -> list[dict[str, Any]]:
    """Answers for each picture of some files, or for each row of some tables.

        zoo.predict("runs/vgg16", ["digit.png"])
        zoo.predict("runs/rnnsearch_small", texts=["neural"])
        zoo.predict("own.keras", ["cat.png"], labels=["cat", "dog"], values="0..1")

    Args:
        bundle: A bundle, or its directory; or a `.keras` or `.h5` file, or a Keras model.
        files: Pictures; CSV files of numbers for a model of a table; signals, or arrays of what a
            model reads, see `zoo.stages.read_columns`.
        texts: What a model of texts is asked about, in the place of files, see `zoo.stages.say`.
        top: Number of classes to name for an example.
        out: Folder to draw each picture into, with its mask or its box, as `NAME.png`; `None` draws
            nothing.
        coco_file: JSON file to write what was found in pictures into, as a COCO document; `None`
            writes none.
        force: Whether `out` and `coco_file` may replace files.
        beam: Of a captioner or translator, how many answers are kept while they grow: so many, but
            `top` at most, are returned for each; `None` takes the likeliest word each time.
        **brought: What belongs to a model that is no bundle, see `Brought`.

    Returns:
        Answers in the task's own form, see `zoo.common.answers`, of pictures in their own pixels
        and with masks, see `zoo.common.placed`; `image`, `row` or `example` tells which file.

    Raises:
        FileExistsError: A file to write exists.
        FileNotFoundError: There is no such bundle or file.
        ValueError: A file is not what the model reads, the model reads neither, or its answers
            cannot be drawn.
    """
    if top < 1:
        raise ValueError(f"predict: got top {top}; expected 1 or more.")
    if beam is not None and beam < 1:
        raise ValueError(f"predict: got beam {beam}; expected 1 or more.")
    files = [files] if isinstance(files, (str, Path)) else list(files)
    texts = [texts] if isinstance(texts, str) else list(texts)
    if texts:
        return _said(bundle, texts, files, top=top, out=out, coco_file=coco_file, beam=beam)
    if not files:
        raise ValueError(
            "predict: got no file; expected pictures, tables as CSV, signals, or texts."
        )
    if own.is_own(bundle):
        if coco_file is not None:
            raise ValueError("--coco: got a model that is no bundle; expected one.")
        if beam is not None:
            raise ValueError("--beam: got a model that is no bundle; expected one of a captioner.")
        return _own(bundle, files, top=top, out=out, **brought)
    bundle = find_bundle(bundle)
    if brought:
        raise ValueError(
            f"{bundle.path}: got {', '.join(brought)} for a bundle, whose card says it; expected a "
            ".keras file."
        )
    card = bundle.card
    if card.task in read_lines.KINDS:
        if out is not None or coco_file is not None:
            raise ValueError(f"--out, --coco: got a model of {card.task}; its answers are text.")
        return read_lines.lines(bundle, files, beam=beam)
    read = dict.fromkeys(column.kind for column in card.inputs.values())
    is_array = any(Path(file).suffix == read_columns.ARRAYS for file in files)
    if not is_array and "series" not in read and (
        not card.preprocessing or not {"image", "features"} & set(read)
    ):  # fmt: skip
        raise ValueError(
            f"{bundle.path}: reads {', '.join(read)}; expected a model of pictures, rows or "
            f"signals. `{_verb(bundle)}` asks it."
        )
    if card.task not in (*MEANINGS, "caption"):
        raise ValueError(
            f"{bundle.path}: is of the task {card.task}, which has no answer for a file; expected "
            f"one of {', '.join(MEANINGS)}, caption. `{_verb(bundle)}` asks it."
        )
    if is_array or "series" in read:
        if card.task == "caption" or not (out is coco_file is beam is None):
            raise ValueError("--out, --coco, --beam: got arrays or signals; expected pictures.")
        return read_columns.rows(bundle, files, top=top)
    known = Preprocessing.parse(card.preprocessing, where=f"{bundle.path}/card.json")
    key, names, raw = _read(known, files)
    if out is not None and card.task not in (*_DRAWN, "caption"):
        raise ValueError(
            f"--out: got a model of the task {card.task}, whose answers are no picture; expected "
            f"one of {', '.join(_DRAWN)}, caption."
        )
    if coco_file is not None:
        if card.task not in WRITTEN:
            raise ValueError(
                f"--coco: got a model of the task {card.task}; expected one of"
                f" {', '.join(WRITTEN)}, whose answers are places or sentences in a picture."
            )
        staging.check_file(coco_file, force=force, read=files)
    if beam is not None and card.task != "caption":
        raise ValueError(
            f"--beam: got a model of the task {card.task}; expected one of caption, whose answers"
            " are sentences."
        )
    drawn = [] if out is None else _places(files, Path(out), force=force)
    if card.task == "caption":
        said = sentences(bundle, known.apply(raw), width=beam or 1, top=top)
        for place, image, rows in zip(drawn, raw, said, strict=False):
            _save(describe(image, rows), place)
        if coco_file is not None:
            _write_coco(coco_file, names, said, card)
        return [{key: name, **row} for name, rows in zip(names, said, strict=True) for row in rows]
    model = load_model(bundle.path)
    if (wanted := tuple(model.inputs[0].shape[1:])) != known.shape and None not in wanted:
        raise ValueError(
            f"{bundle.path}: the model reads {wanted}, and card.json prepares {known.shape}; "
            "expected the same. Train or compress it again."
        )
    outputs = model.predict_on_batch(_inputs(model, known.apply(raw), raw, card, files))
    if getattr(bundle.recipe.task, "probabilities", False):
        logits = bundle.recipe.task.logits(outputs)  # type: ignore[attr-defined]
        outputs = keras.tree.map_structure(keras.ops.convert_to_numpy, logits)
    with reading.whole(bundle.path / CARD, "the card of this model"):
        found = answers(card.task, outputs, labels=card.labels, top=top)
    if out is not None:
        for index, place in enumerate(drawn):
            one = {key: value[index] for key, value in outputs.items()} if isinstance(
                outputs, dict
            ) else outputs[index]  # fmt: skip
            picture = _DRAWN[card.task](raw[index], one, found[index], len(card.labels))
            _save(picture, place)
    if key == "image":
        sizes = [read_image(file).size for file in files]
        found = placed(card.task, found, outputs, sizes, known.size)
    if coco_file is not None:
        _write_coco(coco_file, names, found, card)
    return [{key: name, **row} for name, rows in zip(names, found, strict=True) for row in rows]


def _write_coco(path: str | Path, names: Sequence[str], found: Any, card: Card) -> None:
    document = coco(dict(zip(names, found, strict=True)), card.labels, task=card.task)
    with staging.staged_file(Path(path)) as partial:
        partial.write_text(json.dumps(document, indent=1) + "\n")


def _said(
    bundle: Any, texts: list[str], files: list[Any], *, beam: int | None, top: int, **written: Any
) -> list[dict[str, Any]]:
    """Answers for texts, which nothing is written of."""
    if files or own.is_own(bundle) or any(one is not None for one in written.values()):
        raise ValueError(
            "--text: got it beside files, a model that is no bundle, --out or --coco; expected a "
            "bundle and texts alone."
        )
    return said(find_bundle(bundle), texts, width=beam or 1, top=top)


def _verb(bundle: Bundle) -> str:
    """The verb that asks a bundle which has no answer for a file."""
    task: Any = bundle.recipe.task
    if bundle.card.task == KIND:
        return "zoo enhance"
    if bundle.card.task == STYLED:
        return "zoo style"
    if getattr(task, "corruption", "none") != "none":
        return "zoo denoise"
    if bundle.card.task in ANSWERS:
        return "zoo predict --text"
    return "zoo evaluate" if type(task).generate is Task.generate else "zoo generate"


def _read(known: Preprocessing, files: Sequence[str | Path]) -> tuple[str, list[str], np.ndarray]:
    """What an example is called, the name of each, and the examples (n, ...) before scaling."""
    if known.size is None:
        tables = [known.rows(path) for path in files]
        names = [
            f"{path}:{row}"
            for path, table in zip(files, tables, strict=True)
            for row in range(1, len(table) + 1)
        ]
        return "row", names, np.concatenate(tables)  # (n, features)
    return "image", [str(path) for path in files], np.stack([known.image(p) for p in files])


def _inputs(
    model: keras.Model,
    examples: np.ndarray,
    raw: np.ndarray,
    card: Card,
    files: Sequence[str | Path],
) -> Any:
    """What a model reads: the examples, and the regions of each picture where it is given them.

    Raises:
        FileNotFoundError: The boxes of its parts are not beside a picture.
        ValueError: It reads something that no file tells.
    """
    if len(model.inputs) == 1:
        return examples
    columns = {}
    for tensor in model.inputs:
        if tensor.name == "image":
            columns[tensor.name] = examples
        elif tensor.name == "regions" and card.task == "traits":  # of parts, which are known
            num, size = tensor.shape[1], raw.shape[1]
            columns[tensor.name] = np.stack(
                [read_columns.parts_of(file, num, size) for file in files]
            )
        elif tensor.name == "regions":
            columns[tensor.name] = propose_all(raw.astype(np.uint8), tensor.shape[1])
        else:
            raise ValueError(
                f"predict: the model reads {tensor.name}, which is not in a file; expected one of "
                "pictures, rows, or pictures and regions. Call the model itself."
            )
    return [columns[tensor.name] for tensor in model.inputs]


def _own(
    given: Any,
    files: Sequence[str | Path],
    *,
    top: int,
    out: str | Path | None,
    labels: Sequence[str] = (),
    values: str | None = None,
) -> list[dict[str, Any]]:
    """Answers of a model of which nothing but its graph is known."""
    if out is not None:
        raise ValueError("--out: got a model that is no bundle, whose answers are no picture.")
    model, name, _, loss = own.opened(given)
    known = taken(model, values)
    shapes = [tuple(tensor.shape) for tensor in model.outputs]
    if len(shapes) != 1 or len(shapes[0]) != 2:
        raise ValueError(f"{name}: answers {shapes}; expected one output (batch, classes).")
    key, names, raw = _read(known, files)
    outputs = model.predict(known.apply(raw), verbose=0)
    shares, told = find_shares(model, outputs, loss=loss)
    if told:
        LOG.warning("%s: %s", name, told)
    num = int(shapes[0][1])
    is_value = num == 1 and not shares and takes_logits(loss) is None
    wanted = num if num > 1 or is_value else 2
    if labels and len(labels) != wanted:
        raise ValueError(
            f"--labels: got {len(labels)} names; expected {wanted}, one for each class."
        )
    if is_value:
        return [{key: name, "value": float(x)} for name, (x,) in zip(names, outputs, strict=True)]
    kind, task = ("binary", Binary) if num == 1 else ("classify", Classify)
    outputs = keras.ops.convert_to_numpy(task(probabilities=shares).logits(outputs))
    found = answers(kind, outputs, labels=labels or [str(n) for n in range(wanted)], top=top)
    return [{key: name, **row} for name, rows in zip(names, found, strict=True) for row in rows]


def _places(files: Sequence[str | Path], out: Path, *, force: bool) -> list[Path]:
    """The files to draw into, checked before any work.

    Raises:
        FileExistsError: One is a picture that is read; or exists, and `force` is not set.
        ValueError: Two would be one file.
        OSError: One cannot be written.
    """
    stems = [Path(file).stem for file in files]
    if twice := {stem for stem in stems if stems.count(stem) > 1}:
        raise ValueError(
            f"--out: got several pictures named {', '.join(sorted(twice))}; expected names "
            "that differ, since each becomes a picture in one directory."
        )
    places = [out / f"{stem}.png" for stem in stems]
    for place in places:
        staging.check_file(place, force=force, read=files)
    return places


def _save(picture: np.ndarray, place: Path) -> None:
    with staging.staged_file(place) as partial:
        Image.fromarray(picture).save(partial)


def _mask(image: np.ndarray, logits: np.ndarray, rows: list[dict[str, Any]], num: int) -> Any:
    mask = logits.argmax(axis=-1).astype(np.uint8)
    return pictures.enlarged(pictures.overlay(image, mask, num), TIMES)


def _box(image: np.ndarray, heads: Any, rows: list[dict[str, Any]], num: int) -> Any:
    height, width = image.shape[:2]
    box = heads["box"] * np.array([height, width, height, width])
    return pictures.draw_boxes(image, box[None], [rows[0]["label"]], times=TIMES)


def _boxes(image: np.ndarray, outputs: Any, rows: list[dict[str, Any]], num: int) -> Any:
    found = things({name: values[None] for name, values in outputs.items()}, 0, image.shape[:2])
    if found.masks is not None:
        mask = np.zeros(image.shape[:2], np.uint8)
        for kind, own in zip(found.classes[::-1], found.masks[::-1], strict=True):
            mask[own] = kind + 1  # the surest lies on top
        image = pictures.overlay(image, mask, num + 1)
    words = [f"{row['label']} {row['probability']:.2f}" for row in rows]
    colours = [pictures.colour(kind) for kind in found.classes]
    return pictures.draw_boxes(image, found.boxes, words, colours=colours, times=TIMES)


def _phrases(image: np.ndarray, outputs: Any, rows: list[dict[str, Any]], num: int) -> Any:
    boxes = outputs["boxes"][outputs["scores"] > 0]
    words = [f"{row['phrase']} {row['probability']:.2f}" for row in rows]
    return pictures.draw_boxes(image, boxes, words, times=TIMES)


def _points(image: np.ndarray, points: Any, rows: list[dict[str, Any]], num: int) -> Any:
    height, width = image.shape[:2]
    middles = points * np.array([height, width], np.float32)
    boxes = np.concatenate([middles - 1, middles + 1], axis=1)
    return pictures.draw_boxes(image, boxes, [str(row["point"]) for row in rows], times=TIMES)


def _ellipse(image: np.ndarray, outputs: Any, rows: list[dict[str, Any]], num: int) -> Any:
    return pictures.draw_ellipse(image, in_pixels(outputs[None], image.shape[:2])[0], times=TIMES)


_DRAWN: dict[str, Any] = {
    "segment": _mask,
    "localise": _box,
    "detect": _boxes,
    "dense_caption": _phrases,
    "pose": _points,
    "ellipse": _ellipse,
}
