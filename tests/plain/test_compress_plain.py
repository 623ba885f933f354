"""Passes, recipes and budgets as text: no TensorFlow, no NumPy."""

import itertools
import json
import re
import subprocess
import sys

import pytest

import compress
from compress.base import Pass
from compress.catalog import pass_class
from compress.measure.report import Counts, FileSize, Snapshot
from compress.passes.prune.schedule import Schedule
from compress.pipeline.budget import Budget

PASSES = [
    compress.Prune(sparsity=0.8),
    compress.Prune(
        sparsity=0.5,
        scope="model",
        epochs=0,
        layers=("fc*",),
        skip=("logits",),
        schedule=Schedule(begin=0.1, end=0.5, power=2, initial=0.2, every=7),
    ),
    compress.Prune(sparsity=0.5, schedule={"shape": "constant", "begin": 0.2, "every": 3}),
    compress.Prune(sparsity=0.5, schedule={"shape": "one_shot", "begin": 0.9}, block=(4, 1)),
    compress.Prune(n_of_m=(2, 4)),
    compress.Prune(n_of_m=(1, 3), rounds=2, rewind=True),
    compress.Prune(sparsity=0.9, rounds=5, rewind="early.keras"),
    compress.LowRank(energy=0.9),
    compress.LowRank(rank=3, epochs=1),
    compress.LowRank(ratio=0.25),
]
COUNTS = Counts(parameters=1, nonzero=1, macs=1, num_uncounted=0, activation_bytes=1)


def snapshot(top1, gzip_bytes=1000):
    return Snapshot(COUNTS, FileSize(2000, gzip_bytes), {"top1": top1})


