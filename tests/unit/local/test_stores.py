"""Pods' credentials reach model buckets and no receipts."""

from __future__ import annotations

import stat
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import pytest
import stores
from settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

KEYS = {"S3_ACCESS_KEY": "a", "S3_SECRET_KEY": "b", "S3_PODS_ACCESS_KEY": "c", "S3_PODS_SECRET_KEY": "d"}


@pytest.mark.parametrize(
    ("bucket", "reached"),
    [
        ("modelberth", True),
        ("modelberth-test-a1", True),
        ("modelberth-receipts", False),
        ("modelberth-receipts-a1", False),
        ("modelberth2", False),
        ("other", False),
    ],
)
def test_buckets_of_pods(bucket: str, reached: bool) -> None:
    _, pods = stores.identities(KEYS)["identities"]
    allowed = [action.partition(":")[2] for action in pods["actions"]]
    assert all(allowed), "an action without a bucket is for all buckets"
    assert any(fnmatchcase(bucket, pattern) for pattern in allowed) is reached


def test_credentials_are_made_once_and_are_private(tmp_path: Path) -> None:
    first = stores.credentials(Settings(tmp_path))
    assert stores.credentials(Settings(tmp_path)) == first
    assert len(set(first.values())) == len(KEYS)
    assert stat.S_IMODE((tmp_path / ".local/stores/credentials.json").stat().st_mode) == 0o600
