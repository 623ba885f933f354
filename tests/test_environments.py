"""What is acted in: its facts, copies that go back exactly, and the batches that come of acting."""

import sys

import gymnasium
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageSequence

from tests.agents import LENGTH, LIMIT, cart_pole, corridor, dense, walk
from zoo.common.columns import Column
from zoo.common.films import save_gif
from zoo.environments import check_name
from zoo.environments.acting import asked, dealt, explored, greedy, sampled
from zoo.environments.actions import Numbers
from zoo.environments.copies import EPISODE, PLAY, SEED, Copies
from zoo.environments.drawing import DRAWN, drawer
from zoo.environments.episodes import STREAMS, Episodes, observe
from zoo.environments.replay import Replay
from zoo.environments.rollouts import Rollouts, advantages
from zoo.environments.whole import Whole
from zoo.environments.world import World
from zoo.models import create
from zoo.recipe import Environment, resolve
from zoo.tasks.agents.actor_critic import taken as log_of_taken

ONE = tf.distribute.get_strategy()


def test_facts_of_an_environment():
    world = cart_pole()
    assert (world.name, world.threshold, world.limit) == ("CartPole-v1", 475.0, 500)
    assert world.input == "features" and world.columns["features"].shape == (4,)
    assert world.labels == ("left", "right") and world.num_actions == 2
    assert "gymnasium" in world.source
    assert world.examples("train") == 256 and world.examples("test") == 6


def test_a_choice_is_seen_as_a_one_among_zeros():
    world = corridor()
    assert world.labels == ("0", "1") and world.limit == LIMIT and world.threshold is None
    np.testing.assert_array_equal(world.encode(2), np.eye(LENGTH, dtype="float32")[2])
    pair = World(Environment(name="Blackjack-v1"))  # a tuple of three choices
    assert pair.columns["features"].shape == (32 + 11 + 2,)
    assert pair.encode((5, 1, 0)).sum() == 3


@pytest.mark.parametrize(
    ("name", "line"),
    [
        (
            "Cartpole-v1",
            "expected an environment of gymnasium, or MODULE:NAME of one of your own. Near: Cart",
        ),
        ("ZooTestEndless-v0", "or numbers with ends (Box), e.g. Pendulum-v1."),
        ("ZooTestSideways-v0", "shows pixels (3, 24, 20); expected pictures (height, width)"),
    ],
)
def test_a_wrong_environment_is_told_in_one_line(name, line):
    with pytest.raises(ValueError, match=r"^environment\.name: ") as error:
        World(Environment(name=name))
    assert line in str(error.value) and "\n" not in str(error.value)


def drift(**settings):
    pixels = {"side": 12, "stack": 3}
    return World(
        Environment(name="ZooTestDrift-v0", copies=2, frames=64, pixels=pixels, **settings)
    )


def test_pictures_are_seen_grey_small_and_the_last_few_together():
    world, plain = drift(), gymnasium.make("ZooTestDrift-v0")
    assert world.columns["features"] == Column("frames", (12, 12, 3))
    copy, wanted = Copies(world, 1, seed=3), []
    plain.reset(seed=int(np.random.SeedSequence((3, EPISODE, 0, 0)).generate_state(1)[0]))
    for step in range(5):
        picture = Image.fromarray(plain.unwrapped.picture()).convert("L").resize((12, 12), 2)
        wanted += [np.asarray(picture)] * (
            1 if step else 3  # the first stands for those before
        )
        seen = copy.observations[0]
        assert seen.dtype == np.uint8
        np.testing.assert_array_equal(seen, np.stack(wanted[-3:], axis=2))
        copy.act(np.array([1]))
        plain.step(1)
    assert World(Environment(name="ZooTestDrift-v0")).columns["features"].shape == (84, 84, 4)
    with pytest.raises(ValueError, match=r"environment.pixels: got .*no pictures. Leave it out"):
        World(Environment(name="CartPole-v1", pixels={"side": 12}))


