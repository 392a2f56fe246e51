r"""The location: where in the bucket a revision's objects are. Immutable, one a file, written last.

::

    {"schema": 1, "revision": "minilm@sha256:<64 hex>", "upload": "20261122t170000z-0123456789", "owned": true,
     "checksum": "crc64nvme",
     "files": [{"path": "run.sh", "key": "models/minilm/data/<upload>/run.sh", "size": 120,
                "checksum": "<base64>", "etag": "\"9bb5...\"", "version": "<versionId or generation>"}]}

``checksum`` is the store's own of the whole object, equal to the one computed while sending. ``etag`` and ``version``
(absent where the store has none) pin the object: a listing is enough to see that it is still the one that was sent.
``owned`` is false for adopted objects, which were there before and are never deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelberth.core import canonical, paths
from modelberth.core.chunks import CHUNK_SIZE
from modelberth.core.failure import Failure
from modelberth.core.layout import upload_name
from modelberth.core.manifest import MOST_CHUNKS, MOST_FILES, Manifest
from modelberth.core.refusing import refuse_any, size_problems
from modelberth.core.revision import Revision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LONGEST_KEY = 1024
"""Bytes that both kinds of store take."""

CHECKSUMS = ("crc64nvme", "crc32c")
_KEYS = {"schema", "revision", "upload", "owned", "checksum", "files"}
_PLACE_KEYS = {"path", "key", "size", "checksum"}
_TEXTS = ("path", "key", "checksum", "etag", "version")


@dataclass(frozen=True, slots=True)
class Place:
    """Where one file's bytes are."""

    path: str
    key: str
    size: int
    checksum: str
    etag: str = ""
    version: str = ""

    def document(self) -> dict[str, Any]:
        """Return the place as it stands in the location."""
        document = {"path": self.path, "key": self.key, "size": self.size, "checksum": self.checksum}
        optional = {"etag": self.etag, "version": self.version}
        return document | {name: value for name, value in optional.items() if value}


