"""Readers of hostile input: a corpus that is refused to the last row, and a fuzzer that finds nothing else."""

import random
import time
import tracemalloc
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile import SOUND, corpus
from modelberth.core.digest import Digest
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.location import CHECKSUMS, Location, Place
from modelberth.core.manifest import Manifest
from modelberth.core.ready import Ready
from modelberth.core.revision import Revision, Snapshot

READERS = {"manifest": Manifest.parse, "location": Location.parse, "ready": Ready.parse}
CODES = {"manifest": ExitCode.REFUSED, "location": ExitCode.REFUSED, "ready": ExitCode.FOREIGN}
ROWS = [(kind, name, data) for kind in READERS for name, data in corpus(kind).items()]
FUZZED = 8000


def test_the_sound_ones_are_read_and_the_corpus_is_large():
    for kind, read in READERS.items():
        assert read(SOUND[kind].encode()).dump() == SOUND[kind].encode()
    assert sum(kind != "ready" for kind, _, _ in ROWS) > 400


@pytest.mark.parametrize(("kind", "data"), [(k, d) for k, _, d in ROWS], ids=[f"{k}, {n}" for k, n, _ in ROWS])
def test_what_is_hostile_is_refused(kind, data):
    with pytest.raises(Failure) as raised:
        READERS[kind](data)
    assert raised.value.code is CODES[kind]
    assert all(len(problem) < 12_000 for problem in raised.value.problems)


@pytest.mark.parametrize("kind", READERS)
def test_refusing_costs_neither_memory_nor_time(kind):
    for name, data in corpus(kind).items():
        tracemalloc.start()
        began = time.process_time()
        with pytest.raises(Failure):
            READERS[kind](data)
        assert time.process_time() - began < 10, name
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 300 * 2**20, name


WORDS = [b"true", b"null", b"1.0", b"1e9", b"{}", b"[]", b'"', b"\\", b"\0", b"-"]


def mutated(data, chance):
    """Return *data* with a few bytes exchanged, cut, repeated or spliced from elsewhere in it."""
    data = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        at, other = chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)
        kind, length = chance.randrange(6), chance.randrange(1, 12)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del data[at : at + length]
        elif kind == 2:
            data[at:at] = data[other : other + length]
        elif kind == 3:
            data[at : at + 1] = chance.choice(
                [b"true", b"null", b"1.0", b"1e9", b"{}", b"[]", b'"', b"\\", b"\0", b"-"]
            )
        elif kind == 4:
            data[at : at + length] = chance.randbytes(length)
        else:
            del data[at:]
    return bytes(data)


@pytest.mark.parametrize("kind", READERS)
def test_a_mutated_document_is_refused_or_is_exactly_what_it_reads_as(kind):
    chance, read = random.Random(8), 0
    for _ in range(FUZZED):
        data = mutated(SOUND[kind].encode(), chance)
        with suppress(Failure):
            assert READERS[kind](data).dump() == data
            read += 1
    assert read > 20  # some are other, sound documents: or nothing was tried but rubbish


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)
DIGESTS = st.binary(min_size=32, max_size=32).map(lambda data: Digest(data.hex()))
MODELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
REVISIONS = st.builds(Revision, MODELS, DIGESTS)
NUMBERS = st.integers(0, 2**63)
SIZES = st.integers(0, 4 * 10**12)


@given(REVISIONS)
def test_a_revision_is_read_back_as_it_was_written(revision):
    assert Revision.parse(str(revision)) == revision


@given(st.builds(Snapshot, DIGESTS, st.integers(1, 999_999)))
def test_a_snapshot_is_read_back_as_it_was_written(snapshot):
    assert Snapshot.parse(str(snapshot)) == snapshot


@given(TEXTS)
def test_any_text_is_a_revision_or_a_value_error(text):
    for kind in (Revision, Snapshot, Digest):
        with pytest.raises(ValueError, match="Not a"):
            kind.parse(text)


@given(REVISIONS, st.dictionaries(TEXTS, st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS), max_size=4))
def test_a_record_is_read_back_as_it_was_written(revision, stats):
    ready = Ready(revision, "ab" * 16, "2026-11-22T17:06:26Z", stats)
    assert Ready.parse(ready.dump()) == ready


PLACES = st.builds(Place, TEXTS, TEXTS, SIZES, TEXTS, st.just("") | TEXTS, st.just("") | TEXTS)


@given(REVISIONS, st.lists(PLACES, min_size=1, max_size=4), st.sampled_from(CHECKSUMS), st.booleans())
def test_a_location_is_read_back_as_it_was_written(revision, places, checksum, owned):
    location = Location(revision, "u1", tuple(places), checksum, owned)
    assert Location.parse(location.dump()) == location
