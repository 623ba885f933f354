"""Signals: `.ts` files, waves and a sine; recurrent classifiers and forecasters that learn them."""

import re

import keras
import numpy as np
import pytest

import export
from tests.toy import check_resumed, printed
from zoo import recipe as recipes
from zoo.common.columns import Column
from zoo.data.dataset import Split
from zoo.data.loading import load
from zoo.models import create
from zoo.models.saved import load_model, load_networks
from zoo.tasks.sequences import forecast
from zoo.tasks.sequences.forecast import Forecast, Forecasts, goes_on
from zoo.training.fitting import fit
from zoo.training.run import Run

SMALL = [
    "settings={units: [8]}",
    "data.limit=320",
    "train.epochs=3",
    "train.batch_size=16",
    "train.optimizer.learning_rate=0.02",
    "hardware.strategy=one",
]
HEAD = "@problemName Toy\n@classLabel true a b\n@data\n"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "forecast"
    return fit("elman_forecast", out=out, changes=SMALL)


def written(path, lines, name="Toy_TRAIN.ts"):
    (path / name).write_text(HEAD + "\n".join(lines) + "\n")
    return f"ts:{path / name}"


# -- data -----------------------------------------------------------------------------------------


def test_ts_files_of_two_splits_and_two_features(tmp_path):
    train = [f"{n},1,2:5,6,{n}:{'ab'[n % 2]}" for n in range(10)]
    name = written(tmp_path, train)
    written(tmp_path, ["7,8,9:1,2,3:b", "0,0,0:0,0,0:a"], "Toy_TEST.ts")
    data = load(name)
    assert (len(data.train), len(data.validation), len(data.test)) == (8, 2, 2)
    assert data.columns["series"].shape == (3, 2) and data.labels == ("a", "b")
    np.testing.assert_array_equal(data.test["series"][0], [[7, 1], [8, 2], [9, 3]])
    assert data.test["label"].tolist() == [1, 0]
    assert len(load(f"ts:{tmp_path}").train) == 8  # the folder of the two


def test_ragged_signals_say_where_they_end(tmp_path):
    lines = [",".join("1" * (2 + n % 3)) + f":{'ab'[n % 2]}" for n in range(20)]
    data = load(written(tmp_path, lines, "one.ts"))
    assert data.columns["series"] == Column("series", (4, 2), ("feature1", "there"))
    assert (len(data.train), len(data.validation), len(data.test)) == (10, 4, 6)
    for row in data.train["series"]:
        ends = int(row[:, 1].sum())
        np.testing.assert_array_equal(row[:, 1], np.arange(4) < ends)
        assert not row[ends:].any() and (row[:ends, 0] == 1).all()


def test_zeros_of_signals_of_one_length_are_read(tmp_path):
    """Only data that say where a signal ends have places that are not read."""
    kinds = []
    for name, most in (("even.ts", 0), ("ragged.ts", 2)):
        lines = [",".join("01" * (3 + n % (1 + most))) + f":{'ab'[n % 2]}" for n in range(20)]
        changes = [f"data.name={written(tmp_path, lines, name)}", "settings.units=[4]"]
        net = Run(recipes.resolve("lstm_series", changes=changes)).create()["net"]
        kinds.append([type(layer).__name__ for layer in net.layers])
    assert "Masking" not in kinds[0] and "Masking" in kinds[1]


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["1,2:a", "1,x:b"], "line 5: got 'x', which is no number; expected labelled signals"),
        (["1,2:a", "1,?:b"], "line 5: got '?', which is no number"),
        (
            ["1,5;2,5:a"],
            "got '5;2', which is no number; expected labelled signals as `.ts` files "
            "have them, none missing. A number has a decimal point, and cells have a comma between",
        ),
        (["@seriesLength 2", "@data", "1,5,2,5:a"], "line 6: got 4 places; expected 2, as @seri"),
        (["1,2:c"], "line 4: got class 'c'; expected one of a, b."),
        (["1,2:3:a"], "line 4: got features of 2, 1 places; expected one length in a line."),
        (["1,2:a", "1,2:1,2:a"], "line 5: got 2 features; expected 1, as before."),
        (["1,nan:a"], "line 4: got NaN or infinite values; expected finite ones."),
        ([], "got no line behind @data; expected labelled signals"),
        (["@classLabel True a b a"], "line 4: got the classes a, b, a; expected two or more, each"),
        (["@classLabel true a"], "line 4: got the classes a; expected two or more, each once"),
    ],
)
def test_what_is_wrong_in_a_ts_file_is_named_by_line(lines, told, tmp_path):
    with pytest.raises(ValueError, match=re.escape(told)):
        load(written(tmp_path, lines))


