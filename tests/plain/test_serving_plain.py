"""An ONNX directory is served, from start to answer, without TensorFlow and without Keras."""

import json
import subprocess
import sys

from tests.serving import kit

ASK = """
import http.client, json, sys, urllib.parse
from serving import Server

with Server(sys.argv[1], port=0) as server:
    url = urllib.parse.urlsplit(server.url)
    connection = http.client.HTTPConnection(url.netloc, timeout=30)
    connection.request("POST", url.path + ":predict", '{"instances": [1.0, 2.0, 5.0]}')
    answer = json.load(connection.getresponse())
heavy = sorted({"tensorflow", "keras", "ai_edge_litert"} & set(sys.modules))
print(json.dumps({"runtime": server.runtime, "answer": answer, "heavy": heavy}))
"""


def test_onnx_is_served_without_tensorflow(tmp_path):
    directory = tmp_path / "half_plus_three"
    kit.write_half_plus_three(directory)
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(directory)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["answer"] == {"predictions": [3.5, 4.0, 5.5]}
    assert told["heavy"] == []
    assert told["runtime"].startswith("ONNX Runtime")
