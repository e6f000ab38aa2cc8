"""Beam search against flashlight-text and pyctcdecode on the same log-probabilities.

They do not install beside asr's dependencies everywhere (no wheels above Python 3.11, numpy 1): name an
interpreter that has them, with kenlm, in ASR_PEERS_PYTHON.
"""

import importlib.util
import os
import random
import sys
from math import inf
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from asr.corpora.sentences import draw_distinct_sentences
from asr.decoding.beam import BeamDecoder
from asr.decoding.beam_options import BeamOptions
from asr.decoding.language import word_language_model
from asr.decoding.lexicon import Alphabet
from asr.lm import LmOptions, train_language_model
from asr.lm_text import number_words

BENCH = Path(__file__).parents[1] / "scripts" / "bench" / "decoders.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_decoders", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_no_peer_finds_a_better_path_with_the_same_beam(bench: ModuleType) -> None:
    python = os.environ.get("ASR_PEERS_PYTHON")
    if not python:
        pytest.skip("ASR_PEERS_PYTHON names no interpreter with flashlight-text and pyctcdecode")
    sentences = [one.text.lower().split() for one in draw_distinct_sentences(600, random.Random(0))]
    ngram = train_language_model(number_words(sentences[:500]), LmOptions(3))
    known = frozenset(ngram.words)
    rng, utterances = np.random.default_rng(0), []
    for first in range(500, 590, 3):
        words = [word for words in sentences[first : first + 3] for word in words if word in known]
        utterances.append(bench.speak(words, 300, rng)[1])
    model = word_language_model(
        ngram, Alphabet.from_tokens(bench.TOKENS), lambda word: [*map(bench.TOKENS.index, word)]
    )
    options = BeamOptions(
        64, token_min_logp=-inf, beam_threshold=20.0, lm_weight=bench.LM_WEIGHT,
        word_bonus=bench.WORD_BONUS,
    )  # fmt: skip
    decoder = BeamDecoder(Alphabet.from_tokens(bench.TOKENS), options, model)
    ours = [
        "".join(bench.TOKENS[token] for token in hypothesis.token_ids).split()
        for hypothesis in decoder.decode_batch(utterances)
    ]
    found = bench.peers(python, utterances, bench.TOKENS, ngram)
    compared = {name: texts for name, (_, texts) in found.items() if name.endswith("3-gram")} | {
        name: texts for name, (_, texts) in found.items() if name.startswith("flashlight")
    }
    assert compared
    for name, texts in compared.items():
        for log_probs, words, theirs in zip(utterances, ours, texts, strict=True):
            own = bench.total_score(log_probs, " ".join(words), bench.TOKENS, ngram)
            other = bench.total_score(log_probs, theirs, bench.TOKENS, ngram)
            assert own >= other - 1e-3, (name, " ".join(words), theirs)
