"""References x hypotheses, joined by utterance id -> alignments, counts and corpus rates.

`asr.edits` aligns (with jiwer's API; its command drops one-letter lines), this module joins.
Three rules hold everywhere:

- Texts meet by utterance id, never by their place in a file. An utterance without a hypothesis is
  an utterance whose words were all deleted, unless the caller says otherwise.
- Rates are errors over reference units of the whole corpus, never a mean of rates.
- Words put out where the reference is empty are insertions and count, as in NIST sclite; they are
  also shown apart (`CorpusScore.empty_references`), because they have no rate of their own.

Intervals and tests are in `asr.significance`, the tables of where it errs in `asr.breakdown`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from asr.edits import (
    AlignedPair,
    Counts,
    Span,
    align_characters,
    align_words,
    count_spans,
    sum_counts,
)
from asr.errors import AsrError

__all__ = [
    "AlignedPair",
    "CorpusScore",
    "Counts",
    "GroupScore",
    "Missing",
    "ScoringError",
    "Span",
    "UtteranceScore",
    "group_by",
    "score",
    "sum_utterances",
]

Missing = Literal["error", "count", "ignore"]

_BATCH = 2000  # utterances aligned at a time: bounds the memory that jiwer's objects take


class ScoringError(AsrError):
    """Texts that cannot be scored against each other; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class UtteranceScore:
    """One utterance as it was scored; the texts are normalised, the raw ones are kept beside."""

    utterance_id: str
    speaker_id: str | None
    reference: str
    hypothesis: str
    words: Counts
    characters: Counts | None
    alignment: tuple[Span, ...]
    missing: bool
    raw_reference: str
    raw_hypothesis: str

    @property
    def wer(self) -> float:
        """nan for an empty reference, which has no rate."""
        return self.words.error_rate

    def pairs(self) -> Iterator[AlignedPair]:
        """The alignment word by word.

        >>> [tuple(pair) for pair in score({"u": "a b"}, {"u": "a c"}).utterances[0].pairs()]
        [('equal', 'a', 'a'), ('substitute', 'b', 'c')]
        """
        reference, hypothesis = self.reference.split(), self.hypothesis.split()
        for operation, i, ref_end, j, hyp_end in self.alignment:
            for step in range(max(ref_end - i, hyp_end - j)):
                yield AlignedPair(
                    operation,
                    reference[i + step] if i < ref_end else None,
                    hypothesis[j + step] if j < hyp_end else None,
                )


@dataclass(frozen=True, slots=True)
class GroupScore:
    """The summed counts of some utterances: a speaker, a duration range, a field's value."""

    name: str
    num_utterances: int
    num_wrong: int
    words: Counts
    characters: Counts | None

    @property
    def wer(self) -> float:
        return self.words.error_rate

    @property
    def cer(self) -> float:
        return self.characters.error_rate if self.characters else math.nan

    @property
    def sentence_error_rate(self) -> float:
        """Utterances with at least one error over all utterances."""
        return self.num_wrong / self.num_utterances if self.num_utterances else math.nan


@dataclass(frozen=True)
class CorpusScore:
    """A corpus as it was scored: utterances in the order of the references, and their sums.

    Attributes:
        normalizer: name of the text normaliser that both sides went through ("none": as they were).
        missing: what was done with utterances that had no hypothesis.
        missing_ids: references without a hypothesis; with missing="ignore" they are not scored.
        extra_ids: hypotheses without a reference; never scored.
    """

    utterances: tuple[UtteranceScore, ...]
    normalizer: str
    missing: Missing
    missing_ids: tuple[str, ...]
    extra_ids: tuple[str, ...]

    @cached_property
    def total(self) -> GroupScore:
        return sum_utterances("all", self.utterances)

    @property
    def counts(self) -> Counts:
        """Word counts of the corpus."""
        return self.total.words

    @property
    def character_counts(self) -> Counts | None:
        """Character counts, spaces between words included; None where they were not asked for."""
        return self.total.characters

    @property
    def wer(self) -> float:
        """Word error rate as a fraction; nan where the references have no words at all."""
        return self.total.wer

    @property
    def cer(self) -> float:
        """Character error rate as a fraction; nan as for `wer`, and where not asked for."""
        return self.total.cer

    @property
    def num_reference_words(self) -> int:
        return self.counts.num_reference

    @cached_property
    def speakers(self) -> tuple[GroupScore, ...]:
        """A sum for each speaker, by name; utterances without a speaker are left out."""
        return group_by(self.utterances, lambda utterance: utterance.speaker_id)

    @cached_property
    def empty_references(self) -> GroupScore:
        """The utterances in which nothing is said according to the reference."""
        return sum_utterances("empty reference", [u for u in self.utterances if not u.reference])


