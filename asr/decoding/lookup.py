"""Compiled lookups: n-grams (asr.decoding.ngram) and the trie of words (asr.decoding.lexicon)."""

import numba
import numpy as np

from asr.decoding.ngram import ROOT


@numba.njit(nogil=True, cache=True)
def find_child(nodes, first, last, word):  # type: ignore[no-untyped-def]
    """Node of `word` among the sorted children first..last-1, or -1."""
    end = last
    while first < last:
        middle = (first + last) >> 1
        if nodes[middle].word < word:
            first = middle + 1
        else:
            last = middle
    return first if first < end and nodes[first].word == word else -1


@numba.njit(nogil=True, cache=True)
def advance(nodes, contexts, state, word):  # type: ignore[no-untyped-def]
    """Score `word` in `state`: (ln P, next state)."""
    score = 0.0
    while state != ROOT:
        first, last = contexts[state].first_child, contexts[state + 1].first_child
        node = find_child(nodes, first, last, word)
        if node >= 0:
            return score + nodes[node].log_prob, nodes[node].next_state
        score += contexts[state].backoff
        state = contexts[state].suffix
    return score + nodes[1 + word].log_prob, nodes[1 + word].next_state


@numba.njit(nogil=True, cache=True)
def score_sequence(nodes, contexts, state, word_ids):  # type: ignore[no-untyped-def]
    """ln P of each of `word_ids`, read from `state` on."""
    scores = np.empty(len(word_ids), np.float64)
    for position in range(len(word_ids)):
        scores[position], state = advance(nodes, contexts, state, word_ids[position])
    return scores


@numba.njit(nogil=True, cache=True)
def link(nodes, contexts, suffixes):  # type: ignore[no-untyped-def]
    """Fill in the suffix of each context and the next state of each node; suffixes (M,) is scratch."""
    num_contexts = len(contexts) - 1
    for parent in range(num_contexts):
        contexts[parent].suffix = suffixes[parent]
        for node in range(contexts[parent].first_child, contexts[parent + 1].first_child):
            word = nodes[node].word
            context, child = parent, -1
            while context != ROOT and child < 0:
                context = suffixes[context]
                child = find_child(
                    nodes, contexts[context].first_child, contexts[context + 1].first_child, word
                )
            suffixes[node] = max(child, ROOT)
            matters = node < num_contexts and (
                contexts[node + 1].first_child > contexts[node].first_child
                or contexts[node].backoff != 0.0
            )
            nodes[node].next_state = node if matters else nodes[suffixes[node]].next_state


@numba.njit(nogil=True, cache=True)
def unpack_level(nodes, contexts, suffixes, first_parent, first, gaps, matters):  # type: ignore[no-untyped-def]
    """Write words, suffixes and next states of the nodes of one order (`asr.decoding.packed`).

    Args:
        first_parent, first: where the nodes of the order below begin, and those of this one.
        gaps: (N,) of the suffix's siblings, how many lie between it and the one of the node before.
        matters: (N,) whether the node is a state of its own.

    Returns:
        Whether all suffixes are shorter n-grams.
    """
    for parent in range(first_parent, first):
        place = contexts[suffixes[parent]].first_child - 1
        for node in range(contexts[parent].first_child, contexts[parent + 1].first_child):
            place += gaps[node - first] + 1
            if not 0 <= place < first:
                return False
            suffixes[node] = place
            nodes[node].word = nodes[place].word
            nodes[node].next_state = node if matters[node - first] else nodes[place].next_state
    return True


@numba.njit(nogil=True, cache=True)
def find_token(nodes, node, token):  # type: ignore[no-untyped-def]
    """The child of `node` by `token`, or -1."""
    first, end = nodes[node].first_child, nodes[node + 1].first_child
    last = end
    while first < last:
        middle = (first + last) >> 1
        if nodes[middle].token < token:
            first = middle + 1
        else:
            last = middle
    return first if first < end and nodes[first].token == token else -1


@numba.njit(nogil=True, cache=True)
def word_at(nodes, alike, node, rank):  # type: ignore[no-untyped-def]
    """The word of that rank, the likeliest being 0, among those that end at `node`, or -1."""
    if rank == 0:
        return np.int64(nodes[node].word)
    place = nodes[node].first_alike + rank - 1
    return np.int64(alike[place]) if place < nodes[node + 1].first_alike else np.int64(-1)
