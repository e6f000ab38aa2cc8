"""Models in which the suffix of every n-gram is one too, as the packed form needs it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asr.decoding.arpa import Level, assemble
from asr.decoding.lookup import advance
from asr.decoding.ngram import NgramModel, parents_of
from asr.decoding.packed import suffixes_of


def close_under_suffixes(model: NgramModel) -> NgramModel:
    """Add the n-grams without which another one has no suffix, at the probability of backing off.

    What the model says of any text stays the same: pruning leaves "a b c" without "b c" where P(c | b)
    is well told by P(c).
    """
    while True:
        grams = _word_ids(model)
        lacking = np.flatnonzero(suffixes_of(model) < 0)
        if not len(lacking):
            return model
        levels = _levels(model, grams)
        first = 1
        for order, count in enumerate(model.counts, start=1):
            of_order = lacking[(first <= lacking) & (lacking < first + count)] - first
            if len(of_order):
                added = np.unique(grams[order - 1][of_order, 1:], axis=0)
                lower = levels[order - 2]
                lower.ids.append(added)
                lower.log_probs.append(np.array([_log_prob(model, row) for row in added.tolist()]))
                lower.backoffs.append(np.zeros(len(added)))
            first += count
        model = assemble(Path("model"), model.words, levels)


def _word_ids(model: NgramModel) -> list[NDArray[np.int32]]:
    """Of each order k (N, k) the words of its n-grams."""
    parents, words = parents_of(model), model.arrays.nodes["word"][1:]
    grams = [words[: model.counts[0], None]]
    first, first_context = model.counts[0], 1
    for count in model.counts[1:]:
        level = slice(first, first + count)
        contexts = grams[-1][parents[level] - first_context]
        grams.append(np.hstack([contexts, words[level, None]]))
        first_context, first = 1 + first, first + count
    return grams


def _levels(model: NgramModel, grams: list[NDArray[np.int32]]) -> list[Level]:
    levels, first = [], 1
    for ids in grams:
        level = slice(first, first + len(ids))
        log_probs = model.arrays.nodes["log_prob"][level].astype(np.float64)
        backoffs = model.arrays.contexts["backoff"][level].astype(np.float64)
        levels.append(Level([ids], [log_probs], [backoffs]))
        first += len(ids)
    return levels


def _log_prob(model: NgramModel, word_ids: list[int]) -> float:
    """ln P of the last word after those before it."""
    state, score = 0, 0.0
    for word_id in word_ids:
        score, state = advance(*model.arrays, state, word_id)
    return score
