"""Several objectives, networks that follow, phases and kept weights: a task of two networks."""

import sys
from typing import ClassVar, Literal

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from compress.graph import copy_model
from tests import toy
from tests.toy import DATA, SCALE, interrupt
from zoo import catalog
from zoo.craft import check
from zoo.craft.check import Bench
from zoo.data.feeds.feed import Feed
from zoo.data.feeds.source import Draw
from zoo.models.saved import load_model, load_networks
from zoo.recipe import Hardware, Train
from zoo.stages.compress import compress
from zoo.stages.evaluate import evaluate
from zoo.tasks.labels.classify import Classify
from zoo.tasks.task import Follow, Mean, Metric, Objective, Seen, Task
from zoo.training import fitting, loop, run, strategy
from zoo.training.history import DivergedError
from zoo.training.trainer import Trainer

RATES, SHARE, EVERY = {"first": 0.05, "second": 0.02}, 0.3, 3


class Game(Task):
    """`one` learns the classes; `two` learns, twice a step, what it and its follower `slow` say.

    So the order of the turns, their number and the follower change what comes out.
    """

    twins: ClassVar[dict] = {}  # the networks that it saw last
    headline: ClassVar[Metric] = Metric("first_top1", fraction=True)

    kind: Literal["game"] = "game"

    def objectives(self):
        return (Objective("first", ("one",)), Objective("second", ("two",), times=2))

    def follows(self):
        return (Follow("slow", "one", share=SHARE, every=EVERY),)

    def draws(self, networks):
        return {"shake": Draw("normal", (8, 8, 1))}

    def sizes(self, data):
        return {}

    def look(self, objective, networks, batch, *, training):
        Game.twins = networks
        if objective == "first":
            outputs = networks["one"](batch["image"], training=training)
            right = ops.cast(ops.argmax(outputs, -1) == batch["label"], "float32")
            values = ops.sparse_categorical_crossentropy(batch["label"], outputs, from_logits=True)
            return Seen(Mean(values), {"top1": Mean(right)})
        outputs = networks["two"](batch["image"] + 0.1 * batch["shake"], training=training)
        goal = sum(networks[name](batch["image"], training=False) for name in ("slow", "one"))
        return Seen(Mean(ops.mean((outputs - ops.stop_gradient(goal)) ** 2, axis=-1)))

    def answer(self, networks, batch):
        return networks["one"](batch["image"], training=False)

    def meter(self, columns):
        meter = Classify().meter(columns)
        measured = meter.result

        def result():
            found = measured()
            found.metrics["first_top1"] = found.metrics["top1"]
            return found

        meter.result = result
        return meter

    def outputs(self, data):
        return {"logits": data.columns["label"]}

    def deployed(self, networks):
        return networks["one"]

    def replaced(self, networks, model):
        return {**networks, "one": model}


def net(*, dropout=0.0, batch_norm=False, seed=0):
    keras.utils.set_random_seed(seed)
    x = image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(16, use_bias=not batch_norm, name="hidden")(x)
    if batch_norm:
        x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.Dropout(dropout, name="drop")(keras.layers.ReLU(name="relu")(x))
    return keras.Model(image, keras.layers.Dense(10, name="logits")(x), name="net")


def players(*, seed=0, **options):
    one, two = (net(seed=seed + place, **options) for place in (1, 2))
    return {"one": one, "two": two, "slow": copy_model(one)}


def feed(split=DATA.train, *, training=True):
    options = {"batch_size": 64, "training": training, "draws": Game().draws({})}
    return Feed(split, {"image": SCALE}, **options)


def settings(epochs=2, *, rates=RATES, **values):
    optimizer = {"kind": "sgd", "schedule": "constant"} | values.pop("optimizer", {})
    changes = {name: {"learning_rate": rate} for name, rate in rates.items()}
    return Train(
        **{"epochs": epochs, "batch_size": 64, "optimizer": optimizer, "optimizers": changes}
        | values
    )


def train(networks, chosen, *, task=None, **options):
    machine = strategy.choose_machine(Hardware(precision="float32", strategy="one"))
    validation = options.pop("validation", feed(DATA.validation, training=False))
    trainer = Trainer(networks, task or Game(), chosen, machine)
    return trainer.fit(feed(), validation, **options)


