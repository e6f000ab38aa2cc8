"""What a speller has written -> words in time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from asr.bundle import Bundle
from asr.decoding.hypothesis import Hypothesis, LogProbs, WordRange
from asr.tokenizer import BLANK_ID, BpeTokenizer, Tokenizer

if TYPE_CHECKING:
    from asr.decoding.alignment import Alignment


@dataclass(frozen=True)
class Spelling:
    """What a speller's pieces say, and when.

    A piece comes in one step, anywhere in its word; when a word was said is found as by `asr align`: by
    the best path of the network's own tokens through the words that the speller has written.

    Attributes:
        pieces: that the speller writes.
        tokens: that the network's own head writes.
        frames: of the network that one step stands for.
    """

    pieces: BpeTokenizer
    tokens: Tokenizer
    frames: int

    def in_time(self, written: Hypothesis, log_probs: LogProbs) -> Hypothesis:
        """A hypothesis in pieces, with steps for spans, as its words in the network's tokens and frames.

        A word's confidence is the mean of its pieces'. Words that the network's tokens cannot write, or
        that do not fit into its frames, stay in pieces at the frames of their steps.
        """
        words = [
            WordRange(self.pieces.decode(written.token_ids[first:last]), first, last)
            for first, last in self.pieces.word_ranges(written.token_ids)
        ]
        aligned = self._aligned(words, log_probs) if words else None
        if aligned is None:
            end = len(log_probs.tokens)
            spans = tuple(
                (min(first * self.frames, end), min(last * self.frames, end))
                for first, last in written.spans
            )
            return replace(written, spans=spans, words=tuple(words))
        token_ids, found = aligned
        ranges, confidences = [], list(found.confidences)
        for word, (first, last) in zip(words, self.tokens.word_ranges(token_ids), strict=True):
            sure = written.confidences[word.first : word.last]
            confidences[first:last] = [sum(sure) / len(sure)] * (last - first)
            ranges.append(WordRange(word.text, first, last))
        return Hypothesis(
            tuple(token_ids), found.spans, tuple(confidences), written.score, tuple(ranges)
        )

    def _aligned(
        self, words: Sequence[WordRange], log_probs: LogProbs
    ) -> "tuple[list[int], Alignment] | None":
        from asr.decoding.alignment import AlignmentError, align_tokens  # numba, not to load it

        text = " ".join(word.text for word in words)
        if self.tokens.unknown_characters([text]):
            return None
        token_ids = self.tokens.encode(text)
        try:
            found = align_tokens(log_probs.tokens, np.array(token_ids, np.int32), BLANK_ID)
        except AlignmentError:
            return None
        return token_ids, found


def spelling_of(bundle: Bundle) -> Spelling | None:
    """How a bundle's speller is read; None where it has none."""
    size = bundle.model.config.speller
    if bundle.pieces is None or size is None:
        return None
    return Spelling(bundle.pieces, bundle.tokenizer, size.subsampling)
