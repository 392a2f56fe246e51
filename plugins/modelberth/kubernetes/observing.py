"""What a rollout knows at one moment: its records, its workload and the pods, put together for ``core.rollout``."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from modelberth.core.binding import Live
from modelberth.core.observed import Decision, Lock, Observed, Soak
from modelberth.core.progress import State
from modelberth.kubernetes import workload
from modelberth.kubernetes.asked import Asked
from modelberth.kubernetes.client import Cluster, ObjectMissingError, workload_path
from modelberth.kubernetes.sight import Sight

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelberth.core.plan import Plan, Target
    from modelberth.receipts.proof import Proof

Document = dict[str, Any]


class Observing:
    """What is known of one target of one release; everything but ``patched`` and ``asked`` is looked up."""

    def __init__(self, proof: Proof, frozen: Callable[[], str | None]) -> None:
        self._proof = proof
        self._frozen = frozen
        self._patched = False
        self.asked = Asked()
        self.undecided = False
        """Whether what the last look found had started and was not decided."""

    @property
    def plan(self) -> Plan:
        """The plan, which is approved."""
        return self._proof.plan

    @property
    def target(self) -> Target:
        """The target as the plan has it."""
        return self._proof.target

    @cached_property
    def cluster(self) -> Cluster:
        """Where the target is."""
        return Cluster(self.target.connection)

    @property
    def path(self) -> str:
        """Where the API server has the workload."""
        return workload_path(self.target.namespace, self.target.workload.kind, self.target.workload.name)

    @property
    def changes(self) -> bool:
        """Whether the plan changes anything here."""
        return any(one.from_ != one.to for one in self.target.bindings)

    def look(self) -> Sight | None:
        """Return the workload as it is now, None if there is none of its name."""
        try:
            return Sight(self.cluster, self.target, self.cluster.get(self.path))
        except ObjectMissingError:
            return None

    def observe(self, sight: Sight | None, ended: str | None) -> Observed:
        """Return all that is decided by.

        :param ended: Why somebody wants the release out of the way, None while nobody does.
        """
        started = self._proof.record("started")
        decided = started and self._proof.record("decided")
        finished = decided and self._proof.record("outcome")
        gone = self._gone(sight)
        self.undecided = bool(started) and not decided
        known: Document = {} if gone or sight is None else self._observe_workload(sight, back=bool(decided))
        return Observed(
            started=bool(started),
            decided=Decision(decided["decision"]) if decided else None,
            finished=bool(finished),
            ended=ended or self._proof.doubt,
            frozen=None if started or ended or self.plan.rollback else self._frozen(),
            gone=gone,
            was_complete=bool(started and started["complete"]),
            seconds_left=self._seconds_left(started, decided),
            **known,
        )

    def soak(self, sight: Sight) -> Soak | None:
        """Return how far the canary's soak is, None where none is asked for or nothing changes."""
        canary = self.target.canary
        if canary is None or not self.changes:
            return None
        begun = self._proof.record("soaking")
        return Soak(canary.soak - _age(begun) if begun else None, sight.partition)

    @property
    def restarts(self) -> dict[str, int]:
        """How often each pod was started again before the soak, by its uid."""
        begun = self._proof.record("soaking") or {"pods": []}
        return {pod["uid"]: sum(pod["restarts"].values()) for pod in begun["pods"]}

    def _observe_workload(self, sight: Sight, *, back: bool) -> Document:
        """Return what is seen of the workload, and of its pods where that matters.

        :param back: It is decided: pods are not waited for but to come back.
        """
        complete, soak = sight.progress.state is State.COMPLETE, self.soak(sight)
        self._patched |= Live.TO in sight.values
        self.asked.forget_what_is_due(soak, complete=complete)
        waits = self.undecided and Live.FROM not in sight.values and (not complete or bool(soak and soak.on))
        return {
            "paused": bool(sight.document["spec"].get("paused")),
            "lock": self._lock(sight.document),
            "held": self._held(sight.document),
            "values": sight.values,
            "patched": self._patched,
            "soak": soak,
            "progress": sight.progress,
            "hopeless": sight.hopeless if waits else None,
            "stuck": sight.stuck if back or waits else (),
            "confirmation": self.asked.confirmation,
        }

    def _gone(self, sight: Sight | None) -> str | None:
        if sight is None:
            return "it does not exist any more"
        if sight.document["metadata"]["uid"] != self.target.workload.uid:
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

    def _seconds_left(self, started: Document | None, decided: Document | None) -> float:
        """Return what is left of ready_within: since the start, since the end of the soak, since the decision."""
        canary, within = self.target.canary, float(self.target.ready_within)
        if not decided and canary and (begun := self._proof.record("soaking")):
            return within + canary.soak - _age(begun)
        clock = decided or started
        return within - _age(clock) if clock else 0.0


def _age(record: Document) -> float:
    """Return how long ago *record* was written, in seconds."""
    return (datetime.now(UTC) - datetime.fromisoformat(record["at"])).total_seconds()
