"""What a pickle imports is known without loading it: held against unpicklers that say what they were asked for."""

import collections
import contextlib
import io
import json
import pickle
import random
import struct

import pytest

from modelberth.engine import opcodes, pickles
from modelberth.engine.pickles import UNKNOWN, follow
from unsafe import Evil


def followed(data):
    return follow(io.BytesIO(data), len(data))


def text(data):
    return b"X" + struct.pack("<I", len(data)) + data


SYSTEM = ("posix", "system")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_a_pickler_writes_is_followed_to_its_end(protocol):
    values = [
        1,
        2**70,
        1.5,
        None,
        True,
        "y" * 3000,
        (1, 2, 3, 4),
        {"a": [Evil()]},
        collections.OrderedDict(a=json.loads),
    ]
    found = followed(pickle.dumps(values, protocol))
    assert set(found.imports) == {SYSTEM, ("collections", "OrderedDict"), ("json", "loads")}
    assert (found.whole, found.too_large) == (1, False)


PROGRAMS = {
    "a number that pickletools does not read": b"\x80\x02I0x10\n0cposix\nsystem\n(S'true'\ntR.",
    "a name by its place in the memo":
        text(b"posix") + b"q\x010" + text(b"system") + b"q\x02h\x010" + b"h\x01h\x02\x93.",
    "a name that was doubled": text(b"posix") + b"2" + b"0" + text(b"system") + b"\x93.",
    "a name below what was taken off": text(b"posix") + text(b"json") + b"0" + text(b"system") + b"\x93.",
    "a name below a mark that was taken off": text(b"posix") + b"(NN1" + text(b"system") + b"\x93.",
    "a name below a mark that was taken off alone": text(b"posix") + b"(0" + text(b"system") + b"\x93.",
    "another string memoized than was just read":
        text(b"posix") + text(b"json") + b"0\x940" + b"h\x00" + text(b"system") + b"\x93.",
    "a place in the memo that was taken twice":
        text(b"json") + b"q\x00" + text(b"posix") + b"q\x00h\x00" + text(b"system") + b"\x93.",
    "a place with an underscore": text(b"posix") + b"p1_0\ng10\n" + text(b"system") + b"\x93.",
    "a name that nothing is appended to": text(b"posix") + text(b"system") + b"(e\x93.",
    "a name that gets no state": text(b"posix") + text(b"system") + b"Nb\x93.",
    "in protocol 0": b"cposix\nsystem\n.",
    "a call without a name": b"(S'true'\niposix\nsystem\n.",
    "a string of protocol 0": b"S'posix'\nS'system'\n\x93.",
    "a frame between the names": text(b"posix") + b"\x95" + struct.pack("<Q", 13) + text(b"system") + b"\x93.",
    "behind a long string": text(b"x" * 100_000) + b"0cposix\nsystem\n.",
    "behind a long line": b"V" + b"x" * 200_000 + b"\n0cposix\nsystem\n.",
    "in the second pickle": pickle.dumps(1) + b"cposix\nsystem\n.",
    "a call without a mark": b"iposix\nsystem\n",
    "without an end": b"cposix\nsystem\n(S'true'\ntR",
    "before what is broken": b"cposix\nsystem\n(S'true'\ntR\xff\xff",
}  # fmt: skip


@pytest.mark.parametrize("data", PROGRAMS.values(), ids=PROGRAMS)
def test_an_import_is_found_however_it_is_written(data):
    assert SYSTEM in followed(data).imports


MADE = {
    "a name that is no text": text(b"\xff") + text(b"system") + b"\x93.",
    "a name that is the answer of a call": b"cjson\nloads\n" + text(b"1") + b"\x85R" + text(b"system") + b"\x93.",
    "a place of the memo in a pickle that numbers in two ways":
        text(b"posix") + b"q\x00" + text(b"json") + b"\x94h\x00" + text(b"system") + b"\x93.",
    "a place of the memo that something else took": text(b"json") + b"q\x00P1\nq\x00h\x00" + text(b"system") + b"\x93.",
    "a persistent object": b"P1\n" + text(b"system") + b"\x93.",
}  # fmt: skip


@pytest.mark.parametrize("data", MADE.values(), ids=MADE)
def test_a_name_that_is_made_while_loading_is_unknown(data):
    assert (UNKNOWN, "system") in followed(data).imports


LONG = {
    "in a string": text(b"x" * 2000) + text(b"system") + b"\x93.",
    "in a line": b"V" + b"x" * 2000 + b"\n" + text(b"system") + b"\x93.",
    "in an import's line": b"c" + b"x" * 2000 + b"\nsystem\n.",
    "in an import's very long line": b"c" + b"x" * 200_000 + b"\nsystem\n.",
}


@pytest.mark.parametrize("data", LONG.values(), ids=LONG)
def test_of_a_long_name_the_beginning_is_kept(data):
    assert followed(data).imports == [("x" * 150, "system")]


