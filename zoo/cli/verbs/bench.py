"""Time the exported files of a model on this machine, or its training beside plain Keras'.

Every file has a process of its own; they take turns, so that a busy machine is the same for all.
Accuracy and agreement are those of the export, on as many examples as the manifests say. `zoo bench
serve DIRECTORY` times a server of one instead, with clients in a process of their own. `zoo bench
train [NAMES]` times trainings: the zoo's and `keras.Model.fit`'s of the same model take turns.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from zoo.cli import numbers, text
from zoo.common import staging

PICTURES = (".png", ".svg", ".pdf", ".jpg", ".jpeg")
SHOWN = 12  # layers of a file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `zoo bench`."""
    parser.add_argument(
        "folder", nargs="+", metavar="[serve | train] folder",
        help="a directory of `zoo export`, or one that holds several; of serve, one; of train, "
        "names of models (default: one of each family)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=numbers.whole(most=1024), nargs="+", default=[1, 2], metavar="N",
        help="threads of one inference (default: 1 2)",
    )  # fmt: skip
    parser.add_argument(
        "--rounds", type=numbers.whole(), default=10, help="turns of each side (default: 10)"
    )
    parser.add_argument(
        "--layers", action="store_true", help="also the time of each layer (ONNX, OpenVINO)"
    )
    parser.add_argument(
        "--picture", type=Path, metavar="PNG", help="draw accuracy over size and over time"
    )
    parser.add_argument(
        "--clients", type=numbers.whole(most=1024), nargs="+", default=[1, 4, 16], metavar="N",
        help="of serve: clients that ask at a time (default: 1 4 16)",
    )  # fmt: skip
    parser.add_argument(
        "--seconds", type=numbers.above_zero, default=5.0,
        help="of serve: how long each number of clients asks; of train: a turn (default: 5)",
    )  # fmt: skip
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="changes",
        help="of serve: a setting of the server, e.g. num_workers=2; of train: of the recipes",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace the file at --picture")


def run(arguments: argparse.Namespace) -> None:
    """Measures and prints a table, fastest first."""
    if arguments.folder[0] == "train":
        _train(arguments, arguments.folder[1:])
        return
    *what, folder = arguments.folder
    if what == ["serve"]:
        _serve(arguments, Path(folder))
        return
    if what:
        raise ValueError(f"bench: got {' '.join(arguments.folder)}; expected one folder.")
    if arguments.picture:
        if arguments.picture.suffix.lower() not in PICTURES:
            raise ValueError(f"--picture: got {arguments.picture}; expected NAME.png.")
        staging.check_file(arguments.picture, force=arguments.force)
    from export.benchmark import fastest
    from zoo.stages.bench import bench, layer_times

    found = bench(folder, threads=arguments.threads, rounds=arguments.rounds)
    rows = [_row(timing) for timing in found]
    layers = layer_times(found) if arguments.layers else {}
    if arguments.picture:
        from zoo.craft.plots import tradeoff

        with staging.staged_file(arguments.picture) as partial:
            tradeoff([row for row in rows if row["p50_seconds"]], partial)
    if arguments.json:
        from zoo.training import provenance

        machine = {"processor": provenance.processor(), "cores": provenance.cores()}
        plain = {name: [one._asdict() for one in each] for name, each in layers.items()}
        print(text.document({"machine": machine, "files": rows, "layers": plain}))
        return
    header = ("file", "threads", "p50 ms", "p95 ms", "least ms", "size", "memory", "arithmetic")
    print(text.table((*header, "top-1", "same top-1"), [_cells(row) for row in rows]))
    best = fastest(found)
    if best:
        print(f"\nfastest on this machine: {best.path.name}, {best.threads} threads")
    for name, times in layers.items():
        print(f"\n{name}: the slowest layers")
        shown = [(one.name, one.kind, f"{1e3 * one.seconds:.3f}") for one in times[:SHOWN]]
        print(text.table(("layer", "kind", "ms"), shown))


