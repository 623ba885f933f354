"""Agents: actor-critic and Q-learning against what is known exactly, through the whole engine."""

import json
import shutil
import urllib.request
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import compress
import serving
import zoo as zoo_package
from tests import toy
from tests.agents import LENGTH, cart_pole, corridor, dense, difference, settings, train, walk
from zoo.bundle import Bundle
from zoo.common.columns import Column
from zoo.environments import episodes
from zoo.environments.acting import asked
from zoo.environments.copies import EPISODE
from zoo.environments.episodes import Episodes
from zoo.environments.world import World
from zoo.models.build import create
from zoo.models.saved import load_model, load_networks
from zoo.recipe import Environment, Recipe, resolve
from zoo.stages.files import evaluate_file
from zoo.stages.opening import Opened
from zoo.stages.play import play
from zoo.tasks.agents.a2c import A2C
from zoo.tasks.agents.dqn import DQN, Explore
from zoo.tasks.agents.ppo import PPO
from zoo.tasks.agents.reinforce import Reinforce
from zoo.training import steps
from zoo.training.fitting import fit
from zoo.training.run import Run

QUICK = {"warmup": 32, "frames_per_step": 4, "memory": 200, "target_every": 7}


@pytest.fixture(scope="module")
def agent(tmp_path_factory):
    """An actor-critic that has learnt to hold the pole for a while, in seconds."""
    out = tmp_path_factory.mktemp("runs") / "a2c"
    changes = ["environment.episodes=20", "train.epochs=3"]
    return fit("a2c", out=out, changes=changes)


@pytest.fixture(scope="module")
def samples(agent):
    run = Run(agent.recipe, networks=load_networks(agent.path))
    return run.samples(128)


def test_the_agent_learns_and_keeps_its_best_weights(agent):
    rows = [line.split(",") for line in (agent.path / "history.csv").read_text().splitlines()]
    returns = [float(row[rows[0].index("val_return")]) for row in rows[1:]]
    assert max(returns) > 80  # chance holds the pole for 22 steps
    assert agent.report.validation["return"] == pytest.approx(max(returns), rel=1e-6)
    metrics = agent.report.metrics
    assert metrics["return_min"] <= metrics["return"] <= metrics["return_max"] <= 500
    assert metrics["threshold"] == 475 and metrics["length"] == metrics["return"]
    assert len(agent.report.tables["episodes"]) == 20
    assert agent.report.examples == {"train": 5120, "validation": 20, "test": 20}
    assert "gymnasium" in agent.report.versions


def test_the_bundle_explains_itself(agent):
    card = agent.card
    assert card.task == "a2c" and card.data == "CartPole-v1" and card.preprocessing == {}
    assert card.labels == ("left", "right") and card.input_shape == (4,)
    assert card.networks == ("policy", "value") and card.parameters == 9155
    assert Recipe.read(agent.path / "recipe.yaml").environment.name == "CartPole-v1"
    assert "data:" not in (agent.path / "recipe.yaml").read_text()
    for name in ("curves.png", "returns.png"):
        assert (agent.path / name).read_bytes().startswith(b"\x89PNG")
    with np.load(agent.path / "samples.npz") as kept:
        features = kept["train/features"]
        assert features.shape == (64, 4) and kept["test/action"].shape == (32,)
        model = load_model(agent.path)
        best = np.asarray(model(features)).argmax(axis=1)
        np.testing.assert_array_equal(best, kept["train/action"])
    networks = load_networks(agent.path)
    np.testing.assert_array_equal(networks["policy"](features), model(features))


def test_a_bundle_is_measured_again(agent):
    run = Run(agent.recipe)
    alone = run.evaluate(load_model(agent.path), "test")
    assert alone.metrics == agent.report.metrics
    model = load_model(agent.path)
    file = run.evaluate(model, "test", answer=lambda columns: model(columns["features"]))
    assert file.metrics == pytest.approx(alone.metrics)
    falls = run.evaluate(
        model, "test", answer=lambda c: np.tile([1.0, 0.0], (len(c["features"]), 1))
    )
    assert falls.metrics["return"] < 12


