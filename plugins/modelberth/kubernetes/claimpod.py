"""One short command of our program in a pod on a claim, waited for; for what takes seconds and no release needs.

create -> wait until it has ended -> its last line -> delete, whatever happened
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from modelberth.kubernetes import ourpod
from modelberth.kubernetes.client import ClusterUnreachableError, ObjectMissingError
from modelberth.kubernetes.pods import trouble
from modelberth.kubernetes.usage import OURS

if TYPE_CHECKING:
    import logging
    from collections.abc import Sequence

    from modelberth.catalog import Service
    from modelberth.kubernetes.client import Cluster

Document = dict[str, Any]

_PREVIEW = "modelberth.dev/preview"
CLAIM = "/claim"
PATIENCE = 900
"""Seconds until it has to run: a claim to attach, an image to pull, a node to come."""

LONGEST = 3600
"""Seconds that it may run."""

_NODE_NAME = {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
_LINES = 10_000
_UNREACHABLE_FOR = 60
"""Seconds for which an API server that does not answer is asked again."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How the pod's program ended.

    :param message: The one line of JSON that it leaves; else what it said last.
    """

    where: str
    exit_code: int
    message: str
    reason: str
    node: str


class PodLostError(Exception):
    """The pod never ran, or is gone, and its result with it. Trying again may help."""


class ClaimPod:
    """Pods that run the program with a service's rights on its claim, one after the other.

    :param step: What the pods' label says that they do.
    """

    def __init__(self, cluster: Cluster, service: Service, step: str) -> None:
        self._cluster, self._service, self._step = cluster, service, step
        self._pods = f"/api/v1/namespaces/{service.namespace}/pods"
        self._name = ""

    def run(self, arguments: Sequence[str], log: logging.Logger, *, writes: bool) -> Ended:
        """Run the program with *arguments* and return how it ended.

        :param writes: Whether it may write to the claim.
        :raises PodLostError: Nobody knows how it ended.
        :raises ClusterRefusedError: The pod may not be made.
        """
        made = self._cluster.create(self._pods, document(self._service, self._step, arguments, writes=writes))
        self._name = made["metadata"]["name"]
        try:
            pod = self._ended()
            return self._said(pod, log)
        finally:
            self.remove()

    def remove(self) -> None:
        """Delete the pod that runs, if one does."""
        if self._name:
            self._cluster.delete(f"{self._pods}/{self._name}")
            self._name = ""

    def _ended(self) -> Document:
        """Wait until the pod has ended, and return it."""
        path = f"{self._pods}/{self._name}"
        began = answered = time.monotonic()
        while True:
            try:
                pod = self._cluster.get(path)
                answered = time.monotonic()
                phase = pod.get("status", {}).get("phase")
                if phase in ("Succeeded", "Failed"):
                    return pod
                if phase == "Pending" and time.monotonic() - began > PATIENCE:
                    said = "; ".join(trouble([pod])) or "it does not say why"
                    raise PodLostError(f"Pod {self._where} has not begun to run within {PATIENCE} s: {said}.")
            except ObjectMissingError as error:
                raise PodLostError(f"Pod {self._where} is gone, and its result with it: run again.") from error
            except ClusterUnreachableError:
                if time.monotonic() - answered > _UNREACHABLE_FOR:
                    raise
            time.sleep(0.5)

    @property
    def _where(self) -> str:
        return f"{self._service.namespace}/{self._name}"

    def _said(self, pod: Document, log: logging.Logger) -> Ended:
        """Return how *pod* ended, its lines logged; a result that a termination message would cut is whole there."""
        [status] = pod["status"].get("containerStatuses") or [{}]
        ended = status.get("state", {}).get("terminated", {})
        lines = self._cluster.text(f"{self._pods}/{self._name}/log?tailLines={_LINES}").splitlines()
        for line in lines:
            if not line.startswith("{"):
                log.info("%s", line)
        result = next((line for line in reversed(lines) if _is_result(line)), ended.get("message", ""))
        reason = ended.get("reason") or pod["status"].get("reason") or ""
        return Ended(
            f"Pod {self._where}",
            int(ended.get("exitCode", 1)),
            result,
            "" if reason in ("Completed", "Error") else reason,
            pod["spec"].get("nodeName", ""),
        )


def _is_result(line: str) -> bool:
    try:
        return line.startswith("{") and "exit_code" in json.loads(line)
    except ValueError:
        return False


def document(service: Service, step: str, arguments: Sequence[str], *, writes: bool) -> Document:
    """Return the pod that runs the program with *arguments* on the service's claim, and reaches no bucket."""
    return ourpod.document(
        {"generateName": f"{step}-{service.claim}-", "labels": {OURS: step}},
        ourpod.Program(
            "base", service.pods.image, service.pods.service_account, tuple(arguments), LONGEST, (_NODE_NAME,)
        ),
        {"name": "claim", "persistentVolumeClaim": {"claimName": service.claim, "readOnly": not writes}},
        {"mountPath": CLAIM, "readOnly": not writes},
    )


def ended_pods(cluster: Cluster, namespace: str, now: float, after: float) -> list[str]:
    """Return the names of our own pods in *namespace* that ended longer than *after* seconds ago.

    They hold their claim, which could not be deleted while they are there. Pods that a controller made are its own.

    :param now: Seconds since the epoch.
    """
    path = f"/api/v1/namespaces/{namespace}/pods?labelSelector="
    pods = [pod for label in (OURS, _PREVIEW) for pod in cluster.get(path + label)["items"]]
    return [
        pod["metadata"]["name"]
        for pod in pods
        if pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
        and not pod["metadata"].get("ownerReferences")
        and now - _end_of(pod) > after
    ]


def _end_of(pod: Document) -> float:
    """Return when *pod* ended, seconds since the epoch; one that never ran ended when it was made."""
    states = [status.get("state", {}) for status in pod["status"].get("containerStatuses") or ()]
    times = [state["terminated"].get("finishedAt") for state in states if "terminated" in state]
    said = max(filter(None, times), default=pod["metadata"]["creationTimestamp"])
    return datetime.fromisoformat(said).timestamp()
