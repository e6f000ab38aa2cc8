"""The compiled part of recombination: prefixes whose future is the same become one, and what was joined
so is read back as a lattice of words.

Two prefixes have the same future when they end with the same token, stand at the same place in the
lexicon and in the same states of language model and hot words: whatever follows earns the same after
either, and the better one goes on for both. Where probability still flows into one of them from a
shorter prefix, which is better is an estimate. Words outside the lexicon are never joined half-way.
"""

import numba
import numpy as np

from asr.decoding.lattice import NO_VERTEX, VERTEX
from asr.decoding.lookup import advance, word_at
from asr.decoding.search_setup import PLAIN, WORD_START

_GONE = -1.0  # in place of a mass


@numba.njit(nogil=True, cache=True)
def _are_alike(one, other):  # type: ignore[no-untyped-def]
    """Whether two prefixes have the same future."""
    return (
        one.lexicon == other.lexicon >= 0
        and one.lm == other.lm
        and one.token == other.token
        and one.hot == other.hot
    )


@numba.njit(nogil=True, cache=True)
def _place_of(prefix, mask):  # type: ignore[no-untyped-def]
    """Where to look first for prefixes with the same future."""
    number = np.int64(prefix.lexicon) * 7919 + np.int64(prefix.lm) * 104729
    number += np.int64(prefix.token) * 31 + np.int64(prefix.hot) * 17
    return (number ^ (number >> 15)) & mask


@numba.njit(nogil=True, cache=True)
def recombine(tree, beam, size, masses, table, merges, num_merges, num_nodes):  # type: ignore[no-untyped-def]
    """Join the prefixes of a beam that have the same future; each join is noted in `merges`.

    Args:
        table: (S,) int32 scratch, S a power of two above `size`.

    Returns:
        (prefixes left, number of merges).
    """
    table[:] = -1
    mask = len(table) - 1
    before = num_merges
    for slot in range(size):
        prefix = tree[beam[slot]]
        place = _place_of(prefix, mask)
        while table[place] >= 0 and not _are_alike(prefix, tree[beam[table[place]]]):
            place = (place + 1) & mask
        winner, loser = table[place], slot
        if winner < 0:
            table[place] = slot
            continue
        gap = np.log(masses[loser, 0] + masses[loser, 1]) + prefix.kept
        gap -= np.log(masses[winner, 0] + masses[winner, 1]) + tree[beam[winner]].kept
        if gap > 0.0:
            winner, loser = loser, winner
            table[place] = winner
        masses[loser, 0] = _GONE
        merge = merges[num_merges]
        merge.loser, merge.winner, merge.made = beam[loser], beam[winner], num_nodes
        merge.gap = -abs(gap)
        num_merges += 1
    if num_merges == before:
        return size, num_merges
    left = 0
    for slot in range(size):
        node = beam[slot]
        if masses[slot, 0] == _GONE:
            tree[node].slot = -1
            continue
        beam[left] = node
        tree[node].slot = left
        masses[left, 0], masses[left, 1] = masses[slot, 0], masses[slot, 1]
        left += 1
    return left, num_merges


@numba.njit(nogil=True, cache=True)
def _reach(tree, num_nodes, merges, nodes, endings, counts, margin):  # type: ignore[no-untyped-def]
    """The best score of a path through each prefix and each merge; (nodes, merges, floor)."""
    through = np.full(num_nodes, -np.inf)
    joined = np.full(len(merges), -np.inf)
    floor = -np.inf
    for ending in range(len(nodes)):
        if counts[ending]:
            score = endings[ending, 0]
            through[nodes[ending]] = max(through[nodes[ending]], score)
            floor = max(floor, score - margin)
    merge = len(merges)
    for node in range(num_nodes - 1, -1, -1):
        # from the last to the first: a merge belongs after the prefixes that were there before it
        while merge > 0 and merges[merge - 1].made > node:
            merge -= 1
            joined[merge] = through[merges[merge].winner] + merges[merge].gap
            if joined[merge] >= floor:
                loser = merges[merge].loser
                through[loser] = max(through[loser], joined[merge])
        if node > 0 and through[node] >= floor:
            parent = tree[node].parent
            through[parent] = max(through[parent], through[node])
    return through, joined, floor


@numba.njit(nogil=True, cache=True)
def _is_word_end(setup, tree, node):  # type: ignore[no-untyped-def]
    """Whether the last token of a prefix ends a word."""
    kind, parent = setup.tokens[tree[node].token].kind, tree[node].parent
    return kind != PLAIN and tree[parent].lexicon != 0


