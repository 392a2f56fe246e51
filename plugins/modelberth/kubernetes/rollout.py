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
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelberth.core import rollout, soak
from modelberth.core.ledger import LIVE, LOST, PUT_BACK
from modelberth.core.observed import Decision
from modelberth.core.ownership import OURS
from modelberth.core.plan import PlanRefusedError
from modelberth.core.progress import State
from modelberth.core.rollout import Action, Do
from modelberth.kubernetes import by_hand, patch, workload
from modelberth.kubernetes.asked import SOAK_PAUSE
from modelberth.kubernetes.client import (
    ClusterRefusedError,
    ClusterUnreachableError,
    ForbiddenError,
    ObjectChangedError,
)
from modelberth.kubernetes.confirm import Confirming, missing
from modelberth.kubernetes.diagnosis import diagnose
from modelberth.kubernetes.lastlook import require_possible
from modelberth.kubernetes.observing import Observing
from modelberth.kubernetes.pods import trouble
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

    from modelberth.core.plan import Plan, Target
    from modelberth.kubernetes.sight import Sight

log = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds between looks."""

PATIENCE = 180.0
"""Seconds for which nothing may answer before this process gives up; the next one goes on from there."""

STARTS_WITHIN = 30.0
"""Seconds for which a refused right may be that of an API server which has just started and not read the roles yet."""

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
    :param frozen: Returns why no release may begin at all, None while one may; it raises ConnectionError while nobody
        can say. It is asked before the first change, and not for a rollback.
    """

    def __init__(
        self,
        *,
        model: str,
        release_id: str,
        target: str,
        receipts: tuple[str, str],
        frozen: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._proof = Proof(model, release_id, target, receipts)
        self._known = Observing(self._proof, frozen)
        self._one_at_a_time = threading.Lock()
        self._ended: str | None = None
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
            except (ClusterUnreachableError, StoreUnreachableError, ConnectionError, ForbiddenError) as error:
                return self._wait_for_answer(error)
            except _DEFINITE as error:
                return self._stopped_by(error)
            self._silent_since = None
            return step

    def _step(self) -> Step:
        sight = self._known.look()
        seen = self._known.observe(sight, self._ended)
        action = rollout.decide(seen)
        pause = SOAK_PAUSE if seen.soak and seen.soak.on else PAUSE
        log.info("%s: %s%s", self.target, action.do.name, f", {action.reason}" if action.reason else "")
        if action.do is Do.REFUSE:
            return Step(Stop(REFUSED, f"{self.target} was not changed: {action.reason}."))
        if action.do is Do.DONE:
            outcome = self._proof.record("outcome") or {}
            return Step(Stop(outcome["result"], outcome["reason"]))
        if action.do is Do.WAIT:
            left = seen.soak.left if seen.soak else None
            return Step(pause=min(pause, left) if left and left > 0 else pause)
        return self._do(action, sight, pause)

    def _do(self, action: Action, sight: Sight | None, pause: float) -> Step:
        """Do the one thing; where somebody was faster, the next look shows what is true.

        :param pause: Seconds before pods that answered wrongly are asked again.
        """
        try:
            self._doing[action.do](action, sight)
        except EvidenceConflictError as error:
            log.info("%s: %s", self.target, error)
        except ObjectChangedError as error:
            self._collisions += 1
            if self._collisions > _COLLISIONS:
                raise ClusterRefusedError(str(error)) from error
            return Step(pause=PAUSE / 4)
        self._collisions = 0
        if action.do is not Do.CONFIRM:
            return Step()
        return Step(pause=PAUSE / 2 if self._known.asked.pending else pause * self._known.asked.found_wanting)

    @property
    def _doing(self) -> dict[Do, Callable[[Action, Any], None]]:
        """What is done, by action; a workload that is gone is only decided about, and finished with."""
        return {
            Do.START: self._start,
            Do.LOCK: lambda _, sight: self._patch(patch.take_lock(sight.document, self.plan.release_id)),
            Do.PATCH: lambda _, sight: self._patch(patch.bring(sight.document, self.plan, self.target)),
            Do.CONFIRM: self._confirm,
            Do.SOAK: lambda _, __: self._proof.write("soaking", {"pods": self._known.asked.shown.pods}),
            Do.WIDEN: lambda _, sight: self._patch(patch.widen(sight.document, self.plan, self.target)),
            Do.KEEP: lambda _, __: self._decide(Decision.KEEP, "all pods confirmed", []),
            Do.PUT_BACK: self._decide_to_put_back,
            Do.RESTORE: lambda _, sight: self._patch(patch.put_back(sight.document, self.plan, self.target)),
            Do.UNSTICK: self._unstick,
            Do.UNLOCK: lambda _, sight: self._patch(patch.release_lock(sight.document, self._proof.kept())),
            Do.FINISH: self._finish,
        }

    @property
    def plan(self) -> Plan:
        """The plan, which is approved."""
        return self._known.plan

    @property
    def target(self) -> Target:
        """The target as the plan has it."""
        return self._known.target

    @cached_property
    def _confirming(self) -> Confirming:
        return Confirming(self._known.cluster, self.plan, self.target)

    # What is done

    def _start(self, _: Action, sight: Sight) -> None:
        self._proof.require_unchanged()
        require_possible(self._known.cluster, self.plan, self.target, sight.document)
        deployment_revision = workload.notes(sight.document).get("deployment.kubernetes.io/revision")
        body = {
            "plan_digest": str(self.plan.digest),
            "complete": sight.progress.state is State.COMPLETE,
            "deployment_revision": deployment_revision,
        }
        self._proof.start(body)

    def _patch(self, operations: list[Document]) -> None:
        self._known.cluster.patch(f"{self._known.path}?fieldManager={OURS}", operations)
        log.info("%s: changed %s", self.target, ", ".join(patch.touched(operations)))

    def _confirm(self, _: Action, sight: Sight) -> None:
        watched = self._known.soak(sight)
        shown = self._confirming.shown(sight.ready)
        if shown and watched and watched.on:
            shown.problems += soak.problems(self._known.restarts, sight.watched)
        elif shown:
            shown.problems += missing(sight.document, shown)
        self._known.asked.take(shown, watched)

    def _decide_to_put_back(self, action: Action, sight: Sight | None) -> None:
        """Say why, with what keeps the pods from being well; who ends a task waits for nothing but the patch."""
        said, found = [action.reason], []
        if sight and not self._ended:
            try:
                wrong = {one["pod"] for one in self._known.asked.shown.pods if one["problems"]}
                said += [text for text in trouble(sight.newest) if text not in action.reason]
                unwell = [pod for pod in sight.newest if pod in sight.unready or pod["metadata"]["name"] in wrong]
                found = diagnose(self._known.cluster, unwell)
            except ClusterRefusedError as error:
                said.append(str(error))
        self._decide(Decision.PUT_BACK, "; ".join(said), found)

    def _decide(self, decision: Decision, reason: str, found: list[Document]) -> None:
        body = {"decision": str(decision), "reason": reason, "pods": self._known.asked.shown.pods, "found": found}
        self._proof.write("decided", body)

    def _unstick(self, _: Action, sight: Sight) -> None:
        for name in sight.stuck:
            self._known.cluster.delete(f"/api/v1/namespaces/{self.target.namespace}/pods/{name}")

    def _finish(self, action: Action, sight: Sight | None) -> None:
        self._confirming.close()
        decided = self._proof.record("decided") or {}
        kept = decided["decision"] == Decision.KEEP
        body = {
            "result": LIVE if kept else (LOST if action.reason else PUT_BACK),
            "reason": "; ".join(filter(None, (decided["reason"], action.reason))),
            "complete": bool(sight and sight.progress.state is State.COMPLETE),
            "changed": self._known.changes,
            "revision": str(self.plan.own.revision),
            "snapshot": str(self.target.snapshot_of(self.plan.model)),
            "also": self._also,
            "plan_digest": str(self.plan.digest),
            "pods": decided["pods"],
            "found": decided["found"],
            "by_hand": {} if kept else by_hand.commands(self.target, [one["pod"] for one in decided["found"]]),
        }
        self._proof.write("outcome", body)

    @property
    def _also(self) -> list[Document]:
        """What the target serves of other models that were switched with this one."""
        others = [one for one in self.target.served if one.model != self.plan.model]
        return [{"revision": str(self.plan.revisions[one.model]), "snapshot": str(one.snapshot)} for one in others]

    # What goes wrong

    def _wait_for_answer(self, error: Exception) -> Step:
        """Wait, within bounds: what does not answer is never taken for a success or a failure of the model."""
        now = time.monotonic()
        self._silent_since = self._silent_since or now
        if isinstance(error, ForbiddenError) and now - self._silent_since > STARTS_WITHIN:
            return self._stopped_by(error)
        if now - self._silent_since > PATIENCE:
            return Step(Stop(UNREACHABLE, f"Nobody answered for {PATIENCE:.0f} s: {error}"))
        log.warning("%s", error)
        return Step(pause=PAUSE * 2)

    def _stopped_by(self, error: Exception) -> Step:
        """Stop at what no retry changes: before the first change it is a refusal, after it a reason to put back."""
        if self._known.undecided and not self._ended:
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