def test_a_ts_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"ts:.*none\.ts: no such file"):
        load(f"ts:{tmp_path / 'none.ts'}")
    with pytest.raises(FileNotFoundError, match=r"got 0 files \*_TRAIN\.ts; expected one"):
        load(f"ts:{tmp_path}")


def table(path, *signals, header=True):
    names = ",".join(f"signal{n}" for n in range(len(signals)))
    np.savetxt(path, np.transpose(signals), "%.6f", ",", header=names * header, comments="")
    return f"signals:{path}"


def test_a_column_is_a_signal_of_its_own(tmp_path):
    one, other = np.sin(np.arange(300) / 5), 40 + np.arange(300) % 7
    data = load(table(tmp_path / "two.csv", one, other), size=30)
    assert data.columns["series"].shape == (30, 1) and "signal0, signal1, 600" in data.source
    assert [len(x) for x in (data.train, data.validation, data.test)] == [2 * 191, 2, 2 * 2]
    for at, signal in ((0, one), (2, other)):
        ahead = data.test["ahead"][at : at + 2].reshape(-1)
        np.testing.assert_allclose(ahead, signal[260:300], atol=1e-5)
    windows = np.concatenate([data.train["series"], data.train["ahead"]], axis=1)[..., 0]
    known = np.array([signal[at : at + 50] for signal in (one, other) for at in range(191)])
    away = np.abs(windows[:, None] - known[None]).max(axis=2)  # each window is one, each one once
    assert away.min(axis=1).max() < 1e-5 and away.min(axis=0).max() < 1e-5


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1\n2\n", "x.csv:1: got numbers; expected the name of each signal, and its values below"),
        ("a\n1,5\n", "x.csv:2: got 2 cells; expected 1, as in the first line. A number has a deci"),
        ('a;b\n"1,5";2\n', "x.csv:2: got '1,5;2'; expected a number. A number has a decimal point"),
        ("a,b\n1,2\n3,\n", "x.csv:3: got ''; expected a number."),
        ("a,b\n1,2\n3,nan\n", "x.csv: got nan as value 2 of b; expected finite ones, none missing"),
        (
            "a,b\n",
            "x.csv: got no numbers; expected a .csv file of numbers, a signal in each column",
        ),
        ("a\n" + "1\n" * 71, "got 71 places; expected at least 72."),
    ],
)
def test_what_is_wrong_in_a_table_of_signals_is_named(text, told, tmp_path):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(ValueError, match=re.escape(told)):
        load(f"signals:{tmp_path / 'x.csv'}", size=2)


def test_signals_that_stand_still_are_measured(tmp_path):
    data = load(table(tmp_path / "flat.csv", np.full(300, 2.0), np.full(300, 3.0)), size=30)
    series = data.test["series"][..., 0].astype("float64")
    found = forecast.guesses(series, 20, period=4, data=data)
    assert all(np.array_equal(one, data.test["ahead"][..., 0]) for one in found.values())


