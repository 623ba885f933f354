"""Several workers, in real processes on loopback: the steps of one device, kills, and resuming."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests import programs, test_gan, test_language, test_vae
from tests.programs import printed_by_workers
from zoo.bundle import Bundle
from zoo.models.saved import load_model

ROOT = Path(__file__).parents[1]
LIMIT = 300  # seconds until everything that a test has started is killed
SAME = """
    import json, sys
    from tests import two
    from tests.toy import feed, settings, small, validation
    from zoo.tasks.labels.classify import Classify

    # 10 steps an epoch: 64 and some more; the norm of the whole gradient is clipped in all.
    chosen = settings(epochs=7, clip_global_norm=0.5)
    batches = lambda networks, training=False: feed() if training else validation()
    make = lambda: {"net": small()}
    found, _ = two.trained(make, batches, Classify(), chosen, ("loss", "val_loss", "val_top1"))
    print(json.dumps([*found, two.TWO.worker.number, two.TWO.replicas]))
"""


@pytest.mark.dist
def test_two_workers_take_the_steps_of_one_device():
    found = printed_by_workers(SAME)
    for number, (weights, losses, moved, own, replicas) in enumerate(found):
        assert (own, replicas) == (number, 2)
        assert moved > 0.1 and weights < 1e-6 and losses < 1e-5


KINDS = {
    # Two optimizers; a loss of its own; tokens, of which the weights are summed.
    "gan": (test_gan.TWO_DEVICES, []),
    "vae": (test_vae.TWO_DEVICES, ["vae"]),
    "language": (test_language.TWO_DEVICES, ["text"]),
}


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_so_do_other_kinds_of_learning(kind, tmp_path):
    program, arguments = KINDS[kind]
    if arguments == ["text"]:
        (tmp_path / "text.txt").write_text((ROOT / "CONTRIBUTING.md").read_text())
        arguments = [f"text:{tmp_path / 'text.txt'}"]
    for weights, losses, moved in printed_by_workers(program, *arguments):
        assert moved > 1e-3 and weights < 1e-6 and losses < 1e-4


SYNCHRONISED = """
    import json
    import keras
    from tests import two
    from tests.toy import feed, settings, validation
    from zoo.tasks.labels.classify import Classify

    def make():
        keras.utils.set_random_seed(0)
        x = image = keras.Input((8, 8, 1), name="image")
        x = keras.layers.Conv2D(8, 3, padding="same", use_bias=False, name="conv")(x)
        x = keras.layers.BatchNormalization(synchronized=True, name="conv_bn")(x)
        x = keras.layers.Flatten(name="flatten")(keras.layers.ReLU(name="relu")(x))
        return {"net": keras.Model(image, keras.layers.Dense(10, name="logits")(x))}

    batches = lambda networks, training=False: feed() if training else validation()
    chosen = settings(epochs=7, clip_global_norm=0.5)
    found, _ = two.trained(make, batches, Classify(), chosen, ("loss",))
    print(json.dumps(found))
"""


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.parametrize("run", [printed_by_workers, lambda code: [programs.printed(code)]])
def test_a_synchronised_normalisation_sees_the_whole_batch(run):
    for weights, losses, moved in run(SYNCHRONISED):
        assert moved > 0.1 and weights < 2e-4 and losses < 1e-3


# -- kills, and resuming --------------------------------------------------------------------------

STOP = """
    import os, signal, sys, time
    import keras

    class Stop(keras.callbacks.Callback):
        \"\"\"A signal after a step, to one worker.\"\"\"

        def __init__(self, step, kind):
            super().__init__()
            self.left, self.kind = step, kind

        def on_train_batch_end(self, batch, logs=None):
            self.left -= 1
            if self.left == 0:
                print(f"at {time.time()}", flush=True)
                os.kill(os.getpid(), self.kind)
"""
STEPS = (
    STOP
    + """
    import hashlib, json
    from pathlib import Path
    from tests import two
    from tests.toy import feed, settings, small, validation
    from zoo.tasks.labels.classify import Classify
    from zoo.training import loop, signals, strategy, trainer

    loop.SNAPSHOT_SECONDS = 0.0  # after every step
    snapshot, who, step, kind = Path(sys.argv[1]), *map(int, sys.argv[2:])
    mine = [Stop(step, kind)] if two.TWO.worker.number == who else []
    net = small(dropout=0.5, batch_norm=True)
    run = trainer.Trainer(net, Classify(), settings(epochs=3), two.TWO)
    try:
        history = run.fit(
            feed(), validation(), callbacks=mine, snapshot=snapshot, resume=snapshot.is_file()
        )
    except signals.Terminated:
        print(f"at {time.time()}", flush=True)
        sys.exit(143)
    except strategy.WorkerLostError as error:
        print(error)
        sys.exit(1)
    found = hashlib.sha256(b"".join(weight.tobytes() for weight in net.get_weights()))
    print(json.dumps([found.hexdigest(), [row["loss"] for row in history.rows]]))
"""
)


def steps(snapshot, who=-1, step=0, kind=0):
    """What became of two workers, one of which a signal meets after a step."""
    return programs.run_workers(STEPS, snapshot, who, step, int(kind))


def ended(done, codes):
    assert [one.returncode for one in done] == codes, "\n".join(one.stderr[-2000:] for one in done)
    return [one.stdout.splitlines()[-1] for one in done]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What two workers come to whom nobody stops."""
    first, second = ended(steps(tmp_path_factory.mktemp("whole") / "snapshot.npz"), [0, 0])
    assert first == second
    return first


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.parametrize("who", [1, 0])
def test_a_killed_worker_is_missed_and_all_go_on_exactly(tmp_path, whole, who):
    """With dropout, batch normalisation and momentum."""
    snapshot = tmp_path / "snapshot.npz"
    codes = [1, 1]
    codes[who] = -signal.SIGKILL
    told = ended(steps(snapshot, who, 14, signal.SIGKILL), codes)[1 - who]
    assert told.startswith(f"worker {1 - who} is left alone: another worker has ended (")
    assert ended(steps(snapshot), [0, 0]) == [whole, whole]


