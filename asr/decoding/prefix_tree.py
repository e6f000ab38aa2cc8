"""Prefixes of a search, as rows of a tree that grows as the search goes; compiled.

A row is a prefix: its links, its states in lexicon, language model and hot words, and what it earned:
`kept` for good, `extra` with look-ahead and loans; end_*: after a word boundary. What a prefix earns
beside its acoustics depends on the prefix alone, so it is computed once, when the row is written.
"""

import numba
import numpy as np

from asr.decoding.lookup import advance, find_token, word_at
from asr.decoding.search_setup import PLAIN, SEPARATOR, TOKEN_LM, WORD_LM

_OFF_LEXICON = -1


@numba.njit(nogil=True, cache=True)
def _look_ahead(setup, lexicon_node, hot):  # type: ignore[no-untyped-def]
    """What a prefix may still hope for: its best word and its lent hot-word share."""
    extra = setup.hot_states[hot].loan
    options = setup.parameters[0]
    if options.mode == WORD_LM:
        if lexicon_node == _OFF_LEXICON:
            unknown = setup.nodes[1 + options.unknown_id].log_prob
            extra += options.lm_weight * unknown + options.word_bonus - options.unknown_penalty
        else:
            extra += options.lm_weight * setup.lexicon[lexicon_node].best_log_prob
            if lexicon_node > 0:
                extra += options.word_bonus
    return extra


@numba.njit(nogil=True, cache=True)
def after_word(setup, tree, node, rank):  # type: ignore[no-untyped-def]
    """End a word that `node` spells, the one of that rank: (kept, LM state, hot state)."""
    prefix, options = tree[node], setup.parameters[0]
    kept, lm_state, hot = prefix.kept, prefix.lm, np.int64(prefix.hot)
    if options.mode == WORD_LM and prefix.lexicon != 0:
        word = np.int64(-1)
        if prefix.lexicon > 0:
            word = word_at(setup.lexicon, setup.alike, prefix.lexicon, rank)
        if word < 0:
            word = options.unknown_id
            kept -= options.unknown_penalty
        score, lm_state = advance(setup.nodes, setup.contexts, lm_state, word)
        kept += options.lm_weight * score + options.word_bonus
        if len(setup.hot_ends) > 0:
            column = setup.hot_ends[word] if word < len(setup.hot_ends) else -1
            hot = np.int64(setup.hot_next[hot, column]) if column >= 0 else np.int64(0)
            kept += setup.hot_states[hot].gain
    hot = np.int64(setup.hot_next[hot, -1])
    return kept + setup.hot_states[hot].gain, lm_state, hot


@numba.njit(nogil=True, cache=True)
def _end_word(setup, tree, node):  # type: ignore[no-untyped-def]
    """End the likeliest word that `node` spells; the result is kept with the node."""
    prefix = tree[node]
    if not prefix.end_known:
        prefix.end_known = 1
        prefix.end_kept, prefix.end_lm, prefix.end_hot = after_word(setup, tree, node, 0)


@numba.njit(nogil=True, cache=True)
def extend(setup, tree, node, token):  # type: ignore[no-untyped-def]
    """What `node` + `token` would be: (lexicon node, LM state, hot state, kept, extra)."""
    options, prefix, kind = setup.parameters[0], tree[node], setup.tokens[token].kind
    lexicon_node, lm_state, hot = np.int64(prefix.lexicon), prefix.lm, prefix.hot
    kept = prefix.kept
    rank = setup.tokens[token].rank
    if rank > 0:
        kept, lm_state, hot = after_word(setup, tree, node, rank)
        lexicon_node = np.int64(0)
    elif kind != PLAIN:
        _end_word(setup, tree, node)
        lexicon_node, lm_state, hot = np.int64(0), prefix.end_lm, prefix.end_hot
        kept = prefix.end_kept
    if kind != SEPARATOR:
        if options.mode == WORD_LM and lexicon_node >= 0:
            lexicon_node = np.int64(find_token(setup.lexicon, lexicon_node, token))
        hot = setup.hot_next[hot, min(token, setup.hot_next.shape[1] - 1)]
    if options.mode == TOKEN_LM:
        word = setup.tokens[token].word
        score, lm_state = advance(setup.nodes, setup.contexts, lm_state, np.int64(word))
        kept += options.lm_weight * score + options.word_bonus
    return lexicon_node, lm_state, hot, kept, kept + _look_ahead(setup, lexicon_node, hot)


