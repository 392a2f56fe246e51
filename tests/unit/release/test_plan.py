"""The plan: what it says is what is parsed, and nothing else is a plan."""

from __future__ import annotations

import copy

import pytest

from modelberth.core import canonical
from modelberth.core.binding import Binding, Live
from modelberth.core.confirm import Confirm, Probe, Smoke
from modelberth.core.plan import Approver, Canary, Capacity, PlanRefusedError, parse
from modelberth.core.revision import Snapshot
from plans import DIGEST, a_binding, a_gate, a_plan, a_released, a_served, a_target


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
    assert Binding("minilm", "server", "MODEL_PATH", from_, to).judge(live) is judged


PICKY = Confirm(
    "behaved",
    8000,
    "/v1/models",
    "vllm",
    (Smoke("/a", None, 200, "x", [0.5, 1], 0.01),),
    Probe("key", "https", "modelsync", "sa"),
)
TWO = a_target(
    served=(a_served(), a_served("adapter")), bindings=(a_binding(), a_binding("adapter", "ADAPTER_PATH", "/b"))
)


@pytest.mark.parametrize(
    "plan",
    [
        a_plan(),
        a_plan(models=(a_released(source_version=None),), gate=a_gate(requested_by=None)),
        a_plan(targets=(a_target(served=(a_served(difference=None),), confirm=Confirm("declared", None, None)),)),
        a_plan(targets=(a_target(), a_target(name="second", served=(a_served(revision_from=f"minilm@{DIGEST}"),)))),
        a_plan(targets=(a_target(confirm=PICKY, capacity=Capacity("cannot know", ("autoscaler",))),)),
        a_plan(targets=(a_target(canary=Canary(1, 60)),)),
        a_plan(models=(a_released(), a_released("adapter", release_id="another")), targets=(TWO,)),
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
            a_plan(models=(a_released(bytes=1),)),
            a_plan(gate=a_gate(approvers=(Approver("mallory", "Alice"),))),
            a_plan(targets=(a_target(ready_within=121),)),
            a_plan(targets=(a_target(served=(a_served(snapshot=Snapshot(DIGEST, 2)),)),)),
        )
    }
    assert len(digests) == 5


def served(document: dict) -> dict:
    return document["targets"][0]["served"][0]


def altered(change) -> dict:
    document = copy.deepcopy(a_plan().document())
    change(document)
    return document


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (None, "expected schema 2"),
        ([], "expected schema 2"),
        (altered(lambda d: d.update(schema=1)), "got 1"),
        (altered(lambda d: d.update(schema=True)), "got True"),
        (altered(lambda d: d.update(extra=1)), "extra"),
        (altered(lambda d: d["gate"].pop("approvers")), "approvers"),
        (altered(lambda d: d["gate"].update(approvers=[])), r"approvers is \[\]"),
        (altered(lambda d: d.update(targets=[])), r"targets is \[\]"),
        (altered(lambda d: d["models"][0].update(files="5")), "plan.models.files"),
        (altered(lambda d: d["models"][0].update(files=True)), "plan.models.files"),
        (altered(lambda d: d["models"][0].update(revision="minilm")), "Not a revision"),
        (altered(lambda d: d.update(model="other")), "its first model is 'minilm'"),
        (altered(lambda d: d.update(release_id="1")), "not its own or an earlier one"),
        (altered(lambda d: d["models"].append(d["models"][0])), "named twice"),
        (altered(lambda d: d["models"][0].update(revision=f"other@{DIGEST}")), "model 'minilm' but revision other@"),
        (altered(lambda d: d["targets"].append(d["targets"][0])), "named twice"),
        (altered(lambda d: served(d).update(model="other")), "serves other but binds minilm"),
        (altered(lambda d: served(d).update(snapshot="00" * 32 + ".1")), "is not of minilm@"),
        (altered(lambda d: d["targets"][0]["bindings"][0].update(model="other")), "serves minilm but binds other"),
        (altered(lambda d: d["targets"][0].update(bindings=[])), r"bindings is \[\]"),
        (altered(lambda d: served(d).update(snapshot="newest")), "Not a snapshot"),
        (altered(lambda d: d["targets"][0]["workload"].pop("uid")), "uid"),
        (altered(lambda d: d["targets"][0]["confirm"].update(level="hoped")), "hoped"),
        (altered(lambda d: d["targets"][0]["confirm"].update(style="tgi")), "tgi"),
        (altered(lambda d: d["targets"][0]["capacity"].update(verdict="perhaps")), "perhaps"),
        (altered(lambda d: d["targets"][0]["confirm"]["smoke"][0].update(tolerance=1)), "tolerance"),
        (altered(lambda d: d["targets"][0]["bindings"][0].update({"to": None})), "bindings.to"),
        (altered(lambda d: d["targets"].append("embedder")), "expected Target"),
    ],
)
def test_what_is_not_exactly_a_plan_is_refused(document, said):
    with pytest.raises(PlanRefusedError, match=said):
        parse(document)


def test_a_target_that_is_not_in_the_plan_is_refused_with_those_that_are():
    with pytest.raises(PlanRefusedError, match=r"'other'.*embedder"):
        a_plan().target("other")


def test_a_plan_that_is_made_again_is_the_same_whatever_room_there_is_by_then():
    first = a_plan(targets=(a_target(capacity=Capacity("fits", ("there is room",))),))
    again = a_plan(targets=(a_target(capacity=Capacity("cannot know", ("pod x is ending",))),))
    assert again.with_room_as_in(first) == first


def test_a_plan_that_is_made_again_differently_stays_different():
    first, again = a_plan(), a_plan(targets=(a_target(replicas=9), a_target(name="another")))
    assert again.with_room_as_in(first).digest != first.digest
