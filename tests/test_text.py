import doctest

import pytest

import asr.text
from asr.errors import UsageError
from asr.text import NORMALIZERS, normalize, spell_number


def test_docstrings() -> None:
    assert doctest.testmod(asr.text).failed == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CHAPTER ONE", "chapter one"),
        ("one two three", "one two three"),  # words never become digits
        ("It’s John‘s `book´", "it's john's book"),
        ("café naïve Œuvre", "cafe naive uvre"),
        ("'quoted' rock 'n' roll", "quoted rock n roll"),
        ("well-known -- really?", "well known really"),
        ("1,021 men", "one thousand twenty one men"),
        ("3.14", "three point one four"),
        ("007 and 0", "zero zero seven and zero"),
        ("50% & more", "fifty percent and more"),
        ("<b>hi</b>", "b hi b"),
        ("?!", ""),
        ("", ""),
    ],
)
def test_english(text: str, expected: str) -> None:
    assert normalize(text) == expected


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (40, "forty"),
        (101, "one hundred one"),
        (1_000_000, "one million"),
        (2_000_019, "two million nineteen"),
        (999_999_999_999, "nine hundred ninety nine billion nine hundred ninety nine million "
         "nine hundred ninety nine thousand nine hundred ninety nine"),
    ],
)  # fmt: skip
def test_numbers(number: int, words: str) -> None:
    assert spell_number(number) == words


def test_numbers_too_long_for_words_are_read_digit_by_digit() -> None:
    assert normalize("1" * 13) == " ".join(["one"] * 13)


def test_other_scripts_keep_their_letters() -> None:
    assert normalize("Ça va, Жизнь? 12", "asr-any-1") == "ça va жизнь 12"
    assert normalize("  Any\tThing ", "none") == "Any Thing"


@pytest.mark.parametrize("name", NORMALIZERS)
def test_normalising_twice_changes_nothing(name: str) -> None:
    once = normalize("The ’90s: 3,000 'things' cost 5%, don't they?", name)
    assert normalize(once, name) == once


def test_an_unknown_normaliser_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match="asr-en-2.*asr-en-1, asr-any-1, none"):
        normalize("x", "asr-en-2")
