"""What a network and a store can do to a sync is healed by the next tries, or ends in time with its own exit code.

Stalls and waits are shortened: what counts as one is a constant. Nothing that is not whole ever becomes visible.
"""

import itertools
import threading
import time
from pathlib import Path

import pytest

from modelberth.engine import connection, transport
from modelberth.engine.staging import Staging

CHUNK = 8 * 2**20
ENOUGH = 40
"""Seconds that no run here may take: all tries of all streams, with the waits as shortened."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(connection, "LEAST_PER", 1.0)
    monkeypatch.setattr(transport, "_LONGEST_WAIT", 0.05)


@pytest.fixture
def s3(shipped):
    return shipped.bucket


@pytest.fixture
def model(shipped):
    return shipped.model


@pytest.fixture
def uploaded(shipped):
    return shipped.result


@pytest.fixture
def sync(s3, modelberth, claim, uploaded):
    """Sync through a proxy."""

    def run(proxy, *more):
        began = time.monotonic()
        words = ("sync", s3.url, claim, "--revision", uploaded["revision"], *more)
        ran = modelberth(*words, AWS_ENDPOINT_URL=proxy.url)
        assert time.monotonic() - began < ENOUGH
        return ran

    return run


@pytest.fixture
def healed(sync, uploaded, model, trees):
    def run(proxy):
        ran = sync(proxy)
        assert ran.code == 0, ran.result
        assert trees(Path(ran.result["path"]) / "files") == trees(model)
        assert ran.result["bytes_fetched"] == uploaded["bytes"]

    return run


@pytest.fixture
def ended(sync, claim, s3, uploaded, model, modelberth, trees):
    def run(proxy, code):
        ran = sync(proxy)
        assert ran.code == code, ran.result
        assert list((claim / "minilm").glob("*")) == []
        again = modelberth("sync", s3.url, claim, "--revision", uploaded["revision"])
        assert again.code == 0, again.result
        assert trees(Path(again.result["path"]) / "files") == trees(model)

    return run


# Broken connections: toxiproxy ----------------------------------------------------------------------------------------

HEALED_TOXICS = {
    "latency": [("latency", {"latency": 100, "jitter": 50})],
    "slow close": [("slow_close", {"delay": 500})],
    "small pieces": [("slicer", {"average_size": 3000, "size_variation": 2000, "delay": 10})],
    "each connection cut after one chunk and a bit": [("limit_data", {"bytes": CHUNK + 2**20})],
    "each connection cut after one chunk and a bit, and slow to close": [
        ("limit_data", {"bytes": CHUNK + 2**20}),
        ("slow_close", {"delay": 200}),
    ],
    "a narrow link": [("bandwidth", {"rate": 15_000})],
}


@pytest.mark.parametrize("toxics", HEALED_TOXICS.values(), ids=HEALED_TOXICS)
def test_a_bad_connection_costs_time_and_nothing_else(healed, toxic, toxics):
    for kind, attributes in toxics:
        toxic.add(kind, **attributes)
    healed(toxic)


def test_connections_reset_at_any_moment_are_made_anew(healed, toxic):
    toxic.add("bandwidth", rate=12_000)
    over = threading.Event()

    def meddle():
        while not over.wait(0.4):
            toxic.add("reset_peer", timeout=0)
            toxic.remove("reset_peer")

    meddler = threading.Thread(target=meddle)
    meddler.start()
    try:
        healed(toxic)
    finally:
        over.set()
        meddler.join()


def test_half_of_all_connections_reset_at_once_are_made_anew(healed, toxic):
    toxic.add("reset_peer", timeout=0, toxicity=0.3)
    healed(toxic)


@pytest.mark.parametrize("kind", ["timeout", "bandwidth"])
def test_a_stall_that_ends_is_healed(healed, toxic, kind, request):
    toxic.add("bandwidth", rate=20_000)
    stall = threading.Timer(0.5, toxic.enable, [False]) if kind == "bandwidth" else None
    if stall:
        heal = threading.Timer(0.8, toxic.enable, [True])
    else:
        stall = threading.Timer(0.5, lambda: toxic.add("timeout", timeout=0))
        heal = threading.Timer(2.5, toxic.remove, ["timeout"])
    for timer in (stall, heal):
        timer.start()
    try:
        healed(toxic)
    finally:
        for timer in (stall, heal):
            timer.join()


ENDED_TOXICS = {
    "no byte comes any more": ("timeout", {"timeout": 0}, 13),
    "bytes drip": ("bandwidth", {"rate": 1}, 13),
    "each connection is reset": ("reset_peer", {"timeout": 0}, 14),
    "each connection is closed without an answer": ("limit_data", {"bytes": 0}, 14),
    "each connection is cut in its first chunk": ("limit_data", {"bytes": 2**20}, 14),
}


@pytest.mark.parametrize(("kind", "attributes", "code"), ENDED_TOXICS.values(), ids=ENDED_TOXICS)
def test_a_connection_that_stays_bad_ends_the_run_with_what_it_met(ended, toxic, kind, attributes, code):
    toxic.add(kind, **attributes)
    ended(toxic, code)


def test_a_network_that_goes_away_in_the_middle_keeps_what_arrived(
    sync, toxic, s3, uploaded, modelberth, claim, only_whole, monkeypatch
):
    real, kept = Staging.write, []

    def write(self, number, index, data, *more):
        real(self, number, index, data, *more)
        kept.append(len(data))
        if sum(kept) > CHUNK:
            toxic.enable(False)

    monkeypatch.setattr(Staging, "write", write)
    toxic.add("bandwidth", rate=12_000)  # or the rest is in the sockets already
    ran = sync(toxic, "--concurrency", "1")
    monkeypatch.setattr(Staging, "write", real)
    assert ran.code == 14, ran.result
    assert list((claim / "minilm").glob("*")) == []
    again = modelberth("sync", s3.url, claim, "--revision", uploaded["revision"])
    assert again.result["bytes_fetched"] == uploaded["bytes"] - sum(kept)
    only_whole(claim, uploaded["revision"])


# Lies of a server: a proxy of our own ---------------------------------------------------------------------------------


def cut(after):
    def lie(answer):
        yield b"".join(answer.plain())[:after]

    return lie


def flipped(answer):
    body = bytearray(answer.body)
    body[len(body) // 2] ^= 1
    yield answer.header + b"\r\n\r\n" + bytes(body)


def status(number, more=b""):
    def lie(_answer):
        yield b"HTTP/1.1 %d Trouble\r\nContent-Length: 0\r\n%s\r\n" % (number, more)

    return lie


def whole_object(answer):
    """200 instead of 206: the status of one who knows no ranges, with what was asked for or with more."""
    yield answer.header.replace(b"206 Partial Content", b"200 OK") + b"\r\n\r\n" + answer.body


HTML = b"<html><body>Please log in to the hotel's network</body></html>"


def page(_answer):
    yield b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s" % (len(HTML), HTML)


def page_of_the_right_length(answer):
    yield answer.header + b"\r\n\r\n" + (HTML * (len(answer.body) // len(HTML) + 1))[: len(answer.body)]


def raw(*pieces):
    def lie(_answer):
        yield from pieces

    return lie


def endless(piece):
    def lie(_answer):
        return itertools.repeat(piece)

    return lie


def other(change):
    """An answer with another header."""

    def lie(answer):
        yield change(answer) + b"\r\n\r\n" + answer.body

    return lie


def with_header(line):
    return other(lambda answer: answer.header + b"\r\n" + line)


LIES = {
    "a length that is too long": (other(lambda answer: answer.with_length(lambda n: n + 1)), 14),
    "a length that is far too long": (other(lambda answer: answer.with_length(lambda n: 10**18)), 14),
    "a length that is too short": (other(lambda answer: answer.with_length(lambda n: n - 1)), 14),
    "a length of nothing": (other(lambda answer: answer.with_length(lambda n: 0)), 14),
    "a length in other digits": (
        other(lambda answer: answer.header.replace(b"Content-Length: ", b"Content-Length: \xb2")),
        14,
    ),
    "another range": (other(lambda answer: answer.with_range(lambda n: n + 1)), 14),
    "a range of nothing": (other(lambda answer: answer.header.replace(b"Content-Range: bytes", b"X: bytes")), 14),
    "a bit that flipped": (flipped, 20),
    "cut in the header": (cut(30), 14),
    "cut after the header": (lambda answer: iter([answer.header + b"\r\n\r\n"]), 14),
    "503": (status(503), 14),
    "500": (status(500), 14),
    "429": (status(429), 14),
    "a Retry-After in other digits": (status(503, b"Retry-After: \xb2\r\n"), 14),
    "a Retry-After as a date": (status(503, b"Retry-After: Fri, 31 Dec 2100 23:59:59 GMT\r\n"), 14),
    "a Retry-After of minus one": (status(503, b"Retry-After: -1\r\n"), 14),
    "garbage instead of HTTP": (raw(b"\x16\x03\x01" + bytes(range(256)) * 300), 14),
    "nothing": (raw(), 14),
    "another protocol": (raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), 14),
    "a status of other digits": (raw(b"HTTP/1.1 \xb2\xb2\xb2 OK\r\nContent-Length: 1\r\n\r\nx"), 14),
    "an endless header": (endless(b"X-More: and more\r\n"), 14),
    "an endless line": (endless(b"x" * 4096), 14),
    "an endless chain of 100": (endless(b"HTTP/1.1 100 Continue\r\n\r\n"), 14),
    "an HTML page": (page, 20),
    "an HTML page of the right length": (page_of_the_right_length, 20),
    "a redirection": (status(302, b"Location: http://127.0.0.1:1/elsewhere\r\n"), 14),
    "a body in pieces": (
        raw(b"HTTP/1.1 206 Partial Content\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n"),
        14,
    ),
}
_LASTING_ONLY = {"an HTML page", "a redirection"}


@pytest.mark.parametrize("name", LIES.keys() - _LASTING_ONLY)
def test_a_lie_that_is_told_once_is_healed_and_only_its_chunks_come_again(healed, liar, uploaded, name):
    lie, _ = LIES[name]
    liar.lies = [lie, lie]
    healed(liar)
    asked = sum(last + 1 - first for first, last in liar.ranges)
    assert uploaded["bytes"] < asked <= 3 * uploaded["bytes"]  # at most the two requests that were lied to, again


@pytest.mark.parametrize("name", LIES)
def test_a_lie_that_is_told_for_ever_ends_the_run_with_its_meaning(ended, liar, name):
    lie, code = LIES[name]
    liar.lies = [lie] * 500
    ended(liar, code)
    assert len(liar.ranges) <= 8 * 16  # the tries of each stream


def test_what_arrived_before_a_cut_is_not_asked_for_again(healed, liar, uploaded):
    liar.lies = [cut(CHUNK + CHUNK // 2)] * 3
    healed(liar)
    asked = sum(last + 1 - first for first, last in liar.ranges)
    assert liar.sent < uploaded["bytes"] + 3 * CHUNK
    assert asked < 3 * uploaded["bytes"]


@pytest.mark.parametrize(("number", "asked", "waits"), [(429, "2", 2), (503, "2", 2), (503, "0", 0)])
def test_a_store_that_asks_to_wait_is_waited_for(healed, liar, number, asked, waits):
    liar.lies = [status(number, b"Retry-After: %s\r\n" % asked.encode())]
    began = time.monotonic()
    healed(liar)
    assert waits <= time.monotonic() - began < waits + 15


def test_a_store_that_asks_to_wait_for_an_hour_is_asked_again_in_a_minute(monkeypatch, healed, liar):
    from modelberth.engine.stopping import Stop

    waited = []
    monkeypatch.setattr(Stop, "sleep", lambda self, seconds: waited.append(seconds))
    liar.lies = [status(503, b"Retry-After: 3600\r\n")]
    healed(liar)
    assert max(waited) == 60


def test_a_burst_of_trouble_is_survived_by_every_stream(healed, liar):
    liar.lies = [status(503), status(500), cut(5000), flipped, status(429), status(503)]
    healed(liar)
    assert liar.lies == []


# Credentials that end ------------------------------------------------------------------------------------------------


def refused(code):
    """As AWS answers a session token that it does not take any more."""
    text = b"<Error><Code>%s</Code><Message>No.</Message></Error>" % code
    return raw(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))


TOKENS = [b"ExpiredToken", b"InvalidToken"]


@pytest.mark.parametrize("code", TOKENS)
def test_a_token_that_is_refused_is_healed_by_the_next_one(healed, liar, code):
    liar.lies = [refused(code)] * 2
    healed(liar)


@pytest.mark.parametrize("code", TOKENS)
def test_a_token_that_ends_in_the_middle_of_a_sync_is_denied_with_the_stores_word(sync, liar, claim, code):
    lie = refused(code)

    def ends(answer):
        liar.where, liar.lies = b"GET ", [lie] * 500
        return lie(answer)

    liar.lies = [ends]
    ran = sync(liar)
    assert (ran.code, ran.result["outcome"]) == (25, "denied"), ran.result
    assert code.decode() in ran.problem
    assert list((claim / "minilm").glob("*")) == []


def test_any_other_bad_request_is_not_taken_for_one(ended, liar):
    liar.lies = [status(400)] * 500
    ended(liar, 14)


# A limit of our own ---------------------------------------------------------------------------------------------------


def in_small_pieces(answer):
    """As servers write: what is not taken within their patience is noticed."""
    yield answer.header + b"\r\n\r\n"
    for start in range(0, len(answer.body), 65536):
        yield answer.body[start : start + 65536]


def test_a_limited_sync_keeps_to_its_rate_and_no_answer_waits_longer_than_a_store_does(sync, liar, uploaded):
    liar.lies, liar.patience = [in_small_pieces] * 500, 0.7
    began = time.monotonic()
    ran = sync(liar, "--bandwidth-limit", "8MiB", "--concurrency", "8")
    assert (ran.code, ran.result.get("bytes_fetched")) == (0, uploaded["bytes"]), ran.result
    assert time.monotonic() - began >= uploaded["bytes"] / CHUNK
    asked = sum(last + 1 - first for first, last in liar.ranges)
    assert asked < 2 * uploaded["bytes"]  # a machine that is busy elsewhere may once be too late


# What is read before the first byte: lists, manifest, location -------------------------------------------------------


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def listing(*texts):
    text = b"<ListBucketResult>" + b"".join(texts) + b"</ListBucketResult>"
    return raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))


def laughs():
    lines = [b'<!ENTITY a0 "ha">'] + [b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 10)]
    text = b"<!DOCTYPE l [%s]><ListBucketResult><Contents><Key>&a9;</Key></Contents></ListBucketResult>"
    text %= b"".join(lines)
    return raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))


SMALL_LIES = {name: lie for name, (lie, _) in LIES.items() if "range" not in name} | {
    "a piece of negative size": raw(CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n"),
    "a piece without size": raw(CHUNKED + b"\r\nhello\r\n0\r\n\r\n"),
    "a piece of a size that is none": raw(CHUNKED + b"zz\r\nhello\r\n0\r\n\r\n"),
    "a piece of 2 ** 64": raw(CHUNKED + b"ffffffffffffffff\r\nhello\r\n"),
    "a line of a piece without end": endless(CHUNKED),
    "trailers without end": lambda _: itertools.chain([CHUNKED + b"0\r\n"], itertools.repeat(b"X: y\r\n" * 99)),
    "a list with a size that is none": listing(b"<Contents><Key>k</Key><Size>big</Size></Contents>"),
    "a list without keys": listing(b"<Contents><Size>1</Size></Contents>"),
    "a list that leads to itself": listing(
        b"<IsTruncated>true</IsTruncated><NextContinuationToken>1</NextContinuationToken>"
    ),
    "a list of a billion laughs": laughs(),
}


@pytest.mark.parametrize("name", SMALL_LIES)
def test_a_lie_about_a_small_object_or_list_ends_in_time_and_without_a_fault(sync, claim, liar, name):
    """A mismatch is found by the manifest's digest; whatever else it is, it may be tried again."""
    for where in (b"list-type=2", b"manifest.json", b"/locations/u1.json"):
        liar.where, liar.lies = where, [SMALL_LIES[name]] * 100
        ran = sync(liar)
        assert ran.code in (11, 13, 14, 20, 21), (where, ran.result)
        assert list(claim.iterdir()) == []