def _serve(arguments: argparse.Namespace, folder: Path) -> None:
    from zoo.stages.bench_serve import bench_served

    rows = bench_served(
        folder,
        clients=arguments.clients,
        seconds=arguments.seconds,
        settings=arguments.changes,
    )
    if arguments.json:
        from zoo.training import provenance

        machine = {"processor": provenance.processor(), "cores": provenance.cores()}
        print(text.document({"machine": machine, "served": [row._asdict() for row in rows]}))
        return
    header = ("api", "clients", "requests/s", "p50 ms", "p99 ms", "over the file", "503", "wrong")
    cells = [
        (row.api, row.clients, f"{row.per_second:.0f}",
         *(f"{value:.2f}" for value in (row.p50_ms, row.p99_ms, row.over_ms)),
         row.refused, row.wrong)
        for row in rows
    ]  # fmt: skip
    print(text.table(header, cells))


def _train(arguments: argparse.Namespace, names: list[str]) -> None:
    from zoo.stages.bench_train import bench_trained
    from zoo.training import provenance

    header = (
        *("model", "batch", "precision", "ms", "Keras ms", "faster", "by cores", "float32 ms"),
        *("faster", "examples/s", "memory", "of Keras'", "of peak", "waiting", "steps a call"),
    )
    found = []
    measured = bench_trained(
        names, rounds=arguments.rounds, seconds=arguments.seconds, changes=arguments.changes
    )
    for row in measured:
        found.append(row)
        if not arguments.json:
            print(f"{row.name}: {row.faster:.2f} x plain Keras", flush=True)
    if arguments.json:
        machine = {"processor": provenance.processor(), "cores": provenance.cores()}
        versions = provenance.versions("keras", "tensorflow")
        facts = {"machine": machine, "versions": versions, "commit": provenance.commit()}
        print(text.document({**facts, "trained": [row._asdict() for row in found]}))
        return
    cells = [
        (one.name, one.batch_size, one.precision, f"{one.ms:.2f}", f"{one.keras_ms:.2f}",
         f"{one.faster:.2f}", f"{one.cpu_faster:.2f}", f"{one.float32_ms:.2f}",
         f"{one.float32_faster:.2f}", f"{one.per_second:.0f}", text.size(one.memory_bytes),
         f"{one.memory_ratio:.2f}",
         "-" if one.utilisation is None else f"{one.utilisation:.1%}", f"{one.waiting:.1%}",
         one.steps_per_call)
        for one in found
    ]  # fmt: skip
    print(text.table(header, cells))


def _row(timing: Any) -> dict[str, Any]:
    manifest = timing.manifest
    ran = bool(timing.seconds)
    return {
        "path": str(timing.path),
        "target": manifest.target,
        "threads": timing.threads,
        "p50_seconds": timing.quantile(0.5) if ran else None,
        "p95_seconds": timing.quantile(0.95) if ran else None,
        "least_seconds": min(timing.seconds) if ran else None,
        "calls": len(timing.seconds),
        "load_seconds": timing.load_seconds,
        "size_bytes": manifest.size_bytes,
        "memory_bytes": timing.model_bytes,
        "peak_bytes": timing.peak_bytes,
        "arithmetic": timing.precision,
        "metrics": manifest.score.file if manifest.score else {},
        "top1_agreement": manifest.parity.top1_agreement if manifest.parity else None,
        "error": timing.error,
    }


def _cells(row: dict[str, Any]) -> tuple[Any, ...]:
    times = [row[key] for key in ("p50_seconds", "p95_seconds", "least_seconds")]
    told = ["-" if value is None else f"{1e3 * value:.3f}" for value in times]
    sizes = text.size(row["size_bytes"]), text.size(row["peak_bytes"])
    name = Path(row["path"]).name
    right = row["metrics"].get("top1"), row["top1_agreement"]
    return (name, row["threads"], *told, *sizes, row["error"] or row["arithmetic"], *right)
