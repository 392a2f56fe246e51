"""Prune of a bucket: a revision's bytes go when it is named and condemned; what others have a part in stays."""

import json
from dataclasses import dataclass

import pytest

from modelberth.core.failure import ExitCode, Failure
from modelberth.core.location import Location
from modelberth.core.revision import Revision
from modelberth.engine.stores.file import FileStore


@dataclass
class Held:
    """A bucket with two revisions that have a file in common."""

    bucket: object
    program: object
    models: list
    revisions: list

    def prune(self, **steps):
        words = [word for step, named in steps.items() for word in (f"--{step}", *named)]
        return self.program("prune", self.bucket.url, *words)

    def sync(self, root, which=0):
        return self.program("sync", self.bucket.url, root, "--revision", self.revisions[which])

    def rows(self):
        return {row["revision"]: row for row in self.program("list", self.bucket.url).result["revisions"]}

    def keys(self, part):
        return [key for key in self.bucket.names() if part in key]

    def location(self, which=0):
        [key] = self.keys(f"{Revision.parse(self.revisions[which]).digest.hex}/locations/")
        return key


@pytest.fixture
def held(tmp_path, bucket, modelberth):
    models, revisions = [], []
    for number in (1, 2):
        model = tmp_path / f"model-{number}"
        (model / "sub").mkdir(parents=True)
        (model / "weights.bin").write_bytes(bytes([number]) * 50_000)
        (model / "sub/config.json").write_bytes(b"{}")
        revisions.append(modelberth.upload(model, bucket, f"u{number}").result["revision"])
        models.append(model)
    return Held(bucket, modelberth, models, revisions)


def test_a_condemned_revision_is_whole_until_it_is_deleted_and_its_neighbour_stays(held, claim, trees):
    assert held.prune(condemn=[held.revisions[0]]).result["condemn"] == [held.revisions[0]]
    since = held.rows()[held.revisions[0]]["condemned"]
    assert since.endswith("Z")
    assert held.prune(condemn=[held.revisions[0]]).code == 0
    assert held.rows()[held.revisions[0]]["condemned"] == since
    assert "condemned" not in held.rows()[held.revisions[1]]
    assert held.sync(claim).code == 0
    ran = held.prune(delete=[f"{held.revisions[0]}={since}"])
    assert (ran.code, ran.result["delete"], ran.result["bytes_freed"]) == (0, [held.revisions[0]], 50_002)
    assert held.keys("data/u1/") == []
    assert [key.rpartition("/")[2] for key in held.keys(Revision.parse(held.revisions[0]).digest.hex)] == [
        "manifest.json"
    ]
    assert list(held.rows()) == [held.revisions[1]]
    synced = held.sync(claim, 1)
    assert synced.code == 0
    assert trees(claim / "minilm" / synced.result["snapshot"] / "files") == trees(held.models[1])
    again = held.prune(delete=[held.revisions[0]])
    assert (again.code, again.result["absent"]) == (0, [held.revisions[0]])


def test_what_was_deleted_can_be_uploaded_again(held, claim):
    held.prune(condemn=[held.revisions[0]])
    held.prune(delete=[held.revisions[0]])
    assert (held.sync(claim).code, held.sync(claim).result["outcome"]) == (11, "incomplete")
    again = held.program.upload(held.models[0], held.bucket, "u3")
    assert again.result["revision"] == held.revisions[0]
    assert again.result["bytes_uploaded"] >= 50_000
    assert held.sync(claim).code == 0


FILE = pytest.mark.parametrize("bucket", ["file"], indirect=True)


@FILE
def test_what_is_not_condemned_or_condemned_since_another_time_is_not_deleted(held, claim):
    ran = held.prune(delete=[held.revisions[0]])
    assert ran.code == 21
    assert f"--condemn {held.revisions[0]}" in ran.problem
    held.prune(condemn=[held.revisions[0]])
    ran = held.prune(delete=[f"{held.revisions[0]}=2026-01-02T03:04:05Z"])
    assert ran.code == 21
    assert "not condemned since 2026-01-02T03:04:05Z" in ran.problem
    assert held.sync(claim).code == 0