def test_windows_of_the_test_part_are_the_signal_each_value_once():
    data = load("sine")
    ahead = data.test["ahead"][..., 0].reshape(-1)
    values = np.sin(2 * np.pi * np.arange(2000, 3000) / 40.01)
    np.testing.assert_allclose(ahead, values, atol=1e-6)
    np.testing.assert_array_equal(data.test["series"][1, -20:], data.test["ahead"][0])
    assert load("sine", size=45).columns["series"].shape == (45, 1)
    with pytest.raises(ValueError, match="size: got 1 for sine; expected windows of 2 to"):
        load("sine", size=1)


def test_no_window_of_the_sine_is_tested_that_was_learnt():
    data = load("sine")
    apart = [np.abs(data.train["series"] - one).max(axis=1).min() for one in data.test["series"]]
    assert min(apart) > 0.005 and max(apart) < 0.05


# -- networks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"recurrent": "gru", "both_ways": True}])
def test_what_stands_behind_the_end_of_a_signal_is_not_read(settings):
    """A batch of one is a batch of many with padding."""
    keras.utils.set_random_seed(0)
    rows = [np.random.RandomState(n).randn(n, 1).astype("float32") for n in (3, 7, 5)]
    given = np.zeros((3, 9, 2), "float32")
    for row, values in enumerate(rows):
        given[row, : len(values)] = np.concatenate([values, np.ones_like(values)], axis=1)
    name, known = "lstm_series", {"units": (6, 5), "ragged": True, **settings}
    net = create(name, input_shape=(9, 2), num_classes=3, **known)
    together = np.asarray(net(given))
    assert np.abs(together[0] - together[1]).max() > 1e-3
    for row, values in enumerate(rows):
        alone = create(name, input_shape=(len(values), 2), num_classes=3, **known)
        alone.set_weights(net.get_weights())
        np.testing.assert_allclose(
            alone(given[row : row + 1, : len(values)]), together[row : row + 1], atol=1e-6
        )


def test_a_forecast_moves_and_grows_with_its_signal():
    keras.utils.set_random_seed(0)
    net = create("lstm_forecast", input_shape=(30, 1), num_classes=5)
    x = np.random.RandomState(0).randn(4, 30, 1).astype("float32")
    found = np.asarray(net(x))
    assert found.shape == (4, 5, 1) and np.abs(found).max() > 0.05
    np.testing.assert_allclose(net(7 * x - 40), 7 * found - 40, atol=1e-4)
    assert np.isfinite(net(np.full((1, 30, 1), 3.0))).all()  # a window of one value


def test_other_data_than_signals_are_refused():
    with pytest.raises(ValueError, match=r"lstm_series.*expected \(time, features\)"):
        create("lstm_series", input_shape=(28, 28, 1))
    with pytest.raises(ValueError, match=r"got 2 features; expected 1, the signal that goes on"):
        create("lstm_forecast", input_shape=(30, 2))
    with pytest.raises(ValueError, match=r"task.period: got 61 for sine, whose windows are \(60,"):
        Forecast(period=61).check(load("sine"))


# -- measures -------------------------------------------------------------------------------------


def test_baselines_of_a_sine_by_hand():
    """A sine is two terms of a linear prediction, and repeats itself; its last value does not."""
    data = load("sine")
    meter = Forecasts(data, None, 40)
    meter.add(data.test.columns, data.test["ahead"] + 0.5)
    result = meter.result()
    rows = {row["forecast"]: row for row in result.tables["forecasts"]}
    assert rows["network"]["mae"] == result.metrics["mae"] == pytest.approx(0.5, abs=1e-6)
    assert rows["a period before"]["mae"] < 2e-3 and rows["linear prediction"]["rmse"] < 1e-5
    ahead = data.test["ahead"][..., 0]
    last = data.test["series"][:, -1]
    assert rows["last value"]["mae"] == pytest.approx(np.abs(ahead - last).mean(), rel=1e-5)


