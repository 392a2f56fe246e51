"""The plan: what it says is what is parsed, and nothing else is a plan."""

from __future__ import annotations

import copy

import pytest
from plans import DIGEST, a_plan, a_target

from modelberth.core import canonical
from modelberth.core.plan import Approver, Binding, Confirm, Live, PlanRefusedError, parse
from modelberth.core.revision import Snapshot


@pytest.mark.parametrize(
    ("live", "from_", "to", "judged"),
    [
        ("/b", "/a", "/b", Live.TO),
        ("/a", "/a", "/b", Live.FROM),
        ("/a", "/a", "/a", Live.SAME),
        ("/c", "/a", "/b", Live.FOREIGN),
        ("/c", "/a", "/a", Live.FOREIGN),
        (None, None, "/b", Live.FROM),
        (None, "/a", "/b", Live.FOREIGN),
        ("", None, "/b", Live.FOREIGN),
    ],
)
def test_a_live_value_is_judged_by_what_the_plan_found_and_brings(live, from_, to, judged):
    assert Binding("server", "MODEL_PATH", from_, to).judge(live) is judged


@pytest.mark.parametrize(
    "plan",
    [
        a_plan(),
        a_plan(source_version=None),
        a_plan(targets=(a_target(difference=None, confirm=Confirm("declared", None, None, None)),)),
        a_plan(targets=(a_target(), a_target(service="second", revision_from=f"minilm@{DIGEST}"))),
    ],
)
def test_a_plan_survives_its_canonical_form(plan):
    again = parse(canonical.load(canonical.dump(plan.document())))
    assert again == plan
    assert again.digest == plan.digest


def test_the_digest_covers_every_part():
    digests = {
        plan.digest
        for plan in (
            a_plan(),
            a_plan(bytes=1),
            a_plan(approvers=(Approver("mallory", "Alice"),)),
            a_plan(targets=(a_target(ready_within=121),)),
            a_plan(targets=(a_target(snapshot=Snapshot(DIGEST, 2)),)),
        )
    }
    assert len(digests) == 5


def altered(change) -> dict:
    document = copy.deepcopy(a_plan().document())
    change(document)
    return document


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (None, "expected schema 1"),
        ([], "expected schema 1"),
        (altered(lambda d: d.update(schema=2)), "got 2"),
        (altered(lambda d: d.update(schema=True)), "got True"),
        (altered(lambda d: d.update(extra=1)), "extra"),
        (altered(lambda d: d.pop("approvers")), "approvers"),
        (altered(lambda d: d.update(approvers=[])), r"approvers is \[\]"),
        (altered(lambda d: d.update(targets=[])), r"targets is \[\]"),
        (altered(lambda d: d.update(files="5")), "plan.files"),
        (altered(lambda d: d.update(files=True)), "plan.files"),
        (altered(lambda d: d.update(revision="minilm")), "Not a revision"),
        (altered(lambda d: d.update(model="other")), "model 'other'"),
        (altered(lambda d: d["targets"][0].update(bindings=[])), r"bindings is \[\]"),
        (altered(lambda d: d["targets"][0].update(snapshot="newest")), "Not a snapshot"),
        (altered(lambda d: d["targets"][0]["workload"].pop("uid")), "uid"),
        (altered(lambda d: d["targets"][0]["confirm"].update(level="hoped")), "hoped"),
        (altered(lambda d: d["targets"][0]["confirm"]["smoke"].update(tolerance=1)), "tolerance"),
        (altered(lambda d: d["targets"][0]["bindings"][0].update({"to": None})), "bindings.to"),
        (altered(lambda d: d["targets"].append("embedder")), "expected Target"),
    ],
)
def test_what_is_not_exactly_a_plan_is_refused(document, said):
    with pytest.raises(PlanRefusedError, match=said):
        parse(document)


def test_a_service_that_is_not_in_the_plan_is_refused_with_those_that_are():
    with pytest.raises(PlanRefusedError, match=r"'other'.*embedder"):
        a_plan().target("other")
