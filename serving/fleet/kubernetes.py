"""Kubernetes: an image of `zoo serve`, a Deployment with probes, a Service, an autoscaler.

Source: the API's reference, apps/v1, v1, autoscaling/v2. The image has what serving needs, in the
versions that are installed here, and TensorFlow only for a SavedModel. The pod asks for a token,
which is a Secret; encryption is left to what stands before it.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from serving.engines import ENGINES
from serving.fleet import Deployable, copy, dns_name
from serving.models.sessions import Sessions
from serving.settings import MEBIBYTE

PORT, GRPC_PORT = 8501, 8500
DRAIN_SECONDS = 30
USER = 10001
TOKEN = "/secrets/token"
MOST_BODY, MOST_BODIES = 16 * MEBIBYTE, 64 * MEBIBYTE  # read as JSON, a body is many times larger
MEMORY = {"tensorflow": "4Gi"}  # of a pod, by its runtime; the others:
MEMORY_ELSE = "2Gi"

NEEDED = (  # what `python -m serving` imports, and what that needs to be installed
    *("grpcio", "httptools", "msgspec", "numpy", "pillow", "prometheus-client", "protobuf"),
    *("pycocotools", "pydantic", "pysimdjson", "python-multipart", "pyyaml", "scipy"),
    *("starlette", "uvicorn", "uvloop"),
)
RUNTIMES = {"tflite": "ai-edge-litert", "onnx": "onnxruntime", "openvino": "openvino",
            "saved_model": "tensorflow"}  # fmt: skip

DOCKERFILE = """\
FROM python:3.12-slim
RUN pip install --no-cache-dir --no-deps keras-model-zoo=={zoo} \\
 && pip install --no-cache-dir {needed}
COPY model /models/{name}/1
USER {user}
EXPOSE {port} {grpc_port}
ENTRYPOINT ["python", "-m", "serving", "/models/{name}", "--host", "0.0.0.0", "--port", "{port}", \\
            "--set", "grpc_port={grpc_port}", "--set", "drain_seconds={drain}", \\
            "--set", "max_body_bytes={body}", "--set", "max_bodies_bytes={bodies}", \\
            "--set", "token_file={token}"]
"""


def write(model: Deployable, out: Path) -> str:
    """See `fleet.Writer.write`: `Dockerfile`, `model/`, `kubernetes.yaml`."""
    name = dns_name(model.manifest.name)
    write_image(model, out)
    documents = [_deployment(model), _service(model), _autoscaler(name)]
    (out / "kubernetes.yaml").write_text(yaml.safe_dump_all(documents, sort_keys=False))
    return f"{start(model)} && kubectl apply -f kubernetes.yaml"


def start(model: Deployable) -> str:
    """Returns the commands that build the image, and make the token where there is none."""
    secret = f"{dns_name(model.manifest.name)}-token"
    made = f'kubectl create secret generic {secret} --from-literal=token="$(openssl rand -hex 32)"'
    known = f"kubectl get secret {secret} > /dev/null 2>&1"  # of the version before
    return f"docker build -t {image(model)} . && {{ {known} || {made}; }}"


def image(model: Deployable) -> str:
    """Returns name and tag of the image: another file is another image."""
    return f"{dns_name(model.manifest.name)}:{model.manifest.sha256[:12]}"


def write_image(model: Deployable, out: Path) -> None:
    """Writes `Dockerfile` and `model/`, an image of `zoo serve` under the model's own name.

    Raises:
        ValueError: `zoo serve` does not run such a file.
    """
    if model.manifest.target not in ENGINES:
        raise ValueError(
            f"{model.directory}: target {model.manifest.target!r} is not served by zoo serve; "
            f"expected {', '.join(ENGINES)}."
        )
    copy(model.directory, out / "model")
    (out / "Dockerfile").write_text(
        DOCKERFILE.format(
            name=model.manifest.name, user=USER, port=PORT, grpc_port=GRPC_PORT,
            drain=DRAIN_SECONDS, body=MOST_BODY, bodies=MOST_BODIES, token=TOKEN,
            zoo=version("keras-model-zoo"),
            needed=" ".join(map(_pinned, sorted((*NEEDED, _runtime(model))))),
        )
    )  # fmt: skip


def _runtime(model: Deployable) -> str:
    """The distribution that runs the file."""
    target = model.manifest.target
    return next(runtime for start, runtime in RUNTIMES.items() if target.startswith(start))


def _pinned(distribution: str) -> str:
    try:
        return f"{distribution}=={version(distribution)}"
    except PackageNotFoundError:  # it is not needed to write an image
        return distribution


def pod(model: Deployable) -> dict[str, Any]:
    """Returns what a pod holds: the container, room to write, the token."""
    secret = {"secretName": f"{dns_name(model.manifest.name)}-token", "defaultMode": 0o440}
    return {
        "automountServiceAccountToken": False,
        "securityContext": {"fsGroup": USER},
        "containers": [container(model)],
        "volumes": [{"name": "scratch", "emptyDir": {}}, {"name": "token", "secret": secret}],
    }


def container(model: Deployable) -> dict[str, Any]:
    """Returns the container of the image: ports, probes, limits, and no rights that it can lose."""
    name, memory = dns_name(model.manifest.name), MEMORY.get(_runtime(model), MEMORY_ELSE)

    def probe(path: str, seconds: int) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": "http"}, "periodSeconds": seconds}

    return {
        "name": name,
        "image": image(model),
        "ports": [
            {"name": "http", "containerPort": PORT},
            {"name": "grpc", "containerPort": GRPC_PORT},
        ],
        "startupProbe": probe("/readyz", 1) | {"failureThreshold": 60},
        "readinessProbe": probe("/readyz", 5),
        "livenessProbe": probe("/healthz", 10),
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "5"]}}},  # until routes are gone
        "resources": {
            "requests": {"cpu": "500m", "memory": "256Mi"},
            "limits": {"memory": memory},
        },
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "scratch", "mountPath": "/tmp"},
            {"name": "token", "mountPath": str(Path(TOKEN).parent), "readOnly": True},
        ],
    }


def _deployment(model: Deployable) -> dict[str, Any]:
    name = dns_name(model.manifest.name)
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": DRAIN_SECONDS + 10, **pod(model)},
            },
        },
    }


def _service(model: Deployable) -> dict[str, Any]:
    name, ports = dns_name(model.manifest.name), [("http", PORT), ("grpc", GRPC_PORT)]
    spec: dict[str, Any] = {
        "selector": {"app": name},
        "ports": [{"name": kind, "port": port, "targetPort": kind} for kind, port in ports],
    }
    if Sessions(model.manifest.signature).states:  # each pod keeps those of its own clients
        spec["sessionAffinity"] = "ClientIP"
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def _autoscaler(name: str) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": 70}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": 2,
            "maxReplicas": 10,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    }
