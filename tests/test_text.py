import doctest
import gzip
import re
from pathlib import Path
from types import ModuleType

import pytest
from conftest import REPOSITORY

import asr.english
import asr.numbers
import asr.text
from asr.errors import UsageError
from asr.text import NORMALIZERS, normalize
from asr.tokenizer import CharTokenizer


@pytest.mark.parametrize("module", [asr.text, asr.english, asr.numbers])
def test_docstrings(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted
    assert result.failed == 0


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
def test_the_first_english_version_stays_as_it_was(text: str, expected: str) -> None:
    assert normalize(text, "asr-en-1") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # case, punctuation, apostrophes, letters of other languages
        ("CHAPTER ONE", "chapter one"),
        ("It’s John‘s `book´", "it's john's book"),
        ("'quoted' rock 'n' roll, the dogs' bones", "quoted rock n roll the dogs bones"),
        ("well-known -- really?", "well known really"),
        ("café naïve Œuvre Straße Łódź", "cafe naive oeuvre strasse lodz"),
        ("?!", ""),
        # abbreviations
        ("Mr. and Mrs. Hill", "mister and missus hill"),
        ("MR. HILL, Mr Hill", "mister hill mister hill"),
        ("Dr. Grant's horse, etc., &c.", "doctor grant's horse et cetera et cetera"),
        ("St. Paul in Main St.", "saint paul in main street"),
        ("Capt. Wentworth and Col. Fitzwilliam", "captain wentworth and colonel fitzwilliam"),
        ("Gen. Lee, in general", "general lee in general"),
        ("No. 5 said no.", "number five said no"),
        ("Smith & Co., vol. 2, p. 7", "smith and company volume two page seven"),
        ("the church of St.", "the church of saint"),
        ("on Sept. 3, May 20, 1905 and JULY 4TH", "on september third may twentieth nineteen o five "
         "and july fourth"),
        ("May 2.5 or may 20 come", "may two point five or may twenty come"),
        ("i.e. the U.S.A.", "i e the u s a"),
        # Roman numerals, where the word before tells
        ("CHAPTER IV. Louis XIV and Henry V", "chapter four louis the fourteenth and henry the fifth"),
        ("Chapter I. In part I agree; Vol. II", "chapter one in part i agree volume two"),
        ("Francis X. Brown and I, MIX", "francis x brown and i mix"),
        ("CHARLES LIVED IN CHAPTER CIVIL", "charles lived in chapter civil"),
        # numbers
        ("1,021 men", "one thousand twenty one men"),
        ("3.14 and .5", "three point one four and point five"),
        ("007 and 0", "zero zero seven and zero"),
        ("version 1.2.3, B2B", "version one point two three b two b"),
        ("in 1905, 1842, 1800 and 2024", "in nineteen o five eighteen forty two eighteen hundred "
         "and twenty twenty four"),
        ("in 1066, 2000, 2007, 3000", "in ten sixty six two thousand two thousand seven three thousand"),
        ("the 1990s, the '90s, the 1800's", "the nineteen nineties the nineties the eighteen hundreds"),
        ("the 1st, 22nd, 103rd and 12th", "the first twenty second one hundred third and twelfth"),
        ("50% & more", "fifty per cent and more"),
        ("2½ or 1/2 or 3/4 or 5 2/3", "two and a half or one half or three quarters or five and two "
         "thirds"),
        ("3/4/2020", "three four twenty twenty"),
        ("$5, $1, £3,000, €2.50", "five dollars one dollar three thousand pounds two euros and "
         "fifty cents"),
        ("$1.00, $0.01, £0.50", "one dollar one cent fifty pence"),
        ("$5 million, ¥100, 5¢", "five million dollars one hundred yen five cents"),
        ("$1900 in 1900", "one thousand nine hundred dollars in nineteen hundred"),
        ("at 3:30, 3:05 p.m., 9:00, 8 PM", "at three thirty three o five p m nine o'clock eight p m"),
        ("5 lbs. of 1 kg, 6 ft., 20°", "five pounds of one kilogram six feet twenty degrees"),
        ("pages 5–7", "pages five to seven"),
        ("#3, 2+2=4, me@home", "number three two plus two equals four me at home"),
        # without a space between
        ("Mr.Smith, Main St.and Smith & Co.and etc.and", "mister smith main street and smith and "
         "company and et cetera and"),
        ("_Mr_ mr_smith, mr5", "mister mister smith mister five"),
        ("room#5, 10², 5⅝", "room number five ten squared five and five eighths"),
        ("May 5pm, May 5 p.m. and May 5", "may five p m may five p m and may fifth"),
        # what only looks like a date, a numeral or another number
        ("They march 10 miles; on March 10", "they march ten miles on march tenth"),
        ("For my part I, too, in World War I.", "for my part i too in world war one"),
        (".5 kg, $.50, 5–10 lb", "point five kilograms fifty cents five to ten pounds"),
        ("2/3rds, 1/10th, 1¢", "two thirds one tenth one cent"),
        ("1 " * 3 + "1" * 13, "one one one " + " ".join(["one"] * 13)),
    ],
)  # fmt: skip
def test_the_second_english_version(text: str, expected: str) -> None:
    assert normalize(text, "asr-en-2") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mr. Darcy has £10,000 a year", "mister darcy has 10000 pounds a year"),
        ("in 1905, the 21st, the 1990's", "in 1905 the 21st the 1990s"),
        ("3.14, 50%, 3:05 p.m.", "3 point 14 50 per cent 3 05 p m"),
        ("007 and $2.50", "007 and 2 dollars and 50 cents"),
        ("one two three", "one two three"),
        ("10², 5⅝, a 10-km run", "10 squared five and five eighths a 10 kilometers run"),
        ("They march 10 miles, 5–10 lb", "they march 10 miles 5 to 10 pounds"),
    ],
)
def test_digits_can_be_kept(text: str, expected: str) -> None:
    assert normalize(text, "asr-en-2-digits") == expected


