"""Requests a second beside the loop that people write, LitServe and Triton: figures, not tests.

    python tests/oracles/serve_time.py lenet5 [--clients 1 16] [--rounds 3] [--record]

The bundle is exported to TFLite; `zoo serve` answers from the file. The loop is FastAPI with
`model.predict` for each request; LitServe runs the same file and the same runtime, and batches; so
does the repository that `zoo deploy triton` writes, on Triton's Python backend. They are asked in
turn by the same clients, in processes of their own, with the same numbers. Needs fastapi and
litserve; Triton where the variable ZOO_TRITON names its program. `--record` writes the median of
the rounds to `zoo/results/serve.csv`.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

LOOP = """
import sys
import fastapi, numpy as np, uvicorn
from zoo.models.saved import load_model
model = load_model(sys.argv[1])
app = fastapi.FastAPI()

@app.post("/v1/models/{name}:predict")
async def predict(name: str, request: fastapi.Request):
    body = await request.json()
    (values,) = body["inputs"].values()
    return {"outputs": model.predict(np.array(values, "float32"), verbose=0).tolist()}

uvicorn.run(app, port=int(sys.argv[2]), log_level="error")
"""
LITSERVE = """
import sys
import litserve, numpy as np
from serving.engines import open_deployable

class Api(litserve.LitAPI):
    def setup(self, device):
        _, self.engine = open_deployable(sys.argv[1], num_threads=1)
        self.name = self.engine.signature.inputs[0].name

    def decode_request(self, request):
        (values,) = request["inputs"].values()
        return np.array(values, "float32")[0]

    def batch(self, inputs):
        return np.stack(inputs)

    def predict(self, x):
        (answer,) = self.engine.predict({self.name: x}).values()
        return answer

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        return {"outputs": [output.tolist()]}

if __name__ == "__main__":
    path = f"/v1/models/{sys.argv[3]}:predict"
    api = Api(max_batch_size=16, batch_timeout=0.002, api_path=path)
    server = litserve.LitServer(api, accelerator="cpu")
    server.run(port=int(sys.argv[2]), log_level="error", generate_client_file=False)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", help="or a file that Keras saved")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--record", action="store_true")
    chosen = parser.parse_args()
    import export
    import serving
    import zoo
    import zoo.results
    from export.manifest import Manifest
    from serving.engines import open_engines
    from zoo.models.saved import load_model

    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(chosen.bundle)
        if bundle.suffix == ".keras":
            done = export.export(load_model(bundle), "tflite", f"{folder}/{bundle.stem}")
        else:
            (done,) = zoo.export(chosen.bundle, "tflite", out=folder)
            bundle = zoo.bundle.find_bundle(chosen.bundle).path
        name = Manifest.read(done.path).name
        ours = ["-m", "serving", str(done.path), "--port", "{}", "--set", "grpc_port={}"]
        servers = [
            ("zoo serve", ours, ("rest", "grpc", "open")),
            ("FastAPI, `model.predict`", ["-c", LOOP, str(bundle), "{}"], ("rest",)),
            ("LitServe", [_write(folder, LITSERVE), str(done.path), "{}", name], ("rest",)),
        ]
        if triton := os.environ.get("ZOO_TRITON"):
            serving.deploy("triton", done.path, out=f"{folder}/triton")
            ports = ["--http-port", "{}", "--allow-grpc", "0", "--allow-metrics", "0"]
            command = [triton, "--model-repository", f"{folder}/triton", *ports]
            servers.append(("Triton, Python backend", command, ("open",)))
        found: dict[tuple, list[dict]] = {}
        for _ in range(chosen.rounds):
            for server, command, apis in servers:
                for api, row in _asked(command, apis, name, done.path, chosen):
                    found.setdefault((server, api, row["clients"]), []).append(row)
                    sys.stdout.write(f"{server} {api} {json.dumps(row)}\n")
                    sys.stdout.flush()
        alone_ms = 1e3 * open_engines(done.path, num_threads=1).seconds
    rows = [_row(name, alone_ms, *key, seen) for key, seen in found.items()]
    for row in rows:
        sys.stdout.write(f"{json.dumps(row)}\n")
    if chosen.record:
        zoo.results.merge("serve", rows)


def _row(name, alone_ms, server, api, clients, seen):
    """The median of the rounds."""
    from zoo.training import provenance

    def middle(key):
        return statistics.median(row[key] for row in seen)

    return {
        "name": name,
        "server": server,
        "api": api,
        "clients": clients,
        "per_second": round(middle("answered") / seen[0]["seconds"], 1),
        "p50_ms": round(middle("p50_ms"), 3),
        "p99_ms": round(middle("p99_ms"), 3),
        "file_ms": round(alone_ms, 3),
        "refused": sum(row["refused"] for row in seen),
        "wrong": sum(row["wrong"] for row in seen),
        "rounds": len(seen),
        "processor": provenance.processor(),
        "cores": provenance.cores(),
        "commit": provenance.commit(),
    }


def _write(folder: str, program: str) -> str:
    path = Path(folder) / "program.py"
    path.write_text(program)
    return str(path)


def _asked(command: list[str], apis: tuple[str, ...], name: str, directory: Path, chosen):
    """Starts a server; yields what the clients saw of each interface."""
    free = [_free(), _free()]  # of HTTP, of gRPC
    ports = iter(free)
    started = [part.replace("{}", str(next(ports))) if "{}" in part and len(part) < 20 else part
               for part in command]  # fmt: skip
    if not Path(started[0]).is_absolute() or started[0].endswith(".py"):
        started.insert(0, sys.executable)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    process = subprocess.Popen(
        started, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        _wait(free[0], f"/v2/models/{name}/ready" if apis == ("open",) else "/", process)
        for api in apis:
            load = [sys.executable, "-m", "serving.load", str(directory), "--clients"]
            load += [*map(str, chosen.clients), "--seconds", str(chosen.seconds), "--api", api]
            load += ["--url", f"http://127.0.0.1:{free[api == 'grpc']}"]
            done = subprocess.run(load, env=environment, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{command[:2]} {api}: {done.stderr[-500:]}")
            for line in done.stdout.splitlines():
                yield api, json.loads(line)
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait(port: int, path: str, process: subprocess.Popen) -> None:
    """Until the server answers; a model that is not ready yet is 400 of Triton."""
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5)
        except urllib.error.HTTPError as error:
            if error.code != 400:
                return
        except OSError:
            pass
        else:
            return
        if process.poll() is not None:
            raise SystemExit(f"a server ended with {process.returncode}") from None
        time.sleep(0.2)


if __name__ == "__main__":
    main()
