"""Where a system errs: by speaker, by duration, by vocabulary, by its own confidence.

Everything here is counted from the alignments of a `CorpusScore`; nothing is drawn or written.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from asr.confidence import ConfidenceQuality, JudgedWord, confidence_quality
from asr.confusions import Confusion, compound_errors, letter_errors, word_errors
from asr.facts import ReportFacts, UtteranceFacts
from asr.scoring import CorpusScore, Counts, GroupScore, UtteranceScore, group_by, sum_utterances
from asr.significance import SAMPLES, Interval, wer_interval

DURATION_EDGES_S = (2.0, 5.0, 10.0, 15.0, 20.0, 30.0)
RATE_EDGES = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
"""Words of the reference per second of the utterance."""

_MAX_FIELD_VALUES = 50  # a manifest field with more values than this is no grouping but an id
_TOP = 50


@dataclass(frozen=True, slots=True)
class Breakdown:
    """The corpus cut into groups: by speaker, by duration, by a field of the manifest."""

    by: str
    groups: tuple[GroupScore, ...]


@dataclass(frozen=True, slots=True)
class VocabularySplit:
    """Reference words inside and outside a vocabulary; insertions have no reference word.

    Attributes:
        known, unknown: counts of the reference words in and out of the vocabulary.
        unknown_words: unknown words with how often each occurs, most frequent first.
    """

    name: str
    size: int
    known: Counts
    unknown: Counts
    unknown_words: tuple[tuple[str, int], ...]

    @property
    def rate(self) -> float:
        """Share of the reference words that the vocabulary lacks."""
        words = self.known.num_reference + self.unknown.num_reference
        return self.unknown.num_reference / words if words else 0.0


@dataclass(frozen=True)
class Analysis:
    """Everything a report shows besides the sums of the score itself."""

    interval: Interval
    breakdowns: tuple[Breakdown, ...]
    substitutions: tuple[Confusion, ...]
    deletions: tuple[Confusion, ...]
    insertions: tuple[Confusion, ...]
    compounds: tuple[Confusion, ...]
    letters: tuple[Confusion, ...]
    vocabulary: VocabularySplit | None
    confidence: ConfidenceQuality | None
    notes: tuple[str, ...]


def analyse(
    score: CorpusScore,
    facts: ReportFacts | None = None,
    *,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Analysis:
    """Count everything a report shows; `letters` is empty where no CER was asked for."""
    facts = facts or ReportFacts()
    substitutions, deletions, insertions = word_errors(score)
    return Analysis(
        interval=wer_interval(score, samples=samples, seed=seed),
        breakdowns=breakdowns(score, facts.utterances),
        substitutions=substitutions,
        deletions=deletions,
        insertions=insertions,
        compounds=compound_errors(score),
        letters=letter_errors(score) if score.character_counts is not None else (),
        vocabulary=vocabulary_split(score, facts),
        confidence=confidence_quality(judged_words(score, facts.utterances)),
        notes=_notes(score),
    )


def breakdowns(score: CorpusScore, facts: Mapping[str, UtteranceFacts]) -> tuple[Breakdown, ...]:
    """Cut by speaker, duration, speaking rate and every field that groups utterances."""
    none = UtteranceFacts()
    known = {u.utterance_id: facts.get(u.utterance_id, none) for u in score.utterances}
    cuts: list[Breakdown] = []
    if score.speakers:
        cuts.append(Breakdown("speaker", score.speakers))
    names = dict.fromkeys(name for one in known.values() for name in one.fields)
    for name in names:
        groups = group_by(score.utterances, lambda u, n=name: known[u.utterance_id].fields.get(n))  # type: ignore[misc]
        if 1 < len(groups) <= min(_MAX_FIELD_VALUES, len(score.utterances) - 1):
            cuts.append(Breakdown(name, groups))
    durations = {i: one.duration_s for i, one in known.items() if one.duration_s}
    if durations:
        cuts.append(_binned(score, "duration (s)", DURATION_EDGES_S, durations.get))
        rates = {
            u.utterance_id: u.words.num_reference / durations[u.utterance_id]
            for u in score.utterances
            if u.utterance_id in durations and u.words.num_reference
        }
        cuts.append(_binned(score, "speaking rate (words/s)", RATE_EDGES, rates.get))
    return tuple(cuts)


def vocabulary_split(score: CorpusScore, facts: ReportFacts) -> VocabularySplit | None:
    """Errors on reference words in and out of `facts.vocabulary`; None where none is given."""
    vocabulary = facts.vocabulary
    if vocabulary is None:
        return None
    counts: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    unknown: Counter[str] = Counter()
    for utterance in score.utterances:
        for operation, reference, _ in utterance.pairs():
            if reference is not None:
                counts[reference in vocabulary][operation] += 1
                if reference not in vocabulary:
                    unknown[reference] += 1
    known_counts, unknown_counts = (
        Counts(kinds["equal"], kinds["substitute"], kinds["delete"], 0)
        for kinds in (counts[True], counts[False])
    )
    ranked = tuple(sorted(unknown.items(), key=lambda item: (-item[1], item[0]))[:_TOP])
    name = facts.vocabulary_name or "vocabulary"
    return VocabularySplit(name, len(vocabulary), known_counts, unknown_counts, ranked)


def judged_words(score: CorpusScore, facts: Mapping[str, UtteranceFacts]) -> tuple[JudgedWord, ...]:
    """Every hypothesis word that has a confidence, with whether the alignment finds it right."""
    words: list[JudgedWord] = []
    for utterance in score.utterances:
        one = facts.get(utterance.utterance_id)
        confidences = one.confidences if one else None
        if confidences is None or len(confidences) != utterance.words.num_hypothesis:
            continue
        pairs = [pair for pair in utterance.pairs() if pair.hypothesis is not None]
        words += [
            JudgedWord(pair.hypothesis or "", confidence, pair.operation == "equal")
            for pair, confidence in zip(pairs, confidences, strict=True)
        ]
    return tuple(words)


def _binned(
    score: CorpusScore,
    by: str,
    edges: Sequence[float],
    value_of: Callable[[str], float | None],
) -> Breakdown:
    """Cut by a number into [0, edge), [edge, edge), ..., [edge, infinity)."""
    middle = [f"{low:g} – {high:g}" for low, high in pairwise(edges)]
    labels = [f"< {edges[0]:g}", *middle, f"≥ {edges[-1]:g}"]
    members: list[list[UtteranceScore]] = [[] for _ in labels]
    for utterance in score.utterances:
        value = value_of(utterance.utterance_id)
        if value is not None:
            members[sum(value >= edge for edge in edges)].append(utterance)
    return Breakdown(
        by, tuple(sum_utterances(label, m) for label, m in zip(labels, members, strict=True) if m)
    )


def _notes(score: CorpusScore) -> tuple[str, ...]:
    """What a reader must know before trusting the number, in sentences."""
    notes: list[str] = []
    if score.missing_ids:
        done = "count as deletions" if score.missing == "count" else "are left out"
        notes.append(
            f"{_number(len(score.missing_ids), 'utterance')} without a hypothesis: the words "
            f"{done}. (NIST sclite leaves such utterances out silently.)"
        )
    if score.extra_ids:
        notes.append(
            f"{_number(len(score.extra_ids), 'hypothesis', 'hypotheses')} without a reference: "
            "not scored."
        )
    empty = score.empty_references
    if empty.num_utterances:
        emptied = sum(1 for u in score.utterances if not u.reference and u.raw_reference.strip())
        notes.append(
            f"{_number(empty.num_utterances, 'empty reference')}"
            + (f", {emptied} of them only after normalisation" if emptied else "")
            + f": {_number(empty.words.insertions, 'word')} recognised there count as insertions."
        )
    unnamed = sum(1 for one in score.utterances if one.speaker_id is None)
    if 0 < unnamed < len(score.utterances):
        notes.append(
            f"{_number(unnamed, 'utterance')} without a speaker: the interval is over utterances, "
            "which is too narrow if speakers differ."
        )
    return tuple(notes)


def _number(count: int, noun: str, plural: str | None = None) -> str:
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
