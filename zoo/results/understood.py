"""Draws the pictures of docs/understand.md, with models that come with the zoo and ImageNet's.

    zoo weights get mobilenet_v2
    zoo weights get vgg16-edges
    python -m zoo.results.understood [NAME ...]

The cat is scikit-image's `chelsea` (CC0), the manner its `ihc` (no known copyright).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import skimage
from PIL import Image

from zoo.explain import drawing
from zoo.explain.drawing import Tile
from zoo.explain.pictures.ways import INVERT, TEXTURE
from zoo.results import pages
from zoo.stages.understand.asked import Asked
from zoo.stages.understand.classifiers import open_classifier
from zoo.stages.understand.explain import explain_picture
from zoo.stages.understand.look import look
from zoo.stages.understand.painting import Request, dream, invert, style, texture

CAT = Path(skimage.__file__).parent / "data" / "chelsea.png"
MANNER = CAT.with_name("ihc.png")
IMAGENET, SMALL, DIGITS = "mobilenet_v2-imagenet", "resnet20", "lenet5"
SIDE = 150  # pixels of a tile
PALETTE = 96  # colours of a file


def maps() -> np.ndarray:
    """All methods of one picture, for ImageNet's MobileNetV2."""
    seen = explain_picture(IMAGENET, CAT, method="all")
    tiles = [Tile(f"{seen.label}, {seen.probability:.2f}", _small(seen.pixels))]
    for name, found in seen.maps.items():
        alone = name in ("guided_backprop", "deconvnet")
        made = drawing.signed(found) if alone else drawing.overlay(seen.pixels, found)
        tiles.append(Tile(name, _small(made)))
    return drawing.sheet(tiles, columns=4, side=SIDE)


def plane() -> np.ndarray:
    """The last features of a small net, by t-SNE."""
    return look(open_classifier(SMALL), Asked("tsne", examples=300)).sheet


def classes() -> np.ndarray:
    """A picture for each class of a small net."""
    return look(open_classifier(SMALL), Asked("class_image")).sheet


def patches() -> np.ndarray:
    """What some units of a small net answer to."""
    asked = Asked("maximal_patches", layer="stage1_block3_add", examples=400)
    return look(open_classifier(SMALL), asked).sheet


def made() -> np.ndarray:
    """A style, a texture, a dream and three inversions, by the convolutions of VGG-16."""
    few = INVERT._replace(steps=60)
    tiles = [Tile(path.stem, _small(np.asarray(Image.open(path)))) for path in (CAT, MANNER)]
    painted = style(CAT, MANNER, request=Request(size=SIDE))
    more = texture(MANNER, request=Request(size=96, how=TEXTURE._replace(steps=50)))
    tiles += [Tile("style", _small(painted.pixels)), Tile("texture", _small(more.pixels))]
    dreamt = dream(CAT, layers=["stage4_conv3_relu"], request=Request(size=SIDE))
    tiles.append(Tile("dream", _small(dreamt.pixels)))
    for layer in ("stage2_conv2_relu", "stage3_conv3_relu", "stage4_conv3_relu"):
        inverted = invert(CAT, layer=layer, request=Request(size=112, how=few))
        tiles.append(Tile(f"invert {layer.removesuffix('_relu')}", _small(inverted.pixels)))
    return drawing.sheet(tiles, columns=4, side=SIDE)


PICTURES: Mapping[str, Callable[[], np.ndarray]] = {
    "maps": maps,
    "plane": plane,
    "classes": classes,
    "patches": patches,
    "made": made,
}


def main() -> None:
    """Draws them, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m zoo.results.understood", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*PICTURES, []], metavar="NAME")
    for name in parser.parse_args().names or PICTURES:
        place = pages.ROOT / "docs" / f"understand-{name}.png"
        picture = Image.fromarray(PICTURES[name]())
        picture.quantize(PALETTE, dither=Image.Dither.NONE).save(place, optimize=True)
        print(place, f"{place.stat().st_size:,} bytes")  # noqa: T201


def _small(pixels: np.ndarray) -> np.ndarray:
    """The middle square of a picture, as a tile."""
    height, width, _ = pixels.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    middle = Image.fromarray(pixels[top : top + side, left : left + side])
    return np.asarray(middle.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


if __name__ == "__main__":
    main()
