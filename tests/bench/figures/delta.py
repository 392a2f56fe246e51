"""P4: what moves when a part of a model changed: a merged LoRA, an edited header."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import data
from contest import Sample, measured, tell
from data import GIB
from peers import BUCKET, Way, our_sync, our_upload
from servers import served
from table import Line

from bench import Bench, Figure, removed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Write = "Callable[[Path], None]"
_LORA, _HEADER = 13.0, 1.0
_NOTE = "edited: " + "a longer text than was there, so that all that follows it moves. " * 10


def run(bench: Bench) -> list[Line]:
    """Measure a LoRA that is merged and a header that is edited after that, then a GGUF's header."""
    # 2 of the 32 layers of a Llama 3 8B and 1/16 of its vocabulary: its tensors, and its share of q_proj and v_proj.
    shapes = data.llama(2, 128256 // 16) if bench.scale >= 1 else data.llama(2, 4008, hidden=2048)
    changed = data.merged(shapes)
    share = 100 * data.bytes_of(shapes, changed) / data.bytes_of(shapes, shapes)
    print(f"\nThe merged LoRA changes {share:.1f} % of {data.bytes_of(shapes, shapes) / GIB:.2f} GiB.")
    safetensors = [
        ("", 0.0, partial(data.safetensors, shapes=shapes, changed=set())),
        ("merged LoRA", _LORA, partial(data.safetensors, shapes=shapes, changed=changed)),
        ("edited safetensors header", _HEADER, partial(data.safetensors, shapes=shapes, changed=changed, note=_NOTE)),
    ]
    gguf = [
        ("", 0.0, partial(data.gguf, shapes=shapes)),
        ("edited GGUF header", _HEADER, partial(data.gguf, shapes=shapes, note=_NOTE)),
    ]
    return _steps(bench, "model.safetensors", safetensors) + _steps(bench, "model.gguf", gguf)


def _steps(bench: Bench, name: str, versions: Sequence[tuple[str, float, Callable[..., None]]]) -> list[Line]:
    """Upload and sync each version; return what moved for all but the first."""
    source, claim, lines = bench.shared / "source", bench.shared / "claim", []
    source.mkdir()
    claim.mkdir()
    with served(bench.shared / "weed") as server:
        way = Way(server, server.http)
        server.create_bucket(BUCKET)
        for number, (what, goal, write) in enumerate(versions):
            (source / name).unlink(missing_ok=True)
            write(source / name)
            up = measured(our_upload(way, source, upload=f"u{number}"), server.cpu)
            old = list(claim.glob("*/*.*"))
            down = measured(our_sync(way, claim, up.result["revision"]), server.cpu)
            for snapshot in old:
                removed(snapshot)
            tell(f"{what or 'first'}: upload {up.wall:.2f} s, sync {down.wall:.2f} s")
            if number:
                lines += [
                    _line(what, "sync", "bytes_fetched", down, goal),
                    _line(what, "upload", "bytes_uploaded", up, goal),
                ]
    removed(source)
    removed(claim)
    return lines


def _line(what: str, leg: str, key: str, sample: Sample, goal: float) -> Line:
    moved, size = sample.result[key], sample.result["bytes"]
    ours = f"{moved / 2**20:.1f} of {size / 2**20:.0f} MiB in {sample.wall:.2f} s"
    return Line("P4", f"{what}: {leg}", ours, "whole files", 100 * moved / size, goal, unit=" %")


FIGURE = Figure("P4", "a part of a model changed", run, shared=7 * GIB)
