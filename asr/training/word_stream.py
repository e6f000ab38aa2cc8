"""Texts as one row of words, with how each is said: what a speller learns to spell."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.errors import AsrError
from asr.lm_text import TextSource, read_sentences
from asr.pronunciation import Lexicon
from asr.tokenizer import Tokenizer
from asr.training.posterior_bank import PosteriorBank

BOUNDARY = np.array([1], np.int32)  # the phone id of the boundary of words (asr.pronunciation)
_WORDS_IN_LINE = 100
_OFTEN = 300


@dataclass(frozen=True)
class WordStream:
    """Texts as one row of words.

    Attributes:
        places: (N,) of each word of the row in `words`.
        words: those that occur.
        sounds: phone ids of each one's pronunciations, the usual one first.
    """

    places: NDArray[np.int32]
    words: Sequence[str]
    sounds: Sequence[Sequence[NDArray[np.int32]]]

    def stretch(self, num_words: int, random: np.random.Generator) -> NDArray[np.int32]:
        """Places in `words` of so many in a row, from anywhere; fewer where there are no more."""
        first = int(random.integers(max(1, len(self.places) - num_words + 1)))
        return self.places[first : first + num_words]

    def one_by_one(self, num_words: int, random: np.random.Generator) -> NDArray[np.int32]:
        """Places in `words` of so many, each drawn as often as it occurs, but none as if it did so more
        than 300 times: most of a stretch are the few hundred words that need no more reading."""
        drawn = random.integers(self._rising[-1], size=num_words)
        return np.searchsorted(self._rising, drawn, side="right").astype(np.int32)

    @cached_property
    def _rising(self) -> NDArray[np.int64]:
        counts = np.bincount(self.places, minlength=len(self.words))
        return np.minimum(counts, _OFTEN).cumsum()

    def lines(self) -> Iterator[str]:
        """The words, so many in a line that a line is little."""
        for first in range(0, len(self.places), _WORDS_IN_LINE):
            places = self.places[first : first + _WORDS_IN_LINE].tolist()
            yield " ".join(self.words[place] for place in places)


def read_words(
    texts: Sequence[Path], normalizer: str, lexicon: Lexicon, tokenizer: Tokenizer
) -> WordStream:
    """The words of texts that the lexicon and the tokenizer have; the others are left out.

    Raises:
        AsrError: a text that cannot be read, or no word left.
    """
    places: dict[str, int] = {}
    sounds: list[list[NDArray[np.int32]]] = []
    row = array("i")
    for sentence in read_sentences(TextSource(tuple(texts), normalizer)):
        for word in sentence:
            place = places.get(word)
            if place is None:
                said = lexicon.spellings(word)
                known = bool(said) and not tokenizer.unknown_characters([word])
                place = places[word] = len(sounds) if known else -1
                if known:
                    sounds.append([np.array(one, np.int32) for one in said])
            if place >= 0:
                row.append(place)
    if not row:
        raise AsrError(
            f"speller.texts ({', '.join(map(str, texts))}) have no word of the model's lexicon"
        )
    words = [word for word, place in places.items() if place >= 0]
    return WordStream(np.array(row, np.int32), words, sounds)


def sayable(stream: WordStream, bank: PosteriorBank) -> WordStream:
    """Without pronunciations that have a phone which nobody has said, and words that have no other."""
    sounds = [[one for one in said if bank.has(one.tolist())] for said in stream.sounds]
    can_be_said = np.array([bool(said) for said in sounds])
    places = stream.places[can_be_said[stream.places]]
    if not len(places):
        raise AsrError("no word of speller.texts has phones that the training speech has")
    if not bank.has(BOUNDARY.tolist()):
        raise AsrError(
            "nobody says two words in the training speech: a speller needs what is between"
        )
    return WordStream(places, stream.words, sounds)
