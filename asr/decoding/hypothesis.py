"""What every decoder takes and what it returns."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class LogProbs(NamedTuple):
    """What the network says of one utterance, natural logarithms.

    Attributes:
        tokens: (T', V).
        phones: (T', P) of its second head; None where it has none.
        spelling: (T'', V') of its speller's pieces; None where there is none, or it was not asked.
    """

    tokens: NDArray[np.float32]
    phones: NDArray[np.float32] | None = None
    spelling: NDArray[np.float32] | None = None


class WordRange(NamedTuple):
    """A word, and the positions first to last - 1 of the tokens that it is written or said with."""

    text: str
    first: int
    last: int


@dataclass(frozen=True)
class Hypothesis:
    """A decoded token sequence.

    Attributes:
        token_ids: U ids, blanks and repeats removed; of phones where `words` are given.
        spans: U pairs (first, last + 1) of encoder frames that the token covers.
        confidences: U values in [0, 1].
        score: natural log-probability of the path or prefix, language model included.
        words: of the tokens, where these do not spell them but say them; else None.
    """

    token_ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    confidences: tuple[float, ...]
    score: float
    words: tuple[WordRange, ...] | None = None
