"""What is known of the people whom a gate asks, by the auth manager that is configured."""

from __future__ import annotations

import pytest

from modelberth.core.people import SIMPLE, People, people

USERS = "admin:admin, alice:user,olga:OP,vera:viewer,nina"


def known(manager: str = SIMPLE, users: str = USERS, **switches: bool) -> People:
    off = {"all_admins": False, "multi_team": False}
    return people(manager, users, default_users="admin:admin", **(off | switches))


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("admin", None),
        ("alice", None),
        ("olga", None),
        ("vera", "the role 'viewer' may not answer"),
        ("nina", "the role '' may not answer"),
        ("Alice", "no such user"),
        ("mallory", "no such user"),
    ],
)
def test_the_users_of_the_simple_auth_manager_are_known(user, said):
    obstacle = known().obstacle(user)
    assert obstacle is None if said is None else said in obstacle


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (known("airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager"), "FabAuthManager keeps its users"),
        (known(multi_team=True), "Dag's team"),
        (known(users="admin:admin"), "names no users"),
    ],
)
def test_what_a_task_cannot_know_it_does_not_guess(found, said):
    assert found.roles is None
    assert said in found.unknown
    assert found.obstacle("alice") is None


def test_where_everybody_is_the_same_nobody_can_answer():
    assert "nobody can be told from another" in known(all_admins=True).obstacle("alice")
