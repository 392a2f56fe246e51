"""What somebody put in the place of a directory of ours is foreign: never followed, written into or replaced."""

import os

import pytest


@pytest.fixture
def uploaded(model, bucket, modelberth):
    return modelberth.upload(model, bucket).result


@pytest.fixture
def synced(uploaded, bucket, modelberth, claim):
    return modelberth("sync", bucket.url, claim, "--revision", uploaded["revision"]).result


PLACES = {
    "the model's directory": "minilm",
    "our own directory": ".modelberth",
    "the staging directory": ".modelberth/staging",
    "the model's staging directory": ".modelberth/staging/minilm",
    "the locks": ".modelberth/lock",
}


@pytest.mark.parametrize("bucket", ["file"], indirect=True)
@pytest.mark.parametrize("kind", ["link", "link to nowhere", "file", "pipe"])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_what_is_in_the_place_of_a_directory_is_foreign_and_never_followed(
    uploaded, bucket, modelberth, claim, tmp_path, place, kind
):
    path, elsewhere = claim / place, tmp_path / "elsewhere"
    path.parent.mkdir(parents=True, exist_ok=True)
    elsewhere.mkdir()
    {
        "link": lambda: path.symlink_to(elsewhere),
        "link to nowhere": lambda: path.symlink_to(tmp_path / "nowhere"),
        "file": lambda: path.write_text("mine"),
        "pipe": lambda: os.mkfifo(path),
    }[kind]()
    ran = modelberth("sync", bucket.url, claim, "--revision", uploaded["revision"])
    assert (ran.code, ran.result["outcome"]) == (24, "foreign"), ran.result
    assert list(elsewhere.iterdir()) == []
    assert not (tmp_path / "nowhere").exists()
    assert kind != "file" or path.read_text() == "mine"
    assert modelberth("list", claim).code == 0


@pytest.mark.parametrize("bucket", ["file"], indirect=True)
def test_a_snapshot_behind_a_linked_model_is_foreign(synced, bucket, modelberth, claim):
    (claim / "minilm").rename(claim.parent / "elsewhere")
    (claim / "minilm").symlink_to(claim.parent / "elsewhere")
    before = sorted((claim.parent / "elsewhere").rglob("*"))
    for words in (
        ("verify", claim),
        ("verify", claim, "--snapshot", synced["snapshot"]),
        ("check", claim),
        ("sync", bucket.url, claim),
    ):
        ran = modelberth(*words, "--revision", synced["revision"])
        assert (ran.code, ran.result["outcome"]) == (24, "foreign"), ran.result
    assert modelberth("list", claim).result["models"] == []
    assert sorted((claim.parent / "elsewhere").rglob("*")) == before
