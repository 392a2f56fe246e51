"""What a plan refuses to rest on, before the cluster is asked."""

import pytest
import yaml

from modelberth.catalog import load
from modelberth.core.plan import PlanRefusedError
from modelberth.core.revision import Snapshot
from modelberth.kubernetes.planning import make_plan
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
