"""Take away from a claim what nothing uses."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException

from modelberth.catalog import load
from modelberth.core.prune import Do, second_look
from modelberth.core.prunelist import claimed, table
from modelberth.kubernetes.claimpod import CLAIM, ClaimPod, PodLostError, ended_pods
from modelberth.kubernetes.client import ClusterUnreachableError
from modelberth.kubernetes.pruning import pruning
from modelberth.operators.outcome import Outcome
from modelberth.operators.refusal import refusals_are_final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow.sdk import Context

    from modelberth.core.prune import Decision, Lying
    from modelberth.core.prunelist import Claimed
    from modelberth.kubernetes.pruning import Pruning

STEP = "prune"
POD_HELD_FOR = 3600
"""Seconds after which an ended pod of ours is deleted: until then a person may want to read its log."""


class PruneClaimOperator(BaseOperator):
    """
    Condemn what nothing uses, delete what was condemned for its grace and is still unused, and show both as a plan.

    Use is looked up before anything is moved, and once more before anything is deleted. Whatever cannot be seen is
    taken for used. With *dry_run* nothing is changed.

    :param connection: The connection to the cluster. (templated)
    :param namespace: The claim's namespace. (templated)
    :param claim: The claim. (templated)
    :param dry_run: Only show what would be done. (templated)
    """

    template_fields: Sequence[str] = ("connection", "namespace", "claim", "dry_run", "plan")
    template_fields_renderers = {"plan": "md"}  # noqa: RUF012 - as BaseOperator has it
    overwrite_rtif_after_execution = True  # the plan is known after execution, and shown where rendered fields are

    def __init__(self, *, connection: str, namespace: str, claim: str, dry_run: Any = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.connection = connection
        self.namespace = namespace
        self.claim = claim
        self.dry_run = dry_run
        self.plan = ""
        self._pod: ClaimPod | None = None
        self._unfinished: list[Outcome] = []

    def execute(self, context: Context) -> dict[str, str]:  # noqa: ARG002 - Airflow passes it by name
        """Show the plan; unless that is all, do it."""
        try:
            with refusals_are_final():
                ours = pruning(load(), self.connection, self.namespace, self.claim)
                self._pod = ClaimPod(ours.cluster, ours.services[0], STEP)
                held = self._clear_pods(ours)
                lies = self._listed(ours)
                seen = ours.seen(lies.snapshots)
                decisions = ours.decisions(lies.snapshots, seen)
                self.plan = table(decisions, lies.staging, seen)
                self.log.info("Claim %s/%s:\n%s", self.namespace, self.claim, self.plan)
                done = {} if self._is_dry else self._do(ours, decisions, lies)
        except (ClusterUnreachableError, PodLostError) as error:
            raise AirflowException(str(error)) from error
        return {"claim": f"{self.namespace}/{self.claim}", "plan": self.plan, "pods": ", ".join(held), **done}

    def on_kill(self) -> None:
        """Take the pod away: what it began, the next run ends."""
        if self._pod:
            self._pod.remove()

    @property
    def _is_dry(self) -> bool:
        return str(self.dry_run).lower() != "false"

    def _clear_pods(self, ours: Pruning) -> list[str]:
        """Delete our own pods that have ended and hold the claim; return which (with a dry run: would be)."""
        held = ended_pods(ours.cluster, self.namespace, time.time(), POD_HELD_FOR)
        for name in held if not self._is_dry else ():
            ours.cluster.delete(f"/api/v1/namespaces/{self.namespace}/pods/{name}")
            self.log.info("Pod %s/%s: deleted; it had ended and held its claim.", self.namespace, name)
        return held

    def _listed(self, ours: Pruning) -> Claimed:
        listing = self._run(["list", CLAIM], writes=False).result("list")
        there = claimed(listing)
        return claimed(listing, ours.damaged(there.snapshots))

    def _do(self, ours: Pruning, decisions: Sequence[Decision], lies: Claimed) -> dict[str, str]:
        """Move, look again, delete; return what was done."""
        chosen = {do: [one.lying for one in decisions if one.do is do] for do in Do}
        steps = {"lift": map(str, chosen[Do.LIFT]), "condemn": map(str, chosen[Do.CONDEMN]), "staging": lies.staging}
        moved = self._prune(trash=(one.this_condemnation for one in chosen[Do.DELETE]), **steps)
        again = [replace(one, trashed=False) for one in chosen[Do.CONDEMN] if str(one) in moved["condemn"]]
        again += [replace(one, trashed=True) for one in chosen[Do.DELETE] if str(one) in moved["trash"]]
        ended = self._look_again(ours, again) if again else _NOTHING
        for outcome in self._unfinished:
            outcome.result(STEP)  # raises: what could be done has been done by now
        return {
            "condemned": str(len(moved["condemn"])),
            "lifted": str(len(moved["lift"]) + len(ended["lift"])),
            "deleted": str(len(ended["delete"])),
            "bytes_freed": str(moved["bytes_freed"] + ended["bytes_freed"]),
        }

    def _look_again(self, ours: Pruning, again: Sequence[Lying]) -> dict[str, Any]:
        """Look once more who uses what was condemned or renamed out of sight, and lift or delete it."""
        seen = ours.seen(again)
        looked = [second_look(one, seen) for one in again]
        for one in looked:
            self.log.info("Snapshot %s: %s. %s", one.lying, one.do, one.why)
        lift = [str(one.lying) for one in looked if one.do is Do.LIFT]
        delete = [one.lying.this_condemnation for one in looked if one.do is Do.DELETE]
        return self._prune(lift=lift, delete=delete) if lift or delete else _NOTHING

    def _prune(self, **steps: Iterable[str]) -> dict[str, Any]:
        """Have *steps* done, and return what was; what could not be is told when all else has been done."""
        words = [word for step, named in steps.items() for word in _option(step, named)]
        outcome = self._run([STEP, CLAIM, *words], writes=True)
        done = outcome.report
        if not _NOTHING.keys() <= done.keys():
            return outcome.result(STEP)
        if outcome.exit_code:
            self._unfinished.append(outcome)
        return done

    def _run(self, words: list[str], *, writes: bool) -> Outcome:
        assert self._pod is not None  # noqa: S101 - execute has made it
        ended = self._pod.run(words, self.log, writes=writes)
        return Outcome(ended.exit_code, ended.message, ended.where, ended.reason, ended.node)


_NOTHING: dict[str, Any] = {"condemn": [], "lift": [], "trash": [], "delete": [], "bytes_freed": 0}


def _option(step: str, named: Iterable[str]) -> list[str]:
    found = list(named)
    return [f"--{step}", *found] if found else []
