"""What a registry names, and which of it fits."""

import pytest

from modelberth.core.registry import Named, chosen, fitting, has_tags

KNOWN = {"1": "1", "2": "2", "10": "10", "champion": "1", "next": "10"}
TAGS = {"service": "chat"}


@pytest.mark.parametrize(
    ("tags", "tagged", "known", "named"),
    [
        ({}, [], KNOWN, []),
        ({}, ["2"], KNOWN, ["2"]),
        ({"service": "search"}, ["2"], KNOWN, ["2"]),
        (TAGS, [], KNOWN, ["1", "10"]),
        (TAGS, ["2"], KNOWN, ["2"]),
        (TAGS, [], {"9": "9", "10": "10"}, ["10"]),
        (TAGS, [], {}, []),
        (TAGS | {"service.versions": "2"}, [], KNOWN, ["2"]),
        (TAGS | {"service.versions": "next, 10,2"}, ["1"], KNOWN, ["10", "2", "1"]),
        (TAGS | {"service.versions": "7,gone"}, [], KNOWN, ["7", "gone"]),
        (TAGS | {"service.versions": " , "}, [], KNOWN, ["1", "10"]),
        ({"service.versions": "2"}, [], KNOWN, []),
    ],
)
def test_which_versions_of_a_registered_model_are_named(tags, tagged, known, named):
    assert chosen(tags, TAGS, tagged, known) == named


@pytest.mark.parametrize(
    ("theirs", "has"),
    [
        ({"service": "chat"}, True),
        ({"service": "search, chat ,x"}, True),
        ({"service": "chats"}, False),
        ({"service": "Chat"}, False),
        ({"service": ""}, False),
        ({}, False),
    ],
)
def test_a_tag_names_a_service_or_lists_several(theirs, has):
    assert has_tags(theirs, TAGS) is has


SOURCE = {"url": "a"}


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ([Named("minilm", "v1", SOURCE)], ""),
        ([Named("minilm", "v1", SOURCE), Named("minilm", "v1", SOURCE)], ""),
        ([Named("minilm", "v1", SOURCE), Named("minilm", "v1", {"url": "b"})], "named 2 times"),
        ([Named("minilm", "v1", problem="gone")], "gone"),
        ([Named("minilm", "v1", SOURCE), Named("minilm", "v1", problem="gone")], "gone"),
        ([Named("MiniLM", "v1", SOURCE)], "no DNS label"),
        ([Named("../up", "v1", SOURCE)], "no DNS label"),
        ([Named("m" * 64, "v1", SOURCE)], "no DNS label"),
        ([Named("minilm", "..", SOURCE)], "no name of a version"),
        ([Named("minilm", "v 1", SOURCE)], "no name of a version"),
        ([Named("minilm", "v" * 101, SOURCE)], "no name of a version"),
    ],
)
def test_what_does_not_fit_is_one_problem(found, problem):
    [one] = fitting(found)
    assert problem in one.problem
    assert bool(one.problem) is bool(problem)
    assert bool(one.source) is not bool(problem)


def test_a_problem_disturbs_no_other_and_all_are_in_order():
    found = fitting([Named("b", "v1", SOURCE), Named("A", "v1"), Named("a", "v2", SOURCE), Named("a", "v1", SOURCE)])
    assert [(str(one), bool(one.problem)) for one in found] == [
        ("A v1", True), ("a v1", False), ("a v2", False), ("b v1", False)
    ]  # fmt: skip
