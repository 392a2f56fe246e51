"""Credentials for one pod: a Secret of its own, that is deleted with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kubernetes.client import ApiException  # type: ignore[import-untyped]
from kubernetes.client import models as k8s

if TYPE_CHECKING:
    from collections.abc import Mapping

_EXISTS = 409


def give_secret(core: Any, pod: k8s.V1ObjectMeta, data: Mapping[str, str]) -> None:
    """Make the Secret that *pod* waits for, which has its name and belongs to it.

    It is made after the pod, so that there is an owner to name: whatever ends in between, no Secret stays behind.
    One that is there already was made by an earlier try of this task, which found the same pod.

    :param core: The CoreV1Api of the cluster.
    :raises ApiException: The cluster did not take it.
    """
    uid = core.read_namespaced_pod(pod.name, pod.namespace).metadata.uid
    owner = k8s.V1OwnerReference(api_version="v1", kind="Pod", name=pod.name, uid=uid)
    labels = {key: value for key, value in pod.labels.items() if key.startswith("modelberth.dev/")}
    metadata = k8s.V1ObjectMeta(name=pod.name, namespace=pod.namespace, owner_references=[owner], labels=labels)
    secret = k8s.V1Secret(metadata=metadata, type="Opaque", immutable=True, string_data=dict(data))
    try:
        core.create_namespaced_secret(pod.namespace, secret)
    except ApiException as error:
        if error.status != _EXISTS:
            raise
