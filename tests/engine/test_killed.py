"""SIGKILL at every kind of moment: nothing half-done is visible, and the next run goes on with what arrived."""

import signal
import subprocess

import pytest

from forks import FATAL, Forks
from modelberth.engine.verify import Order, verify

RUN = f"""
from pathlib import Path
from modelberth.engine import batch, claim, filesystem, journal, sync
from modelberth.engine.stores import file
{FATAL}
batch.FLUSH_SECONDS = 0  # a journal's record after every chunk, as in a long run

def run(words):
    fatal(int(words[0]), [
        (os, "pwrite"), (os, "fdatasync"), (os, "fsync"), (os, "open"), (os, "fchmod"), (os, "write"),
        (filesystem, "sync_all"), (filesystem, "sync_directory"), (Path, "rename"), (Path, "chmod"),
        (Path, "replace"), (Path, "mkdir"), (Path, "unlink"), (Path, "rmdir"),
    ])
    return cli.run(words[1:])
"""


@pytest.fixture
def killed(bucket, modelberth, claim):
    """Says whether a sync was killed at its n-th call of those that matter, or had fewer."""

    def sync(step, revision):
        code = forks.ends(step, "sync", bucket.url, claim, "--revision", revision)
        assert code in (0, -signal.SIGKILL)
        return code != 0

    with Forks(RUN, modelberth.env) as forks:
        yield sync


def assert_only_whole_snapshots(claim, revision):
    from modelberth.core.revision import Revision, Snapshot
    from modelberth.engine.stopping import Stop

    for path in (claim / "minilm").glob("*"):
        verify(Order(claim, Revision.parse(revision), Snapshot.parse(path.name)), Stop())


@pytest.mark.parametrize("bucket", ["file"], indirect=True)
def test_killed_sync_leaves_no_visible_snapshot_and_resumes(model, bucket, modelberth, claim, trees, killed):
    uploaded = modelberth.upload(model, bucket).result
    revision, step, fetched = uploaded["revision"], 1, []
    while killed(step, revision):
        assert_only_whole_snapshots(claim, revision)
        ran = modelberth("sync", bucket.url, claim, "--revision", revision)
        assert ran.code == 0, ran.result
        assert trees(claim / "minilm" / ran.result["snapshot"] / "files") == trees(model)
        fetched.append(ran.result["bytes_fetched"])
        clear(claim)
        step += 1 if step < 20 else 3
    assert step > 60
    assert fetched[0] == uploaded["bytes"]
    assert fetched[-1] == 0
    assert any(0 < count < uploaded["bytes"] for count in fetched)


def clear(claim):
    for path in (claim, *claim.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    subprocess.run(["rm", "-rf", *claim.iterdir()], check=True)


@pytest.mark.parametrize("bucket", ["file"], indirect=True)
def test_a_sync_killed_again_and_again_still_gets_there(model, bucket, modelberth, claim, trees, killed):
    revision = modelberth.upload(model, bucket).result["revision"]
    steps = 40
    while killed(steps, revision):
        assert_only_whole_snapshots(claim, revision)
        steps += 4
    (snapshot,) = (claim / "minilm").iterdir()
    assert trees(snapshot / "files") == trees(model)
