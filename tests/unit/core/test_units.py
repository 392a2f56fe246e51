import pytest

from modelberth.core.units import human, span


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 * 2**30, "5.0 GiB"), (2**41, "2.0 TiB")]
)
def test_bytes_are_told_as_people_read_them(count, text):
    assert human(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (5399, "90 min"),
        (5400, "1.5 h"),
        (172_799, "48.0 h"),
        (604_800, "7.0 days"),
    ],
)
def test_seconds_are_told_as_people_read_them(seconds, text):
    assert span(seconds) == text
