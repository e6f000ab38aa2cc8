"""The compiled half of `asr.decoding.lexicon.build_lexicon`."""

import numba
import numpy as np

from asr.decoding.lexicon import NO_WORD


@numba.njit(nogil=True, cache=True)
def sort_keys(token_ids, lengths, bits):  # type: ignore[no-untyped-def]
    """(K, W) uint64 that sort as W sequences of tokens do, their first tokens in the first row."""
    in_key = 64 // bits
    keys = np.zeros(((lengths.max() + in_key - 1) // in_key, len(lengths)), np.uint64)
    first = 0
    for row in range(len(lengths)):
        for place in range(lengths[row]):
            shift = np.uint64(bits * (in_key - 1 - place % in_key))
            keys[place // in_key, row] |= np.uint64(token_ids[first + place] + 1) << shift
        first += lengths[row]
    return keys


@numba.njit(nogil=True, cache=True)
def fill(nodes, token_ids, lengths, order, word_ids, log_probs, max_alike):  # type: ignore[no-untyped-def]
    """Write the nodes (node 0 is there) of W sequences, breadth first, a depth at a time.

    Args:
        order: (W,) their order by tokens, what ends first, and of equal ones the likeliest first.

    Returns:
        How many nodes there are, the one past the last left out, and the words of `Trie.alike`.
    """
    firsts = np.cumsum(lengths) - lengths
    node_of = np.zeros(len(order), np.int32)
    rows = order.copy()
    alike = np.empty(len(order), np.int32)
    num_nodes, num_alike, depth = 1, 0, 0
    while len(rows):
        node, parent, token, rank, going_on = 0, -1, -1, 0, 0
        for row in rows:
            if node_of[row] != parent or token_ids[firsts[row] + depth] != token:
                parent, token = node_of[row], token_ids[firsts[row] + depth]
                node, rank = num_nodes, 0
                num_nodes += 1
                nodes[node].token = token
                nodes[node].word = NO_WORD
                nodes[node].first_alike = num_alike
                nodes[node].best_log_prob = log_probs[row]
                if nodes[parent].first_child == 0:
                    nodes[parent].first_child = node
            nodes[node].best_log_prob = max(nodes[node].best_log_prob, log_probs[row])
            node_of[row] = node
            if lengths[row] > depth + 1:
                rows[going_on] = row
                going_on += 1
            elif rank == 0:
                nodes[node].word = word_ids[row]
            elif rank < max_alike:
                alike[num_alike] = word_ids[row]
                num_alike += 1
            rank += 1
        rows = rows[:going_on]
        depth += 1
    nodes[num_nodes].first_child, nodes[num_nodes].first_alike = num_nodes, num_alike
    nodes[num_nodes].word = NO_WORD
    for node in range(num_nodes - 1, -1, -1):  # a childless node's begin where the next one's do
        if nodes[node].first_child == 0:
            nodes[node].first_child = nodes[node + 1].first_child
    return num_nodes, alike[:num_alike].copy()