def test_real_transcripts_come_out_as_they_were(asr_data: Path) -> None:
    """Every tenth transcript of train-clean-100: nothing but the case changes ("messrs" besides)."""
    with gzip.open(asr_data / "lm/train-clean-100.txt.gz", "rt", encoding="utf-8") as lines:
        texts = [line.split(" ", 1)[1].strip() for line in lines][::10]
    for text in texts:
        words = [word.strip("'") for word in text.replace("MESSRS", "MESSIEURS").lower().split()]
        assert normalize(text, "asr-en-2") == " ".join(words)
    assert len(texts) == 2854


def test_the_alphabet_of_another_language_comes_from_its_texts() -> None:
    """What the recognizer can write is what the training texts contain, normalised."""
    texts = [normalize(text, "asr-any-1") for text in ("Größe: 5 Äpfel!", "«Ça va?»", "Жизнь")]
    assert "".join(CharTokenizer.from_texts(texts).tokens[2:]) == "5aefglprvßäçöжзинь"


def test_numbers_too_long_for_words_are_read_digit_by_digit() -> None:
    assert normalize("1" * 13, "asr-en-1") == " ".join(["one"] * 13)


def test_other_scripts_keep_their_letters() -> None:
    assert normalize("Ça va, Жизнь? 12", "asr-any-1") == "ça va жизнь 12"
    assert normalize("  Any\tThing ", "none") == "Any Thing"


@pytest.mark.parametrize("name", NORMALIZERS)
def test_normalising_twice_changes_nothing(name: str) -> None:
    text = "The ’90s: Mr. Ng's 3,000 'things' cost 5%, $1.50 or ½ St. Ives, don't they? Act IV."
    once = normalize(text, name)
    assert normalize(once, name) == once


def test_an_unknown_normaliser_lists_those_there_are() -> None:
    with pytest.raises(
        UsageError, match="asr-en-3.*asr-en-1, asr-en-2, asr-en-2-digits, asr-any-1, none"
    ):
        normalize("x", "asr-en-3")


def test_the_examples_of_the_own_data_page() -> None:
    """The table of normalisers in recipes/own-data/README.md: each row shows what it does."""
    page = (REPOSITORY / "recipes/own-data/README.md").read_text("utf-8")
    header = re.search(r"^\| name \| for \| `(.*)` \|$", page, flags=re.MULTILINE)
    rows = re.findall(r"^\| `(asr-[^`]+)` \|[^|]*\| (.*) \|$", page, flags=re.MULTILINE)
    assert header
    assert {name for name, _ in rows} == set(NORMALIZERS) - {"none"}
    for name, expected in rows:
        assert normalize(header[1], name) == expected
