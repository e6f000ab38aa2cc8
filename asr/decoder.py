"""Which decoder a recognizer uses: greedy, or a beam search with a language model and hot words."""

import filecmp
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from asr.binding import (
    alphabet_of,
    bind_language_model,
    bind_rescorer,
    search_options,
    search_views,
)
from asr.bundle import DEFAULT_SHARE, Bundle
from asr.collector import collection_paused
from asr.decoding.arpa import find_ngram
from asr.decoding.beam import BeamDecoder
from asr.decoding.beam_options import BeamOptions
from asr.decoding.greedy import greedy_decode
from asr.decoding.hotwords import Hotword, build_hotwords
from asr.decoding.hypothesis import Hypothesis, LogProbs
from asr.decoding.language import LanguageModel
from asr.errors import AsrError, UsageError
from asr.hotword_list import check_known, pronounced, read_hotwords
from asr.pronunciation import Lexicon
from asr.rescoring import Rescoring, check_share
from asr.rnnlm import find_rnnlm
from asr.spelling import Spelling, spelling_of
from asr.warp import check_views

LOG = logging.getLogger(__name__)
DECODERS = ("greedy", "beam")
Wanted = Literal["spelling", "tokens", "phones"]  # of a network: `Recognizer.forward`


@dataclass(frozen=True)
class DecoderOptions:
    """What the user asked for; None leaves the choice to the bundle, then to BeamOptions.

    Attributes:
        kind: "greedy" or "beam"; None: beam where there is a language model or any other option,
            else greedy.
        lm: a compiled language model, an ARPA file, or a folder with one of them; None: the
            bundle's own, if it has one.
        hotwords: a file with a phrase a line, optionally a tab and its weight (ln).
        rnnlm: a neural language model for a second pass (`asr lm train-rnn`); None: the bundle's own, if
            it has one and the search uses the bundle's own n-grams.
        rnnlm_share: of it in the language model's score, 0 to 1; 0: no second pass.
        unknown_penalty: subtracted for each word that the language model lacks; None: only its
            words can be written. Words that it lacks have no phones: the search then reads letters.
        views: how often the network hears the speech, each time as if from a vocal tract of another
            length (`asr.warp`); the mean is decoded. None: the bundle's for a search, 1 for greedy.
    """

    kind: str | None = None
    lm: Path | str | None = None
    hotwords: Path | str | None = None
    beam_size: int | None = None
    lm_weight: float | None = None
    word_bonus: float | None = None
    unknown_penalty: float | None = None
    acoustic_scale: float | None = None
    rnnlm: Path | str | None = None
    rnnlm_share: float | None = None
    views: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in (None, *DECODERS):
            raise UsageError(f"the decoder is greedy or beam, not {self.kind!r}")
        given = [name for name in _BEAM_ONLY if getattr(self, name) is not None]
        if self.kind == "greedy" and given:
            raise UsageError(f"greedy decoding has no {_named(given)}: use --decoder beam")
        if self.views is not None:
            check_views(self.views)

    def is_beam(self, bundle: Bundle) -> bool:
        """Whether these options mean a beam search with this bundle."""
        if self.kind is not None:
            return self.kind == "beam"
        asked = any(getattr(self, name) is not None for name in _BEAM_ONLY)
        return asked or bundle.language_model is not None


_WEIGHTS = ("lm_weight", "word_bonus", "unknown_penalty")
_SECOND_PASS = ("rnnlm", "rnnlm_share")
_NEED_LM = (*_WEIGHTS, *_SECOND_PASS)
_OF_THE_SEARCH = ("beam_size", "acoustic_scale", *_WEIGHTS)
_BEAM_ONLY = ("lm", "hotwords", *_OF_THE_SEARCH, *_SECOND_PASS)


