"""Where everything lies, in a bucket and on a claim, as pure functions.

In a bucket, under the prefix of its URL::

    <model>/data/<upload>/<path>                        plain objects; <upload> is fixed before the first byte
    <model>/revisions/<64 hex>/manifest.json            names the bytes; create-only
    <model>/revisions/<64 hex>/manifest.json.sig        a model-signing bundle over it, where somebody has signed it
    <model>/revisions/<64 hex>/locations/<upload>.json  written last: says where the bytes are
    <model>/revisions/<64 hex>/condemned.json           its bytes go if nothing uses it; they are whole until then
    <model>/revisions/<64 hex>/doomed/<upload>.json     a location that was taken away, while its objects are
    <model>/fetch/<64 hex>.json                         what a pod was told to fetch, named by its own digest
    <model>/digests/<64 hex>.json                       a publisher's signature and every file's SHA-256, named so too

On a claim, under its root::

    <model>/<64 hex>.<n>/                       a snapshot: READY.json, manifest.json, files/...
    .modelberth/staging/<model>/<64 hex>/       journal/<attempt> and snapshot/: being fetched, never served
    .modelberth/lock/<model>/                   one writer at a time, only to save work
    .modelberth/damaged/<model>/<64 hex>.<n>.json   what a verify found wrong with a snapshot: no sync returns it
    .modelberth/condemned/<model>/<64 hex>.<n>.json     a snapshot that goes if nothing uses it; it stays where it is
    .modelberth/condemned/<model>/<64 hex>.<n>.taken    the same, and it is on its way: nobody lifts it beside a prune
    .modelberth/trash/<model>/<64 hex>.<n>/     out of sight, to be renamed back if it is used after all
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from modelberth.core import paths
from modelberth.core.failure import ExitCode, Failure

if TYPE_CHECKING:
    from modelberth.core.digest import Digest
    from modelberth.core.revision import Snapshot

HIDDEN = paths.RESERVED
READY = "READY.json"
MANIFEST = "manifest.json"
FILES = "files"
JOURNAL = "journal"
SNAPSHOT = "snapshot"

_UPLOAD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,221}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class BucketUrl:
    """``s3://bucket/prefix``, ``gs://bucket/prefix`` or ``file:///dir``; the prefix is the one above ``<model>``.

    :param bucket: The bucket's name; for ``file`` the absolute directory.
    :param prefix: Empty, or without slash at either end.
    """

    scheme: str
    bucket: str
    prefix: str = ""

    @classmethod
    def parse(cls, text: str) -> BucketUrl:
        """Return the bucket that *text* names.

        :raises Failure: *text* has another form.
        """
        refused = Failure(
            ExitCode.REFUSED,
            f"Not the URL of a bucket: {text!r}; expected s3://bucket/prefix, gs://bucket/prefix or file:///dir.",
        )
        try:
            url = urlsplit(text)
        except ValueError as error:
            raise refused from error
        prefix = url.path.strip("/")
        plain = not url.query and not url.fragment and (not prefix or not paths.refusal(prefix))
        if plain and url.scheme in ("s3", "gs") and _BUCKET.fullmatch(url.netloc):
            return cls(url.scheme, url.netloc, prefix)
        if plain and url.scheme == "file" and not url.netloc and prefix:
            return cls("file", f"/{prefix}")
        raise refused

    def __str__(self) -> str:
        if self.scheme == "file":
            return f"file://{self.bucket}"
        return f"{self.scheme}://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    def key(self, *parts: str) -> str:
        """Return the key of *parts* under the prefix."""
        return "/".join((self.prefix, *parts) if self.prefix else parts)


def key_prefix(url: BucketUrl, prefix: BucketUrl) -> str:
    """Return what the keys under *prefix* begin with in the bucket of *url*: a directory's, with its slash.

    | url | prefix | answer |
    |---|---|---|
    | s3://b/models | s3://b/raw/minilm | raw/minilm/ |
    | s3://b/models | s3://b | the empty one: everything |
    | file:///d | file:///d/raw | raw/ |
    | s3://b/models | s3://c/raw, gs://b/raw | refused: another bucket |

    :raises Failure: It lies in another bucket.
    """
    if (url.scheme, url.bucket) == (prefix.scheme, prefix.bucket):
        return f"{prefix.prefix}/" if prefix.prefix else ""
    if url.scheme == prefix.scheme == "file" and prefix.bucket.startswith(f"{url.bucket}/"):
        return prefix.bucket.removeprefix(f"{url.bucket}/") + "/"
    raise Failure(
        ExitCode.REFUSED,
        f"Prefix {str(prefix)!r} lies in another bucket than {str(url)!r}: a revision's objects lie in one bucket. "
        "Give a prefix of the same bucket, or upload the model.",
    )


def adopted_prefix(url: BucketUrl, text: str) -> str:
    """Return what keys begin with that *text* allows: the URL of a prefix in the bucket of *url*, or its keys' own.

    :raises Failure: It lies in another bucket, or allows everything.
    """
    prefix = key_prefix(url, BucketUrl.parse(text)) if "://" in text else f"{text.strip('/')}/"
    if prefix in ("", "/"):
        raise Failure(ExitCode.REFUSED, f"Prefix {text!r} would allow every key of the bucket: name a directory in it.")
    return prefix


def upload_name(text: str) -> str:
    """Return *text* if it can name an upload.

    :raises Failure: It cannot.
    """
    if _UPLOAD.fullmatch(text):
        return text
    raise Failure(
        ExitCode.REFUSED,
        f"Not the name of an upload: {text!r}; expected 1 to 128 of letters, digits, '.', '_', '-', the first a letter "
        "or digit.",
    )


def data_prefix(url: BucketUrl, model: str, upload: str | None = None) -> str:
    """Return what the keys of an upload's (or of every upload's) objects begin with."""
    return url.key(model, "data", "") if upload is None else url.key(model, "data", upload, "")


def data_key(url: BucketUrl, model: str, upload: str, path: str) -> str:
    """Return the key of a file's bytes."""
    return url.key(model, "data", upload, path)