def test_each_signal_goes_on_alone(tmp_path):
    def net(window, training):
        return window[:, -1:] + np.arange(1, 21)[None, :, None]  # counts on from the last

    counts = np.arange(300.0)
    data = load(table(tmp_path / "two.csv", counts, 7 + 2 * counts), size=30)
    meter = Forecasts(data, net, 7)
    meter.add(data.test.columns, data.test["ahead"])
    found = meter.result().metrics
    assert found["alone"] == pytest.approx(40)  # of the second, 1 to 40
    assert found["alone_mae"] == pytest.approx(np.arange(1, 41).mean() / 2)


def test_going_on_alone_reads_what_was_said():
    def net(window, training):
        return window[:, -1:] + np.arange(1, 4)[None, :, None]  # counts on from the last

    assert goes_on(net, np.zeros(5), 8).tolist() == [1, 2, 3, 4, 5, 6, 7, 8]


# -- training -------------------------------------------------------------------------------------


def test_a_forecast_learns_and_its_bundle_says_so(bundle):
    rows = {row["forecast"]: row["mae"] for row in bundle.report.tables["forecasts"]}
    assert rows["network"] < 0.5 * rows["last value"]
    assert set(bundle.report.metrics) == {"loss", "mae", "rmse", "alone", "alone_mae"}
    assert bundle.card.inputs["series"].shape == (60, 1)
    assert (bundle.path / "forecast.png").stat().st_size > 5000


def test_signals_are_asked_how_they_go_on(bundle, zoo, tmp_path):
    signal = np.sin(np.arange(75) / 6).astype("float32")
    expected = np.asarray(load_model(bundle.path)(signal[None, -60:, None]))[0, :, 0]
    np.savetxt(tmp_path / "places.csv", signal)
    np.savetxt(tmp_path / "lines.csv", [signal, -signal], delimiter=",")
    np.save(tmp_path / "x.npy", signal)
    table(tmp_path / "columns.csv", signal, -signal)
    for file, num in (("places.csv", 1), ("lines.csv", 2), ("x.npy", 1), ("columns.csv", 2)):
        rows = zoo("predict", bundle.path, tmp_path / file, "--json")
        assert len(rows) == 20 * num and [row["place"] for row in rows[:3]] == [1, 2, 3]
        np.testing.assert_allclose([row["value"] for row in rows[:20]], expected, atol=1e-4)
    kept = zoo("predict", bundle.path, bundle.path / "samples.npz", "--json")
    assert len(kept) % 20 == 0 and "samples.npz:1" in kept[0]["example"]
    np.save(tmp_path / "short.npy", signal[:9])
    np.save(tmp_path / "two.npy", np.zeros((80, 2)))
    np.save(tmp_path / "nan.npy", np.full(80, np.nan))
    (tmp_path / "words.csv").write_text("a,b\n1\n")
    (tmp_path / "commas.csv").write_text("1,5\n2,5\n3,5\n")
    for file, line in (
        ("short.npy", "got a signal of 9 places; expected 60 or more, of which the last are read"),
        ("two.npy", "got (80, 2), (places, features); expected .csv, .npy, .ts of signals of 1"),
        ("nan.npy", "got NaN or infinite values"),
        ("words.csv", "words.csv:2: got 1 cell; expected 2, as in the first line"),
        ("commas.csv", "got 3 lines of two whole numbers; expected a signal on each line, or a"),
        ("none.csv", "none.csv: not found; expected a .csv, .npy, .ts of signals of 1 feature"),
        ("x.png", "x.png: expected .csv, .npy, .ts of signals of 1 feature."),
    ):
        told = zoo("predict", bundle.path, tmp_path / file, expect=2)
        assert line in told and told.count("\n") == 1, told


