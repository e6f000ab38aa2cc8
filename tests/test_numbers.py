"""Numbers in words, checked by reading them back with an independent reader."""

import pytest

from asr.numbers import ordinal, plural, roman_value, spell_number, spell_year

UNITS = dict(
    zip(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen".split(),
        range(20),
        strict=True,
    )
)
TENS = dict(
    zip(
        "twenty thirty forty fifty sixty seventy eighty ninety".split(),
        range(20, 100, 10),
        strict=True,
    )
)
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
    numerals = "I II III IV V VI VII VIII IX X XI XIV XIX XXIX XL XLIX L XC XCIX C CCC".split()
    values = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 19, 29, 40, 49, 50, 90, 99, 100, 300]
    assert [roman_value(numeral) for numeral in numerals] == values