def test_a_memory_of_pictures_holds_bytes():
    world = drift()
    network = create("dqn", input_shape=(12, 12, 3), num_classes=2, convolutions=[[4, 3, 2]])
    source = replay(world)
    batch = source.collect({"net": network}, 0)
    assert batch["features"].dtype == batch["successor"].dtype == np.uint8
    assert source.state()["memory/features"].dtype == np.uint8
    again = replay(world)
    again.restore({key: np.array(value) for key, value in source.state().items()})
    ours, theirs = (one.collect({"net": network}, 1) for one in (source, again))
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])
    with pytest.raises(ValueError, match=r"of 12 pixels are 2 wide at conv2, whose kernel"):
        create("dqn", input_shape=(12, 12, 3), num_classes=2)


def test_a_package_of_environments_is_named():
    with pytest.raises(
        ModuleNotFoundError, match=r"run `pip install ale-py` and write ale_py:ALE/"
    ):
        check_name("ALE/Pong-v5")


@pytest.mark.oracle
def test_numbers_are_drawn_and_judged_as_torch_does():
    """log p and entropy of Gaussians, in NumPy and in the graph; -1 and 1 are the ends."""
    torch = pytest.importorskip("torch")
    random = np.random.RandomState(0)
    space = gymnasium.spaces.Box(np.array([-2.0, 0.0]), np.array([2.0, 10.0]), dtype=np.float64)
    can = Numbers(space)
    values, taken = (random.normal(size=(50, n)).astype("float32") for n in (4, 2))
    known = torch.distributions.Normal(
        *(torch.tensor(v) for v in (values[:, :2], np.exp(values[:, 2:])))
    )
    wanted = known.log_prob(torch.tensor(taken)).sum(-1).numpy()
    np.testing.assert_allclose(can.logs(values, taken), wanted, rtol=1e-4, atol=1e-4)
    logs, entropy = log_of_taken(tf.constant(values), tf.constant(taken))
    np.testing.assert_allclose(logs, wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(entropy, known.entropy().sum(-1).numpy(), rtol=1e-4)
    drawn = can.sampled(
        np.tile(values[:1], (20_000, 1)), can.draw(np.random.default_rng(0), (20_000,))
    )
    np.testing.assert_allclose(drawn.mean(0), values[0, :2], atol=0.05)
    np.testing.assert_allclose(drawn.std(0), np.exp(values[0, 2:]), rtol=0.03)
    np.testing.assert_allclose(can.of([-1.0, 1.0]), [-2.0, 10.0])
    np.testing.assert_allclose(can.of([0.0, 7.0]), [0.0, 10.0])
    np.testing.assert_array_equal(can.best(values), values[:, :2])


def test_without_gymnasium_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install keras-model-zoo\[rl\]"):
        check_name("CartPole-v1")


def test_it_has_no_examples_at_rest():
    with pytest.raises(ValueError, match="CartPole-v1: has no examples at rest"):
        _ = cart_pole().train


def test_an_environment_and_data_exclude_each_other():
    with pytest.raises(ValueError, match="got an environment and data; expected one of them"):
        resolve("a2c", data="digits")


@pytest.mark.parametrize(
    "name", ["CartPole-v1", "FrozenLake-v1", "ZooTestCorridor-v0", "Pendulum-v1"]
)
def test_copies_go_back_exactly_in_the_middle_of_an_episode(name):
    """FrozenLake slips at random, from the episode's own seed."""
    world, random = World(Environment(name=name)), np.random.RandomState(0)
    num = 450 if world.actions.shape else 70  # episodes of Pendulum are of 200 steps
    plan = random.randint(world.num_actions, size=(num, 3))
    if world.actions.shape:
        plan = random.uniform(-1.5, 1.5, (num, 3, 1)).astype("float32")
    stop = num // 2 + 2
    whole, again = Copies(world, 3, seed=5), Copies(world, 3, seed=5)
    for actions in plan[:stop]:
        whole.act(actions)
    assert any(state > 0 for state in whole.state()["episodes"])
    assert any(state > 0 for state in whole.state()["lengths"])
    again.restore({key: np.array(value) for key, value in whole.state().items()})
    whole.finished.clear()
    for actions in plan[stop:]:
        one, other = whole.act(actions), again.act(actions)
        for ours, theirs in zip(one, other, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(whole.observations, again.observations)
    assert whole.finished == again.finished


def test_copies_and_seeds_differ():
    starts = [Copies(cart_pole(), 3, seed=seed).observations for seed in (0, 0, 1)]
    np.testing.assert_array_equal(starts[0], starts[1])
    assert len(np.unique(np.concatenate([starts[0], starts[2]]), axis=0)) == 6


def test_an_environment_that_does_not_follow_from_its_seeds_cannot_be_resumed():
    world = World(Environment(name="ZooTestMoody-v0"))
    copies = Copies(world, 8, seed=0)
    for _ in range(5):
        copies.act(np.ones(8, int))
    with pytest.raises(ValueError, match="the same seed and actions lead elsewhere; expected"):
        Copies(world, 8, seed=0).restore(copies.state())
    with pytest.raises(ValueError, match=r"environment.copies: got 2; the run began with 8"):
        Copies(world, 2, seed=0).restore(copies.state())


@pytest.mark.oracle
@pytest.mark.parametrize("trace", [0.0, 0.7, 1.0])
def test_advantages_equal_their_definition(trace):
    """The sum over all later surprises, written out, in place of the recursion."""
    random, discount, length, num = np.random.RandomState(1), 0.9, 12, 3
    rewards, values, after = random.normal(size=(3, length, num))
    over = random.uniform(size=(length, num)) < 0.25
    ended = over & (random.uniform(size=over.shape) < 0.5)
    following = np.where(ended, 0.0, after)
    found = advantages(rewards, values, following, over=over, discount=discount, trace=trace)
    for copy in range(num):
        for first in range(length):
            total = 0.0
            for time in range(first, length):
                surprise = rewards[time, copy] - values[time, copy]
                surprise += 0.0 if ended[time, copy] else discount * after[time, copy]
                total += (discount * trace) ** (time - first) * surprise
                if over[time, copy]:
                    break
            assert found[first, copy] == pytest.approx(total, abs=1e-5)


@pytest.mark.oracle
def test_targets_with_full_trace_are_the_returns_of_the_corridor():
    """With lambda 1 the critic's target is the discounted return, whatever the critic says."""
    world, discount = corridor(copies=2, frames=512), 0.9
    networks = {"policy": dense(world, 2), "value": dense(world, 1, seed=3)}
    source = Rollouts(world, batch_size=512, seed=0, discount=discount, trace=1.0)
    batch = source.collect(networks, 0)
    value = asked(networks["value"])(np.eye(LENGTH, dtype="float32"))[:, 0]
    places, actions = (batch[name].reshape(-1, 2, *batch[name].shape[1:]) for name in
                       ("features", "action"))  # fmt: skip
    targets = batch["target"].reshape(-1, 2)
    cut = 0
    for copy in range(2):
        steps = 0
        path = places[:, copy].argmax(axis=1)
        for time in range(len(path)):
            steps += 1
            place, reward, ended = walk(path[time], actions[time, copy])
            over = ended or steps == LIMIT
            cut += over and not ended
            if ended:
                wanted = reward
            elif over or time == len(path) - 1:  # the future counts, though it is not seen
                wanted = reward + discount * value[place]
            else:
                assert place == path[time + 1]
                wanted = reward + discount * targets[time + 1, copy]
            assert targets[time, copy] == pytest.approx(wanted, abs=1e-5)
            steps = 0 if over else steps
    assert cut > 0
    assert batch["advantage"].mean() == pytest.approx(0, abs=1e-5)
    assert batch["advantage"].std() == pytest.approx(1, abs=1e-4)
    assert batch["finished"].sum() > 10 and batch["weight"].sum() == 512


@pytest.mark.parametrize("critic", [False, True])
def test_what_is_cut_off_counts_on_where_there_is_a_critic(critic):
    """By a loop over each episode of the corridor; and the means of the others by a loop too."""
    world, discount = corridor(), 0.9
    networks = {"policy": dense(world, 2), "value": dense(world, 1, seed=3)}
    kernel, bias = networks["policy"].get_weights()
    networks["policy"].set_weights([0 * kernel, bias + np.array([1.5, 0.0])])  # often to the left
    source = Whole(world, batch_size=16, seed=0, discount=discount, critic=critic)
    batch = source.collect(networks, 0)
    value = asked(networks["value"])(np.eye(LENGTH, dtype="float32"))[:, 0]
    places, cut = batch["features"].argmax(axis=2), 0
    for row in range(16):
        length = int(batch["there"][row].sum())
        steps = [walk(places[row, t], batch["action"][row, t]) for t in range(length)]
        after, _, ended = steps[-1]
        wanted = value[after] if critic and not ended else 0.0
        cut += not ended
        for time in reversed(range(length)):
            wanted = steps[time][1] + discount * wanted
            assert batch["later"][row, time] == pytest.approx(wanted, abs=1e-5)
            others = [n for n in range(16) if n != row and batch["there"][n, time]]
            for name, column in (("others", time), ("others_whole", 0)):
                mean = np.mean(batch["later"][others, column]) if others else 0.0
                assert batch[name][row, time] == pytest.approx(mean, abs=1e-5)
        assert not batch["later"][row, length:].any()
    assert 0 < cut < 16


def test_no_run_learns_from_the_episodes_that_it_is_measured_on():
    """Not with a seed of theirs either; and what is played is neither."""
    world, seeds = corridor(copies=16), [*range(4), SEED, SEED + 1, SEED + 2, SEED + 3]
    own = set()
    for seed in seeds:
        whole = Whole(world, batch_size=16, seed=seed, discount=1.0)
        whole.collect({"policy": dense(world, 2)}, 3)
        rollouts = Rollouts(world, batch_size=16, seed=seed, discount=1.0, trace=1.0)
        for source in (whole, rollouts, replay(world, seed=seed)):
            copies = getattr(source._copies, "_copies", source._copies)
            own |= {drawn(one._seeds, episode) for one in copies for episode in range(8)}
    assert len(own) == len(seeds) * 16 * 8  # the three have the same ones
    measured = {
        drawn((SEED, EPISODE, n), episode) for n in STREAMS.values() for episode in range(99)
    }
    samples = {
        drawn((SEED + 1 + n, EPISODE, copy), episode)
        for n in STREAMS.values() for copy in range(16) for episode in range(8)
    }  # fmt: skip
    played = {drawn((seed, PLAY), episode) for seed in seeds for episode in range(99)}
    assert not (own & measured or own & samples or own & played or played & (measured | samples))


def drawn(seeds, episode):
    return tuple(np.random.SeedSequence((*seeds, episode)).generate_state(4).tolist())


def test_a_batch_that_copies_cannot_share_is_refused():
    with pytest.raises(ValueError, match=r"train.batch_size: got 30 frames; expected a multiple"):
        Rollouts(corridor(), batch_size=30, seed=0, discount=0.9, trace=1.0)


def replay(world, *, memory=64, epsilon=0.5, seed=0, rate=4, **options):
    return Replay(
        world, batch_size=32, seed=seed, memory=memory, warmup=16, frames_per_step=rate,
        epsilon=lambda frame: epsilon, discount=0.9, **options,
    )  # fmt: skip


def test_the_memory_holds_what_happened_and_forgets_the_oldest():
    world = corridor()
    source, networks = replay(world, memory=50), {"net": dense(world, 2)}
    batches = list(source.batches(ONE, networks=networks))
    assert len(batches) == source.steps == 64 and source.frames == 16 + 256
    batch = source.collect(networks, 64)
    for place, action, reward, after, ended in zip(
        batch["features"].argmax(1), batch["action"], batch["reward"],
        batch["successor"].argmax(1), batch["later"] == 0, strict=True,
    ):  # fmt: skip
        assert walk(place, action) == (after, pytest.approx(reward), bool(ended))
    assert set(batch["later"]) == {np.float32(0.9), np.float32(0)}
    assert source.state()["memory/action"].shape == (50,)
    with pytest.raises(ValueError, match=r"task.memory: got 20 frames; expected at least 32"):
        replay(world, memory=20)


def test_rewards_of_several_steps_are_summed_up_to_the_end_or_the_present():
    """By a loop over what each copy did, also where the ring has come round."""
    world = corridor()
    source, networks = replay(world, memory=50, reach=3, epsilon=0.3), {"net": dense(world, 2)}
    for number in range(40):
        batch = source.collect(networks, number)
    held = {name.removeprefix("memory/"): values for name, values in source.state().items()}
    frames = [frame % 50 for frame in range(source.frames - 50, source.frames)]
    wanted = {}
    for start in range(50):
        total, factor, at = 0.0, 1.0, start
        for step in range(3):
            total += factor * held["reward"][frames[at]]
            factor *= 0.9
            if held["over"][frames[at]] or at + 4 >= 50 or step == 2:
                break
            at += 4  # the next frame of the same copy
        last = frames[at]
        key = (held["features"][frames[start]].argmax(), held["action"][frames[start]])
        found = (total, held["successor"][last].argmax(), factor * (1 - held["ended"][last]))
        wanted.setdefault(key, []).append(found)
    seen = zip(batch["features"].argmax(1), batch["action"], batch["reward"],
               batch["successor"].argmax(1), batch["later"], strict=True)  # fmt: skip
    lengths = set()
    for place, action, reward, after, later in seen:
        near = [
            np.allclose((reward, after, later), one, atol=1e-6) for one in wanted[place, action]
        ]
        assert any(near)
        lengths.add(round(float(later), 3))
    assert {0.81, 0.729} <= lengths


def test_what_surprised_is_drawn_more_often_and_counts_less():
    world, networks = corridor(), {"net": dense(world=corridor(), outputs=2)}
    errors = []

    def surprise(asks, batch):
        errors.append(batch["features"].argmax(1) + 1.0)  # places surprise as far as they are
        return errors[-1]

    source = replay(
        world, priority=0.5, correction=lambda frame: 0.4, surprise=surprise, rate=1
    )  # fmt: skip
    for number in range(400):
        source.collect(networks, number)
    for number in range(50):  # of the same memory: it is not yet time to act again
        source.collect(networks, number)
    held = source.state()["memory/surprise"]
    features = source.state()["memory/features"].argmax(1)
    np.testing.assert_allclose(held, (features + 1.0) ** 0.5, atol=1e-4)
    errors.clear()
    for number in range(400):
        source.collect(networks, number)
    counted = np.bincount(np.concatenate(errors).astype(int) - 1, minlength=LENGTH) / (400 * 32)
    rows = np.bincount(features, minlength=LENGTH)
    wanted = rows * (np.arange(LENGTH) + 1.0) ** 0.5
    np.testing.assert_allclose(counted, wanted / wanted.sum(), atol=0.02)
    assert np.abs(counted - rows / rows.sum()).max() > 0.04  # not as often as they are there
    batch = source.collect(networks, 400)
    weight = {}
    for place, importance in zip(batch["features"].argmax(1), batch["importance"], strict=True):
        weight.setdefault(int(place), set()).add(round(float(importance), 4))
    common = [place for place in weight if len(weight[place]) == 1]
    one, other = min(common), max(common)
    ratio = next(iter(weight[one])) / next(iter(weight[other]))
    assert ratio == pytest.approx(((other + 1) / (one + 1)) ** (0.5 * 0.4), rel=1e-3)


@pytest.mark.parametrize("options", [{}, {"reach": 3, "priority": 0.6}], ids=["plain", "rainbow"])
def test_the_memory_goes_back_exactly(options):
    world = cart_pole()
    networks = {"net": dense(world, 2)}
    if options:
        options["surprise"] = lambda asks, batch: asks["net"](batch["features"])[:, 0]
    whole, again = replay(world, **options), replay(world, **options)
    steps = whole.batches(ONE, networks=networks)
    for _ in range(30):
        next(steps)
    again.restore({key: np.array(value) for key, value in whole.state().items()})
    for ours, theirs in zip(steps, again.batches(ONE, start=30, networks=networks), strict=True):
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name])


