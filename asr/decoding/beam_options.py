"""Options of a beam search, and what compiled code sees of them."""

from dataclasses import asdict, dataclass
from math import inf, isnan

import numpy as np

from asr.decoding.hotwords import NO_HOTWORDS, HotwordArrays
from asr.decoding.language import LanguageModel
from asr.decoding.lexicon import EMPTY_LEXICON, Alphabet
from asr.decoding.ngram import CONTEXT, NODE, NgramArrays, frozen_arrays
from asr.decoding.search_setup import (
    NO_LM,
    PARAMETERS,
    PLAIN,
    SEPARATOR,
    TOKEN,
    WORD_START,
    Setup,
)
from asr.errors import UsageError

_NO_NGRAMS = frozen_arrays(NgramArrays(np.zeros(2, NODE), np.zeros(2, CONTEXT)))


@dataclass(frozen=True)
class BeamOptions:
    """How to search. All weights are on natural logarithms.

    Attributes:
        beam_size: prefixes kept in each frame.
        token_min_logp: tokens less likely than this in a frame do not extend prefixes.
        beam_threshold: prefixes whose score is this far behind the best are dropped.
        lm_weight: weight of the language model's ln P.
        word_bonus: added for each word (each token under a language model of tokens).
        unknown_penalty: subtracted for each word that the language model lacks; infinite: only its
            words can be written.
        acoustic_scale: the log-probabilities are multiplied by it and normalised again before anything
            else; above 1 for a network that doubts much, which a search then has less to do with.
    """

    beam_size: int = 64
    token_min_logp: float = -5.0
    beam_threshold: float = 12.0
    lm_weight: float = 1.0
    word_bonus: float = 0.5
    unknown_penalty: float = inf
    acoustic_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.beam_size < 1:
            raise UsageError(f"the beam size must be at least 1, not {self.beam_size}")
        if not self.beam_threshold > 0:
            raise UsageError(f"the beam threshold must be above 0, not {self.beam_threshold}")
        if not self.lm_weight >= 0 or self.lm_weight == inf:
            raise UsageError(f"the language-model weight must be 0 or more, not {self.lm_weight}")
        if not 0 < self.acoustic_scale < inf:
            raise UsageError(f"the acoustic scale must be above 0, not {self.acoustic_scale}")
        if isnan(self.token_min_logp) or isnan(self.unknown_penalty):
            raise UsageError("token_min_logp and unknown_penalty must be numbers, not NaN")
        if not -inf < self.word_bonus < inf:
            raise UsageError(f"the word bonus must be finite, not {self.word_bonus}")


# Words of phones are more alike than words of letters: the truth falls further behind before it wins.
# Tokens above -5 instead of -7 cost 0.6 points of WER (recipes/librispeech/RESULTS.md, run 9).
OVER_PHONES = BeamOptions(token_min_logp=-7.0, beam_threshold=15.0)


def make_setup(
    alphabet: Alphabet,
    options: BeamOptions,
    language_model: LanguageModel | None,
    hotwords: HotwordArrays | None,
) -> Setup:
    """Everything that stays the same from utterance to utterance."""
    ngram, lexicon = _NO_NGRAMS, EMPTY_LEXICON
    if language_model:
        ngram, lexicon = language_model.ngram.arrays, language_model.lexicon
    tokens = np.zeros(alphabet.vocab_size + lexicon.most_alike - 1, TOKEN)
    tokens["kind"] = PLAIN
    tokens["kind"][list(alphabet.word_starts)] = WORD_START
    if alphabet.separator_id is not None:
        tokens["kind"][alphabet.separator_id] = SEPARATOR
    tokens["kind"][alphabet.vocab_size :] = SEPARATOR
    tokens["rank"][alphabet.vocab_size :] = np.arange(1, lexicon.most_alike)
    parameters = np.zeros(1, PARAMETERS)
    parameters["mode"], parameters["blank_id"] = NO_LM, alphabet.blank_id
    parameters["most_alike"] = lexicon.most_alike
    for name, value in asdict(options).items():
        if name != "acoustic_scale":  # of what the search reads, not of the search
            parameters[name] = value
    if language_model:
        model = language_model.ngram
        tokens["word"][: alphabet.vocab_size] = language_model.token_words
        parameters["mode"], parameters["begin_state"] = language_model.mode, model.begin_state
        parameters["end_id"], parameters["unknown_id"] = model.end_id, model.unknown_id
    hot = hotwords or NO_HOTWORDS
    loans = hot.states["loan"]
    parameters["most_gained"] = max(0.0, options.word_bonus) + loans.max() - min(0.0, loans.min())
    parameters["most_gained"] += np.maximum(0.0, hot.states["gain"]).max()
    return Setup(parameters, tokens, *ngram, *lexicon, hot.next_states, hot.states, hot.ends)
