"""Speaks to toxiproxy: a real proxy before a real store that breaks connections as networks do."""

import json
import urllib.request
import uuid
from contextlib import contextmanager
from dataclasses import dataclass

from binaries import TOXIPROXY

from real_servers import free_port, started, stopped


@contextmanager
def toxiproxy(home):
    """A toxiproxy server that has no proxy yet: the address of its API.

    :param home: Folder for what it says.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [str(TOXIPROXY.ensure(home / "build.log") / "toxiproxy"), "-host", "127.0.0.1", "-port", str(port)]
    process = started(command, f"{url}/version", home / "log")
    try:
        yield url
    finally:
        stopped(process)


@dataclass
class Toxic:
    """One proxy of a toxiproxy server.

    :param api: Where the server is told what to do.
    """

    api: str
    upstream: str

    def __post_init__(self):
        self._name = uuid.uuid4().hex
        told = {"name": self._name, "listen": "127.0.0.1:0", "upstream": self.upstream.removeprefix("http://")}
        self.url = f"http://{self._ask('POST', '/proxies', told)['listen']}"

    def add(self, kind, stream="downstream", toxicity=1.0, **attributes):
        """Begin to break connections, those that are open included."""
        told = {"name": kind, "type": kind, "stream": stream, "toxicity": toxicity, "attributes": attributes}
        self._ask("POST", f"/proxies/{self._name}/toxics", told)

    def remove(self, kind):
        self._ask("DELETE", f"/proxies/{self._name}/toxics/{kind}")

    def enable(self, on):
        self._ask("POST", f"/proxies/{self._name}", {"enabled": on})

    def delete(self):
        self._ask("DELETE", f"/proxies/{self._name}")

    def _ask(self, method, path, told=None):
        data = json.dumps(told).encode() if told is not None else None
        request = urllib.request.Request(self.api + path, data, method=method)  # noqa: S310 - a server of our own
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.loads(answer.read() or b"null")
