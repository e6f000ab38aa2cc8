"""Long recordings -> windows cut at pauses -> one transcript; memory does not grow with length.

A recording of up to `MAX_WINDOW_S` is one window. A longer one is cut in the middle of its longest
pause between `CUT_RANGE_S`, again and again; where there is no pause the windows overlap, and the
words of the overlap are matched. All positions are samples, divided once: times never drift.
"""

import bisect
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from asr.transcript import Transcript, Word

MAX_WINDOW_S = 36.0  # the longest LibriSpeech utterance is 35 s
CUT_RANGE_S = (8.0, 30.0)
OVERLAP_S = 4.0
MIN_PAUSE_S = 0.2
FRAME_S = 0.01
MAX_RANGE_DB = 50.0  # levels further below speech than this are all just silence
MIN_RANGE_DB = 6.0  # between loud and quiet; less is a steady noise without pauses
SAME_WORD_S = 0.4  # one word found in two windows differs in time by less

Waveform = NDArray[np.float32]


@dataclass(frozen=True)
class Window:
    """A stretch of a recording: `waveform` (S,) starts at sample `start`; its first `overlap`
    samples are also the last of the window before."""

    start: int
    overlap: int
    waveform: Waveform


@dataclass(frozen=True)
class Part:
    """The transcript of a window, its times counted from the window's start."""

    start: int
    overlap: int
    transcript: Transcript


def split_windows(blocks: Iterable[Waveform], sample_rate: int) -> Iterator[Window]:
    """Cut a stream of blocks (S,) into windows; holds little more than one window at a time."""
    max_window = round(MAX_WINDOW_S * sample_rate)
    pending: list[Waveform] = []
    held = start = overlap = 0
    for block in blocks:
        pending.append(block)
        held += len(block)
        while held > max_window:
            buffer = np.concatenate(pending)
            window, advance = _cut(buffer[:max_window], sample_rate)
            yield Window(start, overlap, window)
            overlap = len(window) - advance
            start += advance
            pending = [buffer[advance:].copy()]
            held -= advance
    if held:
        yield Window(start, overlap, pending[0] if len(pending) == 1 else np.concatenate(pending))


def _cut(buffer: Waveform, sample_rate: int) -> tuple[Waveform, int]:
    """The next window of `buffer` (MAX_WINDOW_S), and how many samples on the one after it starts."""
    first, last = (round(edge * sample_rate) for edge in CUT_RANGE_S)
    cut = find_pause(buffer, sample_rate, first, last)
    if cut is not None:
        return buffer[:cut].copy(), cut
    return buffer[:last].copy(), last - round(OVERLAP_S * sample_rate)


def find_pause(waveform: Waveform, sample_rate: int, first: int, last: int) -> int | None:
    """The middle of the longest pause in samples [first, last) of `waveform`, or None.

    A pause is at least MIN_PAUSE_S in which each 10 ms frame is quiet: below a level that lies
    three eighths of the way (in dB) from the quietest MIN_PAUSE_S of the waveform to its loud
    frames (95th percentile).
    """
    hop = round(FRAME_S * sample_rate)
    levels = frame_levels_db(waveform, hop)
    loud = float(np.percentile(levels, 95))
    quiet = max(quietest(levels, round(MIN_PAUSE_S / FRAME_S)), loud - MAX_RANGE_DB)
    if loud - quiet < MIN_RANGE_DB:
        return None
    is_quiet = levels[first // hop : last // hop] < quiet + 0.375 * (loud - quiet)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_quiet.astype(np.int8), [0]])))
    starts, ends = edges[::2], edges[1::2]
    if len(starts) == 0:
        return None
    longest = int(np.argmax(ends - starts))
    if (ends[longest] - starts[longest]) * FRAME_S < MIN_PAUSE_S:
        return None
    return (first // hop) * hop + int(starts[longest] + ends[longest]) * hop // 2


def quietest(levels: NDArray[np.float64], num_frames: int) -> float:
    """The lowest mean of `num_frames` neighbouring levels (T,)."""
    sums = np.cumsum(np.concatenate([[0.0], levels]))
    return float((sums[num_frames:] - sums[:-num_frames]).min() / num_frames)


def frame_levels_db(waveform: Waveform, hop: int) -> NDArray[np.float64]:
    """RMS level of each whole frame of `hop` samples, dB below full scale, -100 at the lowest.

    Shape: (S,) -> (S // hop,)
    """
    frames = waveform[: len(waveform) // hop * hop].reshape(-1, hop)
    power = np.einsum("ts,ts->t", frames, frames, dtype=np.float64) / hop
    levels: NDArray[np.float64] = 10 * np.log10(np.maximum(power, 1e-10))
    return levels


def join_parts(parts: Sequence[Part], sample_rate: int, num_samples: int) -> Transcript:
    """The transcript of a whole recording of `num_samples` from those of its windows, in order."""
    duration_s = num_samples / sample_rate
    if len(parts) == 1 and parts[0].start == 0:
        return replace(parts[0].transcript, duration_s=duration_s)
    words: list[Word] = []
    for part in parts:
        shifted = [_shift(word, part.start, sample_rate) for word in part.transcript.words]
        if part.overlap:
            begin, end = part.start / sample_rate, (part.start + part.overlap) / sample_rate
            words, shifted = seam(words, shifted, begin, end)
        words += shifted
    return Transcript(" ".join(word.text for word in words), tuple(words), duration_s)


def _shift(word: Word, start: int, sample_rate: int) -> Word:
    """`word` in the recording's time: whole samples are added before the one division."""
    return replace(
        word,
        start_s=(start + word.start_s * sample_rate) / sample_rate,
        end_s=(start + word.end_s * sample_rate) / sample_rate,
    )


def seam(
    left: list[Word], right: list[Word], begin_s: float, end_s: float
) -> tuple[list[Word], list[Word]]:
    """What to keep of two windows' words where they overlap in [begin_s, end_s].

    The seam is the word that both found at the same time, the nearest to the middle of the overlap
    (neither window hears its own edge well); without one it is the middle, and a right-hand word
    that lies mostly within a left-hand one is dropped.
    """
    middle_s = (begin_s + end_s) / 2
    first = bisect.bisect_left(left, begin_s, key=_middle)
    shared = [
        (abs(_middle(a) - middle_s), i, j)
        for i, a in enumerate(left[first:], start=first)
        for j, b in enumerate(itertools.takewhile(lambda b: _middle(b) <= end_s, right))
        if a.text == b.text and abs(_middle(a) - _middle(b)) < SAME_WORD_S
    ]
    if shared:
        _, i, j = min(shared)
        return left[: i + 1], right[j + 1 :]
    left = [word for word in left if _middle(word) < middle_s]
    right = [word for word in right if _middle(word) >= middle_s]
    if left and right and _middle(right[0]) < left[-1].end_s:
        right = right[1:]
    return left, right


def _middle(word: Word) -> float:
    return (word.start_s + word.end_s) / 2
