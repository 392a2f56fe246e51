"""Archives that are damaged, cut off, or too much together; and those of all tools that make them."""

import bz2
import gzip
import io
import lzma
import resource
import struct
import subprocess
import tarfile
import zipfile

import pytest

from archives import tarred, zipped
from model_files import noise
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.fetchlist import Archive, FetchList, Wanted
from modelberth.engine.fetch import FetchedSource
from web_server import WebServer

BLOCK = 512
FILES = {"config.json": b"{}", "sub/model.bin": noise(300_000), "sub/vocab.txt": noise(700, seed=2)}
PLENTY = 10**9


@pytest.fixture(scope="module")
def web():
    server = WebServer()
    yield server
    server.close()


@pytest.fixture
def opened(web, stop):
    """Opens a list of archives, and of raw files."""

    def run(*archives, raw=None, most=PLENTY, form="tar"):
        named = {f"archive-{number}": data for number, data in enumerate(archives)}
        web.files = named | (raw or {})
        wanted = {name: Wanted(name, f"{web.url}/{name}", len(data)) for name, data in web.files.items()}
        held = FetchList.of(
            [wanted[name] for name in raw or ()], (), [Archive(wanted[name], form, most) for name in named]
        )
        return FetchedSource("the list", held, stop)

    return run


@pytest.fixture
def refusal(opened):
    def run(*archives, **more):
        with pytest.raises(Failure) as refused:
            opened(*archives, **more)
        assert refused.value.code is ExitCode.REFUSED
        return str(refused.value)

    return run


def listed(source):
    return {file.path: file.size for file in source.files}


def sizes(files):
    return {path: len(data) for path, data in files.items()}


def flipped(data, *places):
    """Return *data* with other bytes at some places; a negative one counts from the end."""
    changed = bytearray(data)
    for place in places:
        changed[place] ^= 0xFF
    return bytes(changed)