def difference(one, other):
    return max(toy.difference(one[name], other[name]) for name in one)


def by_hand(networks, turns, *, steps, momentum=0.9):
    """The steps of the game in a plain loop: `turns` names the objectives in their order."""
    optimizers = {
        name: keras.optimizers.SGD(rate, momentum=momentum) for name, rate in RATES.items()
    }
    game, learns = Game(), {"first": "one", "second": "two"}
    batches = (batch for epoch in range(9) for batch in feed().dataset(epoch))
    for number, batch in zip(range(1, steps + 1), batches, strict=False):
        for name in turns:
            variables = networks[learns[name]].trainable_variables
            with tf.GradientTape() as tape:
                seen = game.look(name, networks, batch, training=True)
                loss = tf.reduce_mean(seen.loss.values)
            slopes = tape.gradient(loss, [variable.value for variable in variables])
            optimizers[name].apply(slopes, variables)
        if number % EVERY == 0:
            for own, other in zip(networks["slow"].weights, networks["one"].weights, strict=True):
                own.assign((1 - SHARE) * own + SHARE * other)
    return networks


@pytest.mark.oracle
def test_the_turns_of_a_step_are_those_of_a_plain_loop():
    ours = players(batch_norm=True)
    history = train(ours, settings(1))
    theirs = by_hand(players(batch_norm=True), ("first", "second", "second"), steps=10)
    assert difference(ours, theirs) < 1e-5
    for name, network in players(batch_norm=True).items():
        assert toy.difference(ours[name], network) > 1e-3, name
    # Another order, another number of turns: it would be seen.
    other = by_hand(players(batch_norm=True), ("second", "first", "second"), steps=10)
    once = by_hand(players(batch_norm=True), ("first", "second"), steps=10)
    assert difference(ours, other) > 1e-4 and difference(ours, once) > 1e-4
    losses = {"first_loss", "second_loss", "first_top1"}
    assert set(history.rows[0]) == {"epoch", "seconds", "learning_rate", *losses} | {
        f"val_{name}" for name in losses
    }
    assert history.rows[0]["learning_rate"] == pytest.approx(RATES["first"])


def test_each_objective_has_the_optimizer_that_it_is_given():
    networks = players()
    changes = {"first": {"clip_global_norm": 1e-6}, "second": {"kind": "adam"}}
    rates = {"optimizer": {"learning_rate": 0.01, "momentum": 0.0}}
    train(networks, settings(1, **rates).model_copy(update={"optimizers": changes}))
    # Ten steps of at most 0.01 times a norm of 1e-6; and Adam's, each of about its rate.
    assert 0 < toy.difference(networks["one"], players()["one"]) <= 1e-7
    assert toy.difference(networks["two"], players()["two"]) > 0.02


@pytest.mark.parametrize("stop_at", [3, 10, 14])
def test_a_resumed_game_equals_a_whole_one(tmp_path, stop_at):
    """Networks, follower, both optimizers, noise and dropout go on exactly."""
    snapshot, options = tmp_path / "snapshot.npz", {"dropout": 0.5, "batch_norm": True}
    whole = players(**options)
    reference = train(whole, settings(3))
    stopped = players(**options)
    first = train(stopped, settings(3), callbacks=[interrupt(stop_at)], snapshot=snapshot)
    assert first.interrupted and difference(whole, stopped) > 0
    resumed = players(**options, seed=7)  # nothing of the new networks may survive
    second = train(resumed, settings(3), snapshot=snapshot, resume=True)
    assert difference(whole, resumed) == 0.0
    for key in ("first_loss", "second_loss", "first_top1"):
        assert [row[key] for row in second.rows] == [row[key] for row in reference.rows]


# Phases

PHASES = (
    {"epochs": 1, "objectives": ["first"]},
    {"epochs": 1, "objectives": ["second"], "optimizer": {"learning_rate": 0.01}},
    {"epochs": 1},
)


