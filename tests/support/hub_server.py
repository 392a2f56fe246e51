"""A server that speaks the Hugging Face Hub's API over real files; the Hub's own client can read from it.

Files of 1 MB and more are large: the Hub answers for them with a redirect to another server, whose URL expires.
"""

import hashlib
import json
from urllib.parse import parse_qs, quote, unquote, urlsplit

from web_server import WebServer

LARGE = 1_000_000


def git_name(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


class Hub:
    """One repository: ``commits`` by their name, ``refs`` by branch and tag, and who may see it."""

    def __init__(self, repository="org/minilm"):
        self.repository = repository
        self.commits = {}
        self.refs = {}
        self.private = False
        self.gated = False
        self.token = "hf_secret"
        self.page_size = 1000
        self.web, self.storage = WebServer(), WebServer()
        self.web.api = self.answered
        self.storage.etags = False
        self.uses = 1000
        self._left = {}
        self.storage.refuse = self.expired

    @property
    def url(self):
        return self.web.url

    def commit(self, files, *refs):
        name = hashlib.sha1(repr(sorted(files.items())).encode(), usedforsecurity=False).hexdigest()
        self.commits[name] = files
        self.refs |= dict.fromkeys(refs, name)
        return name

    def close(self):
        self.web.close()
        self.storage.close()

    def expired(self, path, headers):
        """Deny a signature after its last use."""
        self._left[path] = self._left.get(path, self.uses) - 1
        return (403, {}, b"") if self._left[path] < 0 else None

    def answered(self, address, headers):
        url = urlsplit(address)
        path, query = url.path.lstrip("/"), parse_qs(url.query)
        api, files = f"api/models/{self.repository}", f"{self.repository}/resolve/"
        if not path.startswith((f"{api}/", files)):
            return self.error(401, "RepoNotFound")
        if self.private and headers.get("Authorization") != f"Bearer {self.token}":
            return self.error(401, "RepoNotFound")
        if path.startswith(files):
            return self.file(path.removeprefix(files), headers)
        kind, _, rest = path.removeprefix(f"{api}/").partition("/")
        return {"refs": self.listed_refs, "revision": self.revision, "tree": self.tree}[kind](unquote(rest), query)

    @staticmethod
    def error(status, code):
        return status, {"X-Error-Code": code, "X-Error-Message": code}, json.dumps({"error": code}).encode()

    @staticmethod
    def json(document, **headers):
        return 200, {"Content-Type": "application/json", **headers}, json.dumps(document).encode()

    def listed_refs(self, _rest, _query):
        rows = [{"name": one, "ref": f"refs/heads/{one}", "targetCommit": name} for one, name in self.refs.items()]
        return self.json({"branches": rows, "tags": [], "converts": []})

    def revision(self, wanted, _query):
        name = self.refs.get(wanted, wanted)
        if name not in self.commits:
            return self.error(404, "RevisionNotFound")
        siblings = [{"rfilename": path} for path in self.commits[name]]
        about = {"id": self.repository, "modelId": self.repository, "sha": name, "private": self.private}
        return self.json(about | {"gated": "auto" if self.gated else False, "siblings": siblings, "tags": []})

    def tree(self, wanted, query):
        name = self.refs.get(wanted, wanted)
        if name not in self.commits:
            return self.error(404, "RevisionNotFound")
        rows = [self.row(path, data) for path, data in sorted(self.commits[name].items())]
        folders = {path.rpartition("/")[0] for path in self.commits[name]} - {""}
        rows += [{"type": "directory", "path": folder, "size": 0, "oid": "0" * 40} for folder in sorted(folders)]
        start = int(query.get("cursor", ["0"])[0])
        end = start + self.page_size
        more = f'<{self.url}/api/models/{self.repository}/tree/{wanted}?recursive=true&cursor={end}>; rel="next"'
        return self.json(rows[start:end], **({"Link": more} if end < len(rows) else {}))

    @staticmethod
    def row(path, data):
        large = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        row = {"type": "file", "path": path, "size": len(data), "oid": git_name(data)}
        return row | ({"lfs": large} if len(data) >= LARGE else {})

    def file(self, rest, headers):
        name, _, path = rest.partition("/")
        files = self.commits.get(self.refs.get(name, name), {})
        if unquote(path) not in files:
            return self.error(404, "EntryNotFound")
        if self.gated and headers.get("Authorization") != f"Bearer {self.token}":
            return self.error(403 if "Authorization" in headers else 401, "GatedRepo")
        data = files[unquote(path)]
        if len(data) < LARGE:
            said = {"ETag": f'"{git_name(data)}"', "X-Repo-Commit": self.refs.get(name, name)}
            return 200, said, data
        digest = hashlib.sha256(data).hexdigest()
        signed = f"{digest}/{len(self._left)}-{len(self.storage.requests)}"
        self.storage.files[signed] = data
        said = {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(data)), "X-Repo-Commit": name, "ETag": '"x"'}
        return 302, said | {"Location": f"{self.storage.url}/{quote(signed)}?X-Amz-Signature=secret"}, b""
