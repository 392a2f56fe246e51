"""A manifest is an identity: one form, read back exactly, and hostile until it is parsed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelberth.core import canonical, paths, refusing
from modelberth.core.chunks import CHUNK_SIZE, count_chunks
from modelberth.core.digest import Digest
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.manifest import Entry, Manifest

HEX = "ab" * 32


def document(**changes):
    base = {"schema": 1, "chunk_digest": "blake3", "chunk_size": CHUNK_SIZE, "files": [file()]}
    return {key: value for key, value in (base | changes).items() if value is not ...}


def file(path="model.bin", size=3, **changes):
    base = {"path": path, "size": size, "chunks": [HEX]}
    return {key: value for key, value in (base | changes).items() if value is not ...}


def files(*names):
    return document(files=[file(name) for name in names])


def deep(levels):
    return b"[" * levels + b"]" * levels


GOOD = canonical.dump(document())

NOT_CANONICAL = {
    "nothing": b"",
    "not JSON": b"manifest",
    "not UTF-8": GOOD.replace(b"model.bin", b"model\xff.bin"),
    "a BOM": b"\xef\xbb\xbf" + GOOD,
    "UTF-16": GOOD.decode().encode("utf-16"),
    "a final newline": GOOD + b"\n",
    "a leading space": b" " + GOOD,
    "spaces": json.dumps(document(), sort_keys=True).encode(),
    "unsorted keys": json.dumps(dict(reversed(document().items())), separators=(",", ":")).encode(),
    "two documents": GOOD + GOOD,
    "trailing garbage": GOOD + b"x",
    "cut": GOOD[:-1],
    "a repeated key": GOOD.replace(b'"schema":1', b'"schema":1,"schema":1'),
    "a repeated key of a file": GOOD.replace(b'"size":3', b'"size":3,"size":3'),
    "an escaped letter": GOOD.replace(b"model.bin", b"mod\\u0065l.bin"),
    "an escaped slash": GOOD.replace(b"model.bin", b"a\\/b"),
    "a lone surrogate": GOOD.replace(b"model.bin", b"\\ud800"),
    "NaN": GOOD.replace(b'"size":3', b'"size":NaN'),
    "Infinity": GOOD.replace(b'"size":3', b'"size":1e999'),
    "a float with another spelling": GOOD.replace(b'"size":3', b'"size":3e0'),
    "a leading zero": GOOD.replace(b'"size":3', b'"size":03'),
    "a plus sign": GOOD.replace(b'"size":3', b'"size":+3'),
    "minus zero": GOOD.replace(b'"size":3', b'"size":-0'),
    "a number of 5,000 digits": GOOD.replace(b'"size":3', b'"size":' + b"9" * 5000),
    "a comment": GOOD.replace(b'{"chunk_digest', b'/**/{"chunk_digest'),
    "a single quote": GOOD.replace(b'"', b"'"),
    "NUL": GOOD.replace(b"model.bin", b"model\x00.bin"),
    "100,000 levels": deep(100_000),
}

TOO_BIG = {
    "64 MiB and a byte": b"{" + b" " * refusing.LARGEST + b"}",
    "a million objects": b"[" + b"{}," * 1_000_000 + b"{}]",
    "a million lists": b"[" + b"[]," * 1_000_000 + b"[]]",
    "two million numbers": b"[" + b"1," * 2_000_000 + b"1]",
}

WRONG = {
    "a list": ([], "must be an object"),
    "text": ("manifest", "must be an object"),
    "null": (None, "must be an object"),
    "a number": (1, "must be an object"),
    "an empty object": ({}, "must be an object"),
    "no schema": (document(schema=...), "must be an object"),
    "schema 0": (document(schema=0), "schema"),
    "schema 2": (document(schema=2), "schema"),
    "schema 1.0": (document(schema=1.0), "schema"),
    "schema true": (document(schema=True), "schema"),
    "schema as text": (document(schema="1"), "schema"),
    "an unknown key": (document(model="minilm"), "must be an object"),
    "no chunk_digest": (document(chunk_digest=...), "must be an object"),
    "md5": (document(chunk_digest="md5"), "chunk_digest"),
    "BLAKE3 in capitals": (document(chunk_digest="BLAKE3"), "chunk_digest"),
    "chunk_digest null": (document(chunk_digest=None), "chunk_digest"),
    "no chunk_size": (document(chunk_size=...), "must be an object"),
    "chunk_size 0": (document(chunk_size=0), "chunk_size"),
    "chunk_size negative": (document(chunk_size=-8388608), "chunk_size"),
    "chunk_size 1": (document(chunk_size=1), "chunk_size"),
    "chunk_size 16 MiB": (document(chunk_size=2 * CHUNK_SIZE), "chunk_size"),
    "chunk_size a float": (document(chunk_size=8388608.0), "chunk_size"),
    "no files": (document(files=...), "must be an object"),
    "files null": (document(files=None), "files is not a list"),
    "files an object": (document(files={}), "files is not a list"),
    "no file at all": (document(files=[]), "no file"),
    "only an empty directory": (document(files=[], empty_dirs=["d"]), "no file"),
    "a file that is text": (document(files=["model.bin"]), "A file is"),
    "a file that is a list": (document(files=[[]]), "A file is"),
    "a file without path": (document(files=[file(path=...)]), "A file is"),
    "a file without size": (document(files=[file(size=..., chunks=[])]), "A file is"),
    "a file without chunks": (document(files=[file(chunks=...)]), "A file is"),
    "a file with a mode": (document(files=[file(mode=0o4755)]), "A file is"),
    "a file with a link": (document(files=[file(link="/etc/passwd")]), "A file is"),
    "a path that is a number": (document(files=[file(path=1)]), "path"),
    "a path that is null": (document(files=[file(path=None)]), "path"),
    "a path that is a list": (document(files=[file(path=["a"])]), "path"),
    "a negative size": (document(files=[file(size=-1)]), "size"),
    "a size as text": (document(files=[file(size="3")]), "size"),
    "a size that is true": (document(files=[file(size=True, chunks=[HEX])]), "size"),
    "a size that is a float": (document(files=[file(size=3.5, chunks=[HEX])]), "size"),
    "a size of 2 ** 63": (document(files=[file(size=2**63, chunks=[])]), "size"),
    "a size of 2 ** 80": (document(files=[file(size=2**80, chunks=[])]), "size"),
    "too few chunks": (document(files=[file(size=CHUNK_SIZE + 1, chunks=[HEX])]), "has 1 chunks; expected 2"),
    "too many chunks": (document(files=[file(size=3, chunks=[HEX, HEX])]), "has 2 chunks; expected 1"),
    "a chunk for an empty file": (document(files=[file(size=0, chunks=[HEX])]), "expected 0"),
    "chunks as text": (document(files=[file(chunks=HEX)]), "64 lower-case"),
    "chunks null": (document(files=[file(chunks=None)]), "64 lower-case"),
    "a chunk that is short": (document(files=[file(chunks=[HEX[1:]])]), "64 lower-case"),
    "a chunk that is long": (document(files=[file(chunks=[HEX + "0"])]), "64 lower-case"),
    "a chunk in capitals": (document(files=[file(chunks=[HEX.upper()])]), "64 lower-case"),
    "a chunk with a newline": (document(files=[file(chunks=[HEX[:-1] + "\n"])]), "64 lower-case"),
    "a chunk with an algorithm": (document(files=[file(chunks=["sha256:" + HEX])]), "64 lower-case"),
    "a chunk that is a number": (document(files=[file(chunks=[7])]), "64 lower-case"),
    "a chunk in other digits": (document(files=[file(chunks=["٣" * 64])]), "64 lower-case"),
    "head 0": (document(files=[file(head=0)]), "head"),
    "head negative": (document(files=[file(head=-1)]), "head"),
    "head the size": (document(files=[file(head=3)]), "head"),
    "head over the size": (document(files=[file(head=4)]), "head"),
    "head a float": (document(files=[file(head=1.5)]), "head"),
    "head true": (document(files=[file(head=True)]), "head"),
    "head as text": (document(files=[file(head="1")]), "head"),
    "head without its chunk": (document(files=[file(head=1)]), "expected 2"),
    "executable false": (document(files=[file(executable=False)]), "executable"),
    "executable 1": (document(files=[file(executable=1)]), "executable"),
    "executable text": (document(files=[file(executable="yes")]), "executable"),
    "empty_dirs empty": (document(empty_dirs=[]), "empty_dirs"),
    "empty_dirs null": (document(empty_dirs=None), "empty_dirs"),
    "empty_dirs text": (document(empty_dirs="d"), "empty_dirs"),
    "empty_dirs with a number": (document(empty_dirs=[1]), "empty_dirs"),
    "empty_dirs unsorted": (document(empty_dirs=["e", "d"]), "not sorted"),
    "empty_dirs twice": (document(empty_dirs=["d", "d"]), "twice"),
    "empty_dirs that is a file": (document(empty_dirs=["model.bin"]), "twice"),
    "empty_dirs above a file": (document(files=[file("d/x")], empty_dirs=["d"]), "also the parent"),
    "empty_dirs below a file": (document(empty_dirs=["model.bin/d"]), "also the parent"),
    "empty_dirs leading out": (document(empty_dirs=["../d"]), "'..'"),
    "files unsorted": (files("b", "a"), "not sorted"),
    "files sorted by parts": (files("a/b", "a.b"), "not sorted"),
    "a file twice": (files("a", "a"), "twice"),
    "a file below a file": (files("a", "a/b"), "also the parent"),
    "names that differ by case": (files("A", "a"), "differ only"),
    "directories that differ by case": (files("A/x", "a/y"), "differ only"),
    "names that differ by normalisation": (files("e\u0301", "é"), "differ only"),
    "names that differ by compatibility": (files("fi", "ﬁ"), "differ only"),
    "too many chunks in all": (
        document(files=[file(f"f{n}", size=CHUNK_SIZE * 300_000, chunks=[]) for n in range(2)]),
        "expected 300000",
    ),
}

PATHS = [
    "",
    "/abs",
    "//abs",
    "a//b",
    "a/",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/..",
    "./a",
    "a/.",
    "a\\b",
    "C:\\x",
    "a\nb",
    "a\tb",
    "a\x7f",
    "a\x9b",
    "\u2028",
    "x" * 256,
    "y/" * 400 + "y",
    ".modelberth",
    ".modelberth/x",
    "a/.MODELBERTH/b",
    "/",
    "//",
]


def refusal(data):
    with pytest.raises(Failure) as raised:
        Manifest.parse(data)
    assert raised.value.code is ExitCode.REFUSED
    return str(raised.value)


@pytest.mark.parametrize("data", NOT_CANONICAL.values(), ids=NOT_CANONICAL)
def test_anything_but_canonical_json_is_refused(data):
    assert "manifest was refused" in refusal(data)


@pytest.mark.parametrize("data", TOO_BIG.values(), ids=TOO_BIG)
def test_what_would_cost_memory_is_refused_before_it_is_parsed(data, monkeypatch):
    monkeypatch.setattr(canonical, "load", lambda _: pytest.fail("parsed"))
    assert "at most" in refusal(data) or "over" in refusal(data)


@pytest.mark.parametrize(("wrong", "why"), WRONG.values(), ids=WRONG)
def test_a_document_that_is_no_manifest_is_refused_with_the_reason(wrong, why):
    assert why in refusal(canonical.dump(wrong))


@pytest.mark.parametrize("path", PATHS)
def test_a_path_that_could_do_harm_is_refused(path):
    assert paths.refusal(path) in refusal(canonical.dump(files(path)))
    assert paths.refusal(path) in refusal(canonical.dump(document(empty_dirs=[path])))


def test_all_problems_are_named_at_once():
    text = refusal(canonical.dump(document(chunk_digest="md5", chunk_size=1, files=[file(size=-1)])))
    assert "chunk_digest" in text
    assert "chunk_size" in text
    assert "size of 'model.bin'" in text


def test_a_writer_refuses_what_a_reader_would():
    with pytest.raises(Failure, match="differ only"):
        Manifest.of([Entry("A", 0, ()), Entry("a", 0, ())], [])
    with pytest.raises(Failure, match="no file"):
        Manifest.of([], ["d"])


def test_the_digest_is_of_the_canonical_form():
    found = Manifest.parse(GOOD)
    assert found.dump() == GOOD
    assert found.digest == Digest.of(GOOD)
    assert found.size == 3


def test_the_order_in_which_files_were_found_does_not_matter():
    one, other = Entry("b", 0, ()), Entry("a", 0, ())
    assert Manifest.of([one, other], ["y", "x"]) == Manifest.of([other, one], ["x", "y"])


def test_another_digest_makes_another_revision():
    assert Manifest.of([Entry("a", 0, ())], []).digest != Manifest.of([Entry("a", 0, ())], [], "sha256").digest


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(lambda text: not paths.refusal(text))


@st.composite
def entries(draw, name):
    size = draw(st.integers(0, 3 * CHUNK_SIZE))
    head = draw(st.integers(0, size - 1)) if size else 0
    chunks = tuple(draw(st.binary(min_size=32, max_size=32)) for _ in range(count_chunks(size, head)))
    return Entry(name, size, chunks, head, draw(st.booleans()))


@st.composite
def manifests(draw):
    names = draw(st.lists(NAMES, min_size=1, max_size=6, unique_by=paths.folded))
    names = names if not paths.clashes(names) else ["only"]
    return Manifest.of([draw(entries(name)) for name in names], [])


@given(manifests())
def test_a_manifest_is_read_back_as_it_was_written(written):
    assert Manifest.parse(written.dump()) == written


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_and_nothing_else_happens(data):
    refusal(data)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_makes_another_revision(position, value):
    changed = GOOD[:position] + bytes([value]) + GOOD[position + 1 :]
    try:
        found = Manifest.parse(changed)
    except Failure:
        return
    assert (found.digest == Manifest.parse(GOOD).digest) == (changed == GOOD)