def test_one_round_of_actions_may_serve_several_batches():
    world = corridor(copies=8, frames=64)
    source = replay(world, rate=1)
    batches = source.batches(ONE, networks={"net": dense(world, 2)})
    rounds = [source.frames for _ in batches]
    assert source.steps == 64 and rounds[:9] == [24] * 8 + [32]


def test_actions_are_drawn_by_their_probability():
    logits = np.tile(np.log([[0.2, 0.5, 0.3]]), (30_000, 1))
    uniform = np.random.RandomState(0).uniform(size=len(logits))
    shares = np.bincount(sampled(logits, uniform)) / len(logits)
    np.testing.assert_allclose(shares, [0.2, 0.5, 0.3], atol=0.01)
    assert sampled(logits[:2], np.array([0.0, 1 - 1e-16])).tolist() == [0, 2]
    pairs = np.random.RandomState(1).uniform(size=(30_000, 2))
    shares = np.bincount(explored(logits, 0.3, pairs)) / len(logits)
    np.testing.assert_allclose(shares, [0.1, 0.8, 0.1], atol=0.01)
    assert greedy(np.array([[1.0, 1.0, 0.0]])) == 0


def test_a_batch_is_filled_up_for_the_replicas():
    class Two:
        num_replicas_in_sync = 2

        def experimental_distribute_values_from_function(self, part):
            class Context:
                pass

            found = []
            for replica in range(2):
                context = Context()
                context.replica_id_in_sync_group = replica
                found.append(part(context))
            return found

    first, second = dealt({"return": np.arange(5.0), "weight": np.ones(5)}, Two())
    assert first["return"].numpy().tolist() == [0, 1, 2]
    assert second["weight"].numpy().tolist() == [1, 1, 0]


