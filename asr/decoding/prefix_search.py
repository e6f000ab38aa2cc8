"""The compiled part of prefix beam search: CTC prefix probabilities times a language model.

Acoustic probabilities are kept in linear domain, scaled to 1 at each frame: the inner loop multiplies
where others add logarithms.
"""

import numba
import numpy as np

from asr.decoding.lookup import advance, word_at
from asr.decoding.prefix_tree import after_word, extend, is_misspelled, write_child, write_root
from asr.decoding.recombination import recombine
from asr.decoding.search_setup import NO_LM, SEPARATOR, TOKEN_LM, WORD_LM, WORD_START


@numba.njit(nogil=True, cache=True)
def _likely_tokens(setup, log_probs, tokens):  # type: ignore[no-untyped-def]
    """Fill `tokens` with those that may extend a prefix in this frame, likeliest first; their number."""
    options = setup.parameters[0]
    count = 0
    for token in range(len(log_probs)):
        if token != options.blank_id and log_probs[token] >= options.token_min_logp:
            place = count
            while place > 0 and log_probs[tokens[place - 1]] < log_probs[token]:
                tokens[place] = tokens[place - 1]
                place -= 1
            tokens[place] = token
            count += 1
    return count


@numba.njit(nogil=True, cache=True)
def _stay(setup, tree, beam, masses, log_probs, probs, found, scores):  # type: ignore[no-untyped-def]
    """Prefixes that stay as they are: blank, a repeat, or reached anew from their parent."""
    options = setup.parameters[0]
    for slot in range(len(beam)):
        prefix = tree[beam[slot]]
        token = prefix.token
        ends_blank = (masses[slot, 0] + masses[slot, 1]) * probs[options.blank_id]
        ends_token = 0.0
        if token >= 0:
            ends_token = masses[slot, 1] * probs[token]
            parent = tree[prefix.parent]
            source = parent.slot
            if source >= 0 and log_probs[token] >= options.token_min_logp:
                mass = masses[source, 0]
                if parent.token != token:
                    mass += masses[source, 1]
                ends_token += mass * probs[token]
        found[slot, 0], found[slot, 1] = ends_blank, ends_token
        mass = ends_blank + ends_token
        scores[slot] = np.log(mass) + prefix.extra if mass > 0.0 else -np.inf


@numba.njit(nogil=True, cache=True)
def _nth_largest(values, rank):  # type: ignore[no-untyped-def]
    """The `rank`-th largest value, from 1 (Hoare's selection); `values` is reordered."""
    first, last, target = 0, len(values) - 1, rank - 1
    while first < last:
        pivot = values[(first + last) >> 1]
        left, right = first, last
        while left <= right:
            while values[left] > pivot:
                left += 1
            while values[right] < pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if target <= right:
            last = right
        elif target >= left:
            first = left
        else:
            break
    return values[target]


@numba.njit(nogil=True, cache=True)
def _floor(setup, scores):  # type: ignore[no-untyped-def]
    """The score that a candidate must reach to be kept, given the candidates so far."""
    options = setup.parameters[0]
    floor = scores.max() - options.beam_threshold
    if len(scores) > options.beam_size:
        floor = max(floor, _nth_largest(scores.copy(), options.beam_size))
    return floor


@numba.njit(nogil=True, cache=True)
def _most_extra(setup, tree, node, kind):  # type: ignore[no-untyped-def]
    """The most that `node` can have earned after one more token, a word start excepted.

    Inside a word a prefix gains at most the bonus and hot-word loans, for its look-ahead already
    holds its best word; at the end of a word at most what separates that word from certainty.
    """
    options, lexicon_node = setup.parameters[0], tree[node].lexicon
    most = tree[node].extra + options.most_gained
    if kind == SEPARATOR and options.mode == WORD_LM and lexicon_node != 0:
        if lexicon_node > 0:
            best = setup.lexicon[lexicon_node].best_log_prob
        else:
            best = setup.nodes[1 + options.unknown_id].log_prob
        most += max(0.0, options.lm_weight * (setup.lexicon[0].best_log_prob - best))
    return most


@numba.njit(nogil=True, cache=True)
def _grow(setup, tree, beam, masses, log_probs, probs, tokens, found, scores, made):  # type: ignore[no-untyped-def]
    """Prefixes that grow by one of `tokens`; fills found, scores and made. The number of candidates.

    What cannot reach the floor is not looked up.
    """
    options = setup.parameters[0]
    closed = options.mode == WORD_LM and np.isinf(options.unknown_penalty)
    count = len(beam)
    floor = _floor(setup, scores[:count])
    log_totals = np.log(masses[:count, 0] + masses[:count, 1])
    for token in tokens:
        kind = setup.tokens[token].kind
        bounded = options.mode != TOKEN_LM and kind != WORD_START
        before = count
        for slot in range(len(beam)):
            node = beam[slot]
            log_mass = log_totals[slot]
            if token == tree[node].token:
                log_mass = np.log(masses[slot, 0]) if masses[slot, 0] > 0.0 else -np.inf
            log_mass += log_probs[token]
            if bounded and log_mass + _most_extra(setup, tree, node, kind) < floor:
                continue
            child = tree[node].child
            while child >= 0 and tree[child].token != token:
                child = tree[child].sibling
            if child >= 0:
                if tree[child].slot >= 0:
                    continue
                extra = tree[child].extra
            elif closed and is_misspelled(setup, tree, node, token):
                continue
            else:
                extra = extend(setup, tree, node, token)[4]
            score = log_mass + extra
            if score < floor or score == -np.inf:
                continue
            mass = masses[slot, 0]
            if token != tree[node].token:
                mass += masses[slot, 1]
            found[count, 0], found[count, 1], scores[count] = 0.0, mass * probs[token], score
            made[count, 0], made[count, 1], made[count, 2] = node, token, child
            count += 1
        if count > before:
            floor = _floor(setup, scores[:count])
    return count