@numba.njit(nogil=True, cache=True)
def is_misspelled(setup, tree, node, token):  # type: ignore[no-untyped-def]
    """Whether `token` after `node` leaves the lexicon."""
    lexicon_node, kind = np.int64(tree[node].lexicon), setup.tokens[token].kind
    if kind != PLAIN:
        rank = setup.tokens[token].rank
        if lexicon_node != 0 and word_at(setup.lexicon, setup.alike, lexicon_node, rank) < 0:
            return True
        # To the network all separators are one: none follows another but through a blank, as itself.
        last = tree[node].token
        if lexicon_node == 0 and (rank > 0 or (last >= 0 and setup.tokens[last].rank > 0)):
            return True
        lexicon_node = np.int64(0)
    return kind != SEPARATOR and find_token(setup.lexicon, lexicon_node, token) < 0


@numba.njit(nogil=True, cache=True)
def write_root(setup, tree):  # type: ignore[no-untyped-def]
    """The empty prefix, as if after a word boundary."""
    hot = setup.hot_next[0, -1]
    root = tree[0]
    root.parent, root.token, root.child, root.sibling, root.slot = -1, -1, -1, -1, 0
    root.lexicon, root.lm, root.hot, root.end_known = 0, setup.parameters[0].begin_state, hot, 0
    root.kept = 0.0
    root.extra = _look_ahead(setup, 0, hot)


@numba.njit(nogil=True, cache=True)
def write_child(setup, tree, node, parent, token):  # type: ignore[no-untyped-def]
    """Write the prefix `parent` + `token` to row `node` of the tree."""
    lexicon_node, lm_state, hot, kept, extra = extend(setup, tree, parent, token)
    child = tree[node]
    child.parent, child.token, child.child, child.slot = parent, token, -1, -1
    child.sibling = tree[parent].child
    tree[parent].child = node
    child.lexicon, child.lm, child.hot, child.end_known = lexicon_node, lm_state, hot, 0
    child.kept, child.extra = kept, extra


@numba.njit(nogil=True, cache=True)
def spell(tree, node):  # type: ignore[no-untyped-def]
    """Token ids of the prefix `node`, (U,) int32."""
    length, current = 0, node
    while tree[current].parent >= 0:
        length += 1
        current = tree[current].parent
    token_ids = np.empty(length, np.int32)
    while length:
        length -= 1
        token_ids[length] = tree[node].token
        node = tree[node].parent
    return token_ids


@numba.njit(nogil=True, cache=True)
def words_of(setup, token_ids, last_rank):  # type: ignore[no-untyped-def]
    """The words that `token_ids` (U,), separators among them, spell in the lexicon.

    Returns:
        (W, 3) int32: word id, or -1 for what is no word; first and last + 1 position of its tokens.
    """
    found = np.empty((len(token_ids), 3), np.int32)
    count, node, first = 0, np.int64(0), 0
    for position in range(len(token_ids) + 1):
        at_end = position == len(token_ids)
        if at_end or setup.tokens[token_ids[position]].kind == SEPARATOR:
            if position > first:
                rank = last_rank if at_end else setup.tokens[token_ids[position]].rank
                word = word_at(setup.lexicon, setup.alike, node, rank) if node > 0 else np.int64(-1)
                found[count, 0], found[count, 1], found[count, 2] = word, first, position
                count += 1
            first, node = position + 1, np.int64(0)
        elif node >= 0:
            node = np.int64(find_token(setup.lexicon, node, token_ids[position]))
    return found[:count]
