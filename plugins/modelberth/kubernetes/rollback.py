"""Making the plan of a rollback: nothing of it is read from the model's bucket or its source, which may be down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelberth.core.plan import Approver, Gate, Plan, PlanRefusedError
from modelberth.core.receipt import Name, elsewhere
from modelberth.core.revision import Snapshot
from modelberth.kubernetes import planning, preflight, workload
from modelberth.kubernetes.client import Cluster
from modelberth.kubernetes.rehearsal import rehearse
from modelberth.kubernetes.target import find

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelberth.catalog import Catalog, Model, Service, Target
    from modelberth.core.digest import Digest
    from modelberth.core.rollback import Lived
    from modelberth.kubernetes.target import Found
    from modelberth.receipts import Evidence

BREAK_GLASS_LASTS = 3600
"""Seconds after the start of a run in which a rollback without an approval may begin."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to be served again.

    :param to: A snapshot or a revision; empty: only say what there is.
    :param requested_by: As Airflow noted who started the run, by name; None where it did not.
    """

    model: str
    service: str
    to: str
    reason: str
    break_glass: bool
    requested_by: str | None


class Situation:
    """What is served of one model at one service, as it is now."""

    def __init__(self, catalog: Catalog, model: str, service: str) -> None:
        self.model: Model = catalog.model(model)
        self.service: Service = catalog.service(service)
        self.targets: list[Target] = [one for one in catalog.targets(model) if one.service.name == service]
        if not self.targets:
            raise PlanRefusedError(f"Service {service!r} does not bind model {model!r}: there is nothing to roll back.")
        self.found: dict[str, Found] = {one.name: find(one, [model]) for one in self.targets}

    @property
    def serving(self) -> set[Snapshot]:
        """The snapshot that every binding names; empty if they name several, or something that is not ours."""
        named = {_named(self.model.name, value) for value in self._values()}
        return {one for one in named if one} if len(named) == 1 else set()

    def _values(self) -> list[str | None]:
        return [
            workload.live_value(workload.container(found.document, binding.container) or {}, binding.variable)
            for found in self.found.values()
            for binding, _ in found.bindings
        ]

    def plan(self, asked: Asked, back: Lived, evidence: Evidence, proof: Evidence) -> Plan:
        """Return the plan that serves *back* again.

        :param evidence: The rollback's own.
        :param proof: Of the release that brought *back*.
        :raises PlanRefusedError: With everything that stands in the way, also what the API server says of the change.
        :raises EvidenceMissingError: The upload or the verify of *back* is not on record any more.
        """
        released = planning.read_released(self.model, proof)
        snapshot = planning.read_verified(proof, self.model, self.service, released.revision)
        verified = proof.read("verify", self.service.name)
        problems = [problem for one in self.found.values() for problem in one.problems]
        problems += preflight.rights_problems(Cluster(self.service.connection), self.service)
        problems += gate_problems(self.service, asked)
        if snapshot != back.snapshot:
            problems.append(f"Release {back.release_id} has verified {snapshot}, not {back.snapshot}.")
        if problems:
            raise PlanRefusedError(f"Nothing was changed, this rollback is not possible: {' '.join(problems)}")
        name = self.model.name
        plan = Plan(
            model=name,
            release_id=evidence.release_id,
            models=(released,),
            gate=gate(self.service, asked),
            targets=tuple(
                planning.make_target(one, self.found[one.name], {name: snapshot}, {name: lambda _: None}, verified)
                for one in self.targets
            ),
        )
        rehearse(plan, {name: one.document for name, one in self.found.items()})
        return plan

    def by_hand(self, snapshots: Sequence[Snapshot]) -> list[str]:
        """Return the lines that serve each of *snapshots* again without us, for when the evidence cannot be reached."""
        return [self._line(target, snapshot) for snapshot in snapshots for target in self.targets]

    def _line(self, target: Target, snapshot: Snapshot) -> str:
        found, one = self.found[target.name], target.workload
        bound = [(binding, mount.serving_path(self.model.name, snapshot)) for binding, mount in found.bindings]
        sets = [
            f"kubectl --namespace {self.service.namespace} set env {one.kind.lower()}/{one.name} "
            f"--containers={binding.container} {binding.variable}={path}"
            for binding, path in bound
        ]
        return " && ".join(sets)


def rests_on(proof: Evidence, service: str) -> dict[str, Digest]:
    """Return by which receipts of the earlier release the plan of a rollback is proven."""
    name = Name("verify", service)
    return {elsewhere(proof.model, proof.release_id, name.stem): proof.digest(name.step, name.target)}


def gate(service: Service, asked: Asked) -> Gate:
    """Return who has to answer: what comes back was approved before, so one yes is enough.

    break glass | who            | four eyes     | within
    ------------+----------------+---------------+----------------------
    no          | its approvers  | the service's | the service's time
    yes         | who asked      | no            | an hour
    """
    if asked.break_glass:
        who = str(asked.requested_by)
        return Gate((Approver(who, who),), 1, False, asked.requested_by, BREAK_GLASS_LASTS)
    people = tuple(Approver(one.id, one.name) for one in service.approvers)
    return Gate(people, 1, service.four_eyes, asked.requested_by, service.answer_within)


def gate_problems(service: Service, asked: Asked) -> list[str]:
    """Return why nobody may roll back like this.

    break glass | reason | who asked                     | allowed
    ------------+--------+-------------------------------+---------------------
    no          | any    | known, or no four eyes        | the gate decides
    no          | any    | not known, four eyes          | no: nobody can be told from who asked
    yes         | none   | any                           | no: it is on record for ever why
    yes         | given  | in the service's break_glass  | yes
    yes         | given  | not in it, or not known       | no
    """
    if not asked.break_glass:
        unknown = service.four_eyes and not asked.requested_by
        return ["Nobody knows who started this run, and four_eyes is on: start it in the UI."] if unknown else []
    problems = [] if asked.reason.strip() else ["Without an approval it needs a 'reason', which stays on record."]
    if asked.requested_by not in service.break_glass:
        allowed = ", ".join(service.break_glass) or "nobody"
        problems.append(
            f"{asked.requested_by or 'Whoever started this run'} may not roll back service {service.name!r} without an "
            f"approval; its key break_glass names {allowed}. Start again without break_glass: an approver answers."
        )
    return problems


def _named(model: str, value: str | None) -> Snapshot | None:
    """Return the snapshot of *model* that the path *value* leads to, if it is one of our paths."""
    *_, owner, snapshot, _ = ["", "", *(value or "").split("/")]
    try:
        return Snapshot.parse(snapshot) if owner == model else None
    except ValueError:
        return None