def test_signals_are_asked_for_their_class(tmp_path, zoo):
    """Of several lengths, one padded as in training."""
    random = np.random.RandomState(0)
    lines = [
        ",".join(f"{x:.3f}" for x in random.randn(3 + n % 4) + 2 * (n % 2)) + f":{'ab'[n % 2]}"
        for n in range(40)
    ]
    name = written(tmp_path, lines, "one.ts")
    changes = ["settings={units: [4]}", "train.epochs=1", "hardware.strategy=one"]
    made = fit("elman_series", data=name, out=tmp_path / "run", changes=changes)
    rows = zoo("predict", made.path, tmp_path / "one.ts", "--top", "1", "--json")
    assert len(rows) == 40 and {row["label"] for row in rows} <= {"a", "b"}
    np.savetxt(tmp_path / "first.csv", np.array(lines[0].split(":")[0].split(","), float))
    (one,) = zoo("predict", made.path, tmp_path / "first.csv", "--top", "1", "--json")
    assert one["label"] == rows[0]["label"]
    assert one["probability"] == pytest.approx(rows[0]["probability"], abs=1e-5)
    np.save(tmp_path / "long.npy", np.zeros(7))
    told = zoo("predict", made.path, tmp_path / "long.npy", expect=2)
    assert "long.npy: got a signal of 7 places; expected at most 6, as in training." in told


def test_a_step_that_falls_is_no_end_of_a_signal(tmp_path, zoo):
    """Two features, of which the last is 1 and then 0: both are read from a file."""
    lines = [
        f"{n},{n % 3},1,2:1,1,{int(n % 4 > 1)},0:{'ab'[n % 2]}" for n in range(20)
    ]  # two features of four places
    name = written(tmp_path, lines, "one.ts")
    changes = ["settings={units: [4]}", "train.epochs=1", "hardware.strategy=one"]
    made = fit("lstm_series", data=name, out=tmp_path / "run", changes=changes)
    assert made.card.inputs["series"].names == ("feature1", "feature2")
    assert len(zoo("predict", made.path, tmp_path / "one.ts", "--top", "1", "--json")) == 20


@pytest.mark.slow
@pytest.mark.parametrize("target", ["tflite", "onnx", "tflite-int8"])
def test_what_is_deployed_goes_through_the_gate(target, tmp_path):
    made = fit("lstm_forecast", out=tmp_path / "run", changes=SMALL)
    run = Run(made.recipe, networks=load_networks(made.path))
    done = export.export(load_model(made.path), target, tmp_path / "x", samples=run.samples(64))
    assert done.manifest.parity.passed


@pytest.mark.slow
def test_a_classifier_learns_waves(tmp_path):
    changes = ["settings.units=[16]", "train.epochs=12", "hardware.strategy=one",
               "train.optimizer.learning_rate=0.01"]  # fmt: skip
    made = fit("gru_series", out=tmp_path / "run", changes=changes)
    assert made.report.metrics["top1"] > 0.5 and made.card.labels[0] == "sawtooth"


@pytest.mark.slow
def test_a_resumed_run_equals_a_whole_one(tmp_path):
    changes = [*SMALL, "train.epochs=2", "data.limit=96"]
    whole = fit("lstm_forecast", out=tmp_path / "a", changes=changes)
    check_resumed(whole, tmp_path / "b", changes=changes, stop_at=8)


TWO_DEVICES = """
    import json
    from tests import two

    changes = ["settings={units: [6]}", "data.limit=96", "train.epochs=2", "train.batch_size=32",
               "train.optimizer={kind: sgd, learning_rate: 0.1, clip_global_norm: 0.1}"]
    print(json.dumps(two.of_recipe("lstm_forecast", changes)))
"""


@pytest.mark.dist
@pytest.mark.slow
def test_two_devices_take_the_steps_of_one():
    weights, _, moved = printed(TWO_DEVICES)
    assert moved > 0.01 and weights < 1e-6


def test_a_split_of_signals_is_taken_in_parts():
    data = load("waveforms")
    assert isinstance(data.train, Split) and data.train["series"].shape == (1200, 80, 2)
    assert np.bincount(data.train["label"]).tolist() == [300] * 4
