"""Pictures of one's own with boxes, outlines and masks: every layout, and what is wrong in it."""

import itertools
import json
import re
import shutil
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests import annotated, scenes
from zoo.bundle import find_bundle
from zoo.cli import main
from zoo.common import placed
from zoo.common.answers import SIDES
from zoo.common.images import fit, placing
from zoo.common.layouts import LAYOUTS
from zoo.data import check_name, load
from zoo.data.annotated import coco, things
from zoo.stages import places

NUM = 12
WRITERS = {
    "coco": annotated.coco,
    "coco polygons": lambda *a: annotated.coco(*a, outline="polygons"),
    "coco counts": lambda *a: annotated.coco(*a, outline="counts"),
    "coco boxes": lambda *a: annotated.coco(*a, outline=""),
    "voc": annotated.voc,
    "yolo": annotated.yolo,
    "labelme": annotated.labelme,
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    yield from scenes.few(tmp_path_factory)


@pytest.fixture(scope="module")
def digits(small):
    data = load("digit_scenes")
    return data, list(annotated.rows(data.train[:NUM], data.columns["classes"].names))


@pytest.fixture
def plain(tmp_path):
    """Six pictures of 40 x 50 pixels with one or two rectangles, as COCO; the first has none."""
    random, examples = np.random.RandomState(1), []
    for number in range(6):
        image = random.randint(0, 256, (40, 50, 3)).astype(np.uint8)
        found = []
        for label in ("cat", "dog")[: number % 3]:
            top, left = random.randint(0, 20, 2).tolist()
            seen = np.zeros((40, 50), bool)
            seen[top : top + 12, left : left + 9] = True
            found.append((label, [top, left, top + 12, left + 9], seen))
        examples.append((image, np.zeros((40, 50), np.uint8), found))
    return tmp_path, examples


# Every layout is read back


@pytest.mark.parametrize("layout", WRITERS)
def test_scenes_are_read_back(layout, digits, tmp_path):
    data, examples = digits
    WRITERS[layout](tmp_path, examples, every := data.columns["classes"].names)
    check_name(f"folder:{tmp_path}")
    read = load(f"folder:{tmp_path}", size=64)
    assert read.problems == ()
    found, names = annotated.whole(read), read.columns["classes"].names
    assert len(found) == NUM and set(names) <= set(every)
    assert [len(getattr(read, split)) for split in ("train", "validation", "test")] == [10, 1, 1]
    outlined = layout not in ("coco boxes", "voc", "yolo")
    assert list(read.columns) == [
        "image", "boxes", "classes", *["instances"][:outlined], "count"
    ]  # fmt: skip
    most = max(len(things) for _, _, things in examples)
    assert read.columns["boxes"].shape == (most, 4) and read.labels == names
    for image, _, there in examples:
        one = found[image.tobytes()]
        assert one["count"] == len(there)
        assert [names[n] for n in one["classes"][: len(there)]] == [label for label, _, _ in there]
        assert (one["classes"][len(there) :] == -1).all() and not one["boxes"][len(there) :].any()
        want = np.array([box for _, box, _ in there])
        np.testing.assert_allclose(one["boxes"][: len(there)], want, atol=1e-5)
        if outlined:
            for number, (_, _, seen) in enumerate(there, start=1):
                np.testing.assert_array_equal(one["instances"] == number, seen)


def test_masks_are_read_back(digits, tmp_path):
    data, examples = digits
    annotated.masks(tmp_path, examples, data.columns["classes"].names)
    read = load(f"folder:{tmp_path}", size=64)
    assert read.problems == () and read.columns["mask"] == data.columns["mask"]
    kept = annotated.whole(read)
    assert sorted(one["mask"].tobytes() for one in kept.values()) == sorted(
        mask.tobytes() for _, mask, _ in examples
    )
    assert "PNG masks, 12 pictures with masks of 11 classes" in read.source


def test_the_split_is_the_same_and_pictures_may_stay_on_the_disk(plain):
    root, examples = plain
    annotated.coco(root, examples, ("cat", "dog"))
    held, again = load(f"folder:{root}", size=32), load(f"folder:{root}", size=32)
    streamed = load(f"folder:{root}", size=32, stream=True)
    assert held.source == (
        f"{root}: COCO JSON, 6 pictures with 6 things of 2 classes, 0 problems, 32x32 pixels"
    )
    assert "read from the disk" in streamed.source and held.digest == again.digest
    for split in ("train", "validation", "test"):
        for name in held.columns:
            one, *others = (np.asarray(getattr(d, split)[name]) for d in (held, again, streamed))
            assert all(np.array_equal(one, other) for other in others)
    values, write = annotated.document(root)
    values["annotations"][0]["bbox"][2] -= 1
    write()
    assert load(f"folder:{root}", size=32).digest != held.digest


# Boxes, outlines and masks move as the picture does


@pytest.mark.parametrize("side", [(64, 64), (60, 57), (90, 50), (20, 31)])
def test_a_mask_moves_as_its_picture(side):
    random = np.random.RandomState(0)
    mask = random.randint(0, 5, side).astype(np.uint8)
    moved = placing(*side, 64).mask(mask, 64)
    if max(64 - side[0], 64 - side[1]) in range(9):  # the picture keeps its pixels
        np.testing.assert_array_equal(moved, fit(mask[None, ..., None], 64)[0, ..., 0])
    else:
        nearest = Image.fromarray(mask).resize((64, 64), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(moved, np.asarray(nearest))


@pytest.mark.parametrize(("side", "box"), [
    ((40, 50), [12, 16, 32, 32]),  # made 64 x 64: times 1.6 and 1.28
    ((60, 58), [9.5, 15.5, 22, 28]),  # a frame of 2 and 3 pixels
])  # fmt: skip
def test_a_box_moves_as_its_picture(side, box):
    place = placing(*side, 64)
    original = np.array([7.5, 12.5, 20, 25])
    np.testing.assert_allclose(place.points(original), box)
    marked = np.zeros((1, *side, 1), np.uint8)
    marked[0, 8:20, 13:25] = 255
    ys, xs = np.nonzero(fit(marked, 64)[0, ..., 0] > 127)
    seen = np.array([ys.min(), xs.min(), ys.max() + 1, xs.max() + 1])
    assert np.abs(seen - place.points(np.array([8, 13, 20, 25]))).max() <= 0.5


def test_polygons_are_filled_as_matplotlib_fills_them():
    random = np.random.RandomState(0)
    ys, xs = np.mgrid[:40, :40] + 0.5
    middles = np.stack([ys.ravel(), xs.ravel()], 1)
    for points in (3, 4, 7, 30):
        for _ in range(5):
            angles = np.sort(random.rand(points)) * 2 * np.pi
            radii = 5 + 25 * random.rand(points)  # a star; some of it is outside
            ring = 20 + radii[:, None] * np.stack([np.sin(angles), np.cos(angles)], 1)
            want = Outline(ring).contains_points(middles).reshape(40, 40)
            np.testing.assert_array_equal(things.filled(ring, 40), want)


def doubt(thing):
    """What is told of a thing, kept or not."""
    try:
        return things.placed(thing, placing(12, 12, 12), 12).doubt
    except things.AnnotationError as wrong:
        return str(wrong)


def test_polygons_that_cross_themselves_are_found():
    def cross(a, b, c, d):
        """Whether two edges meet within both, in whole fractions."""
        (ay, ax), (by, bx), (cy, cx), (dy, dx) = a, b, c, d
        whole = (by - ay) * (dx - cx) - (bx - ax) * (dy - cy)
        if not whole:
            return False
        s = Fraction((cy - ay) * (dx - cx) - (cx - ax) * (dy - cy), whole)
        t = Fraction((cy - ay) * (bx - ax) - (cx - ax) * (by - ay), whole)
        return 0 < s < 1 and 0 < t < 1

    random, seen = np.random.RandomState(0), []
    for _ in range(300):
        ring = random.randint(0, 12, (random.randint(3, 8), 2))
        if len(np.unique(ring, axis=0)) < 3:
            continue
        edges = list(zip(ring.tolist(), np.roll(ring, -1, axis=0).tolist(), strict=True))
        want = any(cross(*one, *other) for one, other in itertools.combinations(edges, 2))
        thing = things.Thing("here", "cat", rings=(ring.astype(float),))
        told = doubt(thing)
        assert ("crosses itself" in told) == want or told == "the polygon has no area", ring
        seen.append(want)
    assert 50 < sum(seen) < len(seen) - 50


def test_run_lengths_are_those_of_pycocotools():
    random = np.random.RandomState(0)
    for share, side in itertools.product((0.02, 0.5, 0.999), ((3, 5), (400, 300))):
        seen = (random.rand(*side) < share).astype(np.uint8)
        text = rle.encode(np.asfortranarray(seen))["counts"].decode()
        whole = things.Runs(*side, coco._decoded(text))
        assert sum(whole.counts) == seen.size
        np.testing.assert_array_equal(things._unrolled(whole, placing(*side, 99)), seen)


def test_run_lengths_that_are_broken_are_refused():
    """pycocotools writes outside its memory where they are; here nothing is read of them."""
    seen = np.random.RandomState(0).rand(20, 30) > 0.5
    text = rle.encode(np.asfortranarray(seen.astype(np.uint8)))["counts"].decode()
    random, refused = np.random.RandomState(1), 0
    for _ in range(500):
        letters = list(text)
        letters[random.randint(len(letters))] = chr(random.randint(1, 600))
        broken = "".join(letters)[: random.randint(1, len(letters) + 20)]
        try:
            runs = coco._runs({"size": [20, 30], "counts": broken})
            assert sum(runs.counts) == 600 and min(runs.counts) >= 0
        except things.AnnotationError:
            refused += 1
    assert refused > 400
    for counts in ([600, -1, 1], [1e9], [10**12], [], "o" * 999, [True], None, [2**70]):
        with pytest.raises(things.AnnotationError):
            coco._runs({"size": [20, 30], "counts": counts})


# What is wrong is named

WRONG = {
    "outside": ({"bbox": [45, 3, 30, 5]}, "outside the picture of 40 x 50"),
    "empty": ({"bbox": [4, 3, 0, 5]}, "is empty"),
    "inverted": ({"bbox": [30, 3, -5, 5]}, "is inverted"),
    "NaN": ({"bbox": [float("nan"), 3, 5, 5]}, "expected 4 finite numbers"),
    "huge": ({"bbox": [10**400, 3, 5, 5]}, "expected 4 finite numbers"),
    "short": ({"bbox": [3, 5, 5]}, "expected 4 finite numbers"),
    "words": ({"bbox": ["a", 3, 5, 5]}, "expected 4 finite numbers"),
    "class": ({"category_id": 8}, "unknown class, category_id 8"),
    "picture": ({"image_id": 17}, "unknown picture, image_id 17"),
    "no id": ({"image_id": None}, "expected a whole number or a text"),
    "two points": ({"segmentation": [[1, 1, 5, 5]]}, "a polygon of 4 numbers"),
    "odd": ({"segmentation": [[1, 1, 5, 5, 9, 9, 9]]}, "a polygon of 7 numbers"),
    "one point": ({"segmentation": [[1, 1] * 4]}, "fewer than 3 different points"),
    "a line": ({"segmentation": [[1, 1, 5, 5, 9, 9]]}, "no area"),
    "far": ({"segmentation": [[1, 1, 99, 9, 9, 1]]}, "outside the picture of 40 x 50"),
    "flat": ({"segmentation": [1, 2, 3, 4, 5, 6]}, "expected finite numbers"),
    "other mask": ({"segmentation": {"size": [4, 5], "counts": [20]}}, "a mask of 4 x 5 pixels"),
    "cut mask": ({"segmentation": {"size": [40, 50], "counts": [20]}}, "run lengths of 20 pixels"),
    "nothing": ({"bbox": None, "segmentation": None}, "neither a box nor an outline"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_annotation_is_named(case, plain):
    root, examples = plain
    annotated.coco(root, examples, ("cat", "dog"), outline="")
    sound = load(f"folder:{root}", size=32)
    values, write = annotated.document(root)
    change, told = WRONG[case]
    extra = {"id": 99, "image_id": 998, "category_id": 7, "iscrowd": 0, "bbox": [1, 1, 8, 8]}
    values["annotations"].append(extra | change)  # of a picture that has a thing
    write()
    data = load(f"folder:{root}", size=32)
    (line,) = data.problems
    assert re.search(r"instances\.json: annotation 99: ", line) and told in line, line
    assert "\n" not in line and "1 problems" in data.source
    for name in sound.columns:
        np.testing.assert_array_equal(np.asarray(data.train[name]), np.asarray(sound.train[name]))


def test_a_polygon_that_crosses_itself_is_told_and_kept(plain):
    """It may have an area of zero by its sign: a bow."""
    root, examples = plain
    annotated.coco(root, examples, ("cat", "dog"), outline="polygons")
    values, write = annotated.document(root)
    values["annotations"].append(
        {"id": 99, "image_id": 1000, "category_id": 7, "iscrowd": 0, "bbox": [10, 10, 20, 20],
         "segmentation": [[10, 10, 30, 30, 30, 10, 10, 30]]}
    )  # fmt: skip
    write()
    data = load(f"folder:{root}", size=50)
    (line,) = data.problems
    assert "annotation 99: the polygon crosses itself; what it encloses" in line
    one = annotated.whole(data)[fit(examples[0][0][None], 50).tobytes()]
    np.testing.assert_allclose(one["boxes"][0], [12.5, 10, 37.5, 30])
    assert (one["instances"] == 1).sum() == pytest.approx(20 * 25 / 2, rel=0.05)


@pytest.mark.parametrize("layout", ["published", "images", "parts", "yolo parts"])
def test_parts_are_its_splits(layout, plain):
    """As COCO is published, with its pictures in `images` too; as Roboflow writes both."""
    root, examples = plain
    names = ("cat", "dog")
    for part, own in (("train2017", examples[:4]), ("val2017", examples[4:])):
        if layout == "yolo parts":
            annotated.yolo(root / part, own, names)
            (root / part / "data.yaml").rename(root / "data.yaml")
            continue
        annotated.coco(root / part, own, names)
        document = root / part / "annotations" / "instances.json"
        pictures = sorted((root / part / "images").iterdir())
        if layout == "parts":
            document.rename(root / part / "_annotations.coco.json")
            for path in pictures:
                path.rename(root / part / path.name)
            continue
        place = root / ("" if layout == "published" else "images") / part
        place.mkdir(parents=True, exist_ok=True)
        (root / "annotations").mkdir(exist_ok=True)
        for path in pictures:
            path.rename(place / path.name)
        document.rename(root / "annotations" / f"instances_{part}.json")
        for other in ("captions", "person_keypoints", "panoptic", "image_info"):
            (root / "annotations" / f"{other}_{part}.json").write_text('{"images": []}')
    data = load(f"folder:{root}", size=32)
    assert data.problems == () and data.labels == names
    assert "split as its parts are" in data.source
    assert [len(getattr(data, split)) for split in ("train", "validation", "test")] == [3, 1, 2]
    kept = sorted(image.tobytes() for image in data.test["image"])
    assert kept == sorted(fit(image[None], 32).tobytes() for image, _, _ in examples[4:])
    found = annotated.whole(data)
    assert len(found) == 6
    for image, _, there in examples:
        one = found[fit(image[None], 32).tobytes()]
        assert [names[n] for n in one["classes"][: one["count"]]] == [
            label for label, _, _ in there
        ]


def test_what_is_told_twice_or_against_itself_is_named(plain):
    root, examples = plain
    annotated.coco(root, examples, ("cat", "dog"), outline="polygons")
    values, write = annotated.document(root)
    (first, *_) = values["annotations"]
    whole = first["bbox"]
    values["annotations"] += [
        {**first, "id": 90},  # twice
        {**first, "id": 91, "image_id": 1000, "bbox": [30, 30, 8, 8]},  # the outline is elsewhere
        {**first, "id": 92, "image_id": 994, "bbox": [0, 0, 0, 0], "segmentation": []},
    ]  # fmt: skip
    write()
    data = load(f"folder:{root}", size=32)
    told = "\n".join(data.problems)
    assert "annotation 90: the same class and box stand there twice" in told
    assert "annotation 91: its box and its outline share less than a tenth" in told
    assert "nothing of what is annotated can be read, first" in told and whole
    assert len(annotated.whole(data)) == 5


def test_names_that_differ_are_refused(plain):
    root, examples = plain
    annotated.yolo(root, examples, ("cat", "dog"))
    (root / "classes.txt").write_text("dog\ncat\n")
    with pytest.raises(ValueError, match=r"data.yaml: names cat, dog; .*classes.txt names dog, c"):
        load(f"folder:{root}", size=32)
    (root / "classes.txt").write_text("cat\n\ndog\n")
    with pytest.raises(ValueError, match=r"classes.txt: has an empty line between names"):
        load(f"folder:{root}", size=32)


def test_a_folder_within_is_no_part_by_a_piece_of_its_name(plain):
    """`instances` holds masks; the documents are called after what they tell."""
    root, examples = plain
    annotated.coco(root, examples, ("cat", "dog"))
    for number in range(6):
        annotated.save(root / "instances" / f"{number:03}.png", np.zeros((40, 50, 3), np.uint8))
    data = load(f"folder:{root}", size=32)
    assert data.problems == () and len(annotated.whole(data)) == 6
    assert data.train["image"].max() > 200


def test_what_is_not_of_a_part_is_told(plain):
    root, examples = plain
    annotated.yolo(root, examples[:4], ("cat", "dog"))
    annotated.yolo(root / "old", examples[4:], ("cat", "dog"))
    annotated.save(root / "new" / "images" / "a.png", examples[0][0])
    data = load(f"folder:{root}", size=32)
    assert len(annotated.whole(data)) == 6
    (line,) = data.problems
    assert "new: has images and no labels" in line
    shutil.rmtree(root / "old")  # the folder is the only part that is whole
    (line,) = load(f"folder:{root}", size=32).problems
    assert "new: has images and no labels" in line


def test_crowds_are_counted_and_edges_are_cut(plain):
    root, examples = plain
    annotated.coco(root, examples, ("cat", "dog"), outline="")
    values, write = annotated.document(root)
    row = {"id": 99, "image_id": 1000, "category_id": 7, "bbox": [-0.4, 30, 50.9, 10.5]}
    values["annotations"] += [row, {**row, "id": 100, "iscrowd": 1, "bbox": "any"}]
    write()
    data = load(f"folder:{root}", size=50)  # 40 x 50 is resized, times 1.25 down
    (line,) = data.problems
    assert "1 regions of crowds" in line
    one = annotated.whole(data)[fit(examples[0][0][None], 50).tobytes()]
    np.testing.assert_allclose(one["boxes"][0], [37.5, 0, 50, 50])


def test_pictures_that_are_not_there_or_broken(plain):
    root, examples = plain
    annotated.coco(root, [*examples, *examples], ("cat", "dog"))
    images = root / "images"
    (images / "000.png").unlink()
    (images / "001.png").write_bytes((images / "001.png").read_bytes()[:300])
    save = Image.fromarray(examples[0][0][:30])
    save.save(images / "002.png")
    (images / "003.png").unlink()
    (images / "003.png").symlink_to("/etc/hostname")
    save.save(root.parent / "outside.png")
    values, write = annotated.document(root)
    for number, name in enumerate(("../../outside.png", str(root.parent / "outside.png"), "004.png",
                                   7, "a\0b")):  # fmt: skip
        values["images"].append({"id": f"more {number}", "file_name": name})
    values["images"] += [{"file_name": "x.png"}, {"id": 990, "file_name": "x.png"}, 3]
    write()
    save.save(images / "more.png")
    data = load(f"folder:{root}", size=16)
    for told in ("image 1000: the picture '000.png' is not there", "001.png: unreadable picture",
                 "annotated at 40 x 50 pixels, and", "has 30 x 50", "a link to a place outside",
                 "image 'more 0': the picture '../../outside.png' is outside the folder",
                 "image 'more 1': the picture", "004.png is annotated twice", "got 7 for a picture",
                 "got 'a\\x00b' for a picture", "got the id None", "id 990 stands there twice",
                 "number 19: got int"):  # fmt: skip
        assert sum(told in line for line in data.problems) == 1, told
    assert not any("\n" in line for line in data.problems)
    assert len(annotated.whole(data)) == 6  # eight are sound, two of them alike


DOCUMENTS = {
    "no JSON": ("{", "not JSON"),
    "a list": ("[]", "got list"),
    "deep": ("[" * 100_000, "nested too deeply"),
    "no lists": ('{"images": {}}', "images: got no list"),
    "classes": ('{"images": [], "annotations": [], "categories": [{"id": 1}]}', "category 0"),
    "empty": ('{"images": [], "annotations": [], "categories": []}', "got 0 annotated pictures"),
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_a_document_that_is_none_is_refused(case, plain):
    root, examples = plain
    annotated.coco(root, examples, ("cat", "dog"))
    text, told = DOCUMENTS[case]
    (root / "annotations" / "instances.json").write_text(text)
    with pytest.raises(ValueError, match=told) as caught:
        load(f"folder:{root}")
    assert "\n" not in str(caught.value) and str(root) in str(caught.value)


BOMB = """<!DOCTYPE a [<!ENTITY a "{a}">{rest}]><annotation><filename>&h;</filename></annotation>"""


def test_voc_files_that_are_wrong(plain):
    root, examples = plain
    annotated.voc(root, examples, ())
    folder = root / "Annotations"
    letters = "abcdefgh"
    rest = "".join(
        f'<!ENTITY {new} "{f"&{old};" * 20}">' for old, new in itertools.pairwise(letters)
    )
    spoilt = {
        "000": BOMB.format(a="x" * 1000, rest=rest),  # 20^7 times 1000 letters
        "001": '<!DOCTYPE a [<!ENTITY h SYSTEM "file:///etc/hostname">]><annotation>&h;</annotation>',
        "002": "<annotation><object>",
    }
    for name, text in spoilt.items():
        (folder / f"{name}.xml").write_text(text)
    path = folder / "004.xml"
    box = "<object><name>cat</name><bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>9</xmax></bndbox>"
    odd = "".join(f"{box.format(x)}</object>" for x in ("nan", "one", "3")) + "<object/>"
    path.write_text(path.read_text().replace("</annotation>", f"{odd}</annotation>"))
    tracemalloc.start()
    data = load(f"folder:{root}", size=32)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    told = ("000.xml", "document type"), ("001.xml", "document type"), ("002.xml", "no element"), (
        "004.xml: object 2: xmin", "'nan'"), ("004.xml: object 3: xmin", "'one'"), (
        "004.xml: object 4: ymax", "''"), ("004.xml: object 5", "got None for a class")  # fmt: skip
    for where, why in told:
        assert sum(where in line and why in line for line in data.problems) == 1, (where, why)
    assert len(annotated.whole(data)) == 3 and not any("\n" in line for line in data.problems)


def test_yolo_lines_that_are_wrong(plain):
    root, examples = plain
    annotated.yolo(root, examples, ("cat", "dog"))
    text = root / "labels" / "a" / "000.txt"
    text.write_text(
        "0 .5 .5 .2 .2\n\n0 .5 .5 .2\n2 .5 .5 .2 .2\n0 1.5 .5 .2 .2\n0 .5 .5 nan .2\n"
        "0 .5 .5 .2 x\n0 .5 .5 0 .2\n0.5 .5 .5 .2 .2\n0 .9 .5 .5 .2\n1 .1 .1 .3 .1 .3 .4\n"
    )
    (root / "labels" / "a" / "001.txt").unlink()  # nothing is there
    (root / "labels" / "gone.txt").write_text("")
    data = load(f"folder:{root}", size=32)
    lines = {int(m[1]): line for line in data.problems if (m := re.search(r"line (\d+)", line))}
    assert sorted(lines) == [3, 4, 5, 6, 7, 8, 9, 10]
    for number, told in ((3, "got 4 numbers"), (4, "class '2'; expected 0 to 1"), (5, "0 to 1"),
                         (6, "0 to 1"), (7, "expected numbers"), (8, "is empty"),
                         (9, "class '0.5'"), (10, "outside")):  # fmt: skip
        assert told in lines[number], lines[number]
    assert sum("gone.txt: no picture" in line for line in data.problems) == 1
    kept = annotated.whole(data)
    assert len(kept) == 6
    one = kept[fit(examples[0][0][None], 32).tobytes()]
    np.testing.assert_allclose(one["boxes"], [[12.8, 12.8, 19.2, 19.2], [3.2, 3.2, 12.8, 9.6]],
                               atol=1e-5)  # fmt: skip
    assert one["classes"].tolist() == [0, 1] and "instances" not in data.columns
    assert any("have a box alone" in line for line in data.problems)
    (root / "data.yaml").write_text("names: {0: cat, 2: dog}")
    with pytest.raises(ValueError, match=r"data\.yaml: names"):
        load(f"folder:{root}")
    (root / "data.yaml").unlink()
    with pytest.raises(ValueError, match="got no names of the classes"):
        load(f"folder:{root}")


def test_labelme_files_that_are_wrong(plain):
    root, examples = plain
    annotated.labelme(root, examples, ())
    (root / "classes.txt").write_text("cat\ndog\n")
    path = root / "000.json"
    values = json.loads(path.read_text())
    box = {"label": "cat", "shape_type": "rectangle", "points": [[9, 20], [2, 3]]}
    values["shapes"] = [
        box, {**box, "shape_type": "circle"}, {**box, "label": "cow"}, {**box, "label": 3}, 7,
        {**box, "points": [[9, 20]]}, {**box, "points": None},
        {**box, "shape_type": "polygon", "points": [[1, 1], [9, 9], [9, 1], [1, 9]]},
    ]  # fmt: skip
    path.write_text(json.dumps(values))
    (root / "001.json").write_text("{")
    (root / "002.json").write_text('{"shapes": [], "imagePath": "../../x.png"}')
    data = load(f"folder:{root}", size=32)
    for told in ("shape 1: shape_type: got 'circle'", "shape 2: the class 'cow' is none of the 2",
                 "shape 3: got 3 for a class", "shape 4: got int", "shape 5: got",
                 "shape 6: points",
                 "shape 7: the polygon crosses itself", "001.json: not JSON",
                 "002.json: the picture '../../x.png' is outside the folder",
                 "001.png: no annotation names", "002.png: no annotation names",
                 "1 of 5 things have a box alone"):  # fmt: skip
        assert sum(told in line for line in data.problems) == 1, told
    one = annotated.whole(data)[fit(examples[0][0][None], 32).tobytes()]
    np.testing.assert_allclose(one["boxes"][0], np.array([3, 2, 20, 9]) * [0.8, 0.64, 0.8, 0.64],
                               atol=1e-5)  # fmt: skip


def test_masks_that_are_wrong(plain):
    root, examples = plain
    mask = np.zeros((40, 50), np.uint8)
    mask[:20] = 1
    annotated.masks(root, [(image, mask, ()) for image, _, _ in examples * 2], ("cat",))
    masks = root / "masks"
    annotated.save(masks / "000.png", mask[:30])
    annotated.save(masks / "001.png", np.where(mask, 2, 0).astype(np.uint8))
    (masks / "002.png").unlink()
    annotated.save(masks / "003.png", examples[0][0])
    (masks / "004.png").write_bytes(b"")
    annotated.save(masks / "005.png", np.full((40, 50), 300, np.uint16))
    annotated.save(masks / "006.png", np.where(mask, 1, 255).astype(np.uint8))
    palette = Image.fromarray(mask)
    palette.putpalette([9, 9, 9, 200, 0, 0])
    palette.save(masks / "007.png")
    annotated.save(masks / "008.png", mask.astype(bool))
    annotated.save(masks / "more.png", mask)
    data = load(f"folder:{root}", size=52)
    for told in ("000.png: got a mask of 30 x 50 pixels; expected 40 x 50", "001.png: got the class"
                 " 2; expected 0 to 1", "002.png is not there", "003.png: got colours",
                 "004.png: the file is empty", "005.png: got pixels of 300 to 300",
                 "more.png: no picture of this name"):  # fmt: skip
        assert sum(told in line for line in data.problems) == 1, told
    kept = [np.asarray(s["mask"]) for s in (data.train, data.validation, data.test)]
    kept = np.concatenate(kept)
    assert len(kept) == 6 and len(data.problems) == 7
    scaled = np.asarray(Image.fromarray(mask).resize((52, 52), Image.Resampling.NEAREST))
    assert sum(np.array_equal(one, scaled) for one in kept) == 5
    assert sum(np.array_equal(one, np.where(scaled, 1, 255)) for one in kept) == 1


def test_masks_of_nothing_are_refused(plain):
    root, examples = plain
    annotated.masks(root, examples, ())
    with pytest.raises(ValueError, match="got 6 masks that hold 0 alone"):
        load(f"folder:{root}", size=32)


def test_masks_of_0_and_255_and_the_frame(tmp_path):
    mask = np.zeros((30, 28), np.uint8)
    mask[4:9, 5:20] = 255
    images = np.random.RandomState(0).randint(0, 256, (3, 30, 28)).astype(np.uint8)
    annotated.masks(tmp_path, [(image, mask, ()) for image in images], ())
    (tmp_path / "classes.txt").unlink()
    data = load(f"folder:{tmp_path}", size=32)
    assert data.labels == ("background", "foreground")
    want = np.full((32, 32), 255)  # the frame counts for nothing
    want[1:31, 2:30] = mask // 255
    np.testing.assert_array_equal(data.train["mask"][0], want)


def test_layouts_that_cannot_be_told_apart_and_class_folders_that_can(plain):
    root, examples = plain
    annotated.coco(root, examples, ("cat", "dog"))
    annotated.yolo(root, examples, ("cat", "dog"))
    with pytest.raises(
        ValueError, match="got COCO JSON and YOLO text; expected annotations of one"
    ):
        check_name(f"folder:{root}")
    pets = root / "pets"
    for place, name in enumerate(("cats", "dogs")):
        for number in range(3):
            annotated.save(pets / name / f"{number}.png", examples[number + 3 * place][0])
    (pets / "notes.json").write_text('{"a": 1}')
    (pets / "metadata.json").write_text('{"images": 6, "by": "me"}')
    (pets / "classes.txt").write_text("cats\ndogs\n")
    (pets / "tool.xml").write_text("<project/>")
    data = load(f"folder:{pets}", size=16)
    assert data.labels == ("cats", "dogs") and len(data.problems) == 4


def test_every_layout_is_explained():
    page = (Path(__file__).parents[1] / "docs" / "train.md").read_text()
    assert all(f"| {told} |" in page for told in LAYOUTS.values())


# From the command line

QUICK = ("--set", "train.batch_size=4", "--set", "hardware.precision=float32",
         "--set", "data.limit=4")  # fmt: skip


def zoo(*words):
    assert main([str(word) for word in words]) == 0, words


def test_a_detector_learns_a_folder(digits, tmp_path, monkeypatch, capsys):
    data, examples = digits
    monkeypatch.chdir(tmp_path)
    annotated.coco(tmp_path / "pets", examples, data.columns["classes"].names, outline="")
    zoo("train", "faster_rcnn_small", "--data", "folder:pets", "--smoke", "--out", "run", *QUICK)
    assert find_bundle("run").card.labels == data.columns["classes"].names
    zoo("evaluate", "run")
    zoo("export", "run", "tflite", "--out", "file")
    capsys.readouterr()
    names = [f"pets/images/{n:03}.png" for n in range(4)]
    zoo("predict", "run", *names, "--coco", "pets/found.json")
    (tmp_path / "pets" / "annotations" / "instances.json").unlink()
    found = json.loads((tmp_path / "pets" / "found.json").read_text())
    assert found["images"][0]["file_name"] == "000.png" and found["annotations"]
    assert [row["id"] for row in found["images"]] == [0, 1, 2, 3]  # as the pictures are called
    read = load("folder:pets", size=64)
    kept = annotated.whole(read)
    assert len(kept) == 4 and sum("no annotation names" in line for line in read.problems) == 8
    for number in range(4):
        one = kept[examples[number][0].tobytes()]
        rows = [row for row in found["annotations"] if row["image_id"] == number]
        x, y, w, h = np.array([row["bbox"] for row in rows]).T
        want = np.stack([y, x, y + h, x + w], 1)[((w > 0) & (h > 0))]
        np.testing.assert_allclose(one["boxes"][: one["count"]], want, atol=1e-4)


def test_found_masks_are_read_back_at_the_pictures_size(tmp_path):
    image = np.random.RandomState(0).randint(0, 256, (40, 50, 3)).astype(np.uint8)
    for number in range(3):
        annotated.save(tmp_path / "images" / f"{number}.png", np.roll(image, number, axis=0))
    paths = [str(tmp_path / "images" / f"{number}.png") for number in range(3)]
    box = dict(zip(SIDES, (10.0, 5.0, 30.0, 45.0), strict=True))
    left = np.zeros((28, 28), np.float32)
    left[:, :14] = 1
    whole = placed.pasted(left, np.array([10.0, 5.0, 30.0, 45.0]), (40, 50))
    row = {"label": "dog", "probability": 0.75, **box, "mask": placed._told(whole)}
    found = places.coco({path: [row] for path in paths}, ("cat", "dog"), task="detect")
    assert [row["id"] for row in found["images"]] == [0, 1, 2]
    assert found["annotations"][0]["area"] == 400
    seen = rle.decode(found["annotations"][0]["segmentation"])
    want = np.zeros((40, 50), np.uint8)
    want[10:30, 5:25] = 1
    np.testing.assert_array_equal(seen, want)
    (tmp_path / "found.json").write_text(json.dumps(found))
    data = load(f"folder:{tmp_path}", size=50)
    assert data.problems == () and "instances" in data.columns
    assert (data.train["instances"][0] == 1).sum() == 20 * 25


def test_ids_of_pictures_are_their_numbers_or_it_is_told(caplog):
    assert places._numbers(["a/12.png", "COCO_val2014_000000391895.jpg"]) == [12, 391895]
    assert not caplog.text
    assert places._numbers(["a/7.png", "b/007.png"]) == [1, 2]
    assert "some names end in the same number" in caplog.text
    assert places._numbers(["a/7.png", "photo.png"]) == [1, 2]
    assert "some names end in no number" in caplog.text


def test_documents_are_scored_by_pycocotools_and_hold_the_things_alone(tmp_path):
    """A background is a segmenter's first class, whatever its name; of a detector nothing is."""
    path = str(tmp_path / "a" / "3.png")
    annotated.save(Path(path), np.zeros((20, 30, 3), np.uint8))
    mask = rle.encode(np.asfortranarray(np.eye(20, 30, dtype=np.uint8)))
    mask["counts"] = mask["counts"].decode()
    rows = [{"label": name, "share": 0.5, "mask": mask} for name in ("bg", "cell")]
    found = places.coco({path: rows}, ("bg", "cell"), task="segment")
    assert [row["category_id"] for row in found["annotations"]] == [2]
    assert found["categories"] == [{"id": 2, "name": "cell"}]
    assert found["images"][0]["file_name"] == "3.png"
    assert mean_precision(found, "segm") > 0.999
    box = dict(zip(SIDES, (1.0, 2.0, 9.0, 9.0), strict=True))
    row = {"label": "background", "probability": 0.5, **box}
    seen = places.coco({path: [row]}, ("background", "b"), task="detect")
    assert [row["category_id"] for row in seen["annotations"]] == [1]
    assert [row["name"] for row in seen["categories"]] == ["background", "b"]
    points = [{"point": name, "x": 3.0 * n, "y": 2.0 * n} for n, name in enumerate(("left", "top"))]
    posed = places.coco({path: points}, (), task="pose")
    assert posed["categories"][0]["keypoints"] == ["left", "top"]
    assert posed["annotations"][0]["score"] == 1
    told = [{"caption": "a cat", "log_probability": -1}, {"caption": "a dog"}]
    said = places.coco({path: told}, (), task="caption")
    assert [row["caption"] for row in said["annotations"]] == ["a cat"]
    # What the document has for categories hangs on the task, not on whether anything was found.
    assert "categories" not in said | places.coco({path: []}, ("a", "cat"), task="caption")
    nothing = places.coco({path: []}, ("a", "cat"), task="dense_caption")
    assert [row["name"] for row in nothing["categories"]] == ["region"]


def mean_precision(document, kind):
    """Of a document judged as results against itself as the truth."""
    truth = COCO()
    truth.dataset = document
    truth.createIndex()
    judged = COCOeval(truth, truth.loadRes(document["annotations"]), kind)
    judged.evaluate()
    judged.accumulate()
    judged.summarize()
    return judged.stats[0]


UNREAD = {
    "yolo": lambda root: spoil(
        root / "labels" / "a" / "001.txt", lambda text: "-1 0.5 0.5 0.2 0.2\n"
    ),
    "voc": lambda root: spoil(
        root / "Annotations" / "001.xml", lambda text: text.replace("bndbox", "box")
    ),
    "labelme": lambda root: spoil(
        next(root.rglob("001.json")), lambda text: text.replace('"polygon"', '"circle"')
    ),
    "coco": lambda root: spoil_coco(root, {"category_id": 77}),
    "crowd": lambda root: spoil_coco(root, {"iscrowd": 1}),
}


def spoil(path, change):
    text = path.read_text()
    assert change(text) != text
    path.write_text(change(text))


def spoil_coco(root, changed):
    path = root / "annotations" / "instances.json"
    document = json.loads(path.read_text())
    (number,) = (row["id"] for row in document["images"] if "001" in row["file_name"])
    for row in document["annotations"]:
        if row["image_id"] == number:
            row |= changed
    path.write_text(json.dumps(document))


@pytest.mark.parametrize("case", UNREAD)
def test_a_picture_whose_things_cannot_be_read_is_not_one_of_nothing(case, plain):
    root, examples = plain
    write = {"crowd": annotated.coco, "coco": annotated.coco}.get(case) or getattr(annotated, case)
    write(root, examples, ("cat", "dog"))
    before = len(annotated.whole(load(f"folder:{root}")))
    UNREAD[case](root)
    data = load(f"folder:{root}")
    assert len(annotated.whole(data)) == before - 1
    assert any("is left out, as it is not one of nothing" in line for line in data.problems)


def test_two_categories_of_one_name_are_told_of_and_whole_numbers_may_be_floats(plain):
    root, examples = plain
    annotated.coco(root, examples, ("cat", "dog"))
    path = root / "annotations" / "instances.json"
    document = json.loads(path.read_text())
    for row in document["annotations"]:
        row["category_id"] = float(row["category_id"])
    document["categories"].append({"id": 99, "name": "cat"})
    path.write_text(json.dumps(document))
    data = load(f"folder:{root}")
    assert data.columns["classes"].names == ("cat", "dog")
    assert [line for line in data.problems if "a second one is called 'cat'" in line]
    assert data.train["count"].sum() > 0


@pytest.mark.slow
def test_a_segmenter_learns_a_folder(digits, tmp_path, monkeypatch):
    data, examples = digits
    monkeypatch.chdir(tmp_path)
    annotated.masks(tmp_path / "cells", examples, data.columns["classes"].names)
    words = ["--data", "folder:cells", "--smoke", "--set", "task.foreground=false", "--out", "run"]
    zoo("train", "unet_small", *words, *QUICK)
    assert list(find_bundle("run").card.labels) == ["background", *data.columns["classes"].names]
    zoo("evaluate", "run")
    zoo("predict", "run", "cells/images/000.bmp", "--out", "drawn")
    zoo("export", "run", "tflite", "--out", "file")