def test_reading_recipes_loads_neither_keras_nor_numpy():
    code = (
        "import sys, compress, compress.tfmot\n"
        "for name in compress.recipe_names(): compress.load_recipe(name)\n"
        "compress.Pipeline([compress.Prune(sparsity=0.5)], compress.Budget())\n"
        "print([m for m in ('keras', 'tensorflow', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_exist():
    for name in compress.__all__:
        assert getattr(compress, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Prun'"):
        _ = compress.Prun


@pytest.mark.parametrize("kind", compress.pass_names())
def test_catalogue_row_leads_to_a_pass_of_its_kind(kind):
    found = pass_class(kind)
    assert issubclass(found, Pass)
    assert found.model_fields["kind"].default == kind
    assert getattr(compress, found.__name__) is found


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: compress.Prune(sparsity=80.0),
            "Prune.sparsity: got 80.0; expected a fraction in [0, 1). For 80 %, write 0.8.",
        ),
        (
            lambda: compress.Prune(sparsity=1),
            "Prune.sparsity: got 1; expected a fraction in [0, 1).",
        ),
        (
            lambda: compress.Prune(sparsity=float("nan")),
            "Prune.sparsity: got nan; expected a fraction in [0, 1).",
        ),
        (lambda: compress.Prune(), "Prune.sparsity: missing; expected a value."),
        (
            lambda: compress.Prune(sparsity=0.5, scop="model"),
            "Prune.scop: unknown key. Did you mean 'scope'?",
        ),
        (
            lambda: compress.Prune(sparsity=0.5, scope="net"),
            "Prune.scope: got 'net'; expected 'layer', 'model' or 'lamp'.",
        ),
        (
            lambda: compress.Prune(sparsity=0.5, schedule={"every": 0}),
            "Prune.schedule.every: got 0; expected greater than or equal to 1.",
        ),
        (
            lambda: compress.Prune(sparsity=0.5, schedule={"begn": 0}),
            "Prune.schedule.begn: unknown key. Did you mean 'begin'?",
        ),
        (
            lambda: Schedule(begin=0.5, end=0.5),
            "Schedule: got {'begin': 0.5, 'end': 0.5}; expected begin < end.",
        ),
        (
            lambda: compress.Prune(sparsity=90),
            "Prune.sparsity: got 90; expected a fraction in [0, 1). For 90 %, write 0.9.",
        ),
        (
            lambda: Schedule(shape="one_shot", every=5),
            "Schedule: got {'shape': 'one_shot', 'every': 5}; "
            "expected no every, which shape 'one_shot' does not use.",
        ),
        (
            lambda: Schedule(shape="constant", power=1),
            "Schedule: got {'shape': 'constant', 'power': 1}; "
            "expected no power, which shape 'constant' does not use.",
        ),
        (
            lambda: Schedule(shape="cubic"),
            "Schedule.shape: got 'cubic'; expected 'polynomial', 'constant' or 'one_shot'.",
        ),
        (
            lambda: compress.Prune(n_of_m=(4, 4)),
            "Prune.n_of_m: got (4, 4); expected (N, M), with N < M: N are kept of every M.",
        ),
        (
            lambda: compress.Prune(n_of_m=(0, 4)),
            "Prune.n_of_m.0: got 0; expected greater than or equal to 1.",
        ),
        (
            lambda: compress.Prune(sparsity=0.9, n_of_m=(2, 4)),
            "Prune: got {'sparsity': 0.9, 'n_of_m': (2, 4)}; "
            "expected no sparsity, or 0.5, which n_of_m settles.",
        ),
        (
            lambda: compress.Prune(sparsity=0.5, n_of_m=(2, 4), scope="model"),
            "Prune: got {'sparsity': 0.5, 'n_of_m': (2, 4), 'scope': 'model'}; "
            "expected scope 'layer', because n_of_m is the same in every kernel.",
        ),
        (
            lambda: compress.Prune(sparsity=0.5, n_of_m=(2, 4), block=(4, 1)),
            "Prune: got {'sparsity': 0.5, 'n_of_m': (2, 4), 'block': (4, 1)}; "
            "expected block or n_of_m, not both.",
        ),
        (
            lambda: compress.Prune(sparsity=0.5, block=(4, 0)),
            "Prune.block.1: got 0; expected greater than or equal to 1.",
        ),
        (
            lambda: compress.Prune(sparsity=0.5, rounds=2, schedule={"end": 0.5}),
            "Prune: got {'sparsity': 0.5, 'rounds': 2, 'schedule': {'end': 0.5}}; "
            "expected no schedule, because rounds, or a rewind, prune at once.",
        ),
        (
            lambda: compress.Prune(sparsity=0.5, rewind="early.h5"),
            "Prune.rewind: got 'early.h5'; expected True, False or a path that ends in .keras.",
        ),
        (
            lambda: compress.LowRank(energy=90),
            "LowRank.energy: got 90; expected a fraction in (0, 1]. For 90 %, write 0.9.",
        ),
        (
            lambda: compress.LowRank(rank=2, ratio=0.5),
            "LowRank: got {'rank': 2, 'ratio': 0.5}; "
            "expected exactly one of energy, rank, ratio, vbmf.",
        ),
        (
            lambda: compress.LowRank(),
            "LowRank: got {}; expected exactly one of energy, rank, ratio, vbmf.",
        ),
        (
            lambda: compress.Budget(max_drop=None),
            "Budget: got {'max_drop': None}; expected max_drop, max_bytes, "
            "max_macs, max_latency_seconds or several.",
        ),
        (
            lambda: compress.Pipeline([]),
            "Pipeline.passes: got none; expected at least one.",
        ),
    ],
)
def test_wrong_value_is_refused_at_construction(make, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        make()


def test_all_problems_are_told_at_once():
    with pytest.raises(
        ValueError, match=r"^Prune.epochs: .*\nPrune.sparsity: .*\nPrune.depth: .*$"
    ):
        compress.Prune(sparsity=2, epochs=-1, depth=3)


def test_initial_sparsity_may_not_exceed_the_final_one():
    with pytest.raises(ValueError, match=r"expected schedule.initial <= sparsity\.$"):
        compress.Prune(sparsity=0.5, schedule=Schedule(initial=0.6))


def test_n_of_m_settles_the_sparsity():
    assert compress.Prune(n_of_m=(2, 4)).sparsity == 0.5
    assert compress.Prune(n_of_m=[1, 4]).sparsity == 0.75
    assert compress.Prune(n_of_m=(4, 8), sparsity=0.5) == compress.Prune(n_of_m=(4, 8))


def test_rounds_keep_the_same_share():
    found = compress.Prune(sparsity=0.9, rounds=4).sparsities()
    kept = [1.0, *(1 - sparsity for sparsity in found)]
    shares = [after / before for before, after in itertools.pairwise(kept)]
    assert shares == [pytest.approx(0.1**0.25)] * 4 and found[-1] == 0.9
    assert compress.Prune(sparsity=0.0, rounds=2).sparsities() == [0.0, 0.0]


def test_a_pipeline_takes_passes_only():
    with pytest.raises(TypeError, match=r"Pipeline.passes.1: got 'prune90'; expected a pass"):
        compress.Pipeline([PASSES[0], "prune90"])


def test_settings_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        PASSES[0].sparsity = 0.1


@pytest.mark.parametrize("item", PASSES, ids=repr)
def test_pipeline_survives_plain_data(item):
    pipeline = compress.Pipeline([item], compress.Budget(max_drop=0.01, max_bytes=10))
    values = json.loads(json.dumps(pipeline.to_dict()))
    assert compress.Pipeline.from_dict(values) == pipeline
    assert compress.Pipeline.from_dict(values).to_dict() == pipeline.to_dict()


def test_pipelines_differ_by_their_settings():
    assert len({json.dumps(compress.Pipeline([item]).to_dict()) for item in PASSES}) == len(PASSES)
    assert compress.Pipeline(PASSES[:1]) != compress.Pipeline(PASSES[1:2])


NAMED_BY_THEIR_AIM = {
    "binary",
    "deep-compression",
    "deep-compression-short",
    "edge",
    "entropy",
    "int8",
    "int8-weights",
    "low-rank",
    "low-rank-vgg",
    "qat-int8",
    "prune90-share6",
    "share7",
    "slim",
    "ternary",
}


@pytest.mark.parametrize(
    "name", [n for n in compress.recipe_names() if n not in NAMED_BY_THEIR_AIM]
)
def test_recipe_name_decodes(name):
    pipeline = compress.load_recipe(name)
    words = []
    for item in pipeline.passes:
        percent = f"{100 * item.sparsity:g}" if item.kind == "prune" else ""
        words.append(item.kind + percent)
    assert "-".join(words).replace("_", "-") == name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "passes: [{kind: prune, sparsity: 90}]",
            ".passes.0.sparsity: got 90; expected a fraction",
        ),
        ("passes: [{kind: prun}]", ".passes.0.kind: unknown pass 'prun'. Did you mean 'prune'?"),
        (
            "passes: [{sparsity: 0.9}]",
            f".passes.0.kind: unknown pass None. Known: {', '.join(compress.pass_names())}.",
        ),
        ("passes: [prune]", ".passes.0: got 'prune'; expected a valid dictionary."),
        ("passe: []", ".passe: unknown key. Did you mean 'passes'?"),
        (
            "passes: [{kind: prune, sparsity: 0.9}]\nbudget: {max_dropp: 1}",
            ".budget.max_dropp: unknown key. Did you mean 'max_drop'?",
        ),
        ("- prune", ": got ['prune']; expected a mapping of keys to values."),
        ("", ": got None; expected a mapping of keys to values."),
        ("a: [", ": not YAML: "),
    ],
)
def test_wrong_recipe_names_file_and_place(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"(?m)^{re.escape(f'{path}{message}')}"):
        compress.load_recipe(path)


