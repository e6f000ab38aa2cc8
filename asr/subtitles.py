"""Words with times -> subtitle cues as people read them.

A cue holds a phrase: it ends at a pause, and before it would grow past two lines or six seconds; a
phrase that is too long is cut at its longest inner pause. The limits are those of common subtitle
guides (42 characters a line, two lines, at least about a second on screen).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from asr.transcript import Transcript, Word

MAX_LINE_CHARACTERS = 42
MAX_LINES = 2
MAX_CUE_S = 6.0
MIN_CUE_S = 1.0
PAUSE_S = 0.6


@dataclass(frozen=True)
class Cue:
    """One subtitle: its lines, and when it is on screen (seconds)."""

    start_s: float
    end_s: float
    lines: tuple[str, ...]


def split_cues(transcript: Transcript) -> list[Cue]:
    """The cues of a transcript, in order; they never overlap."""
    if not transcript.words:
        text = transcript.text.strip()
        return [Cue(0.0, transcript.duration_s, (text,))] if text else []
    groups = [part for phrase in _phrases(transcript.words) for part in _fit(phrase)]
    starts = [group[0].start_s for group in groups]
    limits = [*starts[1:], max(transcript.duration_s, groups[-1][-1].end_s)]
    return [
        _cue(group, start_s, limit_s)
        for group, start_s, limit_s in zip(groups, starts, limits, strict=True)
    ]


def _cue(words: Sequence[Word], start_s: float, limit_s: float) -> Cue:
    """The cue of `words`, kept on screen for MIN_CUE_S where the next cue leaves room."""
    end_s = min(max(words[-1].end_s, start_s + MIN_CUE_S), max(limit_s, start_s))
    return Cue(start_s, end_s, break_lines([word.text for word in words]))


def _phrases(words: Sequence[Word]) -> list[list[Word]]:
    phrases = [[words[0]]]
    for before, word in itertools.pairwise(words):
        if word.start_s - before.end_s >= PAUSE_S:
            phrases.append([])
        phrases[-1].append(word)
    return phrases


def _fit(phrase: list[Word]) -> list[list[Word]]:
    """The phrase cut into parts that fit a cue, each cut at the best pause of what still fits."""
    parts = []
    while not _fits(phrase):
        cut = _best_cut(phrase)
        parts.append(phrase[:cut])
        phrase = phrase[cut:]
    return [*parts, phrase]


def _best_cut(phrase: list[Word]) -> int:
    """Where to cut: the longest gap in the second half of what fits, the latest of equals."""
    fitting = 1
    while _fits(phrase[: fitting + 1]):
        fitting += 1
    candidates = range(max(1, fitting // 2), fitting + 1)
    return max(candidates, key=lambda i: (phrase[i].start_s - phrase[i - 1].end_s, i))


def _fits(words: Sequence[Word]) -> bool:
    if len(words) == 1:
        return True
    most = MAX_LINES * MAX_LINE_CHARACTERS + 1
    if len(words) > most or sum(len(word.text) + 1 for word in words) - 1 > most:
        return False
    lines = break_lines([word.text for word in words])
    return max(map(len, lines)) <= MAX_LINE_CHARACTERS and (
        words[-1].end_s - words[0].start_s <= MAX_CUE_S
    )


def break_lines(words: Sequence[str]) -> tuple[str, ...]:
    """One line where it fits, else two as equal as may be (a first line no longer than needed).

    Two lines may still be too long; `_fits` then refuses the cue.
    """
    whole = " ".join(words)
    if len(whole) <= MAX_LINE_CHARACTERS or len(words) == 1:
        return (whole,)
    pairs = [(" ".join(words[:i]), " ".join(words[i:])) for i in range(1, len(words))]
    return min(pairs, key=lambda pair: (max(len(pair[0]), len(pair[1])), len(pair[0])))
