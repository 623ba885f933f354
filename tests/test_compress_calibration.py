"""Where ranges end: each method against another way to compute it."""

import keras
import numpy as np
import pytest

import compress
from compress.measure.samples import check_samples
from compress.passes.quantize.calibration import BINS, Histogram

RANDOM = np.random.RandomState(0)
VALUES = {
    "gaussian": RANDOM.randn(200_000).astype("float32"),
    "relu": np.maximum(RANDOM.randn(200_000), 0).astype("float32"),
    "skewed": (RANDOM.gamma(2.0, 1.0, 200_000) - 0.5).astype("float32"),
}


def limits(values, method, **settings):
    """The ends for values that come in parts."""
    histogram = Histogram()
    for task in (histogram.widen, histogram.count):
        for part in np.array_split(values, 7):
            task(part)
    return histogram.limits(method, **settings)


@pytest.mark.parametrize("name", VALUES)
def test_minmax_is_exact(name):
    values = VALUES[name]
    assert limits(values, "minmax") == (min(values.min(), 0), values.max())
    assert limits(values + 10, "minmax") == (0.0, (values + 10).max())  # a range holds 0


@pytest.mark.parametrize("percentile", [99.0, 99.99])
@pytest.mark.parametrize("name", VALUES)
def test_percentile_is_numpys(name, percentile):
    values = VALUES[name]
    width = (values.max() - min(values.min(), 0)) / BINS
    outside = 100 - percentile
    if values.min() < 0:
        expected = np.percentile(values, [outside / 2, 100 - outside / 2])
    else:
        expected = 0.0, np.percentile(values, percentile)
    np.testing.assert_allclose(limits(values, "percentile", percentile=percentile), expected,
                               atol=1.5 * width)  # fmt: skip


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("name", VALUES)
def test_mse_is_as_good_as_any_share(name, bits):
    values = VALUES[name][:20_000]

    def error(lo, hi):
        step = (hi - lo) / (2**bits - 1)
        rounded = np.round((np.clip(values, lo, hi) - lo) / step) * step + lo
        return float(np.mean((rounded.astype("float64") - values) ** 2))

    lo, hi = min(values.min(), 0), values.max()
    shares = np.linspace(0.02, 1, 99)
    best = min(error(share * lo, share * hi) for share in shares)
    assert error(*limits(values, "mse", bits=bits)) <= 1.02 * best
    if bits == 4:
        assert error(lo, hi) > 1.2 * best  # there was something to win


TAILS = {
    "outliers": np.concatenate([RANDOM.randn(100_000), RANDOM.uniform(20, 40, 30)]),
    "student": RANDOM.standard_t(3, 100_000),
    "relu": np.maximum(RANDOM.standard_t(4, 100_000), 0),
}


@pytest.mark.oracle
@pytest.mark.parametrize("name", TAILS)
def test_entropy_cuts_where_onnx_runtime_does(name):
    """Both after Migacz; where the tails are long. Elsewhere the divergence is flat."""
    from onnxruntime.quantization.calibrate import HistogramCollector

    values = TAILS[name].astype("float32")
    top = float(np.abs(values).max())
    counts, edges = np.histogram(values[values != 0], 4095, (-top, top))  # nor do we count zeros
    collector = HistogramCollector("entropy", True, 4095, 255, 99.99, "same")
    found = collector.get_entropy_threshold((counts, edges, values.min(), values.max(), top), 255)
    lo, hi = limits(values, "entropy")
    assert 1 / 1.5 < hi / float(found[1]) < 1.5
    assert hi < 0.8 * top
    assert lo == pytest.approx(-hi if name != "relu" else 0.0)


def test_constant_and_empty_tensors_have_a_range():
    for method in ("minmax", "percentile", "mse", "entropy"):
        assert limits(np.zeros(50, "float32"), method) == (0.0, 0.0)
        lo, hi = limits(np.full(50, 3.0, "float32"), method)
        assert lo == 0.0 and hi == pytest.approx(3.0, rel=2 / BINS)


INPUTS = keras.Input((4,), name="x"), keras.Input((3, 2), name="y")
TWO = keras.Model(INPUTS, [2 * one for one in INPUTS])
GOOD = {"x": np.zeros((5, 4)), "y": np.zeros((5, 3, 2))}


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (None, "samples: got none; expected examples to calibrate on"),
        (np.zeros((5, 4)), r"got inputs \['x'\]; expected \['x', 'y'\]"),
        ({"x": GOOD["x"], "z": GOOD["y"]}, r"got inputs \['x', 'z'\]; expected \['x', 'y'\]"),
        (GOOD | {"x": np.zeros((5, 3))}, r"samples of 'x': got shape \(5, 3\); expected \('n', 4"),
        (GOOD | {"x": np.zeros(5)}, r"samples of 'x': got shape \(5,\); expected \('n', 4"),
        (GOOD | {"x": np.zeros((0, 4))}, "got {'x': 0, 'y': 5} examples; expected equal"),
        (GOOD | {"x": np.full((5, 4), np.nan)}, "samples of 'x': got NaN or infinite values"),
        (GOOD | {"x": np.zeros((6, 4))}, "got {'x': 6, 'y': 5} examples; expected equal numbers"),
    ],
)
def test_samples_that_do_not_fit(samples, message):
    with pytest.raises(ValueError, match=message):
        check_samples(samples, TWO, who="quantize")
    assert [array.shape for array in check_samples(GOOD, TWO, who="quantize")] == [
        (5, 4),
        (5, 3, 2),
    ]


def test_an_index_without_a_row_is_refused():
    tokens = keras.Input((6,), dtype="int32", name="tokens")
    table = keras.Sequential([keras.layers.Embedding(5, 3), keras.layers.Flatten()])
    model = keras.Model(tokens, keras.layers.Dense(2)(table(tokens)))
    good = np.tile(np.arange(6) % 5, (8, 1))
    assert compress.apply("int8", model, samples=good)
    for wrong, told in ((good + 1, "got 5; expected 0 to 4, as the table"), (good - 1, "got -1;")):
        with pytest.raises(ValueError, match=rf"samples of 'tokens': {told}"):
            compress.apply("int8", model, samples=wrong)
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"data of 'tokens': got 5; expected 0 to 4"):
        compress.apply("prune50", model, data=(good + 1, np.zeros((8, 2))), epochs=1)


def test_what_is_not_finite_within_a_model_is_told_in_a_line():
    x = keras.Input((4,), name="x")
    model = keras.Model(x, keras.layers.Dense(2)(keras.layers.ReLU()(keras.ops.log(x))))
    with pytest.raises(ValueError, match=r"^quantize: .*not finite; expected weights.*$") as told:
        compress.apply("int8", model, samples=np.full((8, 4), -1.0, "float32"))
    assert "\n" not in str(told.value)
