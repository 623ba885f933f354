"""How a raw example becomes an input, as a card and a manifest say it."""

from __future__ import annotations

from zoo.common.settings import Settings


class Preprocessing(Settings):
    """What turns raw pixels or features into an input: y = (x * scale - mean) / std.

    Attributes:
        size: Side of the square images, in pixels; `None` for rows of features.
        channels: 1 for grey, 3 for RGB; the number of features of a row; `None` where not known.
        scale: What a pixel (0 to 255) or a feature is multiplied by first.
        mean: Mean of each channel of the scaled values; one for all, or one for each.
        std: Standard deviation, likewise.
        pad: A picture up to this many pixels smaller gets a frame of zeros; others are resized.
    """

    size: int | None = None
    channels: int | None = None
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    pad: int = 0

    def span(self) -> tuple[float, float]:
        """Returns the least and the greatest value that an input made of pixels can have."""
        ends = [
            (pixel * self.scale - mean) / std
            for mean, std in zip(self.mean, self.std, strict=True)
            for pixel in (0, 255)
        ]
        return min(ends), max(ends)