BROKEN = {
    "nothing": b"",
    "no opcode": b"\x80\x04\xff",
    "a string that goes over the end": b"\x80\x02X\xff\xff\xff\x00abc",
    "a negative length": b"T\xff\xff\xff\xff.",
    "a string of 2 ** 63 bytes": b"\x8e" + struct.pack("<Q", 2**63) + b".",
    "a line without an end": b"Sposix",
    "more taken than is there": b"NR.",
    "a mark that is not there": b"t.",
    "more taken than is above the mark": b"N(a.",
    "a number for a module": b"K\x01" + text(b"system") + b"\x93.",
    "nothing in the memo": b"h\x00" + text(b"system") + b"\x93.",
    "a module that is no text": b"c\xff\xfe\nsystem\n.",
    "an end without a value": b".",
    "a string without quotes": b"Sposix\n" + text(b"system") + b"\x93.",
    "a persistent object that is no text": b"P\xff\n" + text(b"system") + b"\x93.",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_what_no_unpickler_reads_has_no_import_and_no_end(data):
    assert followed(data) == pickles.Pickled([], 0, too_large=False)


@pytest.mark.parametrize(
    ("module", "bound", "data"),
    [(opcodes, "MOST", b"N0" * 60 + b"N."), (pickles, "_MOST_ON_STACK", b"N" * 120 + b"."),
     (pickles, "_MOST_ON_STACK", b"(" * 120),
     (pickles, "_MOST_IMPORTS", b"".join(b"cm\n%d\n0" % n for n in range(120)))],
)  # fmt: skip
def test_what_is_too_large_is_said_to_be(monkeypatch, module, bound, data):
    monkeypatch.setattr(module, bound, 100)
    assert followed(data).too_large
    assert followed(pickle.dumps(1) + data).too_large


def test_of_many_names_those_that_are_not_kept_are_unknown(monkeypatch):
    monkeypatch.setattr(pickles, "_MOST_NAMES", 1)
    data = text(b"json") + b"\x940" + text(b"posix") + b"\x940h\x01" + text(b"system") + b"\x93."
    assert followed(data).imports == [(UNKNOWN, "system")]


def test_what_is_no_name_takes_no_place_of_one(monkeypatch):
    monkeypatch.setattr(pickles, "_MOST_NAMES", 1)
    data = b"N\x940K\x01\x940" + text(b"posix") + b"\x940h\x02" + text(b"system") + b"\x93."
    assert followed(data).imports == [SYSTEM]


class Stub:
    def __init__(self, *args):
        pass

    def __setstate__(self, state):
        pass

    append = extend = __setitem__ = add = __init__

    def __call__(self, *args):
        return Stub()


class Python(pickle._Unpickler):
    """Loads nothing, and says what it was asked for: the unpickler that joblib uses."""

    def __init__(self, data):
        super().__init__(io.BytesIO(data))
        self.asked = []

    def find_class(self, module, name):
        self.asked.append((module, name))
        return Stub

    def persistent_load(self, pid):
        return Stub()


class C(pickle.Unpickler):
    """The same, of the one that all others use."""

    def __init__(self, data):
        super().__init__(io.BytesIO(data))
        self.asked = []

    find_class, persistent_load = Python.find_class, Python.persistent_load


PIECES = [
    bytes([code]) for code in b"(0012NN)]}tlde.aes\x85\x86\x87Rb\x81\x92\x93\x93\x93\x94\x94\x94\x88o1Q\x8f\x90\x91"
]
PIECES += [text(b"posix"), text(b"json"), b"U\x05posix", b"\x8c\x06system", b"S'posix'\n", b"Vsystem\n", b"I0x1\n"]
PIECES += [b"cm\nn\n", b"im\nn\n", b"K\x01", b"C\x01x", b"\x80\x04", b"P1\n", b"\x95" + bytes(8)]
PIECES += [b"%c%c" % (op, n) for op in b"hq" for n in range(4)] + [b"p1\n", b"g1\n", b"r\x02\0\0\0", b"j\x02\0\0\0"]
WEIGHTS = [4 if piece[:1] in b"XVS\x8c\x93" else 1 for piece in PIECES]


@pytest.mark.parametrize("unpickler", [Python, C])
def test_whatever_an_unpickler_is_asked_for_was_said_before(unpickler):
    chance, imported = random.Random(7), 0
    for _ in range(30_000):
        program = b"".join(chance.choices(PIECES, WEIGHTS, k=chance.randrange(2, 14)))
        one, said = unpickler(program), followed(program).imports
        with contextlib.suppress(Exception):  # most random programs end so, after what is looked at
            one.load()
        for module, name in one.asked:
            assert {(module, name), (UNKNOWN, name), (module, UNKNOWN), (UNKNOWN, UNKNOWN)} & set(said), program
        imported += len(one.asked)
    assert imported > 1000
