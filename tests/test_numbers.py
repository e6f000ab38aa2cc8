"""Numbers in words, checked by reading them back with an independent reader."""

import pytest

from asr.numbers import ordinal, plural, roman_value, spell_number, spell_year

UNITS = {
    **{"zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7},
    **{"eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13},
    **{"fourteen": 14, "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18},
    **{"nineteen": 19},
}
TENS = {
    **{"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70},
    **{"eighty": 80, "ninety": 90},
}
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}


def value_of(words: str) -> int:
    """What a number in words stands for."""
    total = part = 0
    for word in words.split():
        if word in SCALES:
            total, part = total + part * SCALES[word], 0
        elif word == "hundred":
            part *= 100
        else:
            part += (UNITS | TENS)[word]
    return total + part


def test_words_read_back_give_the_number() -> None:
    some = [*range(2_200), *range(2_200, 10**6, 4_999), *(10**n for n in range(12)), 10**12 - 1]
    assert [value_of(spell_number(number)) for number in some] == some


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (40, "forty"),
        (101, "one hundred one"),
        (2_000_019, "two million nineteen"),
        (999_999_999_999, "nine hundred ninety nine billion nine hundred ninety nine million "
         "nine hundred ninety nine thousand nine hundred ninety nine"),
    ],
)  # fmt: skip
def test_numbers(number: int, words: str) -> None:
    assert spell_number(number) == words


def test_years_read_back_in_pairs() -> None:
    """A pair is the century and the rest: "nineteen o five", "nineteen hundred"."""
    for year in range(1000, 3000):
        words = spell_year(year)
        if "thousand" in words:
            assert value_of(words) == year
            continue
        words = words.replace(" o ", " ").removesuffix(" hundred")
        for cut in range(1, 4):
            century, rest = (" ".join(words.split()[:cut]), " ".join(words.split()[cut:]))
            if century and value_of(century) == year // 100 and value_of(rest) == year % 100:
                break
        else:
            pytest.fail(f"{year}: {words}")


def test_every_year_has_words_of_its_own() -> None:
    assert len({spell_year(year) for year in range(1000, 3000)}) == 2000


@pytest.mark.parametrize(
    ("words", "expected"),
    [("one", "first"), ("five", "fifth"), ("thirty eight", "thirty eighth"), ("nine", "ninth"),
     ("twenty", "twentieth"), ("one hundred", "one hundredth"), ("eleven", "eleventh")],
)  # fmt: skip
def test_ordinals(words: str, expected: str) -> None:
    assert ordinal(words) == expected


def test_plurals() -> None:
    assert [plural(word) for word in ("twenty", "ten", "half", "third")] == [
        "twenties", "tens", "halves", "thirds",
    ]  # fmt: skip


def test_roman_numerals() -> None:
    values = {"I": 1, "II": 2, "III": 3, "IV": 4, "V": 5, "VIII": 8, "IX": 9, "XIV": 14, "XIX": 19}
    values |= {"XL": 40, "XLIX": 49, "L": 50, "LXVI": 66, "XC": 90, "XCIX": 99, "CXI": 111}
    assert {numeral: roman_value(numeral) for numeral in values} == values
