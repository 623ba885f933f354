"""Makes new examples with a bundle: pictures as a grid in a PNG file or as a film, or text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from zoo.bundle import Bundle, Card, find_bundle
from zoo.common import staging
from zoo.common.settings import nearest, shown
from zoo.tasks.task import Task

if TYPE_CHECKING:
    import numpy as np

    Start: TypeAlias = str | Path | Sequence[str | Path] | np.ndarray

COUNT = 64  # pictures; of texts 1
MANIFEST = "manifest.json"  # of an exported directory
GIVEN = ("self", "networks", "columns")  # of `Task.generate`, beside what `generate` is given
FILM, GRID = ".gif", ".png"
SECONDS = 0.1  # of each picture in a film


def generate(
    bundle: Bundle | str | Path,
    *,
    count: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    force: bool = False,
    label: str | int | None = None,
    walk: bool = False,
    start: Start | None = None,
    **options: Any,
) -> np.ndarray | list[str]:
    """Makes new examples; on one machine, the same seed makes the same ones.

        zoo.generate("vae", count=16, walk=True, out="walk.gif")
        zoo.generate("exported/char_lstm-tflite", count=1, prompt="The ")  # without TensorFlow

    Args:
        bundle: Bundle of a task that makes something, or its directory; or the directory of an
            exported language model, translator or captioner.
        count: Number of examples, 1 or more; `None`: 64 pictures, or 1 text.
        seed: Seed of the noise, in [0, 2**31).
        out: File to write: a PNG of a grid of pictures, a GIF of one after another, or a text file
            with a line for each text; `None` writes nothing.
        force: Whether `out` may replace a file.
        label: Class of the examples, by its name or else its index, of a conditional model.
        walk: Whether the examples lie on a path between codes.
        start: Pictures to begin with: a file, several, or pixels (n, height, width, channels),
            uint8; of an exported captioner the one file that it reads.
        **options: Options of the task.

    Returns:
        Pixels (count, height, width, channels), uint8; or `count` texts.

    Raises:
        FileExistsError: `out` exists, or is a picture to begin with.
        FileNotFoundError: There is no such bundle, or no such picture.
        ValueError: The task makes nothing, knows no such option, or an argument is wrong, e.g.
            `out` ends otherwise, or there are more pictures to begin with than `count`.
    """
    if not isinstance(bundle, Bundle) and (Path(bundle) / MANIFEST).is_file():
        given = {"--class": label is not None, "--walk": walk}
        options |= {"count": 1 if count is None else count, "seed": seed, "picture": _one(start)}
        return _by_file(Path(bundle), given, out, force, options)
    bundle = find_bundle(bundle)
    if count is None:
        count = 1 if makes(bundle.card) == "texts" else COUNT
    whole = all(isinstance(one, Integral) and not isinstance(one, bool) for one in (count, seed))
    if not whole or count < 1 or not 0 <= seed < 2**31:
        raise ValueError(
            f"generate: got count {count!r} and seed {seed!r}; expected whole numbers, a count of 1"
            " or more and a seed in [0, 2**31)."
        )
    from zoo.tasks.made import refuse_options

    task = cast("Task", bundle.recipe.task)
    refuse_options(task, {name: options[name] for name in GIVEN if name in options})
    if makes(bundle.card) == "texts" and type(task).generate is Task.generate:
        kinds = {column.kind for column in bundle.card.inputs.values()}
        read = "PICTURE" if "image" in kinds else "--text TEXT"
        raise ValueError(
            f"{bundle.path}: a model of {task.kind} says something of what it reads; write `zoo "
            f"predict {bundle.path} {read}`."
        )
    path = None if out is None else Path(out)
    if path is not None:
        _check_suffix(bundle.card, path)
        staging.check_file(path, force=force, read=_files(start))
    if label is not None:
        options["label"] = class_of(bundle, label)
    if walk:
        options["walk"] = True
    if start is not None:
        options["start"] = read_start(bundle.card, start)
        if len(options["start"]) > count:
            raise ValueError(
                f"--from: got {len(options['start'])} pictures and count {count}; expected a count "
                "of as many or more."
            )
    from zoo.models.saved import load_networks

    made: np.ndarray | list[str] = task.generate(
        load_networks(bundle.path),
        columns={**bundle.card.inputs, **bundle.card.outputs},
        count=count,
        seed=seed,
        **options,
    )
    if path is not None:
        with staging.staged_file(path) as partial:
            _write(made, partial)
    return made


def _by_file(
    directory: Path,
    given: Mapping[str, bool],
    out: str | Path | None,
    force: bool,
    options: Mapping[str, Any],
) -> list[str]:
    """Texts by an exported file."""
    from serving.answers.writing import write

    if told := [name for name, there in given.items() if there]:
        raise ValueError(f"{directory}: got {', '.join(told)} for an exported file; drop it.")
    if out is None:
        return write(directory, **options)
    staging.check_file(out, force=force, read=_files(options["picture"]))
    texts = write(directory, **options)
    with staging.staged_file(Path(out)) as partial:
        _write(texts, partial)
    return texts


def _one(start: Start | None) -> str | Path | None:
    """The one picture that an exported captioner reads."""
    files = _files(start)
    if start is not None and len(files) != 1:
        raise ValueError("--from: expected one file of a picture for an exported captioner.")
    return files[0] if files else None


def class_of(bundle: Bundle, label: str | int) -> int:
    """Returns the index of a class of a bundle's data.

    Args:
        bundle: Whose card names the classes.
        label: Name of a class, or else its index.

    Raises:
        ValueError: There is no such class, or there are none.
    """
    columns = {**bundle.card.outputs, **bundle.card.columns}.values()
    names = next((one.names for one in columns if one.kind == "class" and one.names), ())
    if not names:
        raise ValueError(
            f"--class: got {shown(label)} for {bundle.path}, whose data {bundle.card.data} have no "
            "classes; drop it."
        )
    if label in names:
        return names.index(str(label))
    index = str(label)
    if index.isascii() and index.isdigit() and len(index) < 9 and int(index) < len(names):
        return int(index)
    raise ValueError(
        f"--class: got {shown(label)}; expected a class of {bundle.card.data}, or its index, 0 to "
        f"{len(names) - 1}. {nearest(index, names)}"
    )


def read_start(card: Card, start: Start) -> np.ndarray:
    """Returns pictures as pixels of a model's own size, (n, height, width, channels), uint8.

    Files are read as `zoo predict` reads them: larger ones are made smaller, colours become grey
    where the model knows no colours.

    Args:
        card: Of the model.
        start: Files, or pixels.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file is no whole picture, or is smaller than the model's; pixels are of
            another shape or type; or the model's pictures have no size.
    """
    import numpy as np

    from zoo.common.images import pixels
    from zoo.common.picture_files import read_image

    columns = {**card.inputs, **card.outputs}.values()
    column = next((one for one in columns if one.kind == "image"), None)
    sides = column.shape if column is not None else ()
    if column is None or None in sides or sides[0] != sides[1]:
        raise ValueError(
            f"--from: got a picture for a model of {card.task} whose own have no one size; drop it."
        )
    if isinstance(start, np.ndarray):
        column.check("start", start)
        if not len(start):
            raise ValueError("start: got no picture; expected one or more.")
        return start
    files = _files(start)
    if not files:
        raise ValueError("--from: got no picture; expected one or more.")
    size, channels = cast("tuple[int, ...]", sides)[1:]
    found = []
    for file in files:
        picture = read_image(file)
        if min(picture.size) < size:
            raise ValueError(
                f"{file}: got {picture.width} x {picture.height} pixels; expected {size} x {size} "
                "or more, which the model sees. Enlarge it."
            )
        found.append(pixels(picture, size=size, channels=channels))
    return np.stack(found)


def makes(card: Card) -> str:
    """Returns what a bundle makes, as its card tells: `pictures`, `texts`, or nothing, empty."""
    kinds, read = ({x.kind for x in each.values()} for each in (card.outputs, card.inputs))
    if "tokens" in kinds:
        return "texts"
    return "pictures" if "image" in kinds | read else ""


def _check_suffix(card: Card, path: Path) -> None:
    """Refuses a file whose ending is of something else than what a bundle makes."""
    found, is_picture = makes(card), path.suffix.lower() in (GRID, FILM)
    if found == "pictures" and not is_picture:
        raise ValueError(
            f"--out: got {path}; expected a file that ends in {GRID}, a grid of pictures, or in"
            f" {FILM}, a film of them."
        )
    if found == "texts" and is_picture:
        raise ValueError(
            f"--out: got {path} for a model of {card.task}, which makes texts; expected a text "
            "file, e.g. texts.txt."
        )


def _files(start: Start | None) -> list[str | Path]:
    """The files among pictures to begin with."""
    import numpy as np

    if start is None or isinstance(start, np.ndarray):
        return []
    return [start] if isinstance(start, (str, Path)) else list(start)


def _write(made: np.ndarray | list[str], path: Path) -> None:
    if isinstance(made, list):
        path.write_text("".join(f"{text}\n" for text in made), encoding="utf-8")
        return
    from zoo.tasks.made import save, save_film

    if path.suffix.lower() == FILM:
        save_film(list(made), path, seconds=SECONDS)
    else:
        save(made, path)
