"""Journals and fetch lists that somebody or a torn disk changed: what is read is what was written, or nothing."""

import random
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from modelberth.core.digest import Digest
from modelberth.core.failure import Failure
from modelberth.core.fetchlist import FetchList
from modelberth.core.revision import Revision
from modelberth.engine.journal import Journal, Record

REVISION = Revision("minilm", Digest("0" * 64))
NUMBERS = st.integers(0, 2**63)
LIST = b'{"empty_dirs":["d"],"files":[{"executable":true,"path":"a","sha256":"%s","size":3,"url":"s3://bucket/a"}],"schema":1}'


WORDS = [b"", b"[", b"{", b"1e9", b"null", b'"', b"\xff", b"\\"]


def written(directory, records):
    directory.mkdir()
    journal = Journal(directory, REVISION)
    journal.append(records)
    journal.close()
    return next(directory.iterdir())


@given(st.lists(st.builds(Record, NUMBERS, NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=5))
def test_records_are_read_back_as_they_were_written(tmp_path_factory, records):
    home = tmp_path_factory.mktemp("journal") / "journal"
    written(home, records)
    assert list(Journal(home, REVISION).read()) == records


def test_a_changed_journal_yields_the_records_before_the_change_and_no_other(tmp_path):
    records = [Record(n, 1000 + n, n, 2) for n in range(20)]
    path = written(tmp_path / "journal", records)
    data, chance, shorter = path.read_bytes(), random.Random(9), 0
    for _ in range(3000):
        changed = bytearray(data)
        at = chance.randrange(len(data))
        if chance.random() < 0.7:
            changed[at] ^= 1 << chance.randrange(8)
        else:
            del changed[at:]
        path.write_bytes(changed)
        found = list(Journal(tmp_path / "journal", REVISION).read())
        assert found == records[: len(found)]
        shorter += len(found) < len(records)
    assert shorter > 2900


def test_a_mutated_fetch_list_is_read_or_refused_and_nothing_else(tmp_path):
    whole, chance, read = LIST % (b"ab" * 32), random.Random(10), 0
    FetchList.parse(whole)
    for _ in range(8000):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            at = chance.randrange(len(data) + 1)
            data[at : at + chance.randrange(3)] = chance.choice(WORDS)
        with suppress(Failure):
            FetchList.parse(bytes(data))
            read += 1
    assert 0 < read < 8000
