"""CTC prefix beam search, with or without a language model and hot words.

Hannun et al. 2014 (prefixes), with the pruning of flashlight: tokens below a log-probability are not
tried, prefixes too far behind the best are dropped, and so are all beyond the beam size. Under a
language model prefixes with the same future are joined (asr.decoding.recombination).

    score = ln P(prefix | audio) + lm_weight * ln P(words) + word_bonus * number of words
            - unknown_penalty * number of unknown words + weights of the hot words
"""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import inf
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from asr.decoding.beam_options import BeamOptions, make_setup
from asr.decoding.hotwords import HotwordArrays
from asr.decoding.hypothesis import Hypothesis, WordRange
from asr.decoding.language import LanguageModel
from asr.decoding.lattice import LatticePath, WordLattice
from asr.decoding.lexicon import Alphabet
from asr.decoding.search_setup import MERGE, NO_LM, PREFIX, WORD_LM, Setup
from asr.errors import AsrError, UsageError

LATTICE_MARGIN = 10.0  # ln, behind the best: a second pass looks no further (RESULTS.md)
LOG = logging.getLogger(__name__)
_LOWEST_LOG_PROB = -100.0  # of a token in a frame; what is less likely counts as this
_Found = TypeVar("_Found")


class BeamDecoder:
    """A prefix beam search ready to decode; it may be used from several threads at once."""

    def __init__(
        self,
        alphabet: Alphabet,
        options: BeamOptions | None = None,
        language_model: LanguageModel | None = None,
        hotwords: HotwordArrays | None = None,
    ) -> None:
        self.alphabet = alphabet
        self.options = options or BeamOptions()
        self._said = language_model if language_model and language_model.of_phones else None
        if self._said and self.options.unknown_penalty < inf:
            raise UsageError(
                "words that the language model lacks cannot be written from phones: no spelling of them "
                "is known"
            )
        self._setup = make_setup(alphabet, self.options, language_model, hotwords)

    @property
    def has_language_model(self) -> bool:
        """Whether the search reads one, be it of words or of characters."""
        return bool(self._setup.parameters[0]["mode"] != NO_LM)

    def decode(self, log_probs: NDArray[np.float32]) -> Hypothesis:
        """The best hypothesis of one utterance.

        Args:
            log_probs: (T', V) natural log-probabilities, trimmed to the utterance's length.

        Raises:
            AsrError: log_probs holds NaN, or V is not the alphabet's.
        """
        return self.decode_n_best(log_probs, 1)[0]

    def decode_n_best(self, log_probs: NDArray[np.float32], count: int) -> list[Hypothesis]:
        """Up to `count` hypotheses that differ in their words, the best first.

        Where only one is wanted, prefixes whose future is the same under the language model become one
        (asr.decoding.recombination), so that the beam holds more that differ. Where the vocabulary is
        closed, hypotheses whose last word is cut off are left out, unless there are no others.
        """
        if count < 1:
            raise UsageError(f"the number of hypotheses must be at least 1, not {count}")
        from asr.decoding.prefix_tree import spell  # numba, which making a decoder does without

        log_probs = self._checked(log_probs)
        if not len(log_probs):
            return [Hypothesis((), (), (), 0.0, () if self._said else None)]
        tree, beam, endings, _, _ = self._search(log_probs, recombine=count == 1)
        finalists = np.flatnonzero(endings[:, 1]) if endings[:, 1].any() else np.arange(len(beam))
        merit = finalists[np.argsort(-endings[finalists, 0], kind="stable")]
        found: dict[tuple[int | str, ...], Hypothesis] = {}
        for position in merit:
            token_ids = spell(tree, beam[position])
            token_ids, words = self._read(token_ids, int(endings[position, 2]))
            if words is None:
                key: tuple[int | str, ...] = self._without_idle_separators(token_ids)
            else:
                key = tuple(word.text for word in words)
            if key not in found:
                score = float(endings[position, 0])
                found[key] = self._hypothesis(log_probs, token_ids, score, words)
            if len(found) == count:
                break
        return list(found.values())

    def decode_batch(
        self, utterances: Sequence[NDArray[np.float32]], threads: int = 1
    ) -> list[Hypothesis]:
        """The best hypothesis of each utterance; `threads` changes the speed and nothing else."""
        return [found[0] for found in self.n_best_batch(utterances, 1, threads)]

    def n_best_batch(
        self, utterances: Sequence[NDArray[np.float32]], count: int, threads: int = 1
    ) -> list[list[Hypothesis]]:
        """`decode_n_best` of each utterance; `threads` changes the speed and nothing else."""
        return self._each(partial(self.decode_n_best, count=count), utterances, threads)

    def lattices(
        self, utterances: Sequence[NDArray[np.float32]], threads: int = 1
    ) -> list[WordLattice]:
        """What the search weighs in each utterance, for a second pass.

        Raises:
            UsageError: there is no language model of words.
            AsrError: as `decode`.
        """
        if self._setup.parameters[0]["mode"] != WORD_LM:
            raise UsageError("a lattice of words needs a language model of words")
        return self._each(self._lattice, utterances, threads)

    def follow(self, lattice: WordLattice, path: LatticePath) -> Hypothesis:
        """The hypothesis that a path through a lattice stands for."""
        token_ids, words = self._read(lattice.tokens_of(path), int(lattice.ends["rank"][path.end]))
        return self._hypothesis(lattice.log_probs, token_ids, path.score, words)

    def _lattice(self, log_probs: NDArray[np.float32]) -> WordLattice:
        from asr.decoding.recombination import word_lattice

        log_probs = self._checked(log_probs)
        tree, beam, endings, num_nodes, merges = self._search(log_probs, recombine=True)
        found = word_lattice(self._setup, tree, num_nodes, merges, beam, endings, LATTICE_MARGIN)
        return WordLattice(log_probs, *found)

    def _search(
        self, log_probs: NDArray[np.float32], *, recombine: bool
    ) -> tuple[NDArray[np.void], NDArray[np.int32], NDArray[np.float64], int, NDArray[np.void]]:
        """Prefixes; those that survive, and how they may end; the number of prefixes, and merges."""
        size = len(log_probs) * self.options.beam_size
        merging = recombine and self.has_language_model
        tree, merges = np.empty(1 + size, PREFIX), np.empty(size * merging, MERGE)
        beam, endings, num_nodes, num_merges = _announced_search(
            self._setup, self._with_ranks(log_probs), tree, merges
        )
        return tree, beam, endings, num_nodes, merges[:num_merges]

    def scaled(self, log_probs: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the search reads (T, V): `log_probs` times the acoustic scale, normalised again."""
        if self.options.acoustic_scale == 1:
            return log_probs
        scaled = log_probs * np.float32(self.options.acoustic_scale)
        return scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True)

    def _checked(self, log_probs: NDArray[np.float32]) -> NDArray[np.float32]:
        if log_probs.ndim != 2 or log_probs.shape[1] != self.alphabet.vocab_size:
            raise AsrError(
                f"log-probabilities of shape (T, {self.alphabet.vocab_size}) are expected, not "
                f"{log_probs.shape}"
            )
        if np.isnan(log_probs).any():
            raise AsrError("log-probabilities hold NaN: the model or its input is damaged")
        if log_probs.size and log_probs.max() > 1e-3:
            raise AsrError(
                f"log-probabilities reach {log_probs.max():.3g}, above 0: are they logits?"
            )
        return np.maximum(self.scaled(log_probs), _LOWEST_LOG_PROB, dtype=np.float32, order="C")

    def _with_ranks(self, log_probs: NDArray[np.float32]) -> NDArray[np.float32]:
        """With a column like the separator's for each further word of those said alike."""
        more = len(self._setup.tokens) - self.alphabet.vocab_size
        if not more:
            return log_probs
        separator = log_probs[:, [self.alphabet.separator_id or 0]]
        return np.hstack([log_probs, np.repeat(separator, more, axis=1)])

    def _each(
        self,
        decode: Callable[[NDArray[np.float32]], _Found],
        utterances: Sequence[NDArray[np.float32]],
        threads: int,
    ) -> list[_Found]:
        if threads < 1:
            raise UsageError(f"the number of threads must be at least 1, not {threads}")
        if threads == 1 or len(utterances) < 2:
            return [decode(log_probs) for log_probs in utterances]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(decode, utterances))

    def _read(
        self, token_ids: NDArray[np.int32], last_rank: int
    ) -> tuple[NDArray[np.int32], tuple[WordRange, ...] | None]:
        """Tokens as the alphabet has them, and the words that they say, where they say some."""
        words = self._words(token_ids, last_rank) if self._said else None
        is_rank = token_ids >= self.alphabet.vocab_size
        return np.where(is_rank, self.alphabet.separator_id or 0, token_ids), words

    def _words(self, token_ids: NDArray[np.int32], last_rank: int) -> tuple[WordRange, ...]:
        """The words that are said; what is cut off at the end is none."""
        from asr.decoding.prefix_tree import words_of

        assert self._said is not None
        names = self._said.ngram.words
        found = words_of(self._setup, token_ids, last_rank).tolist()
        return tuple(
            WordRange(names[word], first, last) for word, first, last in found if word >= 0
        )

    def _without_idle_separators(self, token_ids: NDArray[np.int32]) -> tuple[int, ...]:
        separator = self.alphabet.separator_id
        if separator is None:
            return tuple(token_ids.tolist())
        kept: list[int] = []
        for token_id in token_ids.tolist():
            if token_id != separator or (kept and kept[-1] != separator):
                kept.append(token_id)
        return tuple(kept[:-1] if kept and kept[-1] == separator else kept)

    def _hypothesis(
        self,
        log_probs: NDArray[np.float32],
        token_ids: NDArray[np.int32],
        score: float,
        words: tuple[WordRange, ...] | None,
    ) -> Hypothesis:
        from asr.decoding.alignment import viterbi

        spans, means, _ = viterbi(log_probs, token_ids, self.alphabet.blank_id)
        return Hypothesis(
            token_ids=tuple(token_ids.tolist()),
            spans=tuple(map(tuple, spans.tolist())),
            confidences=tuple(means.tolist()),
            score=score,
            words=words,
        )


def _announced_search(
    setup: Setup,
    log_probs: NDArray[np.float32],
    tree: NDArray[np.void],
    merges: NDArray[np.void],
) -> tuple[NDArray[np.int32], NDArray[np.float64], int, int]:
    """Search; if compiling takes more than a second, say so."""
    from asr.decoding.prefix_search import search

    probs = np.exp(log_probs, dtype=np.float64)
    if search.signatures:
        return search(setup, log_probs, probs, tree, merges)  # type: ignore[no-any-return]
    notice = threading.Timer(
        1.0, LOG.warning, ["preparing the beam search; it is compiled once after installation"]
    )
    notice.daemon = True
    notice.start()
    try:
        return search(setup, log_probs, probs, tree, merges)  # type: ignore[no-any-return]
    finally:
        notice.cancel()
