"""How objects are cut into parts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelberth.core.chunks import CHUNK_SIZE, Span, chunk_spans
from modelberth.core.parts import MOST_PARTS, SMALLEST, Held, Part, Spot, delta_parts, equal_parts, part_size

MIB = 2**20


@pytest.mark.parametrize(
    ("size", "each"),
    [
        (0, 8 * MIB),
        (8 * MIB, 8 * MIB),
        (MOST_PARTS * 8 * MIB, 8 * MIB),
        (MOST_PARTS * 8 * MIB + 1, 16 * MIB),
        (400 * 10**9, 48 * MIB),
    ],
)
def test_a_part_is_a_multiple_of_the_chunk_and_there_are_at_most_9000(size, each):
    assert part_size(size) == each
    assert len(equal_parts(size)) <= MOST_PARTS


@pytest.mark.parametrize("size", [0, 1, 8 * MIB, 8 * MIB + 1, 100 * MIB])
def test_equal_parts_are_equal_but_for_the_last(size):
    spans = [part.span for part in equal_parts(size)]
    assert sum(span.length for span in spans) == size
    assert all(span == Span(number * 8 * MIB, 8 * MIB) for number, span in enumerate(spans[:-1]))


def held(size, head, chunks, key="old"):
    """What an object of these chunks holds."""
    spots = [Spot(key, span.start) for span in chunk_spans(size, head)]
    return Held(dict(reversed(list(zip(chunks, spots, strict=True)))), dict(zip(spots, chunks, strict=True)))


def chunks_of(size, head, seed=b"a"):
    return [seed + b"%d" % number for number, _ in enumerate(chunk_spans(size, head))]


def sent(parts):
    return sum(part.span.length for part in parts if not part.held)


def test_an_edited_header_is_sent_with_5_mib_and_the_rest_is_copied():
    size, head = 600 * MIB, 11_224
    old = chunks_of(size, head)
    new = [b"edited", *old[1:]]
    parts = delta_parts(size + 76, head + 76, new, held(size, head, old))
    assert parts[0] == Part(Span(0, SMALLEST))
    assert parts[1].held == Spot("old", SMALLEST - 76)
    assert sent(parts) == SMALLEST
    assert len(parts) == 1 + 3


def test_a_changed_chunk_is_sent_alone():
    old = chunks_of(100 * MIB, 0)
    new = [*old[:5], b"other", *old[6:]]
    parts = delta_parts(100 * MIB, 0, new, held(100 * MIB, 0, old))
    assert [(part.span, part.held is None) for part in parts] == [
        (Span(0, 40 * MIB), False),
        (Span(40 * MIB, 8 * MIB), True),
        (Span(48 * MIB, 52 * MIB), False),
    ]


def test_nothing_held_is_sent_in_equal_parts():
    assert delta_parts(100 * MIB, 77, chunks_of(100 * MIB, 77), Held({}, {})) == equal_parts(100 * MIB)


def test_runs_that_make_too_many_parts_are_sent():
    size = 2 * (MOST_PARTS + 2) * CHUNK_SIZE
    old = chunks_of(size, 0)
    new = [digest if number % 2 else b"new%d" % number for number, digest in enumerate(old)]
    assert delta_parts(size, 0, new, held(size, 0, old)) == equal_parts(size)


LENGTHS = st.integers(1, 40 * MIB)


@settings(max_examples=300)
@given(st.data())
def test_delta_parts_cover_the_object_once_and_are_copied_only_from_the_same_bytes(data):
    old_size, size = data.draw(LENGTHS) * 3, data.draw(LENGTHS) * 3
    old_head, head = (data.draw(st.sampled_from([0, 1, 11_224, 6 * MIB, 9 * MIB])) for _ in "ab")
    old_head, head = old_head if old_head < old_size else 0, head if head < size else 0
    old_spans, spans = list(chunk_spans(old_size, old_head)), list(chunk_spans(size, head))
    lengths = {number: span.length for number, span in enumerate(old_spans)}
    old = [b"%d" % number for number in lengths]
    same = {span.length: [number for number in lengths if lengths[number] == span.length] for span in spans}
    new = [
        b"%d" % data.draw(st.sampled_from(same[span.length]))
        if same[span.length] and data.draw(st.integers(0, 3))
        else b"new%d" % number
        for number, span in enumerate(spans)
    ]
    parts = delta_parts(size, head, new, held(old_size, old_head, old))
    ends = [0, *(part.span.end for part in parts)]
    assert [part.span.start for part in parts] == ends[:-1]
    assert ends[-1] == size
    assert all(part.span.length >= SMALLEST for part in parts[:-1])
    assert all(part.held or part.span.length <= part_size(size) for part in parts)
    for part in parts:
        if part.held:
            for digest, span in zip(new, spans, strict=True):
                assert_same(part, digest, span, old, old_spans)


def assert_same(part, digest, span, old, old_spans):
    """Each byte of the chunk that lies in the part lies in the old object where the part says."""
    start, end = max(part.span.start, span.start), min(part.span.end, span.end)
    if start >= end:
        return
    at = part.held.start + start - part.span.start
    number = next(n for n, old_span in enumerate(old_spans) if old_span.start <= at < old_span.end)
    assert (old[number], at - old_spans[number].start) == (digest, start - span.start)
