"""Hot words: words and phrases that a decoder prefers, hundreds of them at no cost in speed.

The phrases form one automaton over token ids (Aho and Corasick 1975), so a prefix takes one step a
token whatever the number of phrases. A phrase counts where it begins and ends at word boundaries.
While a phrase is being spelled its weight is lent in proportion to what is spelled; when the
spelling goes another way, the loan is taken back (as in icefall's context graph).
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
    """What compiled code sees: a dense automaton of N states over V tokens and the boundary.

    Attributes:
        next_states: (N, V + 1) int32; column V is the boundary between words. An utterance begins
            in the state after a boundary in state 0.
        states: (N,) HOT_STATE: what is lent in a state, and what is earned on entering it.
    """

    next_states: NDArray[np.int32]
    states: NDArray[np.void]


@dataclass(frozen=True)
class Hotword:
    """A word or phrase as token ids, words divided as the model divides them, and its weight.

    The weight is a natural logarithm added to the score of each occurrence; it may be negative.
    """

    token_ids: tuple[int, ...]
    weight: float


NO_HOTWORDS = HotwordArrays(np.zeros((1, 1), np.int32), np.zeros(1, HOT_STATE))


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
    weights: dict[tuple[int, ...], float] = {}
    for hotword in hotwords:
        if not np.isfinite(hotword.weight):
            raise UsageError(f"a hot word's weight must be a finite number, not {hotword.weight}")
        weights[_symbols(hotword, alphabet)] = hotword.weight
    return _automaton(weights, alphabet.vocab_size)


def _symbols(hotword: Hotword, alphabet: Alphabet) -> tuple[int, ...]:
    """The tokens with the boundary (id V) before, between and after the words."""
    boundary = alphabet.vocab_size
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


def _automaton(weights: dict[tuple[int, ...], float], vocab_size: int) -> HotwordArrays:
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
    next_states = _close(children, gains, loans, vocab_size)
    states = np.array(list(zip(loans, gains, strict=True)), HOT_STATE)
    return HotwordArrays(next_states, states)


def _close(
    children: list[dict[int, int]], gains: list[float], loans: list[float], vocab_size: int
) -> NDArray[np.int32]:
    """Transitions after failure links; gains and loans of shorter phrases are passed on to longer."""
    next_states = np.zeros((len(children), vocab_size + 1), np.int32)
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
