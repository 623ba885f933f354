"""Requests a second beside the loop that people write, and beside LitServe: figures, not tests.

    python tests/oracles/serve_time.py lenet5 [--clients 1 16] [--rounds 3]

The bundle is exported to TFLite; `zoo serve` answers from the file. The loop is FastAPI with
`model.predict` for each request; LitServe runs the same file and the same runtime, and batches. All
three are asked in turn by the same clients, in processes of their own, with the same bodies. Needs
fastapi and litserve.
"""

import argparse
import json
import os
import socket
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
    parser.add_argument("bundle")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    chosen = parser.parse_args()
    import zoo
    from export.manifest import Manifest

    with tempfile.TemporaryDirectory() as folder:
        (done,) = zoo.export(chosen.bundle, "tflite", out=folder)
        name = Manifest.read(done.path).name
        bundle = zoo.bundle.find_bundle(chosen.bundle).path
        commands = {
            "zoo serve": ["-m", "serving", str(done.path), "--port", "{}"],
            "FastAPI": ["-c", LOOP, str(bundle), "{}"],
            "LitServe": [_write(folder, LITSERVE), str(done.path), "{}", name],
        }
        for round_number in range(chosen.rounds):
            for server, command in commands.items():
                for row in _asked(command, done.path, chosen):
                    sys.stdout.write(f"{round_number} {server} {json.dumps(row)}\n")
                    sys.stdout.flush()


def _write(folder: str, program: str) -> str:
    path = Path(folder) / "program.py"
    path.write_text(program)
    return str(path)


def _asked(command: list[str], directory: Path, chosen: argparse.Namespace) -> list[dict]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    started = [sys.executable, *(part.replace("{}", str(port)) if part == "{}" else part
                                 for part in command)]  # fmt: skip
    process = subprocess.Popen(
        started, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        _wait(port, process)
        load = [sys.executable, "-m", "serving.load", str(directory), "--clients"]
        load += [*map(str, chosen.clients), "--seconds", str(chosen.seconds)]
        load += ["--url", f"http://127.0.0.1:{port}"]
        done = subprocess.run(load, env=environment, capture_output=True, text=True, check=True)
        return list(map(json.loads, done.stdout.splitlines()))
    finally:
        os.killpg(process.pid, 15)
        process.wait()


def _wait(port: int, process: subprocess.Popen) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/nothing", timeout=5)
        except urllib.error.HTTPError:
            return
        except OSError:
            if process.poll() is not None:
                raise SystemExit(f"a server ended with {process.returncode}") from None
            time.sleep(0.2)


if __name__ == "__main__":
    main()
