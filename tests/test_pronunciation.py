"""Pronouncing lexicons: read, written, and what is said where one cannot be used."""

import gzip
from pathlib import Path

import pytest

from asr.errors import AsrError
from asr.pronunciation import Lexicon, read_lexicon, vocabulary, write_lexicon

TEXT = "read R IY D\nread R EH D\n\na AX\nred\tR EH D\nread R IY D\n"


def written(tmp_path: Path, text: str = TEXT) -> Path:
    path = tmp_path / "lexicon.txt"
    path.write_text(text)
    return path


def test_words_with_their_pronunciations(tmp_path: Path) -> None:
    lexicon = read_lexicon(written(tmp_path))
    assert lexicon.phones == ("<blank>", " ", "AX", "D", "EH", "IY", "R")
    assert lexicon.words["read"] == (("R", "IY", "D"), ("R", "EH", "D"))  # each once
    assert lexicon.spellings("red") == [[6, 4, 3]]
    assert lexicon.spellings("blue") == []


def test_a_text_is_said_with_the_first_pronunciations(tmp_path: Path) -> None:
    lexicon = read_lexicon(written(tmp_path))
    assert lexicon.encode("a red  read") == [2, 1, 6, 4, 3, 1, 6, 5, 3]
    assert lexicon.encode("a blue read") == []
    assert lexicon.encode("") == []
    assert lexicon.lacking(["a blue sea", "blue"]) == ["blue", "sea"]


@pytest.mark.parametrize("name", ["copy.txt", "copy.txt.gz", "copy.txt.xz"])
def test_round_trip_with_the_phones_of_a_model(tmp_path: Path, name: str) -> None:
    lexicon = read_lexicon(written(tmp_path))
    more = Lexicon((*lexicon.phones, "ZH"), lexicon.words)
    write_lexicon(more, tmp_path / name)
    assert read_lexicon(tmp_path / name, more.phones) == more
    before = (tmp_path / name).read_bytes()
    write_lexicon(read_lexicon(tmp_path / name, more.phones), tmp_path / name)
    assert (tmp_path / name).read_bytes() == before
    magic = {".gz": b"\x1f\x8b", ".xz": b"\xfd7"}.get(Path(name).suffix, b"a ")
    assert before[:2] == magic


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(AsrError, match=r"line 2: 'red' has no phones"):
        read_lexicon(written(tmp_path, "a AX\nred\n"))
    with pytest.raises(AsrError, match="has no words"):
        read_lexicon(written(tmp_path, "\n"))
    with pytest.raises(AsrError, match=r"line 1: the model has no phone 'R'"):
        read_lexicon(written(tmp_path, "red R D\n"), ("<blank>", " ", "D"))
    with pytest.raises(AsrError, match="cannot read the lexicon"):
        read_lexicon(tmp_path / "none.txt")
    (tmp_path / "cut.gz").write_bytes(gzip.compress(TEXT.encode())[:-12])
    with pytest.raises(AsrError, match="damaged"):
        read_lexicon(tmp_path / "cut.gz")
    (tmp_path / "latin.txt").write_bytes("caf\xe9 K AE F EY".encode("latin-1"))
    with pytest.raises(AsrError, match="not UTF-8"):
        read_lexicon(tmp_path / "latin.txt")
    with pytest.raises(AsrError, match="phones begin"):
        Lexicon(("D", "EH"), {})
    assert vocabulary({"a": (("B", "A"),)}) == ("<blank>", " ", "A", "B")
