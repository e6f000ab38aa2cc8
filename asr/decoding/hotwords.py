"""Hot words: words and phrases that a decoder prefers, hundreds of them at no cost in speed.

The phrases form one automaton over token ids (Aho and Corasick 1975), so a prefix takes one step a
token whatever the number of phrases. A phrase counts where it begins and ends at word boundaries.
While a phrase is being spelled its weight is lent in proportion to what is spelled; when the
spelling goes another way, the loan is taken back (as in icefall's context graph). Where tokens say
words instead of spelling them, the words of a phrase count, and not what sounds like them.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from asr.decoding.lexicon import Alphabet
from asr.errors import UsageError

HOT_STATE = np.dtype([("loan", "<f8"), ("gain", "<f8")])


class HotwordArrays(NamedTuple):
    """What compiled code sees: a dense automaton of N states over V tokens, E ends of words that phones
    say, and the boundary.

    Attributes:
        next_states: (N, V + E + 1) int32; the last column is the boundary between words. An utterance
            begins in the state after a boundary in state 0.
        states: (N,) HOT_STATE: what is lent in a state, and what is earned on entering it.
        ends: (W,) int32: by the language model's word ids the column of that word's end, or -1; empty
            where tokens spell the words.
    """

    next_states: NDArray[np.int32]
    states: NDArray[np.void]
    ends: NDArray[np.int32]


@dataclass(frozen=True)
class Hotword:
    """A word or phrase as token ids, words divided as the model divides them, and its weight.

    The weight is a natural logarithm added to the score of each occurrence; it may be negative.
    word_ids are the words in the language model, where the tokens are phones that say them.
    """

    token_ids: tuple[int, ...]
    weight: float
    word_ids: tuple[int, ...] = ()


NO_HOTWORDS = HotwordArrays(
    np.zeros((1, 1), np.int32), np.zeros(1, HOT_STATE), np.zeros(0, np.int32)
)


def build_hotwords(hotwords: Sequence[Hotword], alphabet: Alphabet) -> HotwordArrays:
    """Build the automaton.

    Raises:
        UsageError: no hot words, one of them empty, a token or a weight that cannot be, or an
            alphabet that does not say where words begin.
    """
    if not hotwords:
        raise UsageError("the list of hot words is empty: add words, or leave the option out")
    if not alphabet.has_words:
        raise UsageError("hot words need a model whose tokens say where words begin")
    said = sorted({word_id for hotword in hotwords for word_id in hotword.word_ids})
    ends = np.full(1 + said[-1] if said else 0, -1, np.int32)
    ends[said] = alphabet.vocab_size + np.arange(len(said))
    weights: dict[tuple[int, ...], float] = {}
    for hotword in hotwords:
        if not np.isfinite(hotword.weight):
            raise UsageError(f"a hot word's weight must be a finite number, not {hotword.weight}")
        boundary = alphabet.vocab_size + len(said)
        symbols = _symbols(hotword, alphabet, boundary)
        weights[_with_ends(symbols, boundary, ends[list(hotword.word_ids)])] = hotword.weight
    return HotwordArrays(*_automaton(weights, alphabet.vocab_size + len(said) + 1), ends)


def _with_ends(symbols: tuple[int, ...], boundary: int, ends: NDArray[np.int32]) -> tuple[int, ...]:
    """The symbols with the end of each word that is said before the boundary after it."""
    if not len(ends):
        return symbols
    found, remaining = [symbols[0]], iter(ends.tolist())
    for symbol in symbols[1:]:
        found += [next(remaining), symbol] if symbol == boundary else [symbol]
    return tuple(found[:-1])  # at the end of the last word it is complete


def _symbols(hotword: Hotword, alphabet: Alphabet, boundary: int) -> tuple[int, ...]:
    """The tokens with the boundary before, between and after the words."""
    symbols = [boundary]
    for token_id in hotword.token_ids:
        if not 0 <= token_id < alphabet.vocab_size or token_id == alphabet.blank_id:
            raise UsageError(f"a hot word has the token {token_id}, which the model cannot write")
        if token_id == alphabet.separator_id or token_id in alphabet.word_starts:
            if symbols[-1] != boundary:
                symbols.append(boundary)
            if token_id == alphabet.separator_id:
                continue
        symbols.append(token_id)
    if symbols[-1] != boundary:
        symbols.append(boundary)
    if len(symbols) < 3:
        raise UsageError("a hot word is empty")
    return tuple(symbols)


def _automaton(
    weights: dict[tuple[int, ...], float], num_symbols: int
) -> tuple[NDArray[np.int32], NDArray[np.void]]:
    children: list[dict[int, int]] = [{}]
    loans, gains = [0.0], [0.0]
    for symbols, weight in weights.items():
        state = 0
        for spelled, symbol in enumerate(symbols, start=1):
            if symbol not in children[state]:
                children[state][symbol] = len(children)
                children.append({})
                loans.append(0.0)
                gains.append(0.0)
            state = children[state][symbol]
            share = weight * (spelled - 1) / (len(symbols) - 1)
            if spelled < len(symbols) and share > loans[state]:
                loans[state] = share
        gains[state] += weight
    next_states = _close(children, gains, loans, num_symbols)
    states = np.array(list(zip(loans, gains, strict=True)), HOT_STATE)
    return next_states, states


def _close(
    children: list[dict[int, int]], gains: list[float], loans: list[float], num_symbols: int
) -> NDArray[np.int32]:
    """Transitions after failure links; gains and loans of shorter phrases are passed on to longer."""
    next_states = np.zeros((len(children), num_symbols), np.int32)
    failure = [0] * len(children)
    queue = deque([0])
    while queue:
        state = queue.popleft()
        if state:
            next_states[state] = next_states[failure[state]]
            gains[state] += gains[failure[state]]
            loans[state] = max(loans[state], loans[failure[state]])
        for symbol, child in children[state].items():
            failure[child] = int(next_states[failure[state], symbol]) if state else 0
            next_states[state, symbol] = child
            queue.append(child)
    return next_states
