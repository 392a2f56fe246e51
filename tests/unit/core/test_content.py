"""What follows from what was found in a model's content."""

import pytest

from modelberth.core.content import asked, judge

JUDGED = {
    "off": ("off", {"code": 3}, [], []),
    "nothing found": ("require", {"code": 0}, [], []),
    "one, warn": ("warn", {"code": 1}, [], ["content.code has 1 problem"]),
    "two, require": ("require", {"code": 2}, ["content.code has 2 problems"], []),
    "not looked, warn": ("warn", {}, [], ["content.code was not looked at"]),
    "not looked, require": ("require", {}, ["content.code was not looked at"], []),
    "an old receipt": ("require", None, ["content.code was not looked at"], []),
}


@pytest.mark.parametrize(("policy", "found", "refused", "warned"), JUDGED.values(), ids=JUDGED)
def test_a_policy_says_what_a_finding_is(policy, found, refused, warned):
    judged = judge({"code": policy}, found)
    assert (list(judged.refused), list(judged.warned)) == (refused, warned)


def test_each_check_has_its_own_policy():
    judged = judge({"licence": "warn", "code": "require", "headers": "off"}, {"code": 1, "licence": 1, "headers": 1})
    assert judged.refused == ("content.code has 1 problem",)
    assert judged.warned == ("content.licence has 1 problem",)
    assert asked({"licence": "warn", "code": "require", "headers": "off"}) == ["code", "licence"]
