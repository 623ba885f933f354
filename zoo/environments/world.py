"""Opens an environment of gymnasium by name, and says its facts as columns.

Source: Towers et al. 2024, arXiv:2407.17032 (gymnasium, MIT). An action is one of some choices, or
some numbers (`zoo.environments.actions`); an observation is a row of numbers, where a choice
becomes a 1 among zeros, or the last pictures (`zoo.environments.frames`).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from zoo.common.columns import Column
from zoo.common.reading import one_line
from zoo.recipe import Environment, Pixels

if TYPE_CHECKING:
    import numpy as np

LIMIT = 1000  # steps of an episode, where the environment says none
LARGEST = 10_000  # numbers in an observation
ACTIONS = {
    "Acrobot": ("torque -1", "no torque", "torque +1"),
    "CartPole": ("left", "right"),
    "CliffWalking": ("up", "right", "down", "left"),
    "FrozenLake": ("left", "down", "right", "up"),
    "FrozenLake8x8": ("left", "down", "right", "up"),
    "LunarLander": ("nothing", "left engine", "main engine", "right engine"),
    "MountainCar": ("left", "nothing", "right"),
    "Taxi": ("south", "north", "east", "west", "pick up", "drop off"),
}
"""Names of the actions, by the environment's name without its version; others are numbered."""
NEAR = 5  # names that an error line suggests
EXAMPLES = ("CartPole-v1", "Acrobot-v1", "Pendulum-v1", "FrozenLake-v1")
PACKAGES = {"ALE": "ale-py"}  # that bring the environments of a name space


class World:
    """An environment, as a run sees it: in the place of a data set.

    Args:
        settings: Its name, the number of copies, frames and episodes.

    Attributes:
        name: As gymnasium knows it, with the version.
        source: Where it comes from, one sentence.
        columns: `features`, what is observed, and `action`, with the names of the actions, or as
            many numbers.
        actions: What can be done, `Choices` or `Numbers` of `zoo.environments.actions`.
        problems: Nothing is left out of an environment.
        settings: As given.
        pixels: How pictures are seen; `None` where numbers are.
        threshold: The mean return at which gymnasium calls it solved; `None` where it says none.
        limit: Steps after which an episode is cut off.
        limited: Whether that is the environment's own.

    Raises:
        ModuleNotFoundError: gymnasium, or a package of this environment, is not installed.
        ValueError: The name is unknown, or it has actions or observations of another kind.
    """

    problems: tuple[str, ...] = ()
    digest = ""

    def __init__(self, settings: Environment):
        facts = find_environment(settings.name)
        self.settings, self.name = settings, str(facts.id)
        self.limited = bool(facts.max_episode_steps)
        self.limit = int(facts.max_episode_steps or LIMIT)
        self.threshold = None if facts.reward_threshold is None else float(facts.reward_threshold)
        self.source = f"gymnasium {_gymnasium().__version__}, {self.name}"
        from zoo.environments.frames import shows_pictures

        self.pixels: Pixels | None = None
        space = self.make().observation_space
        if shows_pictures(space):
            self.pixels = settings.pixels or Pixels()
        elif settings.pixels is not None:
            raise ValueError(
                f"environment.pixels: got {settings.pixels}; {self.name} is observed as {space}, "
                "no pictures. Leave it out."
            )
        environment = self.make()
        self._space = environment.observation_space
        box = _gymnasium().spaces.Box
        self._is_row = isinstance(self._space, box) and len(self._space.shape) == 1
        self.actions = self._actions(environment.action_space)
        names = ACTIONS.get(facts.name, ())
        if len(names) != self.actions.num:
            names = tuple(str(action) for action in range(self.actions.num))
        self.columns: Mapping[str, Column] = {
            "features": Column("features", (self._size(),))
            if self.pixels is None
            else Column("frames", tuple(self._space.shape)),
            "action": Column("features", self.actions.shape)
            if self.actions.shape
            else Column("class", (), names),
        }

    @property
    def input(self) -> str:
        """Name of the column that a model reads."""
        return next(iter(self.columns))

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the actions; none of numbers."""
        return self.columns["action"].names

    @property
    def num_actions(self) -> int:
        """Number of actions to choose from, or of numbers in one."""
        return self.actions.num

    def needs_choices(self, who: str) -> None:
        """Refuses actions that are numbers.

        Args:
            who: What cannot learn them.

        Raises:
            ValueError: They are.
        """
        if self.actions.shape:
            raise ValueError(
                f"{who}: takes one of some choices; {self.name} has numbers for "
                "actions. Take ppo, a2c or reinforce, or an environment of choices, e.g. "
                "CartPole-v1."
            )

    @property
    def train(self) -> Any:
        """Refuses to be read: an environment is acted in.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"{self.name}: has no examples at rest, which this asks for; expected a data set. It is"
            " an environment, which `zoo train`, `zoo evaluate` and `zoo play` act in."
        )

    validation = test = train

    def examples(self, split: str) -> int:
        """Returns the frames of an epoch of training, or the episodes of another split."""
        return self.settings.frames if split == "train" else self.settings.episodes

    def make(self, **options: Any) -> Any:
        """Returns a fresh environment of gymnasium.

        Args:
            **options: Options of `gymnasium.make`, e.g. `render_mode`.
        """
        gymnasium = _gymnasium()
        try:
            made = gymnasium.make(
                self.name, max_episode_steps=self.limit, disable_env_checker=True, **options
            )
            if self.pixels is None:
                return made
            from zoo.environments.frames import Frames

            return Frames(made, self.pixels)
        except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
            raise ModuleNotFoundError(
                f"environment.name: {self.name} needs a package that is not installed"
                f" ({one_line(error)})."
            ) from None
        except Exception as error:
            raise RuntimeError(
                f"environment {self.name}: making it raised {type(error).__name__}: "
                f"{one_line(error)}."
            ) from error

    def encode(self, observation: Any) -> np.ndarray:
        """Returns an observation as a row (features,), float32; or pictures as they are, uint8."""
        import numpy as np

        if self.pixels is not None:
            return np.asarray(observation)
        if self._is_row:
            return np.asarray(observation, np.float32)
        flatten = _gymnasium().spaces.flatten
        return np.asarray(flatten(self._space, observation), np.float32)

    def _actions(self, space: Any) -> Any:
        """Returns what can be done."""
        import numpy as np

        from zoo.environments.actions import Choices, Numbers

        spaces = _gymnasium().spaces
        if isinstance(space, spaces.Discrete):
            return Choices(space)
        is_row = isinstance(space, spaces.Box) and len(space.shape) == 1
        if is_row and np.isfinite([space.low, space.high]).all():
            return Numbers(space)
        raise ValueError(
            f"environment.name: {self.name} has the actions {space}; expected one of some choices "
            "(Discrete), e.g. CartPole-v1, or numbers with ends (Box), e.g. Pendulum-v1."
        )

    def _size(self) -> int:
        """Returns how many numbers are observed."""
        spaces = _gymnasium().spaces
        try:
            size = int(spaces.flatdim(self._space))
        except (NotImplementedError, ValueError):
            size = 0
        if not 1 <= size <= LARGEST:
            raise ValueError(
                f"environment.name: {self.name} is observed as {self._space}; expected a row of at "
                f"most {LARGEST:,} numbers, a choice, e.g. CartPole-v1, or pictures (height, width,"
                " 1 or 3) of uint8."
            )
        return size


