"""Serve again what was live before: what is peculiar to a rollback; gate, check, rollout and settle are a release's."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from modelberth.catalog import load
from modelberth.core.plan import parse
from modelberth.core.revision import Revision, Snapshot
from modelberth.core.rollback import Held, NotPossibleError, candidates, chosen, table, wants_verify
from modelberth.kubernetes.rollback import Asked, Situation, rests_on
from modelberth.operators import release_of
from modelberth.operators.pod import CLAIM, ModelPodOperator, read_outcome
from modelberth.operators.refusal import refusals_are_final
from modelberth.operators.reverify import ReverifyModelOperator
from modelberth.operators.settle import SettleModelOperator
from modelberth.receipts import StoreError, StoreUnreachableError, ledger, release_evidence
from modelberth.receipts.damage import damage_record
from modelberth.receipts.lived import lived
from modelberth.receipts.verified import verified_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context
    from kubernetes.client import models as k8s

    from modelberth.catalog import Model, Service
    from modelberth.core.digest import Digest
    from modelberth.core.rollback import Candidate, Lived
    from modelberth.operators.outcome import Outcome
    from modelberth.receipts import Evidence


def asked(context: Context) -> Asked:
    """Return what the run was started for. Airflow itself notes who started it: no conf can say another name."""
    said = context["params"]
    return Asked(
        model=said["model"],
        service=said["service"],
        to=said["to"].strip(),
        reason=said["reason"].strip(),
        break_glass=said["break_glass"],
        requested_by=context["dag_run"].triggering_user_name,
    )


class ListSnapshotsOperator(ModelPodOperator):
    """
    Look what is on a service's claim, and put it on record.

    When the receipts cannot be reached, nothing can be proven and nothing is changed; then the error says what is on
    the claim and how a person serves it by hand.

    :param model: The model, as in the catalog.
    :param target: The service.
    """

    step = "list"

    def basis(self) -> dict[str, Any]:
        """Return nothing: it is the first step."""
        return {}

    def command(self, basis: dict[str, Any]) -> list[str]:  # noqa: ARG002
        """Return the arguments of ``modelberth list``."""
        return ["list", CLAIM]

    def expected(self, basis: dict[str, Any]) -> dict[str, str]:  # noqa: ARG002
        """Return nothing: what is there is for the program to say."""
        return {}

    def cleanup(
        self, pod: k8s.V1Pod, remote_pod: k8s.V1Pod, xcom_result: dict | None = None, context: Context | None = None
    ) -> None:
        """Keep the list; a long one does not fit into a termination message, but into the last line of the log."""
        whole = self._last_line(remote_pod) if _is_cut(read_outcome(remote_pod, self.base_container_name)) else None
        super().cleanup(pod, remote_pod, xcom_result, context)
        if whole and self._outcome:
            self._outcome = replace(self._outcome, message=whole)

    def _last_line(self, pod: k8s.V1Pod) -> str:
        place = {"name": pod.metadata.name, "namespace": pod.metadata.namespace, "container": self.base_container_name}
        # As it is: the client's own reading makes Python's spelling of what looks like JSON.
        answer = self.client.read_namespaced_pod_log(**place, tail_lines=1, _preload_content=False)
        return str(answer.data.decode()).strip()

    def write(self, result: dict[str, Any]) -> Digest:
        """Put on record what there is of this model; the kubectl lines are all that is left when that cannot be."""
        rows = [row for row in result["models"] if row["model"] == self.model]
        try:
            return super().write({**result, "models": rows})
        except (StoreError, StoreUnreachableError) as error:
            raise AirflowFailException(by_hand(self.model, self.target, rows, error)) from error


def _is_cut(outcome: Outcome | None) -> bool:
    try:
        return bool(outcome and json.loads(outcome.message).get("truncated"))
    except ValueError:
        return False


def held(rows: Sequence[dict[str, Any]]) -> list[Held]:
    """Return the snapshots in *rows*, as ``modelberth list`` reports one model, the one that was staged last last."""
    found = sorted((one for row in rows for one in row["snapshots"]), key=lambda one: str(one.get("at")))
    return [Held(Snapshot.parse(one["snapshot"]), one["state"], one.get("bytes")) for one in found]


def by_hand(model: str, service: str, rows: Sequence[dict[str, Any]], error: Exception) -> str:
    """Return what is on the claim, and the lines that serve it, when *error* keeps us from proving anything."""
    ready = [one.snapshot for one in held(rows) if one.state == "ready"]
    situation = Situation(load(), model, service)
    lines = situation.by_hand([one for one in ready if one not in situation.serving])
    said = "\n  ".join(lines or ["(none but what is served)"])
    return (
        f"Nothing was changed: the receipts cannot be reached, so it cannot be proven what was live before ({error}) "
        f"By hand, without any of our checks, one of these serves another snapshot of {model!r} that is complete on "
        f"claim {situation.service.namespace}/{situation.service.claim}:\n  {said}\n"
        "The newest were staged last. Start a release or a rollback when the receipts are back: it takes over."
    )


class PlanRollbackOperator(BaseOperator):
    """
    Say what can be served again; when one of it is asked for, write down once what the rollback will change.

    Nothing is read from the model's bucket or its source. With an empty ``to`` the task is skipped after it has said
    what there is, and all that follows it. It returns the names of the targets.
    """

    def execute(self, context: Context) -> list[str]:
        """Leave the table, and the plan's receipt."""
        with refusals_are_final():
            ask, now = asked(context), datetime.now(UTC)
            situation = Situation(load(), ask.model, ask.service)
            evidence = release_evidence(situation.model, release_of(context))
            past = lived(situation.model, situation.service)
            found = _candidates(situation, past, evidence)
            text = table(found, now)
            self.log.info("Model %s at service %s:\n%s", ask.model, ask.service, text)
            context["ti"].xcom_push(key="candidates", value=text)
            if not ask.to:
                raise AirflowSkipException("Only said what there is: give one of it as 'to' to have it served again.")
            said = {
                "reason": ask.reason,
                "break_glass": ask.break_glass,
                "requested_by": ask.requested_by,
                "instead_of": [one.by for one in past if one.snapshot in situation.serving][-1:],
                "candidates": text,
            }
            return self._plan(situation, ask, _chosen(found, ask).lived, evidence, said)

    def _plan(
        self, situation: Situation, ask: Asked, back: Lived, evidence: Evidence, said: dict[str, Any]
    ) -> list[str]:
        proof = release_evidence(situation.model, back.release_id)
        plan = situation.plan(ask, back, evidence, proof)
        at = verified_at(situation.model, situation.service, back, proof)
        said["verified_at"] = at.isoformat(timespec="seconds")
        about = {"revision": str(plan.own.revision), "source_version": plan.own.source_version}
        evidence.write(
            "plan",
            {"plan": plan.document(), "plan_digest": str(plan.digest), "rollback": said},
            rests_on=rests_on(proof, ask.service),
        )
        ledger(situation.model).record("rollback", plan.release_id, **about, reason=ask.reason or None)
        return [target.name for target in plan.targets]


