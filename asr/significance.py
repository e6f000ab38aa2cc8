"""How far a WER, or a difference of two, can be trusted: intervals and paired tests.

Sampling units are speakers where speakers are known, for words of one voice stand and fall
together and resampling utterances would make the interval too narrow (Liu & Peng 2020,
arXiv 1912.09508). Everything random is seeded.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asr.scoring import CorpusScore, UtteranceScore

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

SAMPLES = 10_000
LEVEL = 0.95
MIN_SPEAKERS = 5
"""Fewer speakers than this cannot tell how speakers differ: utterances are resampled instead."""

_MIN_GOOD = 2  # correct words that close a MAPSSWE segment, as in NIST sc_stats
_BLOCK = 1 << 22  # random numbers drawn at a time


@dataclass(frozen=True)
class Interval:
    """A confidence interval of a rate or of a difference of rates (fractions).

    Attributes:
        low, high: the ends; nan where there are too few units for an interval.
        level: how often such intervals hold the true value.
        unit: what was resampled, "speaker" or "utterance".
        num_units: how many of them there are.
        samples, seed: of the bootstrap.
    """

    low: float
    high: float
    level: float
    unit: str
    num_units: int
    samples: int
    seed: int


@dataclass(frozen=True)
class PairedBootstrap:
    """Systems A and B on the same utterances; differences are WER of B minus WER of A."""

    difference: float
    interval: Interval
    probability_b_better: float


@dataclass(frozen=True)
class SegmentTest:
    """Matched-pairs sentence-segment word error test (MAPSSWE; Gillick & Cox 1989, NIST).

    Attributes:
        num_segments: stretches in which at least one system errs, bounded by two words that both
            have right, or by the ends of the utterance.
        mean, deviation: of the errors of A minus the errors of B in a segment.
        z: mean over its standard error; positive where A makes more errors.
        p_value: two-sided, from Student's distribution, which for many segments is the normal one
            that sc_stats takes, and claims less for few; where all segments differ alike, of the
            sign test.
    """

    num_segments: int
    mean: float
    deviation: float
    z: float
    p_value: float


def wer_interval(
    score: CorpusScore, *, samples: int = SAMPLES, seed: int = 0, level: float = LEVEL
) -> Interval:
    """Interval of the corpus WER; over speakers where at least `MIN_SPEAKERS` are known."""
    unit, labels = sampling_units(score.utterances)
    counts = [(one.words.errors, one.words.num_reference) for one in score.utterances]
    errors, words = _sum_by_unit(np.array(counts, dtype=np.int64).reshape(-1, 2), labels).T
    rates = resampled_rates(errors, words, samples=samples, seed=seed)
    low, high = expanded_percentiles(rates, len(errors), level)
    return Interval(low, high, level, unit, len(errors), samples, seed)


def paired_bootstrap(
    score_a: CorpusScore,
    score_b: CorpusScore,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
    level: float = LEVEL,
) -> PairedBootstrap:
    """Resample speakers (or utterances) once for both systems (Bisani & Ney 2004).

    Both scores must hold the same utterances in the same order.
    """
    unit, labels = sampling_units(score_a.utterances)
    rows = [
        (a.words.errors, a.words.num_reference, b.words.errors, b.words.num_reference)
        for a, b in zip(score_a.utterances, score_b.utterances, strict=True)
    ]
    table = _sum_by_unit(np.array(rows, dtype=np.int64).reshape(-1, 4), labels)
    sums = _resampled_sums(table, samples, seed)
    differences = _ratio(sums[:, 2], sums[:, 3]) - _ratio(sums[:, 0], sums[:, 1])
    low, high = expanded_percentiles(differences, len(table), level)
    ties = float(np.mean(differences == 0))
    return PairedBootstrap(
        score_b.wer - score_a.wer,
        Interval(low, high, level, unit, len(table), samples, seed),
        float(np.mean(differences < 0)) + ties / 2,
    )


def sampling_units(utterances: Sequence[UtteranceScore]) -> tuple[str, list[Any]]:
    """What to resample, and for each utterance the unit it belongs to."""
    speakers = [one.speaker_id for one in utterances]
    if None not in speakers and len(set(speakers)) >= MIN_SPEAKERS:
        return "speaker", speakers
    return "utterance", list(range(len(utterances)))


def resampled_rates(
    errors: IntArray, words: IntArray, *, samples: int = SAMPLES, seed: int = 0
) -> FloatArray:
    """Corpus rates of `samples` bootstrap corpora; units are drawn with replacement.

    Shape:
        errors, words: (units,) -> (samples,); nan where a sample has no words.
    """
    sums = _resampled_sums(np.stack([errors, words], axis=1), samples, seed)
    return _ratio(sums[:, 0], sums[:, 1])


def expanded_percentiles(
    values: FloatArray, num_units: int, level: float = LEVEL
) -> tuple[float, float]:
    """Percentile interval, widened for few units (Hesterberg 2015, "expanded percentile").

    The plain percentile interval is too narrow by sqrt((n - 1) / n) and by normal against t
    quantiles: with 10 speakers it covers 90 % for 95 %. The widening vanishes as n grows.
    """
    values = values[np.isfinite(values)]
    if num_units < 2 or not len(values):
        return math.nan, math.nan
    quantile = student_quantile(level, num_units - 1) * math.sqrt(num_units / (num_units - 1))
    tail = _normal_tail(quantile)
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def student_quantile(level: float, degrees: int) -> float:
    """The t that a Student variable exceeds in magnitude with probability 1 - level.

    Bisects the finite series for whole degrees of freedom (Abramowitz & Stegun 26.7.3-4); above
    1,000 degrees the normal quantile with its first correction is equal to six digits.

    >>> round(student_quantile(0.95, 10), 4)
    2.2281
    """
    if degrees > 1000:
        z = NormalDist().inv_cdf((1 + level) / 2)
        return z + (z**3 + z) / (4 * degrees)
    low, high = 0.0, 1e9
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_within(middle, degrees) < level else (low, middle)
    return (low + high) / 2


def segment_errors(a: UtteranceScore, b: UtteranceScore) -> list[tuple[int, int]]:
    """The errors of A and of B in each MAPSSWE segment of one utterance.

    A segment begins with an error of either system and ends before the next two adjacent
    reference words that both systems have right.

    Unlike NIST sc_stats, words that only the second system inserts at the very end of an utterance
    are counted (sc_stats stops reading when the first system's alignment ends).
    """
    marks_a, marks_b = _error_marks(a), _error_marks(b)
    segments: list[tuple[int, int]] = []
    errors_a = errors_b = good = 0
    for place, (error_a, error_b) in enumerate(zip(marks_a, marks_b, strict=True)):
        if error_a or error_b:
            errors_a, errors_b, good = errors_a + error_a, errors_b + error_b, 0
        elif place % 2 and (errors_a or errors_b):  # odd places are words, even ones gaps
            good += 1
            if good == _MIN_GOOD:
                segments.append((errors_a, errors_b))
                errors_a = errors_b = good = 0
    if errors_a or errors_b:
        segments.append((errors_a, errors_b))
    return segments


def mapsswe(score_a: CorpusScore, score_b: CorpusScore) -> SegmentTest:
    """MAPSSWE over two scores of the same utterances in the same order."""
    differences = [
        errors_a - errors_b
        for a, b in zip(score_a.utterances, score_b.utterances, strict=True)
        if a.words.errors or b.words.errors
        for errors_a, errors_b in segment_errors(a, b)
    ]
    return _z_test(np.array(differences, dtype=np.float64))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values of several tests by Holm's step-down method (1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = largest
    return adjusted


def _student_within(t: float, degrees: int) -> float:
    """Probability that a Student variable lies in [-t, t]."""
    angle = math.atan(t / math.sqrt(degrees))
    odd = degrees % 2
    term = math.cos(angle) if odd else 1.0
    total = term if degrees > 1 else 0.0
    for k in range(2 + odd, degrees - 1, 2):
        term *= math.cos(angle) ** 2 * (k - 1) / k
        total += term
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total


def _student_tails(t: float, degrees: int) -> float:
    """Probability that a Student variable lies outside [-t, t]; above 1,000 degrees a normal one."""
    return 2 * _normal_tail(t) if degrees > 1000 else max(0.0, 1 - _student_within(t, degrees))


def _normal_tail(z: float) -> float:
    """Probability of a standard normal variable above z."""
    return math.erfc(z / math.sqrt(2)) / 2


def _z_test(differences: FloatArray) -> SegmentTest:
    count = len(differences)
    mean = float(differences.mean()) if count else 0.0
    deviation = float(differences.std(ddof=1)) if count > 1 else 0.0
    if deviation == 0.0:
        same = mean == 0.0 or count < 2
        z = 0.0 if same else math.copysign(math.inf, mean)
        return SegmentTest(count, mean, deviation, z, 1.0 if same else 2.0 ** (1 - count))
    z = mean / (deviation / math.sqrt(count))
    return SegmentTest(count, mean, deviation, z, _student_tails(abs(z), count - 1))


def _error_marks(utterance: UtteranceScore) -> list[int]:
    """Errors at each place: gap, word, gap, ..., word, gap; gaps count the words inserted there."""
    marks = [0] * (2 * utterance.words.num_reference + 1)
    for operation, ref_start, ref_end, hyp_start, hyp_end in utterance.alignment:
        if operation == "insert":
            marks[2 * ref_start] += hyp_end - hyp_start
        elif operation != "equal":
            for word in range(ref_start, ref_end):
                marks[2 * word + 1] = 1
    return marks


def _sum_by_unit(rows: IntArray, labels: Sequence[Any]) -> IntArray:
    index = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    table = np.zeros((len(index), rows.shape[1]), dtype=np.int64)
    np.add.at(table, [index[label] for label in labels], rows)
    return table


def _resampled_sums(table: IntArray, samples: int, seed: int) -> IntArray:
    """Column sums of `samples` tables whose rows are drawn with replacement.

    Rows that are equal need not be told apart: where there are few distinct ones, how often each
    is drawn is multinomial, which is the same distribution and far fewer random numbers.
    """
    generator = np.random.default_rng(seed)
    rows, repeats = np.unique(table, axis=0, return_counts=True)
    if not len(rows):
        return np.zeros((samples, table.shape[1]), dtype=np.int64)
    if len(rows) * 8 < len(table):
        drawn = generator.multinomial(len(table), repeats / len(table), size=samples)
        return np.asarray(drawn.astype(np.float64) @ rows.astype(np.float64), dtype=np.int64)
    sums = np.empty((samples, table.shape[1]), dtype=np.int64)
    step = max(1, _BLOCK // len(table))
    for start in range(0, samples, step):
        stop = min(start + step, samples)
        chosen = generator.integers(0, len(table), size=(stop - start, len(table)), dtype=np.int32)
        for column in range(table.shape[1]):
            sums[start:stop, column] = table[:, column][chosen].sum(axis=1)
    return sums


def _ratio(numerator: IntArray, denominator: IntArray) -> FloatArray:
    quotient = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator > 0)
    return quotient
