"""Budgets: limits, and the search for the strongest settings that keep them."""

import functools
import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import compress
from compress.graph import leaf_layers
from compress.graph.kernels import inner
from compress.measure.account import layer_table, total
from compress.measure.costs import layer_costs
from compress.measure.report import Runtime

STEPS = {
    "prune": compress.Prune(sparsity=0.8),
    "share_weights": compress.ShareWeights(bits=5),
    "low_rank": compress.LowRank(energy=0.5),
    "low_rank ratio": compress.LowRank(ratio=0.5),
    "prune_channels": compress.PruneChannels(macs=0.5, least=1),
    "prune_channels ratio": compress.PruneChannels(ratio=0.5, least=1),
    "prune_channels seconds": compress.PruneChannels(seconds=0.5, least=1),
}


def net():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((20,), name="row"),
            layers.Dense(24, name="fc1"),
            layers.Dense(24, name="fc2"),
            layers.Dense(24, name="fc3"),
            layers.Dense(6, name="logits"),
        ]
    )


def sparsity(model, name=None):
    found = [inner(layer).kernel for path, layer in leaf_layers(model) if name in (None, path)]
    zeros = sum(int(np.sum(np.asarray(kernel) == 0)) for kernel in found)
    return zeros / sum(int(np.size(kernel)) for kernel in found)


def values(model):
    return max(np.unique(np.asarray(layer.kernel)).size for _, layer in leaf_layers(model))


def measure(*models):
    return [{"main": Runtime(1, 1, 1e-6 * total(layer_table(m)).macs)} for m in models]


def compressed(passes, evaluate=None, *, fit=None, **limits):
    plan = compress.Pipeline(passes, compress.Budget(**limits))
    return compress.apply(plan, net(), evaluate=evaluate, fit=fit, measure=measure).report


# --- ladders ---


@pytest.mark.parametrize("name", STEPS)
def test_every_rung_is_stronger_than_the_one_before(name):
    step = STEPS[name]
    ladder = step.ladder()
    context = compress.Context(measure=measure)
    last = first = layer_costs(net(), packed=True)[0].packed_bytes
    for rung in (*ladder.rungs[::4], ladder.rungs[-1]):
        new = step.changed(**{ladder.field: rung})
        assert getattr(new, ladder.field) == rung
        found = layer_costs(new.apply(net(), context).model, packed=True)[0].packed_bytes
        assert found <= last
        last = found
    assert last < first / 2
    for rung in ladder.rungs:
        step.changed(**{ladder.field: rung})


def test_every_pass_with_a_strength_is_tested():
    kinds = {step.kind for step in STEPS.values()}
    others = {"binarize": {}, "ternarize": {}, "fold_batch_norm": {}, "huffman": {}}
    for kind in sorted(set(others) & set(compress.pass_names())):
        assert compress.Pipeline.from_dict({"passes": [{"kind": kind}]}).passes[0].ladder() is None
    assert kinds <= set(compress.pass_names())
    assert compress.LowRank(rank=3).ladder() is None


@pytest.mark.parametrize("name", STEPS)
def test_a_layer_alone(name):
    step = STEPS[name].changed(epochs=3, skip=("logits",))
    report = step.on_layer("fc2").apply(net()).report
    assert {row.path for row in report.layers if row.changed} >= {"fc2"}
    assert "named by `layers`" in report.layers[0].note or step.kind == "prune_channels"
    assert report.settings["epochs"] == 0


# --- search ---


@functools.cache
def pruned(fraction):
    """What `sparsity` is after one shot."""
    return sparsity(compress.Prune(sparsity=fraction).apply(net()).model)


