"""Hypothesis -> Transcript: token ids and frames become words and seconds."""

import math
from collections.abc import Iterator

from asr.decoding.hypothesis import Hypothesis, WordRange
from asr.tokenizer import Tokenizer
from asr.transcript import Transcript, Word


def to_transcript(
    hypothesis: Hypothesis,
    tokenizer: Tokenizer,
    output_frame_s: float,
    duration_s: float,
    break_s: float = math.inf,
) -> Transcript:
    """Words of a hypothesis with their times; a word's confidence is the mean of its tokens'.

    A word ends where the tokens say so, and where no token follows for `break_s` seconds: a network
    that was trained on utterances without pauses writes no space into a pause.
    """
    ranges = hypothesis.words
    if ranges is None:
        ranges = tuple(_word_ranges(hypothesis, tokenizer, break_s / output_frame_s))
    words = [
        Word(
            text=text,
            start_s=hypothesis.spans[first][0] * output_frame_s,
            end_s=min(hypothesis.spans[last - 1][1] * output_frame_s, duration_s),
            confidence=sum(hypothesis.confidences[first:last]) / (last - first),
        )
        for text, first, last in ranges
    ]
    return Transcript(" ".join(word.text for word in words), tuple(words), duration_s)


def _word_ranges(
    hypothesis: Hypothesis, tokenizer: Tokenizer, break_frames: float
) -> Iterator[WordRange]:
    """The words that the tokens spell, cut at pauses."""
    token_ids = hypothesis.token_ids

    def spelled(first: int, last: int) -> WordRange:
        return WordRange(tokenizer.decode(token_ids[first:last]), first, last)

    for first, last in tokenizer.word_ranges(token_ids):
        start = first
        for position in range(first + 1, last):
            pause = hypothesis.spans[position][0] - hypothesis.spans[position - 1][1]
            if pause > break_frames:
                yield spelled(start, position)
                start = position
        yield spelled(start, last)
