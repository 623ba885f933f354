"""How long an ONNX file of a network takes to write, and how much memory: ours, and Keras' own.

    python tests/oracles/onnx_time.py ResNet50            at 224 x 224, twice each, in turns
    python tests/oracles/onnx_time.py VGG16 --ours        Keras' own takes more than 22 GB of memory

Each is a process of its own: seconds are from the call to the file, without the imports; memory is
the most that the process had, in all and less what it had before the call.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def write(network: str, side: int, how: str) -> dict:
    """Writes the file once, in this process, and returns seconds, processor seconds and bytes."""
    import keras

    from export.source import prepare
    from export.target import About, Source
    from export.targets.onnx import ONNX
    from export.worker import peak_bytes

    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, network)(weights=None, input_shape=(side, side, 3))
    model(keras.ops.zeros((1, side, side, 3)))  # Keras' exporter wants it to have been called
    before, start, cpu = peak_bytes(), time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        if how == "keras":
            model.export(Path(folder, "model.onnx"), format="onnx", verbose=False)
        else:
            net, signature = prepare(model)
            source = Source(net=net, signature=signature, about=About(), calibration={})
            ONNX().write(source, Path(folder))
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "more_bytes": peak_bytes() - before,
        "peak_bytes": peak_bytes(),
        "file_bytes": size,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("network", nargs="?", default="ResNet50")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--ours", action="store_true", help="leave Keras' own exporter out")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--one", choices=("ours", "keras"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        sys.stdout.write(json.dumps(write(given.network, given.side, given.one)) + "\n")
        return
    ways = ("ours",) if given.ours else ("ours", "keras")
    found: dict[str, list[dict]] = {way: [] for way in ways}
    for _ in range(given.rounds):
        for way in ways:
            order = [given.network, "--side", str(given.side), "--one", way]
            done = subprocess.run(
                [sys.executable, __file__, *order],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                check=True,
            )
            found[way].append(json.loads(done.stdout.splitlines()[-1]))
            sys.stdout.write(f"{given.network} {way} {found[way][-1]}\n")
            sys.stdout.flush()
    if not given.ours:
        least = {way: min(one["seconds"] for one in found[way]) for way in ways}
        sys.stdout.write(f"{least['keras'] / least['ours']:.1f} times as fast\n")


if __name__ == "__main__":
    main()
