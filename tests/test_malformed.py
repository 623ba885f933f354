"""Whatever is typed and whatever a file has become: one line and exit 2 or 1, never a traceback."""

import os

import pytest

import compress as passes
from tests import malformed
from zoo.models.saved import load_model


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A bundle of a net that loads in a moment."""
    from zoo.training.fitting import fit

    out = tmp_path_factory.mktemp("runs") / "mlp"
    return fit("mlp", data="digits", out=out, smoke=True, changes=["settings.units=[16]"])


@pytest.fixture(scope="module")
def deployable(small, tmp_path_factory):
    from zoo.stages.export import export

    (made,) = export(small, "tflite", out=tmp_path_factory.mktemp("exported"))
    return made.path


def told(name, arguments):
    """What is wrong with the answer to a command line; nothing as it should be."""
    code, text = malformed.run(arguments)
    last = text.strip().splitlines()[-1:]
    if code not in (1, 2) or not last or "Traceback" in text:
        return f"{name}: exit {code}, {text[-600:]}"
    return f"{name}: {last[0][:300]}" if len(last[0]) > 1500 else ""


def draw(seeds, work):
    wrong = []
    for seed in seeds:
        arguments = malformed.line(seed)
        code, text = malformed.run(arguments)
        quiet = code == 0 and ("--dry-run" in arguments or {"show", "list"} & {*arguments[:2]})
        if not quiet and (code not in (1, 2) or not text.strip() or "Traceback" in text):
            wrong.append(f"{seed} {[a[:60] for a in arguments]}: exit {code}, {text[-600:]}")
    left = {path.name for path in work.iterdir()}
    assert not wrong, "\n".join(wrong)
    assert not {name for name in left if name.startswith(".") or name == "o"}


def test_command_lines(small, tmp_path, monkeypatch):
    malformed.prepare(small.path, tmp_path)
    monkeypatch.chdir(tmp_path)
    draw(range(600), tmp_path)


@pytest.mark.slow
def test_ten_thousand_command_lines(small, tmp_path, monkeypatch):
    malformed.prepare(small.path, tmp_path)
    monkeypatch.chdir(tmp_path)
    draw(range(10_000, 20_000), tmp_path)


# A card may be without these, and of them any text will do.
HARMLESS = {
    f"card.json: {what}"
    for what in (
        *("no schema_version", "no columns", "no licence", "no networks", "no passes"),
        *("no parent", "no custom_layers", "no members", "architecture text", "paper text"),
        *("data text", "licence text", "parent null", "parent text", "parameters minus"),
        *("data_digest text", "no data_digest", "no actions"),
    )
}


@pytest.mark.parametrize("kind", ["cards", "examples", "pictures", "models"])
def test_damaged_files(small, tmp_path, kind):
    damage = malformed.Damage(small.path, tmp_path)
    wrong, count = [], 0
    for name, arguments in getattr(damage, kind)():
        if name in HARMLESS or (kind == "cards" and name.startswith("report.json: ")
                                and "compress" in arguments and _optional(name)):  # fmt: skip
            continue
        count += 1
        wrong.append(told(name, arguments))
    assert not any(wrong), "\n\n".join(filter(None, wrong))
    assert count > {"cards": 100, "examples": 30, "pictures": 15, "models": 60}[kind]
    assert not (tmp_path / "x").exists() or not list((tmp_path / "x").iterdir())


def _optional(name):
    """A report may be without what few have, and its numbers may be any."""
    key, _, _ = name.removeprefix("report.json: ").rpartition(" ")
    loose = ("source", "commit", "epochs", "seed", "examples_per_second")
    what = name.removeprefix("report.json: ")
    optional = (
        "schema_version",
        "tables",
        "problems",
        "commit",
        "compress",
        "ensemble",
        "baseline",
    )
    return (
        what.removeprefix("no ") in optional
        or key in loose
        or what in ("compress null", "ensemble null", "baseline null")
    )


def test_damaged_packed_models(small, tmp_path):
    passes.pack(load_model(small.path), tmp_path / "good")
    damage = malformed.Damage(small.path, tmp_path)
    good = (tmp_path / "good").read_bytes()
    wrong = [told(name, arguments) for name, arguments in damage.packed(good)]
    assert not any(wrong), "\n\n".join(filter(None, wrong))


def test_damaged_deployables(small, deployable, tmp_path):
    damage = malformed.Damage(small.path, tmp_path)
    wrong = [told(name, arguments) for name, arguments in damage.deployables(deployable)]
    assert len(wrong) > 50
    assert not any(wrong), "\n\n".join(filter(None, wrong))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_file_that_may_not_be_read_says_so(small, tmp_path):
    path = tmp_path / "closed.keras"
    path.write_bytes(small.model_file.read_bytes())
    path.chmod(0)
    code, text = malformed.run(["export", path, "tflite", "--out", tmp_path / "x"])
    assert code == 2 and "Permission denied" in text
