"""What a registry names for a service, and which of it can be staged: names that fit, each version once."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelberth.core.revision import MODEL_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+-]{0,99}")


@dataclass(frozen=True, slots=True)
class Named:
    """One version of one model that a registry names.

    :param model: As the registry calls it, or as the catalog does where it has a file for it.
    :param version: The registry's own name of it, which never means another one: ``3``, a folder's name.
    :param source: Where its bytes are, as a model's file would say it.
    :param problem: Why it cannot be staged, as a whole sentence; empty when it can.
    """

    model: str
    version: str
    source: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""

    def __str__(self) -> str:
        return f"{self.model} {self.version}".strip()


def fitting(found: Iterable[Named]) -> list[Named]:
    """Return *found*, sorted, each version once, those that cannot be staged with the reason.

    an entry                                              | is
    ------------------------------------------------------+----------------------------------------------
    with a problem of its own                             | kept with that
    whose model is no DNS label                           | a problem: models are directories and labels
    whose version is no plain name                        | a problem
    there several times, with one source                  | there once
    there several times, with different sources           | one problem: nobody can know which is meant
    """
    groups: dict[tuple[str, str], list[Named]] = defaultdict(list)
    for one in found:
        groups[one.model, one.version].append(one)
    return [_one_of(some) for _, some in sorted(groups.items())]


def _one_of(some: Sequence[Named]) -> Named:
    first = some[0]
    if problem := next((one.problem for one in some if one.problem), "") or _unfit(first):
        return Named(first.model, first.version, problem=problem)
    if any(one.source != first.source for one in some):
        text = f"It is named {len(some)} times, with different bytes: rename or remove all but one."
        return Named(first.model, first.version, problem=text)
    return first


def _unfit(one: Named) -> str:
    if not MODEL_NAME.fullmatch(one.model):
        return (
            f"{one.model!r} is no DNS label (1 to 63 of a-z, 0-9 and '-', no '-' at an end), as a model's name must "
            "be: rename it, or, of MLflow, give it a file in include/models with this model as its source."
        )
    if not _VERSION.fullmatch(one.version):
        return f"{one.version!r} is no name of a version: expected a letter or digit, then those and . _ = + - only."
    return ""


# MLflow's tags. -------------------------------------------------------------------------------------------------------

VERSIONS = "versions"
"""What is appended to a tag's key for the tag that names versions: ``service.versions``."""


def has_tags(theirs: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Return whether all *wanted* tags are there; a tag may list several values: ``chat, search``."""
    return all(value in listed(theirs.get(key, "")) for key, value in wanted.items())


def listed(value: str) -> list[str]:
    """Return what a tag's value lists."""
    return [part.strip() for part in value.split(",") if part.strip()]


def chosen(
    tags: Mapping[str, str], wanted: Mapping[str, str], tagged: Sequence[str], known: Mapping[str, str]
) -> list[str]:
    """Return which versions of a registered model are named: numbers, or aliases that lead nowhere.

    the model has the tags | and <tag>.versions | tagged versions | aliases | named are
    -----------------------+--------------------+-----------------+---------+------------------------------------
    no                     | any                | any             | any     | the tagged versions
    yes                    | yes                | any             | any     | those that it lists, and the tagged
    yes                    | no                 | some            | any     | the tagged versions
    yes                    | no                 | none            | some    | where the aliases lead
    yes                    | no                 | none            | none    | the newest that is ready, if one is

    :param tags: The model's own.
    :param tagged: Its versions that have the wanted tags.
    :param known: Its ready versions and its aliases, with the number of each.
    """
    if not has_tags(tags, wanted):
        return list(tagged)
    said = [known.get(part, part) for key in wanted for part in listed(tags.get(f"{key}.{VERSIONS}", ""))]
    if said or tagged:
        return list(dict.fromkeys([*said, *tagged]))
    aliases = dict.fromkeys(number for name, number in known.items() if name != number)
    return list(aliases) or sorted(known.values(), key=int)[-1:]
