"""The plan of the house: who may import whom, and what starts without TensorFlow."""

import ast
import graphlib
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("zoo", "compress", "export", "serving")

# Inside zoo, a file may import what stands on a lower floor, or on its own floor.
FLOORS = (
    ("zoo.common",),
    ("zoo.datasets", "zoo.catalog", "zoo.losses"),
    ("zoo.recipe", "zoo.bundle"),
    ("zoo.layers", "zoo.metrics"),
    ("zoo.data", "zoo.models", "zoo.weights", "zoo.environments"),
    ("zoo.tasks",),
    ("zoo.training", "zoo.baselines"),
    ("zoo.craft", "zoo.explain"),
    ("zoo.stages",),
    ("zoo.cli",),
    ("zoo.results",),  # what maintainers use; not in the wheel
)


def modules():
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield (
                ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"),
                path,
            )


def imports(path):
    """Every module that a file names in an import, at any depth; `from a import b` gives a.b.

    Imports for types count, and so does `import_module` of a name that is written there.
    """
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called == "import_module" and isinstance(node.args[0], ast.Constant):
                yield node.args[0].value


def floor(module):
    for number, names in enumerate(FLOORS):
        if any(module == name or module.startswith(name + ".") for name in names):
            return number
    return None


MODULES = dict(modules())


@pytest.mark.parametrize("module", MODULES)
def test_rooms_import_only_what_they_may(module):
    room = module.split(".")[0]
    for name in imports(MODULES[module]):
        other = name.split(".")[0]
        if other not in ROOMS or other == room or name.startswith("zoo.common."):
            continue
        may = module.startswith(("zoo.stages", "zoo.cli", "zoo.results"))
        # To walk and to rebuild a graph is said once, and so is to load what is compressed.
        lent = ("compress.graph.", "compress.layers", "compress.measure.packed.")
        may |= room == "zoo" and name.startswith(lent)
        may |= room == "serving" and name.startswith("export.manifest")
        assert may, f"{module} imports {name}"


@pytest.mark.parametrize("module", [m for m in MODULES if floor(m) is not None])
def test_floors_of_zoo(module):
    for name in imports(MODULES[module]):
        if floor(name) is not None:
            assert floor(name) <= floor(module), f"{module} imports {name}, which stands above it"


def test_every_module_of_zoo_has_a_floor():
    homeless = [m for m in MODULES if m.startswith("zoo.") and floor(m) is None]
    assert not homeless


def test_there_is_no_circle():
    """A package counts as the names that its `__init__` imports itself, at any depth."""
    graph = {
        module: {
            found
            for name in imports(path)
            # `from package import module` names the module; any other name stands in the package.
            if (found := name if name in MODULES else name.rpartition(".")[0]) in MODULES
            and found != module
        }
        for module, path in MODULES.items()
    }
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError with the circle


def test_imports_of_every_kind_are_seen(tmp_path):
    file = tmp_path / "file.py"
    file.write_text(
        "import a.b\n"
        "from c import d, e\n"
        "if TYPE_CHECKING:\n    from f import g\n"
        "def later():\n    from h import i\n"
        "    return import_module('j.k').l, importlib.import_module('m'), import_module(n)\n"
    )
    assert set(imports(file)) == {"a.b", "c.d", "c.e", "f.g", "h.i", "j.k", "m"}


PACKAGES = [module for module, path in MODULES.items() if path.name == "__init__.py"]


@pytest.mark.parametrize("package", PACKAGES)
def test_no_public_name_equals_a_submodule(package):
    public = set(getattr(importlib.import_module(package), "__all__", ()))
    files = {m.removeprefix(package + ".") for m in MODULES if m.startswith(package + ".")}
    assert not public & files


def test_every_room_has_public_names():
    assert all(importlib.import_module(room).__all__ for room in ROOMS)


INSTANT = [
    ["--help"],
    ["list"],
    ["list", "--json"],
    ["show", "vgg16"],
    ["train", "vgg16", "--dry-run"],
    ["train", "--help"],
    ["export", "--help"],
    ["compress", "--help"],
    ["serve", "--help"],
    ["ensemble", "--help"],
    ["baseline", "--help"],
    ["check", "--help"],
    ["find-lr", "--help"],
    ["tune", "--help"],
    ["weights", "--help"],
    ["weights", "list"],
]
REFUSED = [
    ["vgg16"],
    ["show", "vgg61"],
    ["train", "vgg16", "--dry-run", "--set", "train.epoch=1"],
    ["check", "vgg61"],
    ["find-lr", "vgg16", "--low", "0"],
    ["tune", "vgg16", "--range", "train.epoch=1:5"],
]


@pytest.mark.parametrize(
    ("arguments", "expected"), [(a, 0) for a in INSTANT] + [(a, 2) for a in REFUSED], ids=str
)
def test_questions_about_text_need_neither_tensorflow_nor_numpy(arguments, expected):
    code = (
        "import sys, json\n"
        "from zoo.cli import main\n"
        "try: status = main(sys.argv[1:])\n"
        "except SystemExit as end: status = end.code or 0\n"
        "heavy = sorted({'tensorflow', 'numpy', 'keras'} & set(sys.modules))\n"
        "print(json.dumps([status, heavy]), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
    )
    status, heavy = json.loads(done.stderr.splitlines()[-1])
    assert heavy == []
    assert status == expected


def test_import_of_every_room_is_light():
    code = (
        f"import sys; import {', '.join(ROOMS)}; "
        "sys.exit(bool({'tensorflow', 'numpy', 'keras'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0


def test_generated_parts_of_the_pages_are_current():
    from zoo.results import pages

    for page in pages.PAGES:
        text = (ROOT / page).read_text()
        assert pages.render(page, text) == text, f"{page}: run `python -m zoo.results`"


def test_no_file_names_a_registry_host_or_a_machine():
    hosts = [part + ".org" for part in ("pypi", "pythonhosted", "npmjs")] + [
        "/root" + "/",
        "/work" + "/",
    ]
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT)
    names = listed.stdout.split() if listed.returncode == 0 else []
    if not names:
        pytest.skip("not a git checkout")
    for name in names:
        path = ROOT / name
        if (
            path.suffix in {".py", ".md", ".toml", ".txt", ".yaml", ".yml", ".json", ""}
            and path.is_file()
        ):
            found = [host for host in hosts if host in path.read_text(errors="ignore")]
            assert not found, f"{name}: {found}"
