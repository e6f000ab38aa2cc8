"""English numbers in words, as LibriSpeech's transcripts have them: no "and", no hyphens.

Where those transcripts vary ("nineteen o five", "nineteen hundred and five"), the commoner form is
taken.
"""

_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen"),
    *("eighteen", "nineteen"),
)
_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()  # noqa: SIM905
_SCALES = ((10**9, "billion"), (10**6, "million"), (10**3, "thousand"), (100, "hundred"))
_IRREGULAR_ORDINALS = {
    **{"one": "first", "two": "second", "three": "third", "five": "fifth"},
    **{"eight": "eighth", "nine": "ninth", "twelve": "twelfth"},
}
_ROMAN = {"C": 100, "L": 50, "X": 10, "V": 5, "I": 1}
_MOST_DIGITS = 12  # of a number that `spell_number` takes


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


def is_read_by_digits(digits: str) -> bool:
    """Whether a number is too long to be said as one, or has a zero in front.

    >>> [is_read_by_digits(digits) for digits in ("0", "007", "1905", "1000000000000")]
    [False, True, False, True]
    """
    return len(digits) > _MOST_DIGITS or (len(digits) > 1 and digits[0] == "0")


def spell_digits(digits: str) -> str:
    """Digit by digit.

    >>> spell_digits("007")
    'zero zero seven'
    """
    return " ".join(_ONES[int(digit)] for digit in digits)


def spell_year(year: int) -> str:
    """A number of four digits as years are read: in pairs, where English does so.

    >>> [spell_year(year) for year in (1066, 1800, 1905, 2000, 2007, 2024)]
    ['ten sixty six', 'eighteen hundred', 'nineteen o five', 'two thousand', 'two thousand seven', \
'twenty twenty four']
    """
    century, rest = divmod(year, 100)
    if not 10 <= century <= 20 or (century % 10 == 0 and rest < 10):
        return spell_number(year)
    if rest == 0:
        return f"{spell_number(century)} hundred"
    return f"{spell_number(century)} {'o ' if rest < 10 else ''}{spell_number(rest)}"


def ordinal(words: str) -> str:
    """The ordinal of a number in words.

    >>> ordinal("one hundred twenty one"), ordinal("forty"), ordinal("twelve")
    ('one hundred twenty first', 'fortieth', 'twelfth')
    """
    before, _, last = words.rpartition(" ")
    if last in _IRREGULAR_ORDINALS:
        last = _IRREGULAR_ORDINALS[last]
    else:
        last = f"{last[:-1]}ieth" if last.endswith("y") else f"{last}th"
    return f"{before} {last}".strip()


def plural(words: str) -> str:
    """The plural of a number in words.

    >>> plural("nineteen ninety"), plural("hundred"), plural("half")
    ('nineteen nineties', 'hundreds', 'halves')
    """
    if words.endswith("y"):
        return f"{words[:-1]}ies"
    return f"{words[:-1]}ves" if words.endswith("lf") else f"{words}s"


def roman_value(numeral: str) -> int:
    """The value of a well-formed Roman numeral of the letters C, L, X, V and I.

    >>> roman_value("XLIV")
    44
    """
    values = [_ROMAN[letter] for letter in numeral]
    following = [*values[1:], 0]
    return sum(
        -value if value < after else value for value, after in zip(values, following, strict=True)
    )
