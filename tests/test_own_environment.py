"""Environments of one's own: found by module or file, and told in a line where they fail."""

import json
import sys
import textwrap

import numpy as np
import pytest

from zoo.bundle import Bundle
from zoo.environments.copies import BrokenEnvironmentError, Copies
from zoo.environments.drawing import drawer
from zoo.environments.world import World, find_environment
from zoo.recipe import Environment

CODE = textwrap.dedent(
    """
    import gymnasium
    import numpy as np
    from gymnasium import spaces

    class Good(gymnasium.Env):
        observation_space = spaces.Box(-1, 1, (3,), np.float32)
        action_space = spaces.Discrete(2, start=1)
        taken = 0

        def see(self):
            return self.np_random.uniform(-1, 1, 3).astype("float32")

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.time = 0
            return self.see(), {}

        def step(self, action):
            assert self.action_space.contains(action)
            self.time += 1
            Good.taken += 1
            return self.see(), 1.0, False, self.time >= 20, {}

    class Changed(Good):
        def step(self, action):
            return self.change(*super().step(action))

    class Raises(Changed):
        def change(self, *found):
            if self.time == 8:
                raise RuntimeError("the motor is jammed")
            return found

    class Late(Changed):
        def change(self, *found):
            if Good.taken > 2500:
                raise RuntimeError("the motor is jammed")
            return found

    class NanReward(Changed):
        def change(self, seen, reward, *rest):
            return seen, float("nan"), *rest

    class NoReward(Changed):
        def change(self, seen, reward, *rest):
            return seen, None, *rest

    class NanSeen(Changed):
        def change(self, seen, *rest):
            return seen * np.array([1, np.nan, 1], "float32"), *rest

    class Longer(Changed):
        def change(self, seen, *rest):
            return np.append(seen, 1), *rest

    class Four(Changed):
        def change(self, *found):
            return found[:4]

    class OldReset(Good):
        def reset(self):
            return super().reset()

    class Alone(Good):
        def reset(self, **options):
            return super().reset(**options)[0]

    class Words(Changed):
        observation_space = spaces.Discrete(4)

        def reset(self, **options):
            super().reset(**options)
            return 3, {}

        def change(self, seen, *rest):
            return "left", *rest

    class Numbers(Good):
        action_space = spaces.Box(np.array([0, -5], "float32"), np.array([4, 5], "float32"))

        def step(self, action):
            assert self.action_space.contains(action)
            self.time += 1
            return self.see(), -float(np.square(action).sum()), False, self.time >= 20, {}

    class Undrawn(Good):
        metadata = {"render_modes": ["rgb_array"]}

        def __init__(self, render_mode=None):
            self.render_mode = render_mode

        def render(self):
            raise OSError("no screen")

    class Unmade(Good):
        def __init__(self, **settings):
            raise OSError("no such port")

    for kind in (Good, Raises, Late, NanReward, NoReward, NanSeen, Longer, Four, OldReset, Alone,
                 Words, Numbers, Undrawn, Unmade):
        gymnasium.register(f"Own{kind.__name__}-v0", entry_point=kind)
    """
)


@pytest.fixture(scope="module", autouse=True)
def module(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "zoo_own_worlds.py").write_text(CODE)
    (folder / "zoo_own_broken.py").write_text("1 / 0")
    (folder / "zoo_own_lacking.py").write_text("import zoo_no_such_package")
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


def world(name):
    return World(Environment(name=f"zoo_own_worlds:Own{name}-v0"))


@pytest.mark.parametrize(
    ("name", "kind", "line"),
    [
        (
            "zoo_nowhere:A-v0",
            ModuleNotFoundError,
            r"there is no module 'zoo_nowhere'; .*PYTHONPATH",
        ),
        ("zoo_own_broken:A-v0", ValueError, "importing 'zoo_own_broken' raised ZeroDivisionError"),
        ("zoo_own_lacking:A-v0", ModuleNotFoundError, "needs 'zoo_no_such_package', which is not"),
        ("ale_py:ALE/Pong-v5", ModuleNotFoundError, "no module 'ale_py'; run `pip install ale-py`"),
        ("zoo_own_worlds:OwnGod-v0", ValueError, r"registers. Its own: OwnGood-v0, Own"),
        ("json:A-v0", ValueError, "importing 'json' registers. Its own: none."),
        ("CartPol-v1", ValueError, r"one of your own. Near: CartPole-v1"),
        ("qqqqqq", ValueError, "Near: CartPole-v1, Acrobot-v1, Pendulum-v1, FrozenLake-v1."),
    ],
)
def test_a_name_that_is_not_there_says_what_failed(name, kind, line):
    with pytest.raises(kind, match=line) as error:
        find_environment(name)
    assert "\n" not in str(error.value) and len(str(error.value)) < 260


