"""What a Service's pods answer, by way of the API server: nothing of the cluster's network need be in reach."""

from __future__ import annotations

import json
from typing import Any

from kubernetes import client, config


def ask(kubeconfig: str, namespace: str, service: str, path: str, body: Any = None) -> Any:
    """Return the JSON that port 8000 of *service* answers at *path*: to POST with a *body*, to GET without one.

    :raises kubernetes.client.ApiException: No pod is ready (503), or the answer is an error.
    """
    api: client.ApiClient = config.new_client_from_config(kubeconfig)
    answer = api.call_api(
        f"/api/v1/namespaces/{namespace}/services/{service}:8000/proxy{path}",
        "GET" if body is None else "POST",
        header_params={"Accept": "application/json", "Content-Type": "application/json"},
        body=body,
        auth_settings=["BearerToken"],
        _preload_content=False,
        _return_http_data_only=True,
        _request_timeout=30,
    )
    return json.loads(answer.data)
