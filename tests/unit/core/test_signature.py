"""What a signature says, and what follows from it."""

import pytest

from modelberth.core.digest import Digest
from modelberth.core.signature import (
    INVALID,
    NONE,
    PUBLISHER,
    REVISION,
    VALID,
    Signed,
    Statement,
    file_problems,
    judge,
    revision_problems,
    still_valid,
)

DIGEST = Digest("1f" * 32)
KEY = "key sha256:9a"
ONE, OTHER = "11" * 32, "22" * 32


def a_signed(result, **changes):
    said = {"kind": REVISION, "against": KEY, "by": KEY if result == VALID else None}
    problems = ("It is not by this key.",) if result == INVALID else ()
    return Signed(**{**said, "problems": problems, "result": result, **changes})


def a_statement(files, method="files", algorithm="sha256", ignored=()):
    return Statement(method, {path: (algorithm, value) for path, value in files.items()}, ignored)


@pytest.mark.parametrize(
    ("policy", "found", "refused", "warned"),
    [
        ("off", a_signed(INVALID), False, False),
        ("warn", a_signed(VALID), False, False),
        ("require", a_signed(VALID), False, False),
        ("warn", a_signed(NONE), False, True),
        ("warn", a_signed(INVALID), False, True),
        ("warn", None, False, True),
        ("require", a_signed(NONE), True, False),
        ("require", a_signed(INVALID), True, False),
        ("require", None, True, False),
        ("require", a_signed(VALID, kind=PUBLISHER), True, False),
    ],
)
def test_what_follows(policy, found, refused, warned):
    judgement = judge({REVISION: policy}, [found] if found else [])
    assert (bool(judgement.refused), bool(judgement.warned)) == (refused, warned)


def test_all_that_is_required_and_not_there_is_said_at_once():
    found = [a_signed(NONE), a_signed(INVALID, kind=PUBLISHER)]
    assert judge({REVISION: "require", PUBLISHER: "require"}, found).refused == (
        f"the signature of the revision is none by {KEY}",
        "the signature of the publisher is invalid: It is not by this key",
    )


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (a_statement({"manifest.json": DIGEST.hex}), None),
        (a_statement({"manifest.json": ONE}), f"It signs another revision: sha256:{ONE}."),
        (a_statement({}), "It signs nothing, not 'manifest.json' alone: it is not about a revision."),
        (a_statement({"manifest.json": DIGEST.hex, "x": ONE}), "It signs 'manifest.json', 'x', not"),
        (a_statement({"manifest.json": DIGEST.hex}, ignored=("manifest.json",)), None),
        (a_statement({"manifest.json": DIGEST.hex}, algorithm="blake3"), "It was made over files by blake3; only"),
        (a_statement({"manifest.json": DIGEST.hex}, method="shards"), "It was made over shards by sha256; only"),
    ],
)
def test_a_bundle_of_a_revision_names_its_manifest_and_nothing_else(statement, said):
    problems = revision_problems(statement, DIGEST)
    assert problems == [] if said is None else problems[0].startswith(said)


@pytest.mark.parametrize(
    ("signed", "there", "problems"),
    [
        ({"a": ONE, "d/b": OTHER}, {"a": ONE, "d/b": OTHER, "model.sig": ONE}, []),
        ({"a": ONE}, {"a": OTHER}, ["1 changed: 'a'."]),
        ({"a": ONE, "b": ONE}, {"a": ONE}, ["1 missing: 'b'."]),
        ({"a": ONE}, {"a": ONE, "b": ONE}, ["1 not signed: 'b'."]),
        ({"a": ONE, "b": ONE}, {"a": OTHER, "c": ONE}, ["1 changed: 'a'.", "1 missing: 'b'.", "1 not signed: 'c'."]),
        ({"a": ONE}, {"a": ONE, ".git/config": ONE, ".gitattributes": ONE, ".gitignored": ONE},
         ["1 not signed: '.gitignored'."]),
        ({"a": ONE}, {"a": ONE, "logs/x": ONE, "logs2": ONE}, ["1 not signed: 'logs2'."]),
        ({"a": ONE, "logs/x": ONE}, {"a": ONE, "logs/x": OTHER}, ["1 changed: 'logs/x'."]),
        ({}, dict.fromkeys("abcdefg", ONE), ["7 not signed: 'a', 'b', 'c', 'd', 'e' and 2 more."]),
    ],
)  # fmt: skip
def test_files_are_what_their_publisher_signed(signed, there, problems):
    assert file_problems(a_statement(signed, ignored=("logs", "model.sig")), there, "model.sig") == problems


def test_a_bundle_cannot_sign_itself():
    assert file_problems(a_statement({"a": ONE}), {"a": ONE, "own.sig": OTHER}, "own.sig") == []


@pytest.mark.parametrize("form", [{"method": "shards"}, {"algorithm": "blake2b"}])
def test_a_form_that_cannot_be_compared_is_said(form):
    [said] = file_problems(a_statement({"a": ONE}, **form), {"a": ONE}, "model.sig")
    assert "only files by sha256" in said


@pytest.mark.parametrize(
    ("known", "against", "stays"),
    [
        (a_signed(VALID), KEY, True),
        (a_signed(VALID), "key sha256:other", False),
        (a_signed(VALID), None, False),
        (a_signed(NONE), KEY, False),
        (a_signed(INVALID), KEY, False),
    ],
)
def test_what_was_valid_stays_so_for_who_is_asked_for(known, against, stays):
    assert list(still_valid([known], {REVISION: against} if against else {})) == [known] * stays
