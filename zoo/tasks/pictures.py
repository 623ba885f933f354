"""Pictures with what a model sees in them: masks laid over, boxes drawn in.

Everything takes and returns pixels (height, width, 3), uint8.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from zoo.common.columns import IGNORED
from zoo.common.images import recolour

SHARE = 0.5  # of a class' colour over a picture
GAP = 4  # pixels between the pictures of a grid
# Of the classes in turn, red green blue: the ten that lie farthest apart for whoever sees all
# colours or lacks one kind of cone (Machado et al. 2009, doi:10.1109/TVCG.2009.113), none of them
# grey, dark or pale.
COLOURS = (
    (255, 60, 60), (120, 255, 255), (120, 0, 255), (180, 255, 0), (0, 180, 120), (255, 120, 180),
    (180, 0, 0), (120, 120, 255), (180, 0, 120), (180, 180, 255),
)  # fmt: skip
TRUE, FOUND = (86, 180, 233), (213, 94, 0)  # blue and vermilion of Okabe & Ito 2008


def colour(index: int) -> tuple[int, int, int]:
    """Returns the colour of a class, red green blue; they repeat after ten."""
    return COLOURS[index % len(COLOURS)]


def shown(image: np.ndarray) -> np.ndarray:
    """Returns what a model reads as pixels, stretched to 0 to 255.

    Pixels (uint8) stay as they are; grey becomes red, green and blue.

    Args:
        image: Pixels or inputs (height, width, 1 or 3).
    """
    if image.dtype != np.uint8:
        span = max(float(np.ptp(image)), 1e-6)
        image = np.rint((image - image.min()) / span * 255).astype(np.uint8)
    return recolour(image[None], 3)[0]


def overlay(image: np.ndarray, mask: np.ndarray, num_classes: int) -> np.ndarray:
    """Lays the classes of a mask over a picture in their colours.

    Class 0 is the background, which stays as it is, and so do pixels that are `IGNORED`.

    Args:
        image: Pixels (height, width, 1 or 3), uint8.
        mask: Class of each pixel (h, w), uint8; a smaller one is of the picture's middle.
        num_classes: Number of classes, the background among them.

    Raises:
        ValueError: A class is out of range, or the mask is larger than the picture.
    """
    found = set(np.unique(mask).tolist()) - {IGNORED}
    if found and max(found) >= num_classes:
        raise ValueError(f"overlay: got class {max(found)}; expected less than {num_classes}.")
    picture = recolour(image[None], 3)[0].astype(np.float32)
    middle = centre(picture, mask.shape)  # a view
    for index in found - {0}:
        place = mask == index
        middle[place] += SHARE * (np.array(colour(index - 1)) - middle[place])
    return np.rint(picture).astype(np.uint8)


def centre(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the middle of a picture or a mask, a view.

    Args:
        array: (height, width, ...).
        shape: Height and width of the middle.

    Raises:
        ValueError: The middle is larger than the whole.
    """
    height, width = shape[:2]
    top, left = (array.shape[0] - height) // 2, (array.shape[1] - width) // 2
    if top < 0 or left < 0:
        raise ValueError(f"got a mask {shape[:2]}; expected at most the {array.shape[:2]} pixels.")
    return array[top : top + height, left : left + width]


