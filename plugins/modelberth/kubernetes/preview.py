"""Doing what ``core.preview`` decides: one step at a time, each safe to repeat, by whoever takes it up. Blocking."""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelberth.core import preview
from modelberth.core.hopeless import hopeless
from modelberth.core.plan import Plan, PlanRefusedError, parse
from modelberth.core.preview import CONFIRMED, NOT_CONFIRMED, Do, Pod, Seen
from modelberth.kubernetes.asked import Asked
from modelberth.kubernetes.client import (
    Cluster,
    ClusterRefusedError,
    ClusterUnreachableError,
    ObjectChangedError,
    ObjectMissingError,
    workload_path,
)
from modelberth.kubernetes.confirm import Confirming
from modelberth.kubernetes.diagnosis import diagnose, lines
from modelberth.kubernetes.pods import has_all_containers_ready, standing, trouble
from modelberth.kubernetes.previewpod import pod_name, pod_of
from modelberth.kubernetes.rollout import PATIENCE, PAUSE, REFUSED, UNREACHABLE, Step, Stop
from modelberth.receipts import (
    EvidenceForgedError,
    EvidenceMissingError,
    StoreError,
    StoreUnreachableError,
    evidence_at,
)

if TYPE_CHECKING:
    from modelberth.core.plan import Target
    from modelberth.core.preview import Action
    from modelberth.receipts import Evidence

log = logging.getLogger(__name__)

Document = dict[str, Any]

ROOM = (
    "A preview is one pod beside those that serve: make room for it, or take 'preview' out of the service's file and "
    "start a new release"
)


