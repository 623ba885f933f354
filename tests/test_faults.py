"""Arrays of one's own with boxes and masks: what is wrong is refused in a line that says where."""

import re

import numpy as np
import pytest
import tensorflow as tf

import zoo as package
from tests import annotated
from zoo.common.columns import Column
from zoo.data import load
from zoo.data.dataset import DataSet, Split
from zoo.data.faults import first_fault
from zoo.data.feeds.stream import Stream

COLUMNS = {
    "image": Column("image", (24, 32, 3)),
    "mask": Column("mask", (24, 32), ("background", "cat", "dog")),
    "boxes": Column("boxes", (2, 4)),
    "classes": Column("classes", (2,), ("cat", "dog")),
    "instances": Column("instances", (24, 32)),
    "count": Column("count"),
    "box": Column("box", (4,)),
    "regions": Column("boxes", (3, 4)),
}


def sound():
    """Four pictures: of two things, of one, of none, of two that touch the edges."""
    num = 4
    instances = np.zeros((num, 24, 32), np.uint8)
    instances[0, 2:6, 3:9], instances[1, 2:6, 3:9], instances[3, 5:9] = 2, 1, 1
    values = {
        "image": np.zeros((num, 24, 32, 3), np.uint8),
        "mask": np.minimum(instances, 2),
        "boxes": np.zeros((num, 2, 4), np.float32),
        "classes": np.array([[0, 1], [1, -1], [-1, -1], [0, 0]], np.int32),
        "instances": instances,
        "count": np.array([2, 1, 0, 2], np.int32),
        "box": np.tile(np.array([0, 0, 24, 32], np.float32), (num, 1)),
        "regions": np.zeros((num, 3, 4), np.float32),
    }
    values["mask"][3, 0, 0] = 255  # counts for nothing
    values["boxes"][[0, 0, 1, 3, 3], [0, 1, 0, 0, 1]] = [
        [1, 2, 20, 30], [2, 3, 6, 9], [2, 3, 6, 9], [0, 0, 24, 32.0005], [5, 0, 9, 32],
    ]  # fmt: skip
    values["regions"][:, 1] = [3, 4, 5, 6]
    return values


def own(values):
    return DataSet("mine", "made here", COLUMNS, Split(values), Split(sound()), Split(sound()))


def test_what_is_sound_is_taken():
    assert own(sound()).labels == ("background", "cat", "dog")
    assert first_fault(COLUMNS, sound()) is None
    nothing = sound()
    for name in ("boxes", "instances", "mask", "count", "regions"):
        nothing[name][:] = 0
    nothing["classes"][:] = -1
    own(nothing)