@pytest.mark.parametrize("plan", ["prune50", "int8"])
def test_the_policy_is_compressed(agent, samples, plan):
    run = Run(agent.recipe, networks=load_networks(agent.path))
    policy = load_model(agent.path)
    slopes = next(run.gradients(policy))
    assert [s.shape for s in slopes] == [v.shape for v in policy.trainable_variables]
    assert all(np.abs(slope).max() > 0 for slope in slopes)
    model = compress.apply(plan, policy, samples=samples).model
    agreed = np.mean(np.argmax(model(samples), 1) == np.argmax(policy(samples), 1))
    assert agreed > (0.9 if plan == "int8" else 0.3)
    assert set(run.evaluate(model, "validation").metrics) == set(agent.report.metrics)
    history = run.train(model, settings=agent.recipe.train.further(1))
    assert history.epochs == 1 and "val_return" in history.rows[0]


@pytest.fixture(scope="module")
def integers(agent):
    """The agent in integers: kernels of 8 bits, 16 between them."""
    changes = ["passes.0.activation_bits=16"]
    return zoo_package.compress(
        agent.path, "int8", out=agent.path.with_name("int8"), changes=changes
    )


def test_integers_keep_the_best_action_on_what_is_visited(agent, integers, zoo, tmp_path):
    """By the command of the docs: of the bundle, and of the files that are made of it."""
    told = zoo("evaluate", agent.path, "--file", integers.path)
    assert float(told.split("the same top-1 on ")[1].split("%")[0]) >= 99.0
    assert "worst episodes" in told and len(told.splitlines()) < 25
    (file,) = zoo_package.export(integers, "tflite-int8", out=tmp_path)
    measured = zoo_package.evaluate(agent, file=file.path)
    assert measured.same_top1 >= 0.99 and measured.evaluation.metrics["return"] > 80
    other = Opened(agent, SimpleNamespace(task=A2C()), dense(corridor(), 2), True)
    with pytest.raises(ValueError, match=r"has the inputs \(4,\); expected \(5,\)"):
        evaluate_file(integers.path, other, "test")


@pytest.mark.slow
def test_integers_run_on_microcontrollers(agent, integers, tmp_path):
    """Where 16 bits flow between the kernels the ends have 16 too."""
    (file,) = zoo_package.export(integers, "tflm", out=tmp_path)
    assert file.manifest.signature.inputs[0].dtype == "int16"
    assert zoo_package.evaluate(agent, file=file.path).same_top1 >= 0.99


def test_the_policy_is_exported_and_served(agent, samples, tmp_path):
    files = zoo_package.export(agent, "tflite", "onnx", "tflite-int8", out=tmp_path)
    assert all(one.manifest.parity for one in files)
    assert "the largest is taken" in files[0].manifest.meanings["logits"]
    wanted = np.asarray(load_model(agent.path)(samples[:5]))
    for one in files[:2]:
        with serving.Server(one.path, port=0) as server:
            body = json.dumps({"instances": samples[:5].tolist()}).encode()
            got = json.load(urllib.request.urlopen(f"{server.url}:predict", body))
        np.testing.assert_allclose(got["predictions"], wanted, atol=1e-5)


def networks_of(task, world, *, seed=0):
    num = world.num_actions
    if task.kind != "dqn":
        return {
            "policy": dense(world, num, hidden=(8,), seed=seed),
            "value": dense(world, 1, hidden=(8,), seed=seed + 1),
        }
    net = dense(world, num, hidden=(8,), seed=seed)
    target = keras.models.clone_model(net)
    target.set_weights(net.get_weights())
    return {"net": net, "target": target}


