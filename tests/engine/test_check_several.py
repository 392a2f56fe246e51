"""One check for all models that are switched together: each is proven, and the one that is damaged is named."""

import pytest

pytestmark = pytest.mark.parametrize("bucket", ["file"], indirect=True)


@pytest.fixture
def staged(model, bucket, modelberth, claim, tmp_path):
    """Stages two models on one claim and verifies them; returns each one's result by name."""
    other = tmp_path / "adapter"
    other.mkdir()
    (other / "weights.bin").write_bytes(bytes(range(256)) * 1000)

    def stage(name, directory):
        revision = modelberth("upload", directory, bucket.url, "--model", name).result["revision"]
        modelberth("sync", bucket.url, claim, "--revision", revision)
        return modelberth("verify", claim, "--revision", revision).result

    return {"minilm": stage("minilm", model), "adapter": stage("adapter", other)}


def check(modelberth, claim, base, adapter):
    number = adapter["snapshot"].partition(".")[2]
    also = f"{adapter['revision']}.{number}={adapter['stats']}"
    return modelberth("check", claim, "--revision", base["revision"], "--stats", base["stats"], "--also", also)


def test_all_are_proven_by_one_check(staged, modelberth, claim):
    ran = check(modelberth, claim, staged["minilm"], staged["adapter"])
    assert ran.code == 0
    assert ran.result["snapshot"] == staged["minilm"]["snapshot"]
    assert ran.result["also"] == [
        {key: staged["adapter"][key] for key in ("revision", "snapshot", "files")}
        | {"rehashed_files": 0, "bytes_rehashed": 0}
    ]


@pytest.mark.parametrize("damaged", ["minilm", "adapter"])
def test_the_one_that_was_changed_is_named(staged, modelberth, claim, damaged):
    (path,) = claim.glob(f"{damaged}/*/files/*") if damaged == "adapter" else claim.glob("minilm/*/files/config.json")
    path.chmod(0o644)
    path.write_bytes(b"x" * path.stat().st_size)
    ran = check(modelberth, claim, staged["minilm"], staged["adapter"])
    assert (ran.code, ran.result["outcome"]) == (20, "mismatch")
    assert (ran.result["revision"], ran.result["snapshot"]) == (
        staged[damaged]["revision"],
        staged[damaged]["snapshot"],
    )


@pytest.mark.parametrize("text", ["adapter", "adapter@sha256:00.1=sha256:00", "{revision}.1", "{revision}=sha256:00"])
def test_what_names_no_snapshot_and_its_stats_is_refused(staged, modelberth, claim, text):
    base = staged["minilm"]
    also = text.format(revision=staged["adapter"]["revision"])
    assert modelberth("check", claim, "--revision", base["revision"], "--also", also).code == 21
