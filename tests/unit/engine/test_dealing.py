"""Which chunks are fetched and which are taken from the claim, and that none is forgotten or brought twice."""

import pytest

from modelberth.core.choices import PROBE, From
from modelberth.core.chunks import CHUNK_SIZE
from modelberth.engine.dealing import Dealing

STREAMS = 4
SLOW, FASTER = CHUNK_SIZE / 1e6, CHUNK_SIZE / 1e8  # seconds that a thread takes for a chunk: 4 MB/s and 400 MB/s in all


def dealt(dealing, claim, bucket):
    """Do all tasks at once, each side as slow as given, in seconds a chunk; return the chunks of each side."""
    chunks = {From.CLAIM: [], From.BUCKET: []}
    for task in dealing:
        run = [(task.number, index) for index in range(task.run.first, task.run.first + task.run.count)]
        chunks[task.side] += run
        seconds = claim if task.side is From.CLAIM else bucket
        dealing.came(task.side, len(run) * CHUNK_SIZE, len(run) * seconds)
    return chunks


def all_of(missing):
    return sorted((number, index) for number, indexes in missing.items() for index in indexes)


@pytest.mark.parametrize(("claim", "bucket"), [(SLOW, FASTER), (FASTER, SLOW), (SLOW, SLOW), (FASTER, FASTER)])
def test_every_chunk_is_brought_once(claim, bucket):
    missing = {0: list(range(100)), 2: [0, 3, 4], 5: list(range(7, 200))}
    chunks = dealt(Dealing(missing, lambda number, index: (number + index) % 3 > 0, STREAMS), claim, bucket)
    assert sorted(chunks[From.CLAIM] + chunks[From.BUCKET]) == all_of(missing)


def test_what_the_claim_does_not_hold_is_fetched_and_nothing_else():
    missing = {0: list(range(1000))}
    chunks = dealt(Dealing(missing, lambda _, index: index % 10 > 0, STREAMS), FASTER, FASTER / 10)
    assert sorted(chunks[From.BUCKET]) == [(0, index) for index in range(0, 1000, 10)]


def test_both_sides_are_under_way_from_the_beginning():
    dealing = iter(Dealing({0: list(range(100))}, lambda _, index: index >= 50, STREAMS))
    assert {next(dealing).side, next(dealing).side} == {From.CLAIM, From.BUCKET}


def test_a_slow_claim_is_left_when_the_bucket_proves_to_be_faster():
    chunks = dealt(Dealing({0: list(range(1000))}, lambda _, index: index % 2 > 0, STREAMS), SLOW, FASTER)
    assert len(chunks[From.CLAIM]) <= PROBE // CHUNK_SIZE + 1


def test_a_slow_claim_that_holds_everything_is_compared_with_a_probe_of_the_bucket():
    chunks = dealt(Dealing({0: list(range(1000))}, lambda *_: True, STREAMS), SLOW, FASTER)
    assert 950 < len(chunks[From.BUCKET]) < 1000
    chunks = dealt(Dealing({0: list(range(1000))}, lambda *_: True, STREAMS), SLOW, SLOW)
    assert len(chunks[From.BUCKET]) == PROBE // CHUNK_SIZE


def test_little_is_not_worth_a_probe():
    chunks = dealt(Dealing({0: list(range(40))}, lambda *_: True, STREAMS), SLOW, FASTER)
    assert chunks[From.BUCKET] == []
