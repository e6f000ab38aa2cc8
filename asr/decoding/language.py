"""A language model bound to a recognizer's tokens: word n-grams with a lexicon, or token n-grams."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from asr.decoding.lexicon import (
    EMPTY_LEXICON,
    Alphabet,
    Spellings,
    Trie,
    build_lexicon,
    spellings_of,
)
from asr.decoding.ngram import SPECIAL_WORDS, LanguageModelError, NgramModel
from asr.decoding.search_setup import TOKEN_LM, WORD_LM
from asr.errors import AsrError

_MIN_SPELLED = 0.1  # share of the unigram probability that the model must be able to write
_MAX_ALIKE = 8  # words that are said alike and told apart by the language model
_NO_ID = -1
_SPACE_NAMES = ("<space>", "▁", "|", "_")


@dataclass(frozen=True)
class LanguageModel:
    """What a decoder needs of a language model.

    Attributes:
        mode: WORD_LM or TOKEN_LM.
        lexicon: the words that the recognizer's tokens, or its phones, can spell (WORD_LM).
        token_words: (V,) the n-gram model's id of each token (TOKEN_LM).
        num_unspelled: words left out because the tokens cannot spell them.
        of_phones: the lexicon says how words are said; several may be said alike.
    """

    ngram: NgramModel
    mode: int
    lexicon: Trie
    token_words: NDArray[np.int32]
    num_unspelled: int = 0
    of_phones: bool = False


def word_language_model(
    ngram: NgramModel, alphabet: Alphabet, encode: Callable[[str], Sequence[int]]
) -> LanguageModel:
    """Bind an n-gram model of words.

    Args:
        encode: token ids of one word; raises AsrError or KeyError if the tokens cannot spell it.

    Raises:
        LanguageModelError: the tokens can spell next to none of the words (upper case against lower
            case, another language), or do not say where words begin.
    """
    if not alphabet.has_words:
        raise LanguageModelError("a language model of words needs tokens that say where words end")

    word_ids: list[int] = []
    spellings: list[Sequence[int]] = []
    for word_id, word in enumerate(ngram.words):
        if word in SPECIAL_WORDS:
            continue
        try:
            spelling = encode(word)
        except (AsrError, KeyError):
            continue
        if spelling:
            word_ids.append(word_id)
            spellings.append(spelling)
    return _bind(ngram, np.array(word_ids, np.int32), spellings_of(spellings), alphabet.vocab_size)


def phone_language_model(
    ngram: NgramModel, words: Sequence[str], said: Spellings, num_phones: int
) -> LanguageModel:
    """Bind an n-gram model of words to the phones of a recognizer.

    Args:
        words: (N,) whose pronunciation each of `said` is.
        said: N pronunciations, in phone ids.

    Raises:
        LanguageModelError: the pronunciations of next to none of the words are known.
    """
    ids = ngram.word_ids
    word_ids = np.fromiter(map(ids.get, words, repeat(_NO_ID)), np.int32, len(words))
    return _bind(ngram, word_ids, said, num_phones, _MAX_ALIKE)


def _bind(
    ngram: NgramModel,
    word_ids: NDArray[np.int32],
    spellings: Spellings,
    vocab_size: int,
    max_alike: int = 1,
) -> LanguageModel:
    """With the words that are spelled so, but for special ones and those that it lacks."""
    special = [ngram.word_ids[word] for word in SPECIAL_WORDS if word in ngram.word_ids]
    usable = ~np.isin(word_ids, [_NO_ID, *special])
    word_ids, spellings = word_ids[usable], spellings.chosen(usable)
    is_spelled = np.zeros(len(ngram.words), bool)
    is_spelled[word_ids] = True
    is_unspelled = ~is_spelled
    is_unspelled[special] = False
    log_probs = ngram.arrays.nodes["log_prob"][1 : 1 + len(ngram.words)]
    _check_spelled(ngram, np.exp(log_probs), is_spelled, is_unspelled)
    lexicon = build_lexicon(spellings, word_ids, log_probs[word_ids], max_alike)
    no_tokens = np.zeros(vocab_size, np.int32)
    num_unspelled = int(is_unspelled.sum())
    return LanguageModel(ngram, WORD_LM, lexicon, no_tokens, num_unspelled, max_alike > 1)


def _check_spelled(
    ngram: NgramModel,
    probs: NDArray[np.float32],
    spelled: NDArray[np.bool_],
    unspelled: NDArray[np.bool_],
) -> None:
    mass, lost = float(probs[spelled].sum()), float(probs[unspelled].sum())
    if mass >= _MIN_SPELLED * (mass + lost) and spelled.any():
        return
    lacking = np.flatnonzero(unspelled).tolist()
    frequent = sorted(lacking, key=lambda word_id: -probs[word_id])[:5]
    examples = ", ".join(repr(ngram.words[word_id]) for word_id in frequent)
    raise LanguageModelError(
        f"the model's tokens cannot spell the language model's words ({examples}): is the language "
        "model in another case, language or spelling? `asr lm train` normalises its text"
    )


def token_language_model(
    ngram: NgramModel, tokens: Sequence[str], blank_id: int = 0
) -> LanguageModel:
    """Bind an n-gram model whose "words" are the recognizer's tokens.

    A space may be called <space>, ▁, | or _ in the language model.

    Raises:
        LanguageModelError: less than half of the tokens are in the language model.
    """
    token_words = np.full(len(tokens), ngram.unknown_id, np.int32)
    for token_id, token in enumerate(tokens):
        names = (token, *_SPACE_NAMES) if token == " " else (token,)
        known = [ngram.word_ids[name] for name in names if name in ngram.word_ids]
        if known and token_id != blank_id:
            token_words[token_id] = known[0]
    num_known = int((token_words != ngram.unknown_id).sum())
    if 2 * num_known < len(tokens) - 1:
        raise LanguageModelError(
            f"the language model knows {num_known} of the model's {len(tokens) - 1} tokens: it must "
            "be trained on text written in these tokens"
        )
    return LanguageModel(ngram, TOKEN_LM, EMPTY_LEXICON, token_words)
