"""A proxy that tells HTTP lies which toxiproxy, knowing only bytes, cannot: one answer at a time, as a test asks."""

import re
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Answer:
    """What the server behind answered; the header is without its last empty line."""

    header: bytes
    body: bytes

    def plain(self):
        yield self.header + b"\r\n\r\n" + self.body

    def with_length(self, change):
        return re.sub(rb"(?i)(content-length: )(\d+)", lambda m: m[1] + b"%d" % change(int(m[2])), self.header)

    def with_range(self, change):
        return re.sub(rb"(?i)(content-range: bytes )(\d+)", lambda m: m[1] + b"%d" % change(int(m[2])), self.header)


@dataclass
class LyingProxy:
    """Passes GETs on to *upstream*; an answer for a key with *where* in it goes through the next lie, if there is one.

    :param patience: Seconds after which a client that takes nothing is left alone.
    :param sent: Bytes of bodies of such answers that the client was sent.
    :param ranges: First and last byte that such requests asked for, in order.
    """

    upstream: str
    where: bytes = b"/data/"
    lies: list = field(default_factory=list)
    patience: float | None = None
    sent: int = 0
    ranges: list = field(default_factory=list)

    def __enter__(self):
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self):
        with suppress(OSError):
            while True:
                threading.Thread(target=self._talk, args=(self._listener.accept()[0],), daemon=True).start()

    def _talk(self, client):
        place = urlsplit(self.upstream)
        with client, socket.create_connection((place.hostname, place.port)) as server, suppress(OSError):
            client.settimeout(self.patience)
            while request := _until(client, b"\r\n\r\n"):
                server.sendall(request)
                answer = _answer(server)
                lie = self._lie(request)
                for piece in lie(answer) if lie else answer.plain():
                    client.sendall(piece)
                    if self.where in request:
                        with self._lock:
                            self.sent += len(piece)
                if lie:
                    return

    def _lie(self, request):
        if self.where not in request.partition(b"\r\n")[0]:
            return None
        with self._lock:
            if asked := re.search(rb"(?i)range: bytes=(\d+)-(\d+)", request):
                self.ranges.append((int(asked[1]), int(asked[2])))
            return self.lies.pop(0) if self.lies else None


def _until(connection, end):
    data = b""
    while not data.endswith(end):
        piece = connection.recv(1)
        if not piece:
            return b""
        data += piece
    return data


def _answer(server):
    header = _until(server, b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", header)
    if not length:  # SeaweedFS sends lists in pieces
        body = b""
        while not body.endswith(b"0\r\n\r\n"):
            body += server.recv(65536)
        return Answer(header[:-4], body)
    body = bytearray()
    while len(body) < int(length[1]):
        body += server.recv(1 << 20)
    return Answer(header[:-4], bytes(body))
