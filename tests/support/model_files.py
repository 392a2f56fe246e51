"""The files of a small model, as bytes by path."""

import random


def noise(size, seed=1):
    """Return *size* bytes that are the same in every run."""
    return random.Random(seed).randbytes(size)


CONTENT = {"config.json": b"{}", "sub/vocab.txt": b"a\nb\n", "sub/none": b"", "model.safetensors": noise(20_000_000)}