def end_of_members(tar):
    """Return where the last member of a tar ends: its end marker begins there."""
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        last = opened.getmembers()[-1]
    return last.offset_data + -(-last.size // BLOCK) * BLOCK


TAR = tarred(FILES)
END = end_of_members(TAR)
THIRD = END - 3 * BLOCK  # where the header of the last member is, which has two blocks of data
NESTED = b"".join(
    tarfile.TarInfo.create_pax_global_header({"comment": "x"}) for _ in range(17)
)  # each is read by the one before


def negative(kind=tarfile.REGTYPE):
    """Return the header of a member with a negative size, which GNU's form has a number for."""
    member = tarfile.TarInfo("a")
    member.type, member.size = kind, -BLOCK
    return member.tobuf(tarfile.GNU_FORMAT)


def patched(sign, at, *values):
    """Return a zip of one file with other numbers of 16 bits *at* so many bytes after *sign*."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("a", b"1")
    data, where = bytearray(out.getvalue()), out.getvalue().index(sign) + at
    data[where : where + 2 * len(values)] = struct.pack(f"<{len(values)}H", *values)
    return bytes(data)


# Damage. --------------------------------------------------------------------------------------------------------------

DAMAGED = {
    "bzip2 with a flipped byte": (flipped(bz2.compress(TAR, 1), 290_000), "tar", "Invalid data stream"),
    "bzip2 that is cut off": (bz2.compress(TAR, 1)[:290_000], "tar", "ended before"),
    "gzip with a flipped byte": (flipped(gzip.compress(TAR), 290_000), "tar", ""),
    "gzip with a flipped checksum": (flipped(gzip.compress(TAR), -6), "tar", "CRC check failed"),
    "gzip with a flipped size": (flipped(gzip.compress(TAR), -1), "tar", "Incorrect length"),
    "gzip without its checksum": (gzip.compress(TAR)[:-8], "tar", "ended before"),
    "gzip with another behind its end": (gzip.compress(TAR) + flipped(gzip.compress(b"x"), -6), "tar", "CRC"),
    "xz with a flipped byte": (flipped(lzma.compress(TAR), 290_000), "tar", "Corrupt"),
    "xz with a flipped checksum": (flipped(lzma.compress(TAR), -30), "tar", ""),
    "zip with a flipped byte in bzip2": (
        flipped(zipped(FILES, zipfile.ZIP_BZIP2), 290_000),
        "zip",
        "Invalid data stream",
    ),
    "zip with a flipped byte in deflate": (flipped(zipped(FILES, zipfile.ZIP_DEFLATED), 290_000), "zip", ""),
    "zip with a flipped byte, stored": (flipped(zipped(FILES, zipfile.ZIP_STORED), 290_000), "zip", "Bad CRC-32"),
    "a tar that is cut before its last member": (TAR[:THIRD], "tar", f"at its byte {THIRD}"),
    "the same, compressed": (gzip.compress(TAR[:THIRD]), "tar", f"at its byte {THIRD}"),
    "a tar that is cut in a header": (TAR[: THIRD + 100], "tar", f"at its byte {THIRD}"),
    "a tar with a damaged header": (flipped(TAR, THIRD), "tar", f"at its byte {THIRD}"),
    "a tar without its end": (TAR[:END], "tar", f"at its byte {END}"),
    "a tar with half its end": (TAR[: END + BLOCK], "tar", "before the two empty headers"),
    "a tar with one empty header and more": (TAR[: END + BLOCK] + TAR, "tar", "before the two empty headers"),
    "headers upon headers": (gzip.compress(NESTED), "tar", "over 16 headers before one member"),
    "a tar with less than nothing": (negative() + TAR, "tar", "a member of -512 bytes"),
    "a directory with less than nothing": (negative(tarfile.DIRTYPE) + TAR, "tar", "a member of -512 bytes"),
    "a name of less than nothing": (negative(tarfile.GNUTYPE_LONGNAME) + TAR, "tar", "a member of -512 bytes"),
    "a zip with a nameless member": (patched(b"PK\x01\x02", 28, 0, 1), "zip", "out of range"),
    "a zip that leads to before its start": (patched(b"PK\x05\x06", 16, 0x7000, 0), "zip", "Invalid argument"),
    "endless zeros behind a tar": (gzip.compress(TAR + bytes(65 * 2**20), 1), "tar", "after its end"),
}


@pytest.mark.parametrize(("data", "form", "why"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_archive_is_refused_by_its_name_and_never_tried_again(refusal, data, form, why):
    said = refusal(data, form=form)
    assert "Archive 'archive-0' at 'http://127.0.0.1" in said
    assert f"is no sound {form}: " in said
    assert why in said
    assert said.endswith("Pack the model again, or bring the archive there again.")


def test_that_the_disk_fails_is_not_said_of_the_archive(opened):
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, usual[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            opened(gzip.compress(tarred({"zeros": bytes(30_000)})))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


# What real tools make. ------------------------------------------------------------------------------------------------

SOUND = {
    "padded to a tape's block": TAR + bytes(10_240),
    "with other bytes behind its end": TAR[:END] + bytes(2 * BLOCK) + b"x" * 700,
    "with no more than its end": TAR[: END + 2 * BLOCK],
    "gzip with zeros behind it": gzip.compress(TAR) + bytes(512),
    "gzip in two pieces": gzip.compress(TAR[:9_000]) + gzip.compress(TAR[9_000:]),
    "bzip2": bz2.compress(TAR),
    "xz": lzma.compress(TAR),
    "ustar": tarred(FILES, form=tarfile.USTAR_FORMAT),
    "GNU": tarred(FILES, form=tarfile.GNU_FORMAT),
}


@pytest.mark.parametrize("data", SOUND.values(), ids=SOUND)
def test_a_sound_tar_is_taken_however_it_ends(opened, data):
    assert listed(opened(data)) == sizes(FILES)


def test_long_names_of_many_members_are_taken(opened):
    files = {f"{'n' * 150}/{number}": b"" for number in range(20)}
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        assert listed(opened(tarred(files, form=form))) == sizes(files)


TOOLS = {
    "GNU tar": ["tar", "-cf", "-", *FILES],
    "GNU tar, ustar": ["tar", "--format=ustar", "-cf", "-", *FILES],
    "GNU tar, one block": ["tar", "-b1", "-cf", "-", *FILES],
    "GNU tar, large blocks": ["tar", "-b4096", "-cf", "-", *FILES],
    "GNU tar, sparse": ["tar", "-Scf", "-", *FILES],
    "GNU tar, gzip": ["tar", "-czf", "-", *FILES],
}


@pytest.mark.parametrize("command", TOOLS.values(), ids=TOOLS)
def test_what_tools_make_is_sound(opened, tmp_path, command):
    for path, data in FILES.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
    made = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout
    assert listed(opened(made)) == sizes(FILES)


# Several archives. ----------------------------------------------------------------------------------------------------


def test_archives_have_one_bound_together_with_the_files_that_are_not_packed(opened, refusal):
    parts = [tarred({"a": bytes(4000)}), tarred({"b": bytes(4000)})]
    raw = {"c": bytes(2000)}
    assert listed(opened(*parts, raw=raw, most=10_000)) == {"a": 4000, "b": 4000, "c": 2000}
    said = refusal(*parts, raw=raw, most=9_999)
    assert "Archive 'archive-1' at " in said
    assert "would unpack to more than 9999 bytes" in said
    assert "nothing was published" in said
    assert "larger size_limit" in said


def test_archives_may_not_have_more_files_together_than_a_model(refusal, monkeypatch):
    monkeypatch.setattr("modelberth.engine.archive.MOST_FILES", 3)
    said = refusal(tarred({"a": b"", "b": b""}), tarred({"c": b"", "d": b""}))
    assert "or 3 files, with the model's other files" in said


BOTH = {
    "a file": ({"config.json": b"{}"}, {"config.json": b"[]"}, "config.json"),
    "the same file": ({"config.json": b"{}"}, {"config.json": b"{}"}, "config.json"),
    "a file that is a directory in the other": ({"a": b"1"}, {"a/b": b"2"}, "a/b"),
    "a file that is deep below one": ({"a": b"1"}, {"a/b/c": b"2"}, "a/b/c"),
    "a directory that is a file in the other": ({"a/b": b"1"}, {"a": b"2"}, "a"),
}


@pytest.mark.parametrize(("first", "second", "name"), BOTH.values(), ids=BOTH)
def test_what_is_in_two_archives_is_refused_since_nobody_says_which_counts(refusal, first, second, name):
    said = refusal(tarred(first), tarred(second))
    assert "Archive 'archive-1' at " in said
    assert f"member {name!r} is in two archives of the model" in said
    assert "Leave it out of one." in said


def test_a_directory_may_be_in_two_archives(opened):
    assert listed(opened(tarred({"sub/a": b"1"}), tarred({"sub/b": b"2"}))) == {"sub/a": 1, "sub/b": 1}
