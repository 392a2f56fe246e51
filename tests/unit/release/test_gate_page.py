"""The page about the gate names what proves it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]
PAGE = (PROJECT / "docs/gate.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(test_\w+\.py)::(\w+)`", PAGE)))
WAYS = [line for line in PAGE.partition("## Ways round it")[2].splitlines() if line.startswith("| ")][1:]


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_every_test_that_the_page_names_is_there(file, test):
    sources = [path.read_text(encoding="utf-8") for path in PROJECT.glob(f"tests/**/{file}")]
    assert any(f"def {test}(" in source for source in sources)


def test_every_way_round_the_gate_names_its_test():
    assert len(WAYS) > 16
    assert [way for way in WAYS if "`test_" not in way and "| the same |" not in way] == []
