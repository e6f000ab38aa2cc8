"""The words a decoder may write, as a trie over token ids."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from asr.errors import AsrError

NO_WORD = -1


@dataclass(frozen=True)
class Alphabet:
    """What a decoder must know about its tokens.

    Words are divided either by a token of their own (`separator_id`, characters) or by tokens that
    begin a word (`word_starts`, subwords with a word mark), or not at all.

    Attributes:
        vocab_size: number of tokens, the blank included.
        separator_id: the token between words; None if there is none.
        word_starts: ids of the tokens that begin a word.
    """

    vocab_size: int
    blank_id: int = 0
    separator_id: int | None = None
    word_starts: frozenset[int] = frozenset()

    @classmethod
    def from_tokens(
        cls, tokens: Sequence[str], blank_id: int = 0, separator: str = " ", mark: str = "▁"
    ) -> "Alphabet":
        """The alphabet of a list of tokens: characters with a space, or marked subwords."""
        if separator in tokens:
            return cls(len(tokens), blank_id, separator_id=list(tokens).index(separator))
        starts = frozenset(i for i, token in enumerate(tokens) if token.startswith(mark))
        return cls(len(tokens), blank_id, word_starts=starts)

    @property
    def has_words(self) -> bool:
        """Whether the tokens say where words begin."""
        return self.separator_id is not None or bool(self.word_starts)


LEXICON_NODE = np.dtype(
    [
        *((name, "<i4") for name in ("first_child", "token", "word", "first_alike")),
        ("best_log_prob", "<f4"),
    ]
)


class Trie(NamedTuple):
    """What compiled code sees of a lexicon.

    Attributes:
        nodes: (N + 1,) LEXICON_NODE, node 0 the root. Node i has the children first_child[i] to
            first_child[i + 1] - 1, sorted by token; `word` is the id of the likeliest word that ends
            there, or NO_WORD; `best_log_prob` the highest ln P of the words at or below the node.
        alike: (A,) int32: the other words that end at node i, the likeliest first, are
            alike[first_alike[i]] to alike[first_alike[i + 1] - 1].
    """

    nodes: NDArray[np.void]
    alike: NDArray[np.int32]

    @property
    def most_alike(self) -> int:
        """The largest number of words that are spelled alike."""
        return 1 + int(np.diff(self.nodes["first_alike"]).max())


EMPTY_LEXICON = Trie(
    np.array([(1, -1, NO_WORD, 0, 0.0), (1, -1, NO_WORD, 0, 0.0)], LEXICON_NODE),
    np.zeros(0, np.int32),
)


def build_lexicon(
    spellings: Sequence[Sequence[int]],
    word_ids: Sequence[int],
    log_probs: NDArray[np.float32],
    max_alike: int = 1,
) -> Trie:
    """Build the trie. Of words spelled alike the `max_alike` likeliest are kept.

    Args:
        spellings: token ids of each word, none empty.
        word_ids: what the decoder calls each word; one that has several spellings is there as often.
        log_probs: (W,) ln P of each word alone, for pruning words while they are being spelled.

    Raises:
        AsrError: there are no words, or one is spelled with nothing.
    """
    if not spellings:
        raise AsrError("a lexicon needs at least one word")
    lengths = np.array([len(spelling) for spelling in spellings])
    if lengths.min() == 0:
        raise AsrError("a word in the lexicon is spelled with no token")
    table = np.full((len(spellings), int(lengths.max())), -1, np.int32)
    table[np.arange(table.shape[1]) < lengths[:, None]] = np.fromiter(
        itertools.chain.from_iterable(spellings), np.int32
    )
    likeliest_first = np.lexsort((-log_probs, *table.T[::-1]))
    nodes = np.zeros(1 + int(lengths.sum()) + 1, LEXICON_NODE)
    alike = np.zeros(len(spellings), np.int32)
    num_nodes, num_alike = _fill(
        nodes,
        alike,
        table[likeliest_first],
        np.asarray(word_ids, np.int32)[likeliest_first],
        np.asarray(log_probs, np.float32)[likeliest_first],
        max_alike,
    )
    return Trie(nodes[: num_nodes + 1].copy(), alike[:num_alike].copy())


@numba.njit(nogil=True, cache=True)
def _fill(nodes, alike, table, word_ids, log_probs, max_alike):  # type: ignore[no-untyped-def]
    """Breadth-first trie of a sorted table of spellings, padded with -1; (number of nodes, of alike)."""
    num_words, max_length = table.shape
    node_of_row = np.zeros(num_words, np.int32)
    num_nodes, num_alike = 1, 0
    nodes[0].token, nodes[0].word, nodes[0].best_log_prob = -1, -1, log_probs.max()
    for depth in range(max_length):
        previous = -1
        for row in range(num_words):
            token = table[row, depth]
            if token < 0:
                continue
            parent = node_of_row[row]
            if parent != previous:
                nodes[parent].first_child = num_nodes
            if parent != previous or nodes[num_nodes - 1].token != token:
                nodes[num_nodes].token, nodes[num_nodes].word = token, -1
                nodes[num_nodes].best_log_prob = -np.inf
                nodes[num_nodes].first_alike = num_alike
                num_nodes += 1
            previous, node = parent, num_nodes - 1
            node_of_row[row] = node
            nodes[node].best_log_prob = max(nodes[node].best_log_prob, log_probs[row])
            is_last = depth + 1 == max_length or table[row, depth + 1] < 0
            if is_last and nodes[node].word < 0:
                nodes[node].word = word_ids[row]
            elif is_last and num_alike - nodes[node].first_alike + 1 < max_alike:
                alike[num_alike] = word_ids[row]
                num_alike += 1
    nodes[num_nodes].first_child, nodes[num_nodes].word = num_nodes, -1
    nodes[num_nodes].first_alike = num_alike
    for node in range(
        num_nodes - 1, -1, -1
    ):  # a childless node's children begin where the next's do
        if nodes[node].first_child == 0:
            nodes[node].first_child = nodes[node + 1].first_child
    return num_nodes, num_alike


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
