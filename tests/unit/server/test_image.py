"""The image's requirements: whole, pinned, and what these tests run with."""

from __future__ import annotations

import re
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FILE = Path(__file__).parents[3] / "include/images/server/requirements.txt"
PINS = dict(re.findall(r"^([a-z0-9-]+)==(\S+) +# ", FILE.read_text(), re.MULTILINE))
LEFT_OUT = {"huggingface-hub"}


def test_every_line_is_a_pin_with_its_reason():
    lines = [line for line in FILE.read_text().splitlines() if line and not line.startswith("#")]
    assert len(lines) == len(PINS)


@pytest.mark.parametrize("name", PINS)
def test_tests_run_what_the_image_installs(name):
    assert version(name) == PINS[name]


def test_list_is_whole():
    needed = {
        canonicalize_name(requirement.name)
        for name in PINS
        for requirement in map(Requirement, requires(name) or [])
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    }
    assert needed - LEFT_OUT <= PINS.keys()
