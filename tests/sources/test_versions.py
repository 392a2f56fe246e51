"""The name of what a source holds: what is equal, and what is not, of two lists that somebody made."""

import pytest

from modelberth.core.fetchlist import Archive, FetchList, Wanted
from modelberth.sources.protocol import SourceVersion

SHA = {"sha256": "a" * 64}
TAG, TIME, GENERATION = {"etag": "6553f100-1f4"}, {"modified": "Tue, 14 Nov 2023 22:13:20 GMT"}, {"version": "17"}
V1, V2 = "https://h/v1/m", "https://h/v2/m"
S1, S2 = "s3://models/v1/m", "s3://models/v2/m"


def name(url, pin, where=None):
    return SourceVersion.listed(FetchList.of([Wanted("m", url, 500, **pin)]), where=where).name


PAIRS = {
    "one URL, one ETag": ((V1, TAG), (V1, TAG), True),
    "one URL, two ETags": ((V1, TAG), (V1, {"etag": "x"}), False),
    "two URLs, one ETag": ((V1, TAG), (V2, TAG), False),
    "two URLs, one time": ((V1, TIME), (V2, TIME), False),
    "two hosts, one ETag": ((V1, TAG), ("https://i/v1/m", TAG), False),
    "two URLs, one SHA-256": ((V1, SHA), (V2, SHA), True),
    "two URLs, one SHA-256, two ETags": ((V1, SHA | TAG), (V2, SHA), True),
    "one URL, two SHA-256": ((V1, SHA), (V1, {"sha256": "b" * 64}), False),
    "two signatures of one URL": ((f"{V1}?sig=1", TAG), (f"{V1}?sig=2", TAG), True),
    "two URLs with a signature": ((f"{V1}?sig=1", TAG), (f"{V2}?sig=1", TAG), False),
    "two keys, one ETag": ((S1, TAG), (S2, TAG), False),
    "two buckets, one ETag": ((S1, TAG), ("s3://other/v1/m", TAG), False),
    "two keys that differ behind a question mark": (("s3://models/v?1/m", TAG), ("s3://models/v?2/m", TAG), False),
    "two keys, one generation": (("gs://models/v1/m", GENERATION), ("gs://models/v2/m", GENERATION), False),
    "one ETag that bytes alone make": ((V1, TAG, ""), (V2, TAG, ""), True),
    "nothing where bytes alone should make it": ((V1, {}, ""), (V2, {}, ""), False),
    "two URLs of one place": ((V1, TAG, "id1"), (V2, TAG, "id1"), True),
    "two places": ((V1, TAG, "id1"), (V1, TAG, "id2"), False),
}


@pytest.mark.parametrize(("one", "other", "equal"), PAIRS.values(), ids=PAIRS)
def test_a_version_is_equal_only_where_the_bytes_are(one, other, equal):
    assert (name(*one) == name(*other)) is equal


def test_an_archive_is_told_from_another_by_its_url_as_well():
    one, other = (
        SourceVersion.listed(FetchList.of([], (), [Archive(Wanted("m.tar", url, 500, **TAG), "tar", 9)]))
        for url in (V1, V2)
    )
    assert one.name != other.name
