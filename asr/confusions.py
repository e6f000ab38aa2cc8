"""Which words and letters are confused, and what the WER would be if one confusion were fixed."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from asr.edits import (
    Counts,
    Span,
    align_characters,
    align_words,
    count_spans,
    sum_counts,
)
from asr.scoring import CorpusScore, UtteranceScore

TOP = 50
"""How many confusions of a kind are listed."""

Compound = tuple[UtteranceScore, int, int]
"""An utterance and the hypothesis words [start, end) that are a compound of the reference."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """An error that happens `count` times.

    Substitutions have both texts, deletions no hypothesis, insertions no reference.

    Attributes:
        rate_if_fixed: corpus WER (CER for letters) if all of these were right and nothing else
            changed.
    """

    reference: str
    hypothesis: str
    count: int
    rate_if_fixed: float


def word_errors(
    score: CorpusScore, top: int = TOP
) -> tuple[tuple[Confusion, ...], tuple[Confusion, ...], tuple[Confusion, ...]]:
    """The most frequent substitutions, deletions and insertions."""
    counters: dict[str, Counter[tuple[str, str]]] = {
        operation: Counter() for operation in ("substitute", "delete", "insert")
    }
    for utterance in _wrong(score):
        for operation, reference, hypothesis in utterance.pairs():
            if operation != "equal":
                counters[operation][reference or "", hypothesis or ""] += 1
    substitutions, deletions, insertions = (
        _ranked(counter, score.counts, top) for counter in counters.values()
    )
    return substitutions, deletions, insertions


def letter_errors(score: CorpusScore, top: int = TOP) -> tuple[Confusion, ...]:
    """The most frequent confusions of single characters."""
    if score.character_counts is None:
        raise ValueError("the score was made without characters")
    wrong = [u for u in _wrong(score) if not u.missing]
    counter: Counter[tuple[str, str]] = Counter()
    for start in range(0, len(wrong), 1000):
        batch = wrong[start : start + 1000]
        pairs = [(one.reference, one.hypothesis) for one in batch]
        for (reference, hypothesis), spans in zip(pairs, align_characters(pairs), strict=True):
            counter.update(_character_edits(reference, hypothesis, spans))
    return _ranked(counter, score.character_counts, top)


def compound_errors(score: CorpusScore, top: int = TOP) -> tuple[Confusion, ...]:
    """Words that differ only in where they are split, such as "every one" / "everyone".

    `rate_if_fixed` is exact: the utterances concerned are aligned again with the words of the
    reference put in.
    """
    places: dict[tuple[str, str], list[Compound]] = {}
    for utterance in _wrong(score):
        for reference, hypothesis, start, end in _compounds(utterance):
            key = (" ".join(reference), " ".join(hypothesis))
            places.setdefault(key, []).append((utterance, start, end))
    ranked = sorted(places.items(), key=lambda item: (-len(item[1]), item[0]))[:top]
    return tuple(
        Confusion(*key, len(found), _rate_without(score.counts, _errors_saved(key[0], found)))
        for key, found in ranked
    )


def _wrong(score: CorpusScore) -> list[UtteranceScore]:
    return [one for one in score.utterances if one.words.errors]


def _ranked(counter: Counter[tuple[str, str]], counts: Counts, top: int) -> tuple[Confusion, ...]:
    ranked = sorted(counter.items(), key=lambda item: (-item[1], item[0]))[:top]
    return tuple(
        Confusion(reference, hypothesis, count, _rate_without(counts, count))
        for (reference, hypothesis), count in ranked
    )


def _rate_without(counts: Counts, errors: int) -> float:
    return (counts.errors - errors) / counts.num_reference if counts.num_reference else float("nan")


def _character_edits(
    reference: str, hypothesis: str, spans: Sequence[Span]
) -> Iterator[tuple[str, str]]:
    for operation, i, ref_end, j, hyp_end in spans:
        if operation == "equal":
            continue
        for step in range(max(ref_end - i, hyp_end - j)):
            yield (
                reference[i + step] if i < ref_end else "",
                hypothesis[j + step] if j < hyp_end else "",
            )


def _compounds(
    utterance: UtteranceScore,
) -> Iterator[tuple[list[str], list[str], int, int]]:
    """Runs of errors in which some words, written together, are the same on both sides.

    Yields the words of both sides, and start and end of the hypothesis words.
    """
    reference, hypothesis = utterance.reference.split(), utterance.hypothesis.split()
    for ref_start, ref_end, hyp_start, hyp_end in _error_runs(utterance.alignment):
        i, j = ref_start, hyp_start
        while i < ref_end and j < hyp_end:
            match = _split_match(reference[i:ref_end], hypothesis[j:hyp_end])
            if match:
                ref_words, hyp_words = match
                end = j + hyp_words
                yield reference[i : i + ref_words], hypothesis[j:end], j, end
                i, j = i + ref_words, j + hyp_words
            else:
                i, j = _next_start(reference, hypothesis, (i, ref_end), (j, hyp_end))


def _next_start(
    reference: list[str], hypothesis: list[str], ref: tuple[int, int], hyp: tuple[int, int]
) -> tuple[int, int]:
    """The nearest later pair of places at which a compound begins, or the end of the run."""
    starts = (
        (i, j)
        for i in range(ref[0], min(ref[1], ref[0] + 8))
        for j in range(hyp[0], min(hyp[1], hyp[0] + 8))
        if _split_match(reference[i : ref[1]], hypothesis[j : hyp[1]])
    )
    return min(starts, key=lambda place: (place[0] + place[1], place), default=(ref[1], hyp[1]))


def _error_runs(alignment: Sequence[Span]) -> Iterator[tuple[int, int, int, int]]:
    start: Span | None = None
    last: Span | None = None
    for span in (*alignment, None):
        if span is not None and span.operation != "equal":
            start, last = start or span, span
        elif start is not None and last is not None:
            yield start.ref_start, last.ref_end, start.hyp_start, last.hyp_end
            start = last = None


def _split_match(reference: Sequence[str], hypothesis: Sequence[str]) -> tuple[int, int] | None:
    """How many words from the start of both sides spell the same letters, split differently.

    >>> _split_match(["every", "one", "is"], ["everyone", "was"])
    (2, 1)
    """
    if not reference or not hypothesis:
        return None
    i = j = 1
    left, right = reference[0], hypothesis[0]
    while left != right and (i, j) < (9, 9):
        if len(left) < len(right) and right.startswith(left) and i < len(reference):
            left, i = left + reference[i], i + 1
        elif len(right) < len(left) and left.startswith(right) and j < len(hypothesis):
            right, j = right + hypothesis[j], j + 1
        else:
            return None
    return (i, j) if left == right and i + j > 2 else None


def _errors_saved(reference: str, found: Sequence[Compound]) -> int:
    """Errors that vanish when the hypothesis words are replaced by the reference words."""
    edits: dict[str, list[tuple[int, int]]] = {}
    utterances = {utterance.utterance_id: utterance for utterance, *_ in found}
    for utterance, start, end in found:
        edits.setdefault(utterance.utterance_id, []).append((start, end))
    pairs: list[tuple[str, str]] = []
    for utterance_id, places in edits.items():
        words = utterances[utterance_id].hypothesis.split()
        for start, end in sorted(places, reverse=True):
            words[start:end] = reference.split()
        pairs.append((utterances[utterance_id].reference, " ".join(words)))
    after = sum(count_spans(spans).errors for spans in align_words(pairs))
    return sum_counts(one.words for one in utterances.values()).errors - after
