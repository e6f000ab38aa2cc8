"""Text normalisation: the same for training targets, language-model text and scoring.

Every normaliser has a name with a version; the name is stored in bundles and reports, so that two
word error rates are only compared when they count the same words. A named version does not change once
it has been released.

| name | for | keeps | numbers | abbreviations |
|---|---|---|---|---|
| `asr-en-2` | English as LibriSpeech writes it | a-z, inner apostrophes | in words | in words |
| `asr-en-2-digits` | the same, digits kept | a-z 0-9, inner apostrophes | 10,000 -> 10000 | in words |
| `asr-en-1` | English, the first version | a-z, inner apostrophes | in words, one by one | stay |
| `asr-any-1` | any other language | letters, marks, digits of all scripts | stay | stay |
| `none` | texts that are normalised already | everything but double spaces | stay | stay |

The rules that hold for each: normalising twice is normalising once, of texts as people write them; words
never become digits; and a transcript of LibriSpeech comes out as it was, in lower case.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from asr.english import normalize_english
from asr.errors import UsageError
from asr.numbers import is_read_by_digits, spell_digits, spell_number

Normalizer = Callable[[str], str]
DEFAULT_NORMALIZER = "asr-en-1"

_SYMBOLS = MappingProxyType({"&": " and ", "%": " percent ", "+": " plus ", "@": " at "})
_APOSTROPHES = re.compile("[\u2018\u2019\u02bc\u0060\u00b4]")
_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")


def normalize(text: str, name: str = DEFAULT_NORMALIZER) -> str:
    """Normalise `text` with the normaliser called `name`.

    >>> normalize("Mr. O’Neil paid 21 francs -- that's all!", "asr-en-2")
    "mister o'neil paid twenty one francs that's all"
    """
    return get_normalizer(name)(text)


def get_normalizer(name: str) -> Normalizer:
    """The normaliser called `name`; UsageError lists those there are."""
    try:
        return NORMALIZERS[name]
    except KeyError:
        known = ", ".join(NORMALIZERS)
        raise UsageError(f"no text normaliser is called {name!r}; there are: {known}") from None


def _spell_match(match: re.Match[str]) -> str:
    whole, _, decimals = match[0].replace(",", "").partition(".")
    words = spell_digits(whole) if is_read_by_digits(whole) else spell_number(int(whole))
    if decimals:
        words += f" point {spell_digits(decimals)}"
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
    {
        "asr-en-1": _english,
        "asr-en-2": normalize_english,
        "asr-en-2-digits": partial(normalize_english, keep_digits=True),
        "asr-any-1": _any_script,
        "none": _collapse_spaces,
    }
)
