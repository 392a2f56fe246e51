import errno
import os
from pathlib import Path

import pytest

from modelberth.core.failure import ExitCode, Failure
from modelberth.engine import filesystem


def refused(number, hidden, monkeypatch):
    """What a file system is called whose renames fail with *number*."""

    def fail(self, target):
        raise OSError(number, os.strerror(number), str(self), None, str(target))

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(Failure) as raised, filesystem.told("stage"):
        filesystem.refuse_unsuitable(hidden)
    return raised.value.code


@pytest.mark.parametrize("number", [errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV])
def test_a_file_system_without_renames_is_unsupported(tmp_path, monkeypatch, number):
    assert refused(number, tmp_path, monkeypatch) is ExitCode.UNSUPPORTED


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, ExitCode.NO_SPACE),
        (errno.EDQUOT, ExitCode.NO_SPACE),
        (errno.EROFS, ExitCode.DENIED),
        (errno.EACCES, ExitCode.DENIED),
        (errno.EIO, ExitCode.UNREACHABLE),
    ],
)
def test_trouble_during_the_trial_is_called_what_it_is(tmp_path, monkeypatch, number, code):
    assert refused(number, tmp_path, monkeypatch) is code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("put", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/etc/hostname")])
def test_only_regular_files_are_opened_and_nothing_is_waited_for(tmp_path, put):
    put(tmp_path / "x")
    with pytest.raises(OSError) as raised:  # noqa: PT011 - the number is what callers decide by
        filesystem.open_regular(tmp_path / "x")
    assert raised.value.errno in filesystem.NO_FILE