def test_phases_say_who_learns_when_and_how_fast():
    seen = []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(
            {name: copy_model(network) for name, network in Game.twins.items()}
        )
    )
    networks = players()
    history = train(networks, settings(3, phases=PHASES), callbacks=[note])
    moved = [
        {name: toy.difference(old[name], new[name]) > 0 for name in old}
        for old, new in zip([players(), *seen[:2]], seen, strict=True)
    ]
    assert moved == [
        {"one": True, "two": False, "slow": True},
        {"one": False, "two": True, "slow": True},
        {"one": True, "two": True, "slow": True},
    ]
    assert difference(networks, seen[2]) == 0.0
    rates = [row["learning_rate"] for row in history.rows]
    np.testing.assert_allclose(rates, [0.05, 0.01, 0.05], rtol=1e-6)
    assert ["second_loss" in row for row in history.rows] == [False, True, True]
    assert all("val_second_loss" in row for row in history.rows)


@pytest.mark.parametrize("stop_at", [7, 20, 25])
def test_phases_resume_exactly(tmp_path, stop_at):
    snapshot, chosen = tmp_path / "snapshot.npz", settings(3, phases=PHASES)
    whole = players(dropout=0.5)  # the twins draw their seeds when the training begins
    train(whole, chosen)
    first = train(players(dropout=0.5), chosen, callbacks=[interrupt(stop_at)], snapshot=snapshot)
    assert first.interrupted
    resumed = players(dropout=0.5, seed=3)
    train(resumed, chosen, snapshot=snapshot, resume=True)
    assert difference(whole, resumed) == 0.0


@pytest.mark.parametrize(
    "values",
    [
        {"rates": {"frist": 0.1}},
        {"phases": [{"epochs": 2, "objectives": ["frist"]}]},
    ],
    ids=["optimizers", "phases"],
)
def test_an_objective_that_the_task_lacks_is_told_in_one_line(values):
    with pytest.raises(ValueError, match=r"^train: got .*'frist'; .* Did you mean 'first'\?$"):
        train(players(), settings(**values))
    with pytest.raises(ValueError, match=r"'first'; expected an objective .* Known: loss\.$"):
        toy.train(net(), settings(rates={"first": 0.1}))


def test_every_objective_has_a_schedule_of_its_own(caplog):
    """`plateau` and `divide` are no matter of the first objective alone."""
    tight = {"second": {"schedule": "plateau", "patience": 1, "factor": 0.5, "learning_rate": 50.0}}
    chosen = settings(4, rates={}).model_copy(update={"optimizers": tight})
    with caplog.at_level("INFO", logger="zoo"), pytest.raises(DivergedError, match="diverged"):
        train(players(), chosen)
    with pytest.raises(ValueError, match="schedule plateau: got no validation"):
        train(players(), chosen, validation=None)
    calm = {
        "first": {"learning_rate": 1e-12},
        "second": {**tight["second"], "learning_rate": 1e-12},
    }
    with caplog.at_level("INFO", logger="zoo"):
        train(players(), settings(3, rates={}).model_copy(update={"optimizers": calm}))
    assert sum("plateau; the learning rate is lowered" in line for line in caplog.messages) >= 1
    caplog.clear()
    wild = {"second": {"schedule": "divide", "learning_rate": 1e4, "factor": 0.01}}
    networks = players()
    with caplog.at_level("INFO", logger="zoo"):
        history = train(networks, settings(1, rates={}).model_copy(update={"optimizers": wild}))
    assert any("the first epoch diverged" in line for line in caplog.messages)
    assert np.isfinite(history.rows[-1]["second_loss"])


def test_a_share_of_several_networks_cannot_be_frozen():
    chosen = settings(2, phases=[{"epochs": 2, "unfreeze": 0.5}])
    with pytest.raises(ValueError, match=r"^unfreeze: got a share .* a task of one network"):
        train(players(), chosen)


