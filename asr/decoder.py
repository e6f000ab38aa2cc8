"""Which decoder a recognizer uses: greedy, or a beam search with a language model and hot words."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from asr.bundle import Bundle
from asr.decoding.greedy import greedy_decode
from asr.decoding.hypothesis import Hypothesis
from asr.errors import AsrError, UsageError
from asr.text import normalize

if TYPE_CHECKING:  # numba, which greedy decoding does without
    from asr.decoding.beam import BeamDecoder, BeamOptions
    from asr.decoding.hotwords import Hotword
    from asr.decoding.language import LanguageModel
    from asr.decoding.ngram import NgramModel

DECODERS = ("greedy", "beam")
DEFAULT_HOTWORD_WEIGHT = 5.0


@dataclass(frozen=True)
class DecoderOptions:
    """What the user asked for; None leaves the choice to the bundle, then to BeamOptions.

    Attributes:
        kind: "greedy" or "beam"; None: beam where there is a language model or any other option,
            else greedy.
        lm: a compiled language model, an ARPA file, or a folder with one of them; None: the
            bundle's own, if it has one.
        hotwords: a file with a phrase a line, optionally a tab and its weight (ln).
        unknown_penalty: subtracted for each word that the language model lacks; None: only its
            words can be written.
    """

    kind: str | None = None
    lm: Path | str | None = None
    hotwords: Path | str | None = None
    beam_size: int | None = None
    lm_weight: float | None = None
    word_bonus: float | None = None
    unknown_penalty: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in (None, *DECODERS):
            raise UsageError(f"the decoder is greedy or beam, not {self.kind!r}")
        given = [name for name in _BEAM_ONLY if getattr(self, name) is not None]
        if self.kind == "greedy" and given:
            raise UsageError(f"greedy decoding has no {_named(given)}: use --decoder beam")

    def is_beam(self, bundle: Bundle) -> bool:
        """Whether these options mean a beam search with this bundle."""
        if self.kind is not None:
            return self.kind == "beam"
        asked = any(getattr(self, name) is not None for name in _BEAM_ONLY)
        return asked or bundle.language_model is not None


_NEED_LM = ("lm_weight", "word_bonus", "unknown_penalty")
_BEAM_ONLY = ("lm", "hotwords", "beam_size", *_NEED_LM)


@dataclass(frozen=True)
class Decoder:
    """A decoder ready to use.

    Attributes:
        name: for reports, such as "greedy" or "beam 64 + 3-gram (weight 1.2, bonus 0.5)".
        settings: changes whenever the decoder could write other words.
        beam: the search; None for greedy decoding.
    """

    name: str = "greedy"
    settings: str = "greedy"
    beam: "BeamDecoder | None" = None

    def decode_batch(
        self, utterances: Sequence[NDArray[np.float32]], threads: int = 1
    ) -> list[Hypothesis]:
        """The best hypothesis of each utterance's log_probs (T', V), without padding."""
        if self.beam is None:
            return [greedy_decode(log_probs) for log_probs in utterances]
        return self.beam.decode_batch(utterances, threads)


GREEDY = Decoder()


def make_decoder(bundle: Bundle, options: DecoderOptions | None = None) -> Decoder:
    """The decoder that `options` mean with this bundle.

    Raises:
        UsageError: options that contradict each other or need a language model, a list of hot
            words that is empty or cannot be written.
        LanguageModelError: no usable model, or one in another case or language.
    """
    options = options or DecoderOptions()
    if not options.is_beam(bundle):
        return GREEDY
    from asr.decoding.beam import BeamDecoder
    from asr.decoding.hotwords import build_hotwords
    from asr.decoding.lexicon import Alphabet

    path = options.lm or bundle.language_model
    beam_options = _beam_options(bundle, options, has_lm=path is not None)
    language_model = None if path is None else bind_language_model(bundle, path)
    hot: tuple[Hotword, ...] = ()
    if options.hotwords is not None:
        hot = read_hotwords(options.hotwords, bundle)
        if language_model and options.unknown_penalty is None:
            _check_known(hot, language_model.ngram, bundle, options.hotwords)
    alphabet = Alphabet.from_tokens(bundle.tokenizer.tokens)
    hotwords = build_hotwords(hot, alphabet) if options.hotwords is not None else None
    name = _name(beam_options, language_model, len(hot))
    files = [file for file in (options.lm and _lm_file(options.lm), options.hotwords) if file]
    settings = " ".join([name, repr(beam_options), *map(_fingerprint, files)])
    return Decoder(name, settings, BeamDecoder(alphabet, beam_options, language_model, hotwords))


def bind_language_model(bundle: Bundle, path: Path | str) -> "LanguageModel":
    """A word n-gram model for the bundle's tokens; LanguageModelError if they share no spelling."""
    from asr.decoding.arpa import load_ngram
    from asr.decoding.language import word_language_model
    from asr.decoding.lexicon import Alphabet
    from asr.decoding.ngram import LanguageModelError

    alphabet = Alphabet.from_tokens(bundle.tokenizer.tokens)
    try:
        return word_language_model(load_ngram(path), alphabet, bundle.tokenizer.encode)
    except LanguageModelError as error:
        raise LanguageModelError(
            str(error) if str(path) in str(error) else f"{path}: {error}"
        ) from None