@pytest.mark.parametrize(("limit", "start"), [(0.35, 0.8), (0.86, 0.87), (0.985, 0.3)])
def test_finds_the_strongest_rung(limit, start):
    """Against trying every rung. `start` may lie between two."""
    step = compress.Prune(sparsity=start, epochs=0)

    def evaluate(model):
        return {"top1": 0.9 - 10 * max(0.0, sparsity(model) - limit)}

    report = compressed([step], evaluate, max_drop=0.02, search=20)
    rungs = {*step.ladder().rungs, start}
    best = max(s for s in rungs if 10 * max(0.0, pruned(s) - limit) <= 0.02)
    assert report.passes[0].settings["sparsity"] == best
    assert report.passed
    trials = report.search.trials
    assert trials[0].strengths == {"0.prune.sparsity": start}
    assert len(trials) <= 7  # bisection of 12 or 13, and a trial with spared layers
    kept = [trial for trial in trials if trial.kept]
    assert trials[report.search.best] == min(kept, key=lambda trial: trial.least_bytes)
    assert report.after.size.least_bytes == trials[report.search.best].least_bytes


def test_passes_are_searched_in_turn_and_no_plan_twice():
    def evaluate(model):
        return {"top1": 0.9 - (sparsity(model) > 0.86) - (values(model) < 9)}

    passes = [compress.Prune(sparsity=0.5), compress.ShareWeights(bits=6), compress.Huffman()]
    report = compressed(passes, evaluate, max_drop=0.01, search=30)
    assert report.passes[0].settings["sparsity"] == 0.85
    base = compress.Prune(sparsity=0.85).apply(net()).model
    bits = [b for b in range(8, 0, -1) if values(passes[1].changed(bits=b).apply(base).model) >= 9]
    assert report.passes[1].settings["bits"] == bits[-1] < 6
    plans = [json.dumps([trial.strengths, trial.spared]) for trial in report.search.trials]
    assert len(plans) == len(set(plans)) < 30
    assert report.after.size.packed_bytes == min(
        trial.least_bytes for trial in report.search.trials if trial.kept
    )


def test_number_of_trials_is_kept_and_none_is_a_plain_check():
    def evaluate(model):
        return {"top1": 0.9}

    for search in (1, 3):
        report = compressed([STEPS["prune"]], evaluate, search=search)
        assert len(report.search.trials) == search
    report = compressed([STEPS["prune"]], evaluate)
    assert report.search is None and report.passes[0].settings["sparsity"] == 0.8


def test_what_comes_before_the_varied_pass_is_not_done_again():
    fits = []

    def fit(model, *, epochs, callbacks):
        fits.append(epochs)
        # A step of an epoch: of a `fit` that calls no callback, Prune would ask for more.
        listed = keras.callbacks.CallbackList(callbacks, model=model, epochs=epochs, steps=1)
        listed.on_train_begin()
        for epoch in range(epochs):
            listed.on_epoch_begin(epoch)
            listed.on_train_batch_end(0)
        listed.on_train_end()

    def evaluate(model):
        return {"top1": 0.9 - (sparsity(model) > 0.1) * 0.5 * (values(model) < 9)}

    passes = [
        compress.LowRank(rank=4, epochs=7),
        compress.Prune(sparsity=0.5, epochs=1),
        compress.ShareWeights(bits=4, epochs=2),
    ]
    report = compressed(passes, evaluate, fit=fit, max_drop=0.01, search=12)
    assert fits.count(7) == 1  # it has no strength
    assert fits.count(1) < fits.count(2) == len(report.search.trials)


def test_sensitive_layers_are_spared():
    def evaluate(model):
        return {"top1": 0.9 - (sparsity(model, "fc2") > 0.55)}

    report = compressed([compress.Prune(sparsity=0.8, epochs=0)], evaluate, search=20)
    assert report.passed
    spared = [trial for trial in report.search.trials if trial.spared]
    assert spared and all(trial.spared == ("fc2",) for trial in spared)
    assert report.passes[0].settings["skip"] == ["fc2"]
    # The others go as far as there are rungs.
    assert report.passes[0].settings["sparsity"] == 0.99
    first = report.search.sensitivity[0]
    assert (first.step, first.path, first.fall) == ("prune", "fc2", pytest.approx(1.0))
    assert [one.fall for one in report.search.sensitivity[1:4]] == [pytest.approx(0.0)] * 3