@pytest.mark.parametrize(
    ("task", "stop_at", "keep"),
    [
        (A2C(), 11, "best"),
        (DQN(**QUICK), 139, "last"),
        (PPO(parts=2, passes=3), 27, "last"),
        (Reinforce(), 1, "best"),
    ],
    ids=["a2c", "dqn", "ppo", "reinforce"],
)
def test_resumed_run_equals_a_whole_one(task, stop_at, keep, tmp_path):
    """A stop in the middle of an epoch, of episodes, and of the memory's ring."""
    world, chosen = cart_pole(frames=512), settings(epochs=2, kind="adam", keep=keep)
    validation = Episodes(world, "validation", actor=task.actor)
    snapshot, options = tmp_path / "snapshot.npz", {"validation": validation}
    whole = networks_of(task, world)
    reference = train(whole, task, world, chosen, **options)
    stopped = networks_of(task, world)
    first = train(
        stopped,
        task,
        world,
        chosen,
        callbacks=[toy.interrupt(stop_at)],
        snapshot=snapshot,
        **options,
    )
    assert first.interrupted and difference(whole, stopped) > 0
    resumed = networks_of(task, world, seed=7)  # nothing of the new networks may survive
    second = train(resumed, task, world, chosen, snapshot=snapshot, resume=True, **options)
    assert difference(whole, resumed) == 0.0
    for one, other in zip(reference.rows, second.rows, strict=True):
        assert {k: v for k, v in one.items() if k != "seconds"} == {
            k: v for k, v in other.items() if k != "seconds"
        }


