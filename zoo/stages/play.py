"""Lets a trained agent act: whole episodes, the best action in each step, and a film of the first.

returns = play("runs/a2c", episodes=10, film="a2c.gif").returns
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.bundle import Bundle, find_bundle
from zoo.common import staging
from zoo.common.films import save_gif
from zoo.environments.drawing import drawer, frames_per_second
from zoo.environments.world import World

if TYPE_CHECKING:
    from PIL import Image

    from zoo.environments.copies import Copy

PICTURES = 300  # in a film, at most


@dataclass(frozen=True)
class Played:
    """What came of some episodes.

    Attributes:
        environment: Its name.
        returns: Sum of the rewards of each episode.
        lengths: Steps of each episode.
        threshold: Mean return at which gymnasium calls the environment solved; `None` where it
            says none.
    """

    environment: str
    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    threshold: float | None


def play(
    bundle: Bundle | str | Path,
    *,
    episodes: int = 10,
    seed: int = 0,
    film: str | Path | None = None,
    force: bool = False,
) -> Played:
    """Plays episodes with the model of a bundle.

    Args:
        bundle: One of an agent.
        episodes: Number of episodes.
        seed: Seed of the episodes, at least 0; the same seed gives the same episodes.
        film: GIF to write of the first episode; at most 300 steps, evenly spread, are drawn.
        force: Whether `film` may replace a file.

    Raises:
        FileExistsError: `film` exists.
        ValueError: The bundle is of no agent, a number is out of range, or the film is no GIF.
        ModuleNotFoundError: A package of the environment is not installed.
    """
    if episodes < 1 or seed < 0:
        raise ValueError(
            f"play: got {episodes} episodes and seed {seed}; expected at least 1, and 0."
        )
    if film is not None and Path(film).suffix.lower() != ".gif":
        raise ValueError(f"{film}: got a film of this kind; expected NAME.gif.")
    bundle = find_bundle(bundle)
    settings = bundle.recipe.environment
    if settings is None:
        raise ValueError(
            f"{bundle.path}: learnt from the data set {bundle.card.data}; expected an agent, which "
            "acts in an environment, e.g. what `zoo train a2c` writes."
        )
    if film is not None:
        staging.check_file(film, force=force)
    world = World(settings)
    draw, options = (None, {}) if film is None else drawer(world)
    from zoo.environments.acting import asked
    from zoo.environments.copies import PLAY
    from zoo.environments.episodes import play as act
    from zoo.models.saved import load_model

    ask = asked(load_model(bundle.path))
    pictures: list[Image.Image] = []

    def watch(number: int, copy: Copy) -> None:
        if draw is not None and number == 0:
            pictures.append(draw(copy.environment))

    seeds = (seed, PLAY)  # none that a run was trained or measured on
    played = act(world, ask, episodes=episodes, seeds=seeds, watch=watch, **options)
    if film is not None:
        _save(pictures, world, Path(film))
    return Played(
        world.name,
        tuple(one.total for one in played),
        tuple(one.length for one in played),
        world.threshold,
    )


def _save(pictures: list[Image.Image], world: World, path: Path) -> None:
    """Writes the film at the environment's own speed."""
    every = -(-len(pictures) // PICTURES)
    with staging.staged_file(path) as partial:
        save_gif(pictures[::every], partial, seconds=every / frames_per_second(world))
