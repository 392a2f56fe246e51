"""Which keys a location may name outside the model's data, and which adoption is the same again."""

import pytest

from modelberth.core import layout
from modelberth.core.failure import Failure
from modelberth.core.layout import BucketUrl
from modelberth.core.location import Location, Place, adopted_as, disagreements
from modelberth.core.manifest import Entry, Manifest
from modelberth.core.revision import Revision

MANIFEST = Manifest.of([Entry("a", 3, (b"x" * 32,))], [])
REVISION = Revision("minilm", MANIFEST.digest)
DATA = "models/minilm/data/"


def location(key, *, owned):
    return Location(REVISION, "u1", (Place("a", key, 3, "AAAA", '"e"', "7"),), "crc64nvme", owned)


@pytest.mark.parametrize(
    ("key", "owned", "adopted", "why"),
    [
        (f"{DATA}u1/a", True, (), None),
        (f"{DATA}u1/a", False, (), None),
        ("raw/a", False, ("raw/",), None),
        ("raw/a", False, ("other/", "raw/"), None),
        ("raw/a", False, (), "--adopted"),
        ("raw-other/a", False, ("raw/",), "--adopted"),
        ("raw/a", True, ("raw/",), "An upload writes nowhere else"),
        ("raw/../secrets/a", False, ("raw/",), "'..'"),
    ],
)
def test_keys_outside_the_models_data_are_accepted_only_where_allowed_and_not_owned(key, owned, adopted, why):
    problems = disagreements(location(key, owned=owned), REVISION, MANIFEST, [DATA], adopted)
    assert problems == [] if why is None else why in problems[0]


@pytest.mark.parametrize(
    ("owned", "listed", "answer"),
    [
        (False, {"raw/a": (3, '"e"', "", "")}, True),
        (True, {"raw/a": (3, '"e"', "", "")}, False),
        (False, {}, False),
        (False, {"raw/b": (3, '"e"', "", "")}, False),
        (False, {"raw/a": (3, '"e"', "", ""), "raw/b": (1, "", "", "")}, False),
        (False, {"raw/a": (4, '"e"', "", "")}, False),
        (False, {"raw/a": (3, '"f"', "", "")}, False),
        (False, {"raw/a": (3, "", "8", "")}, False),
    ],
)
def test_an_adoption_is_the_same_again_only_of_the_same_objects(owned, listed, answer):
    assert adopted_as(location("raw/a", owned=owned), listed) is answer


@pytest.mark.parametrize(
    ("url", "prefix", "answer"),
    [
        ("s3://bucket/models", "s3://bucket/raw/minilm/", "raw/minilm/"),
        ("s3://bucket/models", "s3://bucket", ""),
        ("file:///d", "file:///d/raw", "raw/"),
        ("file:///d", "file:///d", ""),
    ],
)
def test_a_prefix_is_a_directory_of_the_same_bucket(url, prefix, answer):
    assert layout.key_prefix(BucketUrl.parse(url), BucketUrl.parse(prefix)) == answer


@pytest.mark.parametrize("prefix", ["s3://other/raw", "gs://bucket/raw", "file:///d/raw"])
def test_a_prefix_of_another_bucket_is_refused(prefix):
    with pytest.raises(Failure, match="another bucket"):
        layout.key_prefix(BucketUrl.parse("s3://bucket/models"), BucketUrl.parse(prefix))


@pytest.mark.parametrize(("text", "answer"), [("raw", "raw/"), ("raw/x/", "raw/x/"), ("s3://bucket/raw", "raw/")])
def test_an_allowed_prefix_ends_at_a_directory(text, answer):
    assert layout.adopted_prefix(BucketUrl.parse("s3://bucket/models"), text) == answer


@pytest.mark.parametrize("text", ["", "/", "s3://bucket", "s3://bucket/"])
def test_a_prefix_that_allows_everything_is_refused(text):
    with pytest.raises(Failure, match="every key"):
        layout.adopted_prefix(BucketUrl.parse("s3://bucket/models"), text)
