"""The probe pod: our program beside the serving pods, with a Secret that Airflow never sees.

    create pod with the order -> it asks every pod, judges, and ends -> its termination message -> delete it

The pod's spec names the Secret and nothing that is in it; the message tells problems and no answer's text.
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

from modelberth.core.probe import Order, heard
from modelberth.kubernetes import ourpod
from modelberth.kubernetes.client import ObjectChangedError, ObjectMissingError
from modelberth.kubernetes.pods import trouble

if TYPE_CHECKING:
    from modelberth.core.confirm import Probe
    from modelberth.core.plan import Plan, Target
    from modelberth.kubernetes.client import Cluster

PATIENCE = 120
"""Seconds within which the pod has to have said something: a node to find, an image to pull, pods to ask."""

_ORDER = "modelberth.dev/order"
_SECRET = "/var/run/secrets/modelberth"  # noqa: S105  (a path)

Document = dict[str, Any]


class ProbePod:
    """The one probe pod that a release has at a target."""

    def __init__(self, cluster: Cluster, plan: Plan, target: Target, probe: Probe) -> None:
        self._cluster, self._probe = cluster, probe
        self._name = "probe-" + hashlib.sha256(f"{plan.release_id}/{target.name}".encode()).hexdigest()[:16]
        self._plan = plan
        self._pods = f"/api/v1/namespaces/{target.namespace}/pods"
        self._since: float | None = None

    def problems(self, order: Order) -> dict[str, list[str]] | None:
        """Return the problems by pod that the answer to *order* shows; None while there is none yet: ask again then.

        pod               | asked  | then
        ------------------+--------+--------------------------------------
        none              | -      | created; None
        of another order  | any    | deleted; None
        of this order     | not yet| None; after ``PATIENCE`` a problem
        ended             | -      | what it said, and deleted
        """
        pod = self._look()
        if pod is None:
            self._create(order)
            return None
        if pod["metadata"].get("annotations", {}).get(_ORDER) != _digest(order):
            self.remove()
            return None
        if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
            return self._waited(pod, order)
        self.remove()
        return _said(pod, order)

    def remove(self) -> None:
        """Delete the pod, if it is there: at once, since it holds nothing that could be lost."""
        self._cluster.delete(f"{self._pods}/{self._name}?gracePeriodSeconds=0")
        self._since = None

    def _look(self) -> Document | None:
        try:
            return self._cluster.get(f"{self._pods}/{self._name}")
        except ObjectMissingError:
            return None

    def _create(self, order: Order) -> None:
        try:
            self._cluster.create(self._pods, pod_of(self._name, self._plan, order, self._probe))
        except ObjectChangedError as error:
            if self._look() is None:  # refused as it is, not made by another process of this release meanwhile
                raise error from None

    def _waited(self, pod: Document, order: Order) -> dict[str, list[str]] | None:
        now = time.monotonic()
        self._since = self._since or now
        if now - self._since <= PATIENCE:
            return None
        said = "; ".join(trouble([pod])) or "it does not say why"
        self.remove()
        return _all(order, f"the probe pod has not asked it within {PATIENCE} s: {said}")


def pod_of(name: str, plan: Plan, order: Order, probe: Probe) -> Document:
    """Return the probe pod *name* that is to ask what *order* says."""
    labels = {
        "modelberth.dev/model": plan.model,
        "modelberth.dev/release": plan.release_id,
        "modelberth.dev/step": "probe",
    }
    arguments = ("probe", order.dump(), "--secret", _SECRET)
    return ourpod.document(
        {"name": name, "labels": labels, "annotations": {_ORDER: _digest(order)}},
        ourpod.Program("probe", probe.image, probe.service_account, arguments, PATIENCE),
        {"name": "secret", "secret": {"secretName": probe.secret, "defaultMode": 0o440}},
        {"mountPath": _SECRET, "readOnly": True},
    )


def _digest(order: Order) -> str:
    return hashlib.sha256(order.dump().encode()).hexdigest()


def _said(pod: Document, order: Order) -> dict[str, list[str]]:
    """Return what the ended *pod* says, as problems by pod."""
    states = [status.get("state", {}) for status in pod["status"].get("containerStatuses") or ()]
    ended: Document = next((state["terminated"] for state in states if "terminated" in state), {})
    try:
        result = json.loads(ended.get("message") or "")
        if ended.get("exitCode") != 0:
            return _all(order, f"the probe pod could not ask it: {'; '.join(result['problems'])}")
        return heard(result, order.pods)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = ended.get("reason") or pod["status"].get("reason") or type(error).__name__
        return _all(order, f"the probe pod ended without a result ({why}, exit code {ended.get('exitCode')})")


def _all(order: Order, problem: str) -> dict[str, list[str]]:
    return {pod.name: [problem] for pod in order.pods}
