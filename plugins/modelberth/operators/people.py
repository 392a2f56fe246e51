"""What this Airflow says of the people whom a gate asks, as far as a task can know it."""

from __future__ import annotations

from airflow.sdk.configuration import conf

from modelberth.core import people


def known_people() -> people.People:
    """Return who is known by the configuration of this process; the users' passwords are elsewhere."""
    return people.people(
        conf.get("core", "auth_manager"),
        conf.get("core", "simple_auth_manager_users"),
        default_users=str(conf.get_default_value("core", "simple_auth_manager_users")),
        all_admins=conf.getboolean("core", "simple_auth_manager_all_admins"),
        multi_team=conf.getboolean("core", "multi_team"),
    )
