"""Eyes under infrared light, drawn by a formula: where the pupil is, though a lid hides some of it.

Skin with a slope of light, an eye between two lids, an iris with rays, a dark elliptic pupil, one
to three glints, noise. An upper lid comes down until it hides a share of the pupil that is drawn
evenly from 0 to 40 %. Every number comes from a frozen stream, `numpy.random.RandomState`. Limits:
it is no photograph; lashes are a dark seam; the cornea does not bend.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from zoo.common.columns import Column
from zoo.data.cache import cached, key
from zoo.data.dataset import DataSet, Split

VERSION = 1  # of the generator; it goes up when the code makes other eyes
SEED = 2014
COUNTS = {"train": 4000, "validation": 300, "test": 600}
SIDE = 64
MOST_HIDDEN = 0.4
COLUMNS = {
    "image": Column("image", (SIDE, SIDE, 1)),
    "points": Column("points", (5, 2)),
    "ellipse": Column("ellipse", (5,)),
    "mask": Column("mask", (SIDE, SIDE), ("other", "pupil")),
    "hidden": Column("number"),
}
MOTIONS = {"points": {"rotate": 0}}  # the uppermost stays so


class Ellipse(NamedTuple):
    """An ellipse.

    Attributes:
        y: Of the centre, in pixels from the upper edge.
        x: Of the centre, from the left edge.
        a: The longer half-axis, in pixels.
        b: The shorter one.
        angle: Of `a` to the horizontal, clockwise as seen, in [0, pi).
    """

    y: float
    x: float
    a: float
    b: float
    angle: float

    def radius(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Returns how far out places are: 1 on the ellipse."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        along, across = (
            (x - self.x) * cos + (y - self.y) * sin,
            (y - self.y) * cos - (x - self.x) * sin,
        )
        radius: np.ndarray = np.hypot(along / self.a, across / self.b)
        return radius

    def points(self) -> np.ndarray:
        """Returns its centre, and its uppermost, lowest, leftmost and rightmost point, (5, 2)."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        tall = np.hypot(self.a * sin, self.b * cos)
        wide = np.hypot(self.a * cos, self.b * sin)
        mixed = (self.a**2 - self.b**2) * sin * cos
        offsets = [(0, 0), (-tall, -mixed / tall), (tall, mixed / tall)]
        offsets += [(-mixed / wide, -wide), (mixed / wide, wide)]
        return np.array([(self.y + down, self.x + right) for down, right in offsets], np.float32)


def load() -> DataSet:
    """Makes, or reads, the eyes.

    Columns: `image` (64, 64, 1); `points` (5, 2), y x of the pupil's centre and of its uppermost,
    lowest, leftmost and rightmost point, seen or hidden; `ellipse` (5,), y, x, longer and shorter
    half-axis in pixels, and angle; `mask` (64, 64), 1 where the pupil is seen; `hidden`, the share
    of the pupil that is not.
    """
    arrays = cached(f"eyes-{key((VERSION, SEED, COUNTS), [])}", _make)
    train, validation, test = (
        Split({column: arrays[f"{split}/{column}"] for column in COLUMNS}) for split in COUNTS
    )
    source = f"eyes drawn by a formula with seed {SEED}"
    return DataSet("eyes", source, COLUMNS, train, validation, test, motions=MOTIONS)


def _make() -> dict[str, np.ndarray]:
    arrays = {}
    for number, (split, count) in enumerate(COUNTS.items()):
        random = np.random.RandomState([SEED, number])
        rows = [draw(random) for _ in range(count)]
        for column in COLUMNS:
            arrays[f"{split}/{column}"] = np.stack([row[column] for row in rows])
    return arrays


