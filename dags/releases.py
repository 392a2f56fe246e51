"""release_<model>: one Dag for each model of the catalog, and one that says what is wrong for each broken file."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

from airflow.sdk import DAG, Param, TaskGroup, chain, get_parsing_context

from modelberth.catalog import RemoteSource, load
from modelberth.core.gate import answers
from modelberth.operators import WITH
from modelberth.operators.assets import LIVE
from modelberth.operators.check import CheckModelOperator
from modelberth.operators.fetch import FetchModelOperator
from modelberth.operators.plan import PlanModelOperator
from modelberth.operators.preview import PreviewModelOperator
from modelberth.operators.problem import CatalogProblemOperator
from modelberth.operators.record import RecordModelOperator
from modelberth.operators.resolve import ResolveModelOperator
from modelberth.operators.rollout import RolloutModelOperator
from modelberth.operators.settle import SettleModelOperator
from modelberth.operators.signature import VerifySignatureOperator
from modelberth.operators.sync import SyncModelOperator
from modelberth.operators.upload import UploadModelOperator
from modelberth.operators.verify import VerifyModelOperator
from modelberth.sensors.approval import ModelApprovalSensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelberth.catalog import Service, Target

UNFIT = re.compile(r"[^A-Za-z0-9_.-]")
"""What a file's name may have and a Dag's id may not: a name that cannot be shown must not break the others."""

DEFAULTS = {
    "retries": 3,  # a cleared deferred pod task fails once by design, a lost triggerer or node once more
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=10),
}

TOGETHER = (
    "Other models of the same services, such as an adapter of this base: the newest release of each that waits for a "
    "decision is approved and switched together with this one."
)

DOC = """
Takes model **{model}** from its source into service at {targets}. Each step proves what the next one relies on and
leaves a signed receipt; a task's state or XCom is no proof, so marking one as success moves nothing.

**bucket**: `resolve` refuses early what can be refused early; `upload` sends the model, and its revision is known then.
`signature`, where the model's file asks for one, looks who has signed that revision.
*When it fails*, the error names all that is to be put right: do that and clear the task. If it says that the source
moved on, start a new release.

**claim**: `sync` stages the revision as a snapshot that nothing serves yet; `verify` reads every byte of it again.
*When it fails*, clear it: what has arrived is kept. After a damaged snapshot, start a new release: it stages a fresh
copy.

**gate**: `plan` freezes what will be done; `preview`, where a service asks for one, tries it in a pod without
traffic; `approve` waits for a person, who sees the plan and its proofs; where it
takes several people, `approve_2` and so on wait for the next. *When it fails*, the error names what stands in the way.
A rejection, no answer in time and a newer proposal end the release and change nothing.

**serving**: `check` proves the snapshot again; `rollout` points the workload at it, waits until its pods confirm, and
puts back if they do not. *When it fails*, the former revision serves, or the error says what does: read it and start
a new release, unless it says which task to clear.

`record` closes the release. `settle` always runs, also when the whole run is marked: it puts back what was left half
done and ends as the release did.
"""


def release(model: str, services: Sequence[Service], targets: Sequence[Target], *, remote: bool, signed: bool) -> DAG:
    """Return the Dag that stages *model* at its *services* and takes it to its *targets*, one after the other."""
    names = ", ".join(f"**{target.name}**" for target in targets) or "no service yet"
    with DAG(
        f"release_{model}",
        schedule=None,
        catchup=False,
        is_paused_upon_creation=False,  # it starts by itself never; paused, it would swallow what refresh proposes
        default_args=DEFAULTS,
        params=parameters(model, services),
        tags=["modelberth", "release", *(f"service:{service.name}" for service in services)],
        doc_md=DOC.format(model=model, targets=names),
    ) as dag:
        with TaskGroup("bucket") as bucket:
            bring(model, remote=remote, signed=signed)
        with TaskGroup("claim") as claim:
            for service in services:
                stage(model, service.name)
        with TaskGroup("gate") as gate:
            plan = PlanModelOperator(task_id="plan", model=model)
            chain(plan, *previews(model, targets), *approvals(model, services))
        with TaskGroup("serving") as serving:
            chain(*(serve(model, target.name) for target in targets))
        record = RecordModelOperator(task_id="record", model=model, outlets=[LIVE])
        # A teardown, since Airflow skips all other pending tasks of a run that a person marks failed or successful.
        settle = SettleModelOperator(task_id="settle", model=model).as_teardown(on_failure_fail_dagrun=True)
        # An empty group would cut the chain: what follows it would not wait.
        chain(*(group for group in (bucket, claim, gate, serving) if group.children), record, settle)
    return dag


def parameters(model: str, services: Sequence[Service]) -> dict[str, Param]:
    """Return what whoever starts a release may choose: the models that are switched with it, where there are others."""
    others = sorted({binding.model for service in services for binding in service.bindings} - {model})
    texts = {"title": "With", "description": TOGETHER, "examples": others}
    return {WITH: Param([], type="array", items={"type": "string"}, **texts)} if others else {}


def bring(model: str, *, remote: bool, signed: bool) -> None:
    """Bring the model into the bucket."""
    # Once more is for a blip; what stays down is said now, and refresh proposes it again later.
    resolve = ResolveModelOperator(task_id="resolve", model=model, retries=1)
    # What is behind a network is fetched by a pod; a directory of the workers by a child of the task.
    upload = (FetchModelOperator if remote else UploadModelOperator)(task_id="upload", model=model)
    chain(resolve, upload, *signatures(model, signed=signed))


def signatures(model: str, *, signed: bool) -> list[VerifySignatureOperator]:
    """Return what looks at the model's signatures, where its file asks for any."""
    return [VerifySignatureOperator(task_id="signature", model=model)] if signed else []