def read_hotwords(path: Path | str, bundle: Bundle) -> "tuple[Hotword, ...]":
    """Phrases of a file, normalised as the bundle's training text was.

    A line is a phrase, optionally a tab and its weight; empty lines are skipped.

    Raises:
        UsageError: unreadable, empty, a weight that is no number, a phrase that cannot be written.
    """
    path = Path(path)
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise UsageError(f"cannot read the hot words in {path}: {reason}") from None
    hotwords = [
        _hotword(line, f"{path}, line {number}", bundle)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not hotwords:
        raise UsageError(f"{path} has no hot words: write one a line, or leave the option out")
    return tuple(hotwords)


def _hotword(line: str, place: str, bundle: Bundle) -> "Hotword":
    from asr.decoding.hotwords import Hotword

    phrase, tab, weight = line.partition("\t")
    try:
        value = float(weight) if tab else DEFAULT_HOTWORD_WEIGHT
    except ValueError:
        raise UsageError(f"{place}: {weight.strip()!r} is no weight, such as 5") from None
    if not np.isfinite(value):
        raise UsageError(f"{place}: the weight must be finite, not {weight.strip()}")
    try:
        token_ids = tuple(bundle.tokenizer.encode(normalize(phrase, bundle.normalizer)))
    except AsrError as error:
        raise UsageError(f"{place}: {error}") from None
    if not token_ids:
        raise UsageError(f"{place}: {phrase!r} has no words that the model can write")
    return Hotword(token_ids, value)


def _check_known(
    hotwords: "Sequence[Hotword]", ngram: "NgramModel", bundle: Bundle, path: Path | str
) -> None:
    """A hot word outside a closed vocabulary would do nothing: say so."""
    decode: Callable[[Sequence[int]], str] = bundle.tokenizer.decode
    words = {word for hotword in hotwords for word in decode(hotword.token_ids).split()}
    unknown = sorted(words - ngram.word_ids.keys())
    if unknown:
        shown = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        raise UsageError(
            f"{path}: the language model lacks {len(unknown)} of the hot words ({shown}); "
            "--unknown-penalty 5 lets words be written that it lacks"
        )


def _beam_options(bundle: Bundle, options: DecoderOptions, *, has_lm: bool) -> "BeamOptions":
    from asr.decoding.beam import BeamOptions

    lacking = [name for name in _NEED_LM if getattr(options, name) is not None]
    if lacking and not has_lm:
        raise UsageError(f"{_named(lacking)} needs a language model: add --lm")
    chosen = BeamOptions()
    if bundle.decoding is not None:
        tuned = bundle.decoding
        chosen = replace(
            chosen,
            beam_size=tuned.beam_size,
            lm_weight=tuned.lm_weight,
            word_bonus=tuned.word_bonus,
        )
    for name in ("beam_size", *_NEED_LM):
        if getattr(options, name) is not None:
            chosen = replace(chosen, **{name: getattr(options, name)})
    return chosen


def _name(options: "BeamOptions", language_model: "LanguageModel | None", num_hot: int) -> str:
    name = f"beam {options.beam_size}"
    if language_model:
        name += (
            f" + {language_model.ngram.order}-gram "
            f"(weight {options.lm_weight:g}, bonus {options.word_bonus:g})"
        )
    if num_hot:
        name += f" + {num_hot} hot word{'s' * (num_hot > 1)}"
    return name


def _lm_file(path: Path | str) -> Path:
    from asr.decoding.arpa import find_ngram

    return find_ngram(path)


def _fingerprint(path: Path | str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _named(names: Sequence[str]) -> str:
    return ", ".join("--" + name.replace("_", "-") for name in names)
