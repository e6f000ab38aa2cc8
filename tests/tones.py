"""A language of tones, and a recognizer for it: known words at known samples, without a network.

A word is a tone; its text is `t` and its frequency, `t600`. The recognizer hears runs of energy and
counts zero crossings, so it also hears a word cut in two, as a real one would.
"""

import time
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from asr.transcript import Transcript, Word

RATE = 16_000
HOP = RATE // 100


def tone(
    hz: float, duration_s: float = 0.3, rate: int = RATE, level: float = 0.3
) -> NDArray[np.float32]:
    """One word (S,)."""
    t = np.arange(round(duration_s * rate)) / rate
    return (level * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def silence(duration_s: float, rate: int = RATE) -> NDArray[np.float32]:
    """A pause (S,)."""
    return np.zeros(round(duration_s * rate), dtype=np.float32)


def speech(
    words: Sequence[int], gap_s: float = 0.1, edge_s: float = 0.3, rate: int = RATE
) -> NDArray[np.float32]:
    """Words with `gap_s` between them and `edge_s` around them (S,)."""
    parts = [silence(edge_s, rate)]
    for hz in words:
        parts += [tone(hz, rate=rate), silence(gap_s, rate)]
    return np.concatenate([*parts[:-1], silence(edge_s, rate)])


def text_of(words: Sequence[int]) -> str:
    """What the recognizer should answer."""
    return " ".join(f"t{hz}" for hz in words)


class ToneRecognizer:
    """Hears tones of 300-3000 Hz in steps of 50 Hz; raises on a waveform that holds `poison`."""

    sample_rate = RATE
    device = SimpleNamespace(type="ears")

    def __init__(self, model_id: str = "tones", pause_s: float = 0.0) -> None:
        self.model_id = model_id
        self.batches: list[list[int]] = []
        self.poison: float | None = None
        self._pause_s = pause_s

    @property
    def settings(self) -> str:
        """What decides its words."""
        return f"{self.model_id} tones"

    def transcribe_batch(self, waveforms: Sequence[NDArray[np.float32]]) -> list[Transcript]:
        """Transcribe (S,) waveforms."""
        time.sleep(self._pause_s)
        if self.poison is not None and any((w == np.float32(self.poison)).any() for w in waveforms):
            raise RuntimeError("poisoned")
        self.batches.append([len(waveform) for waveform in waveforms])
        return [self._hear(waveform) for waveform in waveforms]

    def _hear(self, waveform: NDArray[np.float32]) -> Transcript:
        frames = waveform[: len(waveform) // HOP * HOP].reshape(-1, HOP)
        loud = (np.sqrt((frames**2).mean(axis=1)) > 0.05).astype(np.int8)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], loud, [0]])))
        words = []
        for start, end in zip(edges[::2] * HOP, edges[1::2] * HOP, strict=True):
            if end - start < 5 * HOP:
                continue
            inner = waveform[start + HOP : end - HOP]
            crossings = np.count_nonzero(np.diff(np.signbit(inner)))
            hz = 50 * round(crossings * RATE / (2 * len(inner)) / 50)
            words.append(Word(f"t{hz}", float(start / RATE), float(end / RATE), 0.9))
        text = " ".join(word.text for word in words)
        return Transcript(text, tuple(words), len(waveform) / RATE)
