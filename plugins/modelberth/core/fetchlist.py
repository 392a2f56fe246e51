"""The fetch list: a model's files by where each is to be had, for a source that is no directory.

::

    {"schema": 1,
     "files": [{"path": "model.safetensors", "url": "https://host/model.safetensors", "size": 90868376,
                "sha256": "<64 hex>", "etag": "9bb5...", "version": "<versionId or generation>"},
               {"path": "run.sh", "url": "s3://bucket/run.sh", "size": 120, "executable": true}],
     "empty_dirs": ["1"],
     "archives": [{"path": "more.tar.gz", "url": "https://host/more.tar.gz", "size": 1203, "sha256": "<64 hex>",
                   "format": "tar", "into": "sub", "most": 50000}]}

``url`` is ``http(s)://``, ``s3://bucket/key`` or ``gs://bucket/key``; ``version`` is for the latter two, and
``modified`` (a Last-Modified) pins what a web server gives no ``etag`` for. All but ``schema``, ``files``, ``path``,
``url`` and ``size`` may be absent. What is in an archive (``tar``, compressed or not, or ``zip``) becomes files below
``into``; with them all files of the list, of earlier archives too, have at most ``most`` bytes. Its own ``path`` is for
messages. A list comes from outside: it is bounded
before it is parsed, and everything that is wrong with it is said at once.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from modelberth.core import canonical, paths
from modelberth.core.chunks import CHUNK_SIZE
from modelberth.core.failure import ExitCode, Failure
from modelberth.core.layout import BucketUrl
from modelberth.core.manifest import MOST_CHUNKS, MOST_FILES
from modelberth.core.refusing import quoted, refuse_any, size_problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_KEYS = {"schema", "files"}
_MORE = {"empty_dirs", "archives"}
_FILE_KEYS = {"path", "url", "size"}
_ARCHIVE_KEYS = {"format", "most"}
_OPTIONAL = {"sha256", "etag", "modified", "version", "executable", "headers"}
_HEX = re.compile(r"[0-9a-f]{64}")
_PRINTABLE = re.compile(r"[\x21-\x7e]{1,4096}")
_HEADER = re.compile(r"[Xx]-[A-Za-z-]{1,64}")
_TAG = re.compile(r"[\x20-\x7e]{1,1024}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One file of the list.

    :param size: Bytes.
    :param sha256: 64 hex digits, empty when not known, as are *etag*, *modified* and *version*.
    :param modified: The Last-Modified of a web server, as it says it.
    :param headers: What is sent to a web server besides; only names that begin with ``X-``.
    """

    path: str
    url: str
    size: int
    sha256: str = ""
    etag: str = ""
    version: str = ""
    modified: str = ""
    executable: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The URL without its query, which may hold a signature: for messages."""
        return repr(self.url.partition("?")[0])

    @property
    def document(self) -> dict[str, Any]:
        """What a list says of it."""
        said = {key: value for key in _OPTIONAL if (value := getattr(self, key))}
        return {"path": self.path, "url": self.url, "size": self.size, **said}


@dataclass(frozen=True, slots=True)
class Archive:
    """Files in one.

    :param format: ``tar`` or ``zip``.
    :param most: Bytes that all files of the list may have together when these are among them: a list that is made of
        one bound says it with each.
    :param into: Below which directory they go; empty for the model's own.
    """

    file: Wanted
    format: str
    most: int
    into: str = ""

    @property
    def document(self) -> dict[str, Any]:
        """What a list says of it."""
        into = {"into": self.into} if self.into else {}
        return self.file.document | {"format": self.format, "most": self.most} | into


@dataclass(frozen=True, slots=True)
class FetchList:
    """Where a model's files are to be had, sorted by path, and the directories that hold nothing."""

    files: tuple[Wanted, ...]
    empty_dirs: tuple[str, ...] = ()
    archives: tuple[Archive, ...] = ()

    @classmethod
    def of(cls, files: Iterable[Wanted], empty_dirs: Iterable[str] = (), archives: Iterable[Archive] = ()) -> FetchList:
        """Return the list of *files*, held to all that a list from outside is held to.

        :raises Failure: It is not sound; all that is wrong is named.
        """
        return cls.parse(cls(tuple(files), tuple(empty_dirs), tuple(archives)).dump())

    def dump(self) -> bytes:
        """Return the list as a file; its digest is its name."""
        document: dict[str, Any] = {"schema": 1, "files": [file.document for file in self.files]}
        more = {"empty_dirs": list(self.empty_dirs), "archives": [item.document for item in self.archives]}
        return canonical.dump(document | {key: value for key, value in more.items() if value})

    @classmethod
    def parse(cls, data: bytes) -> FetchList:
        """Return the list that *data* is.

        :raises Failure: *data* is anything but a sound list; all that is wrong is named.
        """
        refuse_any("fetch list", _size_problems(data))
        document = _loaded(data)
        refuse_any("fetch list", _document_problems(document))
        files = sorted((Wanted(**item) for item in document["files"]), key=lambda file: file.path)
        archives = [_archive(item) for item in document.get("archives", ())]
        found = cls(tuple(files), tuple(sorted(document.get("empty_dirs", ()))), tuple(archives))
        refuse_any("fetch list", _path_problems(found))
        return found


