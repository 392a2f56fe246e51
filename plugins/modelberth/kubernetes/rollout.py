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

from modelberth.core import approval, rollout
from modelberth.core.ledger import LIVE, LOST, PUT_BACK
from modelberth.core.plan import Live, Plan, PlanRefusedError, Target, parse
from modelberth.core.rollout import Action, Confirmation, Decision, Do, Lock, Observed, Progress, State
from modelberth.kubernetes import patch, workload
from modelberth.kubernetes.client import (
    Cluster,
    ClusterRefusedError,
    ClusterUnreachableError,
    ObjectChangedError,
    ObjectMissingError,
    workload_path,
)
from modelberth.kubernetes.confirm import Shown, confirm
from modelberth.kubernetes.pods import newest_pods, trouble
from modelberth.receipts import (
    Evidence,
    EvidenceConflictError,
    EvidenceForgedError,
    EvidenceMissingError,
    StoreError,
    StoreUnreachableError,
    evidence_at,
    ledger_at,
)

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

PAUSE = 2.0
"""Seconds between looks."""

PATIENCE = 180.0
"""Seconds for which nothing may answer before this process gives up; the next one goes on from there."""

_COLLISIONS = 5
"""Patches in a row that did not apply: after so many it is not another writer but the API server's refusal."""

Document = dict[str, Any]

REFUSED, UNREACHABLE = "refused", "unreachable"
"""How a rollout may stop beside the outcomes: before it changed anything, and for another process to go on."""


