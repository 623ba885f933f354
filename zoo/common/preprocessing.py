"""How a raw example becomes an input, as a card and a manifest say it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zoo.common.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image


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

    def span(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the least and the greatest value of inputs made of pixels, of each channel."""
        import numpy as np

        factor, offset = self.affine
        ends = np.stack([offset, 255 * factor + offset])
        return ends.min(axis=0), ends.max(axis=0)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example: (size, size, channels), or (channels,) of a table's row.

        Raises:
            ValueError: The number of channels is not known.
        """
        if self.channels is None:
            raise ValueError(
                "Preprocessing.channels: not known; expected 1, 3 or that of features."
            )
        return (self.channels,) if self.size is None else (self.size, self.size, self.channels)

    @property
    def affine(self) -> tuple[np.ndarray, np.ndarray]:
        """Factor and offset of each channel (channels,), float32: y = x * factor + offset."""
        import numpy as np

        std = np.asarray(self.std)
        factor, offset = self.scale / std, -np.asarray(self.mean) / std
        return factor.astype(np.float32), offset.astype(np.float32)

    def apply(self, images: np.ndarray) -> np.ndarray:
        """Turns pixels or rows into inputs.

        Args:
            images: Pixels (n, size, size, channels), uint8; or rows (n, channels), float32.

        Returns:
            Inputs of the same shape, float32.

        Raises:
            ValueError: The images have another shape or type.
        """
        self.check(images)
        factor, offset = self.affine
        inputs: np.ndarray = images * factor + offset
        return inputs

    def check(self, images: np.ndarray) -> None:
        """Refuses pixels or rows of another shape or type than `apply` takes.

        Raises:
            ValueError: They differ.
        """
        if images.shape[1:] != self.shape or images.dtype != ("uint8" if self.size else "float32"):
            kind = "uint8" if self.size else "float32"
            raise ValueError(
                f"images: got {images.dtype} {images.shape}; "
                f"expected {kind} (n, {', '.join(map(str, self.shape))})."
            )

    def pixels(self, image: Image) -> np.ndarray:
        """Returns a picture in mode RGB as pixels (size, size, channels), see `images.fit`.

        Raises:
            ValueError: The model reads no pictures.
        """
        from zoo.common.images import pixels

        if self.size is None:
            raise ValueError(f"got a picture; expected rows of {self.channels} features.")
        return pixels(image, size=self.size, channels=self.shape[-1])

    def image(self, path: str | Path) -> np.ndarray:
        """Reads a picture as `pixels`, uint8.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is not a whole picture, or the model reads rows of a table.
        """
        from zoo.common.picture_files import read_image

        if self.size is None:
            raise ValueError(f"{path}: got a picture; expected rows of {self.channels} features.")
        return self.pixels(read_image(path))
