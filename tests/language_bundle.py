"""Tiny language models and a manifest of noise, for tests of decoding."""

from pathlib import Path

import numpy as np
import soundfile

from asr.lm import LmOptions, train_language_model
from asr.lm_text import number_words
from asr.manifest import Utterance, write_manifest
from asr.rnnlm_training import MODEL_FILE, RnnLmOptions, train_rescorer

SENTENCES = ("the quick brown fox", "a lazy dog", "the dog jumps over a fox", "a fox", "o a")


def write_language_model(path: Path, *, upper: bool = False) -> Path:
    """A compiled bigram model of the words that `tiny_bundle` can write; or in upper case."""
    sentences = [sentence.upper() if upper else sentence for sentence in SENTENCES]
    corpus = number_words(sentence.split() for sentence in sentences)
    train_language_model(corpus, LmOptions(2)).save(path)
    return path


def write_rescorer(path: Path, sentence: str = "o fox") -> Path:
    """A neural language model that expects this sentence more than all others."""
    options = RnnLmOptions(
        vocab_size=31, embedding_size=8, hidden_size=8, epochs=15, batch_pieces=64, lr=0.02
    )
    texts = [*SENTENCES, *[sentence] * 40]
    train_rescorer(texts, "asr-en-1", options, path.parent / "training")
    return (path.parent / "training" / MODEL_FILE).rename(path)


def write_noise_manifest(folder: Path, count: int) -> Path:
    """FOLDER/test.jsonl with `count` utterances of noise, of 0.6 s and more."""
    utterances = []
    for number in range(count):
        path = folder / f"{number}.wav"
        noise = np.random.default_rng(number).standard_normal(9_600 + 3_200 * number)
        soundfile.write(path, 0.1 * noise, 16_000, subtype="FLOAT")
        utterances.append(Utterance(f"u{number}", path, "A fox.", len(noise) / 16_000))
    write_manifest(folder / "test.jsonl", utterances)
    return folder / "test.jsonl"