@pytest.mark.parametrize("broken", ["raises", "nan"])
def test_a_trial_that_diverges_is_a_trial_that_failed(broken):
    def fit(model, *, epochs, callbacks):
        if sparsity(model) > 0.92:
            if broken == "raises":
                raise RuntimeError("diverged")
            bias = next(weight for weight in model.weights if weight.name == "bias")
            bias.assign(np.full(bias.shape, np.nan))

    def evaluate(model):
        return {"top1": 0.9}

    passes = [PRUNED, compress.ShareWeights(bits=1, epochs=1)]
    report = compressed(passes, evaluate, fit=fit, search=20)
    failed = [trial for trial in report.search.trials if trial.error]
    assert failed and all(trial.strengths["0.prune.sparsity"] > 0.9 for trial in failed)
    assert all("diverged" in trial.error or "not finite" in trial.error for trial in failed)
    assert report.passed and report.passes[0].settings["sparsity"] == 0.9
    json.dumps(report.to_dict())


PRUNED = compress.Prune(sparsity=0.5, epochs=0)


# --- limits ---


def test_the_wider_limits():
    model = net()
    macs = total(layer_table(model)).macs

    def evaluate(model):
        return {"top1": total(layer_table(model)).macs / macs}

    item = compress.LowRank(ratio=0.8)
    for limits in ({"max_macs": macs // 2}, {"max_latency_seconds": 1e-6 * (macs // 2)}):
        report = compressed([item], evaluate, max_drop=0.6, search=20, **limits)
        assert report.passed and report.after.counts.macs <= macs // 2
        assert report.before.counts.macs == macs
        tight = compressed([item], evaluate, max_drop=0.6, **limits)
        assert not tight.passed and len(tight.budget.over) == 1
    assert "multiply-accumulates" not in tight.budget.over[0]
    assert re.match(r"seconds for one example [\d.]+, [\de.-]+ too many$", tight.budget.over[0])


def test_a_budget_that_cannot_be_met_keeps_the_nearest():
    def evaluate(model):
        return {"top1": 0.9 - (sparsity(model) > 0.75)}

    report = compressed([compress.Prune(sparsity=0.95)], evaluate, max_bytes=100, search=20)
    assert not report.passed
    trials = report.search.trials
    # Of the results that keep the metric, the smallest.
    assert report.after.metrics == {"top1": 0.9}
    assert report.after.size.gzip_bytes == min(t.least_bytes for t in trials if t.metric > 0.8)
    size = report.after.size.gzip_bytes
    assert report.budget.over == (f"bytes of the gzipped file {size:,}, {size - 100:,} too many",)
    worse = compressed([compress.Prune(sparsity=0.95)], lambda m: {"top1": -sparsity(m)}, search=3)
    fall = min(-trial.metric for trial in worse.search.trials)
    assert worse.budget.over == (f"top1 fell by {fall:.4f}, {fall - 0.005:.4f} too much",)


def test_a_runtime_that_cannot_run_the_result_keeps_no_limit():
    plan = compress.Pipeline([PRUNED], compress.Budget(max_drop=None, max_latency_seconds=9.0))
    report = compress.apply(plan, net(), measure=lambda *models: [{} for _ in models]).report
    assert not report.passed and report.budget.over == (
        "seconds for one example inf, inf too many",
    )
    with pytest.raises(ValueError, match="nothing measures latency; pass `measure`"):
        compress.apply(plan, net())


def test_the_file_that_counts():
    for passes, name in (([PRUNED], "gzip_bytes"), ([PRUNED, compress.Huffman()], "packed_bytes")):
        report = compressed(passes, max_drop=None, max_bytes=10**6)
        assert report.after.size.least_bytes == getattr(report.after.size, name)
        assert report.budget.lines[0].startswith(f"bytes of the {name.split('_')[0]}")


def test_compress_draws_nothing_itself():
    folder = Path(compress.__file__).parent
    assert not [p for p in folder.rglob("*.py") if "matplotlib" in p.read_text()]
