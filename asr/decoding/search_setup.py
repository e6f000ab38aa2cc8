"""What prefix beam search reads and writes, as arrays of records that compiled code sees."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NO_LM, WORD_LM, TOKEN_LM = 0, 1, 2
PLAIN, SEPARATOR, WORD_START = 0, 1, 2
_INTEGERS = (
    *("mode", "blank_id", "begin_state", "end_id", "unknown_id", "beam_size"),
    "most_alike",  # words that are spelled alike
)
_WEIGHTS = (
    *("token_min_logp", "beam_threshold", "lm_weight", "word_bonus", "unknown_penalty"),
    "most_gained",  # by one token inside a word: bonus and hot-word loans
)
PARAMETERS = np.dtype([(n, "<i8") for n in _INTEGERS] + [(n, "<f8") for n in _WEIGHTS])
TOKEN = np.dtype([("kind", "<i4"), ("word", "<i4"), ("rank", "<i4")])
_TREE_LINKS = ("parent", "token", "child", "sibling", "slot")
_TREE_STATES = ("lexicon", "lm", "hot", "end_lm", "end_hot", "end_known")
_TREE_EARNINGS = ("kept", "extra", "end_kept")
PREFIX = np.dtype(
    [(n, "<i4") for n in (*_TREE_LINKS, *_TREE_STATES)] + [(n, "<f8") for n in _TREE_EARNINGS],
    align=True,
)

# `winner` goes on for `loser` too, whose score is below its by -`gap`; when there were `made` prefixes
MERGE = np.dtype([(n, "<i4") for n in ("loser", "winner", "made")] + [("gap", "<f8")], align=True)


class Setup(NamedTuple):
    """Everything that stays the same from utterance to utterance.

    Few arrays of records and no nested tuples: numba compiles this several times faster.

    Attributes:
        parameters: (1,) PARAMETERS; an infinite unknown_penalty closes the vocabulary.
        tokens: (V,) TOKEN: PLAIN, SEPARATOR or WORD_START; the language model's id (TOKEN_LM); and of a
            separator which it ends of the words that are spelled alike, from 0, the likeliest.
        nodes, contexts: the n-gram model.
        lexicon, alike: the words that can be written (WORD_LM; asr.decoding.lexicon.Trie).
        hot_next, hot_states, hot_ends: the hot words (asr.decoding.hotwords.HotwordArrays).
    """

    parameters: NDArray[np.void]
    tokens: NDArray[np.void]
    nodes: NDArray[np.void]
    contexts: NDArray[np.void]
    lexicon: NDArray[np.void]
    alike: NDArray[np.int32]
    hot_next: NDArray[np.int32]
    hot_states: NDArray[np.void]
    hot_ends: NDArray[np.int32]