class Preview:
    """One target of one release, tried before the gate.

    :param receipts: URL and connection of the receipts.
    """

    def __init__(self, *, model: str, release_id: str, target: str, receipts: tuple[str, str]) -> None:
        self._at = (*receipts, model, release_id)
        self._name = target
        self._one_at_a_time = threading.Lock()
        self._ended: str | None = None
        self._failed: str | None = None
        self._asked = Asked()
        self._silent_since: float | None = None

    def end(self, reason: str) -> None:
        """Want it out of the way: from the next step on its pod is only deleted."""
        self._ended = reason

    def step(self) -> Step:
        """Look, decide, do one thing. Steps never overlap, whatever threads they come from."""
        with self._one_at_a_time:
            try:
                step = self._step()
            except (ClusterUnreachableError, StoreUnreachableError) as error:
                return self._wait_for_answer(error)
            except _DEFINITE as error:
                return Step(Stop(REFUSED, str(error)))
            self._silent_since = None
            return step

    @cached_property
    def _evidence(self) -> Evidence:
        return evidence_at(*self._at)

    @cached_property
    def plan(self) -> Plan:
        """The plan that a person is going to be asked about."""
        return parse(self._evidence.read("plan")["plan"])

    @property
    def target(self) -> Target:
        """The target as the plan has it."""
        return self.plan.target(self._name)

    def _step(self) -> Step:
        pod = self._look()
        action = preview.decide(self._observe(pod))
        log.info("Preview of %s: %s%s", self.target, action.do.name, f", {action.reason}" if action.reason else "")
        if action.do is Do.DONE:
            return Step(Stop(NOT_CONFIRMED if self._ended or self._failed else CONFIRMED, action.reason))
        if action.do is Do.WAIT:
            return Step(pause=PAUSE)
        return self._do(action, pod or {})

    def _do(self, action: Action, pod: Document) -> Step:
        if action.do is Do.CREATE:
            self._create()
        elif action.do is Do.CONFIRM:
            self._asked.take(self._confirming.shown([pod]), None)
            return Step(pause=PAUSE * (self._asked.pending or self._asked.found_wanting))
        elif action.do is Do.PASS:
            self._record(CONFIRMED, "its pod confirmed", pod, [])
        elif action.do is Do.FAIL:
            self._fail(action.reason, pod)
        else:
            self._confirming.close()
            self._cluster.delete(self._path)
        return Step()

    @cached_property
    def _cluster(self) -> Cluster:
        return Cluster(self.target.connection)

    @cached_property
    def _confirming(self) -> Confirming:
        return Confirming(self._cluster, self.plan, self.target)

    @property
    def _pods(self) -> str:
        return f"/api/v1/namespaces/{self.target.namespace}/pods"

    @property
    def _path(self) -> str:
        return f"{self._pods}/{pod_name(self.plan, self.target)}"

    def _look(self) -> Document | None:
        try:
            return self._cluster.get(self._path)
        except ObjectMissingError:
            return None

    def _observe(self, pod: Document | None) -> Seen:
        receipt = self._evidence.find("preview", self._name)
        about: Document = {} if pod is None else self._observe_pod(pod)
        return Seen(
            ended=self._ended,
            confirmed=preview.problem(receipt, self.plan) is None,
            failed=self._failed,
            confirmation=self._asked.confirmation,
            **about,
        )

    def _observe_pod(self, pod: Document) -> Document:
        now = datetime.now(UTC)
        age = (now - datetime.fromisoformat(pod["metadata"]["creationTimestamp"])).total_seconds()
        return {
            "pod": _state(pod),
            "keeps": "; ".join(trouble([pod])) or str(pod.get("status", {}).get("message") or "its pod is not ready"),
            "hopeless": hopeless(standing(pod, now)),
            "seconds_left": self.target.ready_within - age,
        }

    def _create(self) -> None:
        one = self.target
        document = self._cluster.get(workload_path(one.namespace, one.workload.kind, one.workload.name))
        try:
            self._cluster.create(self._pods, pod_of(document, self.plan, one))
        except (ClusterRefusedError, ObjectChangedError) as error:
            if self._look() is None:  # else somebody was faster, or one of its name is leaving
                self._fail(f"its pod may not be made. {error} {ROOM}", {})

    def _fail(self, reason: str, pod: Document) -> None:
        """Keep why, with what the pod said; the pod is deleted next."""
        found = diagnose(self._cluster, [pod] if pod else [])
        hint = f". {ROOM}" if pod and not pod["spec"].get("nodeName") else ""
        self._record(NOT_CONFIRMED, f"{reason}{hint}", pod, found)
        self._failed = "\n".join([f"{reason}{hint}.", *lines(found)])

    def _record(self, result: str, reason: str, pod: Document, found: list[Document]) -> None:
        body = {
            "result": result,
            "reason": reason,
            "plan_digest": str(self.plan.digest),
            "node": pod.get("spec", {}).get("nodeName", ""),
            "level": self.target.confirm.level,
            "pods": self._asked.shown.pods,
            "found": found,
        }
        self._evidence.write("preview", body, target=self._name)

    def _wait_for_answer(self, error: Exception) -> Step:
        now = time.monotonic()
        self._silent_since = self._silent_since or now
        if now - self._silent_since > PATIENCE:
            return Step(Stop(UNREACHABLE, f"Nobody answered for {PATIENCE:.0f} s: {error}"))
        log.warning("%s", error)
        return Step(pause=PAUSE * 2)


_DEFINITE = (ClusterRefusedError, PlanRefusedError, EvidenceMissingError, EvidenceForgedError, StoreError)


def remove(plan: Plan, target: Target) -> None:
    """Delete the pod of *target*'s preview, whatever became of who made it."""
    Cluster(target.connection).delete(f"/api/v1/namespaces/{target.namespace}/pods/{pod_name(plan, target)}")


def _state(pod: Document) -> Pod:
    """Return how *pod* is.

    being deleted | phase             | all containers ready | is
    --------------+-------------------+----------------------+--------
    yes           | any               | any                  | LEAVING
    no            | Succeeded, Failed | any                  | ENDED
    no            | another           | yes                  | READY
    no            | another           | no                   | WAITING

    Its containers, not the pod: a readiness gate is opened by a load balancer, which this pod is kept from.
    """
    if "deletionTimestamp" in pod["metadata"]:
        return Pod.LEAVING
    if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return Pod.ENDED
    return Pod.READY if has_all_containers_ready(pod) else Pod.WAITING
