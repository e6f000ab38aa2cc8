"""Edits between two texts: aligned by jiwer at least cost, counted in words or in characters."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jiwer

Operation = Literal["equal", "substitute", "delete", "insert"]


@dataclass(frozen=True, slots=True)
class Counts:
    """Edit counts of an alignment, in words or in characters."""

    hits: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def num_reference(self) -> int:
        """Words (or characters) in the reference."""
        return self.hits + self.substitutions + self.deletions

    @property
    def num_hypothesis(self) -> int:
        """Words (or characters) in the hypothesis."""
        return self.hits + self.substitutions + self.insertions

    @property
    def error_rate(self) -> float:
        """Errors over reference units: WER or CER as a fraction; nan where there are no units."""
        return self.errors / self.num_reference if self.num_reference else math.nan

    @property
    def match_error_rate(self) -> float:
        """MER: errors over all aligned places (Morris et al. 2004); nan where there are none."""
        places = self.num_reference + self.insertions
        return self.errors / places if places else math.nan

    @property
    def information_lost(self) -> float:
        """WIL: 1 - (hits / reference) * (hits / hypothesis) (Morris et al. 2004)."""
        if not self.num_reference:
            return math.nan
        if not self.num_hypothesis:
            return 1.0
        return 1.0 - (self.hits / self.num_reference) * (self.hits / self.num_hypothesis)


def sum_counts(counts: Iterable[Counts]) -> Counts:
    """Add counts up; the sum of nothing is zero."""
    hits = substitutions = deletions = insertions = 0
    for one in counts:
        hits += one.hits
        substitutions += one.substitutions
        deletions += one.deletions
        insertions += one.insertions
    return Counts(hits, substitutions, deletions, insertions)


class Span(NamedTuple):
    """A run of one operation: reference words [ref_start, ref_end) against hypothesis words."""

    operation: Operation
    ref_start: int
    ref_end: int
    hyp_start: int
    hyp_end: int


class AlignedPair(NamedTuple):
    """One place of an alignment: no reference at an insertion, no hypothesis at a deletion."""

    operation: Operation
    reference: str | None
    hypothesis: str | None


def align_words(pairs: Sequence[tuple[str, str]]) -> list[tuple[Span, ...]]:
    """Align (reference, hypothesis) pairs word by word, at least cost, all edits costing 1."""
    return _align(pairs, jiwer.process_words)


def align_characters(pairs: Sequence[tuple[str, str]]) -> list[tuple[Span, ...]]:
    """Align (reference, hypothesis) pairs character by character, spaces included."""
    return _align(pairs, jiwer.process_characters)


def count_spans(spans: Iterable[Span]) -> Counts:
    """The counts of one alignment."""
    hits = substitutions = deletions = insertions = 0
    for operation, ref_start, ref_end, hyp_start, hyp_end in spans:
        if operation == "equal":
            hits += ref_end - ref_start
        elif operation == "substitute":
            substitutions += ref_end - ref_start
        elif operation == "delete":
            deletions += ref_end - ref_start
        else:
            insertions += hyp_end - hyp_start
    return Counts(hits, substitutions, deletions, insertions)


def _align(
    pairs: Sequence[tuple[str, str]], process: Callable[[list[str], list[str]], object]
) -> list[tuple[Span, ...]]:
    if not pairs:
        return []
    output = process([reference for reference, _ in pairs], [hypothesis for _, hypothesis in pairs])
    return [
        tuple(
            Span(c.type, c.ref_start_idx, c.ref_end_idx, c.hyp_start_idx, c.hyp_end_idx)
            for c in chunks
        )
        for chunks in output.alignments  # type: ignore[attr-defined]
    ]