@dataclass(frozen=True)
class Decoder:
    """A decoder ready to use.

    Attributes:
        name: for reports, such as "greedy" or "beam 64 + 3-gram (weight 1.2, bonus 0.5)".
        settings: changes whenever the decoder could write other words.
        beam: the search; None for greedy decoding.
        over_phones: the search reads the network's phones, not its tokens.
        rescoring: the second pass; None: there is none.
        views: how often each network is to hear the speech.
        spelling: puts what a speller writes into time; None: the network's tokens are read, or phones.
    """

    name: str = "greedy"
    settings: str = "greedy"
    beam: BeamDecoder | None = None
    over_phones: bool = False
    rescoring: Rescoring | None = None
    views: int = 1
    spelling: Spelling | None = None

    @property
    def wanted(self) -> Wanted:
        """What the networks are to work out for it."""
        return "phones" if self.over_phones else "spelling"

    def decode_batch(self, utterances: Sequence[LogProbs], threads: int = 1) -> list[Hypothesis]:
        """The best hypothesis of each utterance; `threads` changes the speed and nothing else.

        Raises:
            AsrError: a search over phones, and a network that writes none.
        """
        return [found[0] for found in self.n_best_batch(utterances, 1, threads)]

    def n_best_batch(
        self, utterances: Sequence[LogProbs], count: int, threads: int = 1
    ) -> list[list[Hypothesis]]:
        """Up to `count` hypotheses of each utterance, the best first; greedy decoding has one.

        After a second pass some may have the same words, at other times.

        Raises:
            AsrError: as `decode_batch`.
        """
        found = self._found(utterances, count, threads)
        if self.spelling is None:
            return found
        return [
            [self.spelling.in_time(one, log_probs) for one in hypotheses]
            for hypotheses, log_probs in zip(found, utterances, strict=True)
        ]

    def _found(
        self, utterances: Sequence[LogProbs], count: int, threads: int
    ) -> list[list[Hypothesis]]:
        if self.beam is None:
            return [[greedy_decode(self.searched(one))] for one in utterances]
        searched = [self.searched(one) for one in utterances]
        if self.rescoring is None:
            return self.beam.n_best_batch(searched, count, threads)
        lattices = self.beam.lattices(searched, threads)
        return [
            [self.beam.follow(lattice, path) for path in paths]
            for lattice, paths in zip(
                lattices, self.rescoring.best_paths(lattices, count), strict=True
            )
        ]

    def searched(self, log_probs: LogProbs) -> NDArray[np.float32]:
        """What is decoded: phones, what a speller has written, or tokens."""
        if not self.over_phones:
            return log_probs.tokens if log_probs.spelling is None else log_probs.spelling
        if log_probs.phones is None:
            raise AsrError("a search over phones needs a network that writes phones")
        return log_probs.phones


def greedy_decoder(bundle: Bundle, views: int = 1) -> Decoder:
    """Greedy decoding of what the bundle's speller writes, if it has one, else of its tokens."""
    name = f"greedy{_hearing_text(bundle, views, over_phones=False)}"
    return Decoder(name, name, views=views, spelling=spelling_of(bundle))


def make_decoder(bundle: Bundle, options: DecoderOptions | None = None) -> Decoder:
    """The decoder that `options` mean with this bundle.

    Raises:
        UsageError: options that contradict each other or need a language model, a list of hot
            words that is empty or cannot be written.
        LanguageModelError: no usable model, or one in another case or language.
    """
    options = options or DecoderOptions()
    if not options.is_beam(bundle):
        return greedy_decoder(bundle, options.views or 1)
    path = options.lm or bundle.language_model
    closed = path is not None and options.unknown_penalty is None
    if bundle.lexicon is not None and not closed and path is not None:
        LOG.warning(
            "words that the language model lacks have no phones: the search reads what is spelt, and "
            "makes more errors"
        )
    language_model, lexicon = None, None
    if path is not None:
        with collection_paused():
            language_model, lexicon = bind_language_model(bundle, path, spelled=not closed)
    beam_options = _beam_options(bundle, options, lexicon, has_lm=path is not None)
    hot: tuple[Hotword, ...] = ()
    if options.hotwords is not None:
        hot = read_hotwords(options.hotwords, bundle)
        if language_model and options.unknown_penalty is None:
            check_known(hot, language_model.ngram, lexicon, bundle, options.hotwords)
    rescoring = _rescoring(bundle, options, language_model, beam_options.lm_weight)
    views = options.views or search_views(bundle)
    name = _name(beam_options, language_model, rescoring, len(hot), over_phones=lexicon is not None)
    name += _hearing_text(bundle, views, over_phones=lexicon is not None)
    if lexicon is not None and language_model is not None:
        word_ids = language_model.ngram.word_ids
        hot = tuple(said for one in hot for said in pronounced(one, lexicon, word_ids, bundle))
    alphabet = alphabet_of(bundle, lexicon)
    hotwords = build_hotwords(hot, alphabet) if options.hotwords is not None else None
    lm_file = options.lm and find_ngram(options.lm)
    rnnlm_file = options.rnnlm and find_rnnlm(options.rnnlm)
    files = [file for file in (lm_file, options.hotwords, rnnlm_file) if file]
    settings = " ".join([name, repr(beam_options), *map(_fingerprint, files)])
    beam = BeamDecoder(alphabet, beam_options, language_model, hotwords)
    spelling = spelling_of(bundle) if lexicon is None else None
    return Decoder(name, settings, beam, lexicon is not None, rescoring, views, spelling)


