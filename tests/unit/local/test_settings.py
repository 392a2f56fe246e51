"""Checkouts on one machine do not meet."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
import settings
from problems import LocalError
from settings import Settings, free_link

FIRST = ipaddress.ip_network("10.87.0.0/30")


def test_two_checkouts_share_no_name_and_no_folder() -> None:
    one, other = Settings(Path("/work/one")), Settings(Path("/work/other"))
    for name in ("id", "run", "interface", "cgroup", "node", "state"):
        assert getattr(one, name) != getattr(other, name)


def test_interface_name_is_short_enough_for_the_kernel() -> None:
    assert len(Settings(Path("/a/long/path" * 20)).interface) <= 15


@pytest.mark.parametrize(
    ("instance", "taken", "expected"),
    [
        ("000000", [], "10.87.0.0/30"),
        ("000001", [], "10.87.0.4/30"),
        ("004000", [], "10.87.0.0/30"),
        ("000000", ["10.87.0.0/30"], "10.87.0.4/30"),
        ("000000", ["10.87.0.0/29", "192.168.0.0/16"], "10.87.0.8/30"),
        ("003fff", ["10.87.255.252/30"], "10.87.0.0/30"),
    ],
)
def test_link_is_the_first_free_one_from_where_the_id_points(instance: str, taken: list[str], expected: str) -> None:
    assert str(free_link(instance, [ipaddress.IPv4Network(network) for network in taken])) == expected


def test_no_free_link_says_which_network_is_full() -> None:
    with pytest.raises(LocalError, match=r"10\.87\.0\.0/16"):
        free_link("000000", [ipaddress.IPv4Network("10.0.0.0/8")])


def test_link_is_kept_until_someone_else_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "networks_in_use", lambda _own: [])
    first = Settings(tmp_path).link
    assert Settings(tmp_path).link == first
    monkeypatch.setattr(settings, "networks_in_use", lambda _own: [first])
    assert Settings(tmp_path).link != first


def test_both_ends_of_the_link_are_addresses_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "networks_in_use", lambda _own: [])
    (tmp_path / ".local").mkdir()
    (tmp_path / ".local/link").write_text(f"{FIRST}\n")
    ours = Settings(tmp_path)
    assert (ours.here, ours.there) == ("10.87.0.1", "10.87.0.2")
    assert ours.s3_endpoint == f"http://10.87.0.2:{ours.weed_ports.s3}"


def test_two_checkouts_share_no_socket_of_seaweedfs() -> None:
    one, other = (set(Settings(Path("/", name)).weed_ports) for name in ("one", "other"))
    assert not one & other
