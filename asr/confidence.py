"""Word confidence: made into the chance that a word is right, and how well it is that.

A decoder's own figure, the mean probability of a word's tokens, is too sure where the decoder took the
likeliest letters, and too unsure where a language model overruled them. A logistic regression on a
development set mends both (Platt 1999), with the word's length as a second feature: five letters
agree by chance less often than one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_BINS = 10
_MOST_CERTAIN = 1e-4  # confidences are kept this far from 0 and 1, whose logits are infinite
_RIDGE = 1e-3  # so that words that are all right, or all wrong, still have a best fit
_NEWTON_STEPS = 25


class JudgedWord(NamedTuple):
    """A word as recognised, with the decoder's confidence and whether it was said."""

    text: str
    confidence: float
    is_right: bool


@dataclass(frozen=True)
class Calibration:
    """P(right) = sigmoid(slope * logit(confidence) + length_slope * ln(letters) + offset)."""

    slope: float
    length_slope: float
    offset: float

    def __call__(self, texts: Sequence[str], confidences: Sequence[float]) -> list[float]:
        """The calibrated confidence of each word, from its text and the decoder's confidence."""
        weights = np.array([self.slope, self.length_slope, self.offset])
        calibrated: list[float] = _sigmoid(_features(texts, confidences) @ weights).tolist()
        return calibrated

    def of(self, words: Sequence[JudgedWord]) -> list[JudgedWord]:
        """The words with calibrated confidences."""
        confidences = self([word.text for word in words], [word.confidence for word in words])
        return [
            word._replace(confidence=confidence)
            for word, confidence in zip(words, confidences, strict=True)
        ]


def fit_calibration(words: Sequence[JudgedWord]) -> Calibration | None:
    """The calibration that makes these words likeliest; None without words.

    Newton's method on the logistic likelihood with a slight ridge penalty.
    """
    if not words:
        return None
    features = _features([word.text for word in words], [word.confidence for word in words])
    right = np.array([word.is_right for word in words], dtype=np.float64)
    weights = np.zeros(3)
    for _ in range(_NEWTON_STEPS):
        chance = _sigmoid(features @ weights)
        gradient = features.T @ (right - chance) - _RIDGE * weights
        curvature = (features.T * (chance * (1 - chance))) @ features + _RIDGE * np.eye(3)
        weights = weights + np.linalg.solve(curvature, gradient)
    return Calibration(*(float(weight) for weight in weights))


def _features(texts: Sequence[str], confidences: Sequence[float]) -> NDArray[np.float64]:
    clipped = np.clip(np.asarray(confidences, np.float64), _MOST_CERTAIN, 1 - _MOST_CERTAIN)
    lengths = np.array([max(1, len(text)) for text in texts], np.float64)
    return np.column_stack([np.log(clipped / (1 - clipped)), np.log(lengths), np.ones(len(texts))])


def _sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-np.clip(values, -30, 30)))


@dataclass(frozen=True, slots=True)
class ConfidenceBin:
    """Hypothesis words whose confidence lies in [low, high)."""

    low: float
    high: float
    num_words: int
    mean_confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class ConfidenceQuality:
    """How far word confidences can be trusted.

    Attributes:
        auc: area under the ROC curve, the chance that a right word has a higher confidence than a
            wrong one; None where all words are right or all are wrong.
        calibration_error: mean distance of confidence and accuracy over the bins, weighted by words
            (expected calibration error, Naeini et al. 2015).
        bins: those of ten equal ones that have words.
    """

    num_words: int
    auc: float | None
    calibration_error: float
    bins: tuple[ConfidenceBin, ...]


def confidence_quality(words: Sequence[JudgedWord]) -> ConfidenceQuality | None:
    """Measure confidences against what was said; None without words."""
    if not words:
        return None
    confidences = np.array([word.confidence for word in words], np.float64)
    right = np.array([word.is_right for word in words], bool)
    places = np.clip((confidences * _BINS).astype(int), 0, _BINS - 1)
    bins = tuple(
        ConfidenceBin(
            place / _BINS,
            (place + 1) / _BINS,
            int((places == place).sum()),
            float(confidences[places == place].mean()),
            float(right[places == place].mean()),
        )
        for place in np.unique(places).tolist()
    )
    distance = sum(one.num_words * abs(one.mean_confidence - one.accuracy) for one in bins)
    return ConfidenceQuality(
        len(words), area_under_roc(confidences, right), distance / len(words), bins
    )


def area_under_roc(values: NDArray[np.float64], right: NDArray[np.bool_]) -> float | None:
    """The Mann-Whitney statistic of `values` (N,) for `right` (N,); equal values count half.

    >>> area_under_roc(np.array([0.9, 0.5, 0.5]), np.array([True, True, False]))
    0.75
    """
    num_right = int(right.sum())
    num_wrong = len(right) - num_right
    if not num_right or not num_wrong:
        return None
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    above = ranks[right].sum() - num_right * (num_right + 1) / 2
    return float(above / (num_right * num_wrong))
