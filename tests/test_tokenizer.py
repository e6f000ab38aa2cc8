import pytest

from asr.errors import AsrError
from asr.tokenizer import BLANK, CharTokenizer, UnknownCharacterError


def test_blank_is_zero_and_space_one() -> None:
    tokenizer = CharTokenizer.from_texts(["b a", "c'"])
    assert tokenizer.tokens == (BLANK, " ", "'", "a", "b", "c")
    assert tokenizer.vocab_size == 6


def test_round_trip() -> None:
    tokenizer = CharTokenizer.from_texts(["hello world"])
    assert tokenizer.decode(tokenizer.encode("low hold")) == "low hold"
    assert tokenizer.decode([0, *tokenizer.encode("he"), 0]) == "he"


def test_unknown_characters_are_named_and_counted_never_dropped() -> None:
    tokenizer = CharTokenizer.from_texts(["abc"])
    with pytest.raises(UnknownCharacterError, match="'xz'.*'axbz'"):
        tokenizer.encode("axbz")
    assert tokenizer.unknown_characters(["xx", "az"]) == {"x": 2, "z": 1}


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        ((), "first token"),
        ((" ", BLANK), "first token"),
        ((BLANK, "a", "a"), "twice"),
        ((BLANK, "ab"), "one character"),
    ],
)
def test_bad_vocabularies_are_refused(tokens: tuple[str, ...], message: str) -> None:
    with pytest.raises(AsrError, match=message):
        CharTokenizer(tokens)
