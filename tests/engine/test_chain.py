"""Upload, sync, verify and check of models in every shape, through every kind of store."""

import json
import stat

from modelberth.core.manifest import Manifest


def served(ran, claim):
    path = claim.resolve() / ran.result["path"]
    return path / "files"


def test_a_model_of_any_shape_arrives_as_it_was(shape, bucket, modelberth, claim, trees):
    sent = modelberth.upload(shape, bucket)
    assert (sent.code, sent.result["outcome"]) == (0, "ok"), sent.result
    revision = sent.result["revision"]
    synced = modelberth("sync", bucket.url, claim, "--revision", revision)
    assert synced.code == 0, synced.result
    assert trees(served(synced, claim)) == trees(shape)
    assert synced.result["bytes_fetched"] == sent.result["bytes"] == sent.result["bytes_uploaded"]
    verified = modelberth("verify", claim, "--revision", revision)
    assert verified.result["snapshot"] == synced.result["snapshot"]
    checked = modelberth("check", claim, "--revision", revision, "--stats", verified.result["stats"])
    assert (checked.code, checked.result["rehashed_files"]) == (0, 0)


def test_the_manifest_is_printed_and_names_the_revision(model, bucket, modelberth):
    process = modelberth.start("manifest", model)
    out, _ = process.communicate(timeout=60)
    printed, last = out.splitlines()
    manifest = Manifest.parse(printed.encode())
    assert str(manifest.digest) == json.loads(last)["digest"]
    assert modelberth.upload(model, bucket).result["revision"] == f"minilm@{manifest.digest}"


def test_the_bucket_holds_plain_objects_a_manifest_and_a_location(model, bucket, modelberth):
    sent = modelberth.upload(model, bucket, "release-1")
    digest = sent.result["revision"].partition("sha256:")[2]
    prefix = bucket.parsed.key("minilm")
    assert bucket.names() == [
        f"{prefix}/data/release-1/config.json",
        f"{prefix}/data/release-1/model.safetensors",
        f"{prefix}/data/release-1/sub/none",
        f"{prefix}/data/release-1/sub/vocab.txt",
        f"{prefix}/revisions/{digest}/locations/release-1.json",
        f"{prefix}/revisions/{digest}/manifest.json",
    ]
    assert bucket.read(f"{prefix}/data/release-1/model.safetensors") == (model / "model.safetensors").read_bytes()
    assert sent.result["location"] == f"{prefix}/revisions/{digest}/locations/release-1.json"


def test_a_snapshot_is_read_only_and_named_by_its_revision(model, bucket, modelberth, claim):
    revision = modelberth.upload(model, bucket).result["revision"]
    synced = modelberth("sync", bucket.url, claim, "--revision", revision)
    snapshot = claim / "minilm" / synced.result["snapshot"]
    assert synced.result["snapshot"] == revision.partition("sha256:")[2] + ".1"
    assert {path.name for path in snapshot.iterdir()} == {"READY.json", "manifest.json", "files"}
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (snapshot, *snapshot.rglob("*"))}
    assert modes == {0o444, 0o555}
    assert not list((claim / ".modelberth").rglob("staging/minilm/*"))
    assert not (claim / ".modelberth/lock/minilm").exists()


def test_a_second_upload_of_the_same_bytes_sends_nothing(model, bucket, modelberth):
    first = modelberth.upload(model, bucket, "u1")
    before = bucket.objects()
    again = modelberth.upload(model, bucket, "u1")
    other = modelberth.upload(model, bucket, "u2")
    for ran in (again, other):
        assert ran.result["revision"] == first.result["revision"]
        assert (ran.result["bytes_uploaded"], ran.result["bytes_copied"], ran.result["upload"]) == (0, 0, "u1")
    assert bucket.objects() == before


def test_a_revision_that_many_uploads_came_after_is_found_again(tmp_path, bucket, modelberth):
    def version(number):
        directory = tmp_path / f"v{number}"
        directory.mkdir()
        for name in ("config.json", "model.bin"):
            (directory / name).write_bytes(name.encode() * number)
        return directory

    first, *_ = [modelberth.upload(version(number), bucket, f"u{number}").result for number in range(1, 6)]
    before = bucket.objects()
    again = modelberth.upload(tmp_path / "v1", bucket, "u9").result
    assert (again["upload"], again["location"]) == ("u1", first["location"])
    assert (again["bytes_uploaded"], again["bytes_copied"]) == (0, 0)
    assert bucket.objects() == before


def test_unchanged_files_are_copied_inside_the_bucket(model, bucket, modelberth, claim, trees):
    modelberth.upload(model, bucket, "u1")
    (model / "config.json").write_text('{"new": true}')
    second = modelberth.upload(model, bucket, "u2")
    assert second.result["bytes_uploaded"] == len('{"new": true}')
    assert second.result["bytes_copied"] == second.result["bytes"] - second.result["bytes_uploaded"]
    synced = modelberth("sync", bucket.url, claim, "--revision", second.result["revision"])
    assert trees(served(synced, claim)) == trees(model)