class RolloutRefusedError(Exception):
    """The evidence does not allow this rollout."""


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

    def __init__(self, *, model: str, release_id: str, service: str, receipts: tuple[str, str]) -> None:
        self.model, self.release_id, self.service = model, release_id, service
        self._receipts = receipts
        self._one_at_a_time = threading.Lock()
        self._ended: str | None = None
        self._patched = False
        self._confirmation: Confirmation | None = None
        self._shown = Shown()
        self._records: dict[str, Document] = {}
        self._finished_holders: set[str] = set()
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
            outcome = self._records["outcome"]
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
            Do.LOCK: lambda _, document: self._patch(patch.take_lock(document, self.release_id)),
            Do.PATCH: lambda _, document: self._patch(patch.bring(document, self.plan, self.target)),
            Do.CONFIRM: self._confirm,
            Do.KEEP: lambda _, __: self._decide(Decision.KEEP, "all pods confirmed"),
            Do.PUT_BACK: lambda action, document: self._decide(Decision.PUT_BACK, self._why(action, document)),
            Do.RESTORE: lambda _, document: self._patch(patch.put_back(document, self.plan, self.target)),
            Do.UNLOCK: lambda _, document: self._patch(patch.release_lock(document)),
            Do.FINISH: self._finish,
        }

    # What is known

    @cached_property
    def evidence(self) -> Evidence:
        """The receipts of the release."""
        return evidence_at(*self._receipts, self.model, self.release_id)

    @cached_property
    def plan(self) -> Plan:
        """The plan that was approved, proven anew in every process.

        :raises RolloutRefusedError: There is no valid approval of this plan.
        """
        receipt = self.evidence.read("plan")
        plan = parse(receipt["plan"])
        problems = approval.problems(self.evidence.read("approve"), plan)
        if receipt.get("plan_digest") != str(plan.digest):
            problems.append(f"the plan's receipt says digest {receipt.get('plan_digest')}, its plan has {plan.digest}")
        if (plan.model, plan.release_id) != (self.model, self.release_id):
            problems.append(f"the plan is of release {plan.release_id} of {plan.model}")
        if problems:
            raise RolloutRefusedError(
                f"Release {self.release_id} of {self.model} is not approved: {'; '.join(problems)}. "
                "Start a new release."
            )
        return plan

    @cached_property
    def target(self) -> Target:
        """The target as the plan has it."""
        return self.plan.target(self.service)

    @cached_property
    def _cluster(self) -> Cluster:
        return Cluster(self.target.connection)

    def _look(self) -> Document | None:
        kind, name = self.target.workload.kind, self.target.workload.name
        try:
            return self._cluster.get(workload_path(self.target.namespace, kind, name))
        except ObjectMissingError:
            return None

    def _record(self, step: str) -> Document | None:
        """Return a record; once it exists it never changes."""
        if step not in self._records:
            found = self.evidence.find(step, self.service)
            if found is None:
                return None
            self._records[step] = found
        return self._records[step]

    def _observe(self, document: Document | None) -> Observed:
        started = self._record("started")
        decided = started and self._record("decided")
        finished = decided and self._record("outcome")
        gone = self._gone(document)
        known: Document = {} if gone or document is None else self._observe_workload(document)
        clock = decided or started
        return Observed(
            started=bool(started),
            decided=Decision(decided["decision"]) if decided else None,
            finished=bool(finished),
            ended=self._ended,
            gone=gone,
            was_complete=bool(started and started["complete"]),
            seconds_left=self._seconds_left(clock["at"]) if clock else 0.0,
            **known,
        )

    def _observe_workload(self, document: Document) -> Document:
        values = workload.live_values(document, self.target.bindings)
        judged = tuple(one.judge(value) for one, value in zip(self.target.bindings, values, strict=True))
        progress = rollout.progress(workload.counts(document))
        self._patched |= Live.TO in judged
        if progress.state is not State.COMPLETE:
            self._confirmation = None
        return {
            "paused": bool(document["spec"].get("paused")),
            "lock": self._lock(document),
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
        if holder == self.release_id:
            return Lock.OURS
        return Lock.FREE if holder is None or self._has_ended(holder, document) else Lock.OTHERS

    def _has_ended(self, holder: str, document: Document) -> bool:
        """Return whether release *holder*, of any model that this workload serves, has an outcome here."""
        if holder not in self._finished_holders:
            marks = [note.partition("/") for note in workload.template_notes(document)]
            models = {name for domain, _, name in marks if domain == "revision.modelberth.dev"} | {self.model}
            receipts = [evidence_at(*self._receipts, model, holder) for model in models]
            if any(one.find("outcome", self.service) for one in receipts):
                self._finished_holders.add(holder)
        return holder in self._finished_holders

    def _seconds_left(self, since: str) -> float:
        return self.target.ready_within - (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds()

    def _explained(self, progress: Progress, document: Document) -> Progress:
        if progress.state is not State.FAILED:
            return progress
        return Progress(progress.state, "; ".join([progress.reason, *trouble(newest_pods(self._cluster, document))]))

    # What is done

    def _start(self, _: Action, document: Document) -> None:
        self._check_evidence()
        complete = rollout.progress(workload.counts(document)).state is State.COMPLETE
        deployment_revision = workload.notes(document).get("deployment.kubernetes.io/revision")
        body = {
            "plan_digest": str(self.plan.digest),
            "complete": complete,
            "deployment_revision": deployment_revision,
        }
        self.evidence.write("started", body, target=self.service)

    def _check_evidence(self) -> None:
        """Refuse what came between the answer and the first change."""
        entries = ledger_at(*self._receipts, self.model).entries()
        newer = approval.superseding(self.release_id, ((entry.release_id, entry.event) for entry in entries))
        problems = approval.check_problems(
            self.evidence.read("check", self.service), self.target, self.plan, str(self.evidence.digest("approve"))
        )
        if newer:
            problems.append(f"release {newer} is a newer proposal")
        if problems:
            raise RolloutRefusedError(f"{self.target} was not changed: {'; '.join(problems)}.")

    def _patch(self, operations: list[Document]) -> None:
        kind, name = self.target.workload.kind, self.target.workload.name
        self._cluster.patch(workload_path(self.target.namespace, kind, name), operations)
        log.info("%s: changed %s", self.target, ", ".join(patch.touched(operations)))

    def _confirm(self, _: Action, document: Document) -> None:
        self._shown = confirm(self._cluster, self.plan, self.target, document)
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
        self.evidence.write("decided", body, target=self.service)

    def _finish(self, action: Action, document: Document) -> None:
        decided = self._records["decided"]
        kept = decided["decision"] == Decision.KEEP
        complete = bool(document) and rollout.progress(workload.counts(document)).state is State.COMPLETE
        result = LIVE if kept else (LOST if action.reason else PUT_BACK)
        body = {
            "result": result,
            "reason": "; ".join(filter(None, (decided["reason"], action.reason))),
            "complete": complete,
            "revision": str(self.plan.revision),
            "snapshot": str(self.target.snapshot),
            "plan_digest": str(self.plan.digest),
            "pods": decided["pods"],
        }
        self.evidence.write("outcome", body, target=self.service)

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
        if "started" in self._records and "decided" not in self._records and not self._ended:
            log.error("%s: %s", self.service, error)
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
