import pytest

from modelberth.core import canonical
from modelberth.core.digest import Digest
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.location import Location, Place, disagreements, lost
from modelberth.core.manifest import Entry, Manifest
from modelberth.core.revision import Revision

MANIFEST = Manifest.of([Entry("a", 3, (b"x" * 32,)), Entry("b/c", 0, ())], [])
REVISION = Revision("minilm", MANIFEST.digest)
PREFIX = "models/minilm/data/"


def place(path="a", size=3, **changes):
    base = {"path": path, "key": f"{PREFIX}u1/{path}", "size": size, "checksum": "AAAA", "etag": '"e"', "version": "7"}
    return Place(**(base | changes))


def location(*places, **changes):
    base = {
        "revision": REVISION,
        "upload": "u1",
        "files": places or (place(), place("b/c", 0)),
        "checksum": "crc64nvme",
    }
    return Location(**(base | changes))


def document(**changes):
    base = canonical.load(location().dump())
    return {key: value for key, value in (base | changes).items() if value is not ...}


def item(**changes):
    return {key: value for key, value in (place().document() | changes).items() if value is not ...}


WRONG = {
    "a list": [],
    "an empty object": {},
    "an unknown key": document(bucket="s3://other"),
    "schema 2": document(schema=2),
    "schema true": document(schema=True),
    "no revision": document(revision=...),
    "revision null": document(revision=None),
    "a short revision": document(revision="minilm@sha256:abc"),
    "a model that is a path": document(revision="../x@sha256:" + "0" * 64),
    "an upload that is a path": document(upload="../u1"),
    "an empty upload": document(upload=""),
    "an upload that is a number": document(upload=1),
    "a hidden upload": document(upload=".u"),
    "owned null": document(owned=None),
    "owned 1": document(owned=1),
    "owned as text": document(owned="true"),
    "an unknown checksum": document(checksum="md5"),
    "no checksum": document(checksum=...),
    "files null": document(files=None),
    "files an object": document(files={}),
    "a place that is text": document(files=["a"]),
    "a place without key": document(files=[item(key=...)]),
    "a place with an empty key": document(files=[item(key="")]),
    "a place with a URL": document(files=[item(url="http://elsewhere")]),
    "a size as text": document(files=[item(size="3")]),
    "a negative size": document(files=[item(size=-3)]),
    "a size that is true": document(files=[item(size=True)]),
    "a size that is a float": document(files=[item(size=3.5)]),
    "an etag that is null": document(files=[item(etag=None)]),
    "an empty version": document(files=[item(version="")]),
    "a version that is a number": document(files=[item(version=7)]),
    "a checksum that is a list": document(files=[item(checksum=[])]),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_document_that_is_no_location_is_refused(wrong):
    with pytest.raises(Failure) as raised:
        Location.parse(canonical.dump(wrong))
    assert raised.value.code is ExitCode.REFUSED


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x",
        location().dump() + b"\n",
        location().dump()[:-1],
        b"[" * 9,
        b"[" * 100_000,
        b"[" + b"{}," * 300_000 + b"{}]",
        b" " * (2**26 + 1),
    ],
    ids=["nothing", "no JSON", "newline", "cut", "nested", "deep", "many", "large"],
)
def test_anything_but_canonical_json_is_refused(data):
    with pytest.raises(Failure, match="location was refused"):
        Location.parse(data)


def test_a_location_is_read_back_as_it_was_written():
    written = location(place(etag="", version=""), place("b/c", 0), owned=False)
    assert Location.parse(written.dump()) == written


def test_names_may_hold_the_signs_of_json():
    written = location(place("a[1],{2}", key=f"{PREFIX}u1/a[1],{{2}}"), place("[[[[", 0, key=f"{PREFIX}u1/[[[["))
    assert Location.parse(written.dump()) == written


def test_a_location_that_fits_has_no_disagreement():
    assert disagreements(location(), REVISION, MANIFEST, [PREFIX]) == []


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (location(revision=Revision("minilm", Digest("0" * 64))), "It is of"),
        (location(revision=Revision("other", MANIFEST.digest)), "It is of"),
        (location(place()), "'b/c': None bytes listed"),
        (location(place(), place("b/c", 0), place("d")), "'d': 3 bytes listed; expected None"),
        (location(place(size=4), place("b/c", 0)), "4 bytes listed; expected 3"),
        (location(place(), place(), place("b/c", 0)), "twice"),
        (location(place(key="models/other/data/u1/a"), place("b/c", 0)), "lies under none"),
        (location(place(key="models/minilm/revisions/x"), place("b/c", 0)), "lies under none"),
        (location(place(key="models/minilm/data/../../../etc/passwd"), place("b/c", 0)), "has the part '..'"),
        (location(place(key="models/minilm/data/u1/a\0b"), place("b/c", 0)), "control character"),
        (location(place(key="/etc/passwd"), place("b/c", 0)), "lies under none"),
    ],
)
def test_a_location_that_leads_elsewhere_is_named(wrong, why):
    assert any(why in problem for problem in disagreements(wrong, REVISION, MANIFEST, [PREFIX]))


@pytest.mark.parametrize(
    ("listed", "missing", "other"),
    [
        ({}, True, False),
        ({(3, '"e"', "7", "AAAA")}, False, False),
        ({(3, "", "", "")}, False, False),
        ({(4, '"e"', "7", "AAAA")}, False, True),
        ({(3, '"f"', "7", "AAAA")}, False, True),
        ({(3, '"e"', "8", "AAAA")}, False, True),
        ({(3, '"e"', "7", "BBBB")}, False, True),
    ],
)
def test_what_the_store_lists_is_compared_with_what_was_sent(listed, missing, other):
    where = location(place())
    found = lost(where, dict.fromkeys([place().key], *listed) if listed else {})
    assert (bool(found[0]), bool(found[1])) == (missing, other)
