import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelberth.core.chunks import CHUNK_SIZE, Run, Span, chunk_spans, count_chunks, runs

SIZES = st.integers(0, 5 * CHUNK_SIZE)


@pytest.mark.parametrize(
    ("size", "head", "count"),
    [
        (0, 0, 0),
        (1, 0, 1),
        (CHUNK_SIZE, 0, 1),
        (CHUNK_SIZE + 1, 0, 2),
        (CHUNK_SIZE, 1, 2),
        (2 * CHUNK_SIZE, CHUNK_SIZE, 2),
        (3 * CHUNK_SIZE, CHUNK_SIZE + 1, 4),
    ],
)
def test_chunks_are_counted_in_the_head_and_after_it(size, head, count):
    assert count_chunks(size, head) == count
    assert len(list(chunk_spans(size, head))) == count


@given(SIZES, SIZES)
def test_chunks_are_neighbours_that_cover_the_file_and_begin_anew_at_the_head(size, head):
    head = head if head < size else 0
    spans = list(chunk_spans(size, head))
    ends = [0, *(span.end for span in spans)]
    assert [span.start for span in spans] == ends[:-1]
    assert ends[-1] == size
    assert all(0 < span.length <= CHUNK_SIZE for span in spans)
    assert head in ends


@pytest.mark.parametrize(
    ("missing", "longest", "expected"),
    [
        ([], 4, []),
        ([0, 1, 2], 4, [Run(0, 3)]),
        ([0, 1, 2], 2, [Run(0, 2), Run(2, 1)]),
        ([0, 2, 3], 4, [Run(0, 1), Run(2, 2)]),
        ([5], 1, [Run(5, 1)]),
        ([0, 1, 2], 1, [Run(0, 1), Run(1, 1), Run(2, 1)]),
    ],
)
def test_neighbouring_chunks_are_asked_for_in_one_request(missing, longest, expected):
    assert runs(missing, longest) == expected


def test_a_span_says_where_it_lies():
    assert str(Span(8, 4)) == "bytes 8-12"