def stage(model: str, service: str) -> None:
    """Bring the model onto the service's claim, proven."""
    with TaskGroup(service):
        sync = SyncModelOperator(task_id="sync", model=model, target=service)
        sync >> VerifyModelOperator(task_id="verify", model=model, target=service)


def previews(model: str, targets: Sequence[Target]) -> list[TaskGroup]:
    """Return what is tried before the gate: the first target of each service that asks for it, one after the other."""
    first: dict[str, Target] = {}
    for target in targets:
        if target.service.preview:
            first.setdefault(target.service.name, target)
    return [preview(model, target.name) for target in first.values()]


def preview(model: str, target: str) -> TaskGroup:
    """Try what is to come at the target."""
    with TaskGroup(target) as group:
        PreviewModelOperator(task_id="preview", model=model, target=target)
    return group


def approvals(model: str, services: Sequence[Service]) -> list[ModelApprovalSensor]:
    """Return a gate for each answer that a plan may ask for, as things are: the plan itself says how many it needs."""
    most = max((answers(one.approvals, one.four_eyes, None) for one in services), default=1)
    first = ModelApprovalSensor(task_id="approve", model=model)
    return [first, *(ModelApprovalSensor(task_id=f"approve_{n}", model=model, number=n) for n in range(2, most + 1))]


def serve(model: str, target: str) -> TaskGroup:
    """Bring what was approved into service at the target."""
    with TaskGroup(target) as group:
        check = CheckModelOperator(task_id="check", model=model, target=target)
        check >> RolloutModelOperator(task_id="rollout", model=model, target=target)
    return group


def broken(dag_id: str, problems: Sequence[str]) -> DAG:
    """Return the Dag that stands for a broken catalog file."""
    with DAG(
        dag_id,
        schedule=None,
        catchup=False,
        is_paused_upon_creation=False,
        tags=["modelberth", "catalog-error"],
        doc_md="This catalog file is not used:\n\n" + "\n".join(f"* {problem}" for problem in problems),
    ) as dag:
        CatalogProblemOperator(task_id="catalog", problems=problems)
    return dag


catalog = load()
asked = get_parsing_context().dag_id
"""A task's own process asks for one Dag only: each of a thousand takes it 4 ms."""
good = [
    release(
        name,
        catalog.services_of(name),
        catalog.targets(name),
        remote=isinstance(model.source, RemoteSource),
        signed=bool(model.signatures),
    )
    for name, model in catalog.models.items()
    if asked in (None, f"release_{name}")
]
taken = {f"release_{name}" for name in catalog.models}
bad = []
for stem, problems in catalog.problems.items():
    dag_id = f"release_{UNFIT.sub('_', stem)[:200]}"
    while dag_id in taken:  # a good model's, whose name has no _; or another file's that cannot be shown either
        dag_id += "_"
    taken.add(dag_id)
    bad.append(broken(dag_id, problems))
globals().update({dag.dag_id: dag for dag in (*good, *bad)})