@FILE
def test_an_upload_of_the_same_bytes_and_a_lift_take_the_mark_off(held):
    held.prune(condemn=held.revisions)
    assert held.program.upload(held.models[0], held.bucket, "u3").result["bytes_uploaded"] == 0
    assert held.prune(lift=[held.revisions[1]]).result["lift"] == [held.revisions[1]]
    assert ["condemned" in row for row in held.rows().values()] == [False, False]
    assert held.prune(delete=held.revisions).code == 21


@FILE
def test_adopted_objects_stay(held, tmp_path, bucket, modelberth):
    raw = tmp_path / "bucket/raw"
    raw.mkdir()
    (raw / "weights.bin").write_bytes(b"theirs")
    adopted = modelberth("adopt", f"{bucket.url}/raw", bucket.url, "--model", "minilm").result["revision"]
    held.prune(condemn=[adopted])
    ran = held.prune(delete=[adopted])
    assert (ran.code, ran.result["delete"], ran.result["bytes_freed"]) == (0, [adopted], 0)
    assert (raw / "weights.bin").read_bytes() == b"theirs"
    assert adopted not in held.rows()


@FILE
def test_an_object_that_another_location_names_stays(held, claim):
    """No upload of ours does that; somebody else's program may."""
    theirs = json.loads(held.bucket.read(held.location(1)))
    mine = json.loads(held.bucket.read(held.location(0)))
    config = next(item for item in mine["files"] if item["path"] == "sub/config.json")
    theirs["files"] = [config if item["path"] == "sub/config.json" else item for item in theirs["files"]]
    held.bucket.replace(held.location(1), Location.parse(canonical(theirs)).dump())
    held.prune(condemn=[held.revisions[0]])
    assert held.prune(delete=[held.revisions[0]]).result["bytes_freed"] == 50_000
    assert held.keys("data/u1/") == [config["key"]]
    assert held.sync(claim, 1).code == 0


def canonical(document):
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@FILE
def test_a_location_that_leads_elsewhere_takes_nothing_with_it(held):
    document = json.loads(held.bucket.read(held.location(0)))
    victim = next(item for item in json.loads(held.bucket.read(held.location(1)))["files"])
    document["files"][0]["key"] = victim["key"]
    document["files"][1]["key"] = "minilm/data/u1/../../../elsewhere"
    held.bucket.replace(held.location(0), canonical(document))
    held.bucket.delete(held.location(1))
    held.prune(condemn=[held.revisions[0]])
    ran = held.prune(delete=[held.revisions[0]])
    assert ran.result["bytes_freed"] == 0
    assert len(held.keys("data/u1/")) == 2
    assert victim["key"] in held.bucket.names()


@FILE
def test_the_location_goes_first_and_a_run_that_was_killed_is_gone_on_with(held, monkeypatch):
    real, turn = FileStore.delete, 0
    while True:
        turn += 1
        held.prune(condemn=[held.revisions[0]])
        deleted = []

        def fatal(store, key, deleted=deleted, turn=turn):
            deleted.append(key)
            if len(deleted) >= turn:
                raise Failure(ExitCode.UNREACHABLE, "Killed.")
            real(store, key)

        monkeypatch.setattr(FileStore, "delete", fatal)
        ran = held.prune(delete=[held.revisions[0]])
        monkeypatch.setattr(FileStore, "delete", real)
        kinds = ["location" if "/locations/" in key else "object" for key in deleted if "/condemned" not in key]
        assert kinds[0] == "location"
        assert "location" not in kinds[1:]
        if ran.code == 0:
            break
        assert held.prune(delete=[held.revisions[0]]).code == 0
        assert held.keys("data/u") == held.keys("data/u2/")
        assert held.keys("doomed/") == held.keys("condemned.json") == []
        held.program.upload(held.models[0], held.bucket, f"u1{turn}")
    assert turn > 3


@FILE
def test_what_is_only_for_claims_or_names_no_revision_is_refused(held):
    for steps in ({"trash": [f"{held.revisions[0]}.1"]}, {"staging": held.revisions}, {"delete": ["x"]}):
        assert held.prune(**steps).code == 21
    assert held.prune(condemn=[held.revisions[0]], delete=[held.revisions[0]]).code == 21
    assert next(iter(held.rows().values())).keys() == {"model", "revision", "uploads", "state"}
