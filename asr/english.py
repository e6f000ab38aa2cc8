"""English as LibriSpeech writes it: the rules of the normalisers `asr-en-2` and `asr-en-2-digits`.

In this order: characters to their plain forms, abbreviations to words, symbols and numbers to
words, and everything that is not a-z or an apostrophe inside a word to spaces. The choices follow
the transcripts of train-clean-100 (counts of its 990,000 words): mister 1,199 (mr 0), missus 712,
saint 141, et cetera 23, "per cent" 16 (percent 1), "nineteen o five", "july fourth".

What context alone could tell is left alone: "M.", "in.", "1914-18", "U.S.".
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from types import MappingProxyType

from asr.numbers import (
    is_read_by_digits,
    ordinal,
    plural,
    roman_value,
    spell_digits,
    spell_number,
    spell_year,
)

Replacement = Callable[[re.Match[str]], str]

_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u02bc\u0060\u00b4\u2032", "'"),
        **{"½": " 1/2", "¼": " 1/4", "¾": " 3/4", "⅓": " 1/3", "⅔": " 2/3", "⅛": " 1/8"},
        **{"⅜": " 3/8", "⅝": " 5/8", "⅞": " 7/8", "⅕": " 1/5", "⅖": " 2/5", "⅗": " 3/5"},
        **{"⅘": " 4/5", "⅙": " 1/6", "⅚": " 5/6", "²": " squared ", "³": " cubed ", "_": " "},
        **{"æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ß": "ss", "ø": "o", "Ø": "O"},
        **{"ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "þ": "th", "Þ": "Th"},
    }
)
_TITLES = MappingProxyType(
    {"mr": "mister", "mrs": "missus", "messrs": "messieurs", "dr": "doctor", "mme": "madame"}
    | {"mlle": "mademoiselle", "jr": "junior", "sr": "senior", "esq": "esquire"}
    | {"etc": "et cetera", "&c": "et cetera", "vs": "versus"}
)
_BEFORE_NAME = MappingProxyType(
    {"Prof": "professor", "Rev": "reverend", "Hon": "honorable", "Gen": "general"}
    | {"Col": "colonel", "Capt": "captain", "Lieut": "lieutenant", "Lt": "lieutenant"}
    | {"Sergt": "sergeant", "Sgt": "sergeant", "Maj": "major", "Gov": "governor"}
    | {"Sen": "senator", "Rep": "representative", "St": "saint", "Mt": "mount", "Ft": "fort"}
)
_AFTER_NAME = MappingProxyType(
    {"St": "street", "Ave": "avenue", "Blvd": "boulevard", "Rd": "road", "Co": "company"}
    | {"Bros": "brothers"}
)
_BEFORE_NUMBER = MappingProxyType(
    {"no": "number", "nos": "numbers", "vol": "volume", "chap": "chapter", "ch": "chapter"}
    | {"fig": "figure", "p": "page", "pp": "pages", "sec": "section", "jan": "January"}
    | {"feb": "February", "mar": "March", "apr": "April", "aug": "August", "sept": "September"}
    | {"sep": "September", "oct": "October", "nov": "November", "dec": "December"}
)
_UNITS = MappingProxyType(
    {"lb": "pound", "lbs": "pound", "oz": "ounce", "yd": "yard", "yds": "yard", "kg": "kilogram"}
    | {"km": "kilometer", "cm": "centimeter", "mm": "millimeter", "hr": "hour", "hrs": "hour"}
    | {"min": "minute", "°": "degree", "mph": "mile an hour", "ft": "foot"}
)
_PLURALS = MappingProxyType(
    {"foot": "feet", "mile an hour": "miles an hour", "yen": "yen", "penny": "pence"}
)
_CURRENCIES = MappingProxyType(
    {"$": ("dollar", "cent"), "€": ("euro", "cent"), "£": ("pound", "penny"), "¥": ("yen", "")}
)
_DENOMINATORS = MappingProxyType({2: "half", 4: "quarter"})
_SYMBOLS = MappingProxyType(
    {"&": " and ", "%": " per cent ", "+": " plus ", "@": " at ", "=": " equals ", "°": " degrees "}
)
_SYMBOL = re.compile(f"[{''.join(_SYMBOLS)}]")
_DIGIT = re.compile(r"\d")
_NO_WORD = re.compile(r"[^a-z']+")
_NO_WORD_OR_DIGIT = re.compile(r"[^a-z0-9']+")
_MONARCHS = (
    "Louis|Henry|Charles|George|Edward|William|James|Richard|Philip|Frederick|Napoleon|Pius|Leo"
    "|Gregory|Innocent|Clement|Benedict|Boniface|Paul|Alexander|Nicholas|Catherine|Elizabeth"
    "|Ferdinand|Francis|Gustavus|Edmund|Leopold|Ludwig|Wilhelm"
)
_MONTHS = (
    "(?i:January|February|April|June|July|September|October|November|December)"
    "|March|MARCH|May|MAY|August|AUGUST"
)
_NUMERAL = r"(?=[IVXLC]{2}|[VX]\b)(?:C{0,3}(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3}))(?<=[IVXLC])\b"
_WHOLE = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
_NUMBER = rf"{_WHOLE}(?:\.\d+)?"
_ANY_NUMBER = rf"(?:{_NUMBER}|(?<![\w.])\.\d+)"


def _any_of(words: Mapping[str, str]) -> str:
    return "|".join(map(re.escape, sorted(words, key=len, reverse=True)))


_TITLE = re.compile(rf"(?<![^\W\d])({_any_of(_TITLES)})(?![^\W\d])\.?", re.IGNORECASE)
_NAME_FOLLOWS = re.compile(rf"\b(?:({_any_of(_BEFORE_NAME)})\.\s*|(St)\s+)(?=[A-Z])")
_NAME_BEFORE = re.compile(rf"(?<=\s)({_any_of(_AFTER_NAME)})\.")
_NUMBER_FOLLOWS = re.compile(rf"\b({_any_of(_BEFORE_NUMBER)})\.\s*(?=\d)", re.IGNORECASE)
_DATE = re.compile(rf"\b({_MONTHS})\s+([12]?\d|3[01])(?!\w|[:.,]\d|\s(?i:[ap]\.?\s?m\b))")
_ROMAN = re.compile(r"\b(?:[IVXLC]{2,}|[VX])\b|\bI[.,:;)]")
_CHAPTER = re.compile(
    r"\b((?i:chapter|book|volume|vol\.|part|act|scene|canto|section|number|no\.|war))"
    rf"\s+({_NUMERAL}|I(?=[.,:;)]))"
)
_MONARCH = re.compile(rf"\b((?i:{_MONARCHS}))\s+(?!\w\.\s*[A-Z])({_NUMERAL})")


def normalize_english(text: str, *, keep_digits: bool = False) -> str:
    """Lower-case words of a-z and inner apostrophes (and digits, with `keep_digits`).

    >>> normalize_english("Mrs. Dashwood paid £3,000 to Dr. Grant on the 21st of Sept. 1905.")
    'missus dashwood paid three thousand pounds to doctor grant on the twenty first of september \
nineteen o five'
    >>> normalize_english("Mr. Darcy has £10,000 a year.", keep_digits=True)
    'mister darcy has 10000 pounds a year'
    """
    text = _expand_abbreviations(_plain_letters(text))
    has_digits = _DIGIT.search(text) is not None
    if has_digits and not keep_digits:
        text = _DATE.sub(lambda match: f"{match[1]} {ordinal(spell_number(int(match[2])))}", text)
    text = text.lower()
    if has_digits:
        for pattern, replacement in _DIGIT_RULES if keep_digits else _WORD_RULES:
            text = pattern.sub(replacement, text)
    text = _SYMBOL.sub(lambda match: _SYMBOLS[match[0]], text)
    words = (_NO_WORD_OR_DIGIT if keep_digits else _NO_WORD).sub(" ", text).split()
    return " ".join(bare for word in words if (bare := word.strip("'")))


def _plain_letters(text: str) -> str:
    """Without accents and ligatures, and with one kind of apostrophe."""
    text = text.translate(_PLAIN)
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKD", text)
    return "".join(char for char in text if not unicodedata.combining(char))


def _expand_abbreviations(text: str) -> str:
    text = _TITLE.sub(lambda match: f" {_TITLES[match[1].lower()]}{_space_after(match)}", text)
    text = _NAME_FOLLOWS.sub(lambda match: f"{_BEFORE_NAME[match[1] or match[2]]} ", text)
    text = _NAME_BEFORE.sub(_after_name, text)
    if _DIGIT.search(text):
        text = _NUMBER_FOLLOWS.sub(lambda match: f"{_BEFORE_NUMBER[match[1].lower()]} ", text)
    if _ROMAN.search(text):
        text = _MONARCH.sub(lambda match: f"{match[1]} the {ordinal(_roman(match[2]))}", text)
        text = _CHAPTER.sub(_chapter, text)
    return text


def _after_name(match: re.Match[str]) -> str:
    """ "Main St." is a street; an "St." that ends a line, with no name before it, is a saint."""
    before = match.string[: match.start()].split()
    named = before and (before[-1][0].isupper() or before[-1][0].isdigit() or before[-1] == "&")
    word = "saint" if match[1] == "St" and not named else _AFTER_NAME[match[1]]
    return word + _space_after(match)


def _space_after(match: re.Match[str]) -> str:
    """For an abbreviation whose point alone parts it from the next word."""
    return " " if match.string[match.end() : match.end() + 1].isalnum() else ""


def _chapter(match: re.Match[str]) -> str:
    if match[2] == "I" and match[1].islower():  # "in this book I, too, ..."
        return match[0]
    word = match[1].lower().rstrip(".")
    return f"{_BEFORE_NUMBER.get(word, word)} {_roman(match[2])}"


def _roman(numeral: str) -> str:
    return spell_number(roman_value(numeral))


def _say(number: str) -> str:
    """A number as written ("1,021", "3.50", "007", ".5") in words."""
    whole, _, decimals = number.replace(",", "").partition(".")
    if not whole:
        words = ""
    elif is_read_by_digits(whole):
        words = spell_digits(whole)
    else:
        words = spell_number(int(whole))
    return f"{words} point {spell_digits(decimals)}".strip() if decimals else words


def _plain(number: str) -> str:
    """A number as digits without grouping commas; the decimal point is said."""
    return number.replace(",", "").replace(".", " point ").strip()


def _say_bare(match: re.Match[str]) -> str:
    """A number that no other rule took; four digits without a comma are read as a year."""
    number = match[0]
    is_year = re.fullmatch(r"[12]\d{3}", number) is not None
    return f" {spell_year(int(number)) if is_year else _say(number)} "


def _currency(say: Callable[[str], str]) -> Replacement:
    def spell(match: re.Match[str]) -> str:
        unit, subunit = _CURRENCIES[match[1]]
        amount, scale = match[2], match[3] or ""
        whole, _, cents = amount.partition(".")
        if scale or not subunit or len(cents) != 2:
            return f" {say(amount)} {scale} {_units(unit, '2' if scale else amount)} "
        parts = []
        if whole.strip("0,") or not int(cents):
            parts.append(f"{say(whole)} {_units(unit, whole)}")
        if int(cents):
            parts.append(f"{say(str(int(cents)))} {_units(subunit, str(int(cents)))}")
        return f" {' and '.join(parts)} "

    return spell


def _units(unit: str, amount: str) -> str:
    """The unit's singular after "1", else its plural."""
    if amount == "1":
        return unit
    return _PLURALS.get(unit, f"{unit}s")


