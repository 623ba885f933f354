"""Pictures that an environment shows, as an agent sees them: grey, small, the last few together.

Source: Mnih et al. 2015, Nature 518, methods (grey, 84 x 84, the last four together). Differs: no
frame is skipped, nor the larger of two taken: Atari's environments have an option for the first,
`frameskip`.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from PIL import Image

from zoo.recipe import Pixels


def shows_pictures(space: Any) -> bool:
    """Returns whether observations are pixels: (height, width) or with 1 or 3 channels, 0 to 255.

    Raises:
        ValueError: They are, of another shape, e.g. with the channels first.
    """
    if not isinstance(space, gymnasium.spaces.Box) or space.dtype != np.uint8:
        return False
    axes = len(space.shape)
    if axes < 2 or not ((space.low == 0).all() and (space.high == 255).all()):
        return False  # a board, say
    if axes == 2 or (axes == 3 and space.shape[2] in (1, 3)):
        return True
    raise ValueError(
        f"environment.name: shows pixels {space.shape}; expected pictures (height, width), or with "
        "1 or 3 channels behind. Wrap it so."
    )


class Frames(gymnasium.Wrapper):
    """An environment whose observations are its last pictures, (side, side, stack), uint8.

    The newest is last; when an episode begins, its first picture stands for those before.

    Args:
        environment: Its observations are pictures, see `shows_pictures`.
        pixels: How large, and how many.
    """

    def __init__(self, environment: Any, pixels: Pixels):
        super().__init__(environment)
        self._side, self._stack = pixels.side, pixels.stack
        shape = (self._side, self._side, self._stack)
        self.observation_space = gymnasium.spaces.Box(0, 255, shape, np.uint8)
        self._seen: np.ndarray = np.zeros(shape, np.uint8)

    def reset(self, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Begins an episode."""
        observation, facts = self.env.reset(**options)
        self._seen = np.repeat(self._small(observation)[..., None], self._stack, axis=2)
        return self._seen, facts

    def step(self, action: Any) -> tuple[np.ndarray, Any, Any, Any, dict[str, Any]]:
        """Takes an action."""
        observation, reward, ended, cut, facts = self.env.step(action)
        fresh = self._small(observation)[..., None]
        self._seen = np.concatenate([self._seen[..., 1:], fresh], axis=2)
        return self._seen, reward, ended, cut, facts

    def _small(self, picture: np.ndarray) -> np.ndarray:
        """A picture in grey, (side, side)."""
        plain = picture[..., 0] if picture.ndim == 3 and picture.shape[2] == 1 else picture
        grey = Image.fromarray(plain).convert("L")
        if grey.size != (self._side, self._side):
            grey = grey.resize((self._side, self._side), Image.Resampling.BILINEAR)
        return np.asarray(grey)
