"""What loading a file could run: what the pickles in it import, as far as that can be known without loading it.

m.pkl, weights.xyz     followed as a pickle (pickles.py); picklescan knows which imports are dangerous
m.pt, m.npz, m.keras   a zip: each member is looked at as a file is; an archive in it is not opened
m.npy                  a pickle of objects may follow its header
m.joblib (gzip), .nemo an archive that is no zip: not opened, and that is a problem
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from modelberth.core.refusing import quoted
from modelberth.engine.pickles import follow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from picklescan.scanner import Global  # type: ignore[import-untyped]

_PICKLES = {".pkl", ".pickle", ".p", ".joblib", ".dill", ".pt", ".pth", ".ckpt"}
"""Names that say pickle or PyTorch archive, and nothing else."""

_MAYBE = {".bin", ".dat", ".data", ".npy", ".npz", ".zip", ".mar", ".model", ".keras", ".pt2"}
"""Names that files without a pickle have as well."""

_OTHERS = {".safetensors", ".gguf", ".onnx"}
"""Names whose loaders know no pickle, and whose first bytes, a length, may look like one's."""

_ARCHIVES = {
    ".tar",
    ".nemo",
    ".tgz",
    ".gz",
    ".bz2",
    ".tbz2",
    ".xz",
    ".txz",
    ".lzma",
    ".lz4",
    ".zst",
    ".z",
    ".7z",
    ".rar",
}

_PICKLE = re.compile(rb"\x80[\x00-\x05]")
_ZIP = b"PK\x03\x04"
_NUMPY = b"\x93NUMPY"
_ARCHIVE = re.compile(
    rb"\x1f\x8b\x08|BZh[1-9]1AY&SY|\xfd7zXZ\x00|7z\xbc\xaf\x27\x1c|\x28\xb5\x2f\xfd|\x04\x22\x4d\x18|Rar!\x1a\x07|.{257}ustar",
    re.DOTALL,
)
"""gzip, bzip2, xz, 7z, Zstandard, LZ4, RAR; tar has a header of its first member."""

_SHORT_MAGIC = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x5d\x00\x00")
"""zlib and LZMA, which joblib unpacks by itself: too short to be looked for in every file."""

_START = 512
_LONGEST_SHOWN = 60
_BUFFER = _LONGEST_HEADER = 64 * 1024
_WORDS = {"Dangerous": "dangerous", "Suspicious": "unknown"}
_CANNOT = "cannot be scanned for what it would run"


def problem(stream: io.BufferedReader, path: str, size: int) -> str | None:
    """Return what is wrong with loading the file at *path* of a model, as the end of a sentence about it.

    :param size: Of the file, bytes.
    """
    suffix = PurePosixPath(path).suffix.lower()
    try:
        if _start(stream).startswith(_ZIP):
            return _zipped(stream)
        if found := _plain(stream, suffix, size, surely=suffix not in _OTHERS):
            return found
        # Some loaders look for a zip's end only, and take whatever is before it.
        return _zipped(stream) if suffix in _PICKLES | _MAYBE and zipfile.is_zipfile(stream) else None
    except Exception as error:  # zipfile's, zlib's, struct's, ...: hostile bytes do what they like
        return f"{_CANNOT} ({type(error).__name__})"


def _start(stream: io.BufferedReader) -> bytes:
    return stream.peek(_START)[:_START]


def _plain(stream: io.BufferedReader, suffix: str, size: int, *, surely: bool) -> str | None:
    """Return what is wrong with what is no zip.

    | is | imports | ends well | answer |
    |---|---|---|---|
    | an archive by its first bytes or its name | - | - | that it cannot be looked into |
    | a pickle by its name, or *surely* by its first bytes | only harmless | no | that it cannot be scanned |
    | any | any | too large to be followed | that it cannot be scanned |
    | a pickle by its first bytes, or by a name that pickles have | dangerous or unknown | any | these |
    | anything else | dangerous | any | these |
    | anything else | unknown | any | nothing: text that begins with "c" is an import, to an unpickler |
    | anything else | only harmless | any | nothing: an unpickler would not get further either |

    :param surely: Its first bytes alone say that it is a pickle: not so in a zip, where PyTorch keeps thousands of
        tensors without a name, of which some begin so by chance.
    """
    start = _start(stream)
    if suffix in _ARCHIVES or _ARCHIVE.match(start) or (suffix in _MAYBE and _SHORT_MAGIC.match(start)):
        return "is an archive that cannot be looked into"
    begins = bool(_PICKLE.match(start))
    must_end = suffix in _PICKLES or (surely and begins)
    if start.startswith(_NUMPY):
        must_end = begins = _behind_numpy(stream)
    found = follow(stream, size)
    bad = _bad(found.imports, path_says=begins or suffix in _PICKLES | _MAYBE)
    if bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        rest = "" if found.whole else "; what follows cannot be scanned"
        return f"imports {', '.join(bad[:3])}{more} when it is loaded{rest}"
    if found.too_large:
        return f"{_CANNOT}: it is too large"
    return _CANNOT if must_end and not found.whole else None


def _behind_numpy(stream: io.BufferedReader) -> bool:
    """Go to what follows the header of a .npy file, and return whether it says that objects do, which are pickled."""
    version = stream.read(8)[6]
    form = "<H" if version == 1 else "<I"
    (length,) = struct.unpack(form, stream.read(struct.calcsize(form)))
    header = stream.read(min(length, _LONGEST_HEADER))
    stream.seek(length - len(header), io.SEEK_CUR)
    return b"O" in header


def _zipped(stream: io.BufferedReader) -> str | None:
    from picklescan.relaxed_zipfile import RelaxedZipFile  # type: ignore[import-untyped]  # reads what PyTorch reads

    with RelaxedZipFile(stream) as archive:
        for info in archive.infolist():
            with archive.open(info) as opened:
                if found := _member(io.BufferedReader(opened, _BUFFER), info):
                    return f"holds {quoted(info.filename)}, which {found}"
    return None


def _member(stream: io.BufferedReader, info: zipfile.ZipInfo) -> str | None:
    if _start(stream).startswith(_ZIP):
        return "is an archive that cannot be looked into"
    return _plain(stream, PurePosixPath(info.filename).suffix.lower(), info.file_size, surely=False)


def _bad(imports: Iterable[tuple[str, str]], *, path_says: bool) -> list[str]:
    """Return the imports that picklescan does not know to be harmless, asked by a pickle that does these and no more.

    :param path_says: Unknown ones count as well.
    """
    if not imports:
        return []
    from picklescan.scanner import scan_pickle_bytes  # 0.2 s

    asked = b"".join(_pickled(module) + _pickled(name) + b"\x93" for module, name in imports)
    found = scan_pickle_bytes(io.BytesIO(asked + b"."), "", multiple_pickles=False).globals
    shown = {"Dangerous", "Suspicious"} if path_says else {"Dangerous"}
    return sorted(f"{_shown(one)} ({_WORDS[one.safety.name]})" for one in found if one.safety.name in shown)


def _shown(one: Global) -> str:
    name = f"{one.module}.{one.name}"
    return name if len(name) <= _LONGEST_SHOWN and name.isprintable() else quoted(name)


def _pickled(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data
