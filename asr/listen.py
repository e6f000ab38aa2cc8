"""Windows -> transcripts: dense batches, silence answered at once; one recording from end to end.

What `asr.batch` does for many files and `Recognizer.transcribe` for one is the same steps, from here
and from `asr.segment`: so both give the same transcript.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from asr.pool import Piece, dense_batches
from asr.segment import Part, Window, join_parts, split_windows
from asr.transcript import Transcript

SILENCE_PEAK = 1 / 32_768  # nothing above one step of 16-bit audio
MIN_WINDOW_S = 0.1  # shorter recordings are lengthened with zeros: a front end needs a frame
BATCH_S = 120.0
POOL_S = 16 * BATCH_S

Waveform = NDArray[np.float32]


class BatchRecognizer(Protocol):
    """What a batch needs of a recognizer; `asr.transcribe.Recognizer` is one."""

    @property
    def sample_rate(self) -> int:
        """Rate of the waveforms it takes, Hz."""
        ...

    @property
    def model_id(self) -> str:
        """Hash of the model's content."""
        ...

    def transcribe_batch(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        """Transcripts of waveforms (S,), each independent of its neighbours."""
        ...


def transcribe_recording(recognizer: BatchRecognizer, blocks: Iterable[Waveform]) -> Transcript:
    """One recording of any length, from blocks (S,) at the recognizer's rate.

    Holds POOL_S seconds of it at a time.
    """
    rate = recognizer.sample_rate
    parts: list[Part] = []
    num_samples = 0
    for windows in _groups(split_windows(blocks, rate), round(POOL_S * rate)):
        num_samples = windows[-1].start + len(windows[-1].waveform)
        parts += _transcribe_windows(recognizer, windows)
    return join_parts(parts, rate, num_samples)


def _groups(windows: Iterable[Window], max_samples: int) -> Iterator[list[Window]]:
    group: list[Window] = []
    held = 0
    for window in windows:
        group.append(window)
        held += len(window.waveform)
        if held >= max_samples:
            yield group
            group, held = [], 0
    if group:
        yield group


def _transcribe_windows(recognizer: BatchRecognizer, windows: Sequence[Window]) -> list[Part]:
    """Parts in the order of the windows, which go through the network by length."""
    pieces = [Piece(0, number, window) for number, window in enumerate(windows)]
    heard: dict[int, Transcript] = {}
    for batch in dense_batches(pieces, round(BATCH_S * recognizer.sample_rate)):
        transcripts = listen(recognizer, [piece.window.waveform for piece in batch])
        for piece, transcript in zip(batch, transcripts, strict=True):
            heard[piece.number] = transcript
    return [Part(one.start, one.overlap, heard[number]) for number, one in enumerate(windows)]


def listen(recognizer: BatchRecognizer, waveforms: Sequence[Waveform]) -> list[Transcript]:
    """Transcripts of windows (S,) in one batch. Silence is not shown to the recognizer.

    Raises:
        RuntimeError: the recognizer gave more or fewer transcripts than it got waveforms.
    """
    rate = recognizer.sample_rate
    loud = [waveform for waveform in waveforms if not is_silent(waveform)]
    heard = recognizer.transcribe_batch([_lengthened(one, rate) for one in loud]) if loud else []
    if len(heard) != len(loud):
        raise RuntimeError(f"{len(heard)} transcripts for {len(loud)} waveforms")
    remaining = iter(heard)
    return [
        Transcript("", (), len(waveform) / rate)
        if is_silent(waveform)
        else _within(next(remaining), len(waveform) / rate)
        for waveform in waveforms
    ]


def _within(transcript: Transcript, duration_s: float) -> Transcript:
    """Without what was heard in the zeros after `duration_s`."""
    if duration_s >= transcript.duration_s:
        return transcript
    words = tuple(
        replace(word, end_s=min(word.end_s, duration_s))
        for word in transcript.words
        if word.start_s < duration_s
    )
    return Transcript(" ".join(word.text for word in words), words, duration_s)


def _lengthened(waveform: Waveform, sample_rate: int) -> Waveform:
    missing = round(MIN_WINDOW_S * sample_rate) - len(waveform)
    return waveform if missing <= 0 else np.pad(waveform, (0, missing))


def is_silent(waveform: Waveform) -> bool:
    """Whether nothing in (S,) rises above one step of 16-bit audio: there is nothing to hear."""
    return float(np.abs(waveform).max(initial=0.0)) <= SILENCE_PEAK
