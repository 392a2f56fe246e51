"""What a plan refuses to rest on, before the cluster is asked."""

import pytest
import yaml

from modelberth.catalog import load
from modelberth.core.plan import PlanRefusedError
from modelberth.core.revision import Snapshot
from modelberth.kubernetes import planning
from modelberth.kubernetes.planning import make_plan
from modelberth.kubernetes.target import Found
from modelberth.receipts import release_evidence
from modelberth.receipts.damage import damage_record

HEX = "ab" * 32
REVISION, SNAPSHOT = f"minilm@sha256:{HEX}", f"{HEX}.1"
CLAIM = {"connection": "modelberth_kubernetes", "namespace": "serving", "claim": "models"}


@pytest.fixture
def verified(evidence):
    """Writes the receipt of a verify, after an upload."""
    evidence.write("resolve", {"source_version": "v1", "requested_by": "bob"})
    evidence.write("upload", {"revision": REVISION, "files": 1, "bytes": 7})

    def write(**changes):
        evidence.write("verify", {"revision": REVISION, "snapshot": SNAPSHOT, **CLAIM, **changes}, target="embedder")
        return evidence

    return write


def refused(evidence, said):
    with pytest.raises(PlanRefusedError, match=said):
        make_plan(load(), "minilm", evidence)


def test_who_requested_what_is_taken_along_is_left_out_under_four_eyes(verified, catalog, monkeypatch):
    binding = catalog.service["bindings"][0]
    both = [binding, binding | {"variable": "ADAPTER_PATH", "model": "adapter"}]
    catalog.write("models/adapter.yaml", catalog.model)
    catalog.write("services/embedder.yaml", catalog.service | {"bindings": both, "four_eyes": True})
    adapter = release_evidence(load().model("adapter"), "20260101t000000z-0000000000")
    adapter.write("resolve", {"source_version": "v1", "requested_by": "Alice"})
    adapter.write("upload", {"revision": f"adapter@sha256:{HEX}", "files": 1, "bytes": 7})
    verify = {"revision": f"adapter@sha256:{HEX}", "snapshot": SNAPSHOT, **CLAIM}
    adapter.write("verify", verify, target="embedder")
    monkeypatch.setattr(planning, "find", lambda *_: Found({}))
    with pytest.raises(PlanRefusedError, match=r"only 0 can answer.*'alice': requested what is switched"):
        make_plan(load(), "minilm", verified(), [adapter])


def test_another_revision_than_was_uploaded_is_refused(verified):
    refused(verified(revision=f"minilm@sha256:{'cd' * 32}"), "clear the service's sync")


@pytest.mark.parametrize("key", CLAIM)
def test_a_verify_on_another_claim_is_refused(verified, key):
    refused(verified(**{key: "another"}), f"verified on another claim: its {key} is 'another', expected '{CLAIM[key]}'")


def test_content_that_the_models_file_requires_by_now_is_required(verified, catalog):
    document = yaml.safe_load((catalog.root / "models/minilm.yaml").read_text())
    catalog.write("models/minilm.yaml", document | {"content": {"code": "require"}})
    refused(verified(content={"code": 1}), "content.code has 1 problem, and its file requires by now")
    refused(verified(content={"headers": 0}), "content.code was not looked at")


def test_a_snapshot_on_record_as_damaged_is_refused(verified):
    damage_record(load().model("minilm"), load().service("embedder")).add(
        Snapshot.parse(SNAPSHOT), "check of release x", []
    )
    refused(verified(), r"on record as damaged \(found by check of release x\)")
