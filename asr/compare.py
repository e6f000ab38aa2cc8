"""Is one system better than another? Paired tests on the same utterances, and a careful verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from asr.errors import AsrError
from asr.report_json import StoredReport
from asr.scoring import CorpusScore, score
from asr.significance import (
    LEVEL,
    SAMPLES,
    Interval,
    PairedBootstrap,
    SegmentTest,
    holm,
    mapsswe,
    paired_bootstrap,
    wer_interval,
)


@dataclass(frozen=True)
class ComparedSystem:
    """One system on the utterances that all systems have."""

    name: str
    score: CorpusScore
    interval: Interval


@dataclass(frozen=True, slots=True)
class ChangedUtterance:
    """An utterance on which two systems differ in their number of errors."""

    utterance_id: str
    reference: str
    hypothesis_a: str
    hypothesis_b: str
    errors_a: int
    errors_b: int


@dataclass(frozen=True)
class PairComparison:
    """System B against system A; differences are B minus A.

    Attributes:
        bootstrap: with an interval at 95 % for all pairs together (Bonferroni for several).
        segments: the MAPSSWE test.
        p_adjusted: its p-value after Holm's correction over all pairs.
        changed: most changed first, improvements and losses alike.
        num_different: utterances whose hypotheses differ, with equal errors or not.
    """

    name_a: str
    name_b: str
    wer_a: float
    wer_b: float
    bootstrap: PairedBootstrap
    segments: SegmentTest
    p_adjusted: float
    changed: tuple[ChangedUtterance, ...]
    num_different: int
    verdict: str

    @property
    def num_better(self) -> int:
        """Utterances on which B makes fewer errors."""
        return sum(1 for one in self.changed if one.errors_b < one.errors_a)

    @property
    def num_worse(self) -> int:
        """Utterances on which B makes more errors."""
        return len(self.changed) - self.num_better


@dataclass(frozen=True)
class Comparison:
    """Two or more systems, compared pair by pair."""

    normalizer: str
    systems: tuple[ComparedSystem, ...]
    pairs: tuple[PairComparison, ...]
    notes: tuple[str, ...]


def compare(
    reports: Sequence[StoredReport],
    *,
    force: bool = False,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare every pair of reports on the utterances they share.

    A speaker that only some of the reports name counts for all; of two names the first report's.

    Args:
        force: go on under different normalisers or with other references, with a note.

    Raises:
        AsrError: fewer than two reports, none or other utterances in common, different
            normalisers or references.
    """
    if len(reports) < 2:
        raise AsrError("a comparison needs at least two reports")
    notes = [*_check_normalizers(reports, force), *_check_references(reports, force)]
    shared, left_out = _shared_ids(reports)
    notes += left_out
    names = _distinct_names(reports)
    speakers = {name: who for one in reversed(reports) for name, who in one.speakers.items()}
    scores = [_rescore(one, reports[0], shared, speakers) for one in reports]
    systems = tuple(
        ComparedSystem(name, one, wer_interval(one, samples=samples, seed=seed))
        for name, one in zip(names, scores, strict=True)
    )
    pairs = _compare_pairs(systems, samples, seed)
    return Comparison(reports[0].normalizer, systems, pairs, tuple(notes))


def verdict(pair: PairComparison) -> str:
    """What may be said, in a sentence: no more than both tests and the sampling allow."""
    if not pair.num_different:
        return f"{pair.name_b} and {pair.name_a} put out the same words on every utterance."
    interval = pair.bootstrap.interval
    if interval.low != interval.low:
        return (
            f"{_counted(pair)}, and too few {interval.unit}s have words to tell whether that holds "
            f"for others (MAPSSWE p {p_text(pair.p_adjusted)})."
        )
    segments_differ = pair.p_adjusted < 1 - LEVEL
    rates_differ = interval.low > 0 or interval.high < 0
    better, worse, size = _ranked(pair)
    span = f"{100 * interval.low:+.2f} to {100 * interval.high:+.2f} points"
    evidence = f"interval of the difference {span} over {interval.num_units} {interval.unit}s, "
    evidence += f"MAPSSWE p {p_text(pair.p_adjusted)}"
    basis = "speakers and recordings" if interval.unit == "speaker" else "utterances"
    if segments_differ and rates_differ:
        return (
            f"{better} makes fewer errors than {worse}, by {size} ({evidence}); expect the same on "
            f"other {basis} like these, not on unlike ones."
        )
    if segments_differ or rates_differ:
        return (
            f"{better} makes fewer errors than {worse} on these utterances, by {size}, but the two "
            f"tests disagree ({evidence}): more {interval.unit}s are needed to be sure."
        )
    return (
        f"No difference between {pair.name_b} and {pair.name_a} has been shown ({evidence}). That "
        "does not make them equal: any difference within the interval fits these data."
    )


def _counted(pair: PairComparison) -> str:
    """Who makes how many errors fewer, where that is all there is to say."""
    difference = pair.bootstrap.difference
    if not difference:  # nan is not zero
        return f"{pair.name_b} and {pair.name_a} make equally many errors"
    if difference != difference:
        return f"The references have no words to compare {pair.name_b} and {pair.name_a} by"
    better, worse, size = _ranked(pair)
    return f"{better} makes fewer errors than {worse} here, by {size}"