def check_name(name: str) -> None:
    """Refuses a name that gymnasium does not know.

    Raises:
        ModuleNotFoundError: gymnasium is not installed.
        ValueError: The name is unknown; the line suggests one.
    """
    find_environment(name)


def find_environment(name: str) -> Any:
    """Returns gymnasium's `EnvSpec` of a name; see `check_name`.

    Of `my_package:Small-v0` the module is imported first, which registers it.
    """
    gymnasium = _gymnasium()
    module, _, own = name.rpartition(":")
    if module:
        _import(module, name)
    try:
        return gymnasium.spec(own)
    except (gymnasium.error.Error, ImportError):
        space = name.split("/")[0]
        if "/" in name and space in PACKAGES:
            raise ModuleNotFoundError(
                f"environment.name: {name} is of a package that is not installed; run `pip install "
                f"{PACKAGES[space]}` and write {PACKAGES[space].replace('-', '_')}:{name}."
            ) from None
        known = {key: _home(spec) for key, spec in gymnasium.registry.items()}
        near = get_close_matches(own, known, n=NEAR, cutoff=0.5) or list(EXAMPLES)
        expected = "an environment of gymnasium, or MODULE:NAME of one of your own"
        hint = f"Near: {', '.join(near)}."
        if module:
            brought = [key for key, home in known.items() if home == module.split(".")[0]]
            near = get_close_matches(own, brought, n=NEAR, cutoff=0.0)
            expected = f"an environment that importing {module!r} registers"
            hint = f"Its own: {', '.join(near) or 'none'}."
        raise ValueError(f"environment.name: got {name!r}; expected {expected}. {hint}") from None


def _home(spec: Any) -> str:
    """The package that an environment is of."""
    entry = spec.entry_point
    home = entry.split(":")[0] if isinstance(entry, str) else getattr(entry, "__module__", "")
    return str(home).split(".")[0]


def _import(module: str, name: str) -> None:
    """Imports what registers an environment; says so where that fails."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise ModuleNotFoundError(
                f"environment.name: {name}: importing {module!r} needs {error.name!r}, which is not"
                " installed."
            ) from None
        package = next((p for p in PACKAGES.values() if p.replace("-", "_") == module), "")
        how = f"run `pip install {package}`" if package else (
            "install it, name its folder in PYTHONPATH, or give --import FILE.py and the name alone"
        )  # fmt: skip
        raise ModuleNotFoundError(
            f"environment.name: {name}: there is no module {error.name!r}; {how}."
        ) from None
    except Exception as error:
        raise ValueError(
            f"environment.name: {name}: importing {module!r} raised {type(error).__name__}: "
            f"{one_line(error)}."
        ) from error


def _gymnasium() -> Any:
    try:
        import gymnasium
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "environment: gymnasium is not installed; run `pip install keras-model-zoo[rl]`."
        ) from None
    return gymnasium