def _measure(say: Callable[[str], str]) -> Replacement:
    return lambda match: f" {say(match[1])} {_units(_UNITS[match[2]], match[1])} "


def _time(say: Callable[[str], str]) -> Replacement:
    def spell(match: re.Match[str]) -> str:
        hour, minute, half = match[1], match[2], match[3]
        after = f" {half} m " if half else " "
        if minute in ("", "00"):
            return f" {say(hour)}{after}" if half else f" {say(hour)} o'clock "
        tens = "o " if minute[0] == "0" and say is _say else ""
        return f" {say(hour)} {tens}{say(str(int(minute)) if tens else minute)}{after}"

    return spell


def _fraction(match: re.Match[str]) -> str:
    whole, over, under = match[1], int(match[2]), int(match[3])
    if not 0 < over < under <= 100:
        return match[0]
    name = _DENOMINATORS.get(under) or ordinal(spell_number(under))
    name = name if over == 1 else plural(name)
    if whole is None:
        return f" {spell_number(over)} {name} "
    return f" {_say(whole)} and {'a' if over == 1 else spell_number(over)} {name} "


def _ordinal(match: re.Match[str]) -> str:
    return f" {ordinal(_say(match[1]))} "


def _decade(match: re.Match[str]) -> str:
    number = match[1]
    return f" {plural(spell_year(int(number)) if len(number) == 4 else _say(number))} "