def _candidates(situation: Situation, past: Sequence[Lived], evidence: Evidence) -> list[Candidate]:
    model, service = situation.model, situation.service
    there = held(evidence.read("list", service.name)["models"])
    digests = {one.snapshot.digest for one in there}
    record = damage_record(model, service)
    damaged = [one for digest in digests for one in record.of(Revision(model.name, digest))]
    return candidates(past, there, damaged, situation.serving)


def _chosen(found: list[Candidate], ask: Asked) -> Candidate:
    try:
        return chosen(found, ask.model, ask.to)
    except NotPossibleError as error:
        raise AirflowFailException(str(error)) from error


def verified_at(model: Model, service: Service, back: Lived, proof: Evidence) -> datetime:
    """Return when *back* was last read again as a whole: for its release, or since."""
    later = verified_record(model, service).last(back.snapshot)
    first = datetime.fromisoformat(proof.read("verify", service.name)["at"])
    return max(first, later) if later else first


class VerifyBesideOperator(ReverifyModelOperator):
    """
    Read again what a rollback serves, if nobody did for a week; the rollback does not wait for it.

    :param model: The model, as in the catalog.
    :param target: The service.
    """

    def execute(self, context: Context) -> None:
        """Skip what was verified lately."""
        with refusals_are_final():
            self._connect(context)
            at = datetime.fromisoformat(self.evidence.read("plan")["rollback"]["verified_at"])
        if not wants_verify(at, datetime.now(UTC)):
            raise AirflowSkipException(f"The snapshot was verified on {at:%Y-%m-%d}, less than a week ago.")
        self.log.warning("The snapshot was last verified on %s: reading it again, beside the rollback", at.date())
        super().execute(context)

    def basis(self) -> dict[str, Any]:
        """Return what the plan serves again."""
        plan = parse(self.evidence.read("plan")["plan"])
        return {"revision": str(plan.own.revision), "snapshot": str(plan.targets[0].snapshot_of(self.model))}


class SettleRollbackOperator(SettleModelOperator):
    """
    End as the rollback did; one that was only asked what there is has nothing to settle.

    :param model: The model, as in the catalog.
    """

    def execute(self, context: Context) -> dict[str, str]:
        """Settle, unless nothing was asked for."""
        if not asked(context).to:
            raise AirflowSkipException("It was only asked what there is.")
        return super().execute(context)