def test_one_s_own_is_found_by_its_module():
    assert world("Good").name == "OwnGood-v0" == find_environment("OwnGood-v0").id


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Raises", "step 8 of the episode with seed [0-9]+: raised RuntimeError: the motor"),
        ("NanReward", r"step 1 of .*: gave the reward nan; expected a finite number"),
        ("NoReward", r"step 1 of .*: gave the reward None; expected a finite number"),
        ("NanSeen", r"step 1 of .*: observes nan at 1; expected finite numbers"),
        ("Longer", r"step 1 of .*: observes \(4,\); its observation_space says Box"),
        (
            "Four",
            r"step 1 of .*: raised ValueError: not enough values to unpack .expected 5, got 4",
        ),
        ("OldReset", r"step 0 of .*: raised TypeError: .*unexpected keyword argument 'seed'"),
        ("Alone", r"step 0 of .*: gave array.*; expected \(observation, facts\)"),
        (
            "Words",
            r"step 1 of .*: observes 'left' \(.*\); its observation_space says Discrete\(4\)",
        ),
    ],
)
def test_what_it_gave_is_told_in_a_line(name, line):
    def play(own):
        copies = Copies(own, 1, seed=0)
        for _ in range(9):
            copies.act(np.zeros(1, int))

    with pytest.raises(BrokenEnvironmentError, match=f"^environment Own{name}-v0, {line}") as error:
        play(world(name))
    assert "\n" not in str(error.value)


def test_one_that_cannot_be_made_is_told():
    with pytest.raises(RuntimeError, match=r"^environment OwnUnmade-v0: making it raised OSError"):
        world("Unmade")


def test_one_that_cannot_be_drawn_is_told():
    with pytest.raises(RuntimeError, match=r"OwnUndrawn-v0: drawing it raised OSError: no screen"):
        drawer(world("Undrawn"))


SMALL = ("--set", "environment.frames=512", "--set", "environment.copies=4")
SMALL = (*SMALL, "--set", "environment.episodes=2", "--set", "train.epochs=6")


def test_what_was_learnt_before_it_failed_is_kept(zoo, module, tmp_path):
    """The fifth epoch fails, in the first minute; a mended environment goes on."""
    out, data = tmp_path / "run", "gym:zoo_own_worlds:OwnLate-v0"
    sys.modules["zoo_own_worlds"].Good.taken = 0
    told = zoo("train", "ppo", "--data", data, *SMALL, "--out", out, expect=1)
    assert "environment OwnLate-v0, step" in told and "the motor is jammed" in told
    assert "--resume goes on from it" in told and "Traceback" not in told
    assert "says no limit: an episode is cut off after 1000 steps" in told
    sys.modules["zoo_own_worlds"].Good.taken = -(10**9)
    zoo("train", "ppo", "--data", data, *SMALL, "--out", out, "--resume")
    history = (out / "history.csv").read_text().splitlines()
    assert len(history) == 7
    card = Bundle(out).card
    assert card.actions == {"start": 1}


def test_the_exported_file_says_how_to_act(zoo, module, tmp_path):
    """A loop by manifest and file alone earns what the bundle does."""
    out = tmp_path / "run"
    zoo("train", "ppo", "--import", module / "zoo_own_worlds.py", "--data", "gym:OwnNumbers-v0",
        *SMALL, "--set", "train.epochs=1", "--out", out)  # fmt: skip
    card = Bundle(out).card
    assert card.actions == {"low": [0.0, -5.0], "high": [4.0, 5.0]}
    assert card.outputs["logits"].shape == (4,)
    zoo("export", out, "tflite", "--out", tmp_path / "file")
    (path,) = tmp_path.joinpath("file").rglob("manifest.json")
    manifest = json.loads(path.read_text())
    assert manifest["parity"]["passed"] and manifest["parity"]["top1_agreement"] is None
    said = manifest["meanings"]["logits"]
    assert "low + (clip(mean, -1, 1) + 1) / 2 * (high - low), with low [0.0, -5.0]" in said