def draw(random: np.random.RandomState) -> dict[str, np.ndarray]:
    """Draws an eye; see `load` for its columns.

    Args:
        random: Where all numbers come from.
    """
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    pupil, iris = _eye(random)
    opening = Ellipse(
        iris.y + random.uniform(-2, 4),
        iris.x + random.uniform(-4, 4),
        random.uniform(26, 32),
        random.uniform(15, 22),
        random.uniform(0, 0.15),
    )
    light = random.uniform(120, 190)
    skin = light + 8 * np.sin(x / random.uniform(8, 20) + random.uniform(0, 6))
    rays = 12 * np.sin(
        np.arctan2(y - iris.y, x - iris.x) * random.randint(20, 50) + random.uniform(0, 6)
    )
    inner = np.full((SIDE, SIDE), random.uniform(170, 225))
    inner = _over(inner, random.uniform(70, 130) + rays, _soft(iris.radius(y, x), 20))
    outside = pupil.radius(y, x)
    inner = _over(inner, random.uniform(8, 45), _soft(outside, 30))
    for _ in range(random.randint(1, 4)):
        y0, x0 = iris.y + random.normal(0, 5), iris.x + random.normal(0, 5)
        a, b = random.uniform(1, 2.5, size=2)
        glint = Ellipse(y0, x0, a, b, 0.0)
        inner = _over(inner, 250.0, _soft(glint.radius(y, x), 8))
    lid, hidden = _lid(random, pupil, y, x)
    seen = _soft(opening.radius(y, x), 25) / (1 + np.exp(np.clip(-(y - lid) * 2, -50, 50)))
    image = _over(skin, inner, seen)
    seam = np.exp(-(((y - lid) / random.uniform(0.6, 1.5)) ** 2)) * (opening.radius(y, x) < 1.1)
    image = image * (1 - 0.6 * seam)
    image = image * (1 + random.uniform(-0.25, 0.25) * (x / SIDE - 0.5))
    image = image + random.normal(0, random.uniform(1, 8), size=image.shape)
    visible = (outside <= 1) & (y > lid)
    return {
        "image": np.rint(image.clip(0, 255)).astype(np.uint8)[..., None],
        "points": pupil.points(),
        "ellipse": np.array(pupil, np.float32),
        "mask": visible.astype(np.uint8),
        "hidden": np.float32(hidden),
    }


def _eye(random: np.random.RandomState) -> tuple[Ellipse, Ellipse]:
    """A pupil and the iris around it."""
    y, x = random.uniform(22, 42, size=2)
    across, ratio = random.uniform(11, 16), random.uniform(0.7, 1.0)
    angle = random.uniform(0, np.pi)
    iris = Ellipse(y, x, across, across * ratio, angle)
    a = across * random.uniform(0.35, 0.65)
    down, right = random.uniform(-1, 1, size=2)
    pupil = Ellipse(y + down, x + right, a, a * ratio, angle)
    return pupil, iris


def _lid(
    random: np.random.RandomState, pupil: Ellipse, y: np.ndarray, x: np.ndarray
) -> tuple[np.ndarray, float]:
    """Where the upper lid ends at each place, and the share of the pupil that it hides."""
    wanted, bend = random.uniform(0, MOST_HIDDEN), random.uniform(0.002, 0.012)
    arc = bend * (x - pupil.x - random.uniform(-4, 4)) ** 2
    fine = np.linspace(-1, 1, 41) * pupil.a
    rows, columns = np.meshgrid(pupil.y + fine, pupil.x + fine, indexing="ij")
    inside = pupil.radius(rows, columns) <= 1
    place = np.clip(np.rint(columns - 0.5).astype(int), 0, SIDE - 1)
    heights = (rows - arc[0][place])[inside]
    edge = float(np.quantile(heights, wanted)) if wanted > 0 else float(heights.min()) - 1
    return edge + arc, float((heights < edge).mean())


def _soft(radius: np.ndarray, steep: float) -> np.ndarray:
    """1 within, 0 without, and a soft edge."""
    soft: np.ndarray = 1 / (1 + np.exp(np.clip((radius - 1) * steep, -50, 50)))
    return soft


def _over(below: np.ndarray, above: np.ndarray | float, share: np.ndarray) -> np.ndarray:
    return below + (above - below) * share
