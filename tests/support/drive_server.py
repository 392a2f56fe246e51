"""Google Drive's API, its token endpoint and its public downloads, over real files."""

import hashlib
import json
import re
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from web_server import Handler, WebServer

FOLDER = "application/vnd.google-apps.folder"


class DriveHandler(Handler):
    def do_POST(self):  # noqa: N802 - as http.server calls it
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(*self.server.web.drive.token())


class _Web(WebServer):
    handler = DriveHandler


class Drive:
    """Items by id: dicts of what the API says of them, with ``data`` and ``parent``."""

    def __init__(self):
        self.items = {}
        self.tokens = []
        self.uses = 1000
        self.page_size = 1000
        self._left = {}
        self.error = None
        self.web = _Web()
        self.web.drive = self
        self.web.api = self.answered

    @property
    def url(self):
        return self.web.url

    def key(self):
        """A service account's key whose tokens this server gives."""
        private = rsa.generate_private_key(65537, 2048).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        named = {"client_email": "berth@test.iam", "private_key": private.decode(), "private_key_id": "1"}
        return {"type": "service_account", "token_uri": f"{self.url}/token", "project_id": "test", **named}

    def token(self):
        name = f"ya29.{len(self.tokens)}"
        self.tokens.append(name)
        body = {"access_token": name, "token_type": "Bearer", "expires_in": 3600}
        return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()

    def add(self, name, data=None, parent=None, **said):
        item = f"id{len(self.items)}"
        kind = {"mimeType": FOLDER} if data is None else {"mimeType": "application/octet-stream"}
        about = {"id": item, "name": name, "capabilities": {"canDownload": True}, **kind}
        if data is not None:
            about |= {"size": str(len(data)), "sha256Checksum": hashlib.sha256(data).hexdigest()}
        about = {key: value for key, value in (about | said).items() if value is not None}
        self.items[item] = {"about": about, "data": data, "parent": parent}
        return item

    def add_model(self, files, **said):
        """Make a folder with these files; return its id."""
        root = self.add("minilm", **said)
        folders = {"": root}
        for path, data in files.items():
            above, _, name = path.rpartition("/")
            if above not in folders:
                folders[above] = self.add(above, parent=root)
            self.add(name, data, folders[above])
        return root

    def answered(self, address, headers):
        url = urlsplit(address)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/download":
            return self.download(query)
        if not url.path.startswith("/drive/v3/files"):
            return None
        if headers.get("Authorization", "").removeprefix("Bearer ") not in self.tokens:
            return self.refused(401, "authError")
        if self.error:
            return self.refused(*self.error)
        item = url.path.removeprefix("/drive/v3/files").strip("/")
        return self.one(item, query, headers) if item else self.listed(query, headers)

    @staticmethod
    def refused(status, reason):
        error = {"code": status, "message": reason, "errors": [{"reason": reason, "message": reason}]}
        return status, {"Content-Type": "application/json"}, json.dumps({"error": error}).encode()

    @staticmethod
    def json(document):
        return 200, {"Content-Type": "application/json"}, json.dumps(document).encode()

    def may(self, item, headers):
        """Older shared links are found only with their key."""
        key = self.items[item]["about"].get("resourceKey") if item in self.items else None
        return item in self.items and (not key or f"{item}/{key}" in headers.get("X-Goog-Drive-Resource-Keys", ""))

    def one(self, item, query, headers):
        if not self.may(item, headers):
            return self.refused(404, "notFound")
        if query.get("alt") != "media":
            return self.json(self.items[item]["about"])
        data = self.items[item]["data"]
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("Range", ""))
        if not found or not data:
            return 200, {}, data
        start, end = int(found[1]), min(int(found[2]) + 1, len(data))
        return 206, {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"}, data[start:end]

    def listed(self, query, headers):
        parent = re.match(r"'(\w+)' in parents", query["q"])[1]
        if not self.may(parent, headers):
            return self.refused(404, "notFound")
        rows = [one["about"] for one in self.items.values() if one["parent"] == parent]
        start = int(query.get("pageToken", 0))
        end = start + self.page_size
        more = {"nextPageToken": str(end)} if end < len(rows) else {}
        return self.json({"files": rows[start:end], **more})

    def download(self, query):
        """A public link: what is over a megabyte comes only when somebody confirmed it."""
        found = self.items.get(query.get("id", ""))
        if not found or not found["about"].get("public"):
            return 200, {"Content-Type": "text/html"}, b"<html><title>Sign in - Google Accounts</title></html>"
        if self.error:
            return 200, {"Content-Type": "text/html"}, b"<html><title>Google Drive - Quota exceeded</title></html>"
        data, name = found["data"], found["about"]["name"]
        if len(data) > 1_000_000 and query.get("confirm") != "t":
            fields = {"id": query["id"], "export": "download", "confirm": "t", "uuid": "1-2-3"}
            inputs = "".join(f'<input type="hidden" name="{key}" value="{value}">' for key, value in fields.items())
            form = f'<form id="download-form" action="{self.url}/download" method="get">{inputs}</form>'
            page = f"<html><title>Google Drive - Virus scan warning</title>{form}</html>"
            return 200, {"Content-Type": "text/html; charset=utf-8"}, page.encode()
        said = {"Content-Type": "application/octet-stream", "Last-Modified": "Fri, 02 Jan 2026 03:04:05 GMT"}
        return 200, said | {"Content-Disposition": f'attachment; filename="{name}"'}, data
