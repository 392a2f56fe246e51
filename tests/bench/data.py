"""Makes the models that are moved: bytes that no program can compress, the same ones in every run."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

from numpy.random import SFC64

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO

MIB = 2**20
GIB = 2**30

_BLOCK = 4 * MIB
_BF16 = 2

Shapes = dict[str, tuple[int, ...]]


def noise(size: int, seed: str) -> Iterator[bytes]:
    """Yield *size* random bytes in blocks."""
    source = _source(seed)
    for start in range(0, size, _BLOCK):
        yield _bytes(source, min(_BLOCK, size - start))


def files(directory: Path, count: int, size: int) -> None:
    """Make *count* files of *size* bytes each."""
    directory.mkdir(parents=True)
    for number in range(count):
        with (directory / f"model-{number:05}.bin").open("wb") as stream:
            stream.writelines(noise(size, f"file {number}"))


def small_files(directory: Path, count: int, size: int, per_folder: int = 1000) -> None:
    """Make many small files, each other than all others."""
    content = _bytes(_source("small"), size)
    for number in range(count):
        folder = directory / f"{number // per_folder:04}"
        if number % per_folder == 0:
            folder.mkdir(parents=True)
        (folder / f"{number:06}.bin").write_bytes(number.to_bytes(8, "big") + content[8:])


def sparse(file: Path, size: int) -> None:
    """Make a big file at once: holes, with 4 KiB of noise in each MiB, so that all chunks differ and none shrinks."""
    source = _source("sparse")
    with file.open("wb") as stream:
        for start in range(0, size, MIB):
            stream.seek(start)
            stream.write(_bytes(source, 4096))
        stream.truncate(size)


def llama(layers: int, vocabulary: int, hidden: int = 4096) -> Shapes:
    """Return the tensors of a Llama 3 8B (hidden 4096, 8 of 32 heads for keys and values, MLP 14336), in bf16."""
    narrow, wide = hidden // 4, hidden * 7 // 2
    layer = {
        "input_layernorm": (hidden,),
        "mlp.down_proj": (hidden, wide),
        "mlp.gate_proj": (wide, hidden),
        "mlp.up_proj": (wide, hidden),
        "post_attention_layernorm": (hidden,),
        "self_attn.k_proj": (narrow, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.v_proj": (narrow, hidden),
    }
    ends: Shapes = {"lm_head.weight": (vocabulary, hidden), "model.embed_tokens.weight": (vocabulary, hidden)}
    inner = {f"model.layers.{i}.{name}.weight": shape for i in range(layers) for name, shape in layer.items()}
    return dict(sorted((ends | inner | {"model.norm.weight": (hidden,)}).items()))


def merged(shapes: Shapes) -> set[str]:
    """Return the tensors that merging a LoRA of q_proj and v_proj changes."""
    return {name for name in shapes if "q_proj" in name or "v_proj" in name}


def bytes_of(shapes: Shapes, names: Iterable[str]) -> int:
    """Return how many bytes the tensors *names* have."""
    return sum(_length(shapes[name]) for name in names)


def safetensors(file: Path, shapes: Shapes, changed: set[str], note: str = "") -> None:
    """Write a safetensors file.

    :param changed: Tensors that have other bytes than in the file that was trained.
    :param note: Goes into the header's metadata: the edit of a header.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt", "note": note}}
    for name, start in _offsets(shapes, 1).items():
        offsets = [start, start + _length(shapes[name])]
        header[name] = {"dtype": "BF16", "shape": shapes[name], "data_offsets": offsets}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        _write_tensors(stream, shapes, changed, 1)


def gguf(file: Path, shapes: Shapes, note: str = "") -> None:
    """Write a GGUF file of version 3.

    :param note: The model's name in its metadata: the edit of a header.
    """
    pairs = {"general.architecture": "llama", "general.name": note}
    with file.open("wb") as stream:
        stream.write(b"GGUF" + struct.pack("<IQQ", 3, len(shapes), len(pairs)))
        for key, value in pairs.items():
            stream.write(_text(key) + struct.pack("<I", 8) + _text(value))
        for name, start in _offsets(shapes, 32).items():
            shape = shapes[name][::-1]
            stream.write(_text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape))
            stream.write(struct.pack("<IQ", 30, start))  # 30 is bf16
        stream.write(bytes(-stream.tell() % 32))
        _write_tensors(stream, shapes, set(), 32)


def _source(seed: str) -> SFC64:
    return SFC64(int.from_bytes(seed.encode()))


def _bytes(source: SFC64, count: int) -> bytes:
    """Return *count* random bytes: 4 GB/s, where os.urandom and random.randbytes make 0.3."""
    return source.random_raw(-(-count // 8)).tobytes()[:count]


def _write_tensors(stream: BinaryIO, shapes: Shapes, changed: set[str], alignment: int) -> None:
    for name, shape in shapes.items():
        stream.writelines(noise(_length(shape), f"{name} merged" if name in changed else name))
        stream.write(bytes(-_length(shape) % alignment))


def _offsets(shapes: Shapes, alignment: int) -> dict[str, int]:
    found, at = {}, 0
    for name, shape in shapes.items():
        found[name] = at
        at += _length(shape) + -_length(shape) % alignment
    return found


def _length(shape: tuple[int, ...]) -> int:
    length = _BF16
    for side in shape:
        length *= side
    return length


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data