def test_an_interrupted_upload_goes_on_where_it_was(model, bucket, modelberth):
    first = modelberth.upload(model, bucket, "u1")
    bucket.delete(first.result["location"])
    again = modelberth.upload(model, bucket, "u1")
    assert again.result["bytes_uploaded"] == 0
    assert again.result["location"] in bucket.names()
    bucket.delete(first.result["location"])
    bucket.delete(bucket.parsed.key("minilm", "data", "u1", "config.json"))
    assert modelberth.upload(model, bucket, "u1").result["bytes_uploaded"] == len("{}")


def test_an_uploads_name_is_for_one_set_of_bytes(model, bucket, modelberth):
    modelberth.upload(model, bucket, "u1")
    before = bucket.objects()
    changes = {"config.json": b"[]", "config.json ": b"longer than before", "another.json": b"{}"}
    for name, data in changes.items():
        (model / name.strip()).write_bytes(data)
        ran = modelberth.upload(model, bucket, "u1")
        assert (ran.code, ran.result["outcome"]) == (21, "refused"), name
        assert "upload under another name" in ran.problem
        assert bucket.objects() == before
    (model / "another.json").unlink()
    (model / "config.json").unlink()
    assert modelberth.upload(model, bucket, "u1").code == 21


def test_a_rerun_fetches_nothing(model, bucket, modelberth, claim):
    revision = modelberth.upload(model, bucket).result["revision"]
    first = modelberth("sync", bucket.url, claim, "--revision", revision)
    again = modelberth("sync", bucket.url, claim, "--revision", revision)
    assert (again.result["bytes_fetched"], again.result["bytes_reused"]) == (0, 0)
    for key in ("snapshot", "path", "stats", "bytes", "files"):
        assert again.result[key] == first.result[key]
    assert len(list((claim / "minilm").iterdir())) == 1


def test_two_revisions_lie_side_by_side_and_are_listed(model, bucket, modelberth, claim):
    revisions = []
    for content in ("1", "2"):
        (model / "config.json").write_text(content)
        revisions.append(modelberth.upload(model, bucket, f"u{content}").result["revision"])
        modelberth("sync", bucket.url, claim, "--revision", revisions[-1])
    listed = modelberth("list", claim)
    (row,) = listed.result["models"]
    assert {item["revision"] for item in row["snapshots"]} == set(revisions)
    assert {item["state"] for item in row["snapshots"]} == {"ready"}
    assert listed.result["bytes_free"] > 0


def test_only_the_chunks_that_no_other_snapshot_holds_are_fetched(model, bucket, modelberth, claim, trees):
    first = modelberth.upload(model, bucket, "u1").result["revision"]
    modelberth("sync", bucket.url, claim, "--revision", first)
    weights = model / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[10_000_000] ^= 1
    header = data[8 : 8 + data[0]].replace(b'"w"', b'"weight"')
    weights.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + data[0] :])
    second = modelberth.upload(model, bucket, "u2").result["revision"]
    synced = modelberth("sync", bucket.url, claim, "--revision", second)
    assert trees(served(synced, claim)) == trees(model)
    assert synced.result["bytes_fetched"] == 8 + len(header) + 8 * 2**20
    assert synced.result["bytes_reused"] == synced.result["bytes"] - synced.result["bytes_fetched"]


def test_a_damaged_copy_is_replaced_by_fetching_only_what_is_damaged(model, s3, modelberth, claim, trees):
    revision = modelberth.upload(model, s3).result["revision"]
    first = modelberth("sync", s3.url, claim, "--revision", revision)
    weights = served(first, claim) / "model.safetensors"
    weights.chmod(0o644)
    with weights.open("r+b") as stream:
        stream.seek(10_000_000)
        stream.write(b"damage")
    second = modelberth("sync", s3.url, claim, "--revision", revision, "--damaged", first.result["snapshot"])
    assert second.result["snapshot"].endswith(".2")
    assert second.result["bytes_fetched"] == 8 * 2**20
    assert trees(served(second, claim)) == trees(model)


def test_a_link_inside_the_model_is_stored_as_what_it_points_to(model, bucket, modelberth, claim):
    (model / "link.json").symlink_to("config.json")
    (model / "links").symlink_to("sub")
    revision = modelberth.upload(model, bucket).result["revision"]
    files = served(modelberth("sync", bucket.url, claim, "--revision", revision), claim)
    assert (files / "link.json").read_bytes() == b"{}"
    assert (files / "links/vocab.txt").read_bytes() == b"a\nb\n"
    assert not any(path.is_symlink() for path in files.rglob("*"))