@numba.njit(nogil=True, cache=True)
def _write_word(setup, tree, vertex, node, rank):  # type: ignore[no-untyped-def]
    """The word that prefix `node` spells: id and ln P; the state after it."""
    prefix = tree[node]
    word = np.int64(-1)
    if prefix.lexicon > 0:
        word = word_at(setup.lexicon, setup.alike, np.int64(prefix.lexicon), rank)
    vertex.word = word if word >= 0 else setup.parameters[0].unknown_id
    vertex.ngram, state = advance(setup.nodes, setup.contexts, prefix.lm, np.int64(vertex.word))
    return state


@numba.njit(nogil=True, cache=True)
def _last_tokens(setup, tree, node, ends_word):  # type: ignore[no-untyped-def]
    """The tokens of the last word of prefix `node`, idle separators included: (their last node, number).

    A separator that ends a word belongs to it, a token that begins the next word does not.
    """
    length, first = 0, node
    if ends_word:
        first = tree[node].parent
        if setup.tokens[tree[node].token].kind == WORD_START:
            node = first
        else:
            length = 1
    while first > 0:
        if _is_word_end(setup, tree, first):
            length += setup.tokens[tree[first].token].kind == WORD_START
            break
        length += 1
        first = tree[first].parent
    return node, length


@numba.njit(nogil=True, cache=True)
def _write_tokens(setup, tree, vertex, node, ends_word, tokens, count):  # type: ignore[no-untyped-def]
    """Append the tokens of the last word of prefix `node`; `tokens`, longer if need be."""
    node, length = _last_tokens(setup, tree, node, ends_word)
    if count + length > len(tokens):
        tokens = np.concatenate((tokens, np.empty(count + length, np.int32)))
    vertex.first_token, vertex.last_token = count, count + length
    for place in range(count + length - 1, count - 1, -1):
        tokens[place] = tree[node].token
        node = tree[node].parent
    return tokens


@numba.njit(nogil=True, cache=True)
def word_lattice(setup, tree, num_nodes, merges, nodes, endings, margin):  # type: ignore[no-untyped-def]
    """The lattice of a search with a language model of words.

    Args:
        num_nodes: prefixes in the tree.
        merges: (M,) MERGE, in the order in which they were made.
        nodes, endings: what the search returned.
        margin: paths that the search has this far behind the best are left out.

    Returns:
        vertices, ends, tokens: see asr.decoding.lattice.WordLattice.
    """
    # an ending counts where it is complete, or nothing is
    counts = (endings[:, 1] > 0) | (endings[:, 1].max() == 0)
    through, joined, floor = _reach(tree, num_nodes, merges, nodes, endings, counts, margin)
    useful = 0
    for score in through:
        useful += score >= floor
    num_vertices = 1 + useful
    for score in joined:
        num_vertices += score >= floor
    vertices, count = np.zeros(num_vertices, VERTEX), 1
    ends, num_ends = np.zeros(len(nodes), VERTEX), 0
    tokens, num_tokens = np.empty(2 * useful, np.int32), 0
    current = np.full(num_nodes, NO_VERTEX, np.int32)  # what each prefix has come from
    current[0] = 0
    vertices[0].source = vertices[0].other = vertices[0].word = NO_VERTEX
    merge = 0
    for node in range(1, num_nodes + 1):
        while merge < len(merges) and merges[merge].made <= node:
            winner, loser = merges[merge].winner, merges[merge].loser
            if joined[merge] >= floor and current[winner] != current[loser]:
                vertex = vertices[count]
                vertex.source, vertex.other = current[winner], current[loser]
                vertex.word, vertex.gap = -1, merges[merge].gap
                current[winner] = count
                count += 1
            merge += 1
        if node == num_nodes or through[node] < floor:
            continue
        parent = tree[node].parent
        current[node] = current[parent]
        if _is_word_end(setup, tree, node):
            vertex = vertices[count]
            vertex.source, vertex.other = current[parent], NO_VERTEX
            _write_word(setup, tree, vertex, parent, setup.tokens[tree[node].token].rank)
            tokens = _write_tokens(setup, tree, vertex, node, True, tokens, num_tokens)
            num_tokens = vertex.last_token
            current[node] = count
            count += 1
    for ending in range(len(nodes)):
        if counts[ending] and endings[ending, 0] >= floor:
            node, end = nodes[ending], ends[num_ends]
            end.source, end.other, end.word = current[node], NO_VERTEX, -1
            end.score, end.rank = endings[ending, 0], endings[ending, 2]
            state = tree[node].lm
            if endings[ending, 1] and tree[node].lexicon != 0:
                state = _write_word(setup, tree, end, node, np.int64(end.rank))
            end_id = np.int64(setup.parameters[0].end_id)
            end.ngram += advance(setup.nodes, setup.contexts, state, end_id)[0]
            tokens = _write_tokens(setup, tree, end, node, False, tokens, num_tokens)
            num_tokens = end.last_token
            num_ends += 1
    return vertices[:count].copy(), ends[:num_ends].copy(), tokens[:num_tokens].copy()