def revisions_prefix(url: BucketUrl, model: str) -> str:
    """Return what the keys of all that is known of the model's revisions begin with."""
    return url.key(model, "revisions", "")


def manifest_key(url: BucketUrl, model: str, digest: Digest) -> str:
    """Return the key of a revision's manifest."""
    return url.key(model, "revisions", digest.hex, MANIFEST)


def signature_key(url: BucketUrl, model: str, digest: Digest) -> str:
    """Return the key of the bundle that signs a revision."""
    return f"{manifest_key(url, model, digest)}.sig"


def locations_prefix(url: BucketUrl, model: str, digest: Digest) -> str:
    """Return what the keys of a revision's locations begin with."""
    return url.key(model, "revisions", digest.hex, "locations", "")


def location_key(url: BucketUrl, model: str, digest: Digest, upload: str) -> str:
    """Return the key of one location."""
    return f"{locations_prefix(url, model, digest)}{upload}.json"


def condemned_key(url: BucketUrl, model: str, digest: Digest) -> str:
    """Return the key of the mark by which a revision's bytes are condemned."""
    return url.key(model, "revisions", digest.hex, "condemned.json")


def doomed_prefix(url: BucketUrl, model: str, digest: Digest) -> str:
    """Return what the keys of a revision's locations begin with whose objects are being removed."""
    return url.key(model, "revisions", digest.hex, "doomed", "")


def fetch_list_key(model: str, digest: Digest) -> str:
    """Return where the fetch list of that digest is, below the bucket's prefix."""
    return f"{model}/fetch/{digest.hex}.json"


def digests_key(model: str, digest: Digest) -> str:
    """Return where a publisher's signature and the files' SHA-256 of that digest are, below the bucket's prefix."""
    return f"{model}/digests/{digest.hex}.json"


def snapshot_path(model: str, snapshot: Snapshot) -> str:
    """Return where a snapshot lies on a claim, relative to its root."""
    return f"{model}/{snapshot}"


def staging_path(model: str, digest: Digest) -> str:
    """Return where a revision is fetched to, relative to the claim's root."""
    return f"{HIDDEN}/staging/{model}/{digest.hex}"


def damaged_path(model: str) -> str:
    """Return where the records of a model's damaged snapshots are, relative to the claim's root."""
    return f"{HIDDEN}/damaged/{model}"


def damage_path(model: str, snapshot: Snapshot) -> str:
    """Return the record that keeps a damaged snapshot from being returned, relative to the claim's root."""
    return f"{damaged_path(model)}/{snapshot}.json"


def lock_path(model: str) -> str:
    """Return the directory whose existence is the model's lock, relative to the claim's root."""
    return f"{HIDDEN}/lock/{model}"


def condemned_path(model: str) -> str:
    """Return where the marks of a model's condemned snapshots are, relative to the claim's root."""
    return f"{HIDDEN}/condemned/{model}"


def mark_path(model: str, snapshot: Snapshot) -> str:
    """Return the mark by which a snapshot is condemned, relative to the claim's root."""
    return f"{condemned_path(model)}/{snapshot}.json"


def taken_path(model: str, snapshot: Snapshot) -> str:
    """Return what the mark is renamed to when the snapshot is on its way, relative to the claim's root."""
    return f"{condemned_path(model)}/{snapshot}.taken"


def trash_path(model: str) -> str:
    """Return where a model's snapshots are out of sight, relative to the claim's root."""
    return f"{HIDDEN}/trash/{model}"