def object_of(url: str) -> tuple[BucketUrl, str]:
    """Return bucket and key of an ``s3`` or ``gs`` URL; what follows the bucket is the key, as it is.

    :raises Failure: It names no object.
    """
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    found = BucketUrl.parse(f"{scheme}://{bucket}")
    if why := paths.refusal(key, 1024):
        raise Failure(ExitCode.REFUSED, f"Key {key!r} {why}.")
    return found, key


def _size_problems(data: bytes) -> list[str]:
    return size_problems(data, {b"{": 2 * MOST_FILES + 1, b"[": 10_000, b",": 10 * MOST_FILES})


def _loaded(data: bytes) -> Any:
    repeated: list[str] = []

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        times = Counter(name for name, _ in pairs)
        repeated.extend(f"Key {quoted(name)} is repeated." for name in sorted(times) if times[name] > 1)
        return dict(pairs)

    try:
        document = json.loads(data.decode(), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Failure(ExitCode.REFUSED, f"The fetch list was refused: It is not JSON in UTF-8: {why}.") from error
    refuse_any("fetch list", repeated)
    return document


def _document_problems(document: Any) -> list[str]:
    if not isinstance(document, dict) or not _KEYS <= document.keys() <= _KEYS | _MORE:
        return [f"It must be an object with the keys {sorted(_KEYS)} and, where needed, {sorted(_MORE)}."]
    problems = []
    if document["schema"] != 1 or type(document["schema"]) is not int:
        problems.append(f"Its schema is {quoted(document['schema'])}; this program knows 1.")
    dirs = document.get("empty_dirs", [])
    if not isinstance(dirs, list) or not all(isinstance(path, str) for path in dirs):
        problems.append("Its empty_dirs is not a list of paths.")
    archives = document.get("archives", [])
    if not isinstance(archives, list):
        return [*problems, "Its archives is not a list."]
    if not isinstance(document["files"], list) or not document["files"] + archives:
        return [*problems, "Its files is not a list of one file or more."]
    problems += [text for item in archives for text in _archive_problems(item)]
    return problems + [text for item in document["files"] for text in _file_problems(item)]


def _archive_problems(item: Any) -> list[str]:
    if not isinstance(item, dict) or not item.keys() >= _ARCHIVE_KEYS:
        return [f"An archive is {quoted(item)}; expected a file with {sorted(_ARCHIVE_KEYS)}."]
    problems = _file_problems({key: value for key, value in item.items() if key not in _ARCHIVE_KEYS | {"into"}})
    if item["format"] not in ("tar", "zip"):
        problems.append(f"An archive's format is {quoted(item['format'])}; expected 'tar' or 'zip'.")
    if type(item["most"]) is not int or item["most"] < 0:
        problems.append(f"An archive's most is {quoted(item['most'])}; expected bytes.")
    into = item.get("into", "x")
    if why := paths.refusal(into) if isinstance(into, str) else "is no text":
        problems.append(f"Path {quoted(into)} {why}.")
    return problems


def _archive(item: dict[str, Any]) -> Archive:
    own = {key: item[key] for key in (*_ARCHIVE_KEYS, "into") if key in item}
    return Archive(Wanted(**{key: value for key, value in item.items() if key not in own}), **own)


def _file_problems(item: Any) -> list[str]:
    if not isinstance(item, dict) or not _FILE_KEYS <= item.keys() <= _FILE_KEYS | _OPTIONAL:
        return [f"A file is {quoted(item)}; expected an object with {sorted(_FILE_KEYS)} and of {sorted(_OPTIONAL)}."]
    if not isinstance(item["path"], str):
        return [f"A path is {quoted(item['path'])}; expected text."]
    problems, name = [], quoted(item["path"])
    if type(item["size"]) is not int or not 0 <= item["size"] <= MOST_CHUNKS * CHUNK_SIZE:
        problems.append(f"The size of {name} is {quoted(item['size'])}; expected bytes.")
    if not _fits(_HEX, item.get("sha256", "0" * 64)):
        problems.append(f"The sha256 of {name} is {quoted(item['sha256'])}; expected 64 lower-case hex digits.")
    problems += [
        f"The {tag} of {name} is {quoted(item[tag])}; expected printable text."
        for tag in ("etag", "modified", "version")
        if not _fits(_TAG, item.get(tag, "x"))
    ]
    if not _are_headers(item.get("headers", {})):
        problems.append(f"The headers of {name} are {quoted(item['headers'])}; expected text by names 'X-...'.")
    if item.get("executable", True) is not True:
        problems.append(f"'executable' of {name} is {quoted(item['executable'])}; it is true or absent.")
    if why := _url_refusal(item["url"], versioned="version" in item):
        problems.append(f"The URL of {name} {why}.")
    return problems


def _are_headers(value: Any) -> bool:
    return isinstance(value, dict) and all(_fits(_HEADER, name) and _fits(_TAG, value[name]) for name in value)


def _fits(form: re.Pattern[str], value: Any) -> bool:
    return isinstance(value, str) and form.fullmatch(value) is not None


def _url_refusal(url: Any, *, versioned: bool) -> str | None:
    """Say why *url* is not accepted; it is not shown, since it may hold a password.

    | url | answer |
    |---|---|
    | no text; over 4,096 characters; for http no printable ASCII (the keys of s3 and gs may be of any script) | form |
    | http(s) without host, with a port that is none, a user, or a fragment; with a version | each |
    | s3, gs without bucket or key, with a key that is refused as a path would be | the bucket's or the key's |
    | another scheme | scheme |
    """
    if not isinstance(url, str) or len(url) > 4096:
        return "is no text of at most 4096 characters"
    if url.startswith(("s3://", "gs://")):
        try:
            object_of(url)
        except Failure as failure:
            return f"names no object: {failure}"
        return None
    if not _PRINTABLE.fullmatch(url):
        return "holds spaces or characters that must be percent-encoded"
    return _web_refusal(url) or ("is of http, which knows no 'version'" if versioned else None)


def _web_refusal(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is none"
    if parts.scheme not in ("http", "https") or not host:
        return "is none of http://, https://, s3:// and gs:// with a host or bucket"
    if "@" in parts.netloc:
        return "holds a user or password: give those in MODELBERTH_FETCH_AUTHORIZATION"
    return "has a fragment (#)" if parts.fragment else None


def _path_problems(found: FetchList) -> list[str]:
    names = [file.path for file in found.files]
    packed = [archive.file.path for archive in found.archives]
    problems = [
        f"Path {path!r} {why}." for path in (*names, *found.empty_dirs, *packed) if (why := paths.refusal(path))
    ]
    if len(names) > MOST_FILES:
        problems.append(f"It has {len(names)} files; at most {MOST_FILES} are accepted.")
    return problems + paths.clashes(names, found.empty_dirs)
