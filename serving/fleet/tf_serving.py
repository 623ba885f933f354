"""TF Serving: the model's folder, its configuration, an image and a compose file.

Source: TF Serving's model_server_config.proto, session_bundle_config.proto (batching parameters)
and monitoring_config.proto. Its binary runs SavedModels; requests to warm up with lie in the model.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from serving.fleet import Deployable, copy, has_free_size

IMAGE = "tensorflow/serving:2.19.1"
REST_PORT, GRPC_PORT = 8501, 8500

MODELS = """\
model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
"""
BATCHING = """\
max_batch_size { value: 32 }
batch_timeout_micros { value: 1000 }
max_enqueued_batches { value: 100 }
num_batch_threads { value: 4 }
"""
MONITORING = """\
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""
FLAGS = (
    "--model_config_file=/config/models.config",
    "--model_config_file_poll_wait_seconds=60",
    "--monitoring_config_file=/config/monitoring.config",
)
BATCHED = ("--enable_batching", "--batching_parameters_file=/config/batching_parameters.txt")


def write(model: Deployable, out: Path) -> str:
    """See `fleet.Writer.write`: `models/`, `config/`, `Dockerfile`, `compose.yaml`."""
    manifest = model.manifest
    if manifest.target != "saved_model":
        raise ValueError(
            f"{model.directory}: target {manifest.target!r} is not one of TF Serving; expected "
            "saved_model. Export to it: zoo export ... saved_model"
        )
    name = manifest.name
    copy(model.path, out / "models" / name / "1")
    config = out / "config"
    config.mkdir()
    (config / "models.config").write_text(MODELS.format(name=name))
    (config / "monitoring.config").write_text(MONITORING)
    flags = "".join(f', "{flag}"' for flag in FLAGS)
    if not has_free_size(manifest):  # TF Serving refuses a batch of several sizes
        (config / "batching_parameters.txt").write_text(BATCHING)
        flags += "".join(f', "{flag}"' for flag in BATCHED)
    (out / "Dockerfile").write_text(
        f"FROM {IMAGE}\nCOPY models /models\nCOPY config /config\n"
        f'ENTRYPOINT ["tensorflow_model_server", "--port={GRPC_PORT}", '
        f'"--rest_api_port={REST_PORT}"{flags}]\n'
    )
    service = {
        "build": ".",
        "ports": [f"127.0.0.1:{REST_PORT}:{REST_PORT}", f"127.0.0.1:{GRPC_PORT}:{GRPC_PORT}"],
        "restart": "unless-stopped",
    }
    text = yaml.safe_dump({"services": {"tf-serving": service}}, sort_keys=False)
    (out / "compose.yaml").write_text(text)
    return "docker compose up --build"
