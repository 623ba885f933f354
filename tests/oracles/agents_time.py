"""Steps per second beside Stable-Baselines3: `python tests/oracles/agents_time.py`.

CartPole-v1 on the CPU; equal networks, copies, batches, passes, rates and optimizers, each in a
process of its own, ours and theirs in turns, so that other work on the machine slows both. Torch
has one thread, which is faster for networks as small as these. Frames are those acted and learnt
from; nothing is evaluated. Needs stable-baselines3 and torch.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

FRAMES = {"a2c": 20_480, "ppo": 10_240, "dqn": 4096}  # of a lap
LAPS, TURNS = 3, 3  # the first lap of a process only warms up


def ours(kind):
    """Yields the seconds of laps."""
    from zoo.recipe import resolve
    from zoo.training import strategy
    from zoo.training.run import Run
    from zoo.training.trainer import Trainer

    changes = [f"environment.frames={FRAMES[kind]}", f"train.epochs={LAPS}", "train.keep=last"]
    recipe = resolve(kind, changes=[*changes, *(["task.double=false"] if kind == "dqn" else [])])
    networks = Run(recipe).create()
    machine = strategy.choose_machine(recipe.hardware)
    from zoo.environments.world import World

    source = recipe.task.experience(World(recipe.environment), recipe.train, seed=0)
    found = Trainer(networks, recipe.task, recipe.train, machine).fit(source, None)
    return [row["seconds"] for row in found.rows]


def theirs(kind):
    """Yields the seconds of laps."""
    import stable_baselines3 as sb3
    import torch
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    copies = {"a2c": 16, "ppo": 8, "dqn": 8}[kind]
    worlds = make_vec_env("CartPole-v1", n_envs=copies, seed=0)
    both = {"pi": [64, 64], "vf": [64, 64]}
    adam = {"net_arch": both, "optimizer_class": torch.optim.Adam}
    if kind == "a2c":
        model = sb3.A2C(
            "MlpPolicy", worlds, n_steps=32, learning_rate=3e-3, gae_lambda=0.95, gamma=0.99,
            ent_coef=0.01, max_grad_norm=0.5, normalize_advantage=True, policy_kwargs=adam,
            device="cpu",
        )  # fmt: skip
    elif kind == "ppo":
        model = sb3.PPO(
            "MlpPolicy", worlds, n_steps=32, batch_size=256, n_epochs=20, learning_rate=1e-3,
            gae_lambda=0.8, gamma=0.98, ent_coef=0.0, policy_kwargs=adam, device="cpu",
        )  # fmt: skip
    else:
        model = sb3.DQN(
            "MlpPolicy", worlds, learning_rate=1e-3, buffer_size=50_000, learning_starts=1000,
            batch_size=128, tau=0.01, target_update_interval=1, train_freq=1, gradient_steps=4,
            exploration_fraction=0.1, policy_kwargs={"net_arch": [256, 256]}, device="cpu",
        )  # fmt: skip
        model.learn(1000)
    seconds = []
    for _ in range(LAPS):
        start = time.perf_counter()
        model.learn(FRAMES[kind], reset_num_timesteps=False)
        seconds.append(time.perf_counter() - start)
    return seconds


def main():
    rates = {}
    for _ in range(TURNS):
        for kind in FRAMES:
            for who in (ours, theirs):
                command = [sys.executable, __file__, who.__name__, kind]
                told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                for lap in json.loads(told.splitlines()[-1])[1:]:
                    rates.setdefault((kind, who.__name__), []).append(FRAMES[kind] / lap)
    for kind in FRAMES:
        one, other = (statistics.median(rates[kind, who]) for who in ("ours", "theirs"))
        sys.stdout.write(
            f"{kind}: ours {one:,.0f}, theirs {other:,.0f} a second, {one / other:.2f}\n"
        )


if __name__ == "__main__":
    if len(sys.argv) == 3:
        sys.stdout.write(json.dumps(globals()[sys.argv[1]](sys.argv[2])) + "\n")
    else:
        main()
