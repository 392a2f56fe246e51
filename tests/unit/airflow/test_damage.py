"""What was found damaged on a claim: signed, once, and about nothing else."""

from types import SimpleNamespace

import pytest

from modelberth.catalog import load
from modelberth.core.revision import Revision, Snapshot
from modelberth.receipts import EvidenceForgedError
from modelberth.receipts.damage import damage_record

REVISION = Revision.parse(f"minilm@sha256:{'ab' * 32}")
FIRST, SECOND, TENTH = (Snapshot(REVISION.digest, copy) for copy in (1, 2, 10))


@pytest.fixture
def damage(objects, catalog):
    """The record of model minilm on claim serving/models."""
    return at("modelberth_kubernetes", "serving", "models")


def at(connection, namespace, claim):
    where = SimpleNamespace(connection=connection, namespace=namespace, claim=claim)
    return damage_record(load().model("minilm"), where)


def test_nothing_is_damaged_at_first(damage):
    assert damage.of(REVISION) == []


def test_what_was_found_is_known_by_copy(damage):
    for snapshot in (TENTH, FIRST, SECOND):
        damage.add(snapshot, "verify of release r", ["bad"])
    assert damage.of(REVISION) == [FIRST, SECOND, TENTH]


def test_what_is_damaged_may_not_go_live_and_the_reader_is_told_why(damage):
    damage.add(FIRST, "verify of release r", ["bad"])
    assert damage.problem(SECOND) is None
    assert damage.problem(FIRST) == (
        f"Snapshot {FIRST} on claim serving/models is on record as damaged (found by verify of release r). "
        "Start a new release: it stages a fresh copy beside it."
    )


def test_the_first_finding_stands(damage, objects):
    damage.add(FIRST, "verify of release r", ["bad"])
    before = dict(objects)
    damage.add(FIRST, "check of release s", ["worse"])
    assert objects == before


def test_a_note_has_its_place_by_claim_and_model(damage, objects):
    damage.add(FIRST, "verify", [])
    assert list(objects) == [f"receipts/inventory/modelberth_kubernetes/serving/models/damaged/minilm/{FIRST}.json"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "ml", "prod-models"), ("a", "ml-prod", "models")),
        (("a", "serving", "models"), ("b", "serving", "models")),
    ],
    ids=["names that join alike", "two clusters"],
)
def test_claims_that_sound_alike_are_not_taken_for_each_other(objects, catalog, one, other):
    at(*one).add(FIRST, "verify", [])
    assert at(*one).of(REVISION) == [FIRST]
    assert at(*other).of(REVISION) == []
    assert at(*other).problem(FIRST) is None
    (key,) = objects
    own, theirs = ("/".join(place) for place in (one, other))
    objects[key.replace(own, theirs)] = objects[key]
    with pytest.raises(EvidenceForgedError, match="was copied there"):
        at(*other).of(REVISION)


@pytest.mark.parametrize(
    "forge", [lambda data: data.replace(b"serving", b"staging"), lambda data: b"{}", lambda _: b""]
)
def test_a_note_that_is_not_ours_is_not_believed(damage, objects, forge):
    damage.add(FIRST, "verify", [])
    (key,) = objects
    objects[key] = forge(objects[key])
    with pytest.raises(EvidenceForgedError):
        damage.of(REVISION)


def test_a_note_that_was_copied_is_not_believed(damage, objects):
    damage.add(FIRST, "verify", [])
    (key,) = objects
    objects[key.replace(f"{FIRST}", f"{SECOND}")] = objects[key]
    with pytest.raises(EvidenceForgedError, match="was copied there"):
        damage.of(REVISION)
