"""SIGKILL at every kind of moment: nothing half-done is visible, and the next run goes on with what arrived."""

import os
import signal
import subprocess
import sys

import pytest

from modelberth.engine.verify import Order, verify

KILLED = """
import os, signal, sys
from pathlib import Path
from modelberth.engine import batch, claim, cli, filesystem, journal

left = int(sys.argv[1])
batch.FLUSH_SECONDS = 0  # a journal's record after every chunk, as in a long run

def fatal(real):
    def step(*arguments, **named):
        global left
        left -= 1
        if left <= 0:  # another thread may have passed it between the two lines
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **named)
    return step

for owner, name in [(os, "pwrite"), (os, "fdatasync"), (os, "fsync"), (os, "open"), (os, "fchmod"), (os, "write"),
                    (filesystem, "sync_all"), (filesystem, "sync_directory"), (Path, "rename"), (Path, "chmod"),
                    (Path, "replace"), (Path, "mkdir"), (Path, "unlink"), (Path, "rmdir")]:
    setattr(owner, name, fatal(getattr(owner, name)))
sys.exit(cli.run(sys.argv[2:]))
"""


def killed(step, bucket, claim, revision):
    words = [sys.executable, "-c", KILLED, str(step), "sync", bucket.url, str(claim), "--revision", revision]
    process = subprocess.run(
        words, capture_output=True, check=False, text=True, env=os.environ | bucket.env, timeout=60
    )
    assert process.returncode in (0, -signal.SIGKILL), process.stderr
    return process.returncode != 0


def assert_only_whole_snapshots(claim, revision):
    from modelberth.core.revision import Revision, Snapshot
    from modelberth.engine.stopping import Stop

    for path in (claim / "minilm").glob("*"):
        verify(Order(claim, Revision.parse(revision), Snapshot.parse(path.name)), Stop())


@pytest.mark.parametrize("bucket", ["file"], indirect=True)
def test_killed_sync_leaves_no_visible_snapshot_and_resumes(model, bucket, modelberth, claim, trees):
    uploaded = modelberth.upload(model, bucket).result
    revision, step, fetched = uploaded["revision"], 1, []
    while killed(step, bucket, claim, revision):
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
def test_a_sync_killed_again_and_again_still_gets_there(model, bucket, modelberth, claim, trees):
    revision = modelberth.upload(model, bucket).result["revision"]
    steps = 40
    while killed(steps, bucket, claim, revision):
        assert_only_whole_snapshots(claim, revision)
        steps += 4
    (snapshot,) = (claim / "minilm").iterdir()
    assert trees(snapshot / "files") == trees(model)
