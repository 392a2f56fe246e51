import pytest

from modelberth.engine.journal import Journal, Record, joined

RECORDS = [Record(0, 11, 0, 4), Record(3, 14, 7, 1), Record(0, 11, 4, 1)]


def written(directory, revision, records=RECORDS):
    journal = Journal(directory, revision)
    for record in records:
        journal.append([record])
    journal.close()
    return next(directory.iterdir())


def test_records_are_read_back_over_all_attempts(tmp_path, revision):
    written(tmp_path, revision, RECORDS[:1])
    written(tmp_path, revision, RECORDS[1:])
    assert set(Journal(tmp_path, revision).read()) == set(RECORDS)


def test_an_attempt_that_wrote_nothing_leaves_no_file(tmp_path, revision):
    Journal(tmp_path, revision).close()
    assert list(tmp_path.iterdir()) == []


def test_a_tail_torn_anywhere_ends_the_journal_and_nothing_else(tmp_path, revision):
    path = written(tmp_path, revision)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        found = list(Journal(tmp_path, revision).read())
        assert found == RECORDS[: len(found)]
        assert len(found) in (max(whole[:length].count(b"\n") - 1, 0), whole[:length].count(b"\n"))


def test_a_flipped_bit_ends_the_journal(tmp_path, revision):
    path = written(tmp_path, revision)
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        found = list(Journal(tmp_path, revision).read())
        assert found == RECORDS[: len(found)]
        assert len(found) < len(RECORDS)


@pytest.mark.parametrize("junk", [b"", b"\n", b"\x00" * 4096, b"modelberth-journal 1", b"\xff\xfe"])
def test_a_file_that_is_no_journal_says_nothing(tmp_path, revision, junk):
    (tmp_path / "junk").write_bytes(junk)
    assert list(Journal(tmp_path, revision).read()) == []


@pytest.mark.parametrize("text", ["", "1 2 3", "1 2 3 4 5", "a b c d", "1 2 3 4.0"])
def test_a_line_that_is_signed_but_no_record_ends_the_journal(tmp_path, revision, text):
    path = written(tmp_path, revision)
    line = Journal(tmp_path, revision)._line(text) + b"\n"
    path.write_bytes(path.read_bytes() + line)
    assert list(Journal(tmp_path, revision).read()) == RECORDS


def test_another_revisions_journal_says_nothing(tmp_path, revision):
    written(tmp_path, type(revision)("other", revision.digest))
    assert list(Journal(tmp_path, revision).read()) == []


def test_neighbours_are_joined_into_one_record():
    assert joined([Record(1, 5, 2, 1), Record(0, 4, 0, 1), Record(1, 5, 1, 1), Record(1, 5, 4, 1)]) == [
        Record(0, 4, 0, 1),
        Record(1, 5, 1, 2),
        Record(1, 5, 4, 1),
    ]
