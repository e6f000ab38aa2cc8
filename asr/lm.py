"""n-gram language models from text: modified Kneser-Ney, interpolated (Chen and Goodman 1998).

The estimates are those of KenLM's lmplz (Heafield et al. 2013): adjusted counts, three discounts an
order, unigrams interpolated with the uniform distribution, and count pruning whose mass goes to the
back-off. Counting is sorting: an n-gram is the number of its context and its last word in one 64-bit
key, so that each order is one sort, and memory does not depend on the order.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asr.decoding.ngram import NgramModel, build_model
from asr.errors import UsageError
from asr.lm_prune import prune_by_entropy
from asr.lm_text import BEGIN_ID, UNKNOWN_ID, Corpus

MAX_ORDER = 5
_FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)  # those of lmplz --discount_fallback
_NEVER = -99.0 * float(np.log(10.0))  # ln P of <s>, which is never predicted
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class LmOptions:
    """How to estimate.

    Attributes:
        order: length of the longest n-gram, 1 to 5.
        prune_counts: per order, the highest count to drop; the last one holds for the orders
            above. Unigrams are never dropped: limit the vocabulary instead.
        entropy_threshold: drop n-grams whose loss raises the perplexity by less than this fraction
            (Stolcke 1998); 0 keeps all.
    """

    order: int = 3
    prune_counts: tuple[int, ...] = (0,)
    entropy_threshold: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.order <= MAX_ORDER:
            raise UsageError(f"the order must be 1 to {MAX_ORDER}, not {self.order}")
        counts = self.prune_counts
        if (
            not counts
            or len(counts) > self.order
            or min(counts) < 0
            or list(counts) != sorted(counts)
        ):
            raise UsageError(
                f"--prune takes up to {self.order} counts that do not fall, such as '0 0 1'"
            )
        if counts[0]:
            raise UsageError("unigrams cannot be pruned: begin --prune with 0, use --vocab-size")
        if not 0 <= self.entropy_threshold < 1:
            raise UsageError("the entropy threshold must be at least 0 and below 1, such as 1e-8")

    def min_count(self, order: int) -> int:
        """The lowest count that is kept at `order`."""
        if order == 1:
            return 1
        return 1 + self.prune_counts[min(order, len(self.prune_counts)) - 1]


@dataclass
class _Level:
    """The n-grams of one order, sorted by (parent, word).

    Attributes:
        parents: (n,) position of the n-gram without its last word, one order below.
        suffixes: (n,) position of the n-gram without its first word, one order below.
        words: (n,) last word.
        counts: (n,) how often it occurs.
        after_begin: (n,) whether it begins with <s>.
    """

    parents: Integers
    suffixes: Integers
    words: Integers
    counts: Integers
    after_begin: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.words)

    def kept(self, keep: NDArray[np.bool_]) -> "_Level":
        return _Level(
            self.parents[keep], self.suffixes[keep], self.words[keep],
            self.counts[keep], self.after_begin[keep],
        )  # fmt: skip


def train_language_model(corpus: Corpus, options: LmOptions | None = None) -> NgramModel:
    """Estimate a model.

    Raises:
        UsageError: options that cannot be.
    """
    options = options or LmOptions()
    levels = _count(corpus, options.order)
    scores, backoffs = _estimate(levels, options)
    _drop_rare(levels, scores, backoffs, options)
    grams = [
        (level.parents, level.words, np.log(probs))
        for level, probs in zip(levels, scores, strict=True)
    ]
    grams[0][2][BEGIN_ID] = _NEVER
    model = build_model(corpus.words, grams, [np.log(weights) for weights in backoffs])
    if options.entropy_threshold:
        model = prune_by_entropy(model, options.entropy_threshold)
    return model


def _count(corpus: Corpus, order: int) -> list[_Level]:
    words = corpus.tokens
    vocab_size = len(corpus.words)
    ids = np.arange(vocab_size)
    levels = [
        _Level(
            np.zeros(vocab_size, np.int64), np.zeros(vocab_size, np.int64), ids,
            np.bincount(words, minlength=vocab_size), ids == BEGIN_ID,
        )
    ]  # fmt: skip
    positions = np.flatnonzero(words != BEGIN_ID)  # where n-grams of two words and more can end
    shorter = words.astype(np.int32)  # number of the n-gram one order below that ends at a position
    for _ in range(1, order):
        keys = shorter[positions - 1].astype(np.int64) << 32 | words[positions]
        unique, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        del keys
        suffixes = np.empty(len(unique), np.int64)
        suffixes[inverse] = shorter[positions]
        parents = unique >> 32
        levels.append(
            _Level(parents, suffixes, unique & 0xFFFFFFFF, counts, levels[-1].after_begin[parents])
        )
        shorter = np.full(len(words), -1, np.int32)
        shorter[positions] = inverse
        # An n-gram of the next order needs this one whole at the position before.
        positions = positions[shorter[positions - 1] >= 0]
    return levels


def _adjusted_counts(levels: list[_Level], position: int) -> Integers:
    """How many different words come before each n-gram; of the longest, and of those that begin a
    sentence, how often they occur."""
    level = levels[position]
    if position + 1 == len(levels):
        counts = level.counts.copy()
    else:
        continued = np.bincount(levels[position + 1].suffixes, minlength=len(level))
        counts = np.where(level.after_begin, level.counts, continued)
    if position == 0:
        counts[[UNKNOWN_ID, BEGIN_ID]] = counts[UNKNOWN_ID], 0
    return counts


def _discounts(counts: Integers) -> Floats:
    """What is taken off counts of 0, 1, 2, and 3 and more: (4,)."""
    of = np.bincount(np.minimum(counts, 5), minlength=6)[1:5].astype(float)
    if (of[:3] > 0).all():
        ratio = of[0] / (of[0] + 2 * of[1])
        found = [k - (k + 1) * ratio * of[k] / of[k - 1] for k in (1, 2, 3)]
        if all(0 < discount <= k for k, discount in enumerate(found, start=1)):
            return np.array([0.0, *found])
    return np.array([0.0, *_FALLBACK_DISCOUNTS])


def _estimate(levels: list[_Level], options: LmOptions) -> tuple[list[Floats], list[Floats]]:
    """Probabilities of all n-grams, and back-off weights of all but the longest."""
    scores: list[Floats] = []
    backoffs: list[Floats] = []
    for position, level in enumerate(levels):
        counts = _adjusted_counts(levels, position)
        dropped = level.counts < options.min_count(position + 1) if position else counts < 0
        discounts = np.where(dropped, counts, _discounts(counts)[np.minimum(counts, 3)])
        num_contexts = len(levels[position - 1]) if position else 1
        totals = np.bincount(level.parents, counts, num_contexts)
        left_over = np.bincount(level.parents, discounts, num_contexts)
        backoff = np.divide(left_over, totals, out=np.ones(num_contexts), where=totals > 0)
        probs = (counts - discounts) / np.maximum(totals, 1)[level.parents]
        if position:
            probs += backoff[level.parents] * scores[-1][level.suffixes]
            backoffs.append(backoff)
        else:
            probs += backoff[0] / (len(level) - 1)
            probs[BEGIN_ID] = 1.0
        scores.append(probs)
    return scores, backoffs


def _drop_rare(
    levels: list[_Level], scores: list[Floats], backoffs: list[Floats], options: LmOptions
) -> None:
    """Leave rare n-grams out, and renumber what refers to others; changes the lists in place."""
    renumbered = np.arange(len(levels[0]))
    for position in range(1, len(levels)):
        level = levels[position]
        level.parents = renumbered[level.parents]
        keep = level.counts >= options.min_count(position + 1)
        renumbered = np.cumsum(keep) - 1
        levels[position] = level.kept(keep)
        scores[position] = scores[position][keep]
        if position < len(backoffs):
            backoffs[position] = backoffs[position][keep]


@dataclass(frozen=True)
class Perplexity:
    """How well a model predicts a text; ends of sentences count as words.

    Attributes:
        num_words: words, ends of sentences left out.
        num_unknown: words that the model lacks.
        perplexity: per word and end of sentence, unknown words scored as <unk>.
        known_perplexity: the same with unknown words left out of sum and number.
    """

    num_sentences: int
    num_words: int
    num_unknown: int
    perplexity: float
    known_perplexity: float

    @property
    def unknown_rate(self) -> float:
        """Unknown words as a fraction of all."""
        return self.num_unknown / max(1, self.num_words)


def measure_perplexity(model: NgramModel, sentences: Iterable[Sequence[str]]) -> Perplexity:
    """Perplexity of a model on sentences of words; UsageError if there are none."""
    num_sentences = num_words = num_unknown = 0
    total = unknown_total = 0.0
    for words in sentences:
        scores = model.score_words(words)
        unknown = model.encode(words) == model.unknown_id
        num_sentences += 1
        num_words += len(words)
        num_unknown += int(unknown.sum())
        total += float(scores.sum())
        unknown_total += float(scores[:-1][unknown].sum())
    if not num_sentences:
        raise UsageError("the text has no words in it: no perplexity")
    events = num_words + num_sentences
    return Perplexity(
        num_sentences, num_words, num_unknown,
        float(np.exp(-total / events)),
        float(np.exp(-(total - unknown_total) / (events - num_unknown))),
    )  # fmt: skip