def test_the_target_network_follows():
    world = corridor()
    task = DQN(**QUICK | {"target_every": 10_000})
    networks = networks_of(task, world)
    before = [value.copy() for value in networks["target"].get_weights()]
    train(networks, task, world, settings(epochs=1))
    for now, then in zip(networks["target"].get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    train(networks, DQN(**QUICK | {"target_every": 64}), world, settings(epochs=1))  # 64 steps
    assert difference({"net": networks["net"]}, {"net": networks["target"]}) == 0.0
    assert Run(resolve("dqn")).create().keys() == {"net", "target"}


@pytest.mark.oracle
def test_the_gradient_of_a_bandit_is_the_analytic_one():
    """With all actions in the batch, each as often as it is taken, it is the exact expectation.

    d/dz_k of -sum_a p_a r_a is -p_k (r_k - mean r); of the entropy, -p_k (log p_k + entropy).
    """
    logits, rewards, weight = np.array([0.3, -0.2, 0.8, 0.0]), np.array([1.0, 2.0, -1.0, 0.5]), 0.1
    features = keras.Input((1,), name="features")
    head = keras.layers.Dense(4, kernel_initializer="zeros")
    policy = keras.Model(features, head(features))
    head.bias.assign(logits)
    shares = np.exp(logits) / np.exp(logits).sum()
    batch = {
        "features": tf.zeros((4, 1)), "action": tf.range(4),
        "weight": tf.constant(shares, "float32"), "advantage": tf.constant(rewards, "float32"),
        "return": tf.zeros(4), "finished": tf.zeros(4),
    }  # fmt: skip
    task = A2C(entropy=weight)
    _, (slope,), seen = steps.gradient(
        task, task.objectives()[0], {"policy": policy}, batch, variables=[head.bias]
    )
    entropy = -(shares * np.log(shares)).sum()
    wanted = -shares * (rewards - (shares * rewards).sum())
    wanted += weight * shares * (np.log(shares) + entropy)
    np.testing.assert_allclose(slope, wanted, atol=1e-6)
    np.testing.assert_allclose(seen.measures["entropy"].values, entropy, rtol=1e-5)


@pytest.mark.oracle
def test_the_clipped_ratio_is_its_equation():
    """Equation 7, example by example; before the first step the gradient is A2C's."""
    world, random = corridor(), np.random.RandomState(4)
    networks, num = {"policy": dense(world, 2, seed=1)}, 60
    features = random.normal(size=(num, LENGTH)).astype("float32")
    actions = random.randint(2, size=num).astype("int32")
    logits = np.asarray(networks["policy"](features), "float64")
    logs = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))[np.arange(num), actions]
    then = logs + random.uniform(-0.5, 0.5, num)
    gains = random.normal(size=num)
    batch = {
        "features": features, "action": actions, "likelihood": then.astype("float32"),
        "advantage": gains.astype("float32"), "return": np.zeros(num), "finished": np.zeros(num),
        "weight": np.ones(num, "float32"),
    }  # fmt: skip
    task = PPO(clip=0.2)
    seen = task.look("policy", networks, batch, training=False)
    ratio = np.exp(logs - then)
    wanted = -np.minimum(ratio * gains, ratio.clip(0.8, 1.2) * gains)
    np.testing.assert_allclose(seen.loss.values, wanted, atol=1e-5)
    assert np.mean(seen.measures["clipped"].values) == pytest.approx(np.mean(abs(ratio - 1) > 0.2))
    batch["likelihood"] = logs.astype("float32")
    slopes = [
        steps.gradient(
            one, one.objectives()[0], networks, {k: tf.constant(v) for k, v in batch.items()},
            variables=networks["policy"].trainable_variables,
        )[1]
        for one in (PPO(), A2C(entropy=0.0))
    ]  # fmt: skip
    for one, other in zip(*slopes, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def slope_of(task, world, networks, *, seed, episodes=128):
    """The gradient of a policy by the episodes of one batch, a row of numbers."""
    batch = task.experience(world, settings(batch_size=episodes), seed=seed).collect(networks, 0)
    batch = {name: tf.constant(values) for name, values in batch.items()}
    found = steps.gradient(
        task, task.objectives()[0], networks, batch,
        variables=networks["policy"].trainable_variables,
    )[1]  # fmt: skip
    return np.concatenate([np.ravel(one) for one in found])


@pytest.mark.oracle
def test_reinforce_is_the_gradient_of_the_return_and_baselines_take_variance_from_it():
    """Differences of the corridor's exact return. (With a discount, algorithms leave out the share
    discount^t of an action that stands at t: it is not the gradient of the discounted return.)
    """
    world = corridor()
    networks = {"policy": dense(world, 2, bias=False), "value": dense(world, 1, bias=False)}

    def worth(kernel, last=0.0):  # of each place, exactly; what is left at the limit counts `last`
        shares = np.exp(kernel) / np.exp(kernel).sum(axis=1, keepdims=True)
        values = np.zeros(LENGTH) + last
        for _ in range(world.limit):
            fresh = np.zeros(LENGTH)
            for place in range(LENGTH - 1):
                for action in range(2):
                    after, reward, ended = walk(place, action)
                    later = 0.0 if ended else values[after]
                    fresh[place] += shares[place, action] * (reward + later)
            values = fresh
        return values

    def slope(last):
        found, step = np.zeros_like(kernel), 1e-5
        for place in np.ndindex(kernel.shape):
            moved = np.zeros_like(kernel)
            moved[place] = step
            rise = worth(kernel + moved, last) - worth(kernel - moved, last)
            found[place] = rise[: LENGTH - 1].mean() / (2 * step)  # where episodes begin
        return found.ravel()

    kernel = networks["policy"].get_weights()[0].astype("float64")
    critic = worth(kernel)
    networks["value"].set_weights([critic[:, None]])
    spread = {}
    kinds = {"to go": (True, "none"), "all": (False, "none"), "mean": (True, "mean"),
             "value": (True, "value")}  # fmt: skip
    for name, (to_go, baseline) in kinds.items():
        task = Reinforce(to_go=to_go, baseline=baseline, discount=1.0)
        found = np.array([slope_of(task, world, networks, seed=seed) for seed in range(16)])
        spread[name] = found.var(axis=0).sum()
        error = found.std(axis=0) / np.sqrt(len(found))
        wanted = slope(critic if baseline == "value" else 0.0)
        assert (np.abs(-found.mean(axis=0) - wanted) < 4 * error + 1e-6).all(), name
    assert spread["value"] < spread["to go"] and spread["mean"] < spread["to go"]
    pole = cart_pole()  # where there is a reward in every step, not at the end alone
    networks = {name: dense(pole, size) for name, size in (("policy", 2), ("value", 1))}
    spread = {
        to_go: np.var(
            [
                slope_of(Reinforce(to_go=to_go, baseline="none"), pole, networks, seed=seed,
                         episodes=8)
                for seed in range(16)
            ],
            axis=0,
        ).sum()
        for to_go in (True, False)
    }  # fmt: skip
    assert spread[True] < 0.7 * spread[False]


@pytest.mark.oracle
@pytest.mark.parametrize("double", [False, True])
def test_the_error_of_q_learning_is_its_definition(double):
    world, random = corridor(), np.random.RandomState(3)
    networks = {"net": dense(world, 2, seed=1), "target": dense(world, 2, seed=2)}
    num, discount = 40, 0.9
    batch = {
        "features": random.normal(size=(num, LENGTH)),
        "successor": random.normal(size=(num, LENGTH)),
        "action": random.randint(2, size=num), "reward": random.normal(size=num) * 3,
        "later": discount * random.randint(2, size=num).astype(float),
        "importance": random.uniform(0.5, 1, size=num),
        "return": np.zeros(num), "finished": np.zeros(num),
    }  # fmt: skip
    batch = {k: v.astype("int32" if k == "action" else "float32") for k, v in batch.items()}
    task = DQN(double=double, discount=discount)
    found = np.asarray(task.look("loss", networks, batch, training=False).loss.values)
    q, later, own = (
        np.asarray(networks[name](batch[column]))
        for name, column in (("net", "features"), ("target", "successor"), ("net", "successor"))
    )
    for i in range(num):
        best = later[i].argmax() if not double else own[i].argmax()
        wanted = batch["reward"][i] + batch["later"][i] * later[i, best]
        error = abs(q[i, batch["action"][i]] - wanted)
        loss = 0.5 * error**2 if error < 1 else error - 0.5
        assert found[i] == pytest.approx(loss * batch["importance"][i], rel=1e-4, abs=1e-6)
    asks = {name: asked(net) for name, net in networks.items()}
    error = np.abs(task._surprise(asks, batch))  # by which examples are drawn
    huber = np.where(error < 1, 0.5 * error**2, error - 0.5) * batch["importance"]
    np.testing.assert_allclose(huber, found, rtol=1e-4, atol=1e-6)


def test_what_corrects_for_priorities_rises_to_one():
    task = DQN(correction=0.4, explore=Explore(frames=200))
    assert [task._corrects(frame) for frame in (0, 100, 200, 900)] == pytest.approx(
        [0.4, 0.7, 1, 1]
    )


@pytest.mark.oracle
@pytest.mark.parametrize(
    "options", [{"double": False}, {"double": True}, {"priority": 0.6}],
    ids=["plain", "double", "priority"],
)  # fmt: skip
def test_q_learning_of_the_corridor_reaches_value_iteration(options):
    discount = 0.8
    values = np.zeros((LENGTH, 2))
    for _ in range(200):
        for place in range(LENGTH - 1):
            for action in range(2):
                after, reward, ended = walk(place, action)
                values[place, action] = reward + discount * (1 - ended) * values[after].max()
    world = corridor(frames=2000)
    task = DQN(
        **options, discount=discount, memory=2000, warmup=400, frames_per_step=4,
        target_every=20, explore=Explore(first=1.0, last=0.5, frames=500),
    )  # fmt: skip
    networks = {"net": dense(world, 2, bias=False), "target": dense(world, 2, bias=False)}
    networks["target"].set_weights(networks["net"].get_weights())
    chosen = settings(epochs=2, kind="adam", learning_rate=0.03, schedule="cosine")
    history = train(networks, task, world, chosen)
    found = np.asarray(networks["net"](np.eye(LENGTH, dtype="float32")))
    np.testing.assert_allclose(found[:-1], values[:-1], atol=0.01)
    assert history.rows[1]["loss"] < history.rows[0]["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("task", [PPO(parts=2, passes=3), Reinforce()], ids=["ppo", "reinforce"])
def test_actions_that_are_numbers_are_learnt_and_resumed(task, tmp_path):
    """Pendulum: a stop in the middle of an epoch, and the gradient raises what paid."""
    world = World(Environment(name="Pendulum-v1", copies=4, frames=3200, episodes=3))
    chosen = settings(epochs=2, kind="adam", batch_size=16 if task.kind == "reinforce" else 64)
    networks = {"policy": dense(world, 2, hidden=(8,)), "value": dense(world, 1, hidden=(8,))}
    names = {"policy", "value"}
    runs = [{name: keras.models.clone_model(networks[name]) for name in names} for _ in range(3)]
    for run in runs[:2]:
        for name in names:
            run[name].set_weights(networks[name].get_weights())
    whole, stopped, resumed = runs
    train(whole, task, world, chosen)
    snapshot = tmp_path / "snapshot.npz"
    first = train(
        stopped, task, world, chosen, callbacks=[toy.interrupt(1)], snapshot=snapshot
    )  # fmt: skip
    assert first.interrupted
    train(resumed, task, world, chosen, snapshot=snapshot, resume=True)
    assert difference(whole, resumed) == 0.0 and difference(whole, networks) > 0


def test_the_actor_learns_the_corridor():
    world, task = corridor(frames=4096), A2C(discount=0.9)
    networks = networks_of(task, world)
    validation = Episodes(world, "validation", actor="policy")
    chosen = settings(epochs=2, kind="adam", learning_rate=0.02)
    history = train(networks, task, world, chosen, validation=validation)
    best = np.asarray(networks["policy"](np.eye(LENGTH, dtype="float32")[:-1])).argmax(axis=1)
    assert best.tolist() == [1] * (LENGTH - 1)
    assert history.rows[-1]["val_return"] > 0.95
    assert history.rows[1]["value_loss"] < history.rows[0]["value_loss"]
    assert history.rows[1]["policy_return"] > history.rows[0]["policy_return"]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (["environment.name=Cartpole-v1"], "environment.name: got 'Cartpole-v1'; expected an env"),
        (["train.batch_size=500"], "train.batch_size: got 500 frames; expected a multiple of"),
        (["train.optimizer.schedule=plateau"], "train.optimizer.schedule: got plateau for the"),
        (["train.optimizer={kind: lbfgs}"], "train.optimizer.kind: got lbfgs for the task a2c"),
        (["environment.name=ALE/Pong-v5"], "run `pip install ale-py` and write ale_py:ALE/Pong-v5"),
        (["environment=null"], "task.kind: got a2c, which acts in an environment; mnist5k is"),
        (
            ["task={kind: classify}"],
            "task.kind: got classify, which learns label (class); CartPole",
        ),
    ],
)
def test_errors_are_one_line(zoo, changes, line, tmp_path):
    arguments = [word for change in changes for word in ("--set", change)]
    told = zoo("train", "a2c", "--out", tmp_path / "a2c", *arguments, expect=2)
    lines = [each for each in told.splitlines() if each.startswith("zoo train: ")]
    assert len(lines) == 1 and line in lines[0]


