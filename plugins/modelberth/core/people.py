"""What Airflow's configuration says of the people whom a gate asks: as much as a task can know, and no guess."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SIMPLE = "airflow.api_fastapi.auth.managers.simple.simple_auth_manager.SimpleAuthManager"

_MAY_ANSWER = ("user", "op", "admin")
"""The roles of the simple auth manager that may; ``viewer`` only looks."""


@dataclass(frozen=True, slots=True)
class People:
    """Who is known to Airflow.

    :param roles: The role of each user by id; None where a task cannot know the users.
    :param unknown: Why they are not known, or why nobody can be told from another.
    :param nobody: Whether no user's answer could ever be theirs.
    """

    roles: Mapping[str, str] | None = field(default_factory=dict)
    unknown: str = ""
    nobody: bool = False

    def obstacle(self, user: str) -> str | None:
        """Return why *user* cannot answer; None if they can, or if it is not known.

        nobody can be told apart | users known | user      | cannot answer, since
        -------------------------+-------------+-----------+-----------------------
        yes                      | any         | any       | that
        no                       | no          | any       | (None)
        no                       | yes         | not there | no such user
        no                       | yes         | a viewer  | the role may not
        no                       | yes         | else      | (None)
        """
        if self.nobody:
            return self.unknown
        if self.roles is None:
            return None
        if user not in self.roles:
            return "no such user of this Airflow"
        role = self.roles[user]
        return None if role.lower() in _MAY_ANSWER else f"the role {role!r} may not answer"


NOBODY_KNOWN = People(None, "the users are not known here")
"""What is known where Airflow's configuration is not looked at."""


def people(auth_manager: str, users: str, *, default_users: str, all_admins: bool, multi_team: bool) -> People:
    """Return who is known by these keys of Airflow's section ``[core]``.

    auth manager | all admins | multi-team | users        | known
    -------------+------------+------------+--------------+---------------------------------------------
    another      | any        | any        | any          | no: it keeps them where a task cannot look
    simple       | yes        | any        | any          | all are one
    simple       | no         | yes        | any          | no: it depends on the teams
    simple       | no         | no         | the default  | no: perhaps this worker was told of none
    simple       | no         | no         | else         | yes

    :param users: ``name:role`` pairs, separated by commas.
    """
    if auth_manager != SIMPLE:
        return People(None, f"{auth_manager.rpartition('.')[2]} keeps its users where a task cannot look")
    if all_admins:
        return People(None, "simple_auth_manager_all_admins is on: nobody can be told from another", nobody=True)
    if multi_team:
        return People(None, "with multi_team, who may answer depends on the Dag's team")
    if users == default_users:
        return People(None, "this worker's configuration names no users")
    named = (one.strip().split(":") for one in users.split(",") if one.strip())
    return People({name: (role or [""])[0] for name, *role in named})
