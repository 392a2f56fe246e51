"""Whether the receipts of one release say what they must: the plan was approved, proven, done, and the ledger knows.

Pure. That they hang together is ``core.chain``'s part; here it is what they say. A receipt that is missing, or is not
believed, is said there and not again here.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from modelberth.core import approval, bookkeeping, chain, gate, strict
from modelberth.core.bookkeeping import made_at
from modelberth.core.chain import Chain, Problem, Receipt
from modelberth.core.ledger import LIVE, LOST, PUT_BACK
from modelberth.core.plan import Plan, PlanRefusedError, parse
from modelberth.core.receipt import Name, elsewhere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from modelberth.core.bookkeeping import Entry
    from modelberth.core.plan import Released, Target

    Others = Callable[[str, str], Chain]

ENDS = timedelta(days=1)
"""A rollout that was started has an outcome by then (a service's ready_within is a day at most), and a live release a
record."""


def problems(release: Chain, entries: Mapping[str, Entry], others: Others, now: datetime) -> list[Problem]:
    """Return everything that is missing, forged or out of order in *release*, one line each.

    :param entries: What the ledger says of it, by event.
    :param others: Gives the chain of another release, by model and release.
    """
    found = chain.problems(release, others)
    plan, why = _plan(release)
    if why:
        found.append(Problem(release.path(Name("plan")), why))
    if plan:
        found += _planned(release, plan, others)
        found += _approved(release, plan)
        for target in plan.targets:
            found += _served(release, plan, target)
        found += _strangers(release, plan)
        found += _recorded(release, plan)
    found += _switched(release, others)
    found += bookkeeping.problems(release, entries, plan, now)
    found += _ended(release, plan, now)
    return sorted(_said_once(found))


def _said_once(found: list[Problem]) -> set[Problem]:
    """Return *found*, of each file that is missing only the first reason to miss it."""
    first = {one.where: one for one in reversed(found) if one.text.startswith("is missing")}
    return {first.get(one.where, one) if one.text.startswith("is missing") else one for one in found}


def _plan(release: Chain) -> tuple[Plan | None, str | None]:
    """Return the plan, its digest made anew; or why there is none to judge by."""
    receipt = release.newest("plan")
    if receipt is None:
        return None, None
    try:
        plan = parse(receipt.body.get("plan"))
    except PlanRefusedError as error:
        return None, f"cannot be judged: {error}"
    if str(plan.digest) != receipt.body.get("plan_digest"):
        return plan, f"says digest {receipt.body.get('plan_digest')}, but its plan has {plan.digest}"
    if (plan.model, plan.release_id) != (release.model, release.release_id):
        return plan, f"is of release {plan.release_id} of {plan.model}"
    return plan, None


def _planned(release: Chain, plan: Plan, others: Others) -> Iterator[Problem]:
    """Yield where what was uploaded and verified is not what the plan has."""
    for one in plan.models:
        own = one.release_id == release.release_id and one.model == release.model
        place = release if own else others(one.model, one.release_id)
        upload = place.newest("upload")
        if upload is None and not place.has(Name("upload").stem):
            yield Problem(place.path(Name("upload")), f"is missing; the plan of {release.release_id} rests on it")
        wanted = {"revision": str(one.revision), "files": one.files, "bytes": one.bytes}
        yield from _differences(place, upload, wanted, "the plan")
        yield from _signed(release, one, place)
        for service in dict.fromkeys(target.service for target in plan.targets if target.bindings_of(one.model)):
            yield from _verified(release, plan, one, service, place)
            if plan.rollback and not release.has(Name("list", service).stem):
                yield Problem(release.path(Name("list", service)), "is missing: what was on the claim is not on record")


def _rested_on(release: Chain, name: Name, place: Chain) -> tuple[str, str | None]:
    """Return what the plan calls the receipt *name* of *place*, and which one it rests on."""
    named = name.stem if place is release else elsewhere(place.model, place.release_id, name.stem)
    receipt = release.newest("plan")
    return named, receipt.previous.get(named) if receipt else None


def _with_digest(place: Chain, digest: str) -> Receipt | None:
    return next((one for one in place.receipts.values() if one.digest == digest), None)


def _signed(release: Chain, model: Released, place: Chain) -> Iterator[Problem]:
    """Yield why the receipt that the plan names does not say what the plan says of the model's signatures."""
    if not model.signed:
        return
    named, digest = _rested_on(release, Name("signature"), place)
    if digest is None:
        yield Problem(release.path(Name("plan")), f"does not rest on {named}: nothing proves who signed")
        return
    found = _with_digest(place, digest)
    said = found.body if found else {}
    wanted = strict.dump(model.signed)
    if found and (
        said.get("revision") != str(model.revision) or any(one not in said.get("signed", ()) for one in wanted)
    ):
        yield Problem(place.path(found.name), "does not say of the signatures what the plan says")


def _verified(release: Chain, plan: Plan, model: Released, service: str, place: Chain) -> Iterator[Problem]:
    """Yield why the verify that the plan names does not prove the snapshot that it brings to *service*."""
    named, digest = _rested_on(release, Name("verify", service), place)
    if digest is None:
        yield Problem(release.path(Name("plan")), f"does not rest on {named}: nothing proves {model.revision} there")
        return
    verify = _with_digest(place, digest)
    for target in plan.targets:
        if target.service == service and model.model in {served.model for served in target.served}:
            wanted = {"revision": str(model.revision), "snapshot": str(target.snapshot_of(model.model))}
            yield from _differences(place, verify, wanted | approval.place(target), f"the plan for {target.name}")


def _approved(release: Chain, plan: Plan) -> Iterator[Problem]:
    """Yield why the answers of the gate, each a receipt, do not allow what was done by them.

    answers                           | rolled out | then
    ----------------------------------+------------+------------------------------------
    all that the gate needs, good     | any        | nothing
    fewer, good                       | no         | nothing: the gate still asks
    fewer                             | yes        | the others are missing
    one that is not good              | any        | said
    the last says no, the others good | no         | nothing
    """
    receipts = sorted(release.of("approve"), key=lambda one: int(one.name.target or 1))
    answers = [one.body for one in receipts]
    rolled_out, needed = bool(release.of("started")), gate.needed(plan.gate)
    if rolled_out:
        for name in gate.receipt_names(plan.gate):
            if not release.has(Name("approve", name).stem):
                yield Problem(release.path(Name("approve", name)), f"is missing: {needed} answers allow the plan")
        whole = len(answers) == needed
        found = approval.problems(answers, plan) if whole else approval.answer_problems(answers, plan)
    else:
        rejected = bool(answers) and answers[-1].get("decision") == approval.REJECT
        found = approval.answer_problems(answers[:-1] if rejected else answers, plan)
    if found:
        last = receipts[-1].name if receipts else Name("approve")
        yield Problem(release.path(last), f"does not allow the plan: {'; '.join(found)}")


def _served(release: Chain, plan: Plan, target: Target) -> Iterator[Problem]:
    """Yield where what was done at *target* is not what the plan allows.

    decided  | outcome        | is
    ---------+----------------+--------
    keep     | live           | right
    put back | put back, lost | right
    any      | another        | said
    """
    started, decided, outcome = (release.newest(step, target.name) for step in ("started", "decided", "outcome"))
    if started:
        yield from _checked(release, plan, target, started)
        yield from _in_turn(release, plan, target, started)
    digest = {"plan_digest": str(plan.digest)}
    yield from _differences(release, started, digest, "the plan")
    about = {"revision": str(plan.own.revision), "snapshot": str(target.snapshot_of(plan.model))}
    yield from _differences(release, outcome, digest | about, "the plan")
    soaked = release.has(Name("soaking", target.name).stem)
    if target.canary and not soaked and decided and decided.body.get("decision") == "keep":
        yield Problem(release.path(Name("soaking", target.name)), "is missing: the plan has a canary, which must soak")
    if decided and outcome:
        follows = {"keep": {LIVE}, "put back": {PUT_BACK, LOST}}.get(str(decided.body.get("decision")), set())
        if outcome.body.get("result") not in follows:
            yield Problem(
                release.path(outcome.name),
                f"says {outcome.body.get('result')!r}, but decided was {decided.body.get('decision')!r}",
            )


def _checked(release: Chain, plan: Plan, target: Target, started: Receipt) -> Iterator[Problem]:
    """Yield why the check that *started* rests on did not prove the snapshot, right then and after the approval."""
    named = started.previous.get(Name("check", target.name).stem)
    check = next((one for one in release.receipts.values() if one.digest == named), None)
    if check is None:
        return  # what is missing, or not named, is the chain's to say
    answers = [one.digest for one in release.of("approve")]
    for text in approval.check_problems(check.body, target, plan, answers, made_at(started)):
        yield Problem(release.path(check.name), text.replace(": clear the task 'check'", f" before {started.name}"))


def _in_turn(release: Chain, plan: Plan, target: Target, started: Receipt) -> Iterator[Problem]:
    """Yield why *started* does not show that what comes before *target* was live by then.

    outcome before it | named by started | said
    ------------------+------------------+--------------------------------
    missing           | any              | that it is missing
    any               | no               | that started is out of order
    live              | yes              | nothing
    put back, lost    | yes              | that it was not to be started
    """
    for name in plan.before(target.name):
        before = Name("outcome", name)
        outcome = release.newest("outcome", name)
        if not release.has(before.stem):
            yield Problem(release.path(before), f"is missing; {started.name} rests on it")
        elif before.stem not in started.previous:
            yield Problem(release.path(started.name), f"does not rest on {before.stem}: it is out of order")
        elif outcome and outcome.body.get("result") != LIVE:
            yield Problem(
                release.path(started.name), f"rests on {before.stem}, which is {outcome.body.get('result')!r}"
            )


def _strangers(release: Chain, plan: Plan) -> Iterator[Problem]:
    """Yield what was done where the plan has nothing to do."""
    planned = {target.name for target in plan.targets}
    for step in ("check", "started", "decided", "outcome"):
        for receipt in release.of(step):
            if receipt.name.target not in planned:
                yield Problem(release.path(receipt.name), "is about a target that the plan does not touch")


def _recorded(release: Chain, plan: Plan) -> Iterator[Problem]:
    record = release.newest("record")
    if record is None or "by" in record.body:
        return
    targets = [target.name for target in plan.targets]
    wanted = {"revision": str(plan.own.revision), "plan_digest": str(plan.digest), "targets": targets}
    yield from _differences(release, record, wanted, "the plan")
    for target in targets:
        outcome = release.newest("outcome", target)
        if outcome and outcome.body.get("result") != LIVE:
            text = f"says that it is live everywhere, but at {target} it is {outcome.body.get('result')!r}"
            yield Problem(release.path(record.name), text)


def _switched(release: Chain, others: Others) -> Iterator[Problem]:
    """Yield why a release that says it was switched by another one's plan was not."""
    record = release.newest("record")
    by = record.body.get("by") if record else None
    if not record or not isinstance(by, dict):
        return
    plan, _ = _plan(others(str(by.get("model")), str(by.get("release_id"))))
    revisions = [str(one.revision) for one in plan.models if one.release_id == release.release_id] if plan else []
    if plan and (record.body.get("plan_digest"), [record.body.get("revision")]) != (str(plan.digest), revisions):
        yield Problem(release.path(record.name), f"is not what the plan of {plan.release_id} of {plan.model} says")


def _differences(place: Chain, receipt: Receipt | None, wanted: Mapping[str, Any], whose: str) -> Iterator[Problem]:
    found = receipt.body if receipt else wanted
    different = [
        f"{key} {found.get(key)!r}, expected {value!r}" for key, value in wanted.items() if found.get(key) != value
    ]
    if receipt and different:
        yield Problem(place.path(receipt.name), f"is not what {whose} says: {'; '.join(different)}")


def _ended(release: Chain, plan: Plan | None, now: datetime) -> Iterator[Problem]:
    """Yield what should have come long ago.

    started, no outcome, a day ago              | the outcome is missing
    live at every target, no record, a day ago  | the record is missing
    """
    for started in release.of("started"):
        outcome = Name("outcome", started.name.target)
        if not release.has(outcome.stem) and now - made_at(started) > ENDS:
            yield Problem(release.path(outcome), f"is missing: {started.name} is of {started.body.get('at')}")
    outcomes = {one.name.target: one for one in release.of("outcome") if one.body.get("result") == LIVE}
    everywhere = plan and all(target.name in outcomes for target in plan.targets)
    if everywhere and not release.has(Name("record").stem) and now - max(map(made_at, outcomes.values())) > ENDS:
        yield Problem(release.path(Name("record")), "is missing: the release is live at all its targets")
