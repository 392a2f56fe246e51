"""A thousand single bits that flip: in the bucket, in flight and on the claim. Each is found, and named."""

import os
import random
import re
import shutil
from pathlib import Path

import pytest

from modelberth.core import canonical
from modelberth.engine import transport

CHUNK = 8 * 2**20
ON_THE_CLAIM, IN_FLIGHT, IN_A_DIRECTORY, IN_S3 = 600, 240, 140, 20
SMALL = {f"{n % 5}/part-{n}.bin": random.Random(n).randbytes(1 + 977 * n) for n in range(39)}


def test_they_are_a_thousand():
    assert ON_THE_CLAIM + IN_FLIGHT + IN_A_DIRECTORY + IN_S3 == 1000


def write(directory, content):
    for name, data in content.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
    return directory


def flip(path, position, bit):
    """Flip one bit and put every time back that can be put back: only ctime tells."""
    before = path.stat()
    with path.open("r+b") as stream:  # as root, whom no mode keeps out
        stream.seek(position)
        (byte,) = stream.read(1)
        stream.seek(position)
        stream.write(bytes([byte ^ (1 << bit)]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("bucket", ["file"], indirect=True)
def test_each_bit_that_flips_on_the_claim_is_named_with_its_file_and_bytes(tmp_path, bucket, modelberth, claim, caplog):
    large = {"large.bin": random.Random(1).randbytes(CHUNK + 70_000)}  # two chunks
    revision = modelberth.upload(write(tmp_path / "model", SMALL | large), bucket).result["revision"]
    synced = modelberth("sync", bucket.url, claim, "--revision", revision).result
    files, chance = Path(synced["path"]) / "files", random.Random(4)
    verify = ("verify", claim, "--revision", revision, "--snapshot", synced["snapshot"])
    stats = modelberth(*verify).result["stats"]
    check = ("check", *verify[1:], "--stats", stats)
    for batch in range(ON_THE_CLAIM // 40):
        flips = {path: (chance.randrange((files / path).stat().st_size), chance.randrange(8)) for path in SMALL | large}
        for path, place in flips.items():
            flip(files / path, *place)
        for words in (verify, check) if batch % 5 == 0 else (verify,):
            shutil.rmtree(claim / ".modelberth/damaged", ignore_errors=True)  # or check believes verify's record
            caplog.clear()
            ran = modelberth(*words)
            assert (ran.code, ran.result["problem_count"]) == (20, len(flips))
            found = re.findall(r"File '([^']+)', bytes (\d+)-(\d+)", caplog.text)
            named = {path: range(int(first), int(last)) for path, first, last in found}
            for path, (position, _) in flips.items():
                assert position in named[path], (path, position)
        for path, place in flips.items():
            flip(files / path, *place)
    assert modelberth(*verify).code == 0


def test_each_bit_that_flips_in_flight_is_found_and_its_chunk_asked_for_again(
    tmp_path, s3, modelberth, claim, trees, liar, monkeypatch
):
    monkeypatch.setattr(transport, "_LONGEST_WAIT", 0.01)
    content = {name: data for name, data in SMALL.items() if name != "0/part-0.bin"}
    content["large.bin"] = random.Random(1).randbytes(CHUNK + 70_000)
    content["other.bin"] = random.Random(2).randbytes(100)
    model, chance, rounds = write(tmp_path / "model", content), random.Random(5), IN_FLIGHT // 40
    revision = modelberth.upload(model, s3).result["revision"]

    def flipped(answer):
        """Flip a bit of each range of each object once."""
        key = re.sub(rb"(?i)(date|server|x-amz-[a-z-]+): .*", b"", answer.header)
        if key in seen:
            yield from answer.plain()
            return
        seen.add(key)
        body = bytearray(answer.body)
        body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
        yield answer.header + b"\r\n\r\n" + bytes(body)

    for _ in range(rounds):
        seen = set()
        liar.lies, liar.ranges = [flipped] * 200, []
        damaged = [word for path in (claim / "minilm").glob("*") for word in ("--damaged", path.name)]
        for path in (claim / "minilm").glob("*/manifest.json"):
            path.unlink()  # or the bytes would come from the snapshot before
        ran = modelberth("sync", s3.url, claim, "--revision", revision, *damaged, AWS_ENDPOINT_URL=liar.url)
        assert ran.code == 0, ran.result
        assert len(seen) >= 40
        assert len(liar.ranges) >= 2 * 40  # each request that brought a flipped bit, and the one that healed it
        assert trees(Path(ran.result["path"]) / "files") == trees(model)


def expect_mismatch(ran, claim, name):
    assert (ran.code, ran.result["outcome"]) == (20, "mismatch"), ran.result
    assert f"Digest mismatch in {name!r} chunk 0" in ran.problem
    assert list((claim / "minilm").glob("*")) == []
    shutil.rmtree(claim / ".modelberth/staging")  # or what is whole there would not be asked for again


@pytest.mark.parametrize("bucket", ["file"], indirect=True)
def test_each_bit_that_flips_in_a_directory_is_found_on_arrival(tmp_path, bucket, modelberth, claim, monkeypatch):
    """Inode, size and mtime are what they were, so that no list tells."""
    monkeypatch.setattr(transport, "_LONGEST_WAIT", 0.01)
    content, chance = {name: SMALL[name] for name in list(SMALL)[1:4]}, random.Random(6)
    revision = modelberth.upload(write(tmp_path / "model", content), bucket).result["revision"]
    sync = ("sync", bucket.url, claim, "--revision", revision)
    for _ in range(IN_A_DIRECTORY):
        name = chance.choice(list(content))
        place = chance.randrange(len(content[name])), chance.randrange(8)
        path = bucket.root / bucket.parsed.key("minilm", "data", "u1", name)
        flip(path, *place)
        expect_mismatch(modelberth(*sync), claim, name)
        flip(path, *place)
    assert modelberth(*sync).code == 0


def test_each_bit_that_flips_in_s3_is_found_on_arrival_though_the_location_was_forged(
    tmp_path, s3, modelberth, claim, monkeypatch
):
    monkeypatch.setattr(transport, "_LONGEST_WAIT", 0.01)
    content, chance = {name: SMALL[name] for name in list(SMALL)[1:4]}, random.Random(7)
    uploaded = modelberth.upload(write(tmp_path / "model", content), s3).result
    location = canonical.load(s3.read(uploaded["location"]))
    for item in location["files"]:
        item.pop("etag", None)  # nothing pins the objects any more
        item.pop("version", None)
    s3.replace(uploaded["location"], canonical.dump(location))
    sync = ("sync", s3.url, claim, "--revision", uploaded["revision"])
    for _ in range(IN_S3):
        name = chance.choice(list(content))
        data, key = bytearray(content[name]), s3.parsed.key("minilm", "data", "u1", name)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        s3.replace(key, bytes(data))
        expect_mismatch(modelberth(*sync), claim, name)
        s3.replace(key, content[name])
    assert modelberth(*sync).code == 0
