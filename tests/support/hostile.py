"""A hostile corpus: manifests, locations and READY records that must be refused, each named after what is wrong.

Made of one sound document of each kind, with every hostile value in every place, and what is wrong as a whole.
"""

import json

HEX = "ab" * 32
REVISION = "minilm@sha256:" + "0" * 64

VALUES = {
    "null": "null",
    "true": "true",
    "false": "false",
    "minus one": "-1",
    "minus zero": "-0",
    "a float": "1.5",
    "a whole float": "3.0",
    "an exponent": "1e2",
    "1e309": "1e309",
    "NaN": "NaN",
    "minus infinity": "-Infinity",
    "2 ** 63": str(2**63),
    "2 ** 200": str(2**200),
    "10,000 digits": "9" * 10_000,
    "a leading zero": "03",
    "hexadecimal": "0x3",
    "empty text": '""',
    "a lone surrogate": '"\\ud800"',
    "an escaped NUL": '"\\u0000"',
    "an escaped letter": '"\\u0061"',
    "a control character": '"a\x01b"',
    "a bidi override": '"a\u202eb\x1b"',
    "a path out": '"../../etc/passwd"',
    "a list of nothing": "[]",
    "a list of lists": "[[[[]]]]",
    "an object": "{}",
    "an object with a repeated key": '{"a":1,"a":1}',
    "deep": "[" * 5000 + "]" * 5000,
    "nothing": "",
}

PLACE = '{"checksum":"AAAA","etag":"e","key":"k/a","path":"a","size":3,"version":"7"}'
SOUND = {
    "manifest": (
        f'{{"chunk_digest":"blake3","chunk_size":8388608,"empty_dirs":["d"],"files":[{{"chunks":["{HEX}","{HEX}"],'
        '"executable":true,"head":1,"path":"m","size":3}],"schema":1}'
    ),
    "location": (
        f'{{"checksum":"crc64nvme","files":[{PLACE}],"owned":true,"revision":"{REVISION}","schema":1,"upload":"u1"}}'
    ),
    "ready": (
        f'{{"at":"2026-11-22T17:06:26Z","nonce":"{"ab" * 16}","revision":"{REVISION}","schema":1,'
        '"stats":{"a":[1,2,3,4]}}'
    ),
}
PLACES = {
    "manifest": {
        "chunk_digest": '"blake3"',
        "chunk_size": "8388608",
        "empty_dirs": '["d"]',
        "a directory": '"d"',
        "chunks": f'["{HEX}","{HEX}"]',
        "a chunk": f'"{HEX}"',
        "executable": "true",
        "head": '1,"path',
        "path": '"m"',
        "size": "3}",
        "schema": "1}",
    },
    "location": {
        "checksum": '"crc64nvme"',
        "files": f"[{PLACE}]",
        "a place": PLACE,
        "size": "3,",
        "owned": "true",
        "revision": f'"{REVISION}"',
        "schema": "1,",
        "upload": '"u1"',
    },
    "ready": {
        "at": '"2026-11-22T17:06:26Z"',
        "nonce": f'"{"ab" * 16}"',
        "revision": f'"{REVISION}"',
        "schema": "1,",
        "stats": '{"a":[1,2,3,4]}',
        "a row": "[1,2,3,4]",
        "an inode": "4]",
    },
}
FINE = {
    ("manifest", "executable", "true"),
    ("location", "owned", "true"), ("location", "owned", "false"),
    ("ready", "stats", "an object"), ("ready", "an inode", "minus one"), ("ready", "an inode", "2 ** 63"),
    ("ready", "an inode", "2 ** 200"),
}  # fmt: skip
"""A value that is sound in its place."""

WHOLE = {
    "a BOM": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "Latin-1": lambda text: text.replace("1", "é", 1).encode("latin-1"),
    "an overlong slash": lambda text: text.encode().replace(b"m", b"\xc0\xaf", 1),
    "a final newline": lambda text: text.encode() + b"\n",
    "a first space": lambda text: b" " + text.encode(),
    "a final NUL": lambda text: text.encode() + b"\0",
    "a space after a colon": lambda text: text.replace(":", ": ", 1).encode(),
    "Windows' lines": lambda text: text.replace(",", ",\r\n", 1).encode(),
    "a comma too many": lambda text: text.encode()[:-1] + b",}",
    "a bracket too few": lambda text: text.encode()[:-1],
    "half": lambda text: text.encode()[: len(text) // 2],
    "twice": lambda text: text.encode() * 2,
    "in a list": lambda text: b"[" + text.encode() + b"]",
    "a comment": lambda text: text.encode() + b"/**/",
    "another order": lambda text: json.dumps(dict(reversed(json.loads(text).items())), separators=(",", ":")).encode(),
    "a key more": lambda text: text.encode()[:-1] + b',"z":1}',
    "a key with another case": lambda text: text.replace('"schema"', '"Schema"').encode(),
    "a key escaped": lambda text: text.replace('"schema"', '"\\u0073chema"').encode(),
    "a prototype": lambda text: b'{"__proto__":{},' + text.encode()[1:],
    "schema 2": lambda text: text.replace('"schema":1', '"schema":2').encode(),
    "65 MiB": lambda text: text.encode()[:-1] + b" " * (65 * 2**20) + b"}",
    "a million objects": lambda text: text.replace(":[", ":[" + "{}," * 1_000_000, 1).encode(),
    "a million lists": lambda text: text.replace(":[", ":[" + "[]," * 1_000_000, 1).encode(),
    "a hundred thousand brackets": lambda _: b"[" * 100_000,
    "a hundred thousand objects in each other": lambda _: b'{"a":' * 100_000,
    "nothing": lambda _: b"",
}


def corpus(kind):
    """Return name -> bytes of what must be refused as a *kind*."""
    sound, found = SOUND[kind], {f"as a whole: {name}": make(SOUND[kind]) for name, make in WHOLE.items()}
    for place, old in PLACES[kind].items():
        assert sound.count(old) >= 1, (kind, place)
        rest = old.lstrip("0123456789") if old[0].isdigit() else ""
        for name, value in VALUES.items():
            if (kind, place, name) not in FINE:
                found[f"{place}: {name}"] = sound.replace(old, value + rest, 1).encode("utf-8", "surrogatepass")
    return found
