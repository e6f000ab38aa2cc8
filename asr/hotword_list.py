"""Lists of hot words: read from a file, said in phones, looked up in a language model."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from asr.bundle import Bundle
from asr.decoding.hotwords import Hotword
from asr.decoding.ngram import NgramModel
from asr.errors import AsrError, UsageError
from asr.pronunciation import Lexicon
from asr.text import normalize

DEFAULT_HOTWORD_WEIGHT = 5.0
_MOST_PRONUNCIATIONS = 8  # of a hot word that is a phrase


def read_hotwords(path: Path | str, bundle: Bundle) -> tuple[Hotword, ...]:
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


def _hotword(line: str, place: str, bundle: Bundle) -> Hotword:
    phrase, tab, weight = line.partition("\t")
    try:
        value = float(weight) if tab else DEFAULT_HOTWORD_WEIGHT
    except ValueError:
        raise UsageError(f"{place}: {weight.strip()!r} is no weight, such as 5") from None
    if not np.isfinite(value):
        raise UsageError(f"{place}: the weight must be finite, not {weight.strip()}")
    try:
        token_ids = tuple(bundle.written.encode(normalize(phrase, bundle.normalizer)))
    except AsrError as error:
        raise UsageError(f"{place}: {error}") from None
    if not token_ids:
        raise UsageError(f"{place}: {phrase!r} has no words that the model can write")
    return Hotword(token_ids, value)


def pronounced(
    hotword: Hotword, lexicon: Lexicon, word_ids: Mapping[str, int], bundle: Bundle
) -> list[Hotword]:
    """A hot word as each sequence of phones that it can be said with; none without pronunciations."""
    text = bundle.written.decode(hotword.token_ids)
    of_words = tuple(word_ids[word] for word in text.split())
    return [
        replace(hotword, token_ids=tuple(phone_ids), word_ids=of_words)
        for phone_ids in itertools.islice(lexicon.encodings(text), _MOST_PRONUNCIATIONS)
    ]


def check_known(
    hotwords: Sequence[Hotword],
    ngram: NgramModel,
    lexicon: Lexicon | None,
    bundle: Bundle,
    path: Path | str,
) -> None:
    """A hot word outside a closed vocabulary would do nothing: say so."""
    decode: Callable[[Sequence[int]], str] = bundle.written.decode
    words = {word for hotword in hotwords for word in decode(hotword.token_ids).split()}
    known = set(ngram.word_ids)
    if lexicon is not None:
        known &= lexicon.words.keys()
    unknown = sorted(words - known)
    if unknown:
        shown = ", ".join(unknown[:5]) + (", ..." if len(unknown) > 5 else "")
        advice = "--unknown-penalty 5 lets words be written that it lacks"
        if lexicon is not None:
            advice = (
                "a search over phones writes words of the language model and of the lexicon: make both "
                "with them (`asr lm train`, `asr lexicon`), `asr export --lm --lexicon` puts them in"
            )
        raise UsageError(
            f"{path}: the language model lacks {len(unknown)} of the hot words ({shown}); {advice}"
        )
