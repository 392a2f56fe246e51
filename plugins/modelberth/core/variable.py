"""Whether a container's command line and environment use a variable, as Kubernetes and a shell put values in.

Kubernetes replaces ``$(NAME)`` in command, args and the values of variables; ``$$(NAME)`` stands for itself. In a
value it knows only the variables before it, and what it does not know it leaves as it stands. A shell that the command
starts replaces ``$NAME`` and ``${NAME}``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")
_SNAPSHOT = r"/(?P<snapshot>[0-9a-f]{64}\.[1-9][0-9]*)(?![0-9.])"


@dataclass(frozen=True, slots=True)
class Container:
    """What a container runs.

    :param words: Its command and args, unexpanded.
    :param env: Its variables in order; the value is None where a ConfigMap, Secret or field sets it.
    """

    name: str
    words: tuple[str, ...] = ()
    env: tuple[tuple[str, str | None], ...] = ()


def expand(text: str, values: Mapping[str, str]) -> str:
    """Return *text* as Kubernetes gives it to a process.

    in *text*        | is
    -----------------+----------------
    $(NAME), known   | its value
    $(NAME), unknown | $(NAME)
    $$               | $
    any other        | itself
    """

    def value(found: re.Match[str]) -> str:
        name = found[1]
        return "$" if name is None else values.get(name, found[0])

    return _REFERENCE.sub(value, text)


def names_in_command(one: Container, variable: str, value: str) -> bool:
    """Return whether the command line of *one* names *variable*, whose value is *value*.

    in command or args, after Kubernetes' expansion | names it
    ------------------------------------------------+----------
    the value                                       | yes
    $NAME or ${NAME}, which a shell expands         | yes
    else                                            | no
    """
    values: dict[str, str] = {}
    for name, text in one.env:
        values[name] = expand(text or "", values)
    words = [expand(word, values) for word in one.words]
    by_shell = re.compile(rf"\$(\{{{variable}\b|{variable}\b)")
    return any(value in word or by_shell.search(word) for word in words)


def refers_to(one: Container, variable: str) -> bool:
    """Return whether the command line of *one* would name *variable* if it had a value, as in ``names_in_command``."""
    value = "\0"  # no command line has it
    env = [(name, value if name == variable else text) for name, text in one.env]
    known = env if variable in dict(env) else [(variable, value), *env]
    return names_in_command(Container(one.name, one.words, tuple(known)), variable, value)


def problems(containers: Iterable[Container], bound: Mapping[tuple[str, str], str], model: str) -> list[str]:
    """Return why what *bound* sets cannot be all that the containers use of *model*, a sentence each.

    in a container's command, args or another variable        | problem
    ----------------------------------------------------------+---------------------------------------
    a path of *model*'s snapshots that *bound* has not        | it stays when the variable changes
    $(NAME) in a variable before NAME, which is bound         | Kubernetes leaves it as it stands
    else, also where nothing names the variable               | none: the process may read it by itself

    :param bound: The path that each variable of *model* has or will have, by container and variable.
    """
    found: list[str] = []
    for one in containers:
        found += _fixed(one, bound, model)
        found += _too_early(one, {variable for container, variable in bound if container == one.name})
    return found


def _fixed(one: Container, bound: Mapping[tuple[str, str], str], model: str) -> Iterable[str]:
    path = re.compile(f"/{re.escape(model)}{_SNAPSHOT}")
    known = {found["snapshot"] for to in bound.values() if (found := path.search(to))}
    places = [("its command or args", word) for word in one.words]
    places += [(f"variable {name}", text or "") for name, text in one.env if (one.name, name) not in bound]
    for place, text in places:
        for snapshot in dict.fromkeys(match["snapshot"] for match in path.finditer(text)):
            if snapshot not in known:
                yield (
                    f"container {one.name!r} has snapshot {model}/{snapshot[:12]}… fixed in {place}: it would stay "
                    f"when the variable changes. Write $({_variable(one, bound)}) in its place"
                )


def _variable(one: Container, bound: Mapping[tuple[str, str], str]) -> str:
    """Return the variable to name in a message: the container's own, where it has one."""
    return next((variable for container, variable in bound if container == one.name), next(iter(bound))[1])


def _too_early(one: Container, variables: set[str]) -> Iterable[str]:
    order = [name for name, _ in one.env]
    for position, (name, text) in enumerate(one.env):
        for reference in {found[1] for found in _REFERENCE.finditer(text or "")} & variables:
            if reference not in order[:position]:
                yield (
                    f"variable {name} of container {one.name!r} refers to $({reference}), which comes after it, so "
                    f"Kubernetes leaves it as it stands: move {name} behind {reference}"
                )