def _rules(say: Callable[[str], str]) -> tuple[tuple[re.Pattern[str], Replacement], ...]:
    """What is said around numbers, whether they become words or stay digits."""
    scales = r"(?:\s+((?:hundred |thousand )?(?:hundred|thousand|million|billion|trillion))\b)?"
    return (
        (re.compile(r"(?<=\d)\s?–\s?(?=\d)"), lambda match: " to "),
        (re.compile(rf"([$£€¥])\s?({_NUMBER}|\.\d+){scales}"), _currency(say)),
        (
            re.compile(r"(?<![\d:])(\d{1,2}):([0-5]\d)(?![\d:])(?:\s?([ap])\.?\s?m\b\.?)?"),
            _time(say),
        ),
        (re.compile(r"\b(1?\d)()\s?([ap])\.?\s?m\b\.?"), _time(say)),
        (
            re.compile(
                r"(?:\b(\d+)\s+)?(?<![\d/.,])(\d{1,2})/(\d{1,3})(?![\d/])(?:(?:st|nd|rd|th)s?\b)?"
            ),
            _fraction,
        ),
        (re.compile(rf"({_ANY_NUMBER})[\s-]?({_any_of(_UNITS)})(?![\w'])\.?"), _measure(say)),
        (re.compile(r"#\s?(?=\d)"), lambda match: " number "),
        (re.compile(r"(?<!\w)[\u2212](?=\.?\d)"), lambda match: " minus "),
        (re.compile(r"(?<![\d.,])1\s?¢"), lambda match: f" {say('1')} cent "),
        (re.compile(r"(?<=\d)\s?¢"), lambda match: " cents "),
    )


_WORD_RULES = (
    *_rules(_say),
    (re.compile(rf"\b({_WHOLE})(?:st|nd|rd|th)\b"), _ordinal),
    (re.compile(r"\b(\d{1,3}0)'?s\b"), _decade),
    (re.compile(_ANY_NUMBER), _say_bare),
)
_DIGIT_RULES = (
    *_rules(_plain),
    (re.compile(r"(?<=\d)'(?=s\b)"), lambda match: ""),
    (re.compile(_ANY_NUMBER), lambda match: _plain(match[0])),
)
