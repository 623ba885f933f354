"""Pictures of what an agent acts in, drawn with Pillow from the environment's own state.

CartPole, MountainCar, Acrobot and Pendulum are drawn here. Others draw themselves where the user
has installed what they need, which is pygame for most of gymnasium's.
"""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi, sin
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from zoo.common.reading import one_line

if TYPE_CHECKING:
    from zoo.environments.world import World

WIDTH, HEIGHT = 300, 200  # pixels
PAPER, INK, WOOD, STEEL = (255, 255, 255), (40, 40, 40), (202, 152, 101), (90, 120, 180)

Draw = Callable[[Any], Image.Image]  # an environment to the picture of its state


def cart_pole(environment: Any) -> Image.Image:
    """Draws a cart on a rail with its pole; both edges are where the episode ends."""
    place, _, angle, _ = environment.unwrapped.state
    picture, pen = _paper()
    middle = WIDTH * (0.5 + place / (2 * 2.4))
    ground = 0.8 * HEIGHT
    pen.line((0, ground, WIDTH, ground), fill=INK)
    pen.rectangle((middle - 20, ground - 12, middle + 20, ground + 12), fill=INK)
    top = (middle + 100 * sin(angle), ground - 12 - 100 * cos(angle))
    pen.line((middle, ground - 12, *top), fill=WOOD, width=7)
    pen.ellipse((middle - 4, ground - 16, middle + 4, ground - 8), fill=STEEL)
    return picture


def mountain_car(environment: Any) -> Image.Image:
    """Draws a car in a valley, sin(3 x), with a flag at the goal."""
    place, _ = environment.unwrapped.state
    picture, pen = _paper()

    def spot(x: float) -> tuple[float, float]:
        return (x + 1.2) / 1.8 * WIDTH, HEIGHT * (0.55 - 0.35 * sin(3 * x))

    pen.line([spot(x) for x in np.linspace(-1.2, 0.6, 100)], fill=INK, width=2)
    x, y = spot(0.5)
    pen.line((x, y, x, y - 30), fill=INK, width=2)
    pen.polygon(((x, y - 30), (x + 14, y - 25), (x, y - 20)), fill=WOOD)
    x, y = spot(place)
    pen.ellipse((x - 8, y - 16, x + 8, y), fill=STEEL)
    return picture


def acrobot(environment: Any) -> Image.Image:
    """Draws two links that hang from a joint, and the line that the tip has to pass."""
    first, second = environment.unwrapped.state[:2]
    picture, pen = _paper()
    unit, x, y = HEIGHT / 4.4, WIDTH / 2, HEIGHT / 2
    pen.line((0, y - unit, WIDTH, y - unit), fill=INK)
    for angle, colour in ((first - pi / 2, STEEL), (first + second - pi / 2, WOOD)):
        end = x + unit * cos(angle), y - unit * sin(angle)
        pen.line((x, y, *end), fill=colour, width=7)
        pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=INK)
        x, y = end
    return picture


def pendulum(environment: Any) -> Image.Image:
    """Draws a rod that hangs from a joint, whose top is at the angle 0."""
    angle = environment.unwrapped.state[0]
    picture, pen = _paper()
    x, y, unit = WIDTH / 2, HEIGHT / 2, HEIGHT / 2.4
    end = x - unit * sin(angle), y - unit * cos(angle)
    pen.line((x, y, *end), fill=WOOD, width=9)
    pen.ellipse((x - 5, y - 5, x + 5, y + 5), fill=INK)
    return picture


DRAWN: dict[str, Draw] = {
    "Acrobot": acrobot, "CartPole": cart_pole, "MountainCar": mountain_car, "Pendulum": pendulum,
}  # fmt: skip


def drawer(world: World) -> tuple[Draw, dict[str, Any]]:
    """Returns what draws an environment, and the options that it must be made with.

    Raises:
        ModuleNotFoundError: It draws itself, by a package that is not installed.
        RuntimeError: It raised.
        ValueError: It cannot be drawn.
    """
    from gymnasium.error import DependencyNotInstalled

    name = world.name.split("/")[-1].split("-")[0]
    if name in DRAWN:
        return DRAWN[name], {}
    options = {"render_mode": "rgb_array"}
    environment = world.make()
    modes = environment.metadata.get("render_modes", ())
    if "rgb_array" not in modes:
        raise ValueError(f"{world.name}: cannot be drawn; play without --out.")
    try:
        environment = world.make(**options)
        environment.reset(seed=0)
        environment.render()
    except (ImportError, DependencyNotInstalled) as error:
        raise ModuleNotFoundError(
            f"{world.name}: is drawn by a package that is not installed"
            f" ({one_line(error)}). Install it, or play without --out."
        ) from None
    except Exception as error:
        raise RuntimeError(
            f"environment {world.name}: drawing it raised {type(error).__name__}: "
            f"{one_line(error)}. Play without --out."
        ) from error
    return lambda one: Image.fromarray(one.render()), options


def frames_per_second(world: World) -> float:
    """Returns how many steps of an environment are a second; 30 where it does not say."""
    return float(world.make().metadata.get("render_fps") or 30)


def _paper() -> tuple[Image.Image, ImageDraw.ImageDraw]:
    picture = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    return picture, ImageDraw.Draw(picture)
