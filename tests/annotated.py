"""Writes pictures in every layout that `folder:` reads: the tests' own writers."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image
from pycocotools import mask as rle


def rows(split, names):
    """Examples of `digit_scenes` as plain values: image, mask, and for each thing label, box, seen.

    A box is y1 x1 y2 x2, `seen` its pixels (height, width), bool.
    """
    for index, image in enumerate(split["image"]):
        things = [
            (names[split["classes"][index, n]], split["boxes"][index, n].astype(float).tolist(),
             split["instances"][index] == n + 1)
            for n in range(split["count"][index])
        ]  # fmt: skip
        yield image, split["mask"][index], things


def runs(seen):
    """A mask as rectangles of one row: rings [x1 y1 x2 y1 x2 y2 x1 y2]."""
    rings = []
    for y in range(seen.shape[0]):
        steps = np.flatnonzero(np.diff(np.r_[0, seen[y].astype(int), 0])).tolist()
        rings += [[a, y, b, y, b, y + 1, a, y + 1] for a, b in zip(steps[::2], steps[1::2])]  # noqa: B905
    return rings


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def pets(root, count):
    """Folders of two classes, each of `count` sound pictures in several formats and sizes."""
    random = np.random.RandomState(0)
    for name in ("cats", "dogs"):
        for index in range(count):
            suffix = ("png", "jpg", "JPEG", "bmp", "gif", "webp")[index % 6]
            pixels = random.randint(0, 256, (20 + index, 30, 3)).astype(np.uint8)
            save(root / name / f"{index:02}.{suffix}", pixels)


def lengths(seen):
    """Uncompressed run lengths, column by column, from 0 on."""
    flat = seen.T.ravel()
    ends = np.flatnonzero(np.r_[flat[1:] != flat[:-1], True]) + 1
    counts = np.diff(np.r_[0, ends]).tolist()
    return [0, *counts] if flat[0] else counts


def coco(root, examples, names, outline="text"):
    """COCO with ids that have holes, in an order that is not the pictures'."""
    ids = {name: 3 * number + 7 for number, name in enumerate(names)}
    images, annotations = [], []
    for number, (image, _, things) in enumerate(examples):
        save(root / "images" / f"{number:03}.png", image)
        height, width = image.shape[:2]
        row = {"id": 1000 - 2 * number, "file_name": f"{number:03}.png"}
        images.append(row | {"height": height, "width": width})
        for label, (y1, x1, y2, x2), seen in things:
            shape = {}
            if outline == "text":
                text = rle.encode(np.asfortranarray(seen.astype(np.uint8)))
                shape = {"segmentation": {**text, "counts": text["counts"].decode()}}
            elif outline == "counts":
                size = [height, width]
                shape = {"segmentation": {"size": size, "counts": lengths(seen)}}
            elif outline == "polygons":
                shape = {"segmentation": runs(seen)}
            annotations.append(
                {"id": 5 * len(annotations) + 2, "image_id": row["id"], "iscrowd": 0,
                 "category_id": ids[label], "bbox": [x1, y1, x2 - x1, y2 - y1], **shape}
            )  # fmt: skip
    categories = [{"id": number, "name": name} for name, number in ids.items()][::-1]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (root / "annotations").mkdir(parents=True)
    (root / "annotations" / "instances.json").write_text(json.dumps(document))


def voc(root, examples, names):
    for number, (image, _, things) in enumerate(examples):
        save(root / "JPEGImages" / f"{number:03}.png", image)
        tree = ElementTree.Element("annotation")
        ElementTree.SubElement(tree, "filename").text = f"{number:03}.png"
        size = ElementTree.SubElement(tree, "size")
        for name, value in zip(("height", "width", "depth"), image.shape, strict=True):
            ElementTree.SubElement(size, name).text = str(value)
        for label, (y1, x1, y2, x2), _ in things:
            thing = ElementTree.SubElement(tree, "object")
            ElementTree.SubElement(thing, "name").text = label
            box = ElementTree.SubElement(thing, "bndbox")
            sides = {"xmin": x1 + 1, "ymin": y1 + 1, "xmax": x2, "ymax": y2}
            for name, value in sides.items():
                ElementTree.SubElement(box, name).text = f"{value:g}"
        (root / "Annotations").mkdir(exist_ok=True)
        ElementTree.ElementTree(tree).write(root / "Annotations" / f"{number:03}.xml")


def yolo(root, examples, names):
    """With a sub-folder, as data sets in parts have them."""
    (root / "labels" / "a").mkdir(parents=True)
    for number, (image, _, things) in enumerate(examples):
        save(root / "images" / "a" / f"{number:03}.png", image)
        height, width = image.shape[:2]
        lines = [
            f"{names.index(label)} {(x1 + x2) / 2 / width:.9f} {(y1 + y2) / 2 / height:.9f} "
            f"{(x2 - x1) / width:.9f} {(y2 - y1) / height:.9f}\n"
            for label, (y1, x1, y2, x2), _ in things
        ]
        (root / "labels" / "a" / f"{number:03}.txt").write_text("".join(lines))
    told = "".join(f"  {number}: '{name}'\n" for number, name in enumerate(names))
    (root / "data.yaml").write_text(f"path: .\ntrain: images\nnames:\n{told}")


def labelme(root, examples, names):
    """Beside the pictures; a thing is a group of polygons."""
    for number, (image, _, things) in enumerate(examples):
        save(root / f"{number:03}.png", image)
        shapes = [
            {"label": label, "group_id": group, "shape_type": "polygon", "flags": {},
             "points": np.reshape(ring, (-1, 2)).tolist()}
            for group, (label, _, seen) in enumerate(things) for ring in runs(seen)
        ]  # fmt: skip
        document = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imageData": None,
                    "imagePath": f"{number:03}.png",
                    "imageHeight": image.shape[0], "imageWidth": image.shape[1]}  # fmt: skip
        (root / f"{number:03}.json").write_text(json.dumps(document))


def masks(root, examples, names):
    for number, (image, mask, _) in enumerate(examples):
        save(root / "images" / f"{number:03}.bmp", image)
        save(root / "masks" / f"{number:03}.png", mask)
    (root / "classes.txt").write_text("\n".join(("background", *names)))


def whole(data):
    """The examples of all splits, by the bytes of their picture."""
    found = {}
    for split in (data.train, data.validation, data.test):
        columns = {name: np.asarray(split[name]) for name in split}
        for index, image in enumerate(columns["image"]):
            found[image.tobytes()] = {name: values[index] for name, values in columns.items()}
    return found


def document(root):
    """The COCO document of `coco`, and how to write it back."""
    path = Path(root) / "annotations" / "instances.json"
    values = json.loads(path.read_text())
    return values, lambda: path.write_text(json.dumps(values))
