"""Doing what ``core.rollout`` decides: one step at a time, each safe to repeat, by whoever takes the rollout up.

It holds no decision and remembers nothing that matters: it looks, asks ``decide``, and does one thing. What it does
is either a patch that tests what was seen or a create-only receipt; where another was faster it looks again.
Blocking: the trigger runs its steps in a thread, ``settle`` as they are.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelberth.core import rollout
from modelberth.core.ledger import LIVE, LOST, PUT_BACK
from modelberth.core.plan import Live, Plan, PlanRefusedError, Target
from modelberth.core.progress import Progress, State
from modelberth.core.progress import progress as progress_of
from modelberth.core.rollout import Action, Confirmation, Decision, Do, Lock, Observed
from modelberth.kubernetes import patch, workload
from modelberth.kubernetes.client import (
    Cluster,
    ClusterRefusedError,
    ClusterUnreachableError,
    ObjectChangedError,
    ObjectMissingError,
    workload_path,
)
from modelberth.kubernetes.confirm import Confirming, Shown, missing
from modelberth.kubernetes.pods import is_ready, newest_pods, trouble
from modelberth.receipts import (
    EvidenceConflictError,
    EvidenceForgedError,
    EvidenceMissingError,
    StoreError,
    StoreUnreachableError,
)
from modelberth.receipts.proof import Proof, RolloutRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds between looks."""

PATIENCE = 180.0
"""Seconds for which nothing may answer before this process gives up; the next one goes on from there."""

_COLLISIONS = 5
"""Patches in a row that did not apply: after so many it is not another writer but the API server's refusal."""

Document = dict[str, Any]

REFUSED, UNREACHABLE = "refused", "unreachable"
"""How a rollout may stop beside the outcomes: before it changed anything, and for another process to go on."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Why there is nothing more to do; *status* is an outcome, ``refused`` or ``unreachable``."""

    status: str
    reason: str


@dataclass(frozen=True, slots=True)
class Step:
    """What one step led to: a stop, or a pause in seconds before the next."""

    stop: Stop | None = None
    pause: float = 0.0


