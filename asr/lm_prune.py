"""Entropy pruning of back-off models (Stolcke 1998)."""

import numpy as np
from numpy.typing import NDArray

from asr.decoding.ngram import ROOT, NgramModel, build_model, parents_of

Floats = NDArray[np.float64]


def prune_by_entropy(model: NgramModel, threshold: float) -> NgramModel:
    """Drop n-grams whose loss raises the perplexity by less than the fraction `threshold`.

    From the highest order down, each n-gram alone; one that is the context of a kept n-gram stays.
    Back-off weights are computed anew for what is left.
    """
    nodes, contexts = model.arrays
    num_nodes, num_contexts = len(nodes), len(contexts) - 1
    parents = np.concatenate([[ROOT], parents_of(model)])
    log_probs = nodes["log_prob"].astype(np.float64)
    lower = _lower_log_probs(model, parents)
    reached = _log_prob_of_contexts(model, parents, log_probs)
    keep = np.ones(num_nodes, bool)
    starts = np.cumsum([1, *model.counts])
    for order in range(model.order, 1, -1):
        first, last = int(starts[order - 1]), int(starts[order])
        grams = slice(first, last)
        loss = _losses(parents[grams], log_probs[grams], lower[grams], reached, num_contexts)
        needed = np.zeros(num_nodes, bool)
        needed[parents[last:][keep[last:]]] = True
        keep[grams] = (np.expm1(loss) >= threshold) | needed[grams]
    return _rebuild(model, parents, log_probs, keep)


def _lower_log_probs(model: NgramModel, parents: NDArray[np.int64]) -> Floats:
    """ln P of each n-gram's last word when the first word is left out; 0 for the unigrams."""
    nodes, contexts = model.arrays
    keys = parents << 32 | nodes["word"]
    lower = np.zeros(len(nodes))
    context = contexts["suffix"][parents].astype(np.int64)
    left = np.flatnonzero(parents != ROOT)
    while len(left):
        wanted = context[left] << 32 | nodes["word"][left]
        found = np.minimum(np.searchsorted(keys[1:], wanted) + 1, len(keys) - 1)
        known = keys[found] == wanted
        lower[left[known]] += nodes["log_prob"][found[known]]
        left = left[~known]
        lower[left] += contexts["backoff"][context[left]]
        context[left] = contexts["suffix"][context[left]]
    return lower


def _log_prob_of_contexts(
    model: NgramModel, parents: NDArray[np.int64], log_probs: Floats
) -> Floats:
    """ln P of each context as a sequence of words; <s> is certain."""
    num_contexts = len(model.arrays.contexts) - 1
    own = log_probs[:num_contexts].copy()
    own[1 + model.word_ids["<s>"]] = 0.0
    reached = np.zeros(num_contexts)
    start = 1
    for count in model.counts[:-1]:
        level = slice(start, start + count)
        reached[level] = own[level] + reached[parents[level]]
        start += count
    return reached


def _losses(
    parents: NDArray[np.int64], log_probs: Floats, lower: Floats, reached: Floats, num_contexts: int
) -> Floats:
    """Rise of the model's entropy (nats a word) if an n-gram alone is dropped."""
    probs, lower_probs = np.exp(log_probs), np.exp(lower)
    left = 1.0 - np.bincount(parents, probs, num_contexts)[parents]
    lower_left = 1.0 - np.bincount(parents, lower_probs, num_contexts)[parents]
    left, lower_left = np.maximum(left, 1e-12), np.maximum(lower_left, 1e-12)
    log_backoff = np.log(left) - np.log(lower_left)
    new_log_backoff = np.log(left + probs) - np.log(lower_left + lower_probs)
    change = probs * (lower + new_log_backoff - log_probs) + left * (new_log_backoff - log_backoff)
    losses: Floats = -np.exp(reached[parents]) * change
    return losses


def _rebuild(
    model: NgramModel, parents: NDArray[np.int64], log_probs: Floats, keep: NDArray[np.bool_]
) -> NgramModel:
    """The model of the kept n-grams; back-off weights from the lowest order up."""
    words = model.arrays.nodes["word"]
    starts = np.cumsum([1, *model.counts])
    levels, backoffs = [], []
    renumbered = np.zeros(1, np.int64)
    level_start = 0
    for order in range(1, model.order + 1):
        grams = np.flatnonzero(keep[starts[order - 1] : starts[order]]) + starts[order - 1]
        levels.append((renumbered[parents[grams] - level_start], words[grams], log_probs[grams]))
        if order > 1:
            backoffs.append(np.zeros(len(levels[-2][1])))
            partial = build_model(model.words, levels, backoffs)
            backoffs[-1] = _backoff_weights(partial, order)
        level_start = starts[order - 1]
        renumbered = np.cumsum(keep[starts[order - 1] : starts[order]]) - 1
    return build_model(model.words, levels, backoffs)


def _backoff_weights(model: NgramModel, order: int) -> Floats:
    """ln of the back-off weights of the contexts of order - 1 words, so that each sums to 1."""
    contexts = model.arrays.contexts
    num_contexts = len(contexts) - 1
    parents = np.concatenate([[ROOT], parents_of(model)])
    first = 1 + sum(model.counts[: order - 1])
    lower = _lower_log_probs(model, parents)[first:]
    probs = np.exp(model.arrays.nodes["log_prob"][first:].astype(np.float64))
    left = 1.0 - np.bincount(parents[first:], probs, num_contexts)
    lower_left = 1.0 - np.bincount(parents[first:], np.exp(lower), num_contexts)
    level = slice(num_contexts - model.counts[order - 2], num_contexts)
    weights = np.maximum(left[level], 1e-12) / np.maximum(lower_left[level], 1e-12)
    result: Floats = np.log(weights)
    return result