@pytest.mark.dist
@pytest.mark.slow
def test_ten_kills_change_nothing(tmp_path, whole):
    random, snapshot = np.random.RandomState(0), tmp_path / "snapshot.npz"
    for place in range(10):
        kind, who = (signal.SIGKILL, signal.SIGTERM)[place % 2], random.randint(2)
        steps(snapshot, who, random.randint(1, 8), kind)
    assert ended(steps(snapshot), [0, 0]) == [whole, whole]


CHANGES = [
    "settings.units=[24]", "data.limit=640", "train.epochs=3", "train.batch_size=64",
    "train.optimizer={kind: sgd, learning_rate: 0.05, clip_global_norm: 0.5}",
    "hardware.precision=float32", "hardware.wait_seconds=60",
]  # fmt: skip
FIT = (
    STOP
    + """
    from tests.test_workers import CHANGES
    from zoo.recipe import Hardware
    from zoo.training import signals, workers
    from zoo.training.fitting import fit

    out, who, step = sys.argv[1], *map(int, sys.argv[2:4])
    me = workers.of(Hardware())
    mine = [Stop(step, signal.SIGTERM)] if (me.number if me else 0) == who else []
    try:
        fit("mlp", data="digits", out=out, changes=[*CHANGES, *sys.argv[4:]], callbacks=mine,
            resume="if any")
    except signals.Terminated:
        print(f"at {time.time()}", flush=True)
        sys.exit(143)
"""
)


def weights(out):
    return [weight.numpy() for weight in load_model(out).weights]


def apart(one, other):
    pairs = zip(weights(one), weights(other), strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A bundle of one device that nobody stops."""
    from zoo.training.fitting import fit

    return fit("mlp", data="digits", out=tmp_path_factory.mktemp("one") / "run", changes=CHANGES)


@pytest.mark.dist
def test_sigterm_saves_and_one_device_goes_on(tmp_path, alone):
    """The example of a machine that is taken away: both workers end, one alone goes on."""
    out = tmp_path / "run"
    done = programs.run_workers(FIT, out, 1, 14)
    told = ended(done, [143, 143])
    began = float(done[1].stdout.split()[1])
    assert all(float(line.split()[1]) - began < 10 for line in told)
    assert "keeps what was trained; --resume goes on from it" in done[0].stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run.partial"]
    done = programs.run(FIT, out, 0, 0)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "made on.devices 2, and goes on with 1: " in done.stderr
    assert 0 < apart(out, alone.path) < 1e-5  # the same examples in the same order
    assert Bundle(out).report.epochs == 3


@pytest.mark.dist
@pytest.mark.slow
def test_a_bundle_of_two_workers(tmp_path, alone):
    """The chief alone writes; SIGTERM on two devices is met as by two workers, which go on."""
    out = tmp_path / "run"
    mirrored = ["hardware.strategy=mirrored", "hardware.devices=2"]
    done = programs.run(FIT, out, 0, 14, *mirrored)
    assert done.returncode == 143, done.stderr[-3000:]
    done = programs.run_workers(FIT, out, 0, 0)
    ended([one._replace(stdout="-") for one in done], [0, 0])
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    hardware = Bundle(out).report.hardware
    assert (hardware["strategy"], hardware["workers"], hardware["replicas"]) == (
        "multiworker",
        2,
        2,
    )
    assert 0 < apart(out, alone.path) < 1e-5


ZOO = """#!{python}
import json, os, signal, sys
from pathlib import Path

sys.path[0] = {root!r}
from zoo.cli import main

if "TF_CONFIG" in os.environ:
    from zoo.training import loop

    loop.SNAPSHOT_SECONDS = 0.0
    mark, take, steps = Path({mark!r}), loop.Loop.take_step, []

    def killed(self, batch):
        steps.append(batch)
        if len(steps) == 14 and not self.machine.chief and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return take(self, batch)

    loop.Loop.take_step = killed
sys.exit(main())
"""


@pytest.mark.dist
@pytest.mark.slow
def test_zoo_launch_outlives_a_killed_worker(tmp_path, alone):
    """The commands themselves, in processes of their own."""
    zoo, mark, out = tmp_path / "zoo", tmp_path / "mark", tmp_path / "runs" / "two"
    zoo.write_text(ZOO.format(python=sys.executable, root=str(ROOT), mark=str(mark)))
    zoo.chmod(0o755)
    changes = [word for change in CHANGES for word in ("--set", change)]
    done = subprocess.run(
        [zoo, "launch", "--workers", "2", "--restarts", "2", "--",
         zoo, "train", "mlp", "--data", "digits", *changes, "--out", out, "--json"],
        capture_output=True, text=True, timeout=LIMIT, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert mark.exists()
    assert "launch: worker 1 was killed by SIGKILL; all start again (1 of 2)" in done.stderr
    assert "(2 of 2)" not in done.stderr
    report = json.loads(done.stdout)  # the chief's alone
    assert report["status"] == "complete" and report["epochs"] == 3
    assert [path.name for path in out.parent.iterdir()] == ["two"]
    assert 0 < apart(out, alone.path) < 1e-5