def _ranked(pair: PairComparison) -> tuple[str, str, str]:
    """The better system, the worse one, and by how much."""
    difference = pair.bootstrap.difference
    better, worse = (pair.name_b, pair.name_a) if difference < 0 else (pair.name_a, pair.name_b)
    return better, worse, f"{100 * abs(difference):.2f} points of WER"


def span_text(interval: Interval) -> str:
    """The interval of a difference, with its level and what was resampled."""
    if interval.low != interval.low:
        return f"no interval: too few {interval.unit}s"
    return (
        f"{100 * interval.level:.3g} % interval {100 * interval.low:+.2f} to {100 * interval.high:+.2f} "
        f"(paired bootstrap over {interval.num_units} {interval.unit}s)"
    )


def p_text(value: float) -> str:
    """A p-value with its sign, as it may be quoted: "= 0.03", "< 0.0001"."""
    if value < 0.0001:
        return "< 0.0001"
    return f"= {value:.2g}" if value < 0.1 else f"= {value:.2f}"


def _compare_pairs(
    systems: Sequence[ComparedSystem], samples: int, seed: int
) -> tuple[PairComparison, ...]:
    pairs = list(combinations(systems, 2))
    level = 1 - (1 - LEVEL) / len(pairs)
    tests = [mapsswe(a.score, b.score) for a, b in pairs]
    adjusted = holm([test.p_value for test in tests])
    found = []
    for (a, b), test, p_adjusted in zip(pairs, tests, adjusted, strict=True):
        bootstrap = paired_bootstrap(a.score, b.score, samples=samples, seed=seed, level=level)
        changed, num_different = _changes(a.score, b.score)
        rates = (a.score.wer, b.score.wer)
        pair = PairComparison(
            a.name, b.name, *rates, bootstrap, test, p_adjusted, changed, num_different, ""
        )
        found.append(replace(pair, verdict=verdict(pair)))
    return tuple(found)


def _changes(a: CorpusScore, b: CorpusScore) -> tuple[tuple[ChangedUtterance, ...], int]:
    changed = [
        ChangedUtterance(
            one.utterance_id,
            one.reference,
            one.hypothesis,
            other.hypothesis,
            one.words.errors,
            other.words.errors,
        )
        for one, other in zip(a.utterances, b.utterances, strict=True)
        if one.words.errors != other.words.errors
    ]
    changed.sort(key=lambda one: (-abs(one.errors_a - one.errors_b), one.utterance_id))
    different = sum(
        one.hypothesis != other.hypothesis
        for one, other in zip(a.utterances, b.utterances, strict=True)
    )
    return tuple(changed), different


def _check_normalizers(reports: Sequence[StoredReport], force: bool) -> list[str]:
    names = dict.fromkeys(one.normalizer for one in reports)
    if len(names) == 1:
        return []
    listed = ", ".join(f"{one.path} ({one.normalizer})" for one in reports)
    if not force:
        raise AsrError(
            f"these reports were scored under different normalisers: {listed}. Their rates count "
            "different words; score them alike, or insist with --force"
        )
    return [f"Scored under different normalisers: {listed}."]


def _check_references(reports: Sequence[StoredReport], force: bool) -> list[str]:
    first, notes = reports[0], list[str]()
    for other in reports[1:]:
        differing = [
            name
            for name, text in first.references.items()
            if other.references.get(name, text) != text
        ]
        if not differing:
            continue
        message = (
            f"{first.path} and {other.path} have different references for {len(differing)} "
            f"utterances, such as {differing[0]!r}"
        )
        if not force:
            raise AsrError(f"{message}; score both against the same ones, or insist with --force")
        notes.append(f"{message}; those of {first.path} were used.")
    return notes


def _shared_ids(reports: Sequence[StoredReport]) -> tuple[list[str], list[str]]:
    shared = [
        name for name in reports[0].references if all(name in one.references for one in reports)
    ]
    if not shared:
        raise AsrError("these reports have no utterance in common; are they of one test set?")
    largest = max(len(one.references) for one in reports)
    if all(len(one.references) == len(shared) for one in reports):
        return shared, []
    return shared, [
        f"Only the {len(shared)} utterances that all reports have are compared (of up to {largest})."
    ]


def _rescore(
    report: StoredReport, first: StoredReport, ids: Sequence[str], speakers: Mapping[str, str]
) -> CorpusScore:
    """The stored texts are normalised already; one alignment again serves every pair."""
    return score(
        {name: first.references[name] for name in ids},
        {name: report.hypotheses[name] for name in ids},
        speakers=speakers,
        normalizer=report.normalizer,
        characters=False,
    )


def _distinct_names(reports: Sequence[StoredReport]) -> list[str]:
    """The systems' names; the reports' folders where two systems are called the same."""
    choices: tuple[list[str], ...] = (
        [one.name for one in reports],
        [one.path.parent.name for one in reports],
        [str(one.path.parent) for one in reports],
    )
    distinct = (names for names in choices if len(set(names)) == len(names))
    return next(distinct, [f"{number}: {name}" for number, name in enumerate(choices[2], start=1)])