class Rollout:
    """One target of one release, on its way into service or back.

    :param receipts: URL and connection of the receipts, so that no catalog is needed half-way.
    """

    def __init__(self, *, model: str, release_id: str, target: str, receipts: tuple[str, str]) -> None:
        self._proof = Proof(model, release_id, target, receipts)
        self._one_at_a_time = threading.Lock()
        self._ended: str | None = None
        self._patched = False
        self._confirmation: Confirmation | None = None
        self._shown = Shown()
        self._undecided = False
        self._collisions = 0
        self._silent_since: float | None = None

    def end(self, reason: str) -> None:
        """Want this release out of the way: what is undecided is put back from the next step on."""
        self._ended = reason

    def step(self) -> Step:
        """Look, decide, do one thing. Steps of one rollout never overlap, whatever threads they come from."""
        with self._one_at_a_time:
            try:
                step = self._step()
            except (ClusterUnreachableError, StoreUnreachableError) as error:
                return self._wait_for_answer(error)
            except _DEFINITE as error:
                return self._stopped_by(error)
            self._silent_since = None
            return step

    def _step(self) -> Step:
        document = self._look()
        seen = self._observe(document)
        action = rollout.decide(seen)
        log.info("%s: %s%s", self.target, action.do.name, f", {action.reason}" if action.reason else "")
        if action.do is Do.REFUSE:
            return Step(Stop(REFUSED, f"{self.target} was not changed: {action.reason}."))
        if action.do is Do.DONE:
            outcome = self._proof.record("outcome") or {}
            return Step(Stop(outcome["result"], outcome["reason"]))
        if action.do is Do.WAIT:
            return Step(pause=PAUSE)
        return self._do(action, document or {})

    def _do(self, action: Action, document: Document) -> Step:
        """Do the one thing; where somebody was faster, the next look shows what is true."""
        try:
            self._doing[action.do](action, document)
        except EvidenceConflictError as error:
            log.info("%s: %s", self.target, error)
        except ObjectChangedError as error:
            self._collisions += 1
            if self._collisions > _COLLISIONS:
                raise ClusterRefusedError(str(error)) from error
            return Step(pause=PAUSE / 4)
        self._collisions = 0
        again = action.do is Do.CONFIRM and self._confirmation is not None and self._confirmation.problems
        return Step(pause=PAUSE if again else 0.0)

    @property
    def _doing(self) -> dict[Do, Callable[[Action, Document], None]]:
        return {
            Do.START: self._start,
            Do.LOCK: lambda _, document: self._patch(patch.take_lock(document, self.plan.release_id)),
            Do.PATCH: lambda _, document: self._patch(patch.bring(document, self.plan, self.target)),
            Do.CONFIRM: self._confirm,
            Do.KEEP: lambda _, __: self._decide(Decision.KEEP, "all pods confirmed"),
            Do.PUT_BACK: lambda action, document: self._decide(Decision.PUT_BACK, self._why(action, document)),
            Do.RESTORE: lambda _, document: self._patch(patch.put_back(document, self.plan, self.target)),
            Do.UNLOCK: lambda _, document: self._patch(patch.release_lock(document)),
            Do.FINISH: self._finish,
        }

    # What is known

    @property
    def plan(self) -> Plan:
        """The plan, which is approved."""
        return self._proof.plan

    @property
    def target(self) -> Target:
        """The target as the plan has it."""
        return self._proof.target

    @cached_property
    def _cluster(self) -> Cluster:
        return Cluster(self.target.connection)

    @cached_property
    def _confirming(self) -> Confirming:
        return Confirming(self._cluster, self.plan, self.target)

    @property
    def _path(self) -> str:
        return workload_path(self.target.namespace, self.target.workload.kind, self.target.workload.name)

    def _look(self) -> Document | None:
        try:
            return self._cluster.get(self._path)
        except ObjectMissingError:
            return None

    def _observe(self, document: Document | None) -> Observed:
        started = self._proof.record("started")
        decided = started and self._proof.record("decided")
        finished = decided and self._proof.record("outcome")
        gone = self._gone(document)
        known: Document = {} if gone or document is None else self._observe_workload(document)
        clock = decided or started
        self._undecided = bool(started) and not decided
        return Observed(
            started=bool(started),
            decided=Decision(decided["decision"]) if decided else None,
            finished=bool(finished),
            ended=self._ended or self._proof.doubt,
            gone=gone,
            was_complete=bool(started and started["complete"]),
            seconds_left=self._seconds_left(clock["at"]) if clock else 0.0,
            **known,
        )

    def _observe_workload(self, document: Document) -> Document:
        values = workload.live_values(document, self.target.bindings)
        judged = tuple(one.judge(value) for one, value in zip(self.target.bindings, values, strict=True))
        progress = progress_of(workload.counts(document))
        self._patched |= Live.TO in judged
        if progress.state is not State.COMPLETE:
            self._confirmation = None
        return {
            "paused": bool(document["spec"].get("paused")),
            "lock": self._lock(document),
            "held": self._held(document),
            "values": judged,
            "patched": self._patched,
            "progress": self._explained(progress, document),
            "confirmation": self._confirmation,
        }

    def _gone(self, document: Document | None) -> str | None:
        if document is None:
            return "it does not exist any more"
        if document["metadata"]["uid"] != self.target.workload.uid:
            return "it was deleted and made again since the plan"
        return None

    def _lock(self, document: Document) -> Lock:
        holder = workload.notes(document).get(workload.LOCK)
        if holder == self._proof.release_id:
            return Lock.OURS
        if holder is None or self._proof.has_ended(holder, workload.models_of(document)):
            return Lock.FREE
        return Lock.OTHERS

    def _held(self, document: Document) -> str:
        """Return who else may hold the workload, and how a person ends that."""
        holder, one = workload.notes(document).get(workload.LOCK), self.target.workload
        return (
            f"release {holder} holds it: let that one end, or clear the task 'settle' in its run; if that run is gone, "
            f"remove the annotation: kubectl --namespace {self.target.namespace} annotate {one.kind.lower()} "
            f"{one.name} {workload.LOCK}-"
        )

    def _seconds_left(self, since: str) -> float:
        return self.target.ready_within - (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds()

    def _explained(self, progress: Progress, document: Document) -> Progress:
        if progress.state is not State.FAILED:
            return progress
        return Progress(progress.state, "; ".join([progress.reason, *trouble(newest_pods(self._cluster, document))]))

    # What is done

    def _start(self, _: Action, document: Document) -> None:
        self._proof.require_unchanged()
        complete = progress_of(workload.counts(document)).state is State.COMPLETE
        deployment_revision = workload.notes(document).get("deployment.kubernetes.io/revision")
        body = {
            "plan_digest": str(self.plan.digest),
            "complete": complete,
            "deployment_revision": deployment_revision,
        }
        self._proof.write("started", body)

    def _patch(self, operations: list[Document]) -> None:
        self._cluster.patch(self._path, operations)
        log.info("%s: changed %s", self.target, ", ".join(patch.touched(operations)))

    def _confirm(self, _: Action, document: Document) -> None:
        shown = self._confirming.shown(list(filter(is_ready, newest_pods(self._cluster, document))))
        if shown is None:
            return
        shown.problems += missing(document, shown)
        self._shown = shown
        attempts = self._confirmation.attempts + 1 if self._confirmation else 1
        self._confirmation = Confirmation(tuple(self._shown.problems), attempts)

    def _why(self, action: Action, document: Document) -> str:
        """Return the reason for putting back, with what keeps the pods from being ready where that is known."""
        if self._ended or not document or "pod " in action.reason:
            return action.reason
        try:
            return "; ".join([action.reason, *trouble(newest_pods(self._cluster, document))])
        except ClusterRefusedError:
            return action.reason

    def _decide(self, decision: Decision, reason: str) -> None:
        body = {"decision": str(decision), "reason": reason, "pods": self._shown.pods}
        self._proof.write("decided", body)

    def _finish(self, action: Action, document: Document) -> None:
        decided = self._proof.record("decided") or {}
        kept = decided["decision"] == Decision.KEEP
        complete = bool(document) and progress_of(workload.counts(document)).state is State.COMPLETE
        result = LIVE if kept else (LOST if action.reason else PUT_BACK)
        body = {
            "result": result,
            "reason": "; ".join(filter(None, (decided["reason"], action.reason))),
            "complete": complete,
            "changed": any(one.from_ != one.to for one in self.target.bindings),
            "revision": str(self.plan.own.revision),
            "snapshot": str(self.target.snapshot_of(self.plan.model)),
            "plan_digest": str(self.plan.digest),
            "pods": decided["pods"],
        }
        self._proof.write("outcome", body)

    # What goes wrong

    def _wait_for_answer(self, error: Exception) -> Step:
        """Wait, within bounds: what does not answer is never taken for a success or a failure of the model."""
        now = time.monotonic()
        self._silent_since = self._silent_since or now
        if now - self._silent_since > PATIENCE:
            return Step(Stop(UNREACHABLE, f"Nobody answered for {PATIENCE:.0f} s: {error}"))
        log.warning("%s", error)
        return Step(pause=PAUSE * 2)

    def _stopped_by(self, error: Exception) -> Step:
        """Stop at what no retry changes: before the first change it is a refusal, after it a reason to put back."""
        if self._undecided and not self._ended:
            log.error("%s: %s", self._proof.name, error)
            self.end(str(error))
            return Step(pause=PAUSE)
        return Step(Stop(REFUSED, str(error)))


_DEFINITE = (
    ClusterRefusedError,
    RolloutRefusedError,
    PlanRefusedError,
    EvidenceMissingError,
    EvidenceForgedError,
    StoreError,
)
