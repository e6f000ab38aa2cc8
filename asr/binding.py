"""A model's tokens or phones, a lexicon and language models, as a search takes them."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from asr.bundle import Bundle, Decoding
from asr.decoding.arpa import load_ngram
from asr.decoding.beam_options import OVER_PHONES, BeamOptions
from asr.decoding.language import LanguageModel, phone_language_model, word_language_model
from asr.decoding.lexicon import Alphabet
from asr.decoding.ngram import SPECIAL_WORDS, LanguageModelError, NgramModel
from asr.pronunciation import Lexicon, read_lexicon
from asr.rescoring import BoundRescorer
from asr.rnnlm import load_rescorer

LOG = logging.getLogger(__name__)


def lexicon_of(bundle: Bundle) -> Lexicon | None:
    """How words are said in the phones that the bundle's network writes; None where it writes none."""
    return None if bundle.lexicon is None else read_lexicon(bundle.lexicon, bundle.phones)


def alphabet_of(bundle: Bundle, lexicon: Lexicon | None = None) -> Alphabet:
    """What a search reads: what the bundle writes greedily, or the phones of a lexicon."""
    return Alphabet.from_tokens(lexicon.phones if lexicon else bundle.written.tokens)


class Bound(NamedTuple):
    """A language model for a bundle's phones, with their lexicon, or for what it writes, with None."""

    language_model: LanguageModel
    lexicon: Lexicon | None


def bind_language_model(bundle: Bundle, path: Path | str, *, spelled: bool = False) -> Bound:
    """A word n-gram model for the phones that the bundle's network writes; for what the bundle writes
    greedily where there are none, or `spelled`.

    Raises:
        LanguageModelError: no usable model, or next to none of its words can be written.
        AsrError: a lexicon that cannot be read.
    """
    with ThreadPoolExecutor(1) as pool:  # to read one takes as long as the other
        ngram = pool.submit(_load_with_ids, path)
        lexicon = None if spelled else lexicon_of(bundle)
        return Bound(_bound(bundle, path, ngram.result(), lexicon), lexicon)


def _load_with_ids(path: Path | str) -> NgramModel:
    ngram = load_ngram(path)
    len(ngram.word_ids)  # made here and now, beside the lexicon
    return ngram


def _bound(
    bundle: Bundle, path: Path | str, ngram: NgramModel, lexicon: Lexicon | None
) -> LanguageModel:
    alphabet = alphabet_of(bundle, lexicon)
    try:
        if lexicon is None:
            return word_language_model(ngram, alphabet, bundle.written.encode)
        model = phone_language_model(ngram, *lexicon.rows, alphabet.vocab_size)
    except LanguageModelError as error:
        raise LanguageModelError(f"{path}: {error}") from None
    if model.num_unspelled:
        LOG.warning(
            "%s: %d of its words cannot be written, for the model's lexicon lacks them (`asr lexicon` "
            "says how words are pronounced, `asr export --lexicon` puts it into a model)",
            path, model.num_unspelled,
        )  # fmt: skip
    return model


def search_options(decoding: Decoding | None, *, over_phones: bool) -> BeamOptions:
    """Options of a search as a bundle has them tuned; None: as they are by default."""
    options = OVER_PHONES if over_phones else BeamOptions()
    if decoding is None:
        return options
    return replace(
        options,
        beam_size=decoding.beam_size,
        lm_weight=decoding.lm_weight,
        word_bonus=decoding.word_bonus,
        acoustic_scale=decoding.acoustic_scale,
    )


def search_views(bundle: Bundle) -> int:
    """How often the network is to hear what is searched, as the bundle has it tuned; by default once."""
    return bundle.decoding.views if bundle.decoding else 1


def bind_rescorer(bundle: Bundle, path: Path | str, language_model: LanguageModel) -> BoundRescorer:
    """The neural language model at `path`, for a second pass after a search with `language_model`.

    Raises:
        LanguageModelError: no usable model, or one that cannot write most of the n-gram model's words.
    """
    rescorer = load_rescorer(path)
    text = "".join(word for word in language_model.ngram.words if word not in SPECIAL_WORDS)
    lacking = rescorer.unknown_characters("".join(set(text)))  # to count them all takes longer
    if lacking and 2 * rescorer.unknown_characters(text).total() > len(text):
        raise LanguageModelError(
            f"{path} lacks most of the language model's characters, such as {min(lacking)!r}: is it in "
            "another case or language?"
        )

    return BoundRescorer(rescorer, language_model.ngram, bundle.written.decode)
