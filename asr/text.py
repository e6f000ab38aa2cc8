"""Text normalisation: the same for training targets, language-model text and scoring.

Every normaliser has a name with a version; the name is stored in bundles and reports, so that two
word error rates are only compared when they count the same words.

`asr-en-1` writes English the way LibriSpeech does: words of a-z and apostrophes, in lower case,
with numbers spelt out. It never turns words into digits.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from types import MappingProxyType

from asr.errors import UsageError

Normalizer = Callable[[str], str]
DEFAULT_NORMALIZER = "asr-en-1"

_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen"),
)
_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905
_SCALES = ((10**9, "billion"), (10**6, "million"), (10**3, "thousand"), (100, "hundred"))
_LARGEST_NUMBER = 10**12 - 1
_SYMBOLS = MappingProxyType({"&": " and ", "%": " percent ", "+": " plus ", "@": " at "})
_APOSTROPHES = re.compile("[\u2018\u2019\u02bc\u0060\u00b4]")
_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")


def normalize(text: str, name: str = DEFAULT_NORMALIZER) -> str:
    """Normalise `text` with the normaliser called `name`.

    >>> normalize("Mr. O’Neil paid 21 francs -- that's all!")
    "mr o'neil paid twenty one francs that's all"
    """
    return get_normalizer(name)(text)


def get_normalizer(name: str) -> Normalizer:
    """The normaliser called `name`; UsageError lists those there are."""
    try:
        return NORMALIZERS[name]
    except KeyError:
        known = ", ".join(NORMALIZERS)
        raise UsageError(f"no text normaliser is called {name!r}; there are: {known}") from None


def spell_number(number: int) -> str:
    """An integer from 0 to 999,999,999,999 in words, without "and" or hyphens.

    >>> spell_number(1905)
    'one thousand nine hundred five'
    """
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens] + (f" {_ONES[ones]}" if ones else "")
    scale, word = next((scale, word) for scale, word in _SCALES if number >= scale)
    count, rest = divmod(number, scale)
    return f"{spell_number(count)} {word}" + (f" {spell_number(rest)}" if rest else "")


def _spell_match(match: re.Match[str]) -> str:
    whole, _, decimals = match[0].replace(",", "").partition(".")
    if int(whole) > _LARGEST_NUMBER or (len(whole) > 1 and whole[0] == "0"):
        words = " ".join(_ONES[int(digit)] for digit in whole)
    else:
        words = spell_number(int(whole))
    if decimals:
        words += " point " + " ".join(_ONES[int(digit)] for digit in decimals)
    return f" {words} "


def _english(text: str) -> str:
    text = unicodedata.normalize("NFKD", _APOSTROPHES.sub("'", text))
    text = "".join(char for char in text if not unicodedata.combining(char)).lower()
    for symbol, words in _SYMBOLS.items():
        text = text.replace(symbol, words)
    text = re.sub(r"[^a-z']+", " ", _NUMBER.sub(_spell_match, text))
    return " ".join(word for word in (word.strip("'") for word in text.split()) if word)


def _any_script(text: str) -> str:
    """Lower case, letters and marks of any script, digits and apostrophes inside words."""
    text = unicodedata.normalize("NFC", _APOSTROPHES.sub("'", text)).lower()
    kept = (char if unicodedata.category(char)[0] in "LMN" or char == "'" else " " for char in text)
    return " ".join(word for word in (word.strip("'") for word in "".join(kept).split()) if word)


def _collapse_spaces(text: str) -> str:
    return " ".join(text.split())


NORMALIZERS: Mapping[str, Normalizer] = MappingProxyType(
    {"asr-en-1": _english, "asr-any-1": _any_script, "none": _collapse_spaces}
)
