"""The words a decoder may write, as a trie over token ids."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

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


class Spellings(NamedTuple):
    """Sequences of tokens, one after the other.

    Attributes:
        token_ids: of all of them.
        lengths: (N,) tokens of each.
    """

    token_ids: NDArray[np.int32]
    lengths: NDArray[np.int64]

    def chosen(self, which: NDArray[np.bool_]) -> "Spellings":
        """Some of them, `which` (N,)."""
        return Spellings(self.token_ids[np.repeat(which, self.lengths)], self.lengths[which])


def spellings_of(sequences: Sequence[Sequence[int]]) -> Spellings:
    """The same of lists of token ids."""
    return Spellings(
        np.fromiter(itertools.chain.from_iterable(sequences), np.int32),
        np.array([len(sequence) for sequence in sequences], np.int64),
    )


def build_lexicon(
    spellings: Spellings,
    word_ids: NDArray[np.int32],
    log_probs: NDArray[np.float32],
    max_alike: int = 1,
) -> Trie:
    """Build the trie. Of words spelled alike the `max_alike` likeliest are kept.

    Args:
        spellings: W of them, none empty.
        word_ids: (W,) what the decoder calls each word; one of several spellings is there as often.
        log_probs: (W,) ln P of each word alone, for pruning words while they are being spelled.

    Raises:
        AsrError: there are no words, or one is spelled with nothing.
    """
    lengths = spellings.lengths
    if not len(lengths):
        raise AsrError("a lexicon needs at least one word")
    if lengths.min() == 0:
        raise AsrError("a word in the lexicon is spelled with no token")
    table = np.full((len(lengths), int(lengths.max())), -1, np.int32)
    table[np.arange(table.shape[1]) < lengths[:, None]] = spellings.token_ids
    least_first: list[NDArray[Any]] = [word_ids, -log_probs, *_keys(table)[::-1]]
    likeliest_first = np.lexsort(least_first)
    return _trie(
        table[likeliest_first],
        word_ids[likeliest_first],
        np.asarray(log_probs, np.float32)[likeliest_first],
        max_alike,
    )


def _keys(table: NDArray[np.int32]) -> list[NDArray[np.uint64]]:
    """Numbers that sort as the rows of a table do, its first columns in the first of them."""
    bits = int(table.max() + 1).bit_length()
    columns = np.ascontiguousarray(table.T + 1).astype(np.uint64)
    keys = []
    for first in range(0, len(columns), 64 // bits):
        key = np.zeros(len(table), np.uint64)
        for column in columns[first : first + 64 // bits]:
            key = key << np.uint64(bits) | column
        keys.append(key)
    return keys


def _trie(
    table: NDArray[np.int32],
    word_ids: NDArray[np.int32],
    log_probs: NDArray[np.float32],
    max_alike: int,
) -> Trie:
    """Of a sorted table of spellings (W, U), padded with -1: breadth first, a depth at a time."""
    nodes = np.zeros(1 + int((table >= 0).sum()) + 1, LEXICON_NODE)
    nodes[0] = (0, -1, NO_WORD, 0, log_probs.max())
    node_of_row = np.zeros(len(table), np.int32)
    alike = [np.zeros(0, np.int32)]
    num_nodes = 1
    for tokens, following in zip(table.T, [*table.T[1:], np.full(len(table), -1)], strict=True):
        rows = np.flatnonzero(tokens >= 0)
        parents, spelled = node_of_row[rows], tokens[rows]
        is_new = np.ones(len(rows), bool)
        is_new[1:] = (parents[1:] != parents[:-1]) | (spelled[1:] != spelled[:-1])
        starts, of_level = np.flatnonzero(is_new), np.cumsum(is_new) - 1
        level = nodes[num_nodes : num_nodes + len(starts)]
        level["token"] = spelled[starts]
        level["best_log_prob"] = np.maximum.reduceat(log_probs[rows], starts)
        heads = parents[starts]
        eldest = np.flatnonzero(np.diff(heads, prepend=-1))
        nodes["first_child"][heads[eldest]] = num_nodes + eldest
        # words that end here come before those that go on, the likeliest first
        is_last, rank = following[rows] < 0, np.arange(len(rows)) - starts[of_level]
        level["word"] = np.where(is_last[starts], word_ids[rows[starts]], NO_WORD)
        others = is_last & (rank > 0) & (rank < max_alike)
        counts = np.bincount(of_level[others], minlength=len(starts))
        level["first_alike"] = sum(map(len, alike)) + np.cumsum(counts) - counts
        alike.append(word_ids[rows[others]])
        node_of_row[rows] = num_nodes + of_level
        num_nodes += len(starts)
    nodes = nodes[: num_nodes + 1].copy()
    nodes[num_nodes] = (num_nodes, 0, NO_WORD, sum(map(len, alike)), 0.0)
    # a childless node's children begin where the next one's do
    first_children = np.where(nodes["first_child"] > 0, nodes["first_child"], num_nodes)
    nodes["first_child"] = np.minimum.accumulate(first_children[::-1])[::-1]
    return Trie(nodes, np.concatenate(alike))