def test_a_temperature_of_values_is_refused():
    with pytest.raises(ValueError, match=r"^Distill: got .*expected no temperature with of: val"):
        compress.Distill(of="values", temperature=2.0)
    assert compress.Distill(of="values", temperature=1.0) == compress.Distill(of="values")


def test_own_recipe_is_read_by_path(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("passes: [{kind: low_rank, rank: 4}]\nbudget: {max_bytes: 5}")
    expected = compress.Pipeline([compress.LowRank(rank=4)], compress.Budget(max_bytes=5))
    assert compress.load_recipe(str(path)) == expected


def test_settings_of_a_packaged_recipe_are_changed():
    changes = ["passes.prune.epochs=24", "passes.1.bits=8", "passes.prune.schedule.end=0.75"]
    changed = compress.load_recipe("prune90-share6", [*changes, "train.epochs=3"])
    plain = compress.load_recipe("prune90-share6")
    prune, share, huffman = changed.passes
    assert (prune.epochs, prune.schedule.end, share.bits) == (24, 0.75, 8)
    assert (
        prune.changed(epochs=plain.passes[0].epochs, schedule=plain.passes[0].schedule)
        == (plain.passes[0])
    )
    assert huffman == plain.passes[2] and share.epochs == plain.passes[1].epochs


def test_a_budget_is_set_beside_the_recipe():
    changes = ["budget.max_bytes=7000", "budget.max_drop=null", "train.epochs=3"]
    assert compress.load_recipe("entropy").budget is None
    found = compress.load_recipe("entropy", changes)
    assert found.budget == compress.Budget(max_bytes=7000, max_drop=None)
    assert found.passes == compress.load_recipe("entropy").passes
    edge = compress.load_recipe("edge", ["budget.search=2"]).budget
    assert edge == compress.load_recipe("edge").budget.model_copy(update={"search": 2})
    for change, message in (("max_byte=1", r"budget.*max_byte.*max_bytes"), ("search=-1", "-1")):
        with pytest.raises(ValueError, match=message):
            compress.load_recipe("entropy", [f"budget.{change}"])


@pytest.mark.parametrize(("change", "message"), [
    ("prune", r"got 'prune'; expected KIND\.KEY=VALUE, e\.g\. prune\.epochs=24"),
    ("prune.=3", "expected KIND"),
    ("prun.epochs=3", "got 'prun'; expected the kind or the number of one of the passes, 0 prune"),
    ("7.epochs=3", "got '7'"),
    ("prune.epoch=3", r"passes\.prune\.epoch: .*epochs"),
    ("prune.sparsity=2", r"passes\.prune\.sparsity: got 2"),
    ("prune.epochs.x=3", "'epochs' is a value, not a group of settings"),
    ("prune.schedule=[", r"passes\.prune\.schedule=\["),
])  # fmt: skip
def test_a_wrong_change_of_a_pass_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        compress.load_recipe("prune90-share6", [f"passes.{change}"])


def test_unknown_recipe_suggests_the_nearest(tmp_path):
    with pytest.raises(ValueError, match=r"unknown 'prune99'\. Did you mean 'prune90'\?"):
        compress.load_recipe("prune99")
    with pytest.raises(FileNotFoundError, match=r"none\.yaml: not found"):
        compress.load_recipe(tmp_path / "none.yaml")


def test_schedule_follows_the_polynomial():
    schedule = Schedule(begin=0.25, end=0.75, initial=0.1, power=3)
    values = [schedule.sparsity(step, 100, final=0.9) for step in range(101)]
    assert values[:26] == [pytest.approx(0.1)] * 26
    assert values[50] == pytest.approx(0.9 - 0.8 * 0.5**3)
    assert values[75:] == [0.9] * 26
    assert values == sorted(values)


def test_masks_are_renewed_every_few_steps_and_at_the_end():
    schedule = Schedule(begin=0.1, end=0.87, every=20)
    turns = [schedule.turn(step, 100) for step in range(101)]
    assert turns[:10] == [None] * 10
    assert sorted({turn for turn in turns if turn is not None}) == [10, 30, 50, 70, 87]
    assert turns[87:] == [87] * 14


def test_constant_and_one_shot_have_the_target_at_once():
    constant = Schedule(shape="constant", begin=0.1, end=0.5, every=20)
    once = Schedule(shape="one_shot", begin=0.8)
    for schedule, turns in ((constant, {10, 30, 50}), (once, {80})):
        found = [schedule.turn(step, 100) for step in range(101)]
        begin = min(turns)
        assert found[:begin] == [None] * begin and set(found[begin:]) == turns
        assert {schedule.sparsity(step, 100, final=0.7) for step in range(101)} == {0.7}


@pytest.mark.parametrize("num_steps", range(1, 12))
@pytest.mark.parametrize("begin", [0.0, 0.5, 0.99])
def test_shortest_trainings_reach_the_target(num_steps, begin):
    schedule = Schedule(begin=begin, end=1.0, every=100)
    turn = schedule.turn(num_steps, num_steps)
    assert schedule.sparsity(turn, num_steps, final=0.9) == 0.9


def test_patterns_choose_layers():
    paths = ["conv", "encoder/fc1", "encoder/fc2", "logits"]
    prune = compress.Prune(sparsity=0.5, layers=("fc*", "log*"), skip=("*/fc2",))
    assert prune.left_out(paths) == {
        "conv": "not named by `layers`",
        "encoder/fc2": "named by `skip`: */fc2",
    }
    assert compress.Prune(sparsity=0.5).left_out(paths) == {}


@pytest.mark.parametrize("field", ["layers", "skip"])
def test_pattern_that_matches_nothing_is_refused(field):
    prune = compress.Prune(sparsity=0.5, **{field: ("logit",)})
    message = f"Prune.{field}: 'logit' matches no layer. Did you mean 'logits'?"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        prune.left_out(["conv", "logits"])


@pytest.mark.parametrize(
    ("budget", "after", "kept"),
    [
        (Budget(max_drop=0.005), snapshot(0.975), True),
        (Budget(max_drop=0.005), snapshot(0.974), False),
        (Budget(max_drop=0.005), snapshot(0.99), True),
        (Budget(max_drop=0.005), snapshot(float("nan")), False),
        (Budget(max_drop=None, max_bytes=500), snapshot(0.1, 500), True),
        (Budget(max_drop=None, max_bytes=500), snapshot(0.98, 501), False),
        (Budget(max_drop=0.005, max_bytes=500), snapshot(0.9, 400), False),
        (Budget(max_drop=0.005, max_bytes=500), snapshot(0.98, 600), False),
    ],
)
def test_budget(budget, after, kept):
    report = budget.check(snapshot(0.98), after)
    assert report.kept is kept
    assert len(report.lines) == (budget.max_drop is not None) + (budget.max_bytes is not None)


def test_budget_needs_its_metric():
    Budget(max_drop=None, max_bytes=1).require({})
    Budget().require({"top1": 0.5, "loss": 1.0})
    with pytest.raises(ValueError, match="'top1', but there is no `evaluate`"):
        Budget().require({})
    with pytest.raises(ValueError, match=r"'top5', but `evaluate` returns \['loss'\]"):
        Budget(metric="top5").require({"loss": 1.0})
