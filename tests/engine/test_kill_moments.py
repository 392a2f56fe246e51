"""SIGKILL at moments that nobody chose, over a real store: only whole snapshots, and nothing kept is fetched twice.

``test_killed.py`` kills at each system call that matters; here the clock decides.
"""

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from forks import Forks
from modelberth.core.manifest import Manifest
from modelberth.core.revision import Revision
from modelberth.engine.journal import Journal

KILLS = 100
MODEL = {f"part-{n}.json": bytes([n]) * 50_000 for n in range(12)}
CHUNK = 8 * 2**20

RUN = """
from modelberth.engine import batch, sync
from modelberth.engine.stores import s3_reading

batch.FLUSH_SECONDS = 0.05  # as often for a sync of a second as in a long one
run = cli.run
"""


@pytest.fixture
def forks(s3, modelberth):
    with Forks(RUN, modelberth.env) as server:
        yield server


def journalled(claim, revision):
    """The bytes that all attempts' journals name, of files that are still there."""
    revision = Revision.parse(revision)
    staging = claim / ".modelberth/staging/minilm" / revision.digest.hex
    if not (staging / "journal").is_dir():
        return 0
    manifest, found = None, set()
    for record in Journal(staging / "journal", revision).read():
        manifest = manifest or _manifest(claim)
        entry = manifest.files[record.number]
        path = staging / "snapshot/files" / entry.path
        if path.exists() and path.stat().st_ino == record.inode:
            found.update((record.number, index) for index in range(record.first, record.first + record.count))
    return sum(manifest.files[number].span(index).length for number, index in found)


def _manifest(claim):
    return Manifest.parse((claim.parent / "manifest").read_bytes())


@pytest.fixture
def uploaded(model, s3, modelberth, tmp_path):
    for name, data in MODEL.items():
        (model / name).write_bytes(data)
    os.truncate(model / "model.safetensors", 10_000_000)
    result = modelberth.upload(model, s3).result
    digest = Revision.parse(result["revision"]).digest.hex
    key = s3.parsed.key("minilm", "revisions", digest, "manifest.json")
    (tmp_path / "manifest").write_bytes(s3.read(key))
    return result


def clear(claim):
    subprocess.run(["chmod", "-R", "u+w", claim], check=True)
    subprocess.run(["rm", "-rf", *claim.iterdir()], check=True)


def test_a_hundred_syncs_killed_at_random_moments_leave_only_whole_snapshots(
    uploaded, model, s3, modelberth, forks, claim, trees, only_whole
):
    seed = int(os.environ.get("KILL_SEED", time.time_ns() % 2**32))
    print(f"KILL_SEED={seed}")  # pytest shows it when this fails
    chance = random.Random(seed)
    revision = uploaded["revision"]
    sync = ("sync", s3.url, claim, "--revision", revision)
    slow = (*sync, "--bandwidth-limit", "30MiB")
    began = time.monotonic()
    assert forks.ends(*slow) == 0
    lasts = time.monotonic() - began
    clear(claim)
    killed = fetched_less = 0
    while killed < KILLS:
        pid = forks.begin(*slow)
        time.sleep(chance.uniform(0, lasts))
        with suppress(ProcessLookupError):  # it was done just now
            os.kill(pid, signal.SIGKILL)
        code = forks.status()
        assert code in (0, -signal.SIGKILL), code
        killed += code != 0
        published = list((claim / "minilm").glob("*"))
        if not published and chance.random() < 0.7:
            continue  # the next one is killed over what this one left
        only_whole(claim, revision)
        kept = journalled(claim, revision)
        ran = modelberth(*sync)
        assert ran.code == 0, ran.result
        assert ran.result["bytes_fetched"] <= (0 if published else uploaded["bytes"] - kept)
        assert trees(Path(ran.result["path"]) / "files") == trees(model)
        assert len(list((claim / "minilm").glob("*"))) == 1
        fetched_less += 0 < ran.result["bytes_fetched"] < uploaded["bytes"]
        clear(claim)
    assert fetched_less > 5


def test_a_sync_killed_at_half_fetches_at_most_the_other_half_and_what_was_in_flight(
    s3, modelberth, claim, tmp_path, liar, only_whole
):
    big, rate, streams = tmp_path / "big", 16 * 2**20, 2
    big.mkdir()
    (big / "model.bin").write_bytes(random.Random(3).randbytes(12 * CHUNK))
    uploaded = modelberth.upload(big, s3).result
    words = ("sync", s3.url, claim, "--revision", uploaded["revision"])
    limits = ("--bandwidth-limit", rate, "--concurrency", streams)
    process = modelberth.start(*words, *limits, AWS_ENDPOINT_URL=liar.url)
    while liar.sent < uploaded["bytes"] // 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert list((claim / "minilm").glob("*")) == []
    arrived = min(liar.sent, uploaded["bytes"])
    ran = modelberth(*words)
    assert ran.code == 0, ran.result
    in_flight = 2 * streams * CHUNK + 2 * rate  # being received, in sockets; written in the 2 s between two flushes
    assert ran.result["bytes_fetched"] <= uploaded["bytes"] - arrived + in_flight
    assert ran.result["bytes_fetched"] < uploaded["bytes"] * 0.9
    only_whole(claim, uploaded["revision"])
