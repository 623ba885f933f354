"""Kubernetes: an image of `zoo serve`, a Deployment with probes, a Service, an autoscaler.

Source: the API's reference, apps/v1, v1, autoscaling/v2.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from serving.engines import ENGINES
from serving.fleet import Model, copy, dns_name

PORT, GRPC_PORT = 8501, 8500
DRAIN_SECONDS = 30
USER = 10001

DOCKERFILE = """\
FROM python:3.12-slim
RUN pip install --no-cache-dir keras-model-zoo
COPY model /models/{name}/1
USER {user}
EXPOSE {port} {grpc_port}
ENTRYPOINT ["python", "-m", "serving", "/models/{name}", "--host", "0.0.0.0", "--port", "{port}", \\
            "--set", "grpc_port={grpc_port}", "--set", "drain_seconds={drain}"]
"""


def write(model: Model, out: Path) -> str:
    """See `fleet.Engine.write`: `Dockerfile`, `model/`, `kubernetes.yaml`."""
    name = dns_name(model.manifest.name)
    write_image(model, out)
    documents = [_deployment(name), _service(name), _autoscaler(name)]
    (out / "kubernetes.yaml").write_text(yaml.safe_dump_all(documents, sort_keys=False))
    return f"docker build -t {name} . && kubectl apply -f kubernetes.yaml"


def write_image(model: Model, out: Path) -> None:
    """Writes `Dockerfile` and `model/`, an image of `zoo serve`.

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
            name=dns_name(model.manifest.name), user=USER, port=PORT, grpc_port=GRPC_PORT,
            drain=DRAIN_SECONDS,
        )
    )  # fmt: skip


def container(name: str) -> dict[str, Any]:
    """Returns the container of the image: ports, probes, limits, and no rights that it can lose."""

    def probe(path: str, seconds: int) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": "http"}, "periodSeconds": seconds}

    return {
        "name": name,
        "image": name,
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
            "limits": {"memory": "1Gi"},
        },
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],
    }


def _deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    scraped = {
        "prometheus.io/scrape": "true",
        "prometheus.io/path": "/metrics",
        "prometheus.io/port": str(PORT),
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": labels, "annotations": scraped},
                "spec": {
                    "terminationGracePeriodSeconds": DRAIN_SECONDS + 10,
                    "containers": [container(name)],
                    "volumes": [{"name": "scratch", "emptyDir": {}}],
                },
            },
        },
    }


def _service(name: str) -> dict[str, Any]:
    ports = [("http", PORT), ("grpc", GRPC_PORT)]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "selector": {"app": name},
            "ports": [{"name": kind, "port": port, "targetPort": kind} for kind, port in ports],
        },
    }


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