@numba.njit(nogil=True, cache=True)
def _select(setup, scores, chosen):  # type: ignore[no-untyped-def]
    """Positions of the best `beam_size` scores within the threshold, in order; their number."""
    floor = _floor(setup, scores)
    ties = setup.parameters[0].beam_size
    for position in range(len(scores)):
        ties -= scores[position] > floor
    count = 0
    for position in range(len(scores)):
        score = scores[position]
        if score > floor or (score == floor and ties > 0):
            ties -= score == floor
            chosen[count] = position
            count += 1
    return count


@numba.njit(nogil=True, cache=True)
def _keep(setup, tree, beam, size, masses, found, made, chosen, num_nodes):  # type: ignore[no-untyped-def]
    """Turn the chosen candidates into the next beam, its masses scaled to a largest of 1.

    Returns:
        (number of nodes, ln of the scale).
    """
    for slot in range(size):
        tree[beam[slot]].slot = -1
    largest = 0.0
    for slot in range(len(chosen)):  # chosen is in order, so beam[position] is not overwritten yet
        position = chosen[slot]
        if position < size:
            node = beam[position]
        else:
            node = made[position, 2]
            if node < 0:
                node = num_nodes
                write_child(setup, tree, node, made[position, 0], made[position, 1])
                num_nodes += 1
        beam[slot] = node
        tree[node].slot = slot
        masses[slot, 0], masses[slot, 1] = found[position, 0], found[position, 1]
        largest = max(largest, masses[slot, 0] + masses[slot, 1])
    for slot in range(len(chosen)):
        masses[slot, 0] /= largest
        masses[slot, 1] /= largest
    return num_nodes, np.log(largest)


@numba.njit(nogil=True, cache=True)
def _finish(setup, tree, beam, masses, offset):  # type: ignore[no-untyped-def]
    """End every surviving prefix with each of the words that its last one may be.

    Returns:
        (nodes (E,), endings (E, 3)): score, 1.0 where it is complete, and which of the words spelled
        alike the last one is. A prefix is incomplete when the vocabulary is closed and its last word
        is not in it.
    """
    options = setup.parameters[0]
    most = len(beam) * options.most_alike
    nodes, endings, count = np.empty(most, np.int32), np.empty((most, 3)), 0
    for slot in range(len(beam)):
        node = beam[slot]
        log_mass = np.log(masses[slot, 0] + masses[slot, 1]) + offset
        for rank in range(options.most_alike):
            lexicon_node = tree[node].lexicon
            if rank > 0 and (
                lexicon_node <= 0 or word_at(setup.lexicon, setup.alike, lexicon_node, rank) < 0
            ):
                break
            kept, state, _ = after_word(setup, tree, node, rank)
            complete = kept != -np.inf
            if not complete:
                kept = tree[node].kept
            if options.mode != NO_LM:
                end = advance(setup.nodes, setup.contexts, state, options.end_id)[0]
                kept += options.lm_weight * end
            nodes[count], endings[count, 0] = node, log_mass + kept
            endings[count, 1], endings[count, 2] = complete, rank
            count += 1
    return nodes[:count], endings[:count]


@numba.njit(nogil=True, cache=True)
def search(setup, log_probs, probs, tree, merges):  # type: ignore[no-untyped-def]
    """Prefix beam search over one utterance.

    Args:
        setup: the decoder.
        log_probs: (T, V) float32, finite.
        probs: (T, V) float64, their exponentials.
        tree: (1 + T * beam_size,) PREFIX, filled.
        merges: (T * beam_size,) MERGE, filled; empty: prefixes with the same future stay apart.

    Returns:
        nodes, endings: how the surviving prefixes may end, see _finish; numbers of prefixes and merges.
    """
    num_frames, vocab_size = log_probs.shape
    beam_size = setup.parameters[0].beam_size
    candidates = beam_size * (vocab_size + 1)
    write_root(setup, tree)
    beam, size, num_nodes, offset = np.zeros(beam_size, np.int32), 1, 1, 0.0
    masses, found = np.zeros((beam_size, 2)), np.empty((candidates, 2))
    masses[0, 0] = 1.0
    scores, made = np.empty(candidates), np.empty((candidates, 3), np.int32)
    chosen, tokens = np.empty(beam_size, np.int32), np.empty(vocab_size, np.int32)
    table, num_merges = np.empty(1 << int(np.log2(beam_size) + 2), np.int32), 0
    for frame in range(num_frames):
        row, linear = log_probs[frame], probs[frame]
        likely = tokens[: _likely_tokens(setup, row, tokens)]
        _stay(setup, tree, beam[:size], masses, row, linear, found, scores)
        count = _grow(setup, tree, beam[:size], masses, row, linear, likely, found, scores, made)
        kept = chosen[: _select(setup, scores[:count], chosen)]
        num_nodes, scale = _keep(setup, tree, beam, size, masses, found, made, kept, num_nodes)
        size = len(kept)
        offset += scale
        if len(merges) > 0:
            size, num_merges = recombine(
                tree, beam, size, masses, table, merges, num_merges, num_nodes
            )
    nodes, endings = _finish(setup, tree, beam[:size], masses, offset)
    return nodes, endings, num_nodes, num_merges