@dataclass(frozen=True, slots=True)
class Location:
    """Where a revision's bytes are."""

    revision: Revision
    upload: str
    files: tuple[Place, ...]
    checksum: str
    owned: bool = True

    def dump(self) -> bytes:
        """Return the canonical form, which ``parse`` reads back."""
        return canonical.dump(
            {
                "schema": 1,
                "revision": str(self.revision),
                "upload": self.upload,
                "owned": self.owned,
                "checksum": self.checksum,
                "files": [place.document() for place in self.files],
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Location:
        """Return the location that *data* is.

        :raises Failure: *data* is anything but one canonical location.
        """
        problems = _size_problems(data)
        try:
            document = None if problems else canonical.load(data)
        except ValueError as error:
            problems = [str(error)]
        refuse_any("location", problems or _document_problems(document))
        assert isinstance(document, dict)  # noqa: S101 - for mypy: _document_problems has said so
        revision, places = Revision.parse(document["revision"]), tuple(Place(**item) for item in document["files"])
        return cls(revision, document["upload"], places, document["checksum"], document["owned"])


def disagreements(
    location: Location, revision: Revision, manifest: Manifest, allowed: Iterable[str], adopted: Iterable[str] = ()
) -> list[str]:
    """Return what in *location* does not fit the revision, its manifest, or the prefixes that keys may have.

    | location | answer |
    |---|---|
    | names another revision | that |
    | does not list exactly the manifest's files, each with its size | each file |
    | a key lies under none of the *allowed* and *adopted* prefixes, or is refused as a path would be | each key |
    | a key lies under none of the *allowed* ones, and the location claims to own it | each key |
    | anything else | none |

    :param allowed: Where the model's own data is.
    :param adopted: Where objects may be that were there before.
    """
    problems = []
    if location.revision != revision:
        problems.append(f"It is of {location.revision}; expected {revision}.")
    sizes = {entry.path: entry.size for entry in manifest.files}
    listed = {place.path: place.size for place in location.files}
    if len(listed) != len(location.files):
        problems.append("It lists a path twice.")
    for path, _ in sorted(sizes.items() ^ listed.items()):
        problems.append(f"File {path!r}: {listed.get(path)} bytes listed; expected {sizes.get(path)}.")
    prefixes = tuple(allowed) if location.owned else (*allowed, *adopted)
    problems += [
        f"Key {place.key!r} lies under none of {prefixes}. {_ADVICE[location.owned]}"
        for place in location.files
        if not place.key.startswith(prefixes)
    ]
    problems += [
        f"Key {place.key!r} {why}." for place in location.files if (why := paths.refusal(place.key, LONGEST_KEY))
    ]
    return list(dict.fromkeys(problems))


_ADVICE = {
    True: "An upload writes nowhere else: find out who else writes to the bucket.",
    False: "It was adopted: if that is meant, allow its prefix with --adopted.",
}

Listed = tuple[int, str, str, str]
"""What a listing says of an object: size, etag, version, checksum; empty where it does not say."""


def lost(location: Location, listed: Mapping[str, Listed]) -> tuple[list[Place], list[Place]]:
    """Return the places of *location* whose object is missing, and those whose object is another one now.

    | listed | answer |
    |---|---|
    | no object with the key | missing |
    | another size; another etag, version or checksum where both sides have one | another |
    | anything else | there |
    """
    missing = [place for place in location.files if place.key not in listed]
    other = [place for place in location.files if place.key in listed and _differs(place, listed[place.key])]
    return missing, other


def adopted_as(location: Location, listed: Mapping[str, Listed]) -> bool:
    """Say whether *location* is an adoption of exactly the objects *listed*, as they are.

    | location | answer |
    |---|---|
    | owned | no |
    | of more, fewer or other keys | no |
    | of an object that has another size, etag, version or checksum now | no |
    | anything else | yes |
    """
    same = {place.key for place in location.files} == listed.keys()
    return not location.owned and same and lost(location, listed) == ([], [])


def _differs(place: Place, listed: Listed) -> bool:
    size, *marks = listed
    ours = (place.etag, place.version, place.checksum)
    return size != place.size or any(
        mine and theirs and mine != theirs for mine, theirs in zip(ours, marks, strict=True)
    )


def _size_problems(data: bytes) -> list[str]:
    return size_problems(data, {b"{": MOST_FILES + 1, b"[": MOST_FILES + 1, b",": 7 * MOST_FILES})


def _document_problems(document: Any) -> list[str]:
    if not isinstance(document, dict) or document.keys() != _KEYS:
        return [f"It must be an object with the keys {sorted(_KEYS)}."]
    problems = []
    if document["schema"] != 1 or type(document["schema"]) is not int:
        problems.append("Its schema is not 1, the one that this program knows.")
    if document["checksum"] not in CHECKSUMS:
        problems.append(f"Its checksum is none of {list(CHECKSUMS)}.")
    if type(document["owned"]) is not bool:
        problems.append("Its 'owned' is neither true nor false.")
    problems += _name_problems(document)
    files = document["files"]
    if not isinstance(files, list) or not files or not all(map(_is_place, files)):
        problems.append("Its files are not a list of places with path, key, size, checksum and no unknown key.")
    return problems


def _name_problems(document: dict[str, Any]) -> list[str]:
    try:
        Revision.parse(document["revision"])
        upload_name(document["upload"])
    except (ValueError, TypeError, AttributeError, Failure) as error:
        return [f"Its revision or upload is not one: {error}"]
    return []


def _is_place(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and _PLACE_KEYS <= item.keys() <= {*_TEXTS, "size"}
        and all(isinstance(item[name], str) and item[name] for name in _TEXTS if name in item)
        and type(item["size"]) is int
        and 0 <= item["size"] <= MOST_CHUNKS * CHUNK_SIZE
    )