def score(
    references: Mapping[str, str],
    hypotheses: Mapping[str, str],
    *,
    speakers: Mapping[str, str] | None = None,
    missing: Missing = "count",
    normalize: Callable[[str], str] | None = None,
    normalizer: str = "none",
    characters: bool = True,
) -> CorpusScore:
    """Score hypotheses against references, joined by utterance id.

    Args:
        references: utterance id -> what was said.
        hypotheses: utterance id -> what was recognised.
        speakers: utterance id -> speaker, where known.
        missing: "count" scores a missing hypothesis as an empty one (all words deleted), "ignore"
            leaves the utterance out, "error" refuses; hypotheses without a reference are listed,
            and refused by "error".
        normalize: applied to both sides; None if the texts are normalised already.
        normalizer: the name and version of that normalisation, kept in the result.
        characters: whether CER is counted too (two thirds of the time).

    Raises:
        ScoringError: no references, no id in common, or a missing or extra id with "error".

    >>> result = score({"a": "the cat sat", "b": "hello"}, {"a": "the hat"})
    >>> result.counts
    Counts(hits=1, substitutions=1, deletions=2, insertions=0)
    >>> result.wer, result.missing_ids
    (0.75, ('b',))
    """
    missing_ids, extra_ids = _check_ids(references, hypotheses, missing)
    left_out = set(missing_ids) if missing == "ignore" else set()
    ids = [utterance_id for utterance_id in references if utterance_id not in left_out]
    clean = _words_of if normalize is None else lambda text: _words_of(normalize(text))
    utterances: list[UtteranceScore] = []
    for start in range(0, len(ids), _BATCH):
        batch = ids[start : start + _BATCH]
        raw = [(references[one], hypotheses.get(one, "")) for one in batch]
        pairs = [(clean(reference), clean(hypothesis)) for reference, hypothesis in raw]
        words = align_words(pairs)
        letters = _character_counts(pairs) if characters else [None] * len(batch)
        utterances += [
            UtteranceScore(
                utterance_id,
                speakers.get(utterance_id) if speakers else None,
                *pair,
                count_spans(alignment),
                letter_counts,
                alignment,
                utterance_id not in hypotheses,
                *raw_pair,
            )
            for utterance_id, pair, alignment, letter_counts, raw_pair in zip(
                batch, pairs, words, letters, raw, strict=True
            )
        ]
    return CorpusScore(tuple(utterances), normalizer, missing, missing_ids, extra_ids)


def group_by(
    utterances: Iterable[UtteranceScore], key: Callable[[UtteranceScore], str | None]
) -> tuple[GroupScore, ...]:
    """Sum utterances by a key, sorted by it; those whose key is None are left out."""
    groups: dict[str, list[UtteranceScore]] = {}
    for utterance in utterances:
        name = key(utterance)
        if name is not None:
            groups.setdefault(name, []).append(utterance)
    return tuple(sum_utterances(name, groups[name]) for name in sorted(groups))


def sum_utterances(name: str, utterances: Sequence[UtteranceScore]) -> GroupScore:
    """Sum some utterances up; character counts are None unless all of them have some."""
    characters = [one.characters for one in utterances if one.characters is not None]
    return GroupScore(
        name,
        len(utterances),
        sum(1 for one in utterances if one.words.errors),
        sum_counts(one.words for one in utterances),
        sum_counts(characters) if len(characters) == len(utterances) else None,
    )


def _words_of(text: str) -> str:
    return " ".join(text.split())


def _check_ids(
    references: Mapping[str, str], hypotheses: Mapping[str, str], missing: Missing
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if missing not in ("error", "count", "ignore"):
        raise ValueError(f"missing must be 'error', 'count' or 'ignore', not {missing!r}")
    if not references:
        raise ScoringError("there are no references to score against")
    absent = tuple(one for one in references if one not in hypotheses)
    extra = tuple(one for one in hypotheses if one not in references)
    if hypotheses and len(absent) == len(references):
        raise ScoringError(
            "not one utterance id occurs in both references and hypotheses; references have "
            f"{_examples(absent)}, hypotheses have {_examples(extra)}. Is another column or key "
            "the id?"
        )
    if missing == "error" and (absent or extra):
        raise ScoringError(
            f"{len(absent)} of {len(references)} references have no hypothesis"
            + (f" ({_examples(absent)})" if absent else "")
            + f", {len(extra)} hypotheses have no reference"
            + (f" ({_examples(extra)})" if extra else "")
            + "; complete them, or score with missing 'count' or 'ignore'"
        )
    return absent, extra


def _examples(ids: Sequence[str]) -> str:
    shown = ", ".join(repr(one) for one in ids[:3])
    return shown + (", ..." if len(ids) > 3 else "")


def _character_counts(pairs: Sequence[tuple[str, str]]) -> list[Counts]:
    """Counts alone: right utterances need no alignment, and they are often the most."""
    wrong = [pair for pair in pairs if pair[0] != pair[1]]
    counts = iter([count_spans(spans) for spans in align_characters(wrong)])
    return [
        Counts(hits=len(reference)) if reference == hypothesis else next(counts)
        for reference, hypothesis in pairs
    ]
