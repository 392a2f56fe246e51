import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelberth.core.chunks import CHUNK_SIZE, Run, Span, chunk_spans, count_chunks, run_length, runs

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
    ("missing", "left", "streams", "expected"),
    [
        ([], 9, 1, []),
        ([5], 1, 1, [Run(5, 1)]),
        ([0, 1, 2], 999, 1, [Run(0, 3)]),
        ([0, 2, 3], 999, 1, [Run(0, 1), Run(2, 2)]),
        ([0, 1, 2, 3, 4, 5], 6, 1, [Run(0, 3), Run(3, 1), Run(4, 1), Run(5, 1)]),
        ([0, 1, 2], 999, 999, [Run(0, 1), Run(1, 1), Run(2, 1)]),
    ],
)
def test_neighbouring_chunks_are_asked_for_in_one_request(missing, left, streams, expected):
    assert runs(missing, left, streams) == expected


@given(st.integers(1, 3000), st.integers(1, 64))
def test_requests_bring_every_chunk_once_and_get_shorter_towards_the_end(chunks, streams):
    found = runs(range(chunks), chunks, streams)
    assert [index for run in found for index in range(run.first, run.first + run.count)] == list(range(chunks))
    lengths = [run.count for run in found]
    assert lengths == sorted(lengths, reverse=True)
    assert set(lengths[-streams:]) == {1}


def test_a_span_says_where_it_lies():
    assert str(Span(8, 4)) == "bytes 8-12"


@pytest.mark.parametrize(
    ("chunks", "streams", "length"),
    [(0, 8, 1), (1, 8, 1), (31, 8, 1), (32, 8, 2), (64, 8, 4), (128, 8, 8), (9999, 8, 8), (128, 64, 1), (8, 1, 4)],
)
def test_a_request_brings_many_chunks_only_if_all_streams_stay_busy(chunks, streams, length):
    assert run_length(chunks, streams) == length


@pytest.mark.parametrize(
    ("span", "blocks"),
    [
        (Span(0, 8192), Span(0, 8192)),
        (Span(1, 8191), Span(4096, 4096)),
        (Span(4096, 4097), Span(4096, 4096)),
        (Span(1, 8190), Span(1, 0)),
        (Span(4095, 4097), Span(4096, 4096)),
        (Span(100, 0), Span(100, 0)),
    ],
)
def test_whole_blocks_are_those_that_lie_in_a_span(span, blocks):
    assert span.whole_blocks(4096) == blocks


def test_what_follows_a_span_reaches_to_the_end_given():
    assert Span(10, 5).until(20) == Span(15, 5)