def test_epochs_of_one_step_are_snapped_too(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SNAPSHOT_SECONDS", 0.0)
    saved = []
    monkeypatch.setattr(loop.Loop, "save", lambda loop: saved.append(loop.step))
    machine = strategy.choose_machine(Hardware(precision="float32", strategy="one"))
    whole = Feed(DATA.train, {"image": SCALE}, batch_size=len(DATA.train), training=True)
    Trainer(net(), Classify(), settings(3, rates={}), machine).fit(whole)
    assert saved == [1, 2, 3, 3]  # and once more at the end, as finished


# Which weights are kept


class Lowest(Classify):
    """Keeps by the loss, of which less is better."""

    headline: ClassVar[Metric] = Metric("loss", higher=False)


WILD = {"learning_rate": 0.6, "momentum": 0.9}  # the validation goes up and down


@pytest.mark.parametrize("ema", [None, 0.8])
@pytest.mark.parametrize(("task", "key"), [(Classify(), "top1"), (Lowest(), "loss")], ids=str)
def test_best_keeps_the_weights_of_the_best_epoch(task, key, ema):
    model, ends = net(batch_norm=True), []
    note = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: ends.append(note.model.get_weights())
    )
    chosen = settings(5, rates={}, keep="best", optimizer=WILD | {"ema": ema})
    validation = toy.validation()
    history = toy.train(model, chosen, task=task, validation=validation, callbacks=[note])
    values = [row[f"val_{key}"] for row in history.rows]
    best = int(np.argmin(values) if key == "loss" else np.argmax(values))  # the first of equals
    assert best < len(values) - 1 and len(ends) == 5
    for found, expected in zip(model.get_weights(), ends[best], strict=True):
        np.testing.assert_array_equal(found, expected)
    last = net(batch_norm=True)
    again = settings(5, rates={}, optimizer=WILD | {"ema": ema})
    toy.train(last, again, task=task, validation=validation)
    for found, expected in zip(last.get_weights(), ends[-1], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert toy.difference(model, last) > 0


@pytest.mark.parametrize("stop_at", [15, 45])
def test_best_resumes_exactly(tmp_path, stop_at):
    """Also where the best epoch lies before the stop."""
    snapshot = tmp_path / "snapshot.npz"
    chosen = settings(5, rates={}, keep="best", optimizer=WILD)
    whole = net(dropout=0.3)
    toy.train(whole, chosen, validation=toy.validation())
    first = toy.train(
        net(dropout=0.3),
        chosen,
        validation=toy.validation(),
        callbacks=[interrupt(stop_at)],
        snapshot=snapshot,
    )
    assert first.interrupted
    resumed = net(dropout=0.3, seed=3)
    toy.train(resumed, chosen, validation=toy.validation(), snapshot=snapshot, resume=True)
    assert toy.difference(whole, resumed) == 0.0


def test_best_needs_a_validation():
    with pytest.raises(ValueError, match="keep best: got no validation; expected batches to look"):
        toy.train(net(), settings(rates={}, keep="best"))


def test_best_of_several_networks_keeps_all_of_them():
    networks, ends = players(), {}
    chosen = settings(6, rates={"first": 0.9, "second": 0.02}, keep="best")
    history = train(networks, chosen)
    best = int(np.argmax([row["val_first_top1"] for row in history.rows]))
    assert best < 5
    ends = players()
    train(ends, settings(best + 1, rates={"first": 0.9, "second": 0.02}))
    assert difference(networks, ends) < 1e-6


# Bundles


@pytest.fixture
def game(monkeypatch):
    """A row of the catalogue for it."""
    monkeypatch.setitem(catalog.TASKS, "game", f"{__name__}:Game")
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Game.__module__])

    def create(name, **options):
        networks = players()
        return {name: networks[name] for name in ("two", "one")}

    monkeypatch.setattr(run, "create", create)
    changes = ["task={kind: game}", "data.limit=300", "train.epochs=3", "train.batch_size=50"]
    changes += ["train.optimizer={kind: sgd, learning_rate: 0.05}", "data.size=null"]
    return [*changes, "train.optimizers={second: {learning_rate: 0.01}}"]


