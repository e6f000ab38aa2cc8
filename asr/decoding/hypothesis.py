"""What every decoder returns."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """A decoded token sequence.

    Attributes:
        token_ids: U ids, blanks and repeats removed.
        spans: U pairs (first, last + 1) of encoder frames that the token covers.
        confidences: U values in [0, 1].
        score: natural log-probability of the path or prefix, language model included.
    """

    token_ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    confidences: tuple[float, ...]
    score: float