def _rescoring(
    bundle: Bundle,
    options: DecoderOptions,
    language_model: LanguageModel | None,
    lm_weight: float,
) -> Rescoring | None:
    """A bundle's neural model goes with its own n-grams, unless a share is asked for."""
    if language_model is None:
        return None
    share, path = options.rnnlm_share, options.rnnlm
    if path is None and (share is not None or _has_own_ngrams(bundle, options)):
        path = bundle.rnnlm
    if path is None and share:
        raise UsageError("--rnnlm-share needs a neural language model: add --rnnlm")
    if share is None:
        own = bundle.decoding if options.rnnlm is None else None
        share = own.rnnlm_share if own else DEFAULT_SHARE
    if path is None or share == 0:
        return None
    check_share(share)
    return Rescoring(bind_rescorer(bundle, path, language_model), lm_weight, share)


def _has_own_ngrams(bundle: Bundle, options: DecoderOptions) -> bool:
    """Whether the search uses the bundle's own n-grams, be they named or not."""
    if options.lm is None or bundle.language_model is None:
        return options.lm is None
    return filecmp.cmp(find_ngram(options.lm), bundle.language_model, shallow=False)


def _beam_options(
    bundle: Bundle, options: DecoderOptions, lexicon: Lexicon | None, *, has_lm: bool
) -> BeamOptions:
    lacking = [name for name in _NEED_LM if getattr(options, name) is not None]
    if lacking and not has_lm:
        raise UsageError(f"{_named(lacking)} needs a language model: add --lm")
    as_tuned = (lexicon is None) == (bundle.lexicon is None)  # not letters instead of phones
    chosen = search_options(bundle.decoding if as_tuned else None, over_phones=lexicon is not None)
    for name in _OF_THE_SEARCH:
        if getattr(options, name) is not None:
            chosen = replace(chosen, **{name: getattr(options, name)})
    return chosen


def _name(
    options: BeamOptions,
    language_model: LanguageModel | None,
    rescoring: Rescoring | None,
    num_hot: int,
    *,
    over_phones: bool,
) -> str:
    name = f"beam {options.beam_size}{' over phones' if over_phones else ''}"
    if language_model:
        name += (
            f" + {language_model.ngram.order}-gram "
            f"(weight {options.lm_weight:g}, bonus {options.word_bonus:g})"
        )
    if rescoring:
        name += f" + LSTM (share {rescoring.share:g})"
    if options.acoustic_scale != 1:
        name += f", acoustic scale {options.acoustic_scale:g}"
    if num_hot:
        name += f" + {num_hot} hot word{'s' * (num_hot > 1)}"
    return name


def _hearing_text(bundle: Bundle, views: int, *, over_phones: bool) -> str:
    """How many networks hear how often; all of them where a search or a speller reads phones."""
    together = bundle.others and (over_phones or bundle.pieces is not None)
    networks = f", {len(bundle.networks)} networks" if together else ""
    return networks + (f", {views} views" if views > 1 else "")


def _fingerprint(path: Path | str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _named(names: Sequence[str]) -> str:
    return ", ".join("--" + name.replace("_", "-") for name in names)