def test_a_bundle_of_several_networks(game, tmp_path):
    bundle = fitting.fit("linear", data="digits", out=tmp_path / "game", changes=game)
    assert sorted(path.name for path in (bundle.path / "networks").iterdir()) == [
        "one.keras", "two.keras",
    ]  # fmt: skip
    assert bundle.card.networks == ("two", "one") and bundle.card.task == "game"
    assert bundle.card.parameters == 2 * (64 * 16 + 16 + 16 * 10 + 10)
    networks = load_networks(bundle.path)
    assert toy.difference(load_model(bundle.path), networks["one"]) == 0.0
    assert bundle.recipe.train.optimizers == {"second": {"learning_rate": 0.01}}
    header = (bundle.path / "history.csv").read_text().splitlines()[0].split(",")
    assert {"first_loss", "second_loss", "val_first_top1"} <= set(header)
    found = evaluate(bundle).evaluation
    assert found.metrics == pytest.approx(bundle.report.metrics)
    assert found.metrics["top1"] > 0.5
    # An unfinished run goes on with the follower and both optimizers.
    changes = {"data": "digits", "changes": game}
    out = tmp_path / "stopped"
    first = fitting.fit("linear", out=out, callbacks=[interrupt(8)], **changes)
    assert first.report.status == "interrupted"
    second = fitting.fit("linear", out=out, resume=True)
    again = load_networks(second.path)
    assert difference(networks, again) == 0.0


def test_what_is_deployed_of_several_networks_is_compressed(game, tmp_path):
    """The other networks are the bundle's, and the follower is made anew."""
    bundle = fitting.fit("linear", data="digits", out=tmp_path / "game", changes=game)
    recipe = tmp_path / "half.yaml"
    recipe.write_text("passes: [{kind: prune, sparsity: 0.5, epochs: 1}]")
    small = compress(bundle, recipe, out=tmp_path / "small")
    kernel = np.asarray(load_model(small.path).get_layer("logits").kernel)
    assert np.mean(kernel == 0) == pytest.approx(0.5, abs=0.02)
    assert small.card.networks == ("two", "one")
    networks = load_networks(small.path)
    assert toy.difference(networks["one"], load_model(small.path)) == 0.0
    assert small.report.metrics["top1"] > 0.5


# Checks


def test_checks_look_at_the_first_objective_of_several():
    images, labels = SCALE.apply(DATA.train["image"][:32]), DATA.train["label"][:32]
    shake = np.zeros_like(images)
    table = Bench(players(), Game(), {"image": images, "label": labels, "shake": shake})
    found = {finding.name: finding for finding in check.run_checks(table, quick=True)}
    assert found["first loss"].verdict == found["gradient"].verdict == "ok"
    assert set(found["gradient"].values["kinds"]) == {
        "Dense kernel", "Dense bias",
    }  # fmt: skip
    assert found["gradient"].values["path"].count("/") == 1
    # Layers are told apart by the network; those of a game have no goal to learn by heart.
    assert set(found["dead"].values) >= {"one/relu"} and "overfits" not in found


TWO_DEVICES = """
    import json
    from tests.test_objectives import *
    from zoo.training.strategy import choose_machine

    two = choose_machine(Hardware(strategy="mirrored", devices=2, precision="float32"))
    one = choose_machine(Hardware(strategy="one", precision="float32"))
    cases = {
        "plain": {},
        "clipped": {"optimizer": {"clip_global_norm": 0.5}},
        "phases": {"epochs": 3, "phases": PHASES},
        "best": {"keep": "best"},
    }
    found = {}
    for name, values in cases.items():
        models, rows = [], []
        for machine in (one, two):
            networks = players()
            trainer = Trainer(networks, Game(), settings(**values), machine)
            history = trainer.fit(feed(), feed(DATA.validation, training=False))
            models.append(networks)
            keys = ("first_loss", "second_loss", "val_first_loss", "val_second_loss")
            rows.append([row.get(key, 0.0) for row in history.rows for key in keys])
        found[name] = [difference(*models), float(np.abs(np.subtract(*rows)).max()),
                       difference(models[1], players())]
    print(json.dumps(found))
"""


@pytest.mark.dist
def test_two_devices_play_like_one():
    """In a process of its own: TensorFlow splits the CPU only before its first operation."""
    for case, (weights, losses, way) in toy.printed(TWO_DEVICES).items():
        assert weights < 1e-6 and losses < 1e-5 and way > 1e-3, f"{case}: {weights} {losses} {way}"
