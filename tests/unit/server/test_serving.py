"""When there is something to serve: the table of what MODEL_PATH may lead to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from modelberth.core.digest import Digest

if TYPE_CHECKING:
    from pathlib import Path

HEX = "0" * 64


@pytest.fixture
def serving():
    from server.serving import Serving

    return Serving()


@pytest.mark.parametrize(
    "model_path",
    [
        "",
        "relative/minilm/" + HEX + ".1/files",
        "/models",
        f"/models/minilm/{HEX}.1",
        f"/models/minilm/{HEX}/files",
        f"/models/minilm/{HEX}.0/files",
        f"/models/minilm/{HEX.upper().replace('0', 'A')}.1/files",
        f"/models/Mini_LM/{HEX}.1/files",
        f"/models/minilm/{HEX}.1/files/model.safetensors",
    ],
)
def test_other_forms_of_path_are_refused(serving, model_path):
    serving.load(model_path)
    assert serving.unready == (
        f"MODEL_PATH is {model_path!r}; expected '<mount>/<model>/<64 hex>.<n>/files'. "
        "Bind it to a snapshot: run the model's release."
    )


def _replace(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def _rewrite(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


def _same_size(path: Path, content: bytes) -> None:
    _replace(path, content.ljust(path.stat().st_size, b" "))


def _link(path: Path) -> None:
    path.rename(path.with_suffix(".elsewhere"))
    path.symlink_to(path.with_suffix(".elsewhere").name)


WEIGHTS = "files/model.safetensors"
DAMAGES = {
    "not published": (lambda s: (s / "READY.json").unlink(), "READY.json' cannot be read: No such file"),
    "of another model": (lambda s: _rewrite(s / "READY.json", "minilm@", "other@"), "READY.json says 'other@sha256:"),
    "no manifest": (lambda s: (s / "manifest.json").unlink(), "manifest.json' cannot be read: No such file"),
    "other manifest": (lambda s: (s / "manifest.json").write_bytes(b"{}"), "got sha256:44136fa355b3678a1146ad16f7e864"),
    "lost file": (lambda s: (s / WEIGHTS).unlink(), "1 of 13 files: 'model.safetensors' cannot be read"),
    "short file": (lambda s: _replace(s / WEIGHTS, b"x"), "'model.safetensors' has 1 bytes, expected 90868376"),
    "linked file": (lambda s: _link(s / WEIGHTS), "'model.safetensors' is not a regular file"),
    "other weights": (lambda s: _same_size(s / WEIGHTS, b"x"), "ValueError: Not a safetensors file"),
    "other tokenizer": (lambda s: _same_size(s / "files/tokenizer.json", b"{}"), "cannot be loaded: Exception"),
    "other network": (
        lambda s: _same_size(s / "files/config.json", b'{"model_type": "gpt2"}'),
        "'config.json' says model_type='gpt2'; this server computes only 'bert'.",
    ),
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGES.values(), ids=DAMAGES)
def test_damaged_snapshot_is_never_ready_and_says_why(serving, snapshot, damage, reason):
    damage(snapshot)
    serving.load(str(snapshot / "files"))
    assert reason in serving.unready


def test_manifest_of_an_unknown_schema_is_refused(serving, tmp_path):
    manifest = json.dumps({"schema": 2}).encode()
    digest = Digest.of(manifest)
    snapshot = tmp_path / "minilm" / f"{digest.hex}.1"
    (snapshot / "files").mkdir(parents=True)
    (snapshot / "manifest.json").write_bytes(manifest)
    (snapshot / "READY.json").write_text(json.dumps({"revision": f"minilm@{digest}"}))
    serving.load(str(snapshot / "files"))
    assert serving.unready.endswith("has schema 2; this server reads 1.")


def test_five_problems_are_named_and_all_are_counted(serving, snapshot):
    for path in (snapshot / "files").glob("*.json"):
        path.unlink()
    serving.load(str(snapshot / "files"))
    assert "8 of 13 files" in serving.unready
    assert serving.unready.count("cannot be read") == 5


@pytest.mark.parametrize(
    ("loaded", "draining", "unready"),
    [
        (False, False, "The model is being loaded."),
        (False, True, "The model is being loaded."),
        (True, False, None),
        (True, True, "The server is shutting down."),
    ],
)
def test_readiness(serving, snapshot, loaded, draining, unready):
    if loaded:
        serving.load(str(snapshot / "files"))
    serving.draining = draining
    assert serving.unready == unready
