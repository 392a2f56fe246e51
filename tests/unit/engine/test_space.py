"""What fits on a claim, by bytes and by inodes."""

import os
from types import SimpleNamespace

import pytest

from modelberth.core.failure import ExitCode, Failure
from modelberth.core.manifest import Entry, Manifest
from modelberth.core.revision import Revision
from modelberth.engine import space

FILES = 30
MANIFEST = Manifest.of([Entry(f"{number:02}.json", 1, (b"d" * 32,)) for number in range(FILES)], [])
REVISION = Revision("minilm", MANIFEST.digest)
NEEDED = FILES + space._OTHERS
MIB = 2**20


@pytest.fixture
def judge(tmp_path, monkeypatch):
    """Say whether the files fit on a file system that tells this of itself."""

    def judged(linked=(), **told):
        room = {"f_frsize": 4096, "f_bavail": 10**6, "f_blocks": 10**6, "f_favail": 10**6, "f_files": 10**6}
        monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(**room | told))
        space.refuse_too_little(tmp_path, REVISION, MANIFEST, tmp_path, {}, linked)

    return judged


@pytest.mark.parametrize("favail", [NEEDED, -1, 0])
def test_enough_inodes_or_none_that_are_told_fit(judge, favail):
    judge(f_favail=favail)


def test_a_file_system_that_does_not_count_its_inodes_is_not_judged_by_them(judge):
    judge(f_files=0, f_favail=1)


def test_one_inode_too_few_is_told_with_what_is_needed_and_what_is_there(judge):
    with pytest.raises(Failure, match=f"needs {NEEDED} more inodes .* has {NEEDED - 1} of 64 free") as raised:
        judge(f_favail=NEEDED - 1, f_files=64)
    assert raised.value.code is ExitCode.NO_SPACE


def test_files_that_are_there_or_are_linked_need_no_inode(judge, tmp_path):
    (tmp_path / "00.json").touch()
    judge(linked={1}, f_favail=NEEDED - 2)
    with pytest.raises(Failure, match=f"needs {NEEDED - 2} more inodes"):
        judge(linked={1}, f_favail=NEEDED - 3)


def test_too_few_bytes_and_too_few_inodes_are_told_together(judge):
    with pytest.raises(Failure) as raised:
        judge(f_bavail=1, f_favail=1)
    assert len(raised.value.problems) == 2
