"""Text -> vector: the forward pass of a BERT sentence encoder, in numpy.

Numpy is the lightest runtime that fits: the model ships as safetensors, and its forward pass is the 60 lines below.
ONNX Runtime would add 73 MB to the image beside numpy, and torch (5 GB) to whoever exports a release.

    files/config.json                  shape of the network
    files/sentence_bert_config.json    how many tokens count
    files/1_Pooling/config.json        how the tokens become one vector
    files/tokenizer.json               text -> tokens
    files/model.safetensors            weights: float32, or int8 with one float32 scale an output row (<name>_scale)
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from server import tensors

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]

_SUPPORTED: dict[str, dict[str, Any]] = {
    "config.json": {"model_type": "bert", "hidden_act": "gelu", "position_embedding_type": "absolute"},
    "1_Pooling/config.json": {"pooling_mode_mean_tokens": True},
}


class SentenceEncoder:
    """A model in memory. It is never changed after loading, so that any number of threads may use it."""

    def __init__(self, files: Path) -> None:
        """Read the model under *files*, all of it.

        :raises ValueError: A file is not what its name says, or the network is of a kind not computed here.
        :raises OSError: A file cannot be read.
        """
        self._config = _config(files / "config.json")
        _check_supported(files)
        self._tokenizer = Tokenizer.from_file(str(files / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_config(files / "sentence_bert_config.json")["max_seq_length"])
        self._weights = _in_float32(tensors.read(files / "model.safetensors"))

    def embed(self, text: str) -> Matrix:
        """Return the vector of *text*, of length 1; what exceeds the model's token limit does not count."""
        hidden = self._embeddings(self._tokenizer.encode(text).ids)
        for layer in range(self._config["num_hidden_layers"]):
            hidden = self._layer(f"encoder.layer.{layer}", hidden)
        mean: Matrix = hidden.mean(axis=0)
        return mean / np.float32(np.linalg.norm(mean))

    def _embeddings(self, tokens: list[int]) -> Matrix:
        weights = self._weights
        hidden = weights["embeddings.word_embeddings.weight"][tokens]
        hidden = hidden + weights["embeddings.position_embeddings.weight"][: len(tokens)]
        return self._normalised("embeddings.LayerNorm", hidden + weights["embeddings.token_type_embeddings.weight"][0])

    def _layer(self, name: str, hidden: Matrix) -> Matrix:
        attended = self._linear(f"{name}.attention.output.dense", self._attention(f"{name}.attention.self", hidden))
        hidden = self._normalised(f"{name}.attention.output.LayerNorm", hidden + attended)
        inner = _gelu(self._linear(f"{name}.intermediate.dense", hidden))
        return self._normalised(f"{name}.output.LayerNorm", hidden + self._linear(f"{name}.output.dense", inner))

    def _attention(self, name: str, hidden: Matrix) -> Matrix:
        query, key, value = (self._heads(f"{name}.{part}", hidden) for part in ("query", "key", "value"))
        scores = query @ key.transpose(0, 2, 1) / np.float32(math.sqrt(query.shape[-1]))
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        context: Matrix = weights @ value
        return context.transpose(1, 0, 2).reshape(hidden.shape)

    def _heads(self, name: str, hidden: Matrix) -> Matrix:
        """Return [heads, tokens, width of a head]."""
        shape = (len(hidden), self._config["num_attention_heads"], -1)
        return self._linear(name, hidden).reshape(shape).transpose(1, 0, 2)

    def _linear(self, name: str, hidden: Matrix) -> Matrix:
        product: Matrix = hidden @ self._weights[f"{name}.weight"].T
        return product + self._weights[f"{name}.bias"]

    def _normalised(self, name: str, hidden: Matrix) -> Matrix:
        centred = hidden - hidden.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        scaled: Matrix = centred / np.sqrt(variance + np.float32(self._config["layer_norm_eps"]))
        return scaled * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def _gelu(hidden: Matrix) -> Matrix:
    return hidden * np.float32(0.5) * (1 + _erf(hidden * np.float32(math.sqrt(0.5))))


def _erf(x: Matrix) -> Matrix:
    """Abramowitz and Stegun 7.1.26, as numpy has no erf; in float32 it is wrong by 5e-7 at most."""
    t = 1 / (1 + np.float32(0.3275911) * np.abs(x))
    series = np.zeros_like(t)
    for coefficient in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = (series + np.float32(coefficient)) * t
    return np.copysign(1 - series * np.exp(-np.square(x)), x)


def _in_float32(stored: tensors.Tensors) -> tensors.Tensors:
    """Multiply int8 weights by their scales, once: numpy's fast matrix product is for floats only."""
    return {
        name: tensor * stored[f"{name}_scale"] if tensor.dtype == np.int8 else tensor for name, tensor in stored.items()
    }


def _config(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(path.read_bytes())
    return config


def _check_supported(files: Path) -> None:
    for name, expected in _SUPPORTED.items():
        config = _config(files / name)
        for key, value in expected.items():
            if config.get(key) != value:
                raise ValueError(f"'{name}' says {key}={config.get(key)!r}; this server computes only {value!r}.")
