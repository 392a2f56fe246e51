"""Two processes of one upload at the same time, as two hosts run them: work is wasted, and nothing is broken.

Not on the GCS server: it forgets the condition of a resumable upload until its end, where GCS looks again (of four that
create one object of 20 MB at once, it lets four succeed).
"""

import json
import random
import signal
import threading
import time

import pytest

MIB = 2**20

pytestmark = pytest.mark.parametrize("bucket", ["file", "s3"], indirect=True)


@pytest.fixture
def source(tmp_path):
    """Files of several parts, of one, and an empty one."""
    directory = tmp_path / "weights"
    (directory / "deep").mkdir(parents=True)
    noise = random.Random(7)
    for name, size in {"a.bin": 20 * MIB, "b.bin": 9 * MIB, "deep/c.bin": 3 * MIB, "d.bin": 1 * MIB, "e": 0}.items():
        (directory / name).write_bytes(noise.randbytes(size))
    return directory


@pytest.fixture
def upload(modelberth, source, bucket):
    """Begins a process of the upload."""
    begun = []

    def begin(*more):
        words = ("upload", source, bucket.url, "--model", "minilm", "--upload", "u1")
        begun.append(modelberth.start(*words, "--concurrency", "2", *more))
        return begun[-1]

    yield begin
    for process in begun:
        if process.poll() is None:
            process.kill()
            process.communicate()


def contents(bucket):
    """Return what changes when an object is written again."""
    return {key: state for key, state in bucket.objects().items() if "/.modelberth-partial-" not in key}


class Watched:
    """What every object was each time that it was looked at."""

    def __init__(self, bucket):
        self.states = {}
        self._bucket, self._stop = bucket, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self):
        while not self._stop.is_set():
            for key, state in contents(self._bucket).items():
                self.states.setdefault(key, set()).add(state)
            time.sleep(0.05)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


def assert_whole(bucket, source, results):
    (revision,) = {one["revision"] for one in results}
    names = bucket.names()
    (location,) = [name for name in names if "/locations/" in name]
    assert revision.partition(":")[2] in location
    assert len([name for name in names if name.endswith("manifest.json")]) == 1
    places = {one["path"]: one["key"] for one in json.loads(bucket.read(location))["files"]}
    assert places.keys() == {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    for path, key in places.items():
        assert bucket.read(key) == (source / path).read_bytes()


@pytest.mark.parametrize("apart", [0.0, 1.0])
def test_nothing_is_overwritten_and_there_is_one_location(upload, bucket, source, modelberth, apart):
    with Watched(bucket) as seen:
        one = upload("--bandwidth-limit", "12MiB")
        time.sleep(apart)
        other = upload("--bandwidth-limit", "24MiB")
        ran = [modelberth.end(process) for process in (one, other)]
    assert [one.code for one in ran if one.code not in (0, 10, 11, 12, 13, 14)] == [], [one.result for one in ran]
    good = [one.result for one in ran if one.code == 0]
    assert good
    assert {key: states for key, states in seen.states.items() if len(states) > 1} == {}
    again = modelberth.end(upload())
    assert again.code == 0
    assert again.result["bytes_uploaded"] == 0
    assert_whole(bucket, source, [*good, again.result])


def test_one_that_is_killed_does_not_disturb_the_other(upload, bucket, source, modelberth):
    one, other = upload("--bandwidth-limit", "12MiB"), upload("--bandwidth-limit", "12MiB")
    while not bucket.objects():
        time.sleep(0.05)
    one.send_signal(signal.SIGKILL)
    modelberth.end(one)
    ended = modelberth.end(other)
    assert ended.code == 0, ended.result
    assert_whole(bucket, source, [ended.result])