def test_an_agent_learns_from_pictures_and_is_deployed(tmp_path):
    """Which way a spot drifts no single picture tells: half of the first steps are right."""
    changes = [
        "environment={name: ZooTestDrift-v0, copies: 16, frames: 2048, episodes: 40}",
        "environment.pixels={side: 12, stack: 2}", "train.epochs=4", "train.batch_size=128",
        "settings={units: [32], convolutions: [[8, 3, 2], [16, 3, 2]]}",
    ]  # fmt: skip
    bundle = fit("a2c", out=tmp_path / "drift", changes=changes)
    assert bundle.report.metrics["return"] > 6.5  # chance has 4, and 7.5 are to be had
    assert bundle.card.columns["features"] == Column("frames", (12, 12, 2))
    (file,) = zoo_package.export(bundle, "tflite-int8", out=tmp_path)
    measured = zoo_package.evaluate(bundle, file=file.path)
    assert measured.same_top1 > 0.9
    assert play(bundle, episodes=3).lengths == (8, 8, 8)


def test_values_are_of_choices(zoo, tmp_path):
    told = zoo("train", "dqn", "--data", "gym:Pendulum-v1", "--out", tmp_path / "dqn", expect=2)
    assert "task.kind: dqn: takes one of some choices; Pendulum-v1 has numbers" in told
    assert "Take ppo, a2c or reinforce" in told


