"""A web server of real files, which answers ranges, ETags and logins as nginx does, and fails as a test tells it to."""

import hashlib
import http.server
import threading
from email.utils import formatdate
from urllib.parse import unquote


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET from its server's ``files``."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        web = self.server.web
        path = unquote(self.path.partition("?")[0]).lstrip("/")
        with web.lock:
            web.requests.append((path, dict(self.headers)))
        refusal = web.refuse(path, self.headers)
        if refusal:
            self.answer(*refusal)
        elif answered := web.api(self.path, self.headers):
            self.answer(*answered)
        elif path not in web.files:
            self.answer(404, {"Content-Type": "text/html"}, b"<html>Not found")
        else:
            self.file(web.files[path])

    def file(self, data):
        web = self.server.web
        headers = {"Content-Type": web.content_type, "Accept-Ranges": "bytes"}
        if web.etags:
            headers["ETag"] = f'"{web.tag(data)}"'
        if web.modified:
            headers["Last-Modified"] = formatdate(web.modified, usegmt=True)
        asked = self.headers.get("Range", "") if web.ranges else ""
        if self.headers.get("If-Match", headers.get("ETag")) != headers.get("ETag"):
            self.answer(412, {}, b"")
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, end = int(first or 0), min(int(last or len(data)) + 1, len(data))
        if asked and start >= len(data):
            self.answer(416, headers | {"Content-Range": f"bytes */{len(data)}"}, b"")
        elif asked:
            self.answer(206, headers | {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"}, data[start:end])
        else:
            self.answer(200, headers, data)

    def answer(self, status, headers, body):
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class WebServer:
    """What a test sets: ``files`` by path, ``refuse``: a status, headers and body instead of a file."""

    handler = Handler

    def __init__(self, address="127.0.0.1"):
        self.files = {}
        self.etags = True
        self.tag = lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest()
        self.modified = 1_700_000_000
        self.ranges = True
        self.content_type = "application/octet-stream"
        self.refuse = lambda path, headers: None
        self.api = lambda path, headers: None
        self.requests = []
        self.lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer((address, 0), self.handler)
        self._server.web = self
        self._server.handle_error = lambda *_: None  # a client that hangs up is what some tests are about
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self):
        address, port = self._server.server_address[:2]
        return f"http://{address}:{port}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()