NAN = float("nan")
WRONG = {
    "outside": ("boxes", (0, 1), [2, 3, 25, 9], r"\[0, 1\]: got the box \[2, 3, 25, 9\], which is "
                r"outside the picture; .* 0 <= y1 < y2 <= 24 and 0 <= x1 < x2 <= 32\.$"),
    "before": ("boxes", (3, 1), [2, -1, 6, 9], r"\[3, 1\]: .*outside the picture"),
    "empty": ("boxes", (1, 0), [2, 3, 6, 3], r"\[1, 0\]: .*\[2, 3, 6, 3\], which is empty"),
    "zeros": ("boxes", (1, 0), [0, 0, 0, 0], r"\[1, 0\]: .*which is empty"),
    "inverted": ("boxes", (1, 0), [6, 3, 2, 9], r"\[1, 0\]: .*which is inverted"),
    "NaN": ("boxes", (1, 0), [2, 3, NAN, 9], r"NaN or infinite values in 1 of 4 examples, first in"
            r" 1; expected finite"),
    "infinite": ("boxes", (2, 1), [0, 0, np.inf, 9], r"in 1 of 4 examples, first in 2;"),
    "no class": ("boxes", (2, 1), [2, 3, 6, 9], r"\[2, 1\]: got the box \[2, 3, 6, 9\] of cl"),
    "two of a kind": ("boxes", (slice(0, 2), 0), [6, 3, 2, 9], r"\[0, 0\]: .* There are 2 such\.$"),
    "class": ("classes", (1, 0), 2, r"got 2; expected -1 to 1, indices of the 2 names .* The first "
              r"is in example 1\.$"),
    "below": ("classes", (3, 1), -2, r"got -2; expected -1 to 1.*example 3"),
    "mask class": ("mask", (2, 4, 4), 3, r"got 3; expected 0 to 2.*example 2"),
    "pixels of no box": ("instances", (1, 0, 0), 2, r"\[1\]: got pixels of 2; expected 0, or"),
    "count": ("count", (2,), 1, r"\[2\]: got 1; expected 0, how many classes are not -1"),
    "one box": ("box", (3,), [0, 0, 24, 40], r"\[3\]: .*\[0, 0, 24, 40\], which is outside"),
    "region": ("regions", (0, 2), [5, 5, 5, 9], r"\[0, 2\]: .*which is empty"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_refused_in_a_line(case):
    name, place, value, told = WRONG[case]
    values = sound()
    values[name][place] = value
    with pytest.raises(ValueError, match=rf"^mine: train\['{name}'\]") as caught:
        own(values)
    line = str(caught.value)
    assert "\n" not in line
    assert re.search(told, line), line


@pytest.mark.parametrize("name", ["mask", "instances"])
def test_a_mask_of_another_size_is_refused(name):
    small = {**sound(), name: np.zeros((4, 12, 32), np.uint8)}
    columns = {**COLUMNS, name: COLUMNS[name]._replace(shape=(12, 32))}
    line = rf"mine: train\['{name}'\]: got 12 x 32 pixels; expected 24 x 32, those of the pictures"
    with pytest.raises(ValueError, match=line):
        DataSet("mine", "made here", columns, *[Split(small)] * 3)
    classes = {**COLUMNS, "classes": COLUMNS["classes"]._replace(shape=(3,))}
    three = {**sound(), "classes": np.full((4, 3), -1, np.int32)}
    with pytest.raises(ValueError, match="boxes'\\]: got 2 boxes and 3 classes; expected as many"):
        DataSet("mine", "made here", classes, *[Split(three)] * 3)


@pytest.mark.parametrize("made", ["generator", "tf.data"])
@pytest.mark.parametrize("case", ["outside", "NaN", "class", "pixels of no box"])
def test_a_stream_is_looked_at_as_well(case, made):
    name, place, value, _ = WRONG[case]
    values = sound()
    values[name][place] = value
    rows = [{key: column[index] for key, column in values.items()} for index in range(4)]
    whole = tf.data.Dataset.from_tensor_slices(values)
    stream = Stream(COLUMNS, lambda: rows if made == "generator" else whole, num=4)
    with pytest.raises(ValueError, match=f"^Stream: {name}.*: got "):
        stream[:4]
    good = tf.data.Dataset.from_tensor_slices(sound())
    read = Stream(COLUMNS, lambda: good, num=4)[:4]
    for key, column in sound().items():
        np.testing.assert_array_equal(read[key], column)


@pytest.mark.parametrize("values", [sound(), {"image": np.zeros((4, 24, 32, 3), np.uint8)}, [], 3])
def test_what_is_no_data_set_is_refused_by_fit(values):
    with pytest.raises(TypeError, match=r"^fit: data: got .*; expected a name, or a zoo\.data"):
        package.fit("faster_rcnn_small", data=values)


# Other layouts than COCO's come to the same checks

VOC = {
    "outside": ((45, 3, 80, 9), "outside the picture of 40 x 50"),
    "empty": ((10, 3, 9, 9), "is empty"),  # whole pixels, the last one inside
    "inverted": ((30, 3, 10, 9), "is inverted"),
    "NaN": (("nan", 3, 10, 9), "xmin: got 'nan'; expected a finite number"),
    "class": ((3, 3, 10, 9), "the class 'cow' is none of the 2"),
}


@pytest.mark.parametrize("case", VOC)
def test_a_wrong_box_of_voc_is_named(case, tmp_path):
    seen = np.zeros((40, 50), bool)
    pictures = np.random.RandomState(0).randint(0, 256, (4, 40, 50, 3)).astype(np.uint8)
    examples = [(image, None, [("cat", [2, 3, 20, 30], seen)]) for image in pictures]
    annotated.voc(tmp_path, examples, ())
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    sides, told = VOC[case]
    names = zip(("xmin", "ymin", "xmax", "ymax"), sides, strict=True)
    box = "".join(f"<{name}>{value}</{name}>" for name, value in names)
    label = "cow" if case == "class" else "cat"
    more = f"<object><name>{label}</name><bndbox>{box}</bndbox></object>"
    path = tmp_path / "Annotations" / "002.xml"
    path.write_text(path.read_text().replace("</annotation>", f"{more}</annotation>"))
    data = load(f"folder:{tmp_path}", size=32)
    (line,) = data.problems
    assert "002.xml: object 2" in line and told in line, line
    assert sum(len(getattr(data, split)) for split in ("train", "validation", "test")) == 4