def test_the_command_line_knows_other_environments(zoo, tmp_path):
    recipe = zoo("train", "a2c", "--dry-run", "--set", "environment.name=Acrobot-v1")
    assert "name: Acrobot-v1" in recipe
    out = tmp_path / "dqn"
    told = zoo("train", "dqn", "--smoke", "--out", out, "--set", "environment.name=Acrobot-v1")
    assert "test return" in told and "test episodes" in told
    bundle = Bundle(out)
    assert bundle.card.input_shape == (6,) and len(bundle.card.labels) == 3
    assert bundle.card.networks == () and set(load_networks(out)) == {"net"}
    history = Run(bundle.recipe, networks=load_networks(out)).train(
        load_model(out)
    )  # a target anew
    assert history.epochs == 1


def test_zoo_play(zoo, agent, tmp_path):
    film = tmp_path / "films" / "a2c.gif"
    told = zoo("play", agent.path, "--episodes", 3, "--seed", 4, "--gif", film)
    assert "mean return" in told and "475" in told and str(film) in told
    with Image.open(film) as picture:
        assert picture.format == "GIF" and picture.n_frames > 10
    found = zoo("play", agent.path, "--episodes", 3, "--seed", 4, "--json")
    assert found["environment"] == "CartPole-v1" and len(found["returns"]) == 3
    assert tuple(found["returns"]) == play(agent.path, episodes=3, seed=4).returns
    assert tuple(found["returns"]) != play(agent.path, episodes=3, seed=5).returns
    seeds = (4, EPISODE, 9)  # of the tenth copy that the agent may have learnt from
    known = episodes.play(cart_pole(), asked(load_model(agent.path)), episodes=3, seeds=seeds)
    assert found["returns"] != [one.total for one in known]
    again = zoo("play", agent.path, "--episodes", 1, "--out", film, expect=2)
    assert "a2c.gif: exists; choose another name, or --force" in again
    zoo("play", agent.path, "--episodes", 1, "--out", film, "--force")
    assert "expected NAME.gif" in zoo("play", agent.path, "--out", "film.mp4", expect=2)
    assert "expected at least 1" in zoo("play", agent.path, "--episodes", 0, expect=2)


