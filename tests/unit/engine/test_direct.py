"""Data that reaches its place past the page cache, or through it: never another place, never other bytes."""

import errno
import os

import pytest

from modelberth.core.chunks import CHUNK_SIZE
from modelberth.engine import direct, filesystem
from modelberth.engine.proof import Buffers

BLOCK = direct.BLOCK
NOISE = os.urandom(5 * BLOCK)


@pytest.mark.parametrize("offset", [0, 1, 511, 512, BLOCK - 1, BLOCK, 3 * BLOCK + 7])
@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 5 * BLOCK - 9, 5 * BLOCK])
@pytest.mark.parametrize("lies", [0, 3], ids=["as in the file", "elsewhere"])
def test_all_is_written_at_its_place_and_nothing_beside_it(tmp_path, offset, size, lies):
    file, end = tmp_path / "file", 10 * BLOCK
    file.write_bytes(b"-" * end)
    memory = Buffers().at(offset + lies)[:size]
    memory[:] = NOISE[:size]
    with file.open("r+b") as opened:
        direct.write(opened.fileno(), memory, offset)
    assert file.read_bytes() == b"-" * offset + NOISE[:size] + b"-" * (end - offset - size)


def test_memory_lies_as_the_file_does_and_holds_a_chunk():
    buffers = Buffers()
    assert all(len(buffers.at(offset)) == CHUNK_SIZE for offset in (0, 1, BLOCK - 1, BLOCK))
    buffers.at(5)[0] = 7
    assert buffers.chunk[5] == 7


def test_what_the_disk_refuses_is_an_error_and_not_written_another_way(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(direct, "write_fully", full)
    with (tmp_path / "file").open("wb") as opened, pytest.raises(OSError, match="No space"):
        direct.write(opened.fileno(), Buffers().at(0)[:BLOCK], 0)


def test_a_late_writer_of_a_file_that_another_has_closed_repeats_what_is_right(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(NOISE[:BLOCK])
    memory = Buffers().at(0)[:BLOCK]
    memory[:] = NOISE[:BLOCK]
    with file.open("r+b") as opened:
        file.chmod(0o444)
        os.seteuid(65534)  # as in a pod: root opens whatever it likes
        try:
            direct.write(opened.fileno(), memory, 0)
        finally:
            os.seteuid(0)
    assert file.read_bytes() == NOISE[:BLOCK]


@pytest.mark.parametrize("kind", ["ext2", "btrfs", "tmpfs", "nfs4", "fuse.seaweedfs", ""])
def test_elsewhere_all_goes_through_the_cache(kind):
    assert direct.put_on(kind) is filesystem.write_fully
    assert direct.put_on("ext4") is direct.put_on("xfs") is direct.write