def test_episodes_are_always_the_same_and_each_split_has_its_own():
    world = corridor(episodes=9)
    networks = {"net": dense(world, 2)}
    networks["net"].set_weights([np.ones((LENGTH, 2)), np.array([0.0, 1.0])])  # to the right

    def returns(split, **options):
        source = Episodes(world, split, actor="net", **options)
        batches = [next(source.batches(ONE, epoch, networks=networks)) for epoch in (0, 3)]
        np.testing.assert_array_equal(batches[0]["return"], batches[1]["return"])
        return batches[0]

    found = returns("test")
    steps = found["length"].numpy()
    np.testing.assert_allclose(found["return"], 1 - 0.01 * (steps - 1), rtol=1e-5)
    assert steps.max() == LENGTH - 1 and len(steps) == 9
    assert (returns("validation")["length"].numpy() != steps).any()
    stays = returns("test", ask=lambda seen: np.tile([1.0, 0.0], (len(seen), 1)))
    np.testing.assert_allclose(stays["return"], -0.01 * LIMIT, rtol=1e-5)
    assert "threshold" not in found


def test_samples_are_what_the_policy_sees():
    world = cart_pole()
    found = observe(world, "train", 40, ask=asked(dense(world, 2)))
    assert found["features"].shape == (40, 4) and found["action"].shape == (40,)
    for name, column in world.columns.items():
        column.check(name, found[name])
    assert len(np.unique(found["features"], axis=0)) == 40
    np.testing.assert_array_equal(
        found["action"], greedy(asked(dense(world, 2))(found["features"]))
    )
    many = observe(world, "train", 2000, ask=asked(dense(world, 2)))["features"]
    for end in ("min", "max"):
        np.testing.assert_array_equal(
            getattr(found["features"], end)(axis=0), getattr(many, end)(axis=0)
        )
    again = observe(world, "train", 40, ask=asked(dense(world, 2)))
    np.testing.assert_array_equal(found["features"], again["features"])


@pytest.mark.parametrize("name", ["CartPole-v1", "MountainCar-v0", "Acrobot-v1", "Pendulum-v1"])
def test_pictures_follow_the_state(name, tmp_path):
    world = World(Environment(name=name))
    draw, options = drawer(world)
    environment = world.make(**options)
    environment.reset(seed=0)
    pictures = [draw(environment)]
    for _ in range(8):
        environment.step(world.actions.of([1.0] if world.actions.shape else 0))
        pictures.append(draw(environment))
    assert np.abs(np.asarray(pictures[0], int) - np.asarray(pictures[-1], int)).max() > 100
    save_gif(pictures, tmp_path / "film.gif", seconds=0.04)
    with Image.open(tmp_path / "film.gif") as film:  # equal neighbours became one
        times = [frame.info["duration"] for frame in ImageSequence.Iterator(film)]
        assert sum(times) == 9 * 40 and len(times) > 4 and film.size == (300, 200)


def test_what_cannot_be_drawn_is_told():
    with pytest.raises(ValueError, match="ZooTestCorridor-v0: cannot be drawn; play without"):
        drawer(corridor())
    assert "FrozenLake" not in DRAWN
