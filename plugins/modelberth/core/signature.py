"""What a signature says of a model, and what follows from it.

A model-signing bundle names files by their digests. One over a revision names a single file, manifest.json, whose
digest is the revision: no byte of the model is read for it. One of a publisher names the model's own files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelberth.core.content import OFF, REQUIRE, WARN, Judgement

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from modelberth.core.digest import Digest

REVISION, PUBLISHER = KINDS = ("revision", "publisher")
VALID, NONE, INVALID = ("valid", "none", "invalid")

LARGEST_BUNDLE = 1024**2
"""Bytes of the bundle of a revision: it names one file, and has a certificate chain and a log entry at most."""

_MANIFEST = "manifest.json"
_GIT = (".git", ".gitattributes", ".github", ".gitignore")
"""What model-signing leaves out whatever a bundle says."""

_SHOWN = 5
_OF = {REVISION: "of the revision", PUBLISHER: "of the publisher"}


@dataclass(frozen=True, slots=True)
class Signed:
    """What was found of one signature.

    :param kind: Whose it is to be: over the revision, or the publisher's over the files.
    :param result: ``valid``, ``none`` or ``invalid``.
    :param against: What it was verified with: ``key sha256:...``, ``certificates sha256:...``, ``identity ...``.
    :param by: Who made it, if it is genuine.
    :param problems: Why it is invalid; whole sentences.
    """

    kind: str
    result: str
    against: str
    by: str | None
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = {VALID: f"valid, by {self.by}", NONE: f"none by {self.against}"}.get(self.result, "invalid")
        return f"{said}: {' '.join(self.problems)}" if self.problems else said


@dataclass(frozen=True, slots=True)
class Statement:
    """What a genuine bundle says.

    :param method: ``files``, or ``shards`` of files.
    :param resources: The algorithm and the hex digits of each digest, by what it is of.
    :param ignored: Paths that are left out, with all that is below them.
    """

    method: str
    resources: Mapping[str, tuple[str, str]]
    ignored: tuple[str, ...] = ()


def judge(policies: Mapping[str, str], found: Iterable[Signed]) -> Judgement:
    """Return what follows from *found*.

    policy  | found         | then
    --------+---------------+---------
    off     | any           | nothing
    any     | valid         | nothing
    warn    | none, invalid | warned
    warn    | not looked    | warned
    require | none, invalid | refused
    require | not looked    | refused

    :param policies: By kind; one that is missing is off.
    """
    by_kind = {one.kind: one for one in found}
    said: dict[str, list[str]] = {REQUIRE: [], WARN: []}
    for kind in KINDS:
        policy, one = policies.get(kind, OFF), by_kind.get(kind)
        if policy != OFF and (one is None or one.result != VALID):
            said[policy].append(f"the signature {_OF[kind]} is {one or 'not known: nobody looked'}".rstrip("."))
    return Judgement(tuple(said[REQUIRE]), tuple(said[WARN]))


def refusal(revision: str, refused: Iterable[str]) -> str:
    """Return the error of a release that may not go on as it is signed."""
    return (
        f"Revision {revision} is not released: {'; '.join(refused)}. Its model's file requires a valid one: have the "
        "revision signed (modelberth sign), then clear the task 'signature'; what a publisher signs is put right at "
        "its source, and is a new release."
    )


def revision_problems(statement: Statement, revision: Digest) -> list[str]:
    """Return why a genuine bundle does not sign *revision*.

    it names                                 | then
    -----------------------------------------+----------------------
    manifest.json alone, with that digest    | nothing
    manifest.json alone, with another digest | another revision
    it by another algorithm, or its shards   | cannot be compared
    anything else                            | not about a revision
    """
    names = sorted(statement.resources)
    if names != [_MANIFEST]:
        about = ", ".join(map(repr, names[:_SHOWN])) or "nothing"
        return [f"It signs {about}, not {_MANIFEST!r} alone: it is not about a revision."]
    if problem := _unknown_form(statement):
        return [problem]
    signed = statement.resources[_MANIFEST][1]
    return [] if signed == revision.hex else [f"It signs another revision: sha256:{signed}."]


def file_problems(statement: Statement, files: Mapping[str, str], bundle: str) -> list[str]:
    """Return where the model's files are not what a publisher's genuine bundle says.

    the bundle names it | the model has it | its digest  | then
    --------------------+------------------+-------------+------------------------------------------
    yes                 | yes              | the same    | nothing
    yes                 | yes              | another     | changed
    yes                 | no               | -           | missing
    no                  | yes              | -           | not signed, unless the bundle leaves it out

    :param files: The SHA-256 of each file, as hex digits, by path.
    :param bundle: The path of the bundle itself, which it cannot sign.
    """
    if problem := _unknown_form(statement):
        return [problem]
    signed = {path: value for path, (_, value) in statement.resources.items()}
    ours = {path for path in files if path in signed or not _below(path, {bundle, *_GIT, *statement.ignored})}
    changed = {path for path in ours & signed.keys() if files[path] != signed[path]}
    different = {"changed": changed, "missing": signed.keys() - ours, "not signed": ours - signed.keys()}
    return [_said(what, sorted(paths)) for what, paths in different.items() if paths]


def _below(path: str, roots: Collection[str]) -> bool:
    """Return whether *path* is one of *roots* or below one."""
    return any(f"{path}/".startswith(f"{root.rstrip('/')}/") for root in roots)


def _unknown_form(statement: Statement) -> str | None:
    """Return why the digests of *statement* cannot be compared with those of whole files."""
    others = sorted({algorithm for algorithm, _ in statement.resources.values()} - {"sha256"})
    if statement.method == "files" and not others:
        return None
    made = f"by {', '.join(others)}" if others else "by sha256"
    return (
        f"It was made over {statement.method} {made}; only files by sha256, the form that model-signing makes unless "
        "told otherwise, can be compared."
    )


def _said(what: str, paths: list[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return f"{len(paths)} {what}: {', '.join(map(repr, paths[:_SHOWN]))}{more}."


def still_valid(known: Iterable[Signed], wanted: Mapping[str, str]) -> Iterator[Signed]:
    """Yield what is known already and stays: what was valid against what is asked for now.

    known as | against             | then
    ---------+---------------------+----------------------------------------------------------------------
    valid    | the same            | stays: it was seen, also if somebody has taken the bundle away since
    valid    | another             | is looked for again
    none     | any                 | is looked for again: it may have been signed since
    invalid  | any                 | is looked for again

    :param wanted: What is verified with now, by kind.
    """
    return (one for one in known if one.result == VALID and wanted.get(one.kind) == one.against)
