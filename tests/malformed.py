"""Command lines that no one means, and files that something has happened to, by the thousand.

`lines` draws; `Damage` writes. What comes of them is one line and exit 2, or 1 for a failed check.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
import signal
import traceback
import zipfile
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

VALUES = (
    *("", "yes", "no", "on", "off", "-1", "0", "1e400", "nan", ".nan", "inf", ".inf", "-0", "010"),
    *("0x10", "1:30", "1e-3", "[", "{", "'", "a: b: c", "[1,2]", "{a: 1}", "null", "~", "true"),
    *("1_000", "9" * 30, "9" * 5000, "\x00", "\n", "\u00e9", "\U0001f600", "*a", "&a [*a]", "-5"),
    *("!!python/object:os.system x", "!!int x", "!!binary x", "2020-01-01", "-", "--", "=", "a=b"),
    *("x" * 3000, "1.5", "0.5", "[[[[", "%", "@", "`", "? ", "<<", "!", "|", ">", "#", "- 1"),
    *("[true]", "{kind: 3}", "{kind: []}", "{kind: {}}", "\u0665", "1e5", " 3", "+3", "0b1"),
)
KEYS = (
    *("train.epochs", "train.batch_size", "train.optimizer.learning_rate", "train.optimizer.kind"),
    *("train.optimizer.nesterov", "train.optimizer", "train.optimizer.milestones", "train.phases"),
    *("train.optimizers", "train", "data", "data.name", "data.size", "data.augment", "data.limit"),
    *("data.augment.mirror", "data.stream", "data.channels", "seed", "hardware.devices", "model"),
    *("hardware", "task", "task.kind", "task.loss", "task.loss.kind", "task.label_smoothing"),
    *("settings", "settings.units", "settings.batch_norm", "environment", "environment.name"),
    *("", "a", "a.b", "train..epochs", ".", "..", "train.epochs.x", "train.phases.0"),
)
PLACES = ("o", "plain/x", "loop", "loop/x", ".", "/", "..", "", "b/model.keras", "/proc/x", "b")
FILES = (
    *("b", "nothing", "plain", "loop", "b/card.json", "b/model.keras", "empty", "", ".", "/"),
    *("/dev/null", "d.packed", "x" * 300, "\x00", "bad.keras", "e/b-tflite"),
)


def prepare(bundle: Path, work: Path) -> None:
    """Lays out what the lines name."""
    shutil.copytree(bundle, work / "b")
    (work / "plain").write_text("x")
    (work / "loop").symlink_to(work / "loop")
    (work / "empty").mkdir()
    (work / "d.packed").write_bytes(b"KPACK2" + bytes(80))
    (work / "bad.keras").write_bytes(b"PK")
    (work / "s.npy").write_bytes(b"\x93NUMPY")
    (work / "s.npz").write_bytes(b"PK")
    (work / "r.yaml").write_text("passes: [{kind: prune, sparsity: .nan}]")
    (work / "p.yaml").write_text("model: [")


def line(seed: int) -> list[str]:
    """Returns one command line that is wrong, or does nothing; none trains or writes."""
    rng = random.Random(seed)
    value, other, key = rng.choice(VALUES), rng.choice(VALUES), rng.choice(KEYS)
    change = rng.choice([f"{key}={value}", f"{key}={value}", key, value, f"={value}"])
    place, file = rng.choice(PLACES), rng.choice(FILES)
    span = rng.choice([change, f"{key}={value}:{other}", f"{key}={value},{other}"])
    plan = rng.choice(["nope", value, "plain", "r.yaml", "b/recipe.yaml"])
    return rng.choice(
        [
            ["train", rng.choice(["mlp", "lenet5", value]), "--dry-run", "--set", change],
            ["train", "mlp", "--dry-run", "--set", change, "--set", f"{key}={other}"],
            ["train", "mlp", "--dry-run", "--data", rng.choice(["folder:", "text:", value])],
            ["train", "mlp", "--data", "folder:" + file, "--out", place],
            ["train", "mlp", "--resume", "--out", place],
            ["show", rng.choice(["mlp", value]), "--layers", "--input", other],
            ["show", "mlp", "--layers", "--classes", value + "x"],
            ["list", value, "--nope"],
            ["weights", rng.choice(["list", "get", value]), other],
            ["evaluate", file, "--split", value],
            ["predict", file, rng.choice([value, "plain"]), "--top", other],
            ["play", file, "--episodes", value],
            ["generate", file, "--count", value, "--set", change],
            ["generate", file, "--seed", value],
            ["compress", file, plan, "--set", change, "--out", place],
            ["compress", "b", "int8", "--set", f"{key}={value}", "--out", "b"],
            ["export", file, value, "--set", change, "--out", place],
            ["export", "b", "onnx", "--set", f"opset={value}x", "--out", place],
            ["export", file, "onnx", "--samples", rng.choice(["plain", "s.npy", "s.npz", "b"])],
            ["bench", "empty", "--rounds", value],
            ["bench", file, "--threads", value, "x"],
            ["serve", file, "--port", value],
            ["serve", file, "--host", ""],
            ["find-lr", "mlp", "--low", value, "--high", "1e-9"],
            ["find-lr", "mlp", "--steps", "1", "--low", value],
            ["tune", "mlp", "--range", span, "--trials", "0"],
            [
                "tune",
                rng.choice(["b/recipe.yaml", "p.yaml"]),
                "--space",
                rng.choice(["b", "r.yaml"]),
            ],
            ["baseline", "nope" + value, "--data", other],
            ["baseline", "knn", "--limit", value, "--size", "0"],
            ["ensemble", place, file],
            ["check", "mlp", "--set", change, "--nope"],
            [value],
            [value, other],
            ["train", "mlp", f"--{value}x"],
            ["train", "mlp", "--forc"],
        ]
    )


MOST_SECONDS = 120  # for one command, most of which end at once


def run(arguments: list[object]) -> tuple[int, str]:
    """Runs a command line in this process; returns its exit code and what it said of itself.

    The code is 99 for a traceback, of which the text tells.
    """
    from zoo.cli import main

    def late(*_: object) -> None:
        raise TimeoutError(f"{arguments}: still at work after {MOST_SECONDS} s, e.g. serving.")

    out, err = io.StringIO(), io.StringIO()
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(MOST_SECONDS)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(argument) for argument in arguments])
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        return 99, traceback.format_exc()
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return code, err.getvalue()


# --- damaged files ---

HEADER = "{'descr': '<f8', 'fortran_order': False, 'shape': (100000000000,), }"
NPY = b"\x93NUMPY\x01\x00v\x00" + HEADER.ljust(117).encode() + b"\n"  # declares 800 GB
ANYWHERE = {
    "empty": b"",
    "a zero": b"\0",
    "text": b"hello",
    "null": b"null",
    "a list": b"[1, 2]",
    "a number": b"3",
    "deep": b"[" * 100_000,
    "deep keys": b'{"a":' * 50_000,
    "not UTF-8": b"model: \xe9\xff",
    "UTF-16": "{}".encode("utf-16"),
    "long number": b'{"parameters": ' + b"9" * 5000 + b"}",
    "keys that are numbers": b"1: 2",
    "a zip": b"PK\x03\x04" + bytes(100),
}
YAML = {
    "holds itself": b"model: &a [*a]",
    "unfolds": b"a: &a [1,1,1,1,1,1,1,1,1]\n"
    + b"".join(
        b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join(b"*%c" % (97 + i) for _ in range(9)))
        for i in range(8)
    ),
    "twice": b"model: mlp\nmodel: lenet5",
    "python": b"model: !!python/object/apply:os.system [true]",
    "tabs": b"\tmodel: mlp",
}


def changes(values: dict) -> dict[str, bytes]:
    """Returns JSON in which each key in turn is gone, or of another kind."""
    found = {}
    for key in values:
        for name, wrong in (("null", None), ("text", "x"), ("list", [1, {}]), ("minus", -1)):
            found[f"{key} {name}"] = json.dumps({**values, key: wrong}).encode()
        found[f"no {key}"] = json.dumps({k: v for k, v in values.items() if k != key}).encode()
    return found


def cut(content: bytes) -> dict[str, bytes]:
    """Returns the beginning of a file, and the file with bytes that flipped."""
    found = {f"cut at {share}": content[: int(len(content) * share)] for share in (0.1, 0.5, 0.95)}
    rng = random.Random(0)
    for number in range(4):
        flipped = bytearray(content)
        for _ in range(3):
            flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
        found[f"flipped {number}"] = bytes(flipped)
    return found


class Damage:
    """A bundle, files beside it, and what can happen to them.

    Args:
        bundle: A whole one, of pictures.
        work: A folder to write to.
    """

    def __init__(self, bundle: Path, work: Path):
        self.bundle, self.work = bundle, work
        self.copy, self.picture = work / "copy", work / "good.png"
        shutil.copytree(bundle, self.copy)
        noise = np.random.RandomState(0).randint(0, 256, (32, 32)).astype(np.uint8)
        Image.fromarray(noise).save(self.picture)

    def cards(self):
        """Yields a name and a command line for each damaged card, report, recipe and history."""
        ask = {
            "card.json": ["predict", self.copy, self.picture],
            "recipe.yaml": ["evaluate", self.copy],
        }
        ask["report.json"] = ["compress", self.copy, "int8", "--out", self.work / "x"]
        for name, arguments in ask.items():
            path = self.copy / name
            good = path.read_bytes()
            wrong = ANYWHERE | (YAML if name == "recipe.yaml" else {}) | {"cut": good[:185]}
            if name != "recipe.yaml":
                wrong |= changes(json.loads(good))
            for what, content in wrong.items():
                path.write_bytes(content)
                yield f"{name}: {what}", arguments
            path.unlink()
            yield f"{name}: gone", arguments
            path.mkdir()
            yield f"{name}: a directory", arguments
            path.rmdir()
            path.write_bytes(good)

    def examples(self):
        """Yields the same for samples.npz, where the data set is not at hand, and for --samples."""
        path, recipe = self.copy / "samples.npz", self.copy / "recipe.yaml"
        good, text = dict(np.load(path)), recipe.read_text()
        recipe.write_text(text.replace("name: digits", "name: folder:gone"))
        arguments = ["evaluate", self.copy]
        for what, content in (ANYWHERE | cut(path.read_bytes())).items():
            path.write_bytes(content)
            yield f"samples.npz: {what}", arguments
        for what, change in {
            "wide": lambda v: v.astype(np.float64),
            "objects": lambda v: np.array([{}], dtype=object),
            "none": lambda v: v[:0],
            "flat": lambda v: v.reshape(-1),
        }.items():
            np.savez(path, **{name: change(values) for name, values in good.items()})
            yield f"samples.npz: {what}", arguments
        np.savez(path, other=np.zeros(3))
        yield "samples.npz: others", arguments
        for what, how, blocks in (
            ("declared", zipfile.ZIP_STORED, 0),
            ("bomb", zipfile.ZIP_DEFLATED, 40),
        ):
            with zipfile.ZipFile(path, "w", how) as archive:
                for name in good:
                    with archive.open(f"{name}.npy", "w") as file:
                        file.write(NPY)
                        for _ in range(blocks):
                            file.write(bytes(2**23))
            yield f"samples.npz: {what}", arguments
        recipe.write_text(text)
        np.savez(path, **good)
        for what, content in (ANYWHERE | {"declared": NPY, "cut": NPY[:20]}).items():
            file = self.work / "x.npy"
            file.write_bytes(content)
            yield (
                f"x.npy: {what}",
                ["export", self.bundle, "tflite", "--samples", file, "--out", self.work / "x"],
            )

    def pictures(self):
        """Yields the same for pictures, and for rows of a table."""
        path = self.work / "bad.png"
        for what, content in (ANYWHERE | cut(self.picture.read_bytes())).items():
            if what.startswith("flipped"):
                continue  # a picture with other pixels is a picture
            path.write_bytes(content)
            yield f"picture: {what}", ["predict", self.bundle, path]
        yield "picture: a directory", ["predict", self.bundle, self.work]
        yield "picture: a device", ["predict", self.bundle, "/dev/zero"]

    def models(self):
        """Yields the same for `.keras` files."""
        path = self.work / "bad.keras"
        arguments = ["export", path, "tflite", "--out", self.work / "x"]
        whole = (self.bundle / "model.keras").read_bytes()
        with zipfile.ZipFile(self.bundle / "model.keras") as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        for what, content in ({**ANYWHERE, **cut(whole)}).items():
            if what.startswith("flipped"):
                continue  # where nothing checks it: the sums of a zip cover what is read
            path.write_bytes(content)
            yield f"model.keras: {what}", arguments

        def write(**changed):
            with zipfile.ZipFile(path, "w") as archive:
                for name, content in {**parts, **changed}.items():
                    if content is not None:
                        archive.writestr(name, content)

        for name in ("config.json", "model.weights.h5"):
            for what, content in {**ANYWHERE, "gone": None, "cut": parts[name][:2000]}.items():
                write(**{name: content})
                yield f"{name}: {what}", arguments
        for what, change in CONFIGS.items():
            config = json.loads(parts["config.json"])
            change(config)
            write(**{"config.json": json.dumps(config)})
            yield f"config.json: {what}", arguments
        for what, change in WEIGHTS.items():
            file = self.work / "weights.h5"
            file.write_bytes(parts["model.weights.h5"])
            with h5py.File(file, "r+") as weights:
                change(weights, weights.visititems(_dataset))
            write(**{"model.weights.h5": file.read_bytes()})
            yield f"weights: {what}", arguments
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in parts.items():
                archive.writestr(name, content)
            with archive.open("assets/x", "w") as file:
                for _ in range(40):
                    file.write(bytes(2**23))
        yield "model.keras: bomb", arguments
        bad = self.copy / "model.keras"
        bad.write_bytes(b"x")
        for verb in (["evaluate"], ["predict"], ["compress"], ["export"]):
            rest = {"predict": [self.picture], "compress": ["int8", "--out", self.work / "x"],
                    "export": ["onnx", "--out", self.work / "x"]}.get(verb[0], [])  # fmt: skip
            yield f"bundle's model.keras, {verb[0]}", [*verb, self.copy, *rest]
        bad.write_bytes(whole)

    def packed(self, good: bytes):
        """Yields the same for packed models, in a bundle that is shipped so."""
        (self.copy / "model.keras").unlink()
        path = self.copy / "model.packed"
        for what, content in (ANYWHERE | cut(good)).items():
            path.write_bytes(content)
            yield f"model.packed: {what}", ["predict", self.copy, self.picture]

    def deployables(self, good: Path):
        """Yields the same for manifests and exported files, to be evaluated, timed and served."""
        place = self.work / "deployable"
        shutil.copytree(good, place)
        manifest, file = place / "manifest.json", place / "model.tflite"
        text, content = manifest.read_bytes(), file.read_bytes()
        verbs = (
            ["evaluate", self.bundle, "--file", place],
            ["bench", place],
            ["serve", place, "--port", 0],
        )
        values = json.loads(text)
        wrong = {**ANYWHERE, "cut": text[:300]}
        wrong |= {
            k: v for k, v in changes(values).items() if k.removeprefix("no ").split()[0] not in FREE
        }
        for name in ("../copy/model.keras", "/etc/passwd", "", ".", "..", "manifest.json", "x\0"):
            wrong[f"file {name!r}"] = json.dumps({**values, "file": name}).encode()
        wrong["rejected"] = json.dumps({**values, "rejected": "too far off"}).encode()
        for number, (what, changed) in enumerate(wrong.items()):
            manifest.write_bytes(changed)
            yield f"manifest.json: {what}", verbs[number % 3]
        manifest.write_bytes(text)
        for number, (what, changed) in enumerate((ANYWHERE | cut(content)).items()):
            file.write_bytes(changed)
            yield f"model.tflite: {what}", verbs[number % 3]
        file.unlink()
        yield "model.tflite: gone", verbs[0]


FREE = ("options", "size_bytes", "gzip_bytes", "labels", "precision", "operators", "proof",
        "reads", "units",
        "parity", "edges", "score", "facts", "meanings", "task", "versions",
        "source_sha256", "keras", "preprocessing",
        "name", "schema_version", "rejected", "names", "distance", "ranges")  # fmt: skip


def _dense(config: dict) -> dict:
    layers = config["config"]["layers"]
    return next(layer for layer in layers if layer["class_name"] == "Dense")["config"]


def _history(name: str) -> list[dict]:
    tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}}
    return [{"args": [tensor], "kwargs": {}}]


def _layer(**config) -> dict:
    usual = {"module": "keras.layers", "registered_name": None, "name": "more", "inbound_nodes": []}
    return {**usual, **config}


LAMBDA = {"class_name": "__lambda__", "config": {"code": "x", "defaults": None, "closure": None}}
SYSTEM = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
CONFIGS = {
    "units 4e7": lambda c: _dense(c).update(units=40_000_000),
    "units 1e30": lambda c: _dense(c).update(units=10**30),
    "units -1": lambda c: _dense(c).update(units=-1),
    "units a text": lambda c: _dense(c).update(units="x"),
    "units too many": lambda c: _dense(c).update(units=_dense(c)["units"] + 1),
    "the function system": lambda c: _dense(c).update(activation=SYSTEM),
    "an unknown key": lambda c: _dense(c).update(nope=1),
    "an unknown type": lambda c: _dense(c).update(dtype="float77"),
    "an initializer of code": lambda c: _dense(c).update(
        kernel_initializer={"module": "builtins", "class_name": "eval", "config": {}}
    ),
    "a slash in a name": lambda c: _dense(c).update(name="a/b"),
    "an unknown class": lambda c: c.update(class_name="Nope"),
    "a process": lambda c: c.update(module="subprocess", class_name="Popen", registered_name=None),
    "a layer alone": lambda c: c.update(class_name="Dense"),
    "no configuration": lambda c: c.update(config=None),
    "no layers": lambda c: c["config"].update(layers=[]),
    "layers that are none": lambda c: c["config"].update(layers=None),
    "a layer of nothing": lambda c: c["config"]["layers"][1].update(inbound_nodes=[]),
    "a layer of nobody": lambda c: c["config"]["layers"][1].update(inbound_nodes=_history("x")),
    "a huge input": lambda c: c["config"]["layers"][0]["config"].update(
        batch_shape=[None, 10**9, 10**9, 1]
    ),
    "an input of text": lambda c: c["config"]["layers"][0]["config"].update(batch_shape=["x"]),
    "somebody's own class": lambda c: c["config"]["layers"].append(
        _layer(module=None, class_name="Mine", config={}, registered_name="mine>Mine")
    ),
    "a lambda": lambda c: c["config"]["layers"].append(
        _layer(class_name="Lambda", config={"name": "l", "function": LAMBDA})
    ),
}


def _dataset(name: str, part: object) -> str | None:
    return name if isinstance(part, h5py.Dataset) else None


def _declare(weights: h5py.File, name: str) -> None:
    del weights[name]
    weights.create_dataset(name, shape=(10**11,), dtype="f4", chunks=(1000,))


def _spell(weights: h5py.File, name: str) -> None:
    del weights[name]
    weights[name] = np.array([b"x"])


def _void(weights: h5py.File, name: str) -> None:
    weights[name][...] = np.nan


WEIGHTS = {
    "one gone": lambda weights, name: weights.pop(name),
    "one of 400 GB": _declare,
    "one of texts": _spell,
    "one of no numbers": _void,
}
