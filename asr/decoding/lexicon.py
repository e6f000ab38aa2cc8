"""The words a decoder may write, as a trie over token ids."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
    from asr.decoding.trie import fill, sort_keys  # numba, which decoding greedily does without

    lengths = spellings.lengths
    if not len(lengths):
        raise AsrError("a lexicon needs at least one word")
    if lengths.min() == 0:
        raise AsrError("a word in the lexicon is spelled with no token")
    log_probs = np.asarray(log_probs, np.float32)
    bits = int(spellings.token_ids.max() + 1).bit_length()
    keys = sort_keys(spellings.token_ids, lengths, bits)
    order = np.lexsort([word_ids, -log_probs, *keys[::-1]])
    nodes = np.zeros(1 + len(spellings.token_ids) + 1, LEXICON_NODE)
    nodes[0] = (0, -1, NO_WORD, 0, log_probs.max())
    count, alike = fill(nodes, spellings.token_ids, lengths, order, word_ids, log_probs, max_alike)
    return Trie(nodes[: count + 1].copy(), alike)
