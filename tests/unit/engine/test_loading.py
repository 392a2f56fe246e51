"""What loading a file could run, whatever it is wrapped in; and that files without a pickle raise no alarm."""

import bz2
import gzip
import io
import json
import lzma
import pickle
import random
import struct
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest

from archives import tarred, zipped
from modelberth.engine import loading, opcodes
from unsafe import Evil, Odd

EVIL, EVIL_0, ODD = pickle.dumps(Evil()), pickle.dumps(Evil(), 0), pickle.dumps(Odd())
UNREAD = b"\x80\x02I0x10\n0cposix\nsystem\n(S'true'\ntR."
"""What pickletools does not read and pickle.loads runs."""

HARMLESS = pickle.dumps({"w": [1.0, 2.0]})
SYSTEM, ARCHIVE, CANNOT = (
    "imports posix.system (dangerous)",
    "an archive that cannot be looked into",
    "cannot be scanned",
)


def npy(array):
    found = io.BytesIO()
    np.save(found, array, allow_pickle=True)
    return found.getvalue()


def npz(**arrays):
    found = io.BytesIO()
    np.savez(found, **arrays)
    return found.getvalue()


def safetensors(length):
    header = json.dumps({"__metadata__": {"a": "x" * (length - 27)}}).encode()
    assert len(header) == length
    return struct.pack("<Q", length) + header


def torch(data_pkl, **more):
    return zipped({"archive/data.pkl": data_pkl, "archive/version": b"3\n", "archive/byteorder": b"little"} | more)


def problem(name, data):
    return loading.problem(io.BufferedReader(io.BytesIO(data)), name, len(data))


