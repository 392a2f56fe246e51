"""Builders: whole releases on record in a folder, written by the code that writes them in production."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from modelberth.core.approval import place
from modelberth.core.digest import Digest
from modelberth.core.receipt import RESTS_ON, Name, elsewhere
from modelberth.core.revision import Revision, Snapshot
from modelberth.receipts import Evidence, Ledger
from modelberth.receipts.audit import Auditor, Folder
from modelberth.receipts.signed import write_signed
from modelberth.receipts.signing import PublicKey, SigningKey
from plans import a_plan, a_target

if TYPE_CHECKING:
    from pathlib import Path

    from modelberth.core.chain import Problem
    from modelberth.core.plan import Plan

FIRST, SECOND, THIRD = (f"2026010{day}t030405z-9f86d08188" for day in (2, 3, 4))


class WritableFolder(Folder):
    """A folder as an object store that creates and never overwrites."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.root = root

    def create(self, key: str, data: bytes) -> bool:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            return path.read_bytes() == data
        path.write_bytes(data)
        return True


class Shelf:
    """What is on record below *root*."""

    def __init__(self, root: Path, key: SigningKey | None = None) -> None:
        self.root, self.key = root, key or SigningKey(os.urandom(32))
        self.store = WritableFolder(root)

    def evidence(self, release_id: str, model: str = "minilm") -> Evidence:
        return Evidence(self.store, self.key, model, release_id)

    def book(self, model: str = "minilm") -> Ledger:
        return Ledger(self.store, self.key, model)

    def path(self, release_id: str, file: str, model: str = "minilm") -> Path:
        return self.root / model / release_id / file

    def audit(self, release_id: str | None = None, model: str = "minilm", now: datetime | None = None) -> list[Problem]:
        """Judge it as somebody who may only read and has the public key."""
        auditor = Auditor(Folder(self.root), PublicKey(self.key.public_key))
        return auditor.audit(model, release_id, now or datetime.now(UTC)).problems

    def release(
        self, release_id: str, digit: str = "1", *, model: str = "minilm", until: str = "record", signed: Any = ()
    ) -> Plan:
        """Write a release of two targets, from its first step to *until*, and what the ledger is told on the way."""
        evidence, plan = self.evidence(release_id, model), a_release(release_id, digit, model)
        plan = replace(plan, models=(replace(plan.own, signed=signed),))
        for step, write in STEPS.items():
            write(self, evidence, plan)
            if step == until:
                break
        return plan

    def relink(self, release_id: str, model: str = "minilm") -> None:
        """Sign every receipt of a release anew, each naming those before it as they are now.

        Twice, since the second target's start rests on the first one's outcome.
        """
        digests: dict[str, str] = {}
        paths = sorted((self.root / model / release_id).iterdir(), key=lambda path: _ORDER[Name.parse(path.name).step])
        for path in paths * 2:
            body = json.loads(path.read_bytes())["receipt"]
            body["previous"] = {stem: digests.get(stem, digest) for stem, digest in body["previous"].items()}
            path.write_bytes(self.key.seal(body))
            digests[Name.parse(path.name).stem] = str(Digest.of(path.read_bytes()))

    def release_with(self, release_id: str, other: str, others_id: str) -> Plan:
        """Write a release that switches a second model with its own, each with its own variable."""
        theirs = self.release(others_id, "2", model=other, until="verify")
        plan = a_release(release_id, "1", "minilm")
        targets = tuple(
            replace(ours, served=(*ours.served, *also.served), bindings=(*ours.bindings, a_second(also.bindings[0])))
            for ours, also in zip(plan.targets, theirs.targets, strict=True)
        )
        plan = replace(plan, models=(plan.own, theirs.own), targets=targets)
        evidence, proof = self.evidence(release_id), self.evidence(others_id, other)
        for step in ("resolve", "upload", "sync", "verify"):
            STEPS[step](self, evidence, plan)
        stems = {Name("verify", one.service).stem: proof.digest("verify", one.service) for one in plan.targets}
        rests_on = {elsewhere(other, others_id, stem): digest for stem, digest in stems.items()}
        evidence.write("plan", {"plan": plan.document(), "plan_digest": str(plan.digest)}, rests_on=rests_on)
        for step in ("approve", "rollout", "record"):
            STEPS[step](self, evidence, plan)
        by = {"model": "minilm", "release_id": release_id, "url": "s3://receipts", "connection": "receipts"}
        said = {"plan_digest": str(plan.digest), "targets": [one.name for one in plan.targets], "by": by}
        named = {elsewhere("minilm", release_id, Name("record").stem): evidence.digest("record")}
        proof.write("record", {**about(theirs), **said}, rests_on=named)
        for event in ("superseded", "live"):
            self.book(other).record(event, others_id, **about(theirs))
        return plan

    def rollback(self, release_id: str, to: str, digit: str = "1", instead_of: str = SECOND) -> Plan:
        """Write a rollback from what release *instead_of* has brought to what release *to* has."""
        earlier = a_release(to, digit, "minilm")
        plan = replace(earlier, release_id=release_id, targets=earlier.targets[:1])
        evidence, proof = self.evidence(release_id), self.evidence(to)
        evidence.write("list", {"models": []}, target="embedder")
        stems = {Name("verify", one.service).stem: proof.digest("verify", one.service) for one in plan.targets}
        rests_on = {elsewhere("minilm", to, stem): digest for stem, digest in stems.items()}
        said = {"instead_of": [instead_of]}
        body = {"plan": plan.document(), "plan_digest": str(plan.digest), "rollback": said}
        evidence.write("plan", body, rests_on=rests_on)
        self.book().record("rollback", release_id, **about(plan))
        for step in ("approve", "rollout", "record"):
            STEPS[step](self, evidence, plan)
        self.book().record("rolled-back", instead_of, **about(a_release(instead_of, "2", "minilm")))
        return plan


