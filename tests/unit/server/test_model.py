"""The forward pass: right numbers, compared with those of another program."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

REFERENCE = json.loads(Path(__file__).with_name("reference.json").read_text())["sentences"]


@pytest.fixture(scope="module")
def encoder(fp32):
    from server.model import SentenceEncoder

    return SentenceEncoder(fp32)


@pytest.fixture(scope="module")
def int8_encoder(int8):
    from server.model import SentenceEncoder

    return SentenceEncoder(int8)


@pytest.mark.parametrize("sentence", REFERENCE, ids=lambda sentence: sentence["text"][:20])
def test_float32_vectors_are_those_of_sentence_transformers(encoder, sentence):
    np.testing.assert_allclose(encoder.embed(sentence["text"]), sentence["embedding"], rtol=0, atol=2e-6)


@pytest.mark.parametrize("sentence", REFERENCE, ids=lambda sentence: sentence["text"][:20])
def test_int8_vectors_are_others_but_near(int8_encoder, sentence):
    vector = int8_encoder.embed(sentence["text"])
    assert np.abs(vector - sentence["embedding"]).max() > 1e-3
    assert vector @ sentence["embedding"] > 0.98


@pytest.mark.parametrize("form", ["encoder", "int8_encoder"])
def test_alike_sentences_are_nearer_than_others(form, request):
    encoder = request.getfixturevalue(form)
    ship, vessel, cat = map(
        encoder.embed,
        ("A ship lies at its berth.", "The vessel is moored in the harbour.", "My cat sleeps on the warm radiator."),
    )
    assert ship @ vessel > 0.5 > 0.2 > max(ship @ cat, vessel @ cat)


def test_vectors_are_float32_of_length_one(encoder):
    vector = encoder.embed("berth")
    assert (vector.dtype, vector.shape) == (np.float32, (384,))
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_text_past_the_token_limit_does_not_count(encoder):
    assert np.array_equal(encoder.embed("berth " * 254), encoder.embed("berth " * 254 + "cat"))
    assert not np.array_equal(encoder.embed("berth " * 253), encoder.embed("berth " * 253 + "cat"))


def test_erf_is_right_to_few_steps_of_float32():
    from server.model import _erf

    x = np.linspace(-6, 6, 10_001, dtype=np.float32)
    assert np.abs(_erf(x) - [math.erf(value) for value in x]).max() < 5e-7