NUMBERS = np.arange(300, dtype=np.float32)
FINE = {
    "a pickle": ("m.pkl", HARMLESS),
    "a pickle of protocol 0": ("m.pickle", pickle.dumps([1, "a"], 0)),
    "a pickle of arrays' parts": (
        "m.pkl", b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85\x87."),
    "a PyTorch archive": ("m.pt", torch(HARMLESS, **{"archive/data/0": NUMBERS.tobytes()})),
    "a PyTorch archive, compressed": ("m.bin", zipped({"a/data.pkl": HARMLESS}, zipfile.ZIP_DEFLATED)),
    "a tensor that begins like a pickle": ("m.pt", torch(HARMLESS, **{"archive/data/0": b"\x80\x04\xff" + bytes(99)})),
    "TorchScript's code": ("m.pt", torch(HARMLESS, **{"archive/code/m.py": b"class M(Module):\n  x : Tensor\n"})),
    "PyTorch's old format": ("m.pt", pickle.dumps(0x1950A86A20F9469CFC6C, 2) + HARMLESS * 3 + NUMBERS.tobytes()),
    "numpy": ("m.npy", npy(NUMBERS)),
    "numpy that begins like a pickle behind its header": ("m.npy", npy(np.frombuffer(b"\x80\x04\xff\xff" * 9, "<f4"))),
    "numpy's zip": ("m.npz", npz(a=NUMBERS, b=NUMBERS)),
    "Keras": (
        "m.keras", zipped({"config.json": b"{}", "metadata.json": b"{}", "model.weights.h5": b"\x89HDF\r\n\x1a\n"})),
    "a plain zip": ("tokenizer.zip", zipped({"vocab.txt": b"cat\ndog\n", "merges.txt": b"code\nhere\n"})),
    "an empty zip": ("m.zip", zipped({})),
    "a zip that is none": ("m.zip", b"<!doctype html>"),
    "plain weights that are called .bin": ("weights.bin", bytes(range(256)) * 40),
    "safetensors whose length looks like a pickle": ("m.safetensors", safetensors(0x0280)),
    "GGUF": ("m.gguf", b"GGUF" + struct.pack("<IQQ", 3, 0, 0)),
    "ONNX": ("m.onnx", b"\x08\x08\x3a\x00"),
    "JSON": ("tokenizer.json", b'{"a": 1}'),
    "text that begins like an import": ("vocab.txt", b"config\nloads\n"),
    "a table whose first line is long": ("table.csv", b"id," * 200 + b"\n1,2,3\n"),
    "text that begins with PK": ("notes.txt", b"PK is not a zip"),
    "SentencePiece": ("tokenizer.model", b"\n\x0e\n\x05<unk>\x15\x00\x00\x00\x00\x18\x02"),
    "msgpack": ("flax_model.msgpack", b"\x81\xa6params\x80"),
    "HDF5": ("m.h5", b"\x89HDF\r\n\x1a\n" + bytes(500)),
}  # fmt: skip


@pytest.mark.parametrize(("name", "data"), FINE.values(), ids=FINE)
def test_what_is_fine_raises_no_alarm(name, data):
    assert problem(name, data) is None


BAD = {
    "a pickle": ("m.pkl", EVIL, SYSTEM),
    "of protocol 0": ("m.pkl", EVIL_0, SYSTEM),
    "of protocol 0, called .bin": ("pytorch_model.bin", EVIL_0, SYSTEM),
    "of protocol 0, of no known name": ("m.xyz", EVIL_0, SYSTEM),
    "of a name in capitals": ("M.PKL", EVIL_0, SYSTEM),
    "an unknown import": ("m.pkl", ODD, "json.decoder.JSONDecoder (unknown)"),
    "an unknown import, of no known name": ("m.xyz", ODD, "json.decoder.JSONDecoder (unknown)"),
    "what pickletools does not read": ("m.pkl", UNREAD, SYSTEM),
    "the same, called .bin": ("m.bin", UNREAD, SYSTEM),
    "the same in an archive": ("m.pt", torch(UNREAD), SYSTEM),
    "the same without its first bytes": ("m.bin", UNREAD[2:], SYSTEM),
    "in a PyTorch archive": ("m.pt", torch(EVIL), SYSTEM),
    "in a PyTorch archive, compressed": ("m.pt", zipped({"a/data.pkl": EVIL}, zipfile.ZIP_DEFLATED), SYSTEM),
    "in PyTorch's old format": ("m.bin", pickle.dumps(0x1950A86A20F9469CFC6C, 2) + HARMLESS + EVIL, SYSTEM),
    "in a zip of no known name": ("m.xyz", zipped({"data.pkl": EVIL}), "holds 'data.pkl', which " + SYSTEM),
    "protocol 0 of no known name in a zip": ("m.zip", zipped({"archive/stuff": EVIL_0}), SYSTEM),
    "protocol 0 in capitals in a zip": ("m.zip", zipped({"DATA.PKL": EVIL_0}), SYSTEM),
    "an unknown import in capitals in a zip": ("m.zip", zipped({"DATA.PKL": ODD}), "(unknown)"),
    "a member that has a name of a directory": ("m.pt", zipped({"archive/data.pkl/": EVIL}), SYSTEM),
    "before a zip": ("m.pkl", EVIL + zipped({"a.txt": b"x"}), SYSTEM),
    "in a zip behind a harmless pickle": ("m.bin", HARMLESS + zipped({"a/data.pkl": EVIL}), SYSTEM),
    "a zip in a zip": ("m.zip", zipped({"inner.zip": zipped({"data.pkl": EVIL})}), "'inner.zip', which is " + ARCHIVE),
    "a PyTorch archive in a zip": ("m.zip", zipped({"m.pt": torch(EVIL)}), ARCHIVE),
    "a zip of no known name in a zip": ("m.zip", zipped({"m": torch(EVIL)}), ARCHIVE),
    "a compressed pickle in a zip": ("m.zip", zipped({"m": gzip.compress(EVIL)}), ARCHIVE),
    "a tar in a zip": ("m.zip", zipped({"m": tarred({"data.pkl": EVIL})}), ARCHIVE),
    "objects of numpy": ("m.npy", npy(np.array([Evil()], dtype=object)), SYSTEM),
    "objects of numpy in fields": ("m.npy", npy(np.array([(Evil(),)], dtype=[("a", "O")])), SYSTEM),
    "objects in numpy's zip": ("m.npz", npz(a=NUMBERS, b=np.array([Evil()], dtype=object)), SYSTEM),
    "objects of numpy that are broken": ("m.npy", npy(np.array([1], dtype=object))[:-5], CANNOT),
    "a broken header of numpy": ("m.npy", npy(NUMBERS)[:8], CANNOT),
    "joblib with gzip": ("m.joblib", gzip.compress(EVIL), ARCHIVE),
    "joblib with zlib": ("m.joblib", zlib.compress(EVIL), CANNOT),
    "joblib with xz": ("m.joblib", lzma.compress(EVIL), ARCHIVE),
    "joblib with LZMA": ("m.joblib", lzma.compress(EVIL, lzma.FORMAT_ALONE), CANNOT),
    "joblib with bz2": ("m.joblib", bz2.compress(EVIL), ARCHIVE),
    "gzip of no known name": ("m.xyz", gzip.compress(EVIL), ARCHIVE),
    "zlib that is called .bin": ("m.bin", zlib.compress(EVIL), ARCHIVE),
    "LZMA that is called .dat": ("m.dat", lzma.compress(EVIL, lzma.FORMAT_ALONE), ARCHIVE),
    ".pkl.gz": ("m.pkl.gz", gzip.compress(EVIL), ARCHIVE),
    ".pkl.z": ("m.pkl.z", zlib.compress(EVIL), ARCHIVE),
    ".tar": ("m.tar", tarred({"data.pkl": EVIL}), ARCHIVE),
    ".tar.gz": ("m.tar.gz", tarred({"data.pkl": EVIL}, "w:gz"), ARCHIVE),
    ".nemo": ("m.nemo", tarred({"model_weights.ckpt": torch(EVIL)}), ARCHIVE),
    "a tar of no known name": ("m", tarred({"data.pkl": EVIL}), ARCHIVE),
    "7z": ("m.bin", b"7z\xbc\xaf\x27\x1c" + bytes(99), ARCHIVE),
    "a broken archive": ("m.pt", b"PK\x03\x04" + b"x" * 100, CANNOT),
    "a broken pickle": ("m.pkl", b"\x80\x04" + b"\xff" * 100, CANNOT),
    "a broken pickle by its first bytes": ("m.bin", b"\x80\x04" + b"\xff" * 100, CANNOT),
    "a broken pickle in an archive": ("m.pt", torch(b"\x80\x04" + b"\xff" * 100), CANNOT),
    "no pickle at all": ("m.pkl", b"<!doctype html>", CANNOT),
    "a pickle that is cut": ("m.pkl", HARMLESS[:-1], CANNOT),
    "a pickle that is broken behind an import": ("m.pkl", EVIL[:-3] + b"\xff\xff", SYSTEM),
    "joblib, which keeps arrays in the middle of a pickle": (
        "m.joblib",
        b"\x80\x04cjoblib.numpy_pickle\nNumpyArrayWrapper\n" + bytes(99) + EVIL, "; what follows cannot be scanned"),
    "a name that is made while it is loaded": (
        "m.pkl", b"cjson\nloads\nX\x01\0\0\0a\x85RX\x01\0\0\0b\x93.", "unknown.b (dangerous)"),
    "a name that a terminal would obey": ("m.pkl", b"cjson\n\x1b[2J\n.", r"'json.\x1b[2J' (unknown)"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "data", "said"), BAD.values(), ids=BAD)
def test_what_loading_would_run_is_named(name, data, said):
    assert said in (problem(name, data) or "")


def test_the_attack_that_pickletools_does_not_read_is_a_real_one():
    class Recording(pickle.Unpickler):
        def find_class(self, module, name):
            return lambda argument: (module, name, argument)

    assert Recording(io.BytesIO(UNREAD)).load() == ("posix", "system", "true")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("first", [EVIL, HARMLESS])
def test_of_two_members_of_one_name_both_are_looked_at(first):
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w") as file:
        file.writestr("data.pkl", first)
        file.writestr("data.pkl", HARMLESS if first is EVIL else EVIL)
    assert SYSTEM in problem("m.pt", found.getvalue())


def test_what_a_zip_says_of_itself_is_not_believed_where_pytorch_does_not():
    wrong_sum = torch(EVIL).replace(struct.pack("<I", zlib.crc32(EVIL)), bytes(4))
    assert SYSTEM in problem("m.pt", wrong_sum)
    central = torch(EVIL).index(b"PK\x01\x02")
    encrypted = bytearray(torch(EVIL))
    encrypted[central + 8] |= 1
    assert problem("m.pt", bytes(encrypted))


@pytest.mark.parametrize(
    ("name", "data"),
    [("m.pkl", HARMLESS), ("m.bin", HARMLESS), ("m.pt", torch(HARMLESS))],
    ids=["pickle", ".bin", "zip"],
)
def test_what_is_too_large_to_be_followed_is_named(monkeypatch, name, data):
    monkeypatch.setattr(opcodes, "MOST", 5)
    assert "too large" in problem(name, data)


def test_numpy_is_not_needed_to_look_into_its_files(monkeypatch):
    array, archive = npy(NUMBERS), npz(a=np.array([Evil()], dtype=object))
    monkeypatch.setitem(sys.modules, "numpy", None)  # verify's image has none
    assert problem("m.npy", array) is None
    assert SYSTEM in problem("m.npz", archive)


def test_random_tensors_raise_no_alarm():
    chance = random.Random(11)
    members = {f"archive/data/{n}": chance.randbytes(600) for n in range(5000)}
    assert problem("m.pt", torch(HARMLESS, **members)) is None


LARGE = {
    "one array of 300 MB": ("m.pkl", lambda: b"\x80\x04\x8e" + struct.pack("<Q", 300 << 20), 300 << 20),
    "600,000 numbers": ("m.pkl", lambda: pickle.dumps(list(range(600_000))), 0),
    "150,000 names": ("m.pkl", lambda: pickle.dumps({f"word {n}": n for n in range(150_000)}), 0),
    "a line of 300 MB": ("m.pkl", lambda: b"V", 300 << 20),
    "200,000 texts of which none is let go": (
        "m.pkl",
        lambda: b"(" + b"".join(b"\x8c\x96%0150d\x94" % n for n in range(199_000)) + b"t.",
        0,
    ),
    "100,000 long texts": ("m.pkl", lambda: pickle.dumps([f"{n:01000}" for n in range(100_000)]), 0),
    "three million marks": ("m.pkl", lambda: b"(" * 3_000_000, 0),
    "a header of numpy of 4 GB": ("m.npy", lambda: b"\x93NUMPY\x02\x00\xff\xff\xff\xff", 300 << 20),
}
CHILD = """
import io, pathlib, sys
from modelberth.engine import loading

def peak():  # of this program alone: resource's begins with that of who started it
    return int(pathlib.Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

loading.problem(io.BufferedReader(io.BytesIO(b"cjson\\nloads\\n.")), "m.pkl", 13)  # picklescan itself is not counted
path, before = pathlib.Path(sys.argv[1]), peak()
with path.open("rb") as file:
    loading.problem(file, path.name, path.stat().st_size)
print(peak() - before)
"""


@pytest.mark.parametrize(("name", "made", "more"), LARGE.values(), ids=LARGE)
def test_a_large_pickle_takes_little_memory(tmp_path, name, made, more):
    with (tmp_path / name).open("wb") as file:
        file.truncate(file.write(made()) + more)  # takes no room on the disk
    done = subprocess.run([sys.executable, "-c", CHILD, tmp_path / name], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 64 * 1024
