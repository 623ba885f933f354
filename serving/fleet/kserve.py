"""KServe: an InferenceService of an image of `zoo serve`, which speaks both of its protocols.

Source: KServe's reference, serving.kserve.io/v1beta1. The container is a custom predictor.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from serving.fleet import Deployable, dns_name
from serving.fleet.kubernetes import pod, start, write_image
from serving.models.sessions import Sessions


def write(model: Deployable, out: Path) -> str:
    """See `fleet.Writer.write`: `Dockerfile`, `model/`, `inference_service.yaml`."""
    name = dns_name(model.manifest.name)
    write_image(model, out)
    held = pod(model)
    (image,) = held["containers"]
    image["name"] = "kserve-container"
    image.pop("lifecycle")  # Knative has its own
    image["ports"] = [{"containerPort": image["ports"][0]["containerPort"], "protocol": "TCP"}]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        image[probe]["httpGet"].pop("port")  # Knative fills in the container's only one
    service: dict[str, Any] = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name},
        "spec": {
            "predictor": {
                "minReplicas": 1,
                "maxReplicas": 10,
                "scaleMetric": "concurrency",
                "scaleTarget": 16,
                **held,
            }
        },
    }
    told = f"{start(model)} && kubectl apply -f inference_service.yaml"
    if Sessions(model.manifest.signature).states:  # KServe has no way to keep a client at its pod
        service["spec"]["predictor"]["maxReplicas"] = 1
        told += "  # one replica, as it keeps the sessions; more lose them"
    text = yaml.safe_dump(service, sort_keys=False)
    (out / "inference_service.yaml").write_text(text)
    return told