def test_play_refuses_what_is_no_agent(zoo, agent, tmp_path):
    other = shutil.copytree(agent.path, tmp_path / "other")
    (other / "recipe.yaml").write_text(resolve("mlp").to_yaml())
    assert "learnt from the data set" in zoo("play", other, expect=2)


def test_sizes_of_the_networks():
    networks = create("a2c")
    counts = {name: network.count_params() for name, network in networks.items()}
    assert counts == {"policy": 4610, "value": 4545}
    assert create("dqn").count_params() == 67_586


TWO_DEVICES = """
    import json
    import numpy as np
    from tests.agents import cart_pole, dense, settings
    from zoo.environments.episodes import Episodes
    from zoo.recipe import Hardware
    from zoo.tasks.agents.a2c import A2C
    from zoo.tasks.agents.dqn import DQN
    from zoo.tasks.agents.reinforce import Reinforce
    from zoo.training.strategy import choose_machine
    from zoo.training.trainer import Trainer

    two = choose_machine(Hardware(strategy="mirrored", devices=2, precision="float32"))
    one = choose_machine(Hardware(strategy="one", precision="float32"))
    world, found = cart_pole(), {}
    for task, kinds in ((A2C(), {"sgd": 0.01, "adam": 0.001}),
                        (Reinforce(baseline="mean"), {"sgd": 0.01}),
                        (DQN(warmup=64, memory=200, target_every=7), {"sgd": 0.01})):
        for kind, rate in kinds.items():
            chosen = settings(epochs=2, kind=kind, learning_rate=rate, clip_global_norm=0.5)
            weights, rows = [], []
            for machine in (one, two):
                if task.kind != "dqn":
                    networks = {"policy": dense(world, 2, hidden=(8,)),
                                "value": dense(world, 1, hidden=(8,), seed=1)}
                else:
                    networks = {name: dense(world, 2, hidden=(8,)) for name in ("net", "target")}
                source = task.experience(world, chosen, seed=0)
                episodes = Episodes(cart_pole(episodes=7), "validation", actor=task.actor)
                history = Trainer(networks, task, chosen, machine).fit(source, episodes)
                weights.append([w for n in networks.values() for w in n.get_weights()])
                rows.append([v for row in history.rows for k, v in row.items() if k != "seconds"])
            found[f"{task.kind} {kind}"] = [
                max(float(np.abs(a - b).max()) for a, b in zip(*weights)),
                float(np.abs(np.subtract(*rows) / np.maximum(1, np.abs(rows[0]))).max()),
            ]
    print(json.dumps(found))
"""


@pytest.mark.dist
def test_two_devices_take_the_steps_of_one():
    """In a process of its own: TensorFlow splits the CPU only before its first operation."""
    found = toy.printed(TWO_DEVICES)
    for case, (weights, rows) in found.items():
        assert weights < (1e-6 if case.endswith("sgd") else 1e-4), f"{case}: {weights}"
        assert rows < 1e-5, f"{case}: {rows}"
