"""What appears in the bucket behind an upload's back, and answers that are lost on their way back."""

from modelberth.engine.stores.s3 import S3Store


def test_an_object_that_appears_where_a_copy_goes_is_not_overwritten(model, s3, modelberth, monkeypatch):
    modelberth.upload(model, s3, "u1")
    (model / "config.json").write_text('{"new": true}')
    key, real = s3.parsed.key("minilm", "data", "u2", "model.safetensors"), S3Store.copy

    def copy(store, source, to):
        if to == key:
            s3.replace(key, b"theirs")
        return real(store, source, to)

    monkeypatch.setattr(S3Store, "copy", copy)
    ran = modelberth.upload(model, s3, "u2")
    assert (ran.code, ran.result["outcome"]) == (20, "mismatch"), ran.result
    assert "should be a copy of" in ran.problem
    assert s3.read(key) == b"theirs"