def draw_boxes(
    image: np.ndarray,
    boxes: np.ndarray,
    names: Sequence[str] = (),
    *,
    colours: Sequence[tuple[int, int, int]] = (),
    times: int = 1,
) -> np.ndarray:
    """Draws boxes into a picture, each with its name at its upper left corner.

    A name too long to end within the picture begins further left.

    Args:
        image: Pixels (height, width, 1 or 3), uint8.
        boxes: y1 x1 y2 x2 in pixels, the ends exclusive, (n, 4).
        names: What to write beside each box; none, or one for each.
        colours: Colour of each box; by default one for each class, in turn.
        times: How many times larger the picture becomes, so that lines and names are legible.

    Returns:
        Pixels (height * times, width * times, 3).

    Raises:
        ValueError: There is another number of names or colours than of boxes.
    """
    for what, given in (("names", names), ("colours", colours)):
        if len(given) not in (0, len(boxes)):
            raise ValueError(
                f"draw_boxes: got {len(given)} {what} for {len(boxes)} boxes; expected one each."
            )
    picture = Image.fromarray(enlarged(recolour(image[None], 3)[0], times))
    pen = ImageDraw.Draw(picture)
    for index, (y1, x1, y2, x2) in enumerate(np.asarray(boxes, np.float64) * times):
        ink = colours[index] if colours else colour(index)
        right, bottom = max(x2 - 1, x1), max(y2 - 1, y1)
        pen.rectangle((x1, y1, right, bottom), outline=ink)
        if names:
            left, top, end, low = pen.textbbox((0, 0), names[index])
            height = low - top
            x1 = max(min(x1, picture.width - (end - left) - 1), 0)
            # Above the box, or within it where there is no room above.
            above = y1 - height - 2
            pen.text((x1 - left, (above if above >= 0 else y1 + 2) - top), names[index], fill=ink)
    return np.asarray(picture)


def draw_path(image: np.ndarray, points: np.ndarray, *, times: int = 1) -> np.ndarray:
    """Draws a line from point to point into a picture, each with its number, from 1.

    Args:
        image: Pixels (height, width, 1 or 3), uint8.
        points: y x in pixels, (n, 2).
        times: How many times larger the picture becomes.

    Returns:
        Pixels (height * times, width * times, 3).
    """
    picture = Image.fromarray(enlarged(recolour(image[None], 3)[0], times))
    pen = ImageDraw.Draw(picture)
    spots = [(float(x) * times, float(y) * times) for y, x in points]
    if len(spots) > 1:
        pen.line(spots, fill=colour(1), width=2)
    for number, (x, y) in enumerate(spots, start=1):
        pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour(0))
        pen.text((x + 4, y - 5), str(number), fill=colour(0))
    return np.asarray(picture)


def draw_ellipse(
    image: np.ndarray,
    ellipse: np.ndarray,
    *,
    colour: tuple[int, int, int] = COLOURS[0],
    times: int = 1,
) -> np.ndarray:
    """Draws an ellipse and its centre into a picture.

    Args:
        image: Pixels (height, width, 1 or 3), uint8.
        ellipse: y, x, half-axes in pixels, and the angle of the first, clockwise, (5,).
        colour: Red green blue.
        times: How many times larger the picture becomes.

    Returns:
        Pixels (height * times, width * times, 3).
    """
    picture = Image.fromarray(enlarged(recolour(image[None], 3)[0], times))
    pen = ImageDraw.Draw(picture)
    y, x, a, b, angle = (float(value) for value in ellipse)
    turn = np.linspace(0, 2 * np.pi, 73)
    along, across = a * np.cos(turn), b * np.sin(turn)
    rows = y + along * np.sin(angle) + across * np.cos(angle)
    columns = x + along * np.cos(angle) - across * np.sin(angle)
    pen.line([(c * times, r * times) for c, r in zip(columns, rows, strict=True)], fill=colour)
    pen.ellipse(
        [(x * times - 2, y * times - 2), (x * times + 2, y * times + 2)],
        outline=colour,
        fill=colour,
    )
    return np.asarray(picture)


def enlarged(image: np.ndarray, times: int) -> np.ndarray:
    """Repeats every pixel `times` times in both directions."""
    return image.repeat(times, axis=0).repeat(times, axis=1)


def grid(rows: Sequence[Sequence[np.ndarray]], path: Path) -> None:
    """Writes rows of pictures of one size to a PNG file, on white.

    Args:
        rows: Pixels (height, width, 3), uint8, row by row.
        path: The PNG to write.
    """
    height, width, _ = rows[0][0].shape
    columns = max(len(row) for row in rows)
    shape = (GAP + len(rows) * (height + GAP), GAP + columns * (width + GAP), 3)
    sheet = np.full(shape, 255, np.uint8)
    for down, row in enumerate(rows):
        for right, picture in enumerate(row):
            top, left = GAP + down * (height + GAP), GAP + right * (width + GAP)
            sheet[top : top + height, left : left + width] = picture
    Image.fromarray(sheet).save(path)