def a_release(release_id: str, digit: str, model: str) -> Plan:
    """Return the plan of a release to two services."""
    digest = Digest(digit * 64)
    plan = a_plan(release_id=release_id, model=model)
    [own] = plan.models
    own = replace(own, model=model, release_id=release_id, revision=Revision(model, digest), source_version=f"v{digit}")
    targets = tuple(a_bound_target(name, model, digest) for name in ("embedder", "second"))
    return replace(plan, models=(own,), targets=targets)


def a_bound_target(name: str, model: str, digest: Digest) -> Any:
    target = a_target(name=name, service=name)
    [binding], [served] = target.bindings, target.served
    to = f"/models/{model}/{digest.hex}.1/files"
    bindings = (replace(binding, model=model, to=to),)
    return replace(target, bindings=bindings, served=(replace(served, model=model, snapshot=Snapshot(digest, 1)),))


def a_second(binding: Any) -> Any:
    return replace(binding, variable="ADAPTER_PATH")


def about(plan: Plan) -> dict[str, Any]:
    return {"revision": str(plan.own.revision), "source_version": plan.own.source_version}


def _resolve(shelf: Shelf, evidence: Evidence, plan: Plan) -> None:
    evidence.write("resolve", {"source_version": plan.own.source_version, "requested_by": "bob"})
    shelf.book(plan.model).record("proposed", plan.release_id, source_version=plan.own.source_version)


def _upload(shelf: Shelf, evidence: Evidence, plan: Plan) -> None:
    evidence.write("upload", {"revision": str(plan.own.revision), "files": plan.own.files, "bytes": plan.own.bytes})
    if plan.own.signed:
        write_signed(evidence, plan.own.revision, plan.own.signed)


def _staged(step: str) -> Any:
    def write(shelf: Shelf, evidence: Evidence, plan: Plan) -> None:
        for target in plan.targets:
            what = {"revision": str(plan.own.revision), "snapshot": str(target.snapshot_of(plan.model))}
            also = [(plan.revisions[one.model], one.snapshot) for one in target.served if one.model != plan.model]
            more = {"also": [{"revision": str(of), "snapshot": str(one)} for of, one in also]} if also else {}
            evidence.write(step, what | place(target) | more, target=target.service)

    return write


def _plan(shelf: Shelf, evidence: Evidence, plan: Plan) -> None:
    evidence.write("plan", {"plan": plan.document(), "plan_digest": str(plan.digest)})


def _approve(shelf: Shelf, evidence: Evidence, plan: Plan) -> None:
    evidence.write("approve", an_answer(plan))
    shelf.book(plan.model).record("approved", plan.release_id, **about(plan))


def an_answer(plan: Plan, **changes: Any) -> dict[str, Any]:
    answer = {
        "decision": "approve",
        "plan_digest": str(plan.digest),
        "responder": {"id": "alice", "name": "Alice"},
        "responded_at": "2026-01-02T03:04:05+00:00",
    }
    return answer | changes


def _rollout(shelf: Shelf, evidence: Evidence, plan: Plan) -> None:
    _staged("check")(shelf, evidence, plan)
    digest = {"plan_digest": str(plan.digest)}
    for target in plan.targets:
        what = {"revision": str(plan.own.revision), "snapshot": str(target.snapshot_of(plan.model))}
        before = {Name("outcome", one).stem: evidence.digest("outcome", one) for one in plan.before(target.name)}
        evidence.write("started", digest, target=target.name, rests_on=before)
        evidence.write("decided", {"decision": "keep", "reason": "all pods confirmed"}, target=target.name)
        evidence.write("outcome", {"result": "live", **digest, **what}, target=target.name)


def _record(shelf: Shelf, evidence: Evidence, plan: Plan) -> None:
    targets = [target.name for target in plan.targets]
    evidence.write("record", {**about(plan), "plan_digest": str(plan.digest), "targets": targets})
    shelf.book(plan.model).record("live", plan.release_id, **about(plan))


_ORDER = {step: number for number, step in enumerate(RESTS_ON)}
STEPS = {
    "resolve": _resolve,
    "upload": _upload,
    "sync": _staged("sync"),
    "verify": _staged("verify"),
    "plan": _plan,
    "approve": _approve,
    "rollout": _rollout,
    "record": _record,
}
