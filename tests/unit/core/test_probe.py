"""What a probe pod is told, and what it tells."""

from __future__ import annotations

import pytest

from modelberth.core.confirm import Confirm, Probe, Smoke
from modelberth.core.probe import Order, Serving, heard, parse, told
from modelberth.core.reports import Named

CONFIRM = Confirm("behaved", 8443, "/v1/models", "vllm", (Smoke("/a", {"x": [1]}, 200, "d.0", [1.5], 0.1),))
ORDER = Order("https", CONFIRM, (Named("/m", "m@sha256:1f", "/old"),), (Serving("a-1", "10.0.0.1"),))


@pytest.mark.parametrize("confirm", [CONFIRM, Confirm("reported", 80, "/m", probe=Probe("s", "http", "i", "a"))])
def test_an_order_is_read_as_it_was_written(confirm):
    order = Order("https", confirm, ORDER.named, ORDER.pods)
    assert parse(order.dump()) == order


@pytest.mark.parametrize("text", ["", "{}", "[]", "[" * 100_000, ORDER.dump().replace("scheme", "schema")])
def test_what_is_no_order_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse(text)


@pytest.mark.parametrize(
    "problems",
    [
        {"a-1": []},
        {"a-1": [], "a-2": ["its report answered 500", "smoke request /a answered: 401"]},
        {"a-1": ["one"], "a-2": ["two"]},
    ],
)
def test_what_is_told_is_heard(problems):
    assert heard(told(problems), [Serving(name, "") for name in problems]) == problems


def test_of_many_problems_the_number_is_heard():
    problems = {f"a-{number}": ["x" * 1000] for number in range(30)}
    found = heard(told(problems), [Serving(name, "") for name in problems])
    assert "and 25 problems more" in str(found)
    assert len(str(told(problems))) < 3000


@pytest.mark.parametrize("result", [{}, {"asked": 1, "problems": []}, {"asked": "2"}])
def test_pods_that_were_not_asked_are_not_taken_for_good(result):
    with pytest.raises(ValueError, match="of 2 pods"):
        heard(result, [Serving("a-1", ""), Serving("a-2", "")])
